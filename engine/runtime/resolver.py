"""Finds out what became of orders whose outcome is not known. An order is never sent again.

An order counts as never accepted only when the venue did not know it in several looks, some time apart, and enough
time has passed for a slow request to arrive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.kernel.clock import NS_PER_S, TimerHandle
from engine.kernel.errors import CtosError, OrderNotFound
from engine.kernel.orders import Order, OrderState, OrderUpdate, Pending
from engine.runtime.core import EngineCore
from engine.runtime.records import Outcome

WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Before each further try while the venue does not answer, or answers before an absent order can be proved so."""
LOOKS = 3
LOOK_GAP_NS = 2 * NS_PER_S
SETTLED_AFTER_NS = 20 * NS_PER_S
"""Request timeout, the venue's receive window and the lag of its replicas together."""


@dataclass(slots=True)
class _Doubt:
    """An order in doubt: since when, how many looks found nothing, and the next look (None while one is on its way)."""

    since_ns: int
    looks: int = 0
    last_look_ns: int = 0
    tries: int = 0
    timer: TimerHandle | None = None


class Resolver:
    """Asks the venue about orders until it knows.

    Args:
        core: The engine's shared parts.
        on_update: Takes the venue's answer; `answers` names the request that it settles.
        on_resolved: Called with an order that is no longer in doubt; a cancel that it had pending is still wanted.
    """

    def __init__(
        self,
        core: EngineCore,
        on_update: Callable[[OrderUpdate, Pending], None],
        on_resolved: Callable[[Order], None],
    ) -> None:
        self._core = core
        self._on_update = on_update
        self.on_resolved = on_resolved
        self._doubts: dict[str, _Doubt] = {}
        self._start_ns = core.clock.now_ns()

    @property
    def in_doubt(self) -> list[str]:
        """Return the client ids of the orders that are being looked for."""
        return list(self._doubts)

    def watch(self, order: Order, wait_s: float | None = None) -> None:
        """Look for an order until it is found, or proved never to have existed.

        Args:
            order: An order of ours.
            wait_s: Time to the first look; as after an unknown outcome when None. 0 also hastens the next look for an
                order that is being looked for already.
        """
        doubt = self._doubts.get(order.client_id)
        if doubt is not None and wait_s == 0.0 and doubt.timer is not None:
            doubt.timer.cancel()
            self._schedule(order.client_id, wait_s)
        elif doubt is None:
            left_ns = order.sent_ns or order.created_ns  # a stop that was held here leaves long after it was made
            is_past = left_ns <= self._core.clock.now_ns()
            self._doubts[order.client_id] = _Doubt(left_ns if is_past else self._start_ns)
            self._schedule(order.client_id, WAITS_S[0] if wait_s is None else wait_s)

    def stop(self) -> None:
        """End all looking."""
        for doubt in self._doubts.values():
            if doubt.timer is not None:
                doubt.timer.cancel()
        self._doubts.clear()

    def _schedule(self, client_id: str, wait_s: float) -> None:
        self._doubts[client_id].timer = self._core.clock.call_later(wait_s, self._look, client_id)

    def _look(self, client_id: str) -> None:
        self._doubts[client_id].timer = None
        order = self._core.tracker.get(client_id)
        if order is None or not order.is_open:
            self._end(client_id)
            return
        self._core.gateway.query(client_id, order.symbol, lambda outcome: self._answer(client_id, outcome))

    def _answer(self, client_id: str, outcome: OrderUpdate | CtosError) -> None:
        order, doubt = self._core.tracker.get(client_id), self._doubts.get(client_id)
        if order is None or doubt is None:
            return
        if isinstance(outcome, OrderUpdate):
            self._on_update(outcome, order.pending if order.pending is Pending.AMEND else Pending.NONE)
            self._end(client_id)
            return
        if isinstance(outcome, OrderNotFound) and self._is_absent(order, doubt):
            verdict, is_asked = _verdict(order), order.pending is Pending.CANCEL
            self._core.change(verdict)
            self._core.oplog("OrderExpired", cid=client_id, symbol=order.symbol, det=order.reason)
            if verdict.state is OrderState.EXPIRED and not is_asked and order.type.rests:
                self._core.on_ended_outside(order, verdict.reason)
            self._end(client_id)
            return
        wait_s = WAITS_S[min(doubt.tries, len(WAITS_S) - 1)]
        doubt.tries += 1
        if isinstance(outcome, OrderNotFound):
            left_ns = doubt.since_ns + SETTLED_AFTER_NS - self._core.clock.now_ns()
            wait_s = min(wait_s, max(left_ns, LOOK_GAP_NS) / NS_PER_S)
        self._schedule(client_id, wait_s)

    def _is_absent(self, order: Order, doubt: _Doubt) -> bool:
        """Count a look that found nothing; return whether that proves that there is no such order."""
        now_ns = self._core.clock.now_ns()
        if not doubt.looks or now_ns - doubt.last_look_ns >= LOOK_GAP_NS:
            doubt.looks += 1
            doubt.last_look_ns = now_ns
        return doubt.looks >= LOOKS and now_ns - doubt.since_ns >= SETTLED_AFTER_NS

    def _end(self, client_id: str) -> None:
        doubt = self._doubts.pop(client_id, None)
        order = self._core.tracker.get(client_id)
        if doubt is not None and order is not None:
            self.on_resolved(order)


def _verdict(order: Order) -> Outcome:
    """Return what an order is that the venue does not know."""
    if order.venue_order_id or order.filled:
        reason = "the venue does not know the order any more"
        return Outcome(order.client_id, OrderState.EXPIRED, reason, "OrderNotFound")
    return Outcome(order.client_id, OrderState.NEVER_ACCEPTED, "the venue never accepted it", "OrderNotFound")
