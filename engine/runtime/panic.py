"""Stopping everything: the gate closes at once, strategies halt, resting orders are cancelled and counted.

Protective reduce-only stops are kept and named. What the venue then says is asked for twice, some time apart, before
"none rests" is claimed; orders that turn up late are cancelled too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import CtosError
from engine.kernel.orders import Order, OrderState, OrderType, OrderUpdate
from engine.runtime.core import EngineCore
from engine.runtime.events import OrderChanged, PanicProgress
from engine.runtime.records import Outcome
from engine.runtime.shell import Shell
from engine.runtime.trading_state import TradingMode

LOOK_S = 2.0
CONFIRMED_LOOK_S = 5.0
"""After the confirmation only what arrives late is looked for: the requests that each look costs are needed again."""
LONGEST_LOOK_S = 8.0
"""Looks that fail become seldom, so that a venue that refuses everything is not asked without end."""
CLEAR_LOOKS = 2
WATCH_S = 60.0
IN_FLIGHT_S = 5.0
"""How long the answer to an order that was on its way is waited for, and a cancel may take before it is trouble."""


@dataclass(slots=True)
class PanicReport:
    """What a halt did at one venue; it changes while answers come in.

    Attributes:
        next_label: What the first order after the halt is called; those of lower labels are from before it. The clock
            cannot tell which are: it may have been set between two runs.
        asked: Labels of the orders that were working and had to go.
        kept: Labels of the protective stops that were kept.
        unconfirmed: Labels of those asked that may still rest.
        external: Labels of orders of others on this account, which were not touched.
        clear_looks: How many looks in a row found none of our other orders at the venue; 2 confirm it.
        is_late: Whether cancelling takes longer than it should.
        error: Why the last look failed; empty when it did not.
        details: Each order that is not confirmed cancelled, by label, for a person who must look for it at the venue.
        positions: What is held, in words: a halt by itself closes nothing.
    """

    venue: str
    who: str
    reason: str
    next_label: int
    asked: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    unconfirmed: list[int] = field(default_factory=list)
    external: list[int] = field(default_factory=list)
    clear_looks: int = 0
    is_late: bool = False
    error: str = ""
    details: dict[int, str] = field(default_factory=dict)
    positions: list[str] = field(default_factory=list)

    @property
    def confirmed(self) -> bool:
        """Return whether the venue confirmed, twice, that nothing of ours rests but what was kept."""
        return self.clear_looks >= CLEAR_LOOKS and not self.unconfirmed

    @property
    def is_trouble(self) -> bool:
        """Return whether a person should worry: orders may rest although there was time enough, or a look failed."""
        return bool(self.error) or (self.is_late and bool(self.unconfirmed))

    @property
    def text(self) -> str:
        """Return the result in one line."""
        labels = ", ".join(f"#{label}" for label in self.unconfirmed)
        done = len(self.asked) - len(self.unconfirmed)
        if self.confirmed:
            result = f"none rests (confirmed), {len(self.asked)} cancelled"
        elif self.unconfirmed and self.is_trouble:
            result = f"unknown: {labels} not confirmed cancelled"
        elif self.unconfirmed:
            result = f"cancelling {len(self.asked)} orders" + (f", {done} gone" if done else "")
        else:
            result = f"{len(self.asked)} cancelled, being confirmed"
        kept = f"; kept stops {', '.join(f'#{label}' for label in self.kept)}" if self.kept else ""
        external = f"; {len(self.external)} orders of others untouched" if self.external else ""
        held = f"; held: {', '.join(self.positions)}" if self.positions else ""
        failed = f"; last look failed: {self.error}" if self.error else ""
        return f"{self.venue}: {result}{kept}{external}{held}{failed}"


class PanicSwitch:
    """Halts an account and sees to it that its orders go.

    The venues' own "cancel all" takes orders of other people and programs with it, and protective stops: ours are
    cancelled one by one, out of the part of the budget that is kept for that.

    Args:
        core: The engine's shared parts.
        cancel: Cancels an order, for a reason.
        doubt: Looks for an order whose outcome is not known.
        shell: Runs the looks at the venue.

    Attributes:
        on_halt: Called with the reason, in order, right after the gate is closed.
        report: The newest report; None before the first halt.
    """

    def __init__(
        self, core: EngineCore, cancel: Callable[[str, str], None], doubt: Callable[[Order], None], shell: Shell
    ) -> None:
        self.on_halt: list[Callable[[str], None]] = []
        self.report: PanicReport | None = None
        self._core = core
        self._cancel = cancel
        self._doubt = doubt
        self._shell = shell
        self._until_ns = 0
        self._failures = 0
        core.bus.subscribe(OrderChanged, self._on_order)

    def halt(self, who: str, reason: str) -> PanicReport:
        """Close the gate, halt the strategies and cancel what rests; return the report, which goes on changing.

        While the account is halted already, what rests by now has to go too. The first reason stays, and the new
        report goes on counting where the one before was.
        """
        core = self._core
        before = self.report if core.trading.mode is TradingMode.HALTED else None
        next_label = core.tracker.next_label
        core.trading.halt(who, reason, next_label)
        core.oplog("KillSwitch", who=who, det=reason)
        status = core.trading.status
        report = self._begin(status.who, status.reason, next_label, before)
        for handler in self.on_halt:
            handler(reason)
        self._sweep(report)
        self._refresh(report)
        return report

    def resume(self) -> None:
        """Go on cancelling after a restart: what was working when the account was halted has to go."""
        status = self._core.trading.status
        if status.mode is TradingMode.HALTED:
            next_label = status.next_label or self._core.tracker.next_label
            report = self._begin(status.who, status.reason, next_label)
            self._refresh(report)
            self._core.oplog("KillSwitch", who=status.who, det=f"halted since the last run: {report.text}")

    def _begin(self, who: str, reason: str, next_label: int, before: PanicReport | None = None) -> PanicReport:
        core = self._core
        report = self.report = PanicReport(core.driver.venue, who, reason, next_label)
        if before is not None:
            report.asked, report.kept = list(before.asked), list(before.kept)
            report.is_late, report.error = before.is_late and bool(before.unconfirmed), before.error
        self._until_ns = core.clock.now_ns() + round(WATCH_S * NS_PER_S)
        self._sweep(report)
        core.clock.call_later(LOOK_S, self._look, report)
        core.clock.call_later(IN_FLIGHT_S, self._give_up_waiting, report)
        return report

    def _sweep(self, report: PanicReport) -> None:
        """Cancel every order of ours from before the halt but protective stops; one that fails does not stop others."""
        for order in self._core.tracker.working():
            if order.external:
                _note(report.external, order)
            elif is_protective(order):
                _note(report.kept, order)
            elif order.label < report.next_label:
                _note(report.asked, order)
                self._cancel(order.client_id, f"halt: {report.reason}")

    def _on_order(self, event: OrderChanged) -> None:
        """Cancel an order from before the halt that turns up now; follow those that were asked to go."""
        report = self.report
        if report is None or self._core.trading.mode is not TradingMode.HALTED:
            return
        order = event.order
        is_new = order.label not in report.asked
        if is_new and order.is_open and order.venue_order_id and _must_go(report, order):
            _note(report.asked, order)
            self._cancel(order.client_id, f"halt: {report.reason}")
        if order.label in report.asked:
            self._refresh(report)

    def _give_up_waiting(self, report: PanicReport) -> None:
        """Look for what got no answer in time; from now on what rests is trouble."""
        if not self._is_current(report):
            return
        core = self._core
        for order in core.tracker.working():
            if order.state is OrderState.SENT and order.label in report.asked:
                core.change(Outcome(order.client_id, OrderState.UNKNOWN, "no answer within 5 s of the halt"))
                if order.is_open:
                    self._doubt(order)
        report.is_late = True
        self._refresh(report)
        for line in report.details.values():
            core.oplog("KillSwitch", who=report.who, det=f"not confirmed cancelled: {line}")

    def _refresh(self, report: PanicReport) -> None:
        core = self._core
        orders = [core.tracker.by_label(label) for label in report.asked]
        working = [order for order in orders if order is not None and order.is_open]
        report.unconfirmed = [order.label for order in working]
        report.details = {order.label: _in_full(order) for order in working}
        rows = core.portfolio.positions()
        report.positions = [f"{row.symbol} {row.quantity:f}" for row in rows if row.quantity]
        core.bus.publish(PanicProgress(report.text, report.confirmed, report.is_trouble))

    def _look(self, report: PanicReport) -> None:
        if not self._is_current(report):
            return

        def found(updates: list[OrderUpdate]) -> None:
            if not self._is_current(report):
                return  # Released meanwhile: what rests now may rest.
            report.error = ""
            self._failures = 0
            resting = self._resting(report, updates)
            report.clear_looks = 0 if resting else report.clear_looks + 1
            for order in resting:
                self._cancel_anyhow(report, order)
            self._next_look(report)

        def failed(error: CtosError) -> None:
            if not self._is_current(report):
                return
            report.error = str(error)
            report.clear_looks = 0
            self._failures += 1
            self._next_look(report)

        self._shell.run(self._core.driver.get_open_orders(), found, failed)

    def _resting(self, report: PanicReport, updates: list[OrderUpdate]) -> list[Order]:
        """Return those of the venue's open orders that have to go."""
        tracker = self._core.tracker
        ours = [tracker.find(u.client_id, u.symbol, u.venue_order_id) for u in updates]
        return [order for order in ours if order is not None and _must_go(report, order)]

    def _cancel_anyhow(self, report: PanicReport, order: Order) -> None:
        """Cancel an order that the venue lists, even one that counts as final here."""
        _note(report.asked, order)
        if order.is_open:
            self._cancel(order.client_id, f"halt: {report.reason}")
        else:
            self._core.gateway.cancel(order.client_id, order.symbol, lambda outcome: None)

    def _next_look(self, report: PanicReport) -> None:
        self._refresh(report)
        if report.clear_looks == CLEAR_LOOKS:
            self._core.oplog("KillSwitch", who=report.who, det=report.text)
        if self._core.clock.now_ns() < self._until_ns or not report.confirmed:
            base_s = CONFIRMED_LOOK_S if report.confirmed else LOOK_S
            wait_s = min(base_s * 2 ** min(self._failures, 10), LONGEST_LOOK_S)
            self._core.clock.call_later(wait_s, self._look, report)

    def _is_current(self, report: PanicReport) -> bool:
        return report is self.report and self._core.trading.mode is TradingMode.HALTED


def _must_go(report: PanicReport, order: Order) -> bool:
    """Return whether an order is ours, from before the halt, and protects nothing."""
    return order.label < report.next_label and not (order.external or is_protective(order))


def _in_full(order: Order) -> str:
    price = order.trigger_price if order.price is None else order.price
    at = "at market" if price is None else f"at {price:f}"
    ids = f"client id {order.client_id}, venue id {order.venue_order_id or 'not known'}"
    return f"#{order.label} {order.symbol} {order.side.value} {order.remaining:f} {at}, {order.state.value}, {ids}"


def is_protective(order: Order) -> bool:
    """Return whether an order is a reduce-only stop."""
    return order.type is OrderType.STOP and order.reduce_only


def _note(labels: list[int], order: Order) -> None:
    if order.label not in labels:
        labels.append(order.label)
