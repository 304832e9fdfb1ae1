"""The venue's own kill switch: it cancels our orders when this program is gone.

While it runs, the venue is told again and again to cancel everything a minute from now. It is off while a protective
stop is kept at the venue: that must outlive this program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.kernel.clock import TimerHandle
from engine.kernel.errors import CtosError
from engine.kernel.orders import OrderType

if TYPE_CHECKING:
    from engine.runtime.execution import ExecutionEngine
    from engine.runtime.shell import Shell

TIMEOUT_S = 60
EVERY_S = 15.0


class DeadMan:
    """Keeps the venue's timer set.

    Args:
        engine: The account's engine.
        shell: Carries the calls out.

    Attributes:
        is_set: Whether the venue would cancel our orders.
        failure: Why the last call failed, empty when it did not.
    """

    def __init__(self, engine: ExecutionEngine, shell: Shell) -> None:
        self._engine = engine
        self._shell = shell
        self._timer: TimerHandle | None = None
        self._told_why = False
        self.is_set = False
        self.failure = ""

    def start(self) -> None:
        """Set the timer, and set it anew until stopped."""
        self._beat()

    async def stop(self) -> None:
        """Switch the timer off, so that resting orders outlive a clean end; says so when the venue does not answer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.is_set:
            try:
                await self._engine.driver.cancel_all_after(0)
            except CtosError as error:
                text = f"the venue's cancel timer could not be switched off, it may cancel resting orders: {error}"
                self._engine.say(text, "error")
            self.is_set = False

    def _beat(self) -> None:
        self._timer = self._engine.clock.call_later(EVERY_S, self._beat)
        protects = self._protective_stop()
        if protects and not self._told_why:
            self._engine.say(f"the venue's cancel timer is off while it keeps {protects}", "info")
        self._told_why = bool(protects)
        if protects and not self.is_set:
            return
        seconds = 0 if protects else TIMEOUT_S
        self._shell.run(
            self._engine.driver.cancel_all_after(seconds), lambda _: self._was_set(seconds > 0), self._failed
        )

    def _was_set(self, is_set: bool) -> None:
        self.is_set = is_set
        if self.failure:
            self._engine.say("the venue's cancel timer works again", "info")
        self.failure = ""

    def _failed(self, error: CtosError) -> None:
        if not self.failure:
            text = f"the venue's cancel timer cannot be set, orders would outlive a crash: {error}"
            self._engine.core.alarm("dead_man", text)
        self.failure = str(error)

    def _protective_stop(self) -> str:
        """Return the label of a stop that the venue keeps for us, else nothing."""
        for order in self._engine.tracker.working():
            if order.type is OrderType.STOP and not order.held:
                return f"stop #{order.label} of {order.symbol}"
        return ""
