"""How many of each strategy's orders the venue refused lately."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from decimal import Decimal

from engine.io.settings import MonitorConfig
from engine.kernel.anomaly import AnomalyKind
from engine.kernel.clock import NS_PER_S, Clock
from engine.kernel.orders import Order, OrderState
from engine.runtime.anomalies import Reading
from engine.runtime.fired_stops import was_busy
from engine.runtime.readings import percent, reading
from engine.runtime.tripwires import HARMLESS_REJECTS

WITHIN_NS = 300 * NS_PER_S
FEWEST = 10
_UNDECIDED = (
    OrderState.INTENT,
    OrderState.SENT,
    OrderState.UNKNOWN,
    OrderState.NEVER_SENT,
    OrderState.NEVER_ACCEPTED,
)


class RejectWatch:
    """Counts each order once, when the venue has taken or refused it.

    Args:
        clock: The engine's clock.
        config: The levels.
    """

    def __init__(self, clock: Clock, config: MonitorConfig) -> None:
        self._clock = clock
        self._levels = config.levels_for
        self._outcomes: dict[str, deque[tuple[int, str, bool]]] = {}
        self._counted: set[str] = set()

    def on_order(self, order: Order) -> None:
        """Take in a change of an order."""
        now_ns = self._clock.now_ns()
        if order.external or order.state in _UNDECIDED or order.client_id in self._counted:
            return
        if order.created_ns < now_ns - WITHIN_NS or was_busy(order):
            return
        refused = order.state is OrderState.REJECTED and order.error not in HARMLESS_REJECTS
        self._counted.add(order.client_id)
        self._outcomes.setdefault(order.instance, deque()).append((now_ns, order.client_id, refused))

    def evaluate(self) -> Iterable[Reading]:
        """Judge the share of refused orders of each instance that sent enough of them."""
        oldest_ns = self._clock.now_ns() - WITHIN_NS
        for instance, outcomes in self._outcomes.items():
            while outcomes and outcomes[0][0] < oldest_ns:
                self._counted.discard(outcomes.popleft()[1])
            if len(outcomes) < FEWEST:
                continue
            refused = sum(was_refused for _, _, was_refused in outcomes)
            value = Decimal(refused) / len(outcomes)
            text = f"{instance}: {refused} of {len(outcomes)} orders ({percent(value)}) were refused within 5 min"
            levels = self._levels(AnomalyKind.REJECT_RATE, instance=instance)
            yield reading(AnomalyKind.REJECT_RATE, value, levels, text, instance=instance)
