"""The book of all work in progress: starts it, routes events to it, saves and resumes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any, Protocol

from engine.kernel.errors import CtosError
from engine.kernel.market import Quote
from engine.kernel.orders import Order, OrderTrack
from engine.kernel.strategy import DeadlinePolicy, Done, DoneStatus
from engine.runtime.work.desk import OrderDesk
from engine.runtime.work.incremental import Incremental, IncrementalPlan
from engine.runtime.work.pricing import SoftParams, has_touch
from engine.runtime.work.replace import Replacement
from engine.runtime.work.soft import SoftOrder
from engine.runtime.work.targets import SUPERSEDED, Target, TargetPhase, TargetPlan
from engine.runtime.work.ticket import Ticket


class WorkItem(Protocol):
    """A piece of work with a handle."""

    handle: str
    instance: str
    symbol: str

    @property
    def kind(self) -> str:
        """Return soft, incremental, target or amend."""

    def track(self) -> OrderTrack | None:
        """Return how far the soft order has come that is at work now, None while none is."""

    def start(self) -> None:
        """Begin; raises what the desk raises when nothing was sent."""

    def on_order(self, order: Order) -> None:
        """Follow a change of an order."""

    def on_quote(self, quote: Quote) -> None:
        """Follow the touch."""

    def end(self, reason: str) -> None:
        """Cancel what works and report what was done."""

    def resume(self) -> None:
        """Go on after a restart."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""


