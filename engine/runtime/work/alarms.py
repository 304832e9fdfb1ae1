"""Named one-shot timers of one piece of work."""

from __future__ import annotations

from collections.abc import Callable

from engine.kernel.clock import Clock, TimerHandle


class Alarms:
    """Timers by name: setting one again replaces it."""

    __slots__ = ("_clock", "_timers")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timers: dict[str, TimerHandle] = {}

    def set(self, name: str, when_ns: int, call: Callable[[], None]) -> None:
        """Call `call` at a time."""
        self.cancel(name)

        def ring() -> None:
            self._timers.pop(name, None)
            call()

        self._timers[name] = self._clock.call_at(when_ns, ring)

    def is_set(self, name: str) -> bool:
        """Return whether a timer waits."""
        return name in self._timers

    def cancel(self, name: str) -> None:
        """Take a timer back; harmless when it is not set."""
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def cancel_all(self) -> None:
        """Take every timer back."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
