"""What dies in a crash: the clock's timers, and what the disk has not got yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from engine.io.writer import Call, OnError, Work
from engine.kernel.clock import NS_PER_MS, NS_PER_S, Rng, TimerHandle
from engine.kernel.errors import CtosError
from tests.sim.loop import SimLoop


class SimClock:
    """Loop time as the time of day; after `dead` is set its timers do nothing.

    Args:
        loop: Whose time it is.
        start_ns: Time of day at the loop's beginning.
    """

    def __init__(self, loop: SimLoop, start_ns: int) -> None:
        self.loop = loop
        self._start_ns = start_ns
        self.dead = False

    def now_ns(self) -> int:
        """Return the present time."""
        return self._start_ns + self.loop.now_ns

    def now_ms(self) -> int:
        """Return the present time in milliseconds."""
        return (self._start_ns + self.loop.now_ns) // NS_PER_MS

    def stopwatch_ns(self) -> int:
        """Return the present time: work takes none."""
        return self.now_ns()

    def wall_ns(self) -> int:
        """Return the present time: no other clock steps against it."""
        return self.now_ns()

    def call_at(self, when_ns: int, function: Callable[..., object], *args: Any) -> TimerHandle:
        """Schedule a call."""
        return self.loop.call_at((when_ns - self._start_ns) / NS_PER_S, self._fire, function, args)

    def call_later(self, seconds: float, function: Callable[..., object], *args: Any) -> TimerHandle:
        """Schedule a call `seconds` from now."""
        return self.loop.call_later(seconds, self._fire, function, args)

    def _fire(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        if not self.dead:
            function(*args)


class SlowDisk:
    """Does the writer thread's work as late as the disk is slow now, on the simulated loop.

    Args:
        clock: Time; work that is not done when it dies is lost, as by a crash.
        rng: How long the disk takes.
        on_error: Takes errors that nobody else takes.
    """

    is_synchronous = False

    def __init__(self, clock: SimClock, rng: Rng, on_error: OnError) -> None:
        self._clock = clock
        self._rng = rng
        self._on_error = on_error
        self._work: deque[tuple[Work, Call | None, OnError]] = deque()
        self._outcomes: deque[Call] = deque()

    def submit(self, work: Work, on_done: Call | None = None, on_error: OnError | None = None) -> None:
        """Queue work."""
        if self._clock.dead:
            return
        self._work.append((work, on_done, on_error or self._on_error))
        if len(self._work) == 1:
            self._clock.call_later(self._rng.uniform(*self._clock.loop.disk_s), self._turn)

    @property
    def is_busy(self) -> bool:
        """Whether there is something that the disk has not got yet."""
        return bool(self._work)

    def wait(self) -> None:
        """Do everything that is queued now; its outcomes follow on the loop."""
        if self._clock.dead:
            return
        self._do_work()
        if self._outcomes:
            self._clock.call_later(0.0, self._deliver)

    def close(self) -> None:
        """Finish."""
        self.wait()

    def _turn(self) -> None:
        self._do_work()
        self._deliver()

    def _do_work(self) -> None:
        while self._work:
            work, on_done, on_error = self._work.popleft()
            try:
                calls = work()
            except CtosError as error:
                on_error(error)
                continue
            self._outcomes.extend(calls or ())
            if on_done is not None:
                self._outcomes.append(on_done)

    def _deliver(self) -> None:
        while self._outcomes and not self._clock.dead:
            self._outcomes.popleft()()
