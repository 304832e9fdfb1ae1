"""Loss limits: of an instance from its start, since 00:00 UTC and from its best equity; of the account in a day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from engine.kernel.clock import NS_PER_S, Clock, TimerHandle
from engine.runtime.accounts import AccountLimits
from engine.runtime.risk.limits import InstanceLimits, percent, usd
from engine.runtime.risk.view import LimitUse, RiskView
from engine.runtime.trading_state import TradingMode, TradingState

ZERO = Decimal(0)
MS_PER_DAY = 86_400_000
EVALUATE_S = 1.0
BLIND_HALT_S = 120
PEAK_STEP = Decimal("0.001")
"""A peak is kept when it has risen by this share of the capital (of the account: of its equity)."""


@dataclass(slots=True)
class LossWatch:
    """What an instance may lose, and what it has lost. Profits are those of its ledgers, in USD.

    Attributes:
        capital: USD allocated to it.
        base_profit: Profit at its start, or when a person released it.
        day: Days since the epoch, UTC.
        day_profit: Profit when the day began.
        peak: Highest equity (capital + profit) so far.
        halted: Why a limit halted it; empty when none did.
        kept_peak: The peak as `to_dict` tells it: what is kept changes only when that is said, never by the second.
    """

    capital: Decimal
    base_profit: Decimal = ZERO
    day: int = -1
    day_profit: Decimal = ZERO
    peak: Decimal = ZERO
    halted: str = ""
    kept_peak: Decimal = ZERO

    def rebase(self, profit: Decimal, now_ms: int) -> None:
        """Measure every loss from here on."""
        self.base_profit = self.day_profit = profit
        self.day = now_ms // MS_PER_DAY
        self.peak = self.kept_peak = self.capital + profit
        self.halted = ""

    def update(self, profit: Decimal, now_ms: int) -> bool:
        """Follow the day and the peak; returns whether that is worth keeping: a new day, a peak that is clearly higher.

        A crash must not forget a peak, from which the drawdown is measured.
        """
        day = now_ms // MS_PER_DAY
        new_day = not day <= self.day <= day + 1  # a clock set back across midnight begins no day again
        if new_day:
            self.day, self.day_profit = day, profit
        self.peak = max(self.peak, self.capital + profit)
        return new_day or self.peak - self.kept_peak >= self.capital * PEAK_STEP

    def losses(self, profit: Decimal, limits: InstanceLimits) -> list[tuple[str, Decimal, Decimal, Decimal]]:
        """Return (rule, USD lost, USD that the limit is a share of, share) of each loss limit."""
        rules = (
            ("stop_loss_pct", self.base_profit - profit, self.capital, limits.stop_loss_pct),
            ("daily_loss_pct", self.day_profit - profit, self.capital, limits.daily_loss_pct),
            ("max_drawdown_pct", self.peak - self.capital - profit, self.peak, limits.max_drawdown_pct),
        )
        return [(rule, lost, whole, share) for rule, lost, whole, share in rules if share is not None]

    def breach(self, profit: Decimal, limits: InstanceLimits) -> str:
        """Return the rule that is broken, its value and its limit in words; empty when none is."""
        for rule, lost, whole, share in self.losses(profit, limits):
            if lost > ZERO and lost >= share * whole:
                return f"{rule}: a loss of {usd(lost)} reaches the limit {usd(share * whole)} ({percent(share)})"
        return ""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "capital": str(self.capital),
            "base_profit": str(self.base_profit),
            "day": self.day,
            "day_profit": str(self.day_profit),
            "peak": str(self.kept_peak),
            "halted": self.halted,
        }

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> LossWatch:
        """Return what `to_dict` saved."""
        return cls(
            capital=Decimal(body["capital"]),
            base_profit=Decimal(body["base_profit"]),
            day=int(body["day"]),
            day_profit=Decimal(body["day_profit"]),
            peak=Decimal(body["peak"]),
            halted=str(body["halted"]),
            kept_peak=Decimal(body["peak"]),
        )


class LossGuard:
    """Watches what instances and the account lose, once a second, and halts them at their limits.

    While open exposure cannot be valued for 120 s the account halts.

    Args:
        clock: The engine's clock.
        limits: Limits of the account.
        view: Profits and ledgers.
        state: The trading state, which a limit halts once.
        on_account_halt: Called with the reason, to halt the account at once.
        on_change: Called when `to_dict` has something new worth keeping: a new day, a halt, an admission.

    Attributes:
        on_instance_halt: Called with (instance, reason), after its entries are refused.
    """

    def __init__(
        self,
        clock: Clock,
        limits: AccountLimits,
        view: RiskView,
        state: TradingState,
        on_account_halt: Callable[[str], None],
        on_change: Callable[[], None],
    ) -> None:
        self.on_instance_halt: Callable[[str, str], None] = lambda instance, reason: None
        self._clock = clock
        self._limits = limits
        self._view = view
        self._state = state
        self._on_account_halt = on_account_halt
        self._on_change = on_change
        self._watches: dict[str, LossWatch] = {}
        self._instance_limits: dict[str, InstanceLimits] = {}
        self._blind_since_ns: int | None = None
        self._peak: Decimal | None = None
        self._saved_peak: Decimal | None = None
        self._timer: TimerHandle | None = None

    def start(self) -> None:
        """Begin to evaluate once a second."""
        self.stop()
        self._timer = self._clock.call_later(EVALUATE_S, self._tick)

    def stop(self) -> None:
        """Stop evaluating; what `to_dict` tells from now on is exact."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._keep_peaks()

    def admit(self, instance: str, limits: InstanceLimits, capital: Decimal) -> None:
        """Watch an instance; one that is watched already keeps its history under its new limits."""
        self._instance_limits[instance] = limits
        watch = self._watches.get(instance)
        if watch is None:
            watch = LossWatch(capital)
            watch.rebase(self._view.instance_profit(instance) or ZERO, self._clock.now_ms())
            self._watches[instance] = watch
        elif capital != watch.capital:
            watch.peak += capital - watch.capital
            watch.capital = capital
        self._changed()

    def dismiss(self, instance: str) -> None:
        """Forget an instance."""
        self._instance_limits.pop(instance, None)
        if self._watches.pop(instance, None) is not None:
            self._changed()

    def release(self, instance: str) -> None:
        """Measure an instance's losses anew if a limit had halted it."""
        watch = self._watches.get(instance)
        if watch is not None and watch.halted:
            watch.rebase(self._view.instance_profit(instance) or ZERO, self._clock.now_ms())
            self._changed()

    def halt(self, instance: str, reason: str) -> None:
        """Halt an instance: its entries are refused until a person releases it."""
        watch = self._watches.get(instance)
        if watch is not None and not watch.halted:
            watch.halted = reason
            self._changed()
            self.on_instance_halt(instance, reason)

    def halted(self, instance: str) -> str:
        """Return why a limit halted an instance; empty when none did."""
        watch = self._watches.get(instance)
        return "" if watch is None else watch.halted

    def evaluate(self) -> None:
        """Compare profits with the limits and halt what broke one."""
        now_ms = self._clock.now_ms()
        blind = False
        for instance, watch in list(self._watches.items()):
            limits = self._instance_limits.get(instance)
            profit = self._view.instance_profit(instance)
            if limits is None:
                continue
            if profit is None:
                blind = True
                continue
            if watch.update(profit, now_ms):
                self._changed()
            reason = "" if watch.halted else watch.breach(profit, limits)
            if reason:
                self.halt(instance, reason)
        equity, day_profit = self._view.equity(), self._view.day_profit()
        if equity is None or day_profit is None:
            blind = True
        else:
            self._check_account(equity, day_profit)
            self._check_drawdown(equity)
        self._check_sight(blind)

    def account_usage(self) -> list[LimitUse]:
        """Return how much of the account's daily loss limit is used."""
        equity, day_profit = self._view.equity(), self._view.day_profit()
        if equity is None or day_profit is None:
            return []
        allowed = self._limits.daily_loss_pct * max(ZERO, equity - day_profit)
        found = [LimitUse("account", "daily_loss_pct", max(ZERO, -day_profit), allowed, "USD")]
        lost = self._drawdown()
        if lost is not None:
            allowed = self._limits.max_drawdown_pct * max(ZERO, equity + lost)
            found.append(LimitUse("account", "max_drawdown_pct", lost, allowed, "USD"))
        return found

    def reached(self) -> list[str]:
        """Return the limits of the account that a person cannot release because they are reached still."""
        if self._is_blind_too_long():
            return ["profit and loss of what is held cannot be computed: a price lacks; the anomalies pane names it"]
        equity, day_profit = self._view.equity(), self._view.day_profit()
        if equity is None or day_profit is None:
            return []
        text = self._daily_loss(equity, day_profit)
        return [f"{text}; the day ends at 00:00 UTC"] if text else []

    def release_account(self) -> None:
        """Measure the account's drawdown from here on: a person has released the halt."""
        self._peak = self._view.profit()
        self._changed()

    def instance_usage(self, instance: str) -> list[LimitUse]:
        """Return how much of an instance's loss limits is used."""
        watch, limits = self._watches.get(instance), self._instance_limits.get(instance)
        profit = self._view.instance_profit(instance)
        if watch is None or limits is None or profit is None:
            return []
        return [
            LimitUse(instance, rule, max(ZERO, lost), share * whole, "USD")
            for rule, lost, whole, share in watch.losses(profit, limits)
        ]

    @property
    def is_blind(self) -> bool:
        """Return whether the profit of what is held cannot be computed."""
        return self._blind_since_ns is not None

    @property
    def peak(self) -> Decimal | None:
        """Return the highest profit of the account that is saved, USD; None before the first look."""
        return self._saved_peak

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {instance: watch.to_dict() for instance, watch in self._watches.items()}

    def restore(self, body: dict[str, Any], peak: str | None) -> None:
        """Take over what `to_dict` saved, and the peak."""
        self._peak = self._saved_peak = None if peak is None else Decimal(peak)
        self._watches = {instance: LossWatch.from_dict(saved) for instance, saved in body.items()}

    def _changed(self) -> None:
        self._keep_peaks()
        self._on_change()

    def _keep_peaks(self) -> None:
        self._saved_peak = self._peak
        for watch in self._watches.values():
            watch.kept_peak = watch.peak

    def _tick(self) -> None:
        self._timer = self._clock.call_later(EVALUATE_S, self._tick)
        self.evaluate()

    def _check_account(self, equity: Decimal, day_profit: Decimal) -> None:
        text = self._daily_loss(equity, day_profit)
        if text:
            self._halt(text)

    def _daily_loss(self, equity: Decimal, day_profit: Decimal) -> str:
        """Return that the daily limit is reached, in words; empty when it is not."""
        allowed = self._limits.daily_loss_pct * (equity - day_profit)
        if day_profit >= ZERO or -day_profit < allowed:
            return ""
        share = percent(self._limits.daily_loss_pct)
        return f"daily_loss_pct: a loss of {usd(-day_profit)} reaches the limit {usd(allowed)} ({share})"

    def _check_drawdown(self, equity: Decimal) -> None:
        """Halt when too much of the best equity is lost; money that was moved in or out does not count."""
        profit = self._view.profit()
        if profit is None:
            return
        self._peak = profit if self._peak is None else max(self._peak, profit)
        if self._saved_peak is None or self._peak - self._saved_peak > PEAK_STEP * abs(equity):
            self._changed()
        lost, limit = self._peak - profit, self._limits.max_drawdown_pct
        allowed = limit * (equity + lost)
        if lost > ZERO and lost >= allowed:
            self._halt(f"max_drawdown_pct: a loss of {usd(lost)} reaches the limit {usd(allowed)} ({percent(limit)})")

    def _drawdown(self) -> Decimal | None:
        profit = self._view.profit()
        return None if profit is None or self._peak is None else max(ZERO, self._peak - profit)

    def _check_sight(self, blind: bool) -> None:
        if not blind or not self._view.holdings():
            self._blind_since_ns = None
            return
        if self._blind_since_ns is None:
            self._blind_since_ns = self._clock.now_ns()
        if self._is_blind_too_long():
            self._halt(f"profit and loss could not be computed for {BLIND_HALT_S} s with open positions")

    def _is_blind_too_long(self) -> bool:
        since_ns = self._blind_since_ns
        return since_ns is not None and self._clock.now_ns() - since_ns >= BLIND_HALT_S * NS_PER_S

    def _halt(self, reason: str) -> None:
        if self._state.mode is not TradingMode.HALTED:
            self._on_account_halt(reason)
