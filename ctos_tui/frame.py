"""When panes are painted: slots with rates, staggered, at a pace that the terminal and the loop can keep.

This is the terminal's own time seam: frames follow the operator's clock, never the market's.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

from ctos_tui.numbers import latency

monotonic = time.monotonic

LEVELS = (20, 15, 10, 5, 2, 1)
NOMINAL_FPS = 10
GAP = 1 / 40

_BEHIND_SECONDS = 0.2
_SLOW_ROUND_TRIP = 0.150
_PAINT_SHARE = 0.25
_LAG_SECONDS = 0.020
_LAG_LASTS = 5.0
_DOWN_AGAIN = 1.0
_GOOD_SECONDS = 5.0
_IDLE = 0.25


@dataclass(frozen=True, slots=True)
class Load:
    """What the frame rate follows, measured over the last second or two.

    Args:
        behind_since: Since when output has been waiting without a break, in seconds of the frame clock.
        round_trip: The last answered round trip to the terminal in seconds, if known.
        base_round_trip: The best round trip of late.
        paint_share: Share of the loop's time spent painting.
        lag: Loop lag, 99th percentile, in seconds; too much only when it lasts five seconds.
    """

    behind_since: float | None = None
    round_trip: float | None = None
    base_round_trip: float | None = None
    paint_share: float = 0.0
    lag: float = 0.0

    def too_much(self, now: float) -> str:
        """Say what is too much, or nothing."""
        if self.behind_since is not None and now - self.behind_since >= _BEHIND_SECONDS:
            return "output waits"
        if self.round_trip is not None and self.round_trip > (self.base_round_trip or 0.0) + _SLOW_ROUND_TRIP:
            return "slow link"
        return "painting costs too much" if self.paint_share > _PAINT_SHARE else ""


@dataclass(slots=True)
class Pace:
    """Frames a second, one level down when something is too much, one up after five good seconds.

    Args:
        max_fps: Highest level used; 10 is the rate that slots are stated at.
        fixed: Stay at `max_fps` whatever happens.
    """

    max_fps: int = NOMINAL_FPS
    fixed: bool = False
    reason: str = ""
    _level: int = 0
    _changed: float | None = None
    _counted: float | None = None
    _good_since: float | None = None
    _lagging_since: float | None = None

    def __post_init__(self) -> None:
        """Start at the highest level allowed."""
        self._level = self._highest

    @property
    def _highest(self) -> int:
        return next((at for at, fps in enumerate(LEVELS) if fps <= self.max_fps), len(LEVELS) - 1)

    @property
    def fps(self) -> int:
        """The present level in frames a second."""
        return LEVELS[self._level]

    def observe(self, now: float, load: Load) -> None:
        """Look at the load and change the level by at most one."""
        if self.fixed:
            return
        trouble = load.too_much(now) or self._lasting_lag(now, load.lag)
        if trouble:
            self._good_since = None
            self.reason = trouble
            # One stall is one reason, however long it lasts; a slow link gives a new one with each frame.
            known = load.behind_since is not None and load.behind_since == self._counted
            if not known and (self._changed is None or now - self._changed >= _DOWN_AGAIN):
                self._level = min(self._level + 1, len(LEVELS) - 1)
                self._changed = now
                self._counted = load.behind_since
            return
        if self._good_since is None:
            self._good_since = now
        if now - self._good_since >= _GOOD_SECONDS and self._level > self._highest:
            self._level -= 1
            self._changed = self._good_since = now
        if self._level == self._highest:
            self.reason = ""

    def _lasting_lag(self, now: float, lag: float) -> str:
        if lag <= _LAG_SECONDS:
            self._lagging_since = None
        elif self._lagging_since is None:
            self._lagging_since = now
        elif now - self._lagging_since >= _LAG_LASTS:
            return "loop lags"
        return ""


@dataclass(slots=True)
class Slot:
    """One pane's turn to be painted.

    Args:
        name: Whose turn.
        hz: Times a second at the nominal rate of 10 frames a second.
        paint: Reads the view model and marks what changed.
        visible: Asked before each turn; a hidden pane is left alone.
        large: Costs enough that two of the kind must not fall into one frame.
        steady: Keeps its rate whatever the pace.
        due: Next turn, in seconds of the frame clock.
    """

    name: str
    hz: float
    paint: Callable[[], None]
    visible: Callable[[], bool]
    large: bool
    steady: bool
    due: float


def _always() -> bool:
    return True


@dataclass(slots=True)
class FrameClock:
    """Gives each pane its turns; at most one large pane in a frame.

    Args:
        pace: The frame rate.
        now: Seconds of a monotonic clock.
        on_error: Told the slot's name and the error when a pane fails; the others go on, and it is tried again.
            It must not raise.
    """

    on_error: Callable[[str, Exception], None]
    pace: Pace = field(default_factory=Pace)
    now: Callable[[], float] = monotonic
    focused: bool = True
    _slots: dict[str, Slot] = field(default_factory=dict)
    _handle: asyncio.TimerHandle | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    def add(
        self,
        name: str,
        hz: float,
        paint: Callable[[], None],
        *,
        visible: Callable[[], bool] = _always,
        large: bool = True,
        steady: bool = False,
    ) -> None:
        """Give a pane turns; a name that exists is replaced. See `Slot` for the arguments."""
        offset = GAP * len(self._slots)
        self._slots[name] = Slot(name, hz, paint, visible, large, steady, self.now() + offset)

    def remove(self, name: str) -> None:
        """Take a pane's turns away; harmless when it has none."""
        self._slots.pop(name, None)

    def interval(self, slot: Slot) -> float:
        """Give the seconds between two turns of a slot at the present pace."""
        hz = slot.hz
        if not slot.steady:
            hz *= self.pace.fps / NOMINAL_FPS
            if not self.focused:
                hz /= 2
        return 1 / hz

    def tick(self, now: float | None = None) -> float:
        """Paint what is due: every small slot, and of the large ones the one that has waited longest.

        Args:
            now: The time of this frame; the clock's own when not given.

        Returns:
            Seconds until the next frame is due.
        """
        at = self.now() if now is None else now
        due = sorted((slot for slot in self._slots.values() if slot.due <= at), key=lambda slot: slot.due)
        large_done = False
        for slot in due:
            if slot.large and large_done:
                continue
            interval = self.interval(slot)
            slot.due = slot.due + interval if at - slot.due < interval else at + interval
            if slot.visible():
                large_done |= slot.large
                self._paint(slot)
        following = min((slot.due for slot in self._slots.values()), default=at + _IDLE)
        return max(GAP, following - at)

    def _paint(self, slot: Slot) -> None:
        try:
            slot.paint()
        except Exception as error:
            self.on_error(slot.name, error)

    def paint_all(self) -> None:
        """Give every visible slot a turn at once, as after a stall or for a picture."""
        for slot in list(self._slots.values()):
            if slot.visible():
                self._paint(slot)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tick by itself in a loop until stopped."""
        self.stop()
        self._loop = loop
        self._handle = loop.call_later(0, self._run)

    def stop(self) -> None:
        """Stop ticking."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _run(self) -> None:
        if self._loop is not None:
            self._handle = self._loop.call_later(self.tick(), self._run)


