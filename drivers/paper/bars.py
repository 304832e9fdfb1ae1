"""Candles built from the trades that were played."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from engine.kernel.market import TIMEFRAME_MS, Bar

MINUTE_MS = 60_000
_MINUTES_KEPT = 10_080

BarHandler = Callable[[Bar], None]


class MinuteBars:
    """The minutes of one instrument since the market started.

    Attributes:
        closed: Finished minutes, oldest first.
        forming: The present minute, None before its first trade.
    """

    __slots__ = ("_symbol", "closed", "forming")

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol
        self.closed: deque[Bar] = deque(maxlen=_MINUTES_KEPT)
        self.forming: Bar | None = None

    def trade(self, minute_ms: int, price: float, size: float) -> None:
        """Count a trade into the minute that opened at `minute_ms`."""
        bar = self.forming
        if bar is None:
            self.forming = Bar(
                self._symbol, "1m", minute_ms, price, price, price, price, size, price * size, closed=False
            )
            return
        if price > bar.high:
            bar.high = price
        elif price < bar.low:
            bar.low = price
        bar.close = price
        bar.base_volume += size
        bar.quote_volume += price * size

    def close_minute(self, minute_ms: int, alive: bool) -> Bar | None:
        """Finish the minute that opened at `minute_ms`.

        Returns:
            The bar; without trades a flat one, flagged missing unless the market was `alive`; None before any price.
        """
        bar = self.forming
        if bar is None:
            if not self.closed:
                return None
            close = self.closed[-1].close
            bar = Bar(self._symbol, "1m", minute_ms, close, close, close, close, 0.0, 0.0, missing=not alive)
        bar.closed = True
        self.forming = None
        self.closed.append(bar)
        return bar


def merged(first: Bar | None, second: Bar, timeframe: str, closed: bool) -> Bar:
    """Return the candle of two neighbouring parts of one period; `first` None stands for nothing before."""
    step = TIMEFRAME_MS[timeframe]
    start = second.open_time - second.open_time % step
    if first is None:
        return Bar(
            second.symbol, timeframe, start, second.open, second.high, second.low, second.close,
            second.base_volume, second.quote_volume, closed, second.missing,
        )  # fmt: skip
    return Bar(
        first.symbol, timeframe, start, first.open, max(first.high, second.high), min(first.low, second.low),
        second.close, first.base_volume + second.base_volume, first.quote_volume + second.quote_volume, closed,
        first.missing and second.missing,
    )  # fmt: skip


def aggregated(minutes: Iterable[Bar], timeframe: str, before: Bar | None = None) -> list[Bar]:
    """Return candles of `timeframe` from minutes, oldest first.

    Args:
        minutes: Consecutive one-minute bars; the last may be unclosed.
        timeframe: Length of the candles.
        before: The part of the first candle that lies before the minutes.
    """
    step = TIMEFRAME_MS[timeframe]
    bars: list[Bar] = []
    present = before
    for minute in minutes:
        if present is not None and present.open_time != minute.open_time - minute.open_time % step:
            bars.append(present)
            present = None
        ends = minute.closed and (minute.open_time + MINUTE_MS) % step == 0
        present = merged(present, minute, timeframe, closed=ends)
    if present is not None:
        bars.append(present)
    return bars


class BarStream:
    """Candles of one instrument and length as they form, for its subscribers.

    Args:
        timeframe: Length of the candles.
        before: The part of the present candle that lies before the present minute.
    """

    __slots__ = ("_before", "_sent_volume", "_step", "handlers", "timeframe")

    def __init__(self, timeframe: str, before: Bar | None) -> None:
        self.timeframe = timeframe
        self.handlers: tuple[BarHandler, ...] = ()
        self._before = before
        self._step = TIMEFRAME_MS[timeframe]
        self._sent_volume = -1.0

    def forming(self, minute: Bar) -> None:
        """Deliver the unclosed candle, if trades changed it since the last time."""
        bar = merged(self._before, minute, self.timeframe, closed=False)
        if bar.base_volume != self._sent_volume:
            self._sent_volume = bar.base_volume
            self._deliver(bar)

    def minute_closed(self, minute: Bar) -> None:
        """Take a finished minute in, and deliver the candle if it ends with it."""
        bar = merged(self._before, minute, self.timeframe, closed=True)
        if (minute.open_time + MINUTE_MS) % self._step:
            self._before = bar
            return
        self._before = None
        self._sent_volume = -1.0
        self._deliver(bar)

    def _deliver(self, bar: Bar) -> None:
        for handler in self.handlers:
            handler(bar)
