"""Incremental orders: a quote amount worked in child orders, one at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import BelowMinimum, CtosError
from engine.kernel.market import Quote
from engine.kernel.orders import Order, OrderTrack, Side
from engine.kernel.strategy import DeadlinePolicy, Done, DoneStatus, Purpose
from engine.runtime.work.alarms import Alarms
from engine.runtime.work.desk import OrderDesk
from engine.runtime.work.execution import CANCELED_OUTSIDE, Execution, OnDone, end_status
from engine.runtime.work.parts import load_part, new_part
from engine.runtime.work.pricing import SoftParams, has_touch, market_reference, peg, smallest_quantity, touch
from engine.runtime.work.soft import SoftOrder
from engine.runtime.work.ticket import Tally, Ticket

ZERO = Decimal(0)
MAX_REJECTS = 2
ROLL = "rolled into the next child"
DEADLINE = "deadline"


@dataclass(slots=True, frozen=True)
class IncrementalPlan:
    """What an incremental order is asked to do.

    Attributes:
        amount: Quote amount that fills and working orders together never exceed.
        soft: Whether children are soft orders; else market orders.
        n_children: Least number of children.
        max_child: Largest child, in quote; None for no limit.
        interval_s: Seconds between the starts of children; 0 starts one when the last is final.
        deadline_s: Seconds after which the rest is cancelled.
    """

    instance: str
    symbol: str
    side: Side
    amount: Decimal
    soft: bool = True
    n_children: int = 1
    max_child: Decimal | None = None
    interval_s: float = 0
    deadline_s: float = 10800

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "instance": self.instance,
            "symbol": self.symbol,
            "side": self.side.value,
            "amount": str(self.amount),
            "soft": self.soft,
            "n_children": self.n_children,
            "max_child": None if self.max_child is None else str(self.max_child),
            "interval_s": self.interval_s,
            "deadline_s": self.deadline_s,
        }

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> IncrementalPlan:
        """Return what `to_dict` saved."""
        return cls(
            instance=str(body["instance"]),
            symbol=str(body["symbol"]),
            side=Side(body["side"]),
            amount=Decimal(body["amount"]),
            soft=bool(body["soft"]),
            n_children=int(body["n_children"]),
            max_child=None if body["max_child"] is None else Decimal(body["max_child"]),
            interval_s=float(body["interval_s"]),
            deadline_s=float(body["deadline_s"]),
        )


class Incremental:
    """An incremental order.

    Args:
        desk: Where orders go.
        handle: Its handle.
        plan: What to do.
        params: The peg of soft children.
        on_done: Called once with the report.
        on_change: Called when `to_dict` has changed.
    """

    kind = "incremental"

    def __init__(
        self,
        desk: OrderDesk,
        handle: str,
        plan: IncrementalPlan,
        params: SoftParams,
        on_done: OnDone,
        on_change: Callable[[], None],
    ) -> None:
        self.handle = handle
        self.instance = plan.instance
        self.symbol = plan.symbol
        self._desk = desk
        self._plan = plan
        self._params = params
        self._on_done = on_done
        self._on_change = on_change
        self._alarms = Alarms(desk.clock)
        self._tally = Tally()
        self._started_ns = 0
        self._count = 0
        self._next = 0
        self._rejects = 0
        self._child: Execution | None = None
        self._ending = ""
        self._last: Done | None = None

    def track(self) -> OrderTrack | None:
        """Return how far the soft child at work has come, None while there is none."""
        return self._child.track() if isinstance(self._child, SoftOrder) else None

    def start(self) -> None:
        """Plan the children and start the first.

        Raises:
            BelowMinimum: The amount is below the smallest order.
            CtosError: The first child was refused before it was sent.
        """
        plan = self._plan
        asked = plan.n_children
        if plan.max_child is not None:
            asked = max(asked, math.ceil(plan.amount / plan.max_child))
        minimum = self._minimum_amount()
        self._count = min(asked, int(plan.amount // minimum))
        if self._count < 1:
            raise BelowMinimum(plan.amount, minimum, self._desk.instrument(plan.symbol).quote)
        self._started_ns = self._desk.clock.now_ns()
        self._set_deadline()
        try:
            self._release()
        except CtosError:
            self._alarms.cancel_all()
            raise

    def on_order(self, order: Order) -> None:
        """Follow a change of a child's order."""
        if self._child is not None:
            self._child.on_order(order)

    def on_quote(self, quote: Quote) -> None:
        """Follow the touch."""
        if self._child is not None:
            self._child.on_quote(quote)

    def end(self, reason: str) -> None:
        """Cancel what works and report what was done."""
        self._ending = self._ending or reason
        self._alarms.cancel_all()
        self._on_change()
        if self._child is not None:
            self._child.end(reason)
        else:
            self._finish(reason)

    def resume(self) -> None:
        """Go on after a restart from the truth of the tracker."""
        child = self._child
        if not self._started_ns:
            self._on_release()
            return
        self._set_deadline()
        if child is not None:
            self._set_release()
            child.resume(self._tally.children)
            if self._ending and self._child is not None:
                self._child.end(self._ending)
        else:
            self._continue()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "kind": self.kind,
            "handle": self.handle,
            "plan": self._plan.to_dict(),
            "tally": self._tally.to_dict(),
            "started_ns": self._started_ns,
            "count": self._count,
            "next": self._next,
            "rejects": self._rejects,
            "child": None if self._child is None else self._child.to_dict(),
            "ending": self._ending,
        }

    @classmethod
    def from_dict(
        cls,
        desk: OrderDesk,
        body: dict[str, Any],
        params: SoftParams,
        on_done: OnDone,
        on_change: Callable[[], None],
    ) -> Incremental:
        """Return what `to_dict` saved; `resume` sets it going."""
        work = cls(desk, str(body["handle"]), IncrementalPlan.from_dict(body["plan"]), params, on_done, on_change)
        work._tally = Tally.from_dict(body["tally"])
        work._started_ns = int(body["started_ns"])
        work._count = int(body["count"])
        work._next = int(body["next"])
        work._rejects = int(body["rejects"])
        work._ending = str(body["ending"])
        if body["child"] is not None:
            work._child = load_part(desk, body["child"], params, work._child_done, on_change)
        return work

    def _reference(self) -> Decimal:
        """Return the price at which a child is sized."""
        plan = self._plan
        if not plan.soft:
            return market_reference(self._desk, plan.symbol, plan.side)
        instrument = self._desk.instrument(plan.symbol)
        return peg(instrument, plan.side, touch(self._desk, plan.symbol, plan.side), 0, self._params)

    def _minimum_amount(self) -> Decimal:
        plan = self._plan
        return smallest_quantity(self._desk, plan.symbol, plan.side, plan.soft, self._params) * self._reference()

    def _remaining(self) -> Decimal:
        return self._plan.amount - self._tally.notional

    def _elapsed_s(self) -> float:
        return (self._desk.clock.now_ns() - self._started_ns) / NS_PER_S

    @property
    def deadline_ns(self) -> int | None:
        """Return when the rest is cancelled, None before it has started."""
        return self._started_ns + round(self._plan.deadline_s * NS_PER_S) if self._started_ns else None

    def _set_deadline(self) -> None:
        deadline_ns = self.deadline_ns
        assert deadline_ns is not None
        self._alarms.set("deadline", deadline_ns, lambda: self.end(DEADLINE))

    def _release(self) -> None:
        """Start the next child, sized from what is left; finish when no child is possible."""
        plan = self._plan
        remaining = self._remaining()
        left = min(self._count - self._next, int(remaining // self._minimum_amount()))
        if left < 1:
            self._finish("the rest is below the minimum")
            return
        instrument = self._desk.instrument(plan.symbol)
        self._count = self._next + left
        self._next += 1
        quantity = instrument.quantity_for(remaining / left, self._reference())
        ticket = Ticket(self.handle, plan.instance, plan.symbol, plan.side, quantity, False, Purpose.ENTRY)
        self._child = new_part(
            self._desk,
            ticket,
            plan.soft,
            plan.deadline_s - self._elapsed_s(),
            DeadlinePolicy.CANCEL,
            self._params,
            self._child_done,
            self._on_change,
            remaining,
        )
        self._set_release()
        self._on_change()
        self._child.start()

    def _set_release(self) -> None:
        """With an interval, the next child starts by the clock whether this one is final or not."""
        plan = self._plan
        if plan.interval_s > 0 and self._next < self._count:
            when_ns = self._started_ns + round(self._next * plan.interval_s * NS_PER_S)
            self._alarms.set("release", when_ns, self._on_release)

    def _on_release(self) -> None:
        """Start the next child; without a bid and an ask, a second later."""
        if self._child is not None:
            self._child.end(ROLL)
        elif has_touch(self._desk, self.symbol):
            self._try(self.start if not self._started_ns else self._release)
        else:
            self._alarms.set("release", self._desk.clock.now_ns() + NS_PER_S, self._on_release)

    def _child_done(self, done: Done) -> None:
        self._child = None
        self._last = done
        self._tally.add_done(done)
        self._rejects = self._rejects + 1 if done.status is DoneStatus.FAILED else 0
        self._on_change()
        if self._ending:
            self._finish(self._ending)
        elif self._rejects >= MAX_REJECTS or done.reason == CANCELED_OUTSIDE:
            self._finish(done.reason)
        else:
            self._continue()

    def _continue(self) -> None:
        """Go on without a child: release the next now or at its time, or finish."""
        if self._ending or self._next >= self._count:
            self._finish(self._ending)
        elif self._plan.interval_s > 0 and self._elapsed_s() < self._next * self._plan.interval_s:
            self._set_release()
        else:
            self._on_release()

    def _try(self, send: Callable[[], None]) -> None:
        """Run a step outside the caller's command; a refused child counts as a reject."""
        try:
            send()
        except CtosError as error:
            self._child_done(Tally().done(self.handle, self.kind, self.symbol, DoneStatus.FAILED, _words(error)))

    def _finish(self, reason: str) -> None:
        self._alarms.cancel_all()
        last = self._last
        complete = last is not None and last.status is DoneStatus.FILLED and self._next >= self._count
        if complete and self._tally.quantity and not self._ending:
            status, reason = DoneStatus.FILLED, ""
        else:
            failed = last is not None and last.status is DoneStatus.FAILED
            status = end_status(self._tally.quantity, failed)
            reason = reason or (last.reason if last is not None else "")
        unspent = max(ZERO, self._remaining())
        self._on_done(self._tally.done(self.handle, self.kind, self.symbol, status, reason, unspent))


def _words(error: CtosError) -> str:
    return f"{type(error).__name__}: {error}"
