"""The start of each UTC day: the profit from which the day's profit is counted."""

from __future__ import annotations

from engine.kernel.clock import NS_PER_S, TimerHandle
from engine.runtime.core import EngineCore
from engine.runtime.records import DayAnchor

DAY_NS = 86_400 * NS_PER_S
_RETRY_S = 1.0


class DayRoller:
    """Journals profit and equity when a UTC day begins, or at the first start of a day.

    Args:
        core: The engine's shared parts.
    """

    def __init__(self, core: EngineCore) -> None:
        self._core = core
        self._timer: TimerHandle | None = None

    def start(self) -> None:
        """Begin the day if it has not begun, and wait for the next."""
        self.stop()
        core = self._core
        # Set first: whatever goes wrong below is looked at again.
        self._timer = core.clock.call_later(_RETRY_S, self.start)
        now_ns = core.clock.now_ns()
        day = now_ns // DAY_NS
        anchor = core.portfolio.anchor
        # A clock that was set back across midnight does not begin the day again.
        if anchor is None or not day <= anchor.day <= day + 1:
            profit = core.portfolio.profit()
            equity = core.portfolio.equity()
            if profit is None or equity is None:
                return  # What is held has no price yet: the day begins as soon as it can be valued.
            core.write(DayAnchor(int(day), equity, profit, core.clock.now_ms()))
        self._timer.cancel()
        self._timer = core.clock.call_at((day + 1) * DAY_NS, self.start)

    def stop(self) -> None:
        """Stop waiting."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
