"""Guessing an instrument's tick and lot from its market data, where no file and no venue tells them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal

from engine.io.instruments_file import DEFAULT_PERP_LEVERAGE, Fees
from engine.kernel.instruments import Instrument, InstrumentKind
from engine.kernel.market import BookUpdate, MarketEvent, Quote, Trade

ENOUGH_VALUES = 100
"""So many different values make it unlikely that all share a larger step than the true one."""


def infer_step(values: Iterable[float]) -> Decimal:
    """Return the largest step of which all values are multiples; from few values, one unit of their last digit.

    Raises:
        ValueError: There is no positive value.
    """
    exact = {Decimal(repr(value)) for value in values if value > 0}
    if not exact:
        raise ValueError("no values to infer a step from")
    places = max(0, *(-int(value.normalize().as_tuple().exponent) for value in exact))
    units = math.gcd(*(int(value.scaleb(places)) for value in exact)) if len(exact) >= ENOUGH_VALUES else 1
    return Decimal(units).scaleb(-places)


def infer_instruments(venue: str, events: Iterable[MarketEvent], fees: Fees) -> list[Instrument]:
    """Return an instrument for each symbol whose prices and sizes are among the events; minimum: one lot.

    Args:
        venue: Name of the venue.
        events: Market events; some thousands are enough.
        fees: Fees of the instruments.
    """
    seen: dict[str, tuple[set[float], set[float]]] = {}
    for event in events:
        levels: list[tuple[float, float]]
        match event:
            case Trade():
                levels = [(event.price, event.size)]
            case Quote():
                levels = [(event.bid, event.bid_size), (event.ask, event.ask_size)]
            case BookUpdate():
                levels = [*event.bids, *event.asks]
            case _:
                continue
        prices, sizes = seen.setdefault(event.symbol, (set(), set()))
        prices.update(price for price, _ in levels)
        sizes.update(size for _, size in levels if size)
    return [_instrument(venue, symbol, *values, fees) for symbol, values in seen.items() if all(values)]


def _instrument(venue: str, symbol: str, prices: set[float], sizes: set[float], fees: Fees) -> Instrument:
    base, quote, *perp = symbol.split("-")
    lot = infer_step(sizes)
    return Instrument(
        symbol=symbol,
        venue=venue,
        base=base,
        quote=quote,
        settle=quote,
        kind=InstrumentKind.PERP if perp else InstrumentKind.SPOT,
        tick_size=infer_step(prices),
        lot_size=lot,
        min_quantity=lot,
        max_leverage=DEFAULT_PERP_LEVERAGE if perp else Decimal(1),
        maker_fee=fees.perp_maker if perp else fees.spot_maker,
        taker_fee=fees.perp_taker if perp else fees.spot_taker,
        funding_period_h=8 if perp else 0,
    )
