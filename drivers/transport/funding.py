"""Funding payments of the account where the venue streams none: its history is looked through again and again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from drivers.transport.setup import VenueSetup
from engine.kernel.account import FundingPayment
from engine.kernel.clock import sleep
from engine.kernel.errors import CtosError, StorageError

FIRST_S = 5.0
OVERLAP_MS = 600_000
"""Payments may be listed late: each look reaches back so far before the last one."""
HOUR_S = 3600.0
LOOKS_AFTER_S = (15.0, 120.0)
"""Seconds after a full hour at which venues that pay at full hours are asked; their history may be late."""
_STORE_KEY = "funding_since"
_DAY_MS, _HOUR_MS = 86_400_000, 3_600_000


def after_each_hour(now_ms: int) -> float:
    """Return the seconds from a time to the next look, where payments come at full hours."""
    past_s = now_ms / 1000 % HOUR_S
    wait_s = next((after - past_s for after in LOOKS_AFTER_S if after > past_s), HOUR_S + LOOKS_AFTER_S[0] - past_s)
    return max(1.0, wait_s)


class FundingWatch:
    """Publishes each payment once; after a restart one of the last minutes may come again, its id is the same then.

    From where to look next is kept, so that payments of a time without us are not missed. Those from before the
    first start are not ours to book.

    Args:
        venue: Name for messages.
        ask: Asks for the payments since a time in ms.
        setup: Clock, store, log.
        now_ms: Returns the venue's time.
        publish: Takes each payment.
        is_heard: Whether somebody listens to the account; payments wait until somebody does.
        wait_s: Returns the seconds from a venue time in ms until the next look.
        reach_days: How far back the venue can be asked, None for as far as it takes.

    Raises:
        StorageError: From where to look cannot be read.
    """

    def __init__(
        self,
        venue: str,
        ask: Callable[[int], Awaitable[list[FundingPayment]]],
        setup: VenueSetup,
        now_ms: Callable[[], int],
        publish: Callable[[FundingPayment], None],
        is_heard: Callable[[], bool],
        wait_s: Callable[[int], float],
        reach_days: int | None = None,
    ) -> None:
        self._venue = venue
        self._ask = ask
        self._clock, self._store, self._log = setup.clock, setup.store, setup.log
        self._now_ms = now_ms
        self._publish = publish
        self._is_heard = is_heard
        self._wait_s = wait_s
        self._reach_days = reach_days
        self._told: set[str] = set()
        self._failure = ""
        saved = setup.store.load(_STORE_KEY)
        try:
            self._since = int(saved) if saved else None
        except ValueError as error:
            text = f"{venue}: the saved time {_STORE_KEY} cannot be read"
            raise StorageError(f"{text}: {error}; restore the state database from a copy") from error

    async def run(self) -> None:
        """Look for payments until cancelled: soon for those of a time without us, then as `wait_s` tells."""
        if self._since is None:
            self._keep(self._now_ms())
        await sleep(self._clock, FIRST_S)
        while True:
            if self._is_heard():
                await self._try()
            await sleep(self._clock, self._wait_s(self._now_ms()))

    async def _try(self) -> None:
        """Look; a failure is told once as long as it is the same."""
        try:
            await self._look()
            self._failure = ""
        except CtosError as error:
            if str(error) != self._failure:
                self._failure = str(error)
                self._log("warning", f"{self._venue}: funding payments could not be asked for: {error}")

    async def _look(self) -> None:
        now_ms = self._now_ms()
        since = now_ms if self._since is None else self._since
        if self._reach_days is not None:
            earliest = now_ms - self._reach_days * _DAY_MS + _HOUR_MS
            if since < earliest:
                text = f"payments from more than {self._reach_days} days ago cannot be asked for and are not booked"
                self._log("warning", f"{self._venue}: funding {text}")
                since = earliest
        payments = await self._ask(since)
        for payment in payments:
            if payment.id not in self._told:
                self._publish(payment)
        self._told = {payment.id for payment in payments}
        self._keep(max(now_ms - OVERLAP_MS, since))

    def _keep(self, since: int) -> None:
        self._since = since
        self._store.save(_STORE_KEY, str(since).encode())
