"""Stops that the engine held and sent: one that the venue certainly did not take is held and sent anew.

The order that takes the place of a lost one is a held stop in the journal before anybody hears of the loss, so that a
crash, too, leaves the position with its stop; when it comes in between, the next start makes up for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from engine.kernel.clock import NS_PER_S, TimerHandle
from engine.kernel.errors import (
    ClockSkew,
    JournalError,
    OrderNotFound,
    RateLimited,
    ReduceOnlyRejected,
    VenueUnavailable,
)
from engine.kernel.orders import Order, OrderState, OrderType
from engine.runtime.accounts import MANUAL
from engine.runtime.booking import about
from engine.runtime.core import EngineCore
from engine.runtime.outside import STOP_LOST
from engine.runtime.records import Intent
from engine.runtime.waits import wait_s

LOUD_AFTER = 5
"""So many times in a row a stop may fail to leave before a person is called."""
BESIDE_S = 0.25
"""Until the next look while another order that reduces the same is on its way."""
BESIDE_NS = 30 * NS_PER_S
"""So long a stop waits for such orders: by then the fate of each is known, unless new ones follow."""

_TRANSIENT = frozenset(kind.__name__ for kind in (RateLimited, VenueUnavailable, ClockSkew))
_UNTAKEN = (OrderState.NEVER_SENT, OrderState.NEVER_ACCEPTED)
_TOLD_BY_OTHERS = ("", OrderNotFound.__name__)
"""Errors of an end that is no refusal."""


class FiredStops:
    """Follows the stops that were met from the moment they are sent until the venue has taken them.

    Args:
        core: The engine's shared parts.
        new_client_id: Makes a client id of a stop, for an instance.
        cap: Returns how much of a reduction is possible beside the working ones, as `Reductions.cap`.
        keep: Watches a held stop's trigger.
        fire: Sends a held stop.
    """

    def __init__(
        self,
        core: EngineCore,
        new_client_id: Callable[[str], str],
        cap: Callable[..., Decimal],
        keep: Callable[[Order], None],
        fire: Callable[[Order], None],
    ) -> None:
        self._core = core
        self._new_client_id = new_client_id
        self._cap = cap
        self._keep = keep
        self._fire = fire
        self._tries: dict[str, int] = {}
        self._timers: dict[str, TimerHandle] = {}
        self._bereft: list[Order] = []
        self._is_stopped = False
        core.on_change = self.on_change

    def resume(self) -> None:
        """Follow those that were on their way when the last run ended."""
        tracker = self._core.tracker
        for order in tracker.working():
            self.on_change(order)
        orders = tracker.recent()
        self._bereft = [order for order in orders if _is_lost(order) and _is_the_last_news(order, orders)]

    def hold_lost(self) -> None:
        """Hold those anew for which a crash left nothing in their place, once the venue has told what it knows."""
        for lost in self._bereft:
            order = self._put_in_place(lost) if _is_lost(lost) else None
            if order is not None:
                text = f"{_name(lost)} was met and did not reach the book before the program ended: {lost.reason}"
                self._core.say(f"{text}; held anew as #{order.label}", "warn")
                self._core.publish_order(order)
        self._bereft.clear()

    def stop(self) -> None:
        """Send nothing any more; what waits is held again at the next start."""
        self._is_stopped = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def on_change(self, order: Order) -> None:
        """Take in a change of an order, before anybody else hears of it."""
        if not order.fired:
            return
        if order.is_open:
            self._tries.setdefault(order.client_id, 0)
            return
        tries = self._tries.pop(order.client_id, None)
        if tries is None or not _is_wanted(order):
            return
        if _is_lost(order):
            self._hold_again(order, tries + 1)
        elif order.state is OrderState.REJECTED or order.error not in _TOLD_BY_OTHERS:
            self._core.on_ended_outside(order, order.reason)

    def _hold_again(self, lost: Order, tries: int) -> None:
        """Put a new held stop in the place of a lost one, and send it in a while."""
        core = self._core
        order = self._put_in_place(lost)
        if order is None:
            return
        seconds = wait_s(tries)
        core.say(
            f"{_name(lost)} was met and did not reach the book: {lost.reason}; sent anew as #{order.label}", "warn"
        )
        if tries == LOUD_AFTER:
            self._call_for_help(lost, f"did not leave {tries} times ({lost.reason}); it is tried every {seconds:g} s")
        self._tries[order.client_id] = tries
        until_ns = core.clock.now_ns() + BESIDE_NS
        self._later(seconds, order.client_id, order.trigger_price, until_ns)
        core.publish_order(order)

    def _put_in_place(self, lost: Order) -> Order | None:
        """Journal a held stop like a lost one and return it; None where it has nothing to do or cannot be kept."""
        core = self._core
        try:
            quantity = self._cap(lost.instance, lost.symbol, lost.side, True, lost.quantity)
        except ReduceOnlyRejected:
            return None  # nothing is left to reduce, or another stop stands for it
        intent = Intent(
            client_id=self._new_client_id(lost.instance),
            label=core.tracker.next_label,
            instance=lost.instance,
            symbol=lost.symbol,
            side=lost.side,
            type=OrderType.STOP,
            quantity=quantity,
            trigger_price=lost.trigger_price,
            reduce_only=True,
            parent=lost.parent,
            held=True,
            reference_price=core.market.middle(lost.symbol),
        )
        try:
            order = core.write(intent).order
        except JournalError as error:
            self._call_for_help(lost, f"cannot be kept: {error}")
            return None
        assert order is not None
        core.oplog("OrderPlaced", **about(order), type="stop", det=f"for #{lost.label}: {lost.reason}")
        return order

    def _later(self, seconds: float, client_id: str, trigger: Decimal | None, until_ns: int) -> None:
        if not self._is_stopped:
            timer = self._core.clock.call_later(seconds, self._send_again, client_id, trigger, until_ns)
            self._timers[client_id] = timer

    def _send_again(self, client_id: str, trigger: Decimal | None, until_ns: int) -> None:
        """Send a stop whose trigger `trigger` was met; one that was moved meanwhile waits for its new trigger."""
        del self._timers[client_id]
        order = self._core.tracker.get(client_id)
        if order is None or not order.is_open:
            self._tries.pop(client_id, None)
        elif not order.held:
            return  # its trigger was met once more, and it was sent
        elif order.trigger_price != trigger:
            self._keep(order)
        elif self._core.clock.now_ns() < until_ns and self._is_being_reduced(order):
            self._later(BESIDE_S, client_id, trigger, until_ns)
        else:
            self._fire(order)

    def _is_being_reduced(self, order: Order) -> bool:
        """Return whether another order that takes is on its way, so that both together may do too much."""
        owner = None if order.instance == MANUAL else order.instance
        return any(
            other.side is order.side and not other.held and not other.external and (other.fired or not other.type.rests)
            for other in self._core.tracker.working(order.symbol, owner)
        )

    def _call_for_help(self, order: Order, why: str) -> None:
        whose = "" if order.instance == MANUAL else f" of {order.instance}"
        text = (
            f"{order.symbol}: a position{whose} is UNPROTECTED now: {_name(order)} was met and {why}; close it by hand"
        )
        self._core.alarm(STOP_LOST, text, order.symbol, order.instance, "CRIT")


def was_busy(order: Order) -> bool:
    """Return whether the venue was too busy to take a stop that the engine sent: nothing is wrong with the stop."""
    return order.fired and order.state is OrderState.REJECTED and order.error in _TRANSIENT


def _is_wanted(order: Order) -> bool:
    """Return whether a stop that was met has done nothing yet and nobody has taken it back."""
    return order.fired and not (order.filled or order.reported_filled or order.asked_by)


def _is_lost(order: Order) -> bool:
    """Return whether the venue certainly did not take a stop that the engine sent and that is still wanted."""
    return _is_wanted(order) and (order.state in _UNTAKEN or was_busy(order))


def _is_the_last_news(lost: Order, orders: Sequence[Order]) -> bool:
    """Return whether nothing happened to any order after a stop was lost: not even another stop took its place."""
    since_ns, owner = lost.updated_ns, (lost.instance, lost.symbol, lost.side, lost.type)
    return not any(
        order.updated_ns > since_ns
        or (
            order.created_ns == since_ns
            and order.label > lost.label
            and (order.instance, order.symbol, order.side, order.type) == owner
        )
        for order in orders
    )


def _name(order: Order) -> str:
    quantity, trigger = order.quantity.normalize(), (order.trigger_price or Decimal(0)).normalize()
    return f"the stop #{order.label}, {order.side.value} {quantity:f} {order.symbol} at the trigger {trigger:f},"
