"""Whether a live account is fit to be armed: what its key may do, and the leverage of what it trades."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable

from engine.io.config import AccountEntry
from engine.kernel.account import KeyRights
from engine.kernel.clock import NS_PER_S, Clock
from engine.kernel.syscalls import Driver

_RIGHTS_EVERY_NS = 3600 * NS_PER_S


class AccountFitness:
    """Asks a venue what forbids to trade on a live account.

    Args:
        driver: The venue.
        entry: The account as it stands in the file.
        clock: The engine's time.
        perpetuals: Returns the perpetuals that are traded.

    Attributes:
        banner: What the operator must keep in mind though it forbids nothing; empty for nothing.
    """

    def __init__(
        self, driver: Driver, entry: AccountEntry, clock: Clock, perpetuals: Callable[[], Iterable[str]]
    ) -> None:
        self._driver = driver
        self._entry = entry
        self._clock = clock
        self._perpetuals = perpetuals
        self._rights: KeyRights | None = None
        self._asked_ns = 0
        self.banner = ""

    async def obstacles(self) -> list[str]:
        """Return what forbids to arm, each with its remedy.

        Raises:
            CtosError: The venue could not be asked.
        """
        found = await self._driver.check_account()
        now_ns = self._clock.now_ns()
        if self._rights is None or now_ns - self._asked_ns >= _RIGHTS_EVERY_NS:
            self._rights = await self._driver.key_rights()
            self._asked_ns = now_ns
        refused = rights_obstacles(self._rights, self._entry, day_of(self._clock))
        if self._rights.withdraw and not refused:
            self.banner = f"the key of {self._entry.where} may withdraw; accepted until {self._entry.withdraw_ok_until}"
        return [*found, *refused, *await self._leverage_obstacles()]

    async def _leverage_obstacles(self) -> list[str]:
        """Return which perpetuals have another leverage than the file wants, as far as the venue allows that."""
        if self._entry.leverage is None:
            return []
        found = []
        for symbol in self._perpetuals():
            most = (await self._driver.exchange_limits(symbol)).max_leverage
            has, wanted = self._driver.leverage(symbol), min(self._entry.leverage, most)
            if has != wanted:
                state = "not known" if has is None else f"{has.normalize():f}"
                found.append(
                    f"the leverage of {symbol} is {state}, {self._entry.where} wants {wanted.normalize():f}; run: "
                    f"ctos-tui call set_leverage symbol={symbol} leverage={wanted.normalize():f} "
                    f"--exchange {self._entry.venue} --account {self._entry.name}"
                )
        return found


def rights_obstacles(rights: KeyRights, entry: AccountEntry, today: datetime.date) -> list[str]:
    """Return what is wrong with the rights of a key: it must be able to trade and unable to withdraw."""
    found = []
    if rights.trade is False:
        found.append(f"the key of {entry.where} may not trade; give it the right to trade at {entry.venue}")
    withdraws = withdraw_obstacle(rights, entry, today)
    return found if withdraws is None else [*found, withdraws]


def withdraw_obstacle(rights: KeyRights, entry: AccountEntry, today: datetime.date) -> str | None:
    """Return what is wrong with a key that may withdraw, or of which nobody knows it; None when that is accepted."""
    if rights.withdraw and not (entry.withdraw_ok_until and today <= entry.withdraw_ok_until):
        return (
            f"the key of {entry.where} may withdraw; make one at {entry.venue} that may not, or accept this one with "
            "withdraw_ok_until: and a date"
        )
    confirmed = entry.no_withdraw_confirmed
    if rights.withdraw is None and (confirmed is None or confirmed > today):
        return (
            f"{entry.venue} does not say whether the key of {entry.where} may withdraw; look at {entry.venue}, then "
            f"write no_withdraw_confirmed: {today.isoformat()} into the account"
        )
    return None


def day_of(clock: Clock) -> datetime.date:
    """Return the day, UTC."""
    return datetime.datetime.fromtimestamp(clock.now_ns() / NS_PER_S, datetime.UTC).date()
