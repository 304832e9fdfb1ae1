"""Technical indicators on closed candles, oldest first.

Batch series come from TA-Lib and carry NaN until they are warm. TA-Lib is imported on first use, since it takes longer
to load than the first screen may.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

Series = list[float]


@dataclass(slots=True, frozen=True)
class ZScore:
    """How far a close lies from the mean of its window, in population standard deviations."""

    mean: float
    std: float
    z: float


def zscore(closes: Sequence[float], period: int) -> ZScore | None:
    """Return the z-score of the last close over `period` closes, None when too few or all equal."""
    if len(closes) < period:
        return None
    window = closes[-period:]
    if min(window) == max(window):
        return None
    mean = statistics.fmean(window)
    std = statistics.pstdev(window, mean)
    if std == 0 or not math.isfinite(std):
        return None
    return ZScore(mean, std, (window[-1] - mean) / std)


def sma(closes: Sequence[float], period: int) -> Series:
    """Return the simple moving average."""
    import numpy
    import talib

    result: Series = talib.SMA(numpy.asarray(closes, dtype=float), period).tolist()
    return result


def ema(closes: Sequence[float], period: int) -> Series:
    """Return the exponential moving average, seeded as TA-Lib seeds it."""
    import numpy
    import talib

    result: Series = talib.EMA(numpy.asarray(closes, dtype=float), period).tolist()
    return result


def bollinger(closes: Sequence[float], period: int = 20, width: float = 2.0) -> tuple[Series, Series, Series]:
    """Return upper, middle and lower band (population standard deviation)."""
    import numpy
    import talib

    upper, middle, lower = talib.BBANDS(numpy.asarray(closes, dtype=float), period, width, width)
    return upper.tolist(), middle.tolist(), lower.tolist()


def rsi(closes: Sequence[float], period: int = 14) -> Series:
    """Return Wilder's relative strength index, 0 to 100."""
    import numpy
    import talib

    result: Series = talib.RSI(numpy.asarray(closes, dtype=float), period).tolist()
    return result


def macd(closes: Sequence[float], fast: int = 12, slow: int = 26, signal: int = 9) -> tuple[Series, Series, Series]:
    """Return DIF, DEA and histogram (DIF - DEA)."""
    import numpy
    import talib

    dif, dea, histogram = talib.MACD(numpy.asarray(closes, dtype=float), fast, slow, signal)
    return dif.tolist(), dea.tolist(), histogram.tolist()
