"""What the system monitor looks at: each function evaluates one kind of anomaly and returns its readings.

Shares are fractions; money is USD. What cannot be judged, because a price or the equity is not known, gives no reading.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

import msgspec

from engine.io.settings import MonitorConfig
from engine.kernel.anomaly import AnomalyKind, Levels, Severity
from engine.kernel.clock import NS_PER_MS, NS_PER_S
from engine.kernel.errors import CtosError, RiskReject
from engine.kernel.orders import Order, OrderState, Pending
from engine.runtime.accounts import MANUAL
from engine.runtime.anomalies import Reading
from engine.runtime.data import LateBar
from engine.runtime.execution import ExecutionEngine
from engine.runtime.portfolio import PositionRow
from engine.runtime.position_gap import PositionGap
from engine.runtime.readings import percent, reading, usd
from engine.runtime.work.incremental import Incremental
from engine.runtime.work.soft import SoftOrder
from engine.runtime.work.targets import Target

WINDOW_NS = 60 * NS_PER_S
VENUE_SILENT_S = 5
DRIFT_APART_NS = 5 * NS_PER_S
DRIFT_SHARE = Decimal("0.1")
SWING_SHARE = Decimal("0.01")
GRACE_NS = 30 * NS_PER_S
ZERO = Decimal(0)
ONE = Decimal(1)


@dataclass(slots=True)
class History:
    """Values of the last minute, one a second, oldest first."""

    samples: deque[tuple[int, Decimal]] = field(default_factory=deque)

    def add(self, now_ns: int, value: Decimal) -> None:
        """Add a value, and forget all but one of those older than a minute; all of them after a gap of that length."""
        samples = self.samples
        if samples and samples[-1][0] <= now_ns - WINDOW_NS:
            samples.clear()
        samples.append((now_ns, value))
        while len(samples) > 1 and samples[1][0] <= now_ns - WINDOW_NS:
            samples.popleft()

    @property
    def first(self) -> Decimal:
        """Return the value of a minute ago, or the oldest since the start."""
        return self.samples[0][1]

    @property
    def last(self) -> Decimal:
        """Return the newest value."""
        return self.samples[-1][1]


class DriftFacts(Protocol):
    """What is known about why a position differs."""

    def excess(self, symbol: str) -> Decimal:
        """Return the signed base coins that are held and proved to be unwanted."""

    def is_unexplained(self, symbol: str) -> bool:
        """Return whether everything was looked at and no trade explains the difference."""

    def why_unwanted(self, symbol: str) -> str:
        """Return what proves that a part is unwanted, else nothing."""


class Detectors:
    """Evaluates one account.

    Args:
        engine: Its orders, ledgers and prices.
        config: The levels.
        facts: What is known about drifts.

    Attributes:
        late_bars: Returns the candles that are later than two of their timeframes.
    """

    def __init__(self, engine: ExecutionEngine, config: MonitorConfig, facts: DriftFacts) -> None:
        self.late_bars: Callable[[], Iterable[LateBar]] = tuple
        self._engine = engine
        self._facts = facts
        self._levels = config.levels_for
        self._prices: dict[str, History] = {}
        self._profit = History()
        self._drifts: dict[str, tuple[int, Decimal]] = {}
        self._gap = PositionGap(engine.core)

    def sample(self) -> bool:
        """Note present prices and profit; return whether one of them moved so far that it must be judged now."""
        engine, now_ns = self._engine, self._engine.clock.now_ns()
        for symbol in engine.market.watched:
            price = engine.portfolio.mark(symbol)
            if price is not None and not engine.market.is_stale(symbol):
                self._prices.setdefault(symbol, History()).add(now_ns, price)
        profit = engine.portfolio.profit()
        if profit is not None:
            self._profit.add(now_ns, profit)
        return any(reading.severity is not None for reading in self.price_jumps())

    def evaluate(self) -> list[Reading]:
        """Return the readings of everything."""
        rows = self._engine.portfolio.positions()
        readings = [*self.stale_data(), *self.price_jumps(), *self.order_stuck(), *self.pnl_swing(), *self.leverage()]
        for row in rows:
            readings += [*self.position_drift(row), *self.risk_ratio(row), *self.liq_distance(row)]
            readings += self.large_position(row)
        self._drifts = {row.symbol: self._drifts[row.symbol] for row in rows if row.symbol in self._drifts}
        return readings

    def price_jumps(self) -> Iterable[Reading]:
        """Judge the change of each price within a minute."""
        for symbol, history in self._prices.items():
            if not history.first:
                continue
            change = history.last / history.first - ONE
            levels = self._levels(AnomalyKind.PRICE_JUMP, symbol)
            text = f"{symbol} moved {percent(change, signed=True)} in 60 s, from {history.first} to {history.last}"
            yield reading(AnomalyKind.PRICE_JUMP, abs(change), levels, text, symbol)

    def stale_data(self) -> Iterable[Reading]:
        """Judge the silence of streams; when nothing at all arrives it is the venue's, else each symbol's own."""
        market = self._engine.market
        ages = {symbol: age for symbol in market.watched if (age := market.age_ms(symbol)) is not None}
        if not ages:
            return
        youngest = Decimal(min(ages.values())) / 1000
        if len(ages) > 1:
            oldest = Decimal(max(ages.values())) / 1000
            value = oldest if youngest >= VENUE_SILENT_S else youngest
            text = f"{self._engine.account.venue} is silent: no market data for {youngest:.0f} s"
            yield self._stale("", value, text, {"streams": str(len(ages))})
        late = {bar.symbol: bar for bar in self.late_bars()}
        for symbol, age in ages.items():
            seconds = Decimal(age) / 1000
            stale = self._stale(symbol, seconds, f"{symbol}: no market data for {seconds:.0f} s", {})
            if stale.severity is None and (bar := late.get(symbol)) is not None:
                text = f"{symbol}: no {bar.timeframe} candle has closed for {bar.seconds:.0f} s"
                stale = msgspec.structs.replace(stale, severity=Severity.WARN, is_clear=False, text=text)
            yield stale

    def position_drift(self, row: PositionRow) -> Iterable[Reading]:
        """Judge the difference between the venue's position and ours, seen twice at least 5 s apart.

        What the venue told before the last fill is no difference, and no agreement either.
        """
        engine, symbol = self._engine, row.symbol
        instrument = engine.instruments.get(symbol)
        if row.venue_quantity is None or row.mark_price is None or instrument is None or not instrument.is_perp:
            return
        excess = self._facts.excess(symbol)
        apart = row.venue_quantity - row.quantity - self._engine.tracker.in_flight(symbol)
        drift = apart + excess
        # What nothing but our own orders made is to be mended, and blocks nothing.
        is_known = abs(apart) < instrument.lot_size
        is_told = is_known or self._gap.is_told(symbol)
        now_ns = engine.clock.now_ns()
        since_ns, before = self._drifts.get(symbol, (now_ns, ZERO))
        if is_told:
            if not drift or (drift > 0) != (before > 0):
                since_ns = now_ns
            self._drifts[symbol] = (since_ns, drift)
        lot_usd = instrument.lot_size * row.mark_price
        value = abs(drift) * row.mark_price
        levels = self._levels(AnomalyKind.POSITION_DRIFT, symbol)
        warn = max(levels.warn, lot_usd)
        severity: Severity | None = None
        if is_told and now_ns - since_ns >= DRIFT_APART_NS and value >= warn:
            share = value / (abs(row.venue_quantity) * row.mark_price or value)
            grave = share >= DRIFT_SHARE or (levels.crit is not None and value >= levels.crit)
            grave = grave or self._facts.is_unexplained(symbol)
            severity = Severity.CRIT if grave and not is_known else Severity.WARN
        yield Reading(
            AnomalyKind.POSITION_DRIFT,
            value,
            severity,
            abs(drift) < instrument.lot_size,
            warn,
            lot_usd,
            self._drift_text(row, value, excess if is_known else ZERO),
            symbol,
            is_eased=is_known,
            data={"venue": str(row.venue_quantity), "ledgers": str(row.quantity), "drift": str(drift)},
        )

    def _drift_text(self, row: PositionRow, value: Decimal, excess: Decimal) -> str:
        symbol = row.symbol
        if excess:
            why = self._facts.why_unwanted(symbol)
            return f"{symbol}: {excess} of {row.quantity} is not wanted, {usd(value)}: {why}"
        return f"{symbol}: the venue holds {row.venue_quantity}, our ledgers {row.quantity}; {usd(value)} apart"

    def large_position(self, row: PositionRow) -> Iterable[Reading]:
        """Judge a position against the equity; what a strategy holds within its own limit is declared."""
        equity = self._engine.portfolio.equity()
        if equity is None or equity <= 0 or row.mark_price is None:
            return
        undeclared = abs(
            row.quantity - sum((held for who, held in row.holders if self._declared(who, held, row)), ZERO)
        )
        value = undeclared * self._usd_price(row) / equity
        text = f"{row.symbol}: {usd(undeclared * row.mark_price)} is {percent(value)} of the equity"
        yield reading(
            AnomalyKind.LARGE_POSITION, value, self._levels(AnomalyKind.LARGE_POSITION, row.symbol), text, row.symbol
        )

    def risk_ratio(self, row: PositionRow) -> Iterable[Reading]:
        """Judge the open loss against the size of the position."""
        if row.mark_price is None or not row.notional:
            return
        value = max(ZERO, -row.unrealised) / row.notional
        text = f"{row.symbol}: the open loss is {percent(value)} of the position"
        yield reading(AnomalyKind.RISK_RATIO, value, self._levels(AnomalyKind.RISK_RATIO, row.symbol), text, row.symbol)

    def liq_distance(self, row: PositionRow) -> Iterable[Reading]:
        """Judge how far the mark is from the price at which the venue would liquidate."""
        if row.mark_price is None or row.liquidation_price is None or row.liquidation_price <= 0 or not row.quantity:
            return
        value = abs(row.mark_price - row.liquidation_price) / row.mark_price
        text = f"{row.symbol}: liquidation at {row.liquidation_price} is {percent(value)} away"
        yield reading(
            AnomalyKind.LIQ_DISTANCE, value, self._levels(AnomalyKind.LIQ_DISTANCE, row.symbol), text, row.symbol
        )

    def leverage(self) -> Iterable[Reading]:
        """Judge gross notional against equity."""
        value = self._engine.portfolio.leverage()
        if value is not None:
            text = f"gross notional is {value:.2f} times the equity"
            yield reading(AnomalyKind.LEVERAGE, value, self._levels(AnomalyKind.LEVERAGE), text)

    def pnl_swing(self) -> Iterable[Reading]:
        """Judge the change of the profit within a minute, against an amount and a share of the equity."""
        if not self._profit.samples:
            return
        equity = self._engine.portfolio.equity() or ZERO
        levels = self._levels(AnomalyKind.PNL_SWING)
        share = max(ZERO, equity) * SWING_SHARE
        levels = Levels(
            max(levels.warn, share),
            None if levels.crit is None else max(levels.crit, 3 * share),
            max(levels.clear, share / 2),
        )
        change = self._profit.last - self._profit.first
        yield reading(AnomalyKind.PNL_SWING, abs(change), levels, f"the profit changed by {usd(change, True)} in 60 s")

    def order_stuck(self) -> Iterable[Reading]:
        """Judge orders that wait for an answer, and soft orders past their deadline, by symbol."""
        now_ns = self._engine.clock.now_ns()
        waiting: dict[str, list[Order]] = {}
        for order in self._engine.tracker.working():
            if _waits(order):
                waiting.setdefault(order.symbol, []).append(order)
        over = self._overdue(now_ns)
        for symbol in waiting.keys() | over.keys():
            seconds, labels, text = over.get(symbol, (ZERO, "", ""))
            levels = self._levels(AnomalyKind.ORDER_STUCK, symbol)
            if orders := waiting.get(symbol):
                silent = Decimal(max(now_ns - order.updated_ns for order in orders) // NS_PER_MS) / 1000
                if silent >= seconds:
                    seconds, labels = silent, ", ".join(f"#{order.label}" for order in orders[:5])
                    text = f"{symbol}: no answer about {labels} for {seconds:.0f} s"
            yield reading(AnomalyKind.ORDER_STUCK, seconds, levels, text, symbol, {"orders": labels})

    def _overdue(self, now_ns: int) -> dict[str, tuple[Decimal, str, str]]:
        """Return (seconds as judged, handle, words) of the soft order furthest past its deadline, by symbol.

        The first 30 s after a deadline belong to its policy: they are counted from the warning level on.
        """
        found: dict[str, tuple[Decimal, str, str]] = {}
        for item in self._engine.active_work():
            deadline_ns = item.deadline_ns if isinstance(item, SoftOrder | Incremental | Target) else None
            if deadline_ns is None or now_ns - deadline_ns < GRACE_NS:
                continue
            late = Decimal((now_ns - deadline_ns) // NS_PER_MS) / 1000
            judged = late - GRACE_NS // NS_PER_S + self._levels(AnomalyKind.ORDER_STUCK, item.symbol).warn
            if judged > found.get(item.symbol, (ZERO,))[0]:
                text = f"{item.symbol}: {item.kind} order {item.handle} is {late:.0f} s past its deadline"
                found[item.symbol] = (judged, item.handle, text)
        return found

    def _stale(self, symbol: str, seconds: Decimal, text: str, data: dict[str, str]) -> Reading:
        levels = self._levels(AnomalyKind.STALE_DATA, symbol)
        severity = levels.severity(seconds)
        threshold = levels.crit if severity is Severity.CRIT and levels.crit is not None else levels.warn
        return Reading(
            AnomalyKind.STALE_DATA,
            seconds,
            severity,
            seconds < levels.warn,
            threshold,
            levels.warn,
            text,
            symbol,
            hold_s=float(levels.clear),
            data=data,
        )

    def _declared(self, instance: str, held: Decimal, row: PositionRow) -> bool:
        if instance == MANUAL:
            return False
        try:
            limit = self._engine.risk.limits_of(instance).max_notional_usd
        except RiskReject:
            return False
        return abs(held) * self._usd_price(row) <= limit

    def _usd_price(self, row: PositionRow) -> Decimal:
        instrument = self._engine.instruments.get(row.symbol)
        price = row.mark_price or ZERO
        if instrument is None:
            return price
        try:
            return price * self._engine.portfolio.fx(instrument.quote)
        except CtosError:
            return price


def _waits(order: Order) -> bool:
    if order.held or order.external:
        return False
    return order.state in (OrderState.INTENT, OrderState.SENT, OrderState.UNKNOWN) or order.pending is not Pending.NONE
