"""Whether an account may trade: DISARMED, ARMED, REDUCE_ONLY, HALTED."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from engine.kernel.clock import NS_PER_S, Clock
from engine.kernel.errors import CtosError, TradingHalted


class TradingMode(StrEnum):
    """What orders an account accepts; cancels always pass, and so do reductions by hand."""

    DISARMED = "disarmed"
    ARMED = "armed"
    REDUCE_ONLY = "reduce_only"
    HALTED = "halted"


@dataclass(slots=True, frozen=True)
class TradingStatus:
    """The mode, who set it, why and since when.

    Attributes:
        lifts: Whether a restriction ends by itself when its cause is gone.
        next_label: What the first order after a halt is called: those of lower labels are from before it, whatever
            the clock says of either. 0 where that was not kept.
    """

    mode: TradingMode = TradingMode.DISARMED
    who: str = ""
    reason: str = ""
    since_ns: int = 0
    lifts: bool = False
    next_label: int = 0

    @property
    def cause(self) -> str:
        """Return who set it and why, in words."""
        return ": ".join(part for part in (self.who, self.reason) if part)


class TradingState:
    """The gate of one account. HALTED is latched: only `rearm` opens it, and it outlives a restart.

    A person arms the account, and it stays armed for its strategies until it is disarmed, halted or started anew.
    Orders by hand need, with real money, a grant besides, which runs out: whoever is not at the screen sends nothing.

    Args:
        clock: The engine's clock.
        on_change: Called with each new status, after it is in force.
        hand_needs_grant: Whether orders by hand that increase exposure need a grant.
    """

    def __init__(
        self,
        clock: Clock,
        on_change: Callable[[TradingStatus], None] = lambda status: None,
        hand_needs_grant: bool = False,
    ) -> None:
        self._clock = clock
        self._on_change = on_change
        self.hand_needs_grant = hand_needs_grant
        self.hand_until_ns = 0
        self.status = TradingStatus()

    @property
    def mode(self) -> TradingMode:
        """Return the present mode."""
        return self.status.mode

    @property
    def is_hand_open(self) -> bool:
        """Return whether orders by hand may increase exposure while the account is armed."""
        return not self.hand_needs_grant or self._clock.now_ns() < self.hand_until_ns

    def arm(self, who: str, hand_s: float | None = None) -> None:
        """Accept orders until disarmed; those by hand for `hand_s`, where they need a grant.

        Raises:
            TradingHalted: Trading is halted or restricted; `rearm` releases it.
        """
        if self.mode in (TradingMode.HALTED, TradingMode.REDUCE_ONLY):
            raise TradingHalted(self.describe() + ("" if self.status.lifts else "; release it with rearm and a reason"))
        if hand_s is not None:
            self._grant_hand(hand_s)
        if self.mode is not TradingMode.ARMED:
            self._set(TradingMode.ARMED, who, "")

    def open_hand(self, seconds: float) -> None:
        """Let orders by hand pass for a time from now on.

        Raises:
            TradingHalted: The account is not armed.
        """
        if self.mode is not TradingMode.ARMED:
            raise TradingHalted(f"{self.describe()}; arm it first")
        self._grant_hand(seconds)

    def lock_hand(self) -> None:
        """Let no order by hand increase exposure, where that needs a grant; strategies go on."""
        self.hand_until_ns = 0

    def disarm(self, who: str, reason: str = "") -> None:
        """Accept only reductions by hand; a halt stays a halt."""
        self.lock_hand()
        if self.mode is not TradingMode.HALTED:
            self._set(TradingMode.DISARMED, who, reason)

    def restrict(self, who: str, reason: str, lifts: bool = False) -> None:
        """Accept only reductions; changes nothing unless armed, or restricted by what `lifts`.

        Args:
            who: Person or engine part.
            reason: Why, in words.
            lifts: Whether `lift` may take it back.
        """
        if self.mode is TradingMode.ARMED or (self.mode is TradingMode.REDUCE_ONLY and self.status.lifts):
            status = self.status
            if (status.mode, status.reason, status.lifts) != (TradingMode.REDUCE_ONLY, reason, lifts):
                self._set(TradingMode.REDUCE_ONLY, who, reason, lifts)

    def lift(self, who: str, reason: str) -> None:
        """End a restriction whose cause is gone; one that a person has to release stays."""
        if self.mode is TradingMode.REDUCE_ONLY and self.status.lifts:
            self._set(TradingMode.ARMED, who, reason)

    def halt(self, who: str, reason: str, next_label: int = 0) -> None:
        """Stop trading until a person releases it; the first reason and label are kept."""
        self.lock_hand()
        if self.mode is not TradingMode.HALTED:
            self._set(TradingMode.HALTED, who, reason, next_label=next_label)

    def rearm(self, who: str, reason: str) -> None:
        """Release a halt or restriction and arm.

        Raises:
            CtosError: No reason was given, or there is nothing to release.
        """
        if not reason.strip():
            raise CtosError("rearm needs a reason: it is kept in the journal")
        if self.mode not in (TradingMode.HALTED, TradingMode.REDUCE_ONLY):
            raise CtosError(f"trading is {self.mode.value}: there is no halt to release")
        self._set(TradingMode.ARMED, who, reason)

    def describe(self) -> str:
        """Return the status in words."""
        status = self.status
        by = f" by {status.who}" if status.who else ""
        why = f": {status.reason}" if status.reason else ""
        ends = "; it ends by itself when that is over" if status.lifts else ""
        return f"trading is {status.mode.value.replace('_', '-')}{by}{why}{ends}"

    def to_dict(self) -> dict[str, Any]:
        """Return the status as JSON values."""
        status = self.status
        return {
            "mode": status.mode.value,
            "who": status.who,
            "reason": status.reason,
            "since_ns": status.since_ns,
            "lifts": status.lifts,
            "next_label": status.next_label,
        }

    def restore(self, body: dict[str, Any]) -> None:
        """Take over a saved status at start: a halt stays, and a restriction that a person has to release.

        An armed account comes up disarmed; what would have ended by itself is judged anew once it is armed.
        """
        mode = TradingMode(body["mode"])
        lifts = bool(body.get("lifts", False))
        if mode is TradingMode.HALTED or (mode is TradingMode.REDUCE_ONLY and not lifts):
            label = int(body.get("next_label", 0))
            since_ns = int(body["since_ns"])
            self.status = TradingStatus(mode, str(body["who"]), str(body["reason"]), since_ns, next_label=label)

    def _grant_hand(self, seconds: float) -> None:
        self.hand_until_ns = self._clock.now_ns() + round(seconds * NS_PER_S)

    def _set(self, mode: TradingMode, who: str, reason: str, lifts: bool = False, next_label: int = 0) -> None:
        self.status = TradingStatus(mode, who, reason, self._clock.now_ns(), lifts, next_label)
        self._on_change(self.status)
