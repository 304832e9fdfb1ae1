"""The venue's own kill switch: it cancels our orders when this program is gone.

While the account is armed or orders of ours work, the venue is told again and again to cancel everything a minute from
now. It is off while a protective stop is kept at the venue: that must outlive this program.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from engine.kernel.clock import TimerHandle, sleep
from engine.kernel.errors import CtosError
from engine.kernel.orders import OrderType
from engine.runtime.events import TradingStateChanged
from engine.runtime.trading_state import TradingMode

if TYPE_CHECKING:
    from engine.runtime.execution import ExecutionEngine
    from engine.runtime.shell import Shell

TIMEOUT_S = 60
EVERY_S = 15.0
AGAIN_S = 3.0
TRIES = 3
"""So many calls in a row must fail before it is told: the venue's timer outlives that."""


class DeadMan:
    """Keeps the venue's timer set.

    Args:
        engine: The account's engine.
        shell: Carries the calls out.
        on_trouble: Called with why the timer cannot be set, and with nothing once it can again.

    Attributes:
        is_set: Whether the venue has said that it would cancel our orders.
    """

    def __init__(self, engine: ExecutionEngine, shell: Shell, on_trouble: Callable[[str], None]) -> None:
        self._engine = engine
        self._shell = shell
        self._on_trouble = on_trouble
        self._timer: TimerHandle | None = None
        self._told_why = False
        self._failures = 0
        self._is_wanted = self._may_be_set = False
        self.is_set = False

    def start(self) -> None:
        """Begin to keep the timer, from the next arming on at once, for orders that work already in a moment."""
        self._timer = self._engine.clock.call_later(AGAIN_S, self._beat)
        self._unsubscribe = self._engine.bus.subscribe(TradingStateChanged, self._on_state)

    def leave(self) -> bool:
        """Keep the timer no more, but leave it as it is; return whether it was kept until now."""
        if self._timer is None:
            return False
        self._timer.cancel()
        self._timer = None
        self._unsubscribe()
        return True

    async def stop(self) -> None:
        """Switch the timer off, so that resting orders outlive a clean end; says so when the venue does not answer."""
        if not self.leave():
            return
        for tries_left in reversed(range(TRIES if self._may_be_set else 0)):
            try:
                await self._engine.driver.cancel_all_after(0)
                break
            except CtosError as error:
                if not tries_left:
                    text = f"the venue's cancel timer could not be switched off, it may cancel resting orders: {error}"
                    self._engine.say(text, "error")
                else:
                    await sleep(self._engine.clock, 1.0)
        self.is_set = self._may_be_set = False

    def _on_state(self, event: TradingStateChanged) -> None:
        if event.state == TradingMode.ARMED and not self.is_set:
            self._beat()

    def _beat(self) -> None:
        """Tell the venue what holds now."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._engine.clock.call_later(EVERY_S, self._beat)
        protects = self._protective_stop()
        if protects and not self._told_why:
            self._engine.say(f"the venue's cancel timer is off while it keeps {protects}", "info")
        self._told_why = bool(protects)
        wanted = self._is_wanted = not protects and self._is_needed()
        if wanted or self._may_be_set:
            self._may_be_set = True  # noted first: an answer may be lost, or some symbols' timers set and others not
            call = self._engine.driver.cancel_all_after(TIMEOUT_S if wanted else 0)
            self._shell.run(call, partial(self._was_set, wanted), self._failed)

    def _is_needed(self) -> bool:
        """Return whether orders of ours work or may follow; what others leave working is theirs."""
        armed = self._engine.trading.mode is TradingMode.ARMED
        return armed or any(not (order.held or order.external) for order in self._engine.tracker.working())

    def _was_set(self, is_set: bool, _: None) -> None:
        self.is_set = is_set
        self._may_be_set = is_set or self._is_wanted
        if self._failures >= TRIES:
            self._on_trouble("")
        self._failures = 0

    def _failed(self, error: CtosError) -> None:
        self._may_be_set = True  # an earlier call may have gone on setting after a later one switched off
        self._failures += 1
        if self._failures == TRIES:
            self._on_trouble(f"the venue's cancel timer cannot be set, orders would outlive a crash: {error}")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._engine.clock.call_later(AGAIN_S, self._beat)

    def _protective_stop(self) -> str:
        """Return the label of a stop that the venue keeps for us, else nothing."""
        for order in self._engine.tracker.working():
            if order.type is OrderType.STOP and not order.held:
                return f"stop #{order.label} of {order.symbol}"
        return ""
