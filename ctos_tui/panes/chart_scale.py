"""Scales of a chart: bars joined into columns, round price labels, round times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec

_MINUTE = 60_000
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_TIME_STEPS = (
    *(_MINUTE * minutes for minutes in (1, 5, 10, 15, 30)),
    *(_HOUR * hours for hours in (1, 2, 3, 4, 6, 12)),
    *(_DAY * days for days in (1, 2, 7, 14, 28, 91, 364)),
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class BarLike(Protocol):
    """What a chart needs of a bar; times are UTC milliseconds."""

    @property
    def open_time(self) -> int:
        """Start of the bar."""
        ...

    @property
    def open(self) -> float:
        """First price."""
        ...

    @property
    def high(self) -> float:
        """Highest price."""
        ...

    @property
    def low(self) -> float:
        """Lowest price."""
        ...

    @property
    def close(self) -> float:
        """Last price."""
        ...

    @property
    def base_volume(self) -> float:
        """Volume in base coins."""
        ...


class Candle(NamedTuple):
    """What one column shows: one bar, or several joined; `last` is the index of its last bar."""

    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    last: int


def join_bars(bars: Sequence[BarLike], columns: int) -> list[Candle]:
    """Join bars into at most so many candles of equal bar count; the newest is at the end.

    Groups begin at round times, so a candle keeps its bars when new ones are appended; the first and the last group
    may be short. Bars whose values are not finite numbers are left out.
    """
    if not bars or columns <= 0:
        return []
    size = -(-len(bars) // columns)
    interval = max(1, bars[-1].open_time - bars[-2].open_time) if len(bars) > 1 else 1
    first = -(bars[0].open_time // interval) % size
    starts = range(first, len(bars), size)
    joined = [_join(bars, start, min(start + size, len(bars))) for start in starts]
    if first:
        joined.insert(0, _join(bars, 0, min(first, len(bars))))
    return [candle for candle in joined if candle is not None][-columns:]


def _join(bars: Sequence[BarLike], start: int, end: int) -> Candle | None:
    group = [bar for bar in bars[start:end] if math.isfinite(bar.high - bar.low + bar.open - bar.close)]
    if not group:
        return None
    if len(group) == 1:
        bar = group[0]
        return Candle(bar.open_time, bar.open, bar.high, bar.low, bar.close, bar.base_volume, end - 1)
    return Candle(
        group[0].open_time,
        group[0].open,
        max([bar.high for bar in group]),
        min([bar.low for bar in group]),
        group[-1].close,
        sum([bar.base_volume for bar in group]),
        end - 1,
    )


class Scale(msgspec.Struct, frozen=True):
    """Maps values to steps counted down from the top of an area.

    Args:
        low: Value at the lower edge.
        high: Value at the upper edge; more than `low`.
        steps: Steps in the area: rows times the steps in a row.
    """

    low: float
    high: float
    steps: int

    def at(self, value: float) -> int:
        """Give the step of a value; outside the range it is below 0 or not below `steps`."""
        return math.floor((self.high - value) / (self.high - self.low) * self.steps)

    def inside(self, value: float) -> int:
        """Give the step of a value, clamped to the area."""
        return min(max(0, self.at(value)), self.steps - 1)


def scale_for(low: float, high: float, steps: int, smallest: float) -> Scale:
    """Make a scale with a little air above and below; an empty range is widened to the smallest step."""
    span = max(high - low, smallest)
    air = span / max(steps, 1) / 2
    middle = (high + low) / 2
    return Scale(middle - span / 2 - air, middle + span / 2 + air, steps)


def round_step(span: float, labels: int) -> float:
    """Give the round step (1, 2, 2.5 or 5 times a power of ten) that gives at most so many labels over a span."""
    if span <= 0 or labels <= 0:
        return 1.0
    rough = span / labels
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1.0, 2.0, 2.5, 5.0):
        if factor * power >= rough * (1 - 1e-9):
            return factor * power
    return 10.0 * power


def round_values(low: float, high: float, step: float) -> list[float]:
    """Give the multiples of a step inside a range, lowest first."""
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, min(last, first + 1000) + 1)]


def digits_of(step: float) -> int:
    """Count the digits after the point that multiples of a round step need."""
    for digits in range(12):
        scaled = step * 10**digits
        if abs(scaled - round(scaled)) < 1e-6 * max(1.0, scaled):
            return digits
    return 12


def time_label(milliseconds: int, step: int) -> str:
    """Write a UTC time as a chart label: `12:30`, or `08 Aug` at midnight and for steps of days."""
    if step < _DAY and milliseconds % _DAY >= step:
        minutes = milliseconds // _MINUTE % (24 * 60)
        return f"{minutes // 60:02d}:{minutes % 60:02d}"
    year, month, day = _civil(milliseconds // _DAY)
    return f"{day:02d} {_MONTHS[month - 1]}" if step < 91 * _DAY else f"{_MONTHS[month - 1]} {year}"


def _civil(days: int) -> tuple[int, int, int]:
    """Turn days since 1970-01-01 into year, month, day.

    Source: Howard Hinnant, chrono-compatible low-level date algorithms, civil_from_days.
    """
    shifted = days + 719_468
    era, day_of_era = divmod(shifted, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted_month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted_month + 2) // 5 + 1
    month = shifted_month + 3 if shifted_month < 10 else shifted_month - 9
    return year_of_era + era * 400 + (month <= 2), month, day


def time_marks(times: Sequence[int], gap: int) -> list[tuple[int, str]]:
    """Choose round times to label.

    Args:
        times: Start of each column, rising.
        gap: Least distance of labels in columns.

    Returns:
        Column and label, from left to right.
    """
    if len(times) < 2:
        return []
    per_column = max(1, (times[-1] - times[0]) // (len(times) - 1))
    step = next((step for step in _TIME_STEPS if step >= per_column * gap), _TIME_STEPS[-1])
    marks = []
    for column in range(1, len(times)):
        now = times[column]
        if now // step != times[column - 1] // step:
            marks.append((column, time_label(now // step * step, step)))
    return marks
