"""The signs of life of a running system: the pulse of its loop, and what its service manager is told."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from engine.io.loop_watch import LoopWatch
from engine.io.service import ServiceManager
from engine.kernel.errors import CtosError
from engine.runtime.events import TradingStateChanged

if TYPE_CHECKING:
    from engine.boot.system import System

_SERVED = ("run", "console")
"""Programs that a service manager keeps running; other commands only borrow its environment."""


class Vitals:
    """Watches the loop of a system and keeps its service manager informed.

    Args:
        system: The system.
        program: What runs it.
    """

    def __init__(self, system: System, program: str) -> None:
        self._system = system
        account = system.account
        path = system.paths.logs / f"{account.venue}_Account{account.index}_blocked_loop.log"
        self.watch = LoopWatch(path, system.writer, self._on_late, self._on_error)
        environment = os.environ if program in _SERVED else {}
        self._manager = ServiceManager(environment, lambda text: system.engine.say(text, "warn"))

    def start(self) -> None:
        """The system has started: watch its loop from now on, and tell the service manager.

        A long journal holds the loop while it is read, which is no fault; nothing is traded before that.
        """
        assert self._system.loop is not None
        self.watch.start(self._system.loop)
        self._manager.ready(self._system.loop, self._status())
        if self._manager.is_there:
            self._system.bus.subscribe(TradingStateChanged, lambda _: self._manager.status(self._status()))

    def stopping(self) -> None:
        """Tell the service manager that the system is about to stop."""
        self._manager.stopping()

    def stop(self) -> None:
        """Watch the loop no more."""
        self.watch.stop()

    def _status(self) -> str:
        system = self._system
        return f"{system.account.key} ({system.account.mode.value}): {system.engine.trading.describe()}"

    def _on_late(self, late_s: float, place: str) -> None:
        """Name who held the loop; what trading makes of a program that stood still, the engine decides by itself."""
        self._system.engine.core.alarm("loop_held", f"the event loop was held for {late_s:.1f} s {place}")

    def _on_error(self, error: CtosError) -> None:
        self._system.engine.say(f"what holds the loop cannot be written down: {error}", "warn")
