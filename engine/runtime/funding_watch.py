"""What funding costs: payments against what was expected, and predicted rates against positions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from engine.io.settings import MonitorConfig
from engine.kernel.account import FundingPayment
from engine.kernel.anomaly import AnomalyKind
from engine.kernel.errors import CtosError
from engine.runtime.anomalies import Reading
from engine.runtime.execution import ExecutionEngine
from engine.runtime.readings import percent, reading, usd

LEEWAY_MS = 60_000
MISSED_MS = 20 * 60_000
"""A payment that is not booked by then was missed: venues list them minutes after the settlement."""
HOUR_MS = 3_600_000
LEAST_USD = Decimal("0.5")
"""Payments that are less than this apart are no surprise."""
ZERO = Decimal(0)
ONE = Decimal(1)


@dataclass(slots=True, frozen=True)
class Settlement:
    """One settlement of a position, as it looked last before it was due; `amount` in USD, positive when received."""

    time_ms: int
    period_ms: int
    amount: Decimal


class FundingWatch:
    """Follows the settlements of what is held.

    Args:
        engine: The account.
        config: The levels.
    """

    def __init__(self, engine: ExecutionEngine, config: MonitorConfig) -> None:
        self._engine = engine
        self._levels = config.levels_for
        self._next: dict[str, Settlement] = {}
        self._due: dict[str, Settlement] = {}
        self._paid: dict[tuple[str, int], Decimal] = {}
        self._dear_until_ms: dict[str, int] = {}

    def sample(self) -> None:
        """Note what the next settlement of each position is expected to bring."""
        engine, now_ms = self._engine, self._engine.clock.now_ms()
        held = set()
        for row in engine.portfolio.positions():
            told = engine.market.funding(row.symbol)
            if told is None or row.mark_price is None or not row.quantity:
                continue
            held.add(row.symbol)
            self._roll(row.symbol, told.next_time, now_ms)
            if now_ms >= told.next_time:
                continue
            try:
                price = row.mark_price * engine.portfolio.fx(engine.instrument(row.symbol).quote)
            except CtosError:
                # Its quote currency has no price in USD now: what it will pay cannot be told.
                self._next.pop(row.symbol, None)
                continue
            amount = -row.quantity * price * Decimal(repr(told.rate))
            self._next[row.symbol] = Settlement(told.next_time, told.period_h * HOUR_MS, amount)
        for symbol in self._next.keys() - held:
            if now_ms < self._next[symbol].time_ms:
                del self._next[symbol]

    def on_payment(self, payment: FundingPayment) -> None:
        """Take in a payment, or one instance's share of it."""
        engine = self._engine
        told = engine.market.funding(payment.symbol)
        self._roll(payment.symbol, told.next_time if told is not None else 0, engine.clock.now_ms())
        due = self._due.get(payment.symbol)
        if due is None or abs(payment.ts - due.time_ms) > due.period_ms // 2:
            return
        key = (payment.symbol, due.time_ms)
        try:
            amount = payment.amount * engine.portfolio.fx(payment.currency)
        except CtosError:
            # Without a price of the currency in USD this settlement cannot be judged.
            del self._due[payment.symbol]
            return
        self._paid[key] = self._paid.get(key, ZERO) + amount

    def evaluate(self) -> list[Reading]:
        """Return the readings of the last settlements and of the predicted rates."""
        return [*self.payments(), *self.rates()]

    def payments(self) -> Iterable[Reading]:
        """Judge the last payment of each symbol against what was expected, until the next settlement."""
        now_ms = self._engine.clock.now_ms()
        for (symbol, time_ms), paid in list(self._paid.items()):
            due = self._due.get(symbol)
            if due is None or due.time_ms != time_ms or now_ms >= time_ms + due.period_ms:
                del self._paid[symbol, time_ms]
                continue
            apart = abs(paid - due.amount)
            value = apart / max(abs(due.amount), LEAST_USD) if apart > LEAST_USD else ZERO
            text = f"{symbol}: funding of {usd(paid, True)} was booked, {usd(due.amount, True)} were expected"
            levels = self._levels(AnomalyKind.FUNDING_SURPRISE, symbol)
            yield reading(AnomalyKind.FUNDING_SURPRISE, value, levels, text, symbol)
        for symbol, due in self._due.items():
            late_ms = now_ms - due.time_ms
            booked = (symbol, due.time_ms) in self._paid
            if booked or not MISSED_MS <= late_ms < due.period_ms or abs(due.amount) <= LEAST_USD:
                continue
            text = f"{symbol}: no funding was booked {late_ms // 60_000} min after it was due, {usd(due.amount, True)}"
            levels = self._levels(AnomalyKind.FUNDING_SURPRISE, symbol)
            yield reading(AnomalyKind.FUNDING_SURPRISE, ONE, levels, f"{text} were expected", symbol)

    def rates(self) -> Iterable[Reading]:
        """Judge the predicted rate that a position would pay; what was raised clears at the settlement."""
        now_ms = self._engine.clock.now_ms()
        for row in self._engine.portfolio.positions():
            told = self._engine.market.funding(row.symbol)
            if told is None or not row.quantity:
                continue
            against = Decimal(repr(told.rate)) * (1 if row.quantity > 0 else -1)
            value = max(ZERO, against)
            levels = self._levels(AnomalyKind.FUNDING_RATE, row.symbol)
            if levels.severity(value) is not None:
                self._dear_until_ms[row.symbol] = told.next_time
            is_clear = now_ms >= self._dear_until_ms.get(row.symbol, 0)
            text = f"{row.symbol}: funding of {percent(against, True)} per {told.period_h} h is against the position"
            yield reading(AnomalyKind.FUNDING_RATE, value, levels, text, row.symbol, is_clear=is_clear)

    def _roll(self, symbol: str, next_ms: int, now_ms: int) -> None:
        """Move on to the next settlement when the one before is over; the venue's clock may be ahead of ours."""
        expected = self._next.get(symbol)
        if expected is None:
            return
        over = now_ms >= expected.time_ms
        moved_on = next_ms > expected.time_ms and now_ms >= expected.time_ms - LEEWAY_MS
        if over or moved_on:
            self._due[symbol] = self._next.pop(symbol)
