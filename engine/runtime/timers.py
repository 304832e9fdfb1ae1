"""Named timers of a strategy instance, on the engine's clock."""

from __future__ import annotations

from collections.abc import Callable

from engine.kernel.clock import NS_PER_MS, NS_PER_S, Clock, TimerHandle
from engine.kernel.errors import InvalidOrder


class InstanceTimers:
    """Named timers of one instance.

    Args:
        clock: Engine time.
        fire: Called with name and payload of each timer that is due.
    """

    def __init__(self, clock: Clock, fire: Callable[[str, object], None]) -> None:
        self._clock = clock
        self._call = fire
        self._timers: dict[str, TimerHandle] = {}

    def at(self, name: str, time_ms: int, payload: object = None) -> None:
        """Fire once at a UTC time."""
        self._set(name, time_ms * NS_PER_MS, 0, payload)

    def after(self, name: str, seconds: float, payload: object = None) -> None:
        """Fire once after a delay."""
        self._set(name, self._clock.now_ns() + round(seconds * NS_PER_S), 0, payload)

    def every(self, name: str, seconds: float, payload: object = None) -> None:
        """Fire at every UTC-aligned multiple of `seconds`."""
        period_ns = round(seconds * NS_PER_S)
        if period_ns <= 0:
            raise InvalidOrder(f"timer {name!r}: the period must be positive, got {seconds:g} s")
        self._set(name, self._next_multiple(period_ns), period_ns, payload)

    def cancel(self, name: str) -> None:
        """Take a timer back."""
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def cancel_all(self) -> None:
        """Take every timer back."""
        for name in list(self._timers):
            self.cancel(name)

    def _next_multiple(self, period_ns: int) -> int:
        return (self._clock.now_ns() // period_ns + 1) * period_ns

    def _set(self, name: str, when_ns: int, period_ns: int, payload: object) -> None:
        self.cancel(name)
        self._timers[name] = self._clock.call_at(when_ns, self._fire, name, period_ns, payload)

    def _fire(self, name: str, period_ns: int, payload: object) -> None:
        self._timers.pop(name, None)
        if period_ns:
            self._set(name, self._next_multiple(period_ns), period_ns, payload)
        self._call(name, payload)
