"""An intent and the desk of now become exact commands, a level of care and a preview.

Nothing is sent here, and nothing is remembered: the same intent is resolved again at every frame until it is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from msgspec import structs

from ctos_tui.command import preview
from ctos_tui.command.commands import (
    AmendCommand,
    CancelCommand,
    Command,
    FlattenAllCommand,
    PlaceCommand,
    TargetCommand,
)
from ctos_tui.command.desk import Desk, Market, ResolveError
from ctos_tui.command.holdings import chosen_positions, named_position, open_positions
from ctos_tui.command.intents import (
    HUNDRED,
    BumpOrder,
    CancelOrders,
    CancelScope,
    Flatten,
    MoveOrder,
    OrderIntent,
    PlaceOrder,
    Reverse,
    Target,
)
from ctos_tui.command.preview import Leg, Spans
from ctos_tui.command.pricing import (
    Priced,
    check_minimum,
    margin_rate,
    price_of,
    quantity_of,
    share_of_position,
    shifted,
)
from ctos_tui.command.terms import NO_FLAGS, Flags, MarketPrice, Price, Ref, ReferencePrice
from ctos_tui.command.words import plain
from ctos_tui.guard.levels import Decision, Level, OrderFacts, Reason, decide, decide_amend
from engine.kernel.orders import Order, OrderType, Side

ZERO: Final = Decimal(0)
_NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Staged:
    """A resolved intent.

    Attributes:
        intent: What was asked.
        commands: What would be sent, in this order.
        decision: How much care it needs, and why.
        preview: The line to show.
        confirm: What must be typed at level L2; empty below.
    """

    intent: OrderIntent | CancelOrders
    commands: tuple[Command, ...]
    decision: Decision
    preview: Spans
    confirm: str = ""


def resolve(intent: OrderIntent | CancelOrders, desk: Desk) -> Staged:
    """Resolve an intent against the desk of now.

    Raises:
        ResolveError: It cannot become an order now; the message says what is missing and what would do.
        UnknownSymbol: No market has the name.
    """
    match intent:
        case PlaceOrder():
            return _place(intent, desk)
        case Target():
            return _target(intent, desk)
        case Flatten():
            return _flatten(intent, desk)
        case Reverse():
            return _reverse(intent, desk)
        case MoveOrder() | BumpOrder():
            return _amend(intent, desk)
        case CancelOrders():
            return _cancel(intent, desk)


def _order_type(price: Price, flags: Flags) -> OrderType:
    if isinstance(price, MarketPrice):
        return OrderType.MARKET
    if flags.post or flags.soft:
        return OrderType.POST_ONLY
    if flags.ioc:
        return OrderType.IOC
    return OrderType.FOK if flags.fok else OrderType.LIMIT


def _facts(command: PlaceCommand, market: Market, worst: Decimal, desk: Desk, replacing: str = "") -> OrderFacts:
    """Gather what the levels of care are decided by."""
    left = desk.left_to_close(command.symbol, command.side, replacing=replacing)
    same = [
        (desk.now_ns - sent.at_ns) // _NS_PER_MS
        for sent in desk.recent
        if (sent.symbol, sent.side, sent.quantity, sent.price)
        == (command.symbol, command.side, command.quantity, command.price)
    ]
    return OrderFacts(
        side=command.side,
        quantity=command.quantity,
        price=worst,
        position=market.position,
        reduces=command.reduce_only or command.quantity <= left,
        market=command.type is OrderType.MARKET,
        post=command.type is OrderType.POST_ONLY,
        best=market.far(command.side),
        mid=market.mid,
        crossed=market.crossed,
        far_depth=market.far_depth(command.side),
        book_age_ms=market.age_ms,
        usual_quantity=market.usual_quantity,
        exposure=desk.exposure,
        equity=desk.equity,
        free=desk.free,
        margin_rate=margin_rate(market) if market.instrument.is_perp or command.side is Side.BUY else ZERO,
        can_short=market.instrument.is_perp,
        focused=command.symbol == desk.focus,
        same_age_ms=min(same) if same else None,
        unknown_order=market.unknown_order,
        halted=desk.halted,
        armed=desk.is_armed(command.symbol),
        closed=desk.closed,
        rate_full=desk.rate_full,
    )


def _leg(facts: OrderFacts, market: Market, priced: Priced, flags: Flags, notes: tuple[str, ...]) -> Leg:
    tied = facts.growth * facts.price * facts.margin_rate
    return Leg(
        market=market,
        side=facts.side,
        quantity=facts.quantity,
        worst=priced.worst,
        limit=priced.limit,
        words=priced.words,
        flags=str(flags),
        notes=tuple(note for note in notes if note),
        resting=facts.post,
        margin=tied / facts.equity if tied > 0 and facts.equity else None,
    )


def _one_order(
    intent: OrderIntent,
    command: PlaceCommand,
    market: Market,
    priced: Priced,
    flags: Flags,
    notes: tuple[str, ...],
    desk: Desk,
) -> Staged:
    """Judge and show a single order."""
    facts = _facts(command, market, priced.worst, desk)
    decision = decide(facts, desk.limits)
    confirm = plain(command.quantity) if decision.level is Level.L2 else ""
    line = preview.order_line(_leg(facts, market, priced, flags, notes), decision, desk, confirm)
    return Staged(intent, (command,), decision, line, confirm)


def _place(intent: PlaceOrder, desk: Desk) -> Staged:
    market = desk.market(intent.symbol)
    priced = price_of(intent.price, market, intent.side, desk)
    sized = quantity_of(intent.size, market, intent.side, _sizing_price(intent.side, market, priced), desk)
    quantity = sized.quantity
    notes: tuple[str, ...] = (priced.note, sized.note)
    if intent.flags.reduce:
        closing = market.instrument.floor_quantity(max(ZERO, -market.position * intent.side.sign))
        if not closing:
            name = desk.short_name(market.instrument)
            raise ResolveError(f"nothing to reduce: a {intent.side} does not close the position in {name}")
        if quantity > closing:
            notes = (*notes, f"size {plain(quantity)}→{plain(closing)}")
            quantity = closing
    if not (intent.flags.reduce and quantity == abs(market.position)):
        check_minimum(quantity, str(intent.size), market, priced.worst, desk)
    command = PlaceCommand(
        market.instrument.symbol,
        intent.side,
        _order_type(intent.price, intent.flags),
        quantity,
        priced.limit,
        intent.flags.reduce,
        intent.flags.soft,
    )
    return _one_order(intent, command, market, priced, intent.flags, notes, desk)


def _sizing_price(side: Side, market: Market, priced: Priced) -> Decimal:
    """Return the price that turns amounts of quote into coins: a market sell is sized at the best bid."""
    if priced.limit is None and side is Side.SELL and market.bid is not None:
        return market.bid
    return priced.worst


def _target(intent: Target, desk: Desk) -> Staged:
    market = desk.market(intent.symbol)
    instrument = market.instrument
    if intent.amount < 0 and not instrument.is_perp:
        raise ResolveError(f"{instrument.symbol} is spot: its position cannot be negative")
    sign = -1 if intent.amount < 0 else 1
    side = Side.BUY if intent.amount > market.position * (market.mid or market.last or ZERO) else Side.SELL
    price: Price = ReferencePrice(Ref.BEST) if intent.soft else MarketPrice()
    priced = price_of(price, market, side, desk)
    wanted = sign * instrument.quantity_for(abs(intent.amount), priced.worst)
    delta = wanted - market.position
    if abs(delta) * priced.worst < max(Decimal(1), instrument.min_notional if wanted else ZERO):
        name = desk.short_name(instrument)
        raise ResolveError(
            f"{name} is already there: {preview.amount(abs(delta) * priced.worst)} away, below the minimum"
        )
    side = Side.BUY if delta > 0 else Side.SELL
    reducing = market.position * delta < 0 and abs(delta) <= abs(market.position)
    leg_command = PlaceCommand(
        instrument.symbol,
        side,
        OrderType.POST_ONLY if intent.soft else OrderType.MARKET,
        abs(delta),
        priced.limit,
        reducing,
        intent.soft,
    )
    facts = _facts(leg_command, market, priced.worst, desk)
    decision = decide(facts, desk.limits)
    confirm = plain(abs(intent.amount)) if decision.level is Level.L2 else ""
    leg = _leg(facts, market, priced, Flags(soft=intent.soft, reduce=reducing), ())
    line = preview.target_line(leg, intent.amount, decision, desk, confirm)
    return Staged(intent, (TargetCommand(instrument.symbol, intent.amount, intent.soft),), decision, line, confirm)


def _closing(intent: Flatten, market: Market, desk: Desk) -> tuple[PlaceCommand, Priced]:
    """Return the reduce-only order that closes (a share of) a position."""
    side = Side.SELL if market.position > 0 else Side.BUY
    price = intent.price if intent.price is not None else MarketPrice()
    priced = price_of(price, market, side, desk)
    quantity = share_of_position(market, intent.percent)
    if quantity != abs(market.position):
        check_minimum(quantity, f"{plain(intent.percent)}%pos", market, priced.worst, desk)
    kind = _order_type(price, intent.flags)
    command = PlaceCommand(market.instrument.symbol, side, kind, quantity, priced.limit, True, intent.flags.soft)
    return command, priced


def _flatten(intent: Flatten, desk: Desk) -> Staged:
    if intent.is_unconditional:
        return _flatten_all(intent, desk)
    flags = structs.replace(intent.flags, reduce=True)
    if not intent.is_of_many:
        market = named_position(intent.symbol, desk)
        command, priced = _closing(intent, market, desk)
        return _one_order(intent, command, market, priced, flags, (priced.note,), desk)
    commands: list[PlaceCommand] = []
    legs: list[Leg] = []
    decision = Decision(Level.L1)
    for market in chosen_positions(intent, desk):
        command, priced = _closing(intent, market, desk)
        facts = structs.replace(_facts(command, market, priced.worst, desk), focused=True)
        own = decide(facts, desk.limits)
        reasons = tuple(
            structs.replace(reason, rule=f"{market.instrument.base} {reason.rule}") for reason in own.reasons
        )
        decision = Decision(max(decision.level, own.level), decision.reasons + reasons)
        commands.append(command)
        legs.append(_leg(facts, market, priced, flags, (priced.note,)))
    return _staged_close(intent, tuple(commands), legs, decision, desk)


def _flatten_all(intent: Flatten, desk: Desk) -> Staged:
    """Stage the close of everything, which no missing price, stale book or venue's silence refuses."""
    held = open_positions(desk)
    legs = [
        Leg(
            market=market,
            side=Side.SELL if market.position > 0 else Side.BUY,
            quantity=share_of_position(market, HUNDRED),
            worst=market.mark or market.last or market.entry or ZERO,
            limit=None,
        )
        for market in held
        if market.listed
    ]
    left = [f"{desk.short_name(market.instrument)} is not listed any more" for market in held if not market.listed]
    if not legs:
        raise ResolveError(f"nothing can be closed: {', '.join(left)}")
    decision = Decision(Level.L2, (Reason("market orders; every order is cancelled, stops too", level=Level.L2),))
    return _staged_close(intent, (FlattenAllCommand(),), legs, decision, desk, left)


