"""Candles of the past: the venue counts in seconds, has no limit, and leaves out prices where nothing was traded."""

from __future__ import annotations

from drivers.backpack.bars import bar_of
from drivers.backpack.rest import Rest
from drivers.backpack.rest_wire import RestKline
from drivers.backpack.symbols import parse_native
from drivers.backpack.values import ms_of
from engine.kernel.errors import InvalidOrder, VenueUnavailable
from engine.kernel.instruments import Instrument
from engine.kernel.market import TIMEFRAME_MS, Bar

PAGE = 1000
"""Candles asked for at a time."""


async def klines(
    rest: Rest, instrument: Instrument, timeframe: str, limit: int, start: int | None, end: int | None
) -> list[Bar]:
    """Return candles, oldest first; with a start the first `limit` of them, else the last. Times in ms.

    A candle in which nothing was traded is flat at the close before and marked missing; before the first trade of all
    there is none.

    Raises:
        InvalidOrder: The timeframe is unknown or the limit is below 1.
    """
    step = TIMEFRAME_MS.get(timeframe)
    if step is None:
        raise InvalidOrder(f"timeframe {timeframe!r} is not one of {', '.join(TIMEFRAME_MS)}")
    if limit < 1:
        raise InvalidOrder(f"limit {limit} must be at least 1")
    now = rest.clock.now_ms()
    last = _floor(now if end is None else min(end, now), step)
    first = _floor(start + step - 1, step) if start is not None else last - (limit - 1) * step
    if start is not None:
        last = min(last, first + (limit - 1) * step)
    rows: dict[int, RestKline] = {}
    begin = first
    while begin <= last:
        until = min(last, begin + (PAGE - 1) * step)
        # The end lies within the last candle, so that it does not matter whether the venue means it inclusively.
        for row in await rest.klines(instrument.native, timeframe, begin // 1000, (until + step) // 1000 - 1):
            rows[_open_time(row)] = row
        begin = until + step
    bars: list[Bar] = []
    listing = parse_native(instrument.native)
    for open_time in sorted(time for time in rows if first <= time <= last):
        row = rows[open_time]
        prices, volumes = (row.open, row.high, row.low, row.close), (row.volume, row.quoteVolume)
        before = bars[-1].close if bars else None
        bar = bar_of(listing, timeframe, open_time, prices, volumes, open_time + step <= now, 0, before)
        if bar is not None:
            bars.append(bar)
    return bars


def _floor(ms: int, step: int) -> int:
    return ms // step * step


def _open_time(row: RestKline) -> int:
    try:
        return ms_of(row.start)
    except ValueError as error:
        raise VenueUnavailable(f"backpack: a candle's start {row.start[:40]!r} is not a time") from error
