"""Why, how and when the program ends: by a signal, by the operator, by an error; gracefully, and not for ever."""

from __future__ import annotations

import asyncio
import signal

from engine.boot.system import System
from engine.boot.winding_down import StopReport, stop_policy, wind_down
from engine.io.settings import OnStop

LIMIT_S = 20
"""After this long the system ends the process, whatever it waits for."""
_AT_ONCE_S = 1


class Ending:
    """Becomes due once; whoever asks again after that does not want to wait.

    Args:
        system: What ends.

    Attributes:
        due: Set when the program is to end.
        hurry: Set when it must not wait for the venue any more.
        reason: Why it ends.
        code: Exit code of the process.
        policy: What becomes of resting orders.
    """

    def __init__(self, system: System) -> None:
        self.due = asyncio.Event()
        self.hurry = asyncio.Event()
        self.reason = ""
        self.code = 0
        self.policy: OnStop = stop_policy(system)
        self._system = system

    def follow(self, loop: asyncio.AbstractEventLoop, *numbers: signal.Signals) -> None:
        """End by these signals."""
        for number in numbers:
            loop.add_signal_handler(number, self._on_signal, number)

    def tell(self, reason: str, policy: OnStop | None = None, code: int = 0) -> None:
        """End; what is told later changes nothing."""
        if self.due.is_set():
            return
        self.reason, self.code, self.policy = reason, code, policy or self.policy
        # From here on the alarm means the limit, not a handler of a strategy that runs for too long.
        self._system.watch.stop()
        _limit(LIMIT_S)
        self.due.set()

    def _on_signal(self, number: signal.Signals) -> None:
        if self.due.is_set():
            self.hurry.set()
            _limit(_AT_ONCE_S)
        self.tell(number.name)

    async def wind_down(self) -> StopReport:
        """Bring the system to rest, as the policy says."""
        return await wind_down(self._system, self.policy, self.hurry)


def _limit(seconds: int) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)
