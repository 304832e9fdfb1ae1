"""When a person last acted on a symbol or a strategy: orders and trades by hand, cancels, changed parameters."""

from __future__ import annotations

from collections.abc import Callable

from engine.kernel.clock import NS_PER_S, Clock
from engine.kernel.event_bus import EventBus
from engine.kernel.orders import Order, OrderState, Pending
from engine.kernel.strategy import Purpose
from engine.kernel.syscalls import Unsubscribe
from engine.runtime.accounts import MANUAL
from engine.runtime.client_ids import purpose_of
from engine.runtime.correction_state import CorrectionState, forget_old
from engine.runtime.events import FillBooked, HandActed, OrderChanged

SAVE_MS = 10_000


class HumanLock:
    """Follows what people do; the times stand in the state that outlives a restart.

    Args:
        clock: Engine time.
        bus: Where orders, fills and commands are told.
        state: Keeps the times.
        save: Writes the state; called at most every ten seconds a symbol.
    """

    def __init__(self, clock: Clock, bus: EventBus, state: CorrectionState, save: Callable[[], None]) -> None:
        self._clock = clock
        self._bus = bus
        self._state = state
        self._save = save
        self._asked_to_cancel: set[str] = set()

    def start(self) -> list[Unsubscribe]:
        """Begin to follow; return how to end it."""
        return [
            self._bus.subscribe(OrderChanged, lambda event: self._on_order(event.order)),
            self._bus.subscribe(FillBooked, self._on_fill),
            self._bus.subscribe(HandActed, lambda event: self.touched(event.symbol, event.instance)),
        ]

    def touched(self, symbol: str, instance: str = "", ts_ms: int | None = None) -> None:
        """Note that a person acted on a symbol, a strategy or both, now or at a time."""
        now_ms = self._clock.now_ms()
        at_ms = now_ms if ts_ms is None else min(ts_ms, now_ms)
        for key in (symbol, f"@{instance}" if instance else ""):
            known_ms = self._state.human_ms.get(key, -SAVE_MS)
            if key and at_ms > known_ms:
                self._state.human_ms[key] = at_ms
                if at_ms - known_ms >= SAVE_MS:
                    forget_old(self._state, now_ms)
                    self._save()

    def _on_order(self, order: Order) -> None:
        """Take orders by hand or from outside, and cancels of ours that we did not ask for."""
        if order.pending is Pending.CANCEL:
            self._asked_to_cancel.add(order.client_id)
        by_hand = order.instance == MANUAL and purpose_of(order.client_id) is not Purpose.CORRECTION
        if order.state.is_final:
            asked = order.client_id in self._asked_to_cancel
            self._asked_to_cancel.discard(order.client_id)
            by_hand = by_hand or (order.state is OrderState.CANCELED and order.type.rests and not asked)
        if by_hand and self._clock.now_ns() - order.updated_ns < NS_PER_S:
            self.touched(order.symbol)

    def _on_fill(self, event: FillBooked) -> None:
        if event.instance == MANUAL and purpose_of(event.fill.client_id) is not Purpose.CORRECTION:
            self.touched(event.fill.symbol, ts_ms=event.fill.ts)
