"""Evaluates the account as a whole: margin in use, equity that nothing explains, the venue's time against ours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from engine.io.settings import MonitorConfig
from engine.kernel.anomaly import AnomalyKind
from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import CtosError
from engine.runtime.anomalies import Anomaly, Reading
from engine.runtime.cash import CashBook
from engine.runtime.execution import ExecutionEngine
from engine.runtime.portfolio import PositionRow
from engine.runtime.readings import percent, reading, usd
from engine.runtime.reconcile import ACCOUNT_EVERY_S

SETTLED_NS = round((ACCOUNT_EVERY_S + 5) * NS_PER_S)
"""How long equity must stay unexplained: longer than it takes to ask the venue for its balances anew."""

DAY_MS = 86_400_000
_DAY, _ACCEPTED = "day", "accepted"
ZERO = Decimal(0)


class AccountDetectors:
    """Evaluates what belongs to no single symbol.

    Args:
        engine: The account's positions, orders and money.
        config: The levels.
    """

    def __init__(self, engine: ExecutionEngine, config: MonitorConfig) -> None:
        self._engine = engine
        self._levels = config.levels_for
        self._gap_since_ns: int | None = None
        self._cash = CashBook(engine)
        self._accepted = (-1, ZERO)  # UTC day, and what of its gap a person has explained

    def evaluate(self) -> list[Reading]:
        """Return the readings of everything."""
        return [*self.margin(), *self.equity_gap(), *self.clock_skew()]

    def margin(self) -> Iterable[Reading]:
        """Judge the initial margin of positions and of orders that may add to them against the equity."""
        equity = self._engine.portfolio.equity()
        used = self._margin_used()
        if equity is None or equity <= 0 or used is None:
            return
        value = used / equity
        text = f"{usd(used)} of margin are in use, {percent(value)} of the equity"
        yield reading(AnomalyKind.MARGIN, value, self._levels(AnomalyKind.MARGIN), text)

    def equity_gap(self) -> Iterable[Reading]:
        """Judge the change of the equity since 00:00 UTC that profit, fees, funding and transfers leave unexplained.

        Where the venue tells its transfers they are asked for first, and what is left is critical. Where it does not,
        money that was paid in or out looks the same: that is a warning, which blocks nothing. A person who decides
        about the anomaly says that it was such money.
        """
        gap = self._gap()
        anchor, equity = self._engine.portfolio.anchor, self._engine.portfolio.equity()
        if gap is None or anchor is None or equity is None or (base := max(anchor.equity, equity)) <= 0:
            return
        left = gap - self._accepted_on(anchor.day)
        value, now_ns = abs(left) / base, self._engine.clock.now_ns()
        levels = self._levels(AnomalyKind.EQUITY_GAP)
        tells = self._engine.driver.features.transfers
        if not tells:
            levels = replace(levels, crit=None)
        if levels.severity(value) is None:
            self._gap_since_ns = None
        else:
            self._gap_since_ns = self._gap_since_ns or now_ns
            if tells:
                self._cash.ask(anchor.ts or anchor.day * DAY_MS)
        if self._gap_since_ns is not None and now_ns - self._gap_since_ns < SETTLED_NS:
            return
        text = (
            f"the equity changed by {usd(left, True)} ({percent(value)}) that no trade, fee, funding"
            f"{' or transfer' if tells else ''} explains"
        )
        yield reading(AnomalyKind.EQUITY_GAP, value, levels, text)

    def clock_skew(self) -> Iterable[Reading]:
        """Judge the venue's time against ours."""
        offset_ms = self._engine.driver.clock_offset_ms()
        if offset_ms is None:
            return
        seconds = Decimal(round(abs(offset_ms))) / 1000
        where = "behind" if offset_ms > 0 else "ahead of"
        text = f"our clock is {seconds} s {where} {self._engine.account.venue}'s; set the system's time (NTP)"
        yield reading(AnomalyKind.CLOCK_SKEW, seconds, self._levels(AnomalyKind.CLOCK_SKEW), text)

    def accept_gap(self) -> dict[str, str]:
        """Take the present gap of the equity as explained; return what is to be remembered of that."""
        anchor, gap = self._engine.portfolio.anchor, self._gap()
        if anchor is None or gap is None:
            return {}
        self._accepted = (anchor.day, gap)
        return {_DAY: str(anchor.day), _ACCEPTED: str(gap)}

    def restore(self, anomalies: Iterable[Anomaly]) -> None:
        """Take over what was accepted in earlier runs, oldest first."""
        for anomaly in anomalies:
            if anomaly.kind == AnomalyKind.EQUITY_GAP and _ACCEPTED in anomaly.data:
                self._accepted = (int(anomaly.data[_DAY]), Decimal(anomaly.data[_ACCEPTED]))

    def _accepted_on(self, day: int) -> Decimal:
        return self._accepted[1] if self._accepted[0] == day else ZERO

    def _gap(self) -> Decimal | None:
        """Return the equity's change since the start of the day less the profit's; None while it cannot be told."""
        portfolio = self._engine.portfolio
        anchor, equity, profit = portfolio.anchor, portfolio.equity(), portfolio.profit()
        if anchor is None or equity is None or profit is None:
            return None
        paid_in = self._engine.core.state.books.cash_since(anchor.ts or anchor.day * DAY_MS)
        return (equity - anchor.equity) - (profit - anchor.profit) - paid_in

    def _margin_used(self) -> Decimal | None:
        """Return the initial margin in USD, None while the leverage of something is not known."""
        engine, used = self._engine, ZERO
        for row in engine.portfolio.positions():
            quantity = row.quantity if row.venue_quantity is None else row.venue_quantity
            part = self._margin_of(row.symbol, quantity, row.mark_price or row.entry_price, row)
            if part is None:
                return None
            used += part
        for order in engine.tracker.working():
            if order.reduce_only or order.held:
                continue
            price = order.price or engine.portfolio.mark(order.symbol)
            part = None if price is None else self._margin_of(order.symbol, order.working_quantity, price, None)
            if part is None:
                return None
            used += part
        return used

    def _margin_of(self, symbol: str, quantity: Decimal, price: Decimal, row: PositionRow | None) -> Decimal | None:
        instrument = self._engine.instruments.get(symbol)
        if instrument is None or not instrument.is_perp or not quantity:
            return ZERO
        leverage = row.leverage if row is not None and row.leverage else self._engine.driver.leverage(symbol)
        if not leverage:
            return None
        try:
            return abs(quantity) * price * self._engine.portfolio.fx(instrument.quote) / leverage
        except CtosError:
            # Its quote currency has no price in USD now, so the margin cannot be told.
            return None
