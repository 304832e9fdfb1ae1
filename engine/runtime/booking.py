"""Takes in what the venue says about the account, in any order, late or twice, and books it exactly once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from engine.kernel.account import AccountStream, Balance, FundingPayment, Position
from engine.kernel.errors import CtosError
from engine.kernel.orders import Fill, Order, OrderState, OrderUpdate, Pending, Side
from engine.kernel.syscalls import AccountEvent
from engine.runtime.accounts import MANUAL
from engine.runtime.core import EngineCore
from engine.runtime.events import BalanceChanged, FillBooked, FundingShared, PositionChanged
from engine.runtime.records import Execution, Funding, Status

ZERO = Decimal(0)

_WITHOUT_OUTCOME = (OrderState.INTENT, OrderState.SENT, OrderState.UNKNOWN)

_OUTSIDE = {"actor": "outside"}
"""Of what neither this program nor its operator did, in the operation log."""

_GIVEN_UP = (OrderState.NEVER_SENT, OrderState.NEVER_ACCEPTED)

_OPS = {
    OrderState.OPEN: "OrderAck",
    OrderState.CANCELED: "OrderCanceled",
    OrderState.EXPIRED: "OrderExpired",
    OrderState.REJECTED: "OrderPlaceFail",
}


class Booking:
    """One account's stream of orders, fills, funding, positions and balances.

    Args:
        core: The engine's shared parts.
        on_reduced: Called with (instance, symbol) after each fill and each change of a reduction, before anybody hears
            of it: what working reductions may still do has changed.
        on_behind: Called with an order of which the venue reported more filled than is booked.
        on_liquidation: Called with the fill when the venue closed a position by force.
        on_stream: Called when the account's stream broke or is back.
    """

    def __init__(
        self,
        core: EngineCore,
        on_reduced: Callable[[str, str], None],
        on_behind: Callable[[Order], None],
        on_liquidation: Callable[[Fill], None],
        on_stream: Callable[[AccountStream], None],
    ) -> None:
        self._core = core
        self._on_reduced = on_reduced
        self._on_behind = on_behind
        self._on_liquidation = on_liquidation
        self._on_stream = on_stream

    def on_event(self, event: AccountEvent) -> None:
        """Take in one message of the account's stream."""
        if isinstance(event, OrderUpdate):
            self.on_update(event)
        elif isinstance(event, Fill):
            self.on_fill(event)
        elif isinstance(event, Position):
            self._core.portfolio.set_venue_position(event, self._core.clock.now_ns())
            self._core.bus.publish(PositionChanged(event.symbol))
        elif isinstance(event, Balance):
            if self._core.portfolio.set_balance(event):
                self._core.bus.publish(BalanceChanged(event.currency))
        elif isinstance(event, AccountStream):
            self._on_stream(event)
        else:
            self.on_funding(event)

    def on_update(self, update: OrderUpdate, answers: Pending = Pending.NONE) -> None:
        """Take in the venue's words about an order; what is known already is not written again."""
        core = self._core
        status = Status(update, answers)
        if not core.tracker.is_news(status):
            return
        known = core.tracker.find(update.client_id, update.symbol, update.venue_order_id)
        before = known.state if known is not None else None
        pending = known.pending if known is not None else Pending.NONE
        is_unasked = known is not None and _ends_unasked(known, update)
        order = core.write(status).order
        if order is None:
            return
        self._report_revival(order, before)
        if order.state is not before and order.state in _OPS:
            canceled = order.state is OrderState.CANCELED and pending is Pending.CANCEL
            since_ns = order.asked_ns if canceled else order.sent_ns if before in _WITHOUT_OUTCOME else 0
            core.oplog(
                _OPS[order.state],
                **about(order),
                det=order.reason,
                by=order.asked_by if canceled else None,
                latency_ms=core.ms_since(since_ns) if since_ns else None,
                **(_OUTSIDE if is_unasked or order.external else {}),
            )
        if order.reported_filled > order.filled:
            self._on_behind(order)
        if order.reduce_only:
            self._on_reduced(order.instance, order.symbol)
        core.publish_order(order)
        if is_unasked and not order.is_open:
            core.on_ended_outside(order, update.reason)

    def on_fill(self, fill: Fill) -> bool:
        """Book an execution unless it is booked already; return whether nothing more has to be done about it.

        One that names no order that is known waits while an order without an outcome may turn out to be its own.
        """
        core = self._core
        if self._is_booked(fill):
            return True
        order = core.tracker.find(fill.client_id, fill.symbol, fill.venue_order_id)
        if fill.ts <= core.state.adopted_until and (order is None or order.external):
            return True
        if order is None and self._may_be_ours(fill):
            return False
        before = order.state if order is not None else None
        instance = order.instance if order is not None else MANUAL
        effect = core.write(Execution(fill, instance, self._fee_in_quote(fill), self._fee_in_coins(fill, order)))
        assert effect.booked is not None
        self._log_fill(fill, order)
        if order is not None:
            self._report_revival(order, before)
        if order is not None and order.filled > order.quantity and not order.external:
            self._report_overfill(order)
        self._on_reduced(instance, fill.symbol)
        core.bus.publish(PositionChanged(fill.symbol))
        core.bus.publish(FillBooked(fill, instance, effect.booked.realised, order is None or order.external))
        if fill.liquidation:
            self._on_liquidation(fill)
        if order is not None:
            core.publish_order(order)
        return True

    def on_funding(self, payment: FundingPayment) -> None:
        """Book a funding payment, split over the ledgers that hold the position, unless it is booked already."""
        core = self._core
        books = core.state.books
        if books.funding_known(payment):
            return
        shares = books.funding_shares(payment)
        core.write(Funding(payment))
        core.oplog("Funding", symbol=payment.symbol, amount=str(payment.amount), rate=str(payment.rate))
        for instance, amount in shares:
            core.bus.publish(FundingShared(instance, replace(payment, amount=amount)))
        core.bus.publish(PositionChanged(payment.symbol))

    def _may_be_ours(self, fill: Fill) -> bool:
        """Return whether a fill without a client id may belong to an order whose venue id is not known yet."""
        if fill.client_id or fill.liquidation:
            return False
        return any(
            order.side is fill.side and order.state in _WITHOUT_OUTCOME and not order.venue_order_id and not order.held
            for order in self._core.tracker.working(fill.symbol)
        )

    def _is_booked(self, fill: Fill) -> bool:
        core = self._core
        fills = core.portfolio.fills
        known = fills.get(fill.symbol, fill.trade_id)
        if known is None:
            return fills.may_have_forgotten(fill) and core.state.has_fill(fill)
        named = known.fill.client_id and fill.client_id
        # A venue's time stamps may differ from list to list: what was traded is what counts.
        again = replace(fill, ts=known.fill.ts, client_id=fill.client_id if named else known.fill.client_id)
        if known.fill != again:
            core.alarm(
                "fill_conflict",
                f"trade {fill.trade_id} of {fill.symbol} arrived again with other content; the first one stays: "
                f"{known.fill.quantity} at {known.fill.price}, now {fill.quantity} at {fill.price}",
                fill.symbol,
                known.instance,
            )
        return True

    def _fee_in_quote(self, fill: Fill) -> Decimal:
        core = self._core
        try:
            return core.portfolio.fee_in_quote(fill, core.instrument(fill.symbol))
        except CtosError as error:
            core.alarm(
                "fee_unpriced", f"fee of {fill.fee} {fill.fee_currency} is not in the profit: {error}", fill.symbol
            )
            return ZERO

    def _fee_in_coins(self, fill: Fill, order: Order | None) -> Decimal:
        """Return the base coins by which the fee of a spot trade makes the ledger smaller.

        The fee of a sale is paid with coins that no sale locks: from the ledger comes what it holds beyond all that
        its orders still sell, the rest from other coins in the wallet. So no sale of what is held turns it short.
        """
        core = self._core
        instrument = core.market.instruments.get(fill.symbol)
        if instrument is None or instrument.is_perp or fill.fee_currency != instrument.base:
            return ZERO
        if fill.side is Side.BUY:
            return fill.fee
        instance = order.instance if order is not None else MANUAL
        locked = fill.quantity if order is None else max(fill.quantity, order.exposed_quantity)
        for other in (*core.tracker.working(fill.symbol, instance), *core.tracker.unbooked()):
            is_sale = other.side is Side.SELL and (other.instance, other.symbol) == (instance, fill.symbol)
            if is_sale and other is not order and not other.held:
                locked += other.exposed_quantity
        return min(fill.fee, max(ZERO, core.ledger_quantity(instance, fill.symbol) - locked))

    def _log_fill(self, fill: Fill, order: Order | None) -> None:
        slippage = None
        if order is not None and order.reference_price is not None:
            slippage = str((fill.price - order.reference_price) * fill.side.sign)
        self._core.oplog(
            "OrderFilled" if order is not None and order.state is OrderState.FILLED else "OrderPartFilled",
            instance=order.instance if order is not None else MANUAL,
            cid=fill.client_id,
            symbol=fill.symbol,
            side=fill.side.value,
            price=str(fill.price),
            qty=str(fill.quantity),
            fee=str(fill.fee),
            fee_currency=fill.fee_currency,
            maker=fill.maker,
            slippage=slippage,
            trade_id=fill.trade_id,
            **(_OUTSIDE if order is None or order.external else {}),
        )

    def _report_revival(self, order: Order, before: OrderState | None) -> None:
        """Raise an alarm when an order turns up that was given up as never accepted: it is adopted, and works."""
        if before in _GIVEN_UP and order.state not in _GIVEN_UP:
            text = f"#{order.label} {order.symbol}, given up as {before.value}, is {order.state.value} at the venue"
            self._core.alarm("late_order", f"{text}; it is ours again", order.symbol, order.instance, "CRIT")

    def _report_overfill(self, order: Order) -> None:
        core = self._core
        text = f"#{order.label} {order.symbol} filled {order.filled}, more than its {order.quantity}; it is booked"
        core.alarm("overfill", text, order.symbol, order.instance, "CRIT")
        if order.instance != MANUAL:
            core.risk.on_instance_halt(order.instance, text)


def _ends_unasked(order: Order, update: OrderUpdate) -> bool:
    """Return whether an update ends an order of ours as nobody here asked for; a refusal is no such end."""
    if update.state not in (OrderState.CANCELED, OrderState.EXPIRED) or update.error or not order.type.rests:
        return False
    if order.external or not order.is_open or order.pending is Pending.CANCEL:
        return False
    shrunk = order.asked_quantity if order.pending is Pending.AMEND else None
    return shrunk is None or shrunk > max(order.filled, update.filled)


def about(order: Order) -> dict[str, str]:
    """Return an order's fields for the operation log."""
    return {
        "instance": order.instance,
        "cid": order.client_id,
        "symbol": order.symbol,
        "side": order.side.value,
        "qty": str(order.quantity),
        "price": "" if order.price is None else str(order.price),
    }
