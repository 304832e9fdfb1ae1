"""Funding payments: the venue streams none, so its history is asked a little after each time of payment."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from drivers.backpack.codec import funding_payment
from drivers.backpack.rest import Rest
from drivers.transport.line_decoder import Undecodable
from drivers.transport.setup import Log, VenueStore
from engine.kernel.account import FundingPayment
from engine.kernel.clock import Clock, TimerHandle
from engine.kernel.errors import CtosError, StorageError, UnknownSymbol, VenueUnavailable

PAGE = 1000
FIRST_LOOK_S = 5.0
HOUR_S = 3600.0
LOOKS_AFTER_S = (15.0, 120.0)
"""Seconds after a full hour: every market pays at full hours, and the history may be late."""
_MARK_KEY = "funding_since"
_OVERLAP_MS = 300_000


class FundingPayments:
    """Tells of each payment; after a restart one may be told again, its id is the same then.

    Args:
        rest: The venue's calls.
        clock: Our time.
        store: Keeps until when payments were told.
        tell: Takes a payment; returns whether anybody listened.
        in_background: Runs a coroutine beside everything else.
        log: Takes lines for the operator.

    Raises:
        StorageError: The time until which payments were told cannot be read.
    """

    def __init__(
        self,
        rest: Rest,
        clock: Clock,
        store: VenueStore,
        tell: Callable[[FundingPayment], bool],
        in_background: Callable[[Coroutine[Any, Any, None], str], object],
        log: Log,
    ) -> None:
        self._rest = rest
        self._clock = clock
        self._store = store
        self._tell = tell
        self._in_background = in_background
        self._log = log
        self._timer: TimerHandle | None = None
        self._told: set[str] = set()
        saved = store.load(_MARK_KEY)
        try:
            self._since = int(saved) if saved else None
        except ValueError as error:
            text = f"backpack: the saved time {_MARK_KEY} cannot be read"
            raise StorageError(f"{text}: {error}; restore the state database from a copy") from error

    def start(self) -> None:
        """Begin to look: soon for what happened while we were away, then at each full hour."""
        if self._since is None:
            self._save(self._rest.clock.now_ms())
        self._timer = self._clock.call_later(FIRST_LOOK_S, self._look_soon)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_soon(self) -> None:
        past_s = self._rest.clock.now_ms() / 1000 % HOUR_S
        wait_s = next((after - past_s for after in LOOKS_AFTER_S if after > past_s), HOUR_S + LOOKS_AFTER_S[0] - past_s)
        self._timer = self._clock.call_later(max(1.0, wait_s), self._look_soon)
        self._in_background(self._look(), "funding payments")

    async def _look(self) -> None:
        now = self._rest.clock.now_ms()
        try:
            payments = await self.payments((self._since or now) - _OVERLAP_MS)
        except CtosError as error:
            self._log("warning", f"backpack: funding payments could not be asked for: {error}")
            return
        fresh = [payment for payment in payments if payment.id not in self._told]
        if not all([self._tell(payment) for payment in fresh]):
            return  # nobody listens yet: they are told at the next look
        self._told = {payment.id for payment in payments}
        self._save(max([payment.ts for payment in payments], default=self._since or now))

    async def payments(self, since: int) -> list[FundingPayment]:
        """Return the payments since a time (ms), oldest first."""
        found: list[FundingPayment] = []
        offset = 0
        while True:
            page = await self._rest.funding(PAGE, offset)
            for row in page:
                try:
                    found.append(funding_payment(row))
                except UnknownSymbol as error:
                    self._log("debug", f"backpack: a funding payment is left out: {error.message}")
                except Undecodable as error:
                    raise VenueUnavailable(f"backpack: funding payment: {error.reason}") from error
            if len(page) < PAGE or (found and found[-1].ts < since):
                break
            offset += len(page)
        return sorted((payment for payment in found if payment.ts >= since), key=lambda payment: payment.ts)

    def _save(self, since: int) -> None:
        if since != self._since:
            self._since = since
            self._store.save(_MARK_KEY, str(since).encode())