def _staged_close(
    intent: Flatten,
    commands: tuple[Command, ...],
    legs: list[Leg],
    decision: Decision,
    desk: Desk,
    left: Sequence[str] = (),
) -> Staged:
    confirm = str(len(legs)) if decision.level is Level.L2 else ""
    title = f"FLAT {len(legs)} position{'s' if len(legs) != 1 else ''}"
    return Staged(intent, commands, decision, preview.many_line(title, legs, decision, desk, confirm, left), confirm)


def _reverse(intent: Reverse, desk: Desk) -> Staged:
    market = desk.market(intent.symbol)
    instrument = market.instrument
    if not instrument.is_perp:
        raise ResolveError(f"{instrument.symbol} is spot: its position cannot be reversed")
    if not market.position:
        raise ResolveError(f"no position in {desk.short_name(instrument)}")
    side = Side.SELL if market.position > 0 else Side.BUY
    priced = price_of(intent.price, market, side, desk)
    command = PlaceCommand(
        instrument.symbol,
        side,
        _order_type(intent.price, intent.flags),
        2 * abs(market.position),
        priced.limit,
        False,
        intent.flags.soft,
    )
    return _one_order(intent, command, market, priced, intent.flags, (priced.note,), desk)


def _amend(intent: MoveOrder | BumpOrder, desk: Desk) -> Staged:
    order = desk.order(intent.order)
    market = desk.market(order.symbol)
    if order.price is None:
        raise ResolveError(f"#{order.label} has no limit price to move; cancel it with x #{order.label}")
    old = order.price
    priced = Priced(old, old)
    note, asked = "", plain(order.quantity)
    quantity = order.quantity
    if isinstance(intent, BumpOrder):
        raw = shifted(old, intent.by, market.instrument.tick_size)
        limit = market.instrument.round_price(order.side, raw)
        if limit <= 0:
            raise ResolveError(f"{intent.by} leaves no price above 0")
        priced = Priced(limit, limit, str(intent.by).replace("-", preview.MINUS))
    else:
        if intent.price is not None:
            priced = price_of(intent.price, market, order.side, desk)
        if intent.size is not None:
            sized = quantity_of(intent.size, market, order.side, priced.worst, desk)
            quantity, note, asked = sized.quantity, sized.note, str(intent.size)
    if order.filled and quantity <= order.filled:
        raise ResolveError(
            f"#{order.label} has already filled {plain(order.filled)}: cancel the rest with x #{order.label}"
        )
    if (quantity, priced.limit) == (order.quantity, old):
        raise ResolveError(f"#{order.label} already rests like this")
    check_minimum(quantity, asked, market, priced.worst, desk)
    return _amended(intent, order, market, priced, quantity, note, desk)


