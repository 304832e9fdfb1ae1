"""Stopping everything: the gate closes at once, strategies halt, resting orders are cancelled and counted.

Protective reduce-only stops are kept and named. What the venue then says is asked for twice, some time apart, before
"none rests" is claimed; orders that turn up late are cancelled too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import CtosError
from engine.kernel.orders import Order, OrderType, OrderUpdate
from engine.runtime.core import EngineCore
from engine.runtime.events import OrderChanged, PanicProgress
from engine.runtime.shell import Shell
from engine.runtime.trading_state import TradingMode

LOOK_S = 2.0
WATCH_S = 60.0


@dataclass(slots=True)
class PanicReport:
    """What a halt did at one venue; it changes while answers come in.

    Attributes:
        asked: Labels of the orders that were working and had to go.
        kept: Labels of the protective stops that were kept.
        unconfirmed: Labels of those asked that may still rest.
        external: Labels of orders of others on this account, which were not touched.
        clear_looks: How many looks in a row found none of our other orders at the venue; 2 confirm it.
        error: Why the last look failed; empty when it did not.
    """

    venue: str
    who: str
    reason: str
    ts_ns: int
    asked: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    unconfirmed: list[int] = field(default_factory=list)
    external: list[int] = field(default_factory=list)
    clear_looks: int = 0
    error: str = ""

    @property
    def confirmed(self) -> bool:
        """Return whether the venue confirmed, twice, that nothing of ours rests but what was kept."""
        return self.clear_looks >= 2 and not self.unconfirmed

    @property
    def text(self) -> str:
        """Return the result in one line."""
        labels = ", ".join(f"#{label}" for label in self.unconfirmed)
        if self.confirmed:
            result = f"none rests (confirmed), {len(self.asked)} cancelled"
        elif self.unconfirmed:
            result = f"unknown: {labels} not confirmed cancelled"
        else:
            result = f"{len(self.asked)} cancelled, being confirmed"
        kept = f"; kept stops {', '.join(f'#{label}' for label in self.kept)}" if self.kept else ""
        external = f"; {len(self.external)} orders of others untouched" if self.external else ""
        failed = f"; last look failed: {self.error}" if self.error else ""
        return f"{self.venue}: {result}{kept}{external}{failed}"


class PanicSwitch:
    """Halts an account and sees to it that its orders go.

    Args:
        core: The engine's shared parts.
        cancel: Cancels an order.
        shell: Runs the looks at the venue.

    Attributes:
        on_halt: Called with the reason, in order, right after the gate is closed.
        report: The newest report; None before the first halt.
    """

    def __init__(self, core: EngineCore, cancel: Callable[[str], None], shell: Shell) -> None:
        self.on_halt: list[Callable[[str], None]] = []
        self.report: PanicReport | None = None
        self._core = core
        self._cancel = cancel
        self._shell = shell
        self._until_ns = 0
        core.bus.subscribe(OrderChanged, self._on_order)

    def halt(self, who: str, reason: str) -> PanicReport:
        """Close the gate, halt the strategies and cancel what rests; return the report, which goes on changing."""
        core = self._core
        core.trading.halt(who, reason)
        core.oplog("KillSwitch", who=who, det=reason)
        report = PanicReport(core.driver.venue, who, reason, core.clock.now_ns())
        self.report = report
        self._until_ns = core.clock.now_ns() + round(WATCH_S * NS_PER_S)
        self._sweep(report)
        for handler in self.on_halt:
            handler(reason)
        self._sweep(report)
        self._refresh(report)
        core.clock.call_later(LOOK_S, self._look, report)
        return report

    def _sweep(self, report: PanicReport) -> None:
        """Cancel every order of ours but protective stops; each step is independent of the others."""
        for order in self._core.tracker.working():
            if order.external:
                _note(report.external, order)
            elif is_protective(order):
                _note(report.kept, order)
            else:
                _note(report.asked, order)
                self._cancel(order.client_id)

    def _on_order(self, event: OrderChanged) -> None:
        """Cancel an order from before the halt that turns up now; follow those that were asked to go."""
        report = self.report
        if report is None or self._core.trading.mode is not TradingMode.HALTED:
            return
        order = event.order
        was_before = order.created_ns <= report.ts_ns and not (order.external or is_protective(order))
        if order.is_open and order.venue_order_id and was_before:
            _note(report.asked, order)
            self._cancel(order.client_id)
        if order.label in report.asked:
            self._refresh(report)

    def _refresh(self, report: PanicReport) -> None:
        tracker = self._core.tracker
        orders = [tracker.by_label(label) for label in report.asked]
        report.unconfirmed = [order.label for order in orders if order is not None and order.is_open]
        self._core.bus.publish(PanicProgress(report.text, report.confirmed))

    def _look(self, report: PanicReport) -> None:
        if report is not self.report or self._core.trading.mode is not TradingMode.HALTED:
            return

        def found(updates: list[OrderUpdate]) -> None:
            report.error = ""
            ours = [self._core.tracker.find(u.client_id, u.symbol, u.venue_order_id) for u in updates]
            resting = [o for o in ours if o is not None and not o.external and o.label in report.asked]
            report.clear_looks = 0 if resting else report.clear_looks + 1
            for order in resting:
                self._cancel(order.client_id)
            self._next_look(report)

        def failed(error: CtosError) -> None:
            report.error = str(error)
            report.clear_looks = 0
            self._next_look(report)

        self._shell.run(self._core.driver.get_open_orders(), found, failed)

    def _next_look(self, report: PanicReport) -> None:
        was_confirmed = report.confirmed
        self._refresh(report)
        if (report.confirmed and not was_confirmed) or report.clear_looks == 2:
            self._core.oplog("KillSwitch", who=report.who, det=report.text)
        if self._core.clock.now_ns() < self._until_ns or not report.confirmed:
            self._core.clock.call_later(LOOK_S, self._look, report)


def is_protective(order: Order) -> bool:
    """Return whether an order is a reduce-only stop."""
    return order.type is OrderType.STOP and order.reduce_only


def _note(labels: list[int], order: Order) -> None:
    if order.label not in labels:
        labels.append(order.label)
