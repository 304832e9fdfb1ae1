"""Whether what a venue says about the account can be trusted now: no entries while fills may go unseen."""

from __future__ import annotations

from engine.kernel.account import AccountStream
from engine.kernel.clock import Clock
from engine.kernel.errors import RiskReject
from engine.kernel.links import LinkState
from engine.kernel.syscalls import Driver
from engine.runtime.reconcile import Reconciler

PRIVATE_LINK = "private"


class StreamWatch:
    """Follows the account's stream from its breaks to the time at which what was missed is known.

    Args:
        driver: Tells the state of its connections.
        reconciler: Asks for what was missed.
        clock: Engine time.
    """

    def __init__(self, driver: Driver, reconciler: Reconciler, clock: Clock) -> None:
        self._driver = driver
        self._reconciler = reconciler
        self._clock = clock
        self._last = AccountStream(True, "")
        self._changed_ns = 0

    def on_change(self, event: AccountStream) -> None:
        """Take in that the stream broke, or is back."""
        self._last, self._changed_ns = event, self._clock.now_ns()

    def trouble(self) -> str:
        """Return why the stream cannot be trusted now, else nothing."""
        if not self._last.live:
            return f"account stream down: {self._last.reason}"
        for link in self._driver.links():
            if link.name == PRIVATE_LINK and link.state is not LinkState.LIVE:
                return f"account stream {link.state.value}" + (f": {link.detail}" if link.detail else "")
        if self._reconciler.last_agreed_ns < self._changed_ns:
            return "account stream is back; what was missed is being asked for"
        return ""

    def check(self) -> None:
        """Refuse an order that would increase exposure while the stream cannot be trusted.

        Raises:
            RiskReject: Rule `account_stream`, with the trouble in words.
        """
        trouble = self.trouble()
        if trouble:
            raise RiskReject("account_stream", "", trouble, hint="reductions and cancels pass")