def _amended(
    intent: MoveOrder | BumpOrder,
    order: Order,
    market: Market,
    priced: Priced,
    quantity: Decimal,
    note: str,
    desk: Desk,
) -> Staged:
    """Judge an amendment like a new order for what is left, unless it only makes the order smaller or farther."""
    old = order.price if order.price is not None else priced.worst
    as_new = PlaceCommand(
        order.symbol, order.side, order.type, quantity - order.filled, priced.limit, order.reduce_only
    )
    facts = _facts(as_new, market, priced.worst, desk, order.client_id)
    decision = decide_amend(order.side, old, priced.worst, order.quantity, quantity, decide(facts, desk.limits))
    confirm = plain(quantity) if decision.level is Level.L2 else ""
    leg = structs.replace(_leg(facts, market, priced, NO_FLAGS, (priced.note, note)), quantity=quantity)
    line = preview.amend_line(order, leg, decision, desk, confirm)
    command = AmendCommand(
        order.client_id,
        order.symbol,
        priced.limit if priced.limit != old else None,
        quantity if quantity != order.quantity else None,
    )
    return Staged(intent, (command,), decision, line, confirm)


def _cancel(intent: CancelOrders, desk: Desk) -> Staged:
    orders = _named_orders(intent, desk)
    commands = tuple(CancelCommand(order.client_id, order.symbol) for order in orders)
    return Staged(intent, commands, Decision(Level.L0), preview.cancel_line(orders, desk))


def _named_orders(intent: CancelOrders, desk: Desk) -> list[Order]:
    if intent.orders:
        return [desk.order(number) for number in intent.orders]
    if intent.scope is CancelScope.ALL:
        orders = list(desk.orders)
        where = ""
    elif intent.scope is CancelScope.LAST:
        orders = list(desk.orders[-1:])
        where = ""
    else:
        market = desk.market(intent.symbol)
        side = {CancelScope.BUYS: Side.BUY, CancelScope.SELLS: Side.SELL}.get(intent.scope)
        orders = [
            order for order in desk.orders if order.symbol == market.instrument.symbol and side in (None, order.side)
        ]
        where = f" in {desk.short_name(market.instrument)}"
    if not orders:
        kind = {CancelScope.BUYS: "buy order", CancelScope.SELLS: "sell order"}.get(intent.scope, "order")
        raise ResolveError(f"no {kind} works{where}")
    return orders