@dataclass(slots=True)
class LagMeter:
    """Measures how late the loop runs a timer that is due every few milliseconds.

    A stall counts once for each turn that it swallowed, as something that arrived during it would have waited.

    Args:
        period: Seconds between turns.
        window: Seconds that percentiles look back.
    """

    period: float = 0.005
    window: float = 10.0
    _lags: deque[float] = field(init=False)
    _handle: asyncio.TimerHandle | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _due: float = 0.0

    def __post_init__(self) -> None:
        """Start with an empty window."""
        self._lags = deque(maxlen=int(self.window / self.period))

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Measure a loop until stopped."""
        self.stop()
        self._loop = loop
        self._lags.clear()
        self._due = loop.time() + self.period
        self._handle = loop.call_at(self._due, self._turn)

    def stop(self) -> None:
        """Stop measuring."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _turn(self) -> None:
        if self._loop is None:
            return
        now = self._loop.time()
        self.record(now - self._due)
        self._due = max(self._due + self.period, now)
        self._handle = self._loop.call_at(self._due, self._turn)

    def record(self, lag: float) -> None:
        """Count a turn that was late by so many seconds, and those that it swallowed."""
        lag = max(0.0, lag)
        for _ in range(self._lags.maxlen or 1):
            self._lags.append(lag)
            lag -= self.period
            if lag <= 0:
                break

    def percentile(self, share: float = 0.99, seconds: float | None = None) -> float:
        """Give the lag in seconds that a share of turns did not exceed.

        Args:
            share: For the 99th percentile, 0.99.
            seconds: Look back only so far; the whole window when None.
        """
        turns = len(self._lags) if seconds is None else int(seconds / self.period)
        ordered = sorted(islice(reversed(self._lags), turns))
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0

    @property
    def worst(self) -> float:
        """The largest lag in the window, in seconds."""
        return max(self._lags, default=0.0)


def link_text(fps: int, bytes_per_second: float, round_trip: float | None) -> str:
    """Write how the screen does, for the status bar: `10fps 48kB/s rtt 83ms`."""
    text = f"{fps}fps {bytes_per_second / 1000:.0f}kB/s"
    return text if round_trip is None else f"{text} rtt {latency(round_trip * 1000)}"
