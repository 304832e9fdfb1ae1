"""Funding payments of the account: the venue streams none, so its bills are read once a minute."""

from __future__ import annotations

from collections.abc import Callable

from drivers.okx.history import DAY_MS, History
from drivers.transport.setup import Log, VenueStore
from engine.kernel.account import FundingPayment
from engine.kernel.clock import Clock, sleep
from engine.kernel.errors import CtosError

EVERY_S = 60.0
FIRST_S = 5.0
OVERLAP_MS = 600_000
"""Bills may be listed late: each look reaches back so far before the last one."""
REACH_MS = 7 * DAY_MS - 3_600_000
_STORE_KEY = "funding_until"


class FundingWatch:
    """Reads funding bills, each published once.

    Args:
        history: Asks for the bills.
        store: Keeps until when they were read, so that those of a time without us are not missed.
        clock: Timers.
        now_ms: Returns the venue's time.
        publish: Takes each payment.
        is_heard: Whether somebody listens to the account.
        log: Takes lines for the operator.
    """

    def __init__(
        self,
        history: History,
        store: VenueStore,
        clock: Clock,
        now_ms: Callable[[], int],
        publish: Callable[[FundingPayment], None],
        is_heard: Callable[[], bool],
        log: Log,
    ) -> None:
        self._history = history
        self._store = store
        self._clock = clock
        self._now_ms = now_ms
        self._publish = publish
        self._is_heard = is_heard
        self._log = log
        self._told: dict[str, int] = {}
        self._failure = ""

    async def run(self) -> None:
        """Look for payments until cancelled."""
        if self._store.load(_STORE_KEY) is None:
            self._keep(self._now_ms() + OVERLAP_MS)  # what was settled before the first start is not ours to book
        await sleep(self._clock, FIRST_S)
        while True:
            if self._is_heard():
                try:
                    await self.look()
                    self._failure = ""
                except CtosError as error:
                    if str(error) != self._failure:
                        self._failure = str(error)
                        self._log("warning", f"okx: funding payments could not be asked for: {error}")
            await sleep(self._clock, EVERY_S)

    async def look(self) -> None:
        """Ask for payments since the last look and publish those that are new.

        Raises:
            CtosError: The venue could not be asked.
        """
        now_ms = self._now_ms()
        saved = self._store.load(_STORE_KEY)
        since = int(saved) - OVERLAP_MS if saved is not None else now_ms
        if since < now_ms - REACH_MS:
            self._log(
                "warning", "okx: funding payments from more than 7 days ago cannot be asked for and are not booked"
            )
            since = now_ms - REACH_MS
        payments = await self._history.funding_payments(since)
        for payment in payments:
            if payment.id not in self._told:
                self._publish(payment)
        self._told = {payment.id: payment.ts for payment in payments}
        self._keep(max(now_ms, since + OVERLAP_MS))

    def _keep(self, until_ms: int) -> None:
        self._store.save(_STORE_KEY, str(until_ms).encode())
