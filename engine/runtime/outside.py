"""Tells the operator which of our working orders ended although nobody here asked for it.

A person may have cancelled them in the venue's own app, or the venue did so itself. They are told a moment later and
together: by then it is known whether a position that a stop protected is still held, and whether another stop stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from engine.kernel.clock import NS_PER_S, TimerHandle
from engine.kernel.orders import Order, OrderState, Pending
from engine.runtime.accounts import MANUAL
from engine.runtime.core import EngineCore
from engine.runtime.events import EndedOutside
from engine.runtime.panic import is_protective
from engine.runtime.trading_state import TradingMode

STOP_LOST = "stop_lost"
"""Kind of the alarm that a position has lost its stop."""

STOP_S = 1.0
GATHER_S = 2.0
"""What is no stop waits longer, for the watchdog's word: after a standstill it may have been that which cancelled."""
CALM_S = 30.0
"""Orders of strategies are told of at most so often: a venue may take back one quote after another."""
LINES = 10
"""So many are told one by one; of more, a summary."""
ZERO = Decimal(0)


@dataclass(slots=True)
class _Batch:
    """What is told together: orders with the venue's reasons."""

    ended: list[tuple[Order, str]] = field(default_factory=list)
    timer: TimerHandle | None = None
    told_ns: int | None = None


class OutsideEnds:
    """Gathers the orders of one account that ended without being asked to, and tells of them.

    Args:
        core: The engine's shared parts.

    Attributes:
        missing: Client ids of the orders that the venue did not list when this run began.
    """

    def __init__(self, core: EngineCore) -> None:
        self._core = core
        self.missing: frozenset[str] = frozenset()
        self._stops, self._hand, self._strategies = _Batch(), _Batch(), _Batch()
        self._explained: set[str] = set()
        core.on_ended_outside = self.take

    def take(self, order: Order, reason: str) -> None:
        """Take in an order that has just ended; `reason` is the venue's, if it gave one."""
        wait_s = GATHER_S
        if is_protective(order):
            batch, wait_s = self._stops, STOP_S
        elif order.instance == MANUAL:
            batch = self._hand
        else:
            batch = self._strategies
            if batch.told_ns is not None:
                wait_s = max(wait_s, CALM_S - (self._core.clock.now_ns() - batch.told_ns) / NS_PER_S)
        batch.ended.append((order, reason))
        if batch.timer is None:
            batch.timer = self._core.clock.call_later(wait_s, self._tell, batch)

    def explain(self, client_ids: Iterable[str]) -> None:
        """Take in that our own watchdog cancelled these: that is told elsewhere."""
        self._explained.update(client_ids)

    def stop(self) -> None:
        """Tell at once what waits to be told."""
        for batch in (self._stops, self._hand, self._strategies):
            if batch.timer is not None:
                batch.timer.cancel()
                self._tell(batch)

    def _tell(self, batch: _Batch) -> None:
        core = self._core
        batch.timer, batch.told_ns = None, core.clock.now_ns()
        ended = [(order, reason) for order, reason in batch.ended if order.client_id not in self._explained]
        batch.ended.clear()
        gone = [(order, reason) for order, reason in ended if not order.reduce_only or self._reducible(order)]
        for order, reason in ended:
            if order.reduce_only and not self._reducible(order):
                core.say(f"{_terms(order)} is gone, nothing is left to reduce: {self._how(order, reason)}")
        self._tell_gone(gone)
        for order, reason in gone:
            if is_protective(order) and (bare := self._unprotected(order)):
                self._tell_unprotected(order, bare, reason)

    def _tell_gone(self, gone: list[tuple[Order, str]]) -> None:
        core = self._core
        if not gone:
            return
        lines = [f"{self._gone(order)}: {_terms(order)}: {self._how(order, reason)}" for order, reason in gone]
        if len(lines) > LINES:
            counts = Counter(order.symbol for order, _ in gone).most_common(LINES)
            where = ", ".join(f"{symbol} {count}" for symbol, count in counts)
            lines = [f"{self._gone(gone[0][0])}: {len(gone)} orders ended at the venue: {where}; see the operation log"]
        for line in lines:
            core.say(line, "warn")
        by_hand = [order for order, _ in gone if order.instance == MANUAL]
        if by_hand:
            labels = ", ".join(f"#{order.label}" for order in by_hand[:LINES])
            more = ", ..." if len(by_hand) > LINES else ""
            many = f"{self._gone(by_hand[0])}: {labels}{more} ended at the venue"
            core.bus.publish(EndedOutside(lines[0] if len(lines) == 1 and len(by_hand) == 1 else many))

    def _tell_unprotected(self, order: Order, bare: Decimal, reason: str) -> None:
        """Raise the alarm that what a stop protected is open to any loss now."""
        whose = "" if order.instance == MANUAL else f" of {order.instance}"
        stop = f"{order.side.value} {_plain(order.remaining)} at the trigger {_plain(order.trigger_price or ZERO)}"
        text = (
            f"{order.symbol}: {_plain(bare)}{whose} is UNPROTECTED now: the stop #{order.label}, {stop}, "
            f"{self._how(order, reason)}; place a new one, or close"
        )
        self._core.alarm(STOP_LOST, text, order.symbol, order.instance, "CRIT")

    def _gone(self, order: Order) -> str:
        return "gone while nothing ran" if order.client_id in self.missing else "gone"

    def _how(self, order: Order, reason: str) -> str:
        """Return how an order ended; under a halt, or while nothing ran, another program of ours may have cancelled."""
        if order.state is OrderState.REJECTED:
            return f"was met and is refused by the venue ({reason})"
        ended = "cancelled" if order.state is OrderState.CANCELED else "expired"
        may_be_ours = order.client_id in self.missing or self._core.trading.mode is TradingMode.HALTED
        why = f" ({reason})" if reason else "" if may_be_ours else ", nobody here asked for it"
        return f"{ended} at the venue{why}"

    def _reducible(self, order: Order) -> Decimal:
        return self._core.reducible(order.instance, order.symbol, order.side)

    def _unprotected(self, order: Order) -> Decimal:
        """Return how much of what a stop protected has no stop any more."""
        owner = None if order.instance == MANUAL else order.instance
        stops = [
            other.working_quantity
            for other in self._core.tracker.working(order.symbol, owner)
            if is_protective(other) and other.side is order.side and other.pending is not Pending.CANCEL
        ]
        return max(ZERO, min(order.remaining, self._reducible(order) - sum(stops, ZERO)))


def _terms(order: Order) -> str:
    whose = "" if order.instance == MANUAL else f" {order.instance}"
    price = order.trigger_price if order.price is None else order.price
    at = "" if price is None else f" at {_plain(price)}"
    kind = "stop " if is_protective(order) else ""
    return f"#{order.label}{whose} {kind}{order.side.value} {_plain(order.remaining)} {order.symbol}{at}"


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