class WorkBook:
    """All work in progress of one account.

    Args:
        desk: The engine, as work sees it.
        params: The peg of soft orders.
    """

    def __init__(self, desk: OrderDesk, params: SoftParams | None = None) -> None:
        self._desk = desk
        self._params = params or SoftParams()
        self._items: dict[str, WorkItem] = {}
        self._by_symbol: dict[str, tuple[WorkItem, ...]] = {}
        self._replaced: dict[str, str] = {}
        self._starting: set[str] = set()
        self._gathering = ""
        self._opening = False
        self._unquoted: set[str] = set()
        self._asleep = False

    def soft(self, ticket: Ticket, deadline_s: float, policy: DeadlinePolicy) -> str:
        """Start a soft order and return its handle.

        Raises:
            CtosError: It was refused before anything was sent.
        """
        done, change = self._callbacks(ticket.handle)
        return self._start(SoftOrder(self._desk, ticket, deadline_s, policy, self._params, done, change))

    def incremental(self, handle: str, plan: IncrementalPlan) -> str:
        """Start an incremental order and return its handle.

        Raises:
            BelowMinimum: The amount is below the smallest order.
            CtosError: It was refused before anything was sent.
        """
        return self._start(Incremental(self._desk, handle, plan, self._params, *self._callbacks(handle)))

    def target(self, handle: str, plan: TargetPlan) -> str:
        """Start a position target and return its handle.

        An active target of the same instance and symbol is ended first; this one goes on from its final fills.

        Raises:
            RiskReject: `no_short`: a negative target on spot.
            CtosError: It was refused before anything was sent.
        """
        target = self._new_target(handle, plan)
        if not self._earlier(target):
            return self._start(target)
        self._supersede(target)
        return handle

    def targets(self, plans: Mapping[str, TargetPlan]) -> None:
        """Start several targets, by handle: all reductions first, then increases; each reports for itself."""
        group = self._gathering = next(iter(plans), "")
        added = []
        for handle, plan in plans.items():
            try:
                target = self._new_target(handle, replace(plan, group=group))
            except CtosError as error:
                reason = f"{type(error).__name__}: {error}"
                failed = Done(handle, Target.kind, plan.symbol, DoneStatus.ERROR, reason=reason)
                self._desk.finish(plan.instance, failed)
                continue
            self._supersede(target)
            added.append(target)
        for target in added:
            if not target.predecessor and target.phase is TargetPhase.WAITING:
                self._begin(target)
        self._gathering = ""
        self._open_ready()

    def replace(self, handle: str, client_id: str, price: Decimal | None, quantity: Decimal | None) -> str:
        """Amend an order by replacement and return the handle.

        Raises:
            CtosError: The new terms are refused, or the order is not working; it is left as it is.
        """
        order = self._desk.order(client_id)
        if order is None:
            raise CtosError(f"order {client_id} is not known")
        if client_id in self._replaced:
            raise CtosError(f"order #{order.label} is being amended already")
        total = order.quantity if quantity is None else quantity
        callbacks = self._callbacks(handle)
        item = Replacement(self._desk, handle, order.instance, order.symbol, client_id, price, total, *callbacks)
        return self._start(item)

    def end(self, handle: str, reason: str = "canceled") -> bool:
        """End a piece of work: cancel what works, report what was done; returns whether there was such work."""
        item = self._items.get(handle)
        if item is None:
            return False
        item.end(reason)
        return True

    def end_replacement(self, client_id: str, by: str) -> None:
        """End the amendment by replacement of an order that `by` cancels; harmless when there is none."""
        replacement = self._items.get(self._replaced.get(client_id, ""))
        if isinstance(replacement, Replacement):
            replacement.end("the order was cancelled", by)

    def end_all(self, reason: str, instance: str | None = None, symbol: str | None = None) -> list[str]:
        """End work, of one instance or symbol or all; returns the handles."""
        ended = [
            item.handle
            for item in self._items.values()
            if instance in (None, item.instance) and symbol in (None, item.symbol)
        ]
        for handle in ended:
            self.end(handle, reason)
        return ended

    def active(self, instance: str | None = None) -> list[WorkItem]:
        """Return the work in progress, oldest first."""
        return [item for item in self._items.values() if instance in (None, item.instance)]

    def on_order(self, order: Order) -> None:
        """Route a change of an order to the work that it belongs to; harmless for others."""
        if self._asleep:
            return
        for client_id in (order.client_id, order.replaces):
            replacement = self._items.get(self._replaced.get(client_id, ""))
            if replacement is not None:
                replacement.on_order(order)
        item = self._items.get(order.parent)
        if item is not None:
            item.on_order(order)

    def on_quote(self, quote: Quote) -> None:
        """Route a change of the touch."""
        if self._asleep:
            return
        if quote.symbol in self._unquoted:
            self._first_quote(quote.symbol)
        for item in self._by_symbol.get(quote.symbol, ()):
            item.on_quote(quote)

    def symbols(self) -> list[str]:
        """Return the symbols whose quotes the work in progress needs."""
        return list(self._by_symbol)

    def restore(self, bodies: Mapping[str, dict[str, Any]]) -> None:
        """Take over the work that was saved; it sleeps until `resume`."""
        self._asleep = True
        for handle, body in bodies.items():
            self._add(self._load(handle, body), save=False)

    def sleep(self) -> None:
        """Let nothing move the work any more, because the program stops."""
        self._asleep = True

    def resume(self) -> None:
        """Set restored work going, when orders and fills are reconciled; what needs a price waits for the first.

        Replacements go first: the work that minds an order follows what has taken its place.
        """
        self._asleep = False
        for item in sorted(self._items.values(), key=lambda item: not isinstance(item, Replacement)):
            if item.handle in self._items:
                self._desk.save_work(item.handle, item.to_dict())
                item.resume()
        for target in self._targets():
            if target.phase is TargetPhase.WAITING and target.predecessor not in self._items:
                self._begin(target)
        self._open_ready()

    def _load(self, handle: str, body: dict[str, Any]) -> WorkItem:
        done, change = self._callbacks(handle)
        kind = body["kind"]
        if kind == Target.kind:
            return Target.from_dict(self._desk, body, self._params, done, change)
        if kind == Incremental.kind:
            return Incremental.from_dict(self._desk, body, self._params, done, change)
        if kind == Replacement.kind:
            return Replacement.from_dict(self._desk, body, done, change)
        return SoftOrder.from_dict(self._desk, body, self._params, done, change)

    def _new_target(self, handle: str, plan: TargetPlan) -> Target:
        return Target(self._desk, handle, plan, self._params, *self._callbacks(handle))

    def _earlier(self, target: Target) -> list[Target]:
        """Return the active targets of the same instance and symbol, those that wait first."""
        key = (target.instance, target.symbol)
        found = [other for other in self._targets() if (other.instance, other.symbol) == key and other is not target]
        return sorted(found, key=lambda other: not other.predecessor)

    def _supersede(self, target: Target) -> None:
        """Add a target and end those that it replaces; it begins when the last of them is final."""
        earlier = self._earlier(target)
        if earlier:
            target.predecessor = earlier[-1].handle
        self._add(target)
        for other in earlier:
            other.end(SUPERSEDED)

    def _callbacks(self, handle: str) -> tuple[Callable[[Done], None], Callable[[], None]]:
        return partial(self._finished, handle), partial(self._changed, handle)

    def _targets(self) -> list[Target]:
        return [item for item in self._items.values() if isinstance(item, Target)]

    def _add(self, item: WorkItem, save: bool = True) -> None:
        self._items[item.handle] = item
        self._by_symbol[item.symbol] = (*self._by_symbol.get(item.symbol, ()), item)
        if isinstance(item, Replacement):
            self._replaced[item.old] = item.handle
        if save:
            self._desk.save_work(item.handle, item.to_dict())

    def _remove(self, item: WorkItem) -> None:
        """Take a piece of work out of the book; its saved state ends with the report, or by `save_work`."""
        del self._items[item.handle]
        left = tuple(other for other in self._by_symbol[item.symbol] if other is not item)
        if left:
            self._by_symbol[item.symbol] = left
        else:
            del self._by_symbol[item.symbol]
        if isinstance(item, Replacement):
            del self._replaced[item.old]

    def _start(self, item: WorkItem) -> str:
        """Start work for a command: a refusal before anything was sent goes to the caller and leaves no trace."""
        self._add(item)
        self._starting.add(item.handle)
        try:
            item.start()
            self._starting.discard(item.handle)
            if isinstance(item, Target) and self._may_open(item):
                item.increase()
        except CtosError:
            if item.handle in self._items:
                self._remove(item)
                self._desk.save_work(item.handle, None)
            raise
        finally:
            self._starting.discard(item.handle)
        return item.handle

    def _begin(self, target: Target) -> None:
        """Start a target that waited; its errors are its end."""
        if target.handle not in self._items:
            return
        target.predecessor = ""
        if not has_touch(self._desk, target.symbol):
            self._unquoted.add(target.symbol)
            return
        self._starting.add(target.handle)
        try:
            target.start()
        except CtosError as error:
            target.fail(error)
        finally:
            self._starting.discard(target.handle)
        self._open_ready()

    def _changed(self, handle: str) -> None:
        item = self._items.get(handle)
        if item is None:
            return
        self._desk.save_work(handle, item.to_dict())
        if handle not in self._starting:
            self._open_ready()

    def _finished(self, handle: str, done: Done) -> None:
        item = self._items.get(handle)
        if item is None:
            return
        self._remove(item)
        self._desk.finish(item.instance, done)
        for target in self._targets():
            if target.predecessor == handle:
                self._begin(target)
        self._open_ready()

    def _may_open(self, target: Target) -> bool:
        if target.handle not in self._items or target.handle in self._starting:
            return False
        if target.phase is not TargetPhase.READY:
            return False
        if not has_touch(self._desk, target.symbol):
            self._unquoted.add(target.symbol)
            return False
        group = target.plan.group
        if group and group == self._gathering:
            return False
        return not group or not any(
            other.plan.group == group and other.phase in (TargetPhase.WAITING, TargetPhase.REDUCING)
            for other in self._targets()
        )

    def _first_quote(self, symbol: str) -> None:
        """Go on with targets that waited for a price."""
        if not has_touch(self._desk, symbol):
            return
        self._unquoted.discard(symbol)
        for target in self._targets():
            if target.symbol == symbol and target.phase is TargetPhase.WAITING and not target.predecessor:
                self._begin(target)
        self._open_ready()

    def _open_ready(self) -> None:
        """Let every target increase whose group has reduced, oldest first."""
        if self._opening:
            return
        self._opening = True
        try:
            while (target := next(filter(self._may_open, self._targets()), None)) is not None:
                try:
                    target.increase()
                except CtosError as error:
                    target.fail(error)
        finally:
            self._opening = False
