"""Whether an account may trade: DISARMED, ARMED, REDUCE_ONLY, HALTED."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from engine.kernel.clock import NS_PER_S, Clock, TimerHandle
from engine.kernel.errors import CtosError, TradingHalted


class TradingMode(StrEnum):
    """What orders an account accepts; cancels always pass, and so do reductions by hand."""

    DISARMED = "disarmed"
    ARMED = "armed"
    REDUCE_ONLY = "reduce_only"
    HALTED = "halted"


@dataclass(slots=True, frozen=True)
class TradingStatus:
    """The mode, who set it, why and since when; `armed_until_ns` when it disarms by itself."""

    mode: TradingMode = TradingMode.DISARMED
    who: str = ""
    reason: str = ""
    since_ns: int = 0
    armed_until_ns: int | None = None


class TradingState:
    """The gate of one account. HALTED is latched: only `rearm` opens it, and it outlives a restart.

    Args:
        clock: The engine's clock.
        on_change: Called with each new status, after it is in force.
    """

    def __init__(self, clock: Clock, on_change: Callable[[TradingStatus], None] = lambda status: None) -> None:
        self._clock = clock
        self._on_change = on_change
        self._timer: TimerHandle | None = None
        self.status = TradingStatus()

    @property
    def mode(self) -> TradingMode:
        """Return the present mode."""
        return self.status.mode

    def arm(self, who: str, seconds: float | None = None) -> None:
        """Accept orders, for `seconds` or until disarmed.

        Raises:
            TradingHalted: Trading is halted; `rearm` releases it.
        """
        if self.mode is TradingMode.HALTED:
            raise TradingHalted(f"{self.describe()}; release it with rearm and a reason")
        until_ns = None if seconds is None else self._clock.now_ns() + round(seconds * NS_PER_S)
        self._set(TradingMode.ARMED, who, "", until_ns)

    def disarm(self, who: str, reason: str = "") -> None:
        """Accept only reductions by hand; a halt stays a halt."""
        if self.mode is not TradingMode.HALTED:
            self._set(TradingMode.DISARMED, who, reason)

    def restrict(self, who: str, reason: str) -> None:
        """Accept only reductions; changes nothing unless armed."""
        if self.mode is TradingMode.ARMED:
            self._set(TradingMode.REDUCE_ONLY, who, reason)

    def halt(self, who: str, reason: str) -> None:
        """Stop trading until a person releases it; the first reason is kept."""
        if self.mode is not TradingMode.HALTED:
            self._set(TradingMode.HALTED, who, reason)

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
        return f"trading is {status.mode.value.replace('_', '-')}{by}{why}"

    def to_dict(self) -> dict[str, Any]:
        """Return the status as JSON values."""
        status = self.status
        return {
            "mode": status.mode.value,
            "who": status.who,
            "reason": status.reason,
            "since_ns": status.since_ns,
            "armed_until_ns": status.armed_until_ns,
        }

    def restore(self, body: dict[str, Any]) -> None:
        """Take over a saved status at start: a halt or restriction stays, an armed account comes up disarmed."""
        mode = TradingMode(body["mode"])
        if mode in (TradingMode.HALTED, TradingMode.REDUCE_ONLY):
            self.status = TradingStatus(mode, str(body["who"]), str(body["reason"]), int(body["since_ns"]))

    def _set(self, mode: TradingMode, who: str, reason: str, armed_until_ns: int | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.status = TradingStatus(mode, who, reason, self._clock.now_ns(), armed_until_ns)
        if armed_until_ns is not None:
            self._timer = self._clock.call_at(armed_until_ns, self._expire)
        self._on_change(self.status)

    def _expire(self) -> None:
        self._set(TradingMode.DISARMED, "clock", "the arming time is over")
