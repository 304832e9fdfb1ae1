"""Arming: whether order entry lets new exposure pass, for which markets and for how long.

Paper is armed by one key and stays armed. Live is armed by typing the account's name. The account stays armed for its
strategies; orders by hand pass for a time that use extends, and are locked when the operator may no longer see what
happens. Time is handed in, nanoseconds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from engine.kernel.errors import CtosError

NS_PER_S: Final = 1_000_000_000
EVERYTHING: Final = "*"


class ArmingRefused(CtosError):
    """Order entry cannot be armed now; the message says why and what would do."""


class Trigger(StrEnum):
    """What happened around the desk; the value is the reason shown."""

    HALT = "halted"
    ACCOUNT = "another account was chosen"
    FOCUS_LOST = "the terminal lost the focus"
    SLOW_TERMINAL = "the terminal answers too slowly"
    RESUMED = "the program was stopped and went on"


class ArmingPolicy(msgspec.Struct, frozen=True):
    """How an account is armed.

    Attributes:
        account: The account's name.
        needs_name: The name must be typed.
        span_s: How long arming lasts after the last use when nothing is said; None for no limit.
        longest_s: The longest time that may be asked for; None for no limit.
        triggers: What disarms at once.
    """

    account: str
    needs_name: bool
    span_s: int | None
    longest_s: int | None
    triggers: frozenset[Trigger]

    @classmethod
    def paper(cls, account: str) -> ArmingPolicy:
        """Return the policy of virtual money: one key, no limit, disarmed by a halt or another account."""
        return cls(account, False, None, None, frozenset({Trigger.HALT, Trigger.ACCOUNT}))

    @classmethod
    def live(cls, account: str, *, on_focus_lost: bool = False) -> ArmingPolicy:
        """Return the policy of real money: the name, ten minutes after the last use, every trigger."""
        triggers = frozenset(Trigger) - (frozenset() if on_focus_lost else {Trigger.FOCUS_LOST})
        return cls(account, True, 600, 8 * 3600, triggers)


class _Grant(msgspec.Struct):
    span_ns: int | None
    until_ns: int | None

    def over(self, now_ns: int) -> bool:
        return self.until_ns is not None and now_ns >= self.until_ns

    def extend(self, now_ns: int) -> None:
        if self.span_ns is not None and self.until_ns is not None:
            self.until_ns = max(self.until_ns, now_ns + self.span_ns)


class Arming(msgspec.Struct):
    """The armed state of one account's desk; it begins disarmed.

    Attributes:
        policy: How the account is armed.
        halted: Why trading is halted; empty when it is not.
    """

    policy: ArmingPolicy
    halted: str = ""
    _grants: dict[str, _Grant] = msgspec.field(default_factory=dict)

    def arm(self, now_ns: int, symbol: str | None = None, seconds: int | None = None, typed: str = "") -> None:
        """Let orders pass.

        Args:
            now_ns: Time.
            symbol: Canonical name of a market, None for all.
            seconds: How long; None for the policy's default.
            typed: The account's name as the operator typed it, where the policy asks for it.

        Raises:
            ArmingRefused: Trading is halted, the name is not the account's, or the time is too long.
        """
        if self.halted:
            raise ArmingRefused(f"HALTED ({self.halted}): release it first with rearm {self.policy.account} REASON")
        if self.policy.needs_name and typed.strip() != self.policy.account:
            what = f"{typed.strip()!r} is not the account's name" if typed.strip() else "the account's name is missing"
            raise ArmingRefused(f"{what}: type {self.policy.account} to arm live trading")
        longest = self.policy.longest_s
        if seconds is not None and longest is not None and seconds > longest:
            raise ArmingRefused(f"live trading is armed for at most {longest // 3600} h at a time")
        span = seconds if seconds is not None else self.policy.span_s
        span_ns = None if span is None else span * NS_PER_S
        until_ns = None if span_ns is None else now_ns + span_ns
        if symbol is None:
            self._grants.clear()
        self._grants[symbol or EVERYTHING] = _Grant(span_ns, until_ns)

    def disarm(self) -> None:
        """Let no new order pass."""
        self._grants.clear()

    def trigger(self, trigger: Trigger) -> str:
        """Tell what happened around the desk.

        Returns:
            The note to show when this disarmed the desk; empty when it changed nothing.
        """
        if not self._grants or trigger not in self.policy.triggers:
            return ""
        self._grants.clear()
        return f"orders by hand are locked: {trigger}"

    def halt(self, reason: str) -> str:
        """Latch a halt and disarm; returns the note to show, empty when the desk was not armed."""
        self.halted = reason or "halted"
        return self.trigger(Trigger.HALT)

    def release(self) -> None:
        """Take back the halt once the engine has released it; the desk stays disarmed."""
        self.halted = ""

    def used(self, symbol: str, now_ns: int) -> None:
        """Tell that an order was sent: it extends the time of the grant that let it pass."""
        for key in (symbol, EVERYTHING):
            grant = self._grants.get(key)
            if grant is not None and not grant.over(now_ns):
                grant.extend(now_ns)

    def expire(self, now_ns: int) -> str:
        """Drop what has run out; returns the note to show, empty when nothing has."""
        over = [key for key, grant in self._grants.items() if grant.over(now_ns)]
        for key in over:
            del self._grants[key]
        if not over:
            return ""
        names = "all markets" if EVERYTHING in over else ", ".join(over)
        return f"orders by hand are locked for {names}: the time is over"

    def left_s(self, now_ns: int) -> int | None:
        """Return for how many seconds something stays armed, 0 when nothing is; None while it has no limit."""
        ends = [grant.until_ns for grant in self._grants.values() if not grant.over(now_ns)]
        limited = [end for end in ends if end is not None]
        if len(limited) < len(ends):
            return None
        return max((end - now_ns) // NS_PER_S for end in limited) if limited else 0

    def is_armed(self, symbol: str, now_ns: int) -> bool:
        """Return whether an order for a market may pass."""
        return any(
            grant is not None and not grant.over(now_ns)
            for grant in (self._grants.get(symbol), self._grants.get(EVERYTHING))
        )

    def everything(self, now_ns: int) -> bool:
        """Return whether orders for every market may pass."""
        return self.is_armed(EVERYTHING, now_ns)

    def symbols(self, now_ns: int) -> frozenset[str]:
        """Return the markets that are armed by name."""
        return frozenset(key for key, grant in self._grants.items() if key != EVERYTHING and not grant.over(now_ns))

    def label(self, now_ns: int, symbol: str = "") -> str:
        """Return the state for the status bar: `HALTED`, `DISARMED`, `ARMED`, `ARMED 09:41`.

        Args:
            now_ns: Time.
            symbol: The focused market; while only other markets are armed the word is `ARMED` with their count.
        """
        if self.halted:
            return "HALTED"
        if self.is_armed(symbol, now_ns):
            grants = [self._grants.get(key) for key in (symbol, EVERYTHING)]
            ends = [grant.until_ns for grant in grants if grant is not None and not grant.over(now_ns)]
            limited = [end for end in ends if end is not None]
            if len(limited) < len(ends):
                return "ARMED"
            left = (max(limited) - now_ns) // NS_PER_S
            return f"ARMED {left // 60:02d}:{left % 60:02d}"
        others = len(self.symbols(now_ns))
        return f"DISARMED here, {others} armed" if others else "DISARMED"
