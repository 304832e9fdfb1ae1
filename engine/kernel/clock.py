"""The only source of time and randomness.

Everything that needs the time, a timer or a random number receives a `Clock` or an `Rng`. A `VirtualClock` moves only
when it is told to, so that the same inputs give the same run; a `LoopClock` follows the event loop, optionally from
another starting time and at another speed, so that a replayed market has its own time.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import itertools
import random
import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

_stopwatch_ns: Callable[[], int] = time.perf_counter_ns
if hasattr(time, "CLOCK_BOOTTIME"):  # Linux: the loop's clock stands while the machine sleeps, this one does not
    _stopwatch_ns = partial(time.clock_gettime_ns, time.CLOCK_BOOTTIME)

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


class TimerHandle(Protocol):
    """A scheduled call that can be taken back."""

    def cancel(self) -> None:
        """Take the call back; harmless when it has run already."""


class Clock(Protocol):
    """Time, timers and a stopwatch. Times are integer nanoseconds since the Unix epoch, UTC."""

    def now_ns(self) -> int:
        """Return the present time."""

    def now_ms(self) -> int:
        """Return the present time in milliseconds."""

    def call_at(self, when_ns: int, function: Callable[..., object], *args: Any) -> TimerHandle:
        """Call `function(*args)` at `when_ns`, or as soon as possible when that has passed."""

    def call_later(self, seconds: float, function: Callable[..., object], *args: Any) -> TimerHandle:
        """Call `function(*args)` after `seconds` of this clock's time."""

    def stopwatch_ns(self) -> int:
        """Return a monotonic reading for measuring how long work takes (virtual clocks return virtual time)."""

    def wall_ns(self) -> int:
        """Return the system's wall clock, only to notice that it stepped (virtual clocks return virtual time)."""


async def sleep(clock: Clock, seconds: float) -> None:
    """Wait for `seconds` of the clock's time."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not done.done():
            done.set_result(None)

    handle = clock.call_later(seconds, wake)
    try:
        await done
    finally:
        handle.cancel()


class _VirtualTimer:
    __slots__ = ("args", "function")

    def __init__(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.function: Callable[..., object] | None = function
        self.args = args

    def cancel(self) -> None:
        self.function = None
        self.args = ()


class VirtualClock:
    """A clock that stands still until `advance_to` moves it; timers run in order of time, then of scheduling."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns
        self._timers: list[tuple[int, int, _VirtualTimer]] = []
        self._order = itertools.count()

    def now_ns(self) -> int:
        """Return the present virtual time."""
        return self._now_ns

    def now_ms(self) -> int:
        """Return the present virtual time in milliseconds."""
        return self._now_ns // NS_PER_MS

    def stopwatch_ns(self) -> int:
        """Return the virtual time: work takes no time here."""
        return self._now_ns

    def wall_ns(self) -> int:
        """Return the virtual time: no other clock can step against it."""
        return self._now_ns

    def call_at(self, when_ns: int, function: Callable[..., object], *args: Any) -> TimerHandle:
        """Schedule a call; one whose time has passed runs at the next `advance_to`."""
        timer = _VirtualTimer(function, args)
        heapq.heappush(self._timers, (max(when_ns, self._now_ns), next(self._order), timer))
        return timer

    def call_later(self, seconds: float, function: Callable[..., object], *args: Any) -> TimerHandle:
        """Schedule a call `seconds` from now."""
        return self.call_at(self._now_ns + round(seconds * NS_PER_S), function, *args)

    def next_timer_ns(self) -> int | None:
        """Return the time of the next timer that is still wanted, or None."""
        while self._timers and self._timers[0][2].function is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def advance_to(self, when_ns: int) -> None:
        """Move to `when_ns`, running every timer that is due on the way. Never moves backwards."""
        timers = self._timers
        while timers and timers[0][0] <= when_ns:
            due_ns, _, timer = heapq.heappop(timers)
            function, args = timer.function, timer.args
            if function is None:
                continue
            self._now_ns = max(self._now_ns, due_ns)
            timer.cancel()
            function(*args)
        self._now_ns = max(self._now_ns, when_ns)

    def advance(self, seconds: float) -> None:
        """Move forward by `seconds`."""
        self.advance_to(self._now_ns + round(seconds * NS_PER_S))


class LoopClock:
    """A clock that runs with the asyncio event loop.

    Args:
        loop: The loop whose timers are used.
        start_ns: Time shown at creation; the system's wall clock when None.
        speed: How many seconds pass on this clock in one real second.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, start_ns: int | None = None, speed: float = 1.0) -> None:
        self._loop = loop
        self._loop_time = loop.time
        self._speed = speed
        self._ns_per_loop_s = speed * NS_PER_S
        self._start_ns = time.time_ns() if start_ns is None else start_ns
        self._start_loop = loop.time()

    def now_ns(self) -> int:
        """Return the present time of this clock."""
        return self._start_ns + int((self._loop_time() - self._start_loop) * self._ns_per_loop_s)

    def now_ms(self) -> int:
        """Return the present time in milliseconds."""
        return self.now_ns() // NS_PER_MS

    def stopwatch_ns(self) -> int:
        """Return the machine's monotonic time, sleep included, whatever the speed."""
        return _stopwatch_ns()

    def wall_ns(self) -> int:
        """Return the system's wall clock, whatever the speed."""
        return time.time_ns()

    def call_at(self, when_ns: int, function: Callable[..., object], *args: Any) -> TimerHandle:
        """Schedule a call on the loop."""
        loop_time = self._start_loop + (when_ns - self._start_ns) / NS_PER_S / self._speed
        return self._loop.call_at(loop_time, function, *args)

    def call_later(self, seconds: float, function: Callable[..., object], *args: Any) -> TimerHandle:
        """Schedule a call `seconds` of this clock's time from now."""
        return self._loop.call_later(seconds / self._speed, function, *args)


def monotonic_ns() -> int:
    """Return the process's monotonic time, for watching that real work does not take too long."""
    return time.monotonic_ns()


def wall_time_ns() -> int:
    """Return the system's wall clock; for choosing a starting time, not for measuring."""
    return time.time_ns()


def system_random_bytes(count: int) -> bytes:
    """Return unpredictable bytes from the operating system: for salts and nonces, never for simulation."""
    return secrets.token_bytes(count)


class Rng:
    """Seeded random numbers. `fork` gives an independent stream for a named use."""

    def __init__(self, seed: int | str) -> None:
        self.seed = seed
        self._random = random.Random(str(seed))
        self.random = self._random.random
        self.uniform = self._random.uniform
        self.gauss = self._random.gauss
        self.randint = self._random.randint
        self.expovariate = self._random.expovariate

    @classmethod
    def from_system(cls) -> Rng:
        """Return a stream seeded by the operating system: for identifiers that must differ between installations."""
        return cls(secrets.randbits(128))

    def fork(self, name: str) -> Rng:
        """Return a stream that depends only on this one's seed and `name`."""
        return Rng(hashlib.sha256(f"{self.seed}/{name}".encode()).hexdigest())

    def choice(self, options: Sequence[T]) -> T:
        """Return one element of a non-empty sequence."""
        return options[self._random.randrange(len(options))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in random order."""
        copy = list(items)
        self._random.shuffle(copy)
        return copy
