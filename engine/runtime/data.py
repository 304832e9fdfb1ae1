"""Closed candles: history first, then the stream, without gaps that pretend to be data."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from engine.kernel.clock import Clock
from engine.kernel.errors import CtosError
from engine.kernel.market import TIMEFRAME_MS, Bar
from engine.kernel.syscalls import Driver, Unsubscribe
from engine.runtime.shell import Shell

MAX_BARS = 1500
_MAX_HOLES = 500
_RETRY_S = 5.0

BarHandler = Callable[[Bar], None]


@dataclass(slots=True)
class _Series:
    closed: deque[Bar] = field(default_factory=lambda: deque(maxlen=MAX_BARS))
    forming: Bar | None = None
    handlers: list[BarHandler] = field(default_factory=list)
    early: list[Bar] = field(default_factory=list)
    loaded: bool = False
    unsubscribe: Unsubscribe | None = None


class LateBar(NamedTuple):
    """A watched series that is behind: `seconds` since its last bar closed."""

    symbol: str
    timeframe: str
    seconds: float


class BarFeed:
    """Keeps the last closed bars of every (symbol, timeframe) that somebody watches.

    Args:
        driver: Where history and stream come from.
        clock: Engine time, for retries.
        shell: Runs the history queries.
        on_error: Told when history cannot be loaded; loading is tried again.
    """

    def __init__(self, driver: Driver, clock: Clock, shell: Shell, on_error: Callable[[str, CtosError], None]) -> None:
        self._driver = driver
        self._clock = clock
        self._shell = shell
        self._on_error = on_error
        self._series: dict[tuple[str, str], _Series] = {}

    def watch(self, symbol: str, timeframe: str, handler: BarHandler | None = None) -> Unsubscribe:
        """Keep bars of a symbol; `handler` is called with each bar that closes from now on, oldest first."""
        key = (symbol, timeframe)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series()
            series.unsubscribe = self._driver.subscribe_klines(symbol, timeframe, lambda bar: self._stream(key, bar))
            self._load(key)
        if handler is not None:
            series.handlers.append(handler)

        def unwatch() -> None:
            if handler is not None and handler in series.handlers:
                series.handlers.remove(handler)

        return unwatch

    def bars(self, symbol: str, timeframe: str, count: int = MAX_BARS) -> list[Bar]:
        """Return up to `count` closed bars, oldest first."""
        series = self._series.get((symbol, timeframe))
        if series is None:
            return []
        bars = list(series.closed)
        return bars[-count:]

    def forming(self, symbol: str, timeframe: str) -> Bar | None:
        """Return the candle that is still open, if any trade began it."""
        series = self._series.get((symbol, timeframe))
        return series.forming if series else None

    def is_loaded(self, symbol: str, timeframe: str) -> bool:
        """Return whether the history query has been answered."""
        series = self._series.get((symbol, timeframe))
        return series is not None and series.loaded

    def late(self) -> list[LateBar]:
        """Return the watched series of which no bar has closed for more than two of their timeframes."""
        now_ms, found = self._clock.now_ms(), []
        for (symbol, timeframe), series in self._series.items():
            if series.handlers and series.closed:
                step = TIMEFRAME_MS[timeframe]
                late_ms = now_ms - (series.closed[-1].open_time + step)
                if late_ms > 2 * step:
                    found.append(LateBar(symbol, timeframe, late_ms / 1000))
        return found

    def close(self) -> None:
        """End all subscriptions."""
        for series in self._series.values():
            if series.unsubscribe is not None:
                series.unsubscribe()
        self._series.clear()

    def _load(self, key: tuple[str, str]) -> None:
        def failed(error: CtosError) -> None:
            self._on_error(f"history of {key[0]} {key[1]}", error)
            self._clock.call_later(_RETRY_S, self._load, key)

        if key in self._series:
            query = self._driver.get_klines(key[0], key[1], limit=MAX_BARS)
            self._shell.run(query, lambda bars: self._loaded(key, bars), failed)

    def _loaded(self, key: tuple[str, str], bars: list[Bar]) -> None:
        series = self._series.get(key)
        if series is None:
            return
        for bar in bars:
            if bar.closed:
                self._append(series, bar)
            else:
                series.forming = bar
        series.loaded = True
        early, series.early = series.early, []
        for bar in early:
            self._stream(key, bar)

    def _stream(self, key: tuple[str, str], bar: Bar) -> None:
        series = self._series.get(key)
        if series is None:
            return
        if not series.loaded:
            series.early.append(bar)
        elif not bar.closed:
            series.forming = bar
        else:
            if series.forming is not None and series.forming.open_time <= bar.open_time:
                series.forming = None
            for added in self._append(series, bar):
                for handler in tuple(series.handlers):
                    handler(added)

    def _append(self, series: _Series, bar: Bar) -> list[Bar]:
        """Append a closed bar once, flagged holes before it; return what was added."""
        step = TIMEFRAME_MS[bar.timeframe]
        added: list[Bar] = []
        if series.closed:
            last = series.closed[-1]
            if bar.open_time <= last.open_time:
                return []
            first_hole = max(last.open_time + step, bar.open_time - _MAX_HOLES * step)
            for open_time in range(first_hole, bar.open_time, step):
                close = last.close
                added.append(
                    Bar(bar.symbol, bar.timeframe, open_time, close, close, close, close, 0.0, 0.0, missing=True)
                )
        added.append(bar)
        series.closed.extend(added)
        return added
