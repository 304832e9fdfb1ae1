"""Candles of the synthetic market before it was opened, from the fair price alone."""

from __future__ import annotations

from typing import Any

from drivers.paper.markets.fair import FairPrice
from drivers.paper.markets.noise import hashed_array, key_of
from engine.kernel.instruments import Instrument
from engine.kernel.market import TIMEFRAME_MS, Bar

_SAMPLES = 60
_MINUTE_S = 60
_WICK = 0.00035
_EARLIEST_S = 86_400 * 365


def history(
    seed: int,
    instrument: Instrument,
    fair: FairPrice,
    minute_usd: float,
    timeframe: str,
    first_ms: int,
    end_ms: int,
) -> list[Bar]:
    """Return candles from the one that opens at `first_ms` up to the moment `end_ms`, where the last is cut.

    Prices of candles up to an hour come from every minute, those of longer ones from 60 moments each. `minute_usd` is
    the usual turnover of a minute.
    """
    import numpy as np

    step_s = TIMEFRAME_MS[timeframe] // 1000
    sample_s = max(_MINUTE_S, step_s // _SAMPLES)
    first_s, end_s = max(first_ms // 1000, _EARLIEST_S), end_ms // 1000
    first_s += -first_s % step_s
    if end_s <= first_s:
        return []
    times = np.arange(first_s, end_s + sample_s, sample_s, dtype=np.int64)
    times[-1] = end_s
    prices, vols = fair.series(times)
    opens, closes, vols = prices[:-1], prices[1:], vols[:-1]
    key = key_of(seed, instrument.symbol, "wick")
    index = times[:-1] // sample_s
    width = _WICK * vols * (sample_s / _MINUTE_S) ** 0.5
    highs = np.maximum(opens, closes) * (1.0 + width * np.abs(hashed_array(key, 2 * index)))
    lows = np.minimum(opens, closes) * (1.0 - width * np.abs(hashed_array(key, 2 * index + 1)))
    turnover = minute_usd * np.diff(times) / _MINUTE_S * vols * (0.6 + 0.8 * np.abs(hashed_array(key ^ 1, index)))
    starts = np.arange(0, len(opens), step_s // sample_s)
    lasts = np.append(starts[1:], len(opens)) - 1
    return _bars(
        instrument,
        timeframe,
        times[starts],
        (opens[starts], np.maximum.reduceat(highs, starts), np.minimum.reduceat(lows, starts), closes[lasts]),
        np.add.reduceat(turnover, starts),
        end_s,
    )


def _bars(
    instrument: Instrument, timeframe: str, opened: Any, prices: tuple[Any, Any, Any, Any], turnover: Any, end_s: int
) -> list[Bar]:
    import numpy as np

    tick, places = float(instrument.tick_size), instrument.price_places
    rounded = [np.round(np.round(price / tick) * tick, places) for price in prices]
    step_s = TIMEFRAME_MS[timeframe] // 1000
    volumes = np.round(turnover / prices[3], instrument.quantity_places)
    columns = [column.tolist() for column in (opened, *rounded, volumes, np.round(turnover, 2))]
    return [
        Bar(instrument.symbol, timeframe, start * 1000, o, h, low, c, base, quote, closed=start + step_s <= end_s)
        for start, o, h, low, c, base, quote in zip(*columns, strict=True)
    ]
