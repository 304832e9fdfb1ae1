"""What the operator is told without asking: own executions, orders that were refused later, how far a halt has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ctos_tui.numbers import by_step
from ctos_tui.session import Session
from ctos_tui.text import clean
from engine.kernel.anomaly import Severity
from engine.kernel.clock import NS_PER_S
from engine.kernel.orders import Order, OrderState
from engine.kernel.strategy import DoneStatus
from engine.runtime.accounts import MANUAL
from engine.runtime.anomalies import AnomalyChanged
from engine.runtime.events import (
    EndedOutside,
    EngineAlarm,
    FillBooked,
    OrderChanged,
    PanicProgress,
    TradingStateChanged,
    WorkDone,
)
from engine.runtime.outside import STOP_LOST
from engine.runtime.trading_state import TradingMode

_RINGS: Final = {"off": (), "crit": (Severity.CRIT,), "warn": (Severity.WARN, Severity.CRIT)}
_RING_GAP_NS: Final = NS_PER_S
_NO_REFUSAL = ("", "UnknownOutcome", "DuplicateClientOrderId", "OrderNotFound")
_GONE_WRONG = (OrderState.REJECTED, OrderState.NEVER_ACCEPTED, OrderState.NEVER_SENT, OrderState.UNKNOWN)


class News:
    """Turns events about the operator's own doings into notes.

    Args:
        session: Shows the notes.

    Attributes:
        bell: Rings the terminal's bell, while there is one.
        panic_hint: What another press of the panic key would do now, while there is a screen.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.bell: Callable[[], object] = lambda: None
        self.panic_hint: Callable[[], str] = lambda: ""
        self._told: dict[str, OrderState] = {}
        self._declined: dict[str, str] = {}
        self._halt = ""
        self._rang_ns = -_RING_GAP_NS
        bus = session.port.bus
        bus.subscribe(FillBooked, self._on_fill)
        bus.subscribe(OrderChanged, self._on_order)
        bus.subscribe(EndedOutside, self._on_ended_outside)
        bus.subscribe(EngineAlarm, self._on_alarm)
        bus.subscribe(WorkDone, self._on_work)
        bus.subscribe(PanicProgress, self._on_panic)
        bus.subscribe(AnomalyChanged, self._on_anomaly)
        bus.subscribe(TradingStateChanged, self._on_trading)

    def _on_fill(self, event: FillBooked) -> None:
        if event.instance != MANUAL:
            return
        fill = event.fill
        instrument = self._session.port.instruments.get(fill.symbol)
        if instrument is None:
            return
        size, price = by_step(fill.quantity, instrument.lot_size), by_step(fill.price, instrument.tick_size)
        traded = f"{fill.side} {size} {instrument.base} @ {price}"
        if fill.liquidation:
            self._session.say(f"liquidated by the venue: {traded}", "danger")
        elif event.outside:
            self._session.say(f"traded outside: {traded}; nobody here ordered it", "warn")
        else:
            self._session.say(f"filled: {traded} {'maker' if fill.maker else 'taker'}", "good")

    def _on_order(self, event: OrderChanged) -> None:
        order = event.order
        if order.instance != MANUAL:
            return
        if self._went_wrong(order) and self._told.get(order.client_id) is not order.state:
            self._told[order.client_id] = order.state
            self._session.say(_trouble(order), "danger")
        elif order.is_open and order.error and self._declined.get(order.client_id) != order.reason:
            self._declined[order.client_id] = order.reason
            self._session.say(f"#{order.label} works on unchanged: {order.error}: {clean(order.reason)}", "danger")
        if order.state.is_final:
            self._declined.pop(order.client_id, None)

    def _went_wrong(self, order: Order) -> bool:
        """Return whether an order came to nothing; some venues say of one that they refuse that it expired.

        The work reports of one of its own that is refused, and a declined change is no refusal of the order.
        """
        if order.state is not OrderState.EXPIRED:
            return order.state in _GONE_WRONG
        is_work = order.parent or order.replaces
        return order.error not in _NO_REFUSAL and not is_work and order.client_id not in self._declined

    def _on_ended_outside(self, event: EndedOutside) -> None:
        self._session.say(clean(event.text), "warn", log=False)

    def _on_alarm(self, event: EngineAlarm) -> None:
        """Show each lost stop: an anomaly of the same kind that is still open is told but once."""
        if event.kind == STOP_LOST:
            self._session.say(clean(event.text), "danger", log=False)

    def _on_work(self, event: WorkDone) -> None:
        done = event.done
        if event.instance == MANUAL and done.status in (DoneStatus.FAILED, DoneStatus.ERROR):
            self._session.say(f"{done.kind} {done.symbol} {done.status}: {clean(done.reason)}", "danger")

    def _on_panic(self, event: PanicProgress) -> None:
        if event.text != self._halt:
            self._halt = event.text
            level = "good" if event.confirmed else "danger" if event.trouble else "warn"
            line = "info" if event.confirmed else "error" if event.trouble else "warn"
            self._session.feed.say(f"PANIC: {event.text}", line)
            self._session.say(f"PANIC: {event.text}{self.panic_hint()}", level, log=False)

    def _on_anomaly(self, event: AnomalyChanged) -> None:
        anomaly = event.anomaly
        if not event.notify or not anomaly.is_active:
            return
        self._ring(anomaly.severity)
        if anomaly.severity is Severity.CRIT:
            self._session.say(f"{anomaly.severity} {anomaly.kind}: {clean(anomaly.text)}", "danger", log=False)

    def _on_trading(self, event: TradingStateChanged) -> None:
        if event.state == TradingMode.HALTED:
            self._ring(Severity.CRIT)

    def _ring(self, severity: Severity) -> None:
        """Ring for what the operator wants to hear; a storm of it rings once a second."""
        now_ns = self._session.now()
        if severity in _RINGS[self._session.port.settings.bell] and now_ns - self._rang_ns >= _RING_GAP_NS:
            self._rang_ns = now_ns
            self.bell()


def _trouble(order: Order) -> str:
    reason = clean(order.reason) or "no reason was given"
    what = "has no known outcome yet" if order.state is OrderState.UNKNOWN else order.state.value.replace("_", " ")
    error = f"{order.error}: " if order.error else ""
    return f"#{order.label} {what}: {error}{reason}"
