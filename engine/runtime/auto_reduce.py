"""Reduces positions by quarters while the account is close to liquidation, where its operator has asked for that."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from engine.kernel.anomaly import AnomalyKind, Severity
from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import CtosError
from engine.runtime.accounts import MANUAL
from engine.runtime.anomalies import Anomaly, Reading
from engine.runtime.execution import ExecutionEngine
from engine.runtime.portfolio import PositionRow
from engine.runtime.trading_state import TradingMode

SHARE = Decimal("0.25")
EVERY_NS = 60 * NS_PER_S
CAUSES = frozenset({AnomalyKind.LIQ_DISTANCE, AnomalyKind.MARGIN})
_MAY_TRADE = (TradingMode.ARMED, TradingMode.REDUCE_ONLY)


class AutoReduce:
    """Closes a quarter of a position at the market, reduce-only, at most once in 60 s a position.

    Only what is read at or beyond the critical level now reduces: an anomaly stays critical until it is clear, and over
    a restart, when the last quarter or a person has mended it long since.

    Every ledger that holds the position's side gives its quarter, so that strategies see it as fills of their own. A
    critical `margin` reduces the largest perpetual. A disarmed or halted account is left alone, and that is told.

    Args:
        engine: The account's engine.
        enabled: Whether it may trade.
    """

    def __init__(self, engine: ExecutionEngine, enabled: bool) -> None:
        self._engine = engine
        self._enabled = enabled
        self._last_ns: dict[str, int] = {}
        self._count: dict[str, int] = {}

    def evaluate(self, active: Iterable[Anomaly], readings: Iterable[Reading]) -> None:
        """Reduce what is critical of liquidation distance and margin.

        Args:
            active: The active anomalies.
            readings: What has just been read.
        """
        if not self._enabled:
            return
        critical = {each.key for each in readings if each.severity is Severity.CRIT and each.kind in CAUSES}
        for anomaly in list(active):
            if anomaly.key in critical:
                row = self._row_of(anomaly)
                if row is not None:
                    self._reduce(anomaly, row)

    def _row_of(self, anomaly: Anomaly) -> PositionRow | None:
        """Return the position that an anomaly is about; of the account as a whole the largest perpetual."""
        rows = [row for row in self._engine.portfolio.positions() if row.quantity and self._is_perp(row.symbol)]
        if anomaly.symbol:
            return next((row for row in rows if row.symbol == anomaly.symbol), None)
        return max(rows, key=lambda row: row.notional, default=None)

    def _reduce(self, anomaly: Anomaly, row: PositionRow) -> None:
        engine, symbol, now_ns = self._engine, row.symbol, self._engine.clock.now_ns()
        if engine.trading.mode not in _MAY_TRADE:
            anomaly.action = f"new entries blocked; {symbol} is not reduced: {engine.trading.describe()}"
            return
        if now_ns - self._last_ns.get(symbol, -EVERY_NS) < EVERY_NS:
            return
        self._last_ns[symbol] = now_ns
        failures = []
        for instance, held in row.holders:
            if held * row.quantity <= 0:
                continue
            # By hand a share is one of the account's position, not of the operator's ledger.
            share = SHARE * held / row.quantity if instance == MANUAL else SHARE
            try:
                engine.close(instance, symbol, min(Decimal(1), share), soft=False)
            except CtosError as error:
                failures.append(f"{instance}: {error}")
        self._count[anomaly.id] = self._count.get(anomaly.id, 0) + 1
        text = f"a quarter of {row.quantity} {symbol} is being closed, time {self._count[anomaly.id]}"
        if failures:
            text += f"; refused: {'; '.join(failures)}"
        anomaly.action = f"new entries blocked; {text}"
        engine.oplog("ClosePosition", src="monitor", actor="monitor", symbol=symbol, det=text, anomaly=anomaly.id)
        engine.core.say(f"{anomaly.title} #{anomaly.id}: {text}", "error", "monitor")

    def _is_perp(self, symbol: str) -> bool:
        instrument = self._engine.instruments.get(symbol)
        return instrument is not None and instrument.is_perp
