"""Signs that something is wrong with the orders themselves, which stop trading without waiting for a person."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from engine.kernel.clock import NS_PER_S, TimerHandle
from engine.kernel.orders import Order, OrderState
from engine.runtime.accounts import MANUAL
from engine.runtime.conditions import NEW_KEY
from engine.runtime.core import EngineCore
from engine.runtime.events import OrderChanged
from engine.runtime.fired_stops import was_busy

REJECTS = 5
REJECTS_WITHIN_NS = 10 * NS_PER_S
TOGETHER_NS = 60 * NS_PER_S
MAX_UNKNOWN = 3
UNKNOWN_LIMIT_NS = 60 * NS_PER_S
_LOOK_S = 5.0
HARMLESS_REJECTS = ("PostOnlyWouldTake",)
"""A refusal that is part of quoting: soft orders and grids answer it with another price."""


class Tripwires:
    """Halts what trades when something is wrong with the orders.

    A strategy whose orders the venue keeps refusing is halted; the account, when a second strategy fares alike within
    a minute, because the cause is hardly theirs then, and when orders stay unknown.

    Args:
        core: The engine's shared parts.
        halt: Halts the account for a reason.
    """

    def __init__(self, core: EngineCore, halt: Callable[[str], object]) -> None:
        self._core = core
        self._halt = halt
        self._rejects: dict[str, deque[int]] = {}
        self._refused_ns: dict[str, int] = {}
        self._unknown_since: dict[str, int] = {}
        self._timer: TimerHandle | None = None
        self._is_started = False
        core.bus.subscribe(OrderChanged, self._on_order)

    def start(self) -> None:
        """Begin to judge unknown orders, once the venue has been asked what became of those of the last run."""
        self._is_started = True
        self._look()

    def stop(self) -> None:
        """End the watching of unknown orders."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_order(self, event: OrderChanged) -> None:
        order = event.order
        if order.state is OrderState.UNKNOWN:
            self._unknown_since.setdefault(order.client_id, self._core.clock.now_ns())
            self._look()
            return
        self._unknown_since.pop(order.client_id, None)
        if order.state is not OrderState.REJECTED:
            return
        if order.error == "AuthError":
            self._trip(f"the venue refuses the key: {order.reason}; {NEW_KEY}")
        elif order.instance != MANUAL and order.error not in HARMLESS_REJECTS and not was_busy(order):
            self._count_reject(order)

    def _count_reject(self, order: Order) -> None:
        now_ns = self._core.clock.now_ns()
        times = self._rejects.setdefault(order.instance, deque(maxlen=REJECTS))
        times.append(now_ns)
        if len(times) == REJECTS and now_ns - times[0] <= REJECTS_WITHIN_NS:
            times.clear()
            reason = f"{REJECTS} orders were refused within {REJECTS_WITHIN_NS // NS_PER_S} s, the last: {order.reason}"
            self._core.risk.losses.halt(order.instance, reason)
            self._refused_ns = {name: ns for name, ns in self._refused_ns.items() if now_ns - ns <= TOGETHER_NS}
            self._refused_ns[order.instance] = now_ns
            if len(self._refused_ns) > 1:
                self._trip(
                    f"{REJECTS} orders each of {', '.join(self._refused_ns)} were refused, the last: {order.reason}"
                )

    def _look(self) -> None:
        """Halt when too many orders are unknown, or one for too long; look again while there are any."""
        self.stop()
        if not self._is_started:
            return
        now_ns = self._core.clock.now_ns()
        for order in self._core.tracker.unknown():  # those of the last run were not heard of in this one
            self._unknown_since.setdefault(order.client_id, now_ns)
        if not self._unknown_since:
            return
        oldest_ns = min(self._unknown_since.values())
        count = len(self._unknown_since)
        if count > MAX_UNKNOWN:
            self._trip(f"{count} orders have no known outcome, more than {MAX_UNKNOWN}")
        elif now_ns - oldest_ns > UNKNOWN_LIMIT_NS:
            self._trip(f"an order has had no known outcome for {UNKNOWN_LIMIT_NS // NS_PER_S} s")
        self._timer = self._core.clock.call_later(_LOOK_S, self._look)

    def _trip(self, reason: str) -> None:
        if not self._core.risk.is_halted:
            self._halt(reason)
