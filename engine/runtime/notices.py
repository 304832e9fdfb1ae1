"""What the operator is told outside the console: halts, restrictions, anomalies, a silent account, start and stop.

Faults of strategies and commands without an answer come as the anomalies that the monitor makes of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol

from engine.io.logs import iso_time
from engine.kernel.anomaly import Severity
from engine.kernel.clock import NS_PER_S, TimerHandle
from engine.kernel.syscalls import Unsubscribe
from engine.runtime.accounts import Account, Mode
from engine.runtime.anomalies import AnomalyChanged, Key
from engine.runtime.events import PanicProgress, TradingStateChanged
from engine.runtime.execution import ExecutionEngine
from engine.runtime.notice_outbox import Notice, Outbox
from engine.runtime.trading_state import TradingMode

DELIVERY = "notification"
"""Kind of the anomaly that a target cannot be reached."""

POLL_S = 5.0
SILENT_S = 30.0
FIRST_REPORT_S, NEXT_REPORT_S = 10.0, 300.0
LONGEST = 1200
REMEMBERED = 1000

_CLOSED = (TradingMode.HALTED, TradingMode.REDUCE_ONLY)
_MENTION = re.compile(r"@(?=\w)|<(?=[!@#])")


class Alarms(Protocol):
    """Takes what is wrong with the delivery itself; the system monitor."""

    def raise_anomaly(
        self, kind: str, symbol: str, instance: str, value: object, threshold: object, text: str, severity: str = "WARN"
    ) -> None:
        """Take in that something is wrong."""

    def resolve(self, kind: str, symbol: str = "", instance: str = "") -> None:
        """Take in that it is wrong no more."""


class Notices:
    """Tells the operator what happens to one account.

    Args:
        engine: The account's engine.
        alarms: Takes what is wrong with the delivery.
        redact: Masks secrets.
    """

    def __init__(self, engine: ExecutionEngine, alarms: Alarms, redact: Callable[[str], str]) -> None:
        self.outboxes: list[Outbox] = []
        self._engine = engine
        self._alarms = alarms
        self._redact = redact
        self._label = account_label(engine.account)
        self._subscriptions: list[Unsubscribe] = []
        self._mode = engine.trading.mode
        self._report = ""
        self._report_timer: TimerHandle | None = None
        self._is_confirmed = False
        self._told: dict[Key, Severity] = {}
        self._silent_since_ns: int | None = None
        self._silence_told = False
        self._poll_timer: TimerHandle | None = None
        self._failures: dict[str, str] = {}

    def start(self, outboxes: Sequence[Outbox]) -> None:
        """Begin to tell these targets; to be called before the engine starts, so that a halt of the start is told."""
        self.outboxes = list(outboxes)
        bus = self._engine.bus
        self._subscriptions = [
            bus.subscribe(TradingStateChanged, self._on_trading),
            bus.subscribe(PanicProgress, self._on_panic),
            bus.subscribe(AnomalyChanged, self._on_anomaly),
        ]
        self._poll_timer = self._engine.clock.call_later(POLL_S, self._poll)

    def settle(self) -> None:
        """Take over what the engine knew from its last run: the operator was told of it then."""
        self._mode = self._engine.trading.mode

    def tell(self, title: str, text: str = "", severity: Severity = Severity.INFO, urgent: bool = False) -> None:
        """Tell something that is no event of the engine, such as its start; the title is its key."""
        self._tell(title, severity, title, text, urgent)

    def on_trouble(self, name: str, failure: str) -> None:
        """Take in that a target cannot be reached, or, with an empty text, that it can be again."""
        if failure:
            self._failures[name] = failure
            self._engine.say(f"notifications to {name} do not arrive: {failure}", "warn")
            listed = "; ".join(f"{name}: {why}" for name, why in self._failures.items())
            text = f"notifications do not arrive: {listed}; try it with: ctos-tui check --notify"
            self._alarms.raise_anomaly(DELIVERY, "", "", len(self._failures), "", text)
            return
        self._failures.pop(name, None)
        self._engine.say(f"notifications to {name} arrive again")
        if not self._failures:
            self._alarms.resolve(DELIVERY)

    def close(self) -> None:
        """Take in no more events and let what waits go."""
        for unsubscribe in self._subscriptions:
            unsubscribe()
        self._subscriptions.clear()
        for timer in (self._poll_timer, self._report_timer):
            if timer is not None:
                timer.cancel()
        self._poll_timer = self._report_timer = None
        for outbox in self.outboxes:
            outbox.close()

    def stop(self) -> None:
        """Give up what has not gone."""
        for outbox in self.outboxes:
            outbox.stop()

    def _tell(
        self, key: str, severity: Severity, title: str, text: str, urgent: bool = False, is_good: bool = False
    ) -> None:
        when = iso_time(self._engine.clock.now_ns()).replace("T", " ").replace("Z", " UTC")
        words = self._plain(text)
        body = f"{words}\n{when}" if words else when
        notice = Notice(
            key, severity, f"[{self._label}] {self._plain(title)}", body, urgent, Severity.INFO if is_good else None
        )
        for outbox in self.outboxes:
            if not (key.startswith(DELIVERY) and outbox.is_failing):
                outbox.offer(notice)

    def _plain(self, text: str) -> str:
        """Return text without secrets, without what a service would obey, and not too long."""
        shown = "".join(char if char.isprintable() else " " for char in self._redact(text))
        cut = shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
        return _MENTION.sub(lambda found: f"{found[0]} ", cut)

    def _on_trading(self, event: TradingStateChanged) -> None:
        before, self._mode = self._mode, TradingMode(event.state)
        if self._mode is before:
            return
        status = self._engine.trading.status
        by = f" by {status.who}" if status.who else ""
        if self._mode is TradingMode.HALTED:
            self._tell("halt", Severity.CRIT, f"HALTED{by}", event.reason or "no reason was given", urgent=True)
        elif self._mode is TradingMode.REDUCE_ONLY:
            self._tell("reduce-only", Severity.CRIT, f"REDUCE-ONLY{by}", event.reason)
        elif before in _CLOSED:
            was = "halt" if before is TradingMode.HALTED else "reduce-only"
            title = f"{was} released{by}: trading is {self._mode.value}"
            self._tell("released", Severity.CRIT, title, event.reason, before is TradingMode.HALTED, is_good=True)

    def _on_panic(self, event: PanicProgress) -> None:
        """Tell once that the venue confirmed a halt, and from time to time that it has not."""
        self._report = event.text
        if not event.confirmed:
            self._is_confirmed = False
            if self._report_timer is None:
                self._report_timer = self._engine.clock.call_later(FIRST_REPORT_S, self._unconfirmed)
            return
        if self._report_timer is not None:
            self._report_timer.cancel()
            self._report_timer = None
        if not self._is_confirmed:
            self._is_confirmed = True
            self._tell("halt confirmed", Severity.CRIT, "halt confirmed", event.text, urgent=True, is_good=True)

    def _unconfirmed(self) -> None:
        self._report_timer = None
        if self._mode is TradingMode.HALTED:
            self._report_timer = self._engine.clock.call_later(NEXT_REPORT_S, self._unconfirmed)
            self._tell("halt unconfirmed", Severity.CRIT, "halt NOT confirmed yet", self._report, urgent=True)

    def _on_anomaly(self, event: AnomalyChanged) -> None:
        anomaly = event.anomaly
        key = ":".join(anomaly.key)
        if anomaly.is_active:
            if not event.notify:
                return
            self._told.pop(anomaly.key, None)
            self._told[anomaly.key] = anomaly.severity
            if len(self._told) > REMEMBERED:
                del self._told[next(iter(self._told))]
            about = " ".join(filter(None, (anomaly.symbol, anomaly.instance)))
            title = f"{anomaly.severity} {anomaly.title}" + (f" {about}" if about else "")
            self._tell(f"{key}:{anomaly.severity}", anomaly.severity, title, anomaly.text)
            return
        told = self._told.pop(anomaly.key, None)
        if told is not None:
            self._tell(f"{key}:cleared", told, f"cleared: {anomaly.title}", anomaly.text, is_good=True)

    def _poll(self) -> None:
        """Notice that the account's stream has been silent for too long, and that it is back."""
        clock = self._engine.clock
        self._poll_timer = clock.call_later(POLL_S, self._poll)
        trouble = self._engine.stream.trouble()
        now_ns = clock.now_ns()
        if not trouble:
            if self._silence_told and self._silent_since_ns is not None:
                seconds = (now_ns - self._silent_since_ns) / NS_PER_S
                text = f"it was lost for {seconds:.0f} s"
                self._tell("stream back", Severity.CRIT, "account stream is back", text, is_good=True)
            self._silent_since_ns, self._silence_told = None, False
            return
        if self._silent_since_ns is None:
            self._silent_since_ns = now_ns
        if not self._silence_told and now_ns - self._silent_since_ns >= SILENT_S * NS_PER_S:
            self._silence_told = True
            text = f"{trouble}; fills may go unseen, entries are blocked"
            self._tell("stream lost", Severity.CRIT, f"account stream lost for {SILENT_S:.0f} s", text)


def account_label(account: Account) -> str:
    """Return whose news it is: `LIVE okx main`, `LIVE (demo) okx main`, `PAPER paper paper`."""
    mode = "LIVE" if account.mode is Mode.LIVE else "PAPER"
    trial = f" ({account.environment})" if account.mode is Mode.LIVE and account.is_trial else ""
    return f"{mode}{trial} {account.venue} {account.name}"
