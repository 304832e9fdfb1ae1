"""A clock that runs with the event loop and can be wound forward, so that a minute of silence takes no minute."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any

from engine.kernel.clock import NS_PER_MS, NS_PER_S, TimerHandle

_TURNS = 12
"""Turns of the loop after each step: enough for a message to cross the loopback and be answered."""


class _Timer:
    __slots__ = ("args", "function")

    def __init__(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.function: Callable[..., object] | None = function
        self.args = args

    def cancel(self) -> None:
        self.function = None
        self.args = ()


class ElasticClock:
    """Time that goes on by itself, plus what it was wound.

    Args:
        loop: The loop whose time it follows.
        start_ns: Time shown at creation.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, start_ns: int) -> None:
        self._loop = loop
        self._zero = loop.time()
        self._shown_ns = start_ns
        self._timers: list[tuple[int, int, _Timer]] = []
        self._order = itertools.count()
        self._alarm: asyncio.TimerHandle | None = None

    def now_ns(self) -> int:
        """Return the present time."""
        return self._shown_ns + int((self._loop.time() - self._zero) * NS_PER_S)

    def now_ms(self) -> int:
        """Return the present time in milliseconds."""
        return self.now_ns() // NS_PER_MS

    def stopwatch_ns(self) -> int:
        """Return the present time: winding counts as work."""
        return self.now_ns()

    def wall_ns(self) -> int:
        """Return the present time: no other clock steps against it."""
        return self.now_ns()

    def call_at(self, when_ns: int, function: Callable[..., object], *args: Any) -> TimerHandle:
        """Call `function(*args)` at `when_ns`, or as soon as possible."""
        timer = _Timer(function, args)
        heapq.heappush(self._timers, (when_ns, next(self._order), timer))
        if self._timers[0][2] is timer:
            self._set_alarm()
        return timer

    def call_later(self, seconds: float, function: Callable[..., object], *args: Any) -> TimerHandle:
        """Call `function(*args)` after `seconds`."""
        return self.call_at(self.now_ns() + round(seconds * NS_PER_S), function, *args)

    async def wind(self, seconds: float, step_s: float = 0.5) -> None:
        """Let time pass at once, in steps, with room for messages between them."""
        left_ns = round(seconds * NS_PER_S)
        while left_ns > 0:
            step_ns = min(left_ns, round(step_s * NS_PER_S))
            left_ns -= step_ns
            self._shown_ns += step_ns
            self._run_due()
            for _ in range(_TURNS):
                await asyncio.sleep(0)

    def _run_due(self) -> None:
        timers, now_ns = self._timers, self.now_ns()
        while timers and timers[0][0] <= now_ns:
            _, _, timer = heapq.heappop(timers)
            function, args = timer.function, timer.args
            if function is not None:
                timer.cancel()
                function(*args)
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        while self._timers and self._timers[0][2].function is None:
            heapq.heappop(self._timers)
        if self._timers:
            wait_ns = max(0, self._timers[0][0] - self.now_ns())
            self._alarm = self._loop.call_later(wait_ns / NS_PER_S, self._run_due)
