"""Candles, from the stream and from history."""

from __future__ import annotations

from drivers.backpack.symbols import Listing
from drivers.transport.thousands import coins
from engine.kernel.market import Bar


def bar_of(
    listing: Listing,
    timeframe: str,
    open_time: int,
    prices: tuple[float | None, float | None, float | None, float | None],
    volumes: tuple[float, float | None],
    closed: bool,
    ts: int,
    last_close: float | None,
) -> Bar | None:
    """Return a candle; one in which nothing was traded is flat at the last close and marked missing.

    Args:
        listing: What is traded.
        timeframe: Candle length.
        open_time: Beginning, ms.
        prices: Open, high, low, close, as the venue says; None while nothing was traded.
        volumes: In venue coins and in quote; the stream has none in quote: then it is what the volume costs at the
            mean of high, low and close.
        closed: Whether it is final.
        ts: Time of the message, 0 for history.
        last_close: Close of the candle before, in coins.

    Returns:
        None when nothing was traded yet and there is no candle before.
    """
    first, high, low, close = prices
    if first is None or high is None or low is None or close is None:
        if last_close is None:
            return None
        flat = last_close
        return Bar(listing.symbol, timeframe, open_time, flat, flat, flat, flat, 0.0, 0.0, closed, True, ts)
    by, (volume, quote) = listing.multiplier, volumes
    quote_volume = volume * (high + low + close) / 3 if quote is None else quote
    o, h, low_, c = (coins(price, 0.0, by)[0] for price in (first, high, low, close))
    return Bar(
        listing.symbol, timeframe, open_time, o, h, low_, c, coins(0.0, volume, by)[1], quote_volume, closed, ts=ts
    )
