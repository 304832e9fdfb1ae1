"""The system monitor of one account: watches positions, prices, orders and strategies, and tells what is wrong.

It samples prices and profit once a second and evaluates everything at least every ten seconds, and within a second of
an order, fill or position that changed. Only auto-correction and auto-reduce, within their limits, ever trade.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import msgspec

from engine.io.journal import Journal
from engine.io.report_file import ReportFile
from engine.io.settings import MonitorConfig
from engine.io.writer import WriterThread
from engine.kernel.anomaly import AnomalyKind, Severity
from engine.kernel.clock import NS_PER_S, TimerHandle
from engine.kernel.errors import CtosError, RiskReject
from engine.kernel.scheduler import InstanceState
from engine.kernel.syscalls import Unsubscribe
from engine.runtime.account_detectors import AccountDetectors
from engine.runtime.accounts import MANUAL
from engine.runtime.anomalies import Anomaly, AnomalyChanged, Reading
from engine.runtime.anomaly_book import KEPT_ANOMALIES, AnomalyBook
from engine.runtime.auto_reduce import AutoReduce
from engine.runtime.correction import PROPOSAL, CorrectionMode, Corrector
from engine.runtime.data import BarFeed
from engine.runtime.detectors import Detectors
from engine.runtime.events import (
    EngineAlarm,
    FillBooked,
    FundingShared,
    InstanceChanged,
    OrderChanged,
    PositionChanged,
)
from engine.runtime.execution import ExecutionEngine
from engine.runtime.fee_watch import FeeWatch
from engine.runtime.funding_watch import FundingWatch
from engine.runtime.reject_watch import RejectWatch
from engine.runtime.reports import (
    AnomalySummary,
    PositionSummary,
    anomaly_report,
    anomaly_summary,
    position_backup,
    position_summary,
)
from engine.runtime.unpriced_watch import UnpricedWatch

TICK_S = 1.0
BACKUP_S = 60.0
BACKUP_GENERATIONS = 5
MUTE_S = 600.0
TABLE = "anomalies"
UNWRITTEN = "file_not_written"
BLOCKED = "new entries blocked"

_LOG_LEVELS = {Severity.INFO: "info", Severity.WARN: "warn", Severity.CRIT: "error"}


class SystemMonitor:
    """Watches one account; its `check_entry` belongs at the risk gate.

    Args:
        engine: The account's engine, started.
        config: Levels and pace.
        writer: Writes the reports.
        folder: Where the reports are kept.

    Attributes:
        anomalies: Every anomaly that is remembered.
        corrector: Auto-correction.
    """

    def __init__(self, engine: ExecutionEngine, config: MonitorConfig, writer: WriterThread, folder: Path) -> None:
        self._engine = engine
        self._config = config
        self.corrector = Corrector(engine, CorrectionMode(config.correction))
        self._reducer = AutoReduce(engine, config.auto_reduce)
        self._detectors = Detectors(engine, config, self.corrector)
        self._account = AccountDetectors(engine, config)
        self._fees = FeeWatch(engine, config)
        self._funding = FundingWatch(engine, config)
        self._rejects = RejectWatch(engine.clock, config)
        self._unpriced = UnpricedWatch(engine)
        self.anomalies = AnomalyBook(
            engine.clock, config, self._changed, lambda symbol: bool(engine.portfolio.quantity(symbol))
        )
        stem = f"{engine.account.venue}_account{engine.account.index}"
        self._backup = ReportFile(
            folder / f"{stem}_position_backup.json", writer, BACKUP_GENERATIONS, self._not_written
        )
        self._report = ReportFile(folder / f"{stem}_anomaly_report.json", writer, 1, self._not_written)
        self._subscriptions: list[Unsubscribe] = []
        self._timer: TimerHandle | None = None
        self._quantities: dict[str, Decimal] = {}
        self._dirty = self._moved = self._news = False
        self._evaluated_ns = self._backed_up_ns = 0
        self._load()

    @property
    def is_monitoring(self) -> bool:
        """Return whether it watches."""
        return self._timer is not None

    def start_position_monitoring(self) -> None:
        """Begin to watch; harmless when it watches already."""
        if self._timer is not None:
            return
        bus = self._engine.bus
        self._fees.start()
        self.corrector.start()
        self._subscriptions = [
            bus.subscribe(OrderChanged, self._on_order),
            bus.subscribe(FillBooked, self._on_fill),
            bus.subscribe(FundingShared, self._on_funding),
            bus.subscribe(PositionChanged, self._on_position),
            bus.subscribe(InstanceChanged, self._on_instance),
            bus.subscribe(EngineAlarm, self._on_alarm),
        ]
        self._dirty = self._moved = self._news = True
        self._timer = self._engine.clock.call_later(TICK_S, self._tick)

    def stop_position_monitoring(self) -> None:
        """Stop watching at once and write both reports a last time."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        for unsubscribe in self._subscriptions:
            unsubscribe()
        self._subscriptions.clear()
        self.corrector.stop()
        self._write_backup()
        self._report.write(anomaly_report(self._engine, self.anomalies))

    def get_position_summary(self) -> PositionSummary:
        """Return the account's positions in numbers."""
        return position_summary(self._engine)

    def get_anomaly_summary(self, hours: float = 24) -> AnomalySummary:
        """Return what was wrong in the last hours."""
        return anomaly_summary(self.anomalies, self._engine.clock.now_ms(), hours)

    def evaluate(self) -> None:
        """Judge everything now."""
        self._dirty = False
        self._evaluated_ns = self._engine.clock.now_ns()
        watches = (self._detectors, self._account, self._fees, self._funding, self._rejects, self._unpriced)
        readings = [reading for watch in watches for reading in watch.evaluate()]
        self.anomalies.evaluate(readings)
        self._act(readings)

    def watch_bars(self, bars: BarFeed) -> None:
        """Judge the candles that strategies wait for, too."""
        self._detectors.late_bars = bars.late

    def raise_anomaly(
        self,
        kind: str,
        symbol: str,
        instance: str,
        value: object,
        threshold: object,
        text: str,
        severity: str = "WARN",
    ) -> None:
        """Take in what a strategy or its manager reports.

        Raises:
            CtosError: There is no such severity.
        """
        try:
            level = Severity(severity.upper())
        except ValueError:
            raise CtosError(f"no severity {severity!r}; there are INFO, WARN and CRIT") from None
        self.anomalies.report(kind, symbol, instance, level, str(value), str(threshold), text)

    def note_unwritten(self, error: CtosError) -> None:
        """Take in that a log or report cannot be written; all of them are one anomaly, and trading goes on."""
        self.raise_anomaly(UNWRITTEN, "", "", "", "", f"{error}; trading goes on without that file")

    def resolve(self, kind: str, symbol: str = "", instance: str = "") -> None:
        """Clear what was reported and is no longer so; harmless when it is not active."""
        for anomaly in self.anomalies.active():
            if anomaly.key == (kind, symbol, instance):
                self.anomalies.clear(anomaly)

    def acknowledge(self, anomaly_id: str, who: str = "operator") -> None:
        """Note that a person has seen an anomaly.

        Raises:
            CtosError: There is none of that id.
        """
        self.anomalies.acknowledge(self._find(anomaly_id), who)

    def decision(self, anomaly: Anomaly) -> str:
        """Return what a person can decide about an anomaly, in words; empty when there is nothing to decide."""
        if not anomaly.is_active:
            return ""
        if anomaly.kind == AnomalyKind.EQUITY_GAP:
            return "say that the money was paid in or out"
        return self.corrector.decision(anomaly.symbol) if anomaly.kind == AnomalyKind.POSITION_DRIFT else ""

    def decide(self, anomaly_id: str, who: str, reason: str) -> None:
        """Carry out what `decision` says, for a reason that is kept.

        Raises:
            CtosError: There is none of that id, no reason, or nothing to decide.
        """
        anomaly = self._find(anomaly_id)
        text = self.decision(anomaly)
        if not text:
            raise CtosError(f"there is nothing to decide about {anomaly.title} #{anomaly.id}")
        if not reason.strip():
            raise CtosError("a decision needs a reason: it is kept in the journal")
        if anomaly.kind == AnomalyKind.EQUITY_GAP:
            anomaly.data.update(self._account.accept_gap())
            self._engine.oplog("LedgerRepair", actor="human", det=f"equity gap explained by {who}: {reason}")
        else:
            self.corrector.decide(anomaly.symbol, who, reason)
        anomaly.action = f"{who} decided to {text}: {reason}"
        self.anomalies.acknowledge(anomaly, who)

    def mute(self, anomaly_id: str, seconds: float = MUTE_S) -> None:
        """Notify nobody about an anomaly, or the next of the same kind and subject, for a while.

        Raises:
            CtosError: There is none of that id.
        """
        self.anomalies.mute(self._find(anomaly_id), seconds)

    def entry_block(self, instance: str, symbol: str) -> str:
        """Return why new entries are blocked by a critical anomaly of the symbol, instance or account, else nothing."""
        for anomaly in self.anomalies.active():
            if anomaly.severity is Severity.CRIT and _covers(anomaly, instance, symbol):
                return f"{anomaly.title} #{anomaly.id}: {anomaly.text}"
        return ""

    def check_entry(self, instance: str, symbol: str) -> None:
        """Refuse an order that would increase exposure while a critical anomaly covers it.

        Raises:
            RiskReject: Rule `anomaly`, with the anomaly in words.
        """
        why = self.entry_block(instance, symbol)
        if why:
            raise RiskReject("anomaly", "", why, hint="reductions pass; the anomalies pane says what ends it")

    def _tick(self) -> None:
        """Sample, and evaluate or write what is due."""
        self._timer = self._engine.clock.call_later(TICK_S, self._tick)
        now_ns = self._engine.clock.now_ns()
        moved = self._detectors.sample()
        self._funding.sample()
        since_ns = now_ns - self._evaluated_ns
        if moved or self._dirty or since_ns >= self._config.interval_s * NS_PER_S:
            self.evaluate()
        else:
            self._act(())
        if self._moved or now_ns - self._backed_up_ns >= BACKUP_S * NS_PER_S:
            self._write_backup()
        if self._news:
            self._news = False
            self._report.write(anomaly_report(self._engine, self.anomalies))

    def _act(self, readings: Iterable[Reading]) -> None:
        """Let auto-correction and, on what has just been read, auto-reduce take their next step."""
        active = self.anomalies.active()
        before = {anomaly.id: _done(anomaly) for anomaly in active}
        self.corrector.evaluate(anomaly for anomaly in active if anomaly.kind == AnomalyKind.POSITION_DRIFT)
        self._reducer.evaluate(active, readings)
        for anomaly in active:
            if _done(anomaly) != before[anomaly.id]:
                self._changed(anomaly, False)

    def _on_order(self, event: OrderChanged) -> None:
        self._dirty = True
        self._rejects.on_order(event.order)

    def _on_position(self, event: PositionChanged) -> None:
        self._dirty = True
        quantity = self._engine.portfolio.quantity(event.symbol)
        if self._quantities.get(event.symbol) != quantity:
            self._quantities[event.symbol] = quantity
            self._moved = True

    def _on_fill(self, event: FillBooked) -> None:
        self._dirty = self._moved = True
        fill = event.fill
        self._fees.on_fill(fill)
        if event.instance != MANUAL:
            return
        order = self._engine.tracker.find(fill.client_id, fill.symbol, fill.venue_order_id)
        if order is not None and not order.external:
            return
        what = f"{fill.symbol}: {fill.side.value} {fill.quantity} at {fill.price}"
        text = f"{what} was traded outside; it is booked as manual"
        value = f"{fill.signed_quantity:f}"
        anomaly = self.anomalies.report(AnomalyKind.EXTERNAL_TRADE, fill.symbol, "", Severity.INFO, value, "", text)
        anomaly.action = "booked to the manual ledger"
        self.anomalies.clear(anomaly)

    def _on_funding(self, event: FundingShared) -> None:
        self._dirty = True
        self._funding.on_payment(event.payment)

    def _on_instance(self, event: InstanceChanged) -> None:
        if event.state not in (InstanceState.RUNNING, InstanceState.PAUSED, InstanceState.STOPPED):
            return
        for anomaly in self.anomalies.active():
            if anomaly.kind == AnomalyKind.STRATEGY_FAULT and anomaly.instance == event.instance:
                self.anomalies.clear(anomaly)

    def _on_alarm(self, event: EngineAlarm) -> None:
        self.raise_anomaly(event.kind, event.symbol, event.instance, "", "", event.text, event.severity)

    def _changed(self, anomaly: Anomaly, notify: bool) -> None:
        """Log, keep and publish a change of an anomaly."""
        engine = self._engine
        self._news = True
        if notify or not anomaly.is_active:
            engine.oplog(
                "AnomalyRaised" if anomaly.is_active else "AnomalyCleared",
                instance=anomaly.instance,
                src="monitor",
                actor="monitor",
                symbol=anomaly.symbol,
                det=anomaly.text,
                id=anomaly.id,
                kind=anomaly.kind,
                severity=anomaly.severity.value,
                value=anomaly.value,
                peak=anomaly.peak,
                count=anomaly.count,
            )
        if notify:
            engine.core.say(f"{anomaly.title}: {anomaly.text}", _LOG_LEVELS[anomaly.severity], "monitor")
        elif not anomaly.is_active and anomaly.is_condition:
            engine.core.say(f"cleared: {anomaly.title}: {anomaly.text}", "info", "monitor")
        if anomaly.is_active and anomaly.severity is Severity.CRIT and not anomaly.action:
            anomaly.action = BLOCKED
        elif anomaly.is_active and anomaly.severity is not Severity.CRIT and anomaly.action == BLOCKED:
            anomaly.action = ""
        engine.journal.put(TABLE, self._key(anomaly), msgspec.json.encode(anomaly))
        engine.bus.publish(AnomalyChanged(anomaly, notify))

    def _write_backup(self) -> None:
        self._moved = False
        self._backed_up_ns = self._engine.clock.now_ns()
        self._backup.write(position_backup(self._engine))

    def _not_written(self, error: CtosError) -> None:
        if self.is_monitoring:
            self.note_unwritten(error)
        else:
            self._engine.say(f"a last report could not be written: {error}", "error")

    def _find(self, anomaly_id: str) -> Anomaly:
        anomaly = self.anomalies.get(anomaly_id)
        if anomaly is None:
            raise CtosError(f"no anomaly {anomaly_id!r} is remembered")
        return anomaly

    def _load(self) -> None:
        """Take over what earlier runs remembered, and forget what is too old."""
        journal: Journal = self._engine.journal
        account = self._engine.account.key
        saved = [(key, value) for key, value in journal.items(TABLE) if key.rpartition("#")[0] == account]
        for key, _ in saved[:-KEPT_ANOMALIES]:
            journal.delete(TABLE, key)
        self.anomalies.restore(msgspec.json.decode(value, type=Anomaly) for _, value in saved[-KEPT_ANOMALIES:])
        self._account.restore(self.anomalies)

    def _key(self, anomaly: Anomaly) -> str:
        """Return the name under which an anomaly is kept; names sort by age."""
        return f"{self._engine.account.key}#{int(anomaly.id):010d}"


def _done(anomaly: Anomaly) -> tuple[str, str]:
    """Return what was done or is proposed about an anomaly."""
    return anomaly.action, anomaly.data.get(PROPOSAL, "")


def _covers(anomaly: Anomaly, instance: str, symbol: str) -> bool:
    """Return whether an order of an instance and symbol is in the scope of an anomaly."""
    return anomaly.symbol in ("", symbol) and anomaly.instance in ("", instance)
