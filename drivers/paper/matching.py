"""Matching: what a taking order meets, and what a print or a touch does to resting orders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from drivers.paper.state import PaperOrder
from drivers.paper.symbol_market import Resting, SymbolMarket
from engine.kernel.instruments import Instrument
from engine.kernel.orders import Side

ZERO = Decimal(0)
_NOISE_PLACES = 9


@dataclass(slots=True)
class Take:
    """What a taking order would get.

    Attributes:
        fills: (price, quantity) of each level, best first.
        levels: (price, public size left) of each level that was touched.
        expired: Own resting orders that stood in the way.
        quantity: Sum of the fills.
        notional: Sum of price x quantity.
    """

    fills: list[tuple[Decimal, Decimal]] = field(default_factory=list)
    levels: list[tuple[float, float]] = field(default_factory=list)
    expired: list[PaperOrder] = field(default_factory=list)
    quantity: Decimal = ZERO
    notional: Decimal = ZERO


def plan_take(market: SymbolMarket, side: Side, quantity: Decimal, limit: Decimal | None) -> Take:
    """Walk the opposite side of the book for `quantity`, no worse than `limit`.

    Public size goes first to last by price; an own resting order that the walk reaches in its turn (price, then the
    size that stood before it) expires instead of trading with its owner.
    """
    take = Take()
    limit_f = None if limit is None else float(limit)
    sign = 1.0 if side is Side.BUY else -1.0
    own = [r for r in market.own(side.opposite).orders if limit_f is None or r.price * sign <= limit_f * sign]
    instrument, index, left = market.instrument, 0, quantity
    for price, size in market.opposite_levels(side, limit_f):
        while index < len(own) and own[index].price * sign < price * sign:
            take.expired.append(own[index].order)
            index += 1
        wanted = float(left)
        while index < len(own) and own[index].price == price:
            if wanted > own[index].ahead:
                take.expired.append(own[index].order)
            index += 1
        got = min(left, instrument.quantity_from_float(size))
        if got:
            exact = instrument.price_from_float(price)
            take.fills.append((exact, got))
            take.levels.append((price, max(0.0, float(Decimal(repr(size)) - got))))
            take.quantity += got
            take.notional += exact * got
            left -= got
        if not left:
            return take
    take.expired += [resting.order for resting in own[index:]]
    return take


def crosses(market: SymbolMarket, side: Side, price: Decimal, touch_mode: bool) -> bool:
    """Return whether a limit at `price` would take: from the public, or meet an own order.

    In touch mode a price equal to the last print is passive.
    """
    limit = float(price)
    touch = market.touch
    if touch is None:
        return False
    if side is Side.BUY:
        meets_own = limit >= market.sells.best
        public = limit > touch.ask if touch_mode else bool(touch.ask_size) and limit >= touch.ask
    else:
        meets_own = limit <= market.buys.best
        public = limit < touch.bid if touch_mode else bool(touch.bid_size) and limit <= touch.bid
    return meets_own or public


def touched(market: SymbolMarket, bid: float, ask: float) -> list[PaperOrder]:
    """Return the resting orders that an opposite touch reaches, in price-time order: they fill in full."""
    reached = [resting.order for resting in market.buys.orders if resting.price >= ask]
    return reached + [resting.order for resting in market.sells.orders if resting.price <= bid]


def printed(market: SymbolMarket, price: float, size: float, aggressor: Side) -> Iterator[tuple[PaperOrder, Decimal]]:
    """Apply a public print to the queues.

    A print through an order's price fills the order in full. A print at the price first uses up the size ahead of it;
    what is left over fills our orders in turn.

    Yields:
        The order and the quantity it trades, in price-time order.
    """
    own = market.own(aggressor.opposite)
    sign = -1.0 if aggressor is Side.SELL else 1.0
    for resting in [r for r in own.orders if r.price * sign < price * sign]:
        yield resting.order, resting.order.remaining
    yield from _consume_queue(market.instrument, own.at(price), size)
    other = market.own(aggressor)
    for resting in [r for r in other.orders if r.price * -sign < price * -sign]:
        yield resting.order, resting.order.remaining


def _consume_queue(instrument: Instrument, level: list[Resting], size: float) -> list[tuple[PaperOrder, Decimal]]:
    traded: list[tuple[PaperOrder, Decimal]] = []
    ours = 0.0
    for resting in list(level):
        reaches = round(size - ours, _NOISE_PLACES)
        if reaches <= 0:
            break
        over = round(reaches - resting.ahead, _NOISE_PLACES)
        resting.ahead = max(0.0, round(resting.ahead - reaches, _NOISE_PLACES))
        if over <= 0:
            continue
        quantity = min(resting.order.remaining, instrument.quantity_from_float(over))
        if quantity:
            traded.append((resting.order, quantity))
            ours += float(quantity)
    return traded
