"""Reference prices of work: the middle, the cap of a market order, the peg of a soft order."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from engine.kernel.errors import RiskReject
from engine.kernel.instruments import Instrument
from engine.kernel.market import Quote
from engine.kernel.orders import Side
from engine.runtime.sizing import market_cap
from engine.runtime.work.desk import OrderDesk

BP = Decimal(10_000)


@dataclass(slots=True, frozen=True)
class SoftParams:
    """How a soft order is pegged to its own side of the touch.

    Attributes:
        offset_bp: Distance behind the touch at the start, bp.
        steps: Steps until the distance is zero.
        interval_s: Seconds a step.
        max_chase_bp: How far it follows the touch from where it was first, bp.
    """

    offset_bp: Decimal = Decimal(1)
    steps: int = 200
    interval_s: float = 6.66
    max_chase_bp: Decimal = Decimal(100)


def has_touch(desk: OrderDesk, symbol: str) -> bool:
    """Return whether there is a quote with both sides."""
    quote = desk.quote(symbol)
    return quote is not None and quote.bid > 0 and quote.ask > 0


def touch(desk: OrderDesk, symbol: str, side: Side) -> Decimal:
    """Return the best price of a side.

    Raises:
        RiskReject: There is no quote.
    """
    quote = known_quote(desk, symbol)
    return desk.instrument(symbol).price_from_float(quote.bid if side is Side.BUY else quote.ask)


def middle(desk: OrderDesk, symbol: str) -> Decimal:
    """Return the middle of the touch, to the tick.

    Raises:
        RiskReject: There is no quote.
    """
    return desk.instrument(symbol).price_from_float(known_quote(desk, symbol).mid)


def known_quote(desk: OrderDesk, symbol: str) -> Quote:
    """Return the quote.

    Raises:
        RiskReject: There is none, or one side is empty.
    """
    quote = desk.quote(symbol)
    if quote is None or not has_touch(desk, symbol):
        raise RiskReject("market_data", "", f"no bid and ask of {symbol} yet")
    return quote


def market_reference(desk: OrderDesk, symbol: str, side: Side) -> Decimal:
    """Return the price at which a market order is sized: the slippage cap of a buy, the best bid for a sell."""
    if side is Side.SELL:
        return touch(desk, symbol, Side.BUY)
    return market_cap(desk.instrument(symbol), side, known_quote(desk, symbol))


def peg(instrument: Instrument, side: Side, touch_price: Decimal, step: int, params: SoftParams) -> Decimal:
    """Return the price of a soft order at a step: its distance to the touch shrinks to zero over `params.steps`."""
    offset = params.offset_bp * max(Decimal(0), 1 - Decimal(step) / params.steps) / BP
    return instrument.round_price(side, touch_price * (1 - side.sign * offset))


def smallest_quantity(desk: OrderDesk, symbol: str, side: Side, soft: bool, params: SoftParams) -> Decimal:
    """Return the smallest order that passes at the price at which a soft or a market order would be sent now."""
    instrument = desk.instrument(symbol)
    if soft:
        price = peg(instrument, side, touch(desk, symbol, side), 0, params)
    else:
        price = market_cap(instrument, side, known_quote(desk, symbol))
    return instrument.minimum_order_quantity(price)


def chase_limit(instrument: Instrument, side: Side, first_touch: Decimal, params: SoftParams) -> Decimal:
    """Return the furthest price that a soft order may follow the touch to."""
    return instrument.round_price(side, first_touch * (1 + side.sign * params.max_chase_bp / BP))


def behind(side: Side, first: Decimal, second: Decimal) -> Decimal:
    """Return the more passive of two prices: the lower for a buy, the higher for a sell."""
    return min(first, second) if side is Side.BUY else max(first, second)


def ahead(side: Side, first: Decimal, second: Decimal) -> Decimal:
    """Return the more aggressive of two prices."""
    return max(first, second) if side is Side.BUY else min(first, second)
