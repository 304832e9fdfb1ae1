"""Which acts go into an account's audit: what only a person may do, and what the engine does in a person's place."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from engine.io.audit import AuditLog, Record, audit_note, audit_path
from engine.io.logs import MANUAL
from engine.io.secrets import process_redactor
from engine.kernel.errors import CtosError
from engine.runtime.accounts import AccountLimits
from engine.runtime.anomalies import AnomalyChanged
from engine.runtime.events import TradingStateChanged
from engine.runtime.trading_state import TradingMode

if TYPE_CHECKING:
    from engine.boot.system import System

_BY_OPERATION = {
    "Armed": "arm",
    "ClosePosition": "flatten",
    "ControlRefused": "control_refused",
    "KillSwitch": "panic",
    "LedgerRepair": "ledger_adjusted",
    "LedgerTransfer": "ledger_transferred",
    "ParamsChanged": "strategy_parameters",
    "ProgramStop": "program_stopped",
    "RiskHalt": "risk_halt",
    "ScreenAttached": "attach",
    "ScreenDetached": "detach",
    "ScreenFailed": "screen_failed",
    "ScreenLost": "terminal_lost",
    "ScreenTakenOver": "take_over",
    "StrategyExit": "strategy_stopped",
    "StrategyPause": "strategy_paused",
    "StrategyResume": "strategy_resumed",
    "StrategyStart": "strategy_started",
}
_BY_STATE = {
    TradingMode.DISARMED: "disarm",
    TradingMode.REDUCE_ONLY: "restrict",
    TradingMode.HALTED: "halt",
}
_OPERATOR = "operator"
_ENGINE = "engine"
_BY_HAND = "by the operator"


class Auditor:
    """Keeps the audit of a running system.

    Args:
        system: The system, whose engine is being built: its operation log passes through `operation`.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self._begun = self._closed = False
        self._broken: list[str] = []
        self._mode = TradingMode.DISARMED
        self._seen: dict[str, tuple[str, int]] = {}
        account = system.account
        path = audit_path(system.paths.logs, account.venue, account.index)
        self._log = AuditLog(
            path,
            system.clock,
            system.writer,
            process_redactor,
            self._on_written,
            self._on_broken,
            self._on_error,
        )
        self._note = audit_note(path)

    def begin(self) -> None:
        """Check what earlier runs wrote, and follow the system; harmless when it does so already."""
        if self._begun:
            return
        self._begun = True
        system = self._system
        notes = dict(system.journal.items("notes"))
        known = notes.get(self._note)
        self._log.open(None if known is None else msgspec.json.decode(known, type=Record))
        hello = system.control.server.hello
        self.write(_OPERATOR, "program_started", program=hello.program, pid=os.getpid(), account=hello.account)
        self._limits(notes)
        system.bus.subscribe(TradingStateChanged, self._on_trading)
        system.bus.subscribe(AnomalyChanged, self._on_anomaly)

    def started(self) -> None:
        """The system has started: its state is restored, and its monitor takes alarms."""
        restored = (
            (anomaly.id, (anomaly.acked_by, anomaly.muted_until_ms)) for anomaly in self._system.monitor.anomalies
        )
        self._seen.update(restored)
        for text in self._broken:
            self._alarm(text)
        self._broken.clear()
        fitness = self._system.fitness
        if fitness is not None and fitness.banner:
            self.write(_OPERATOR, "key_right_override", text=fitness.banner)

    def close(self) -> None:
        """Remember no more records in the journal, which is about to close; they are written all the same."""
        self._closed = True

    def write(self, who: str, act: str, **details: Any) -> None:
        """Write an act that nothing publishes, such as the attachment of a terminal."""
        if self._begun:
            self._log.write(who, act, details)

    def operation(self, op: str, **fields: Any) -> None:
        """Write an operation to the operation log, and to the audit when it is a privileged one."""
        self._system.logs.operation(op, **fields)
        act = _BY_OPERATION.get(op) or ("auto_correction" if op.startswith("AutoCorrection") else None)
        if act is not None:
            who = fields.get("who") or fields.get("actor") or self._who(op, fields)
            self.write(who, act, op=op, **{key: value for key, value in fields.items() if key not in ("who", "actor")})

    def _who(self, op: str, fields: dict[str, Any]) -> str:
        """Return who did what does not say it: strategies are started, stopped and changed by people."""
        if op in ("StrategyStart", "StrategyResume", "ParamsChanged") or fields.get("reason") == _BY_HAND:
            return _OPERATOR
        return _OPERATOR if fields.get("instance") == MANUAL else _ENGINE

    def _limits(self, notes: dict[str, bytes]) -> None:
        """Write which limits differ from those of the last start."""
        account = self._system.account
        name = f"{self._note}/{account.name}/limits"
        now = {field: str(getattr(account.limits, field)) for field in AccountLimits.__dataclass_fields__}
        before = msgspec.json.decode(notes.get(name, b"{}"), type=dict[str, str])
        changed = {
            field: f"{before.get(field, 'not set')} -> {value}"
            for field, value in now.items()
            if before.get(field) != value
        }
        if changed:
            self.write(_OPERATOR, "limits_changed", account=account.name, **changed)
            self._system.journal.put("notes", name, msgspec.json.encode(now))

    def _on_trading(self, event: TradingStateChanged) -> None:
        status = self._system.engine.trading.status
        was, self._mode = self._mode, status.mode
        act = _BY_STATE.get(status.mode, "lift" if was is TradingMode.REDUCE_ONLY else "")
        if was is TradingMode.HALTED:
            act = "rearm"
        if act and status.mode is not was:
            self.write(status.who, act, reason=status.reason, state=status.mode.value)

    def _on_anomaly(self, event: AnomalyChanged) -> None:
        anomaly = event.anomaly
        before = self._seen.get(anomaly.id, ("", 0))
        now = (anomaly.acked_by, anomaly.muted_until_ms)
        if now == before:
            return
        self._seen[anomaly.id] = now
        about = {"kind": anomaly.kind, "symbol": anomaly.symbol, "number": anomaly.id, "text": anomaly.text}
        if anomaly.acked_by != before[0]:
            self.write(anomaly.acked_by, "anomaly_acknowledged", **about, action=anomaly.action)
        if anomaly.muted_until_ms != before[1]:
            self.write(_OPERATOR, "anomaly_muted", **about, until_ms=anomaly.muted_until_ms)

    def _on_written(self, record: Record) -> None:
        if not self._closed and self._system.journal.failed is None:
            self._system.journal.put("notes", self._note, msgspec.json.encode(record))

    def _on_broken(self, text: str) -> None:
        if self._system.ready:
            self._alarm(text)
        else:
            self._broken.append(text)

    def _alarm(self, text: str) -> None:
        self._system.engine.core.alarm("audit", text, severity="CRIT")

    def _on_error(self, error: CtosError) -> None:
        self._system.engine.say(f"the audit cannot be written: {error}; its records wait", "error")
