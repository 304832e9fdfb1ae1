"""Amending working orders: one request in flight, the newest further wish waits, a refusal changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from engine.kernel.clock import NS_PER_S, TimerHandle
from engine.kernel.errors import (
    ClockSkew,
    CtosError,
    InvalidOrder,
    NotSent,
    OrderNotFound,
    RateLimited,
    TradingHalted,
    UnknownOutcome,
    VenueUnavailable,
)
from engine.kernel.orders import Order, OrderState, OrderType, OrderUpdate, Pending
from engine.kernel.permit import under
from engine.runtime.booking import Booking, about
from engine.runtime.core import EngineCore
from engine.runtime.records import Asked, Declined
from engine.runtime.reductions import LESS_HELD, Reductions
from engine.runtime.resolver import Resolver
from engine.runtime.sizing import check_minimum, check_price_step, check_quantity_step
from engine.runtime.waits import wait_s

ZERO = Decimal(0)
DEADLINE_NS = 2 * NS_PER_S
"""An amendment that could not be sent by then is dropped."""

LOUD_AFTER = 5
"""So many times in a row that may fail before a person is told."""
_TRANSIENT = (RateLimited, VenueUnavailable, ClockSkew, NotSent)

_NOT_CONFIRMED = (OrderState.INTENT, OrderState.SENT, OrderState.UNKNOWN)


@dataclass(slots=True, frozen=True)
class _Change:
    """An amendment that waits until the one in flight is answered."""

    price: Decimal | None
    quantity: Decimal | None
    by: str


@dataclass(slots=True, frozen=True)
class _Retry:
    """A reduction that is too large and could not be made smaller: how often in a row, and the next try."""

    tries: int
    timer: TimerHandle


class Amendments:
    """Changes price and quantity of working orders.

    Args:
        core: The engine's shared parts.
        booking: Takes in the venue's answers.
        resolver: Looks for orders whose state is not known.
        reductions: Caps reduce-only orders.
        cancel: Cancels an order, for a reason.
        permit: Called at the last line before the wire with the client id, the deadline in engine time and whether
            anything but a smaller size is asked for; raises when an amendment must not leave any more.
    """

    def __init__(
        self,
        core: EngineCore,
        booking: Booking,
        resolver: Resolver,
        reductions: Reductions,
        cancel: Callable[[str, str], None],
        permit: Callable[[str, int, bool], None],
    ) -> None:
        self._core = core
        self._booking = booking
        self._resolver = resolver
        self._reductions = reductions
        self._cancel = cancel
        self._permit = permit
        self._waiting: dict[str, _Change] = {}
        self._shrinking: dict[str, _Retry] = {}

    def stop(self) -> None:
        """Ask for nothing any more."""
        for retry in self._shrinking.values():
            retry.timer.cancel()
        self._shrinking.clear()

    def forget(self, client_id: str) -> None:
        """Drop the amendment that waits for an order."""
        self._waiting.pop(client_id, None)

    def amend(self, client_id: str, price: Decimal | None = None, quantity: Decimal | None = None, *, by: str) -> None:
        """Change price (of a stop: the trigger) and/or total quantity of a working order.

        A total that is filled already cancels the rest. While an amendment is in flight the newest further one waits
        for its answer. `by` is who or what asks, as with cancels. One that only makes the order smaller always passes:
        no limit and no trading state holds that up.

        Raises:
            CtosError: Refused; the order works on unchanged.
        """
        core = self._core
        order = core.known(client_id)
        _refuse(order)
        if quantity is not None and quantity < 0:
            raise InvalidOrder(f"{order.symbol}: quantity {quantity} must not be negative; 0 cancels the order")
        if quantity is not None and quantity <= order.filled:
            self._cancel(client_id, by)
            return
        price, quantity = self._new_terms(order, price, quantity)
        if price is None and quantity is None:
            return
        if order.pending is Pending.AMEND:
            self._waiting[client_id] = _Change(price, quantity, by)
            return
        is_stop = order.type is OrderType.STOP
        if _only_shrinks(order, price, quantity):
            core.risk.count_cancel(order.instance)
        else:
            core.risk.check_amend(order, None if is_stop else price, quantity)
        if order.held:
            self._change_held(order, price, quantity)
            return
        deadline_ns = core.clock.now_ns() + DEADLINE_NS
        asked = Asked(client_id, Pending.AMEND, price, quantity, by)
        durable = partial(self._durable, client_id, price, quantity, deadline_ns)
        core.write(asked, durable)
        core.publish_order(order)

    def _new_terms(
        self, order: Order, price: Decimal | None, quantity: Decimal | None
    ) -> tuple[Decimal | None, Decimal | None]:
        """Return price and total quantity of an amendment, checked; None for what stays as it is."""
        instrument = self._core.instrument(order.symbol)
        is_stop = order.type is OrderType.STOP
        if price is not None:
            check_price_step(instrument, order.side, price, "trigger price" if is_stop else "price")
        if quantity is not None:
            check_quantity_step(instrument, quantity)
            if order.reduce_only:
                done = max(order.filled, order.reported_filled)
                args = (order.instance, order.symbol, order.side, is_stop, quantity - done, order.client_id)
                quantity = done + self._reductions.cap(*args, shrinks=_only_shrinks(order, price, quantity))
            else:
                at = price or order.price
                assert at is not None
                check_minimum(instrument, quantity, at)
        if order.pending is Pending.AMEND:
            return price, quantity
        present = order.trigger_price if is_stop else order.price
        return (None if price == present else price), (None if quantity == order.quantity else quantity)

    def _change_held(self, order: Order, price: Decimal | None, quantity: Decimal | None) -> None:
        """Amend a stop that the engine holds: nobody else has to be asked."""
        update = OrderUpdate(
            client_id=order.client_id,
            venue_order_id="",
            symbol=order.symbol,
            side=order.side,
            type=order.type,
            state=order.state,
            quantity=order.quantity if quantity is None else quantity,
            price=None,
            filled=ZERO,
            ts=order.venue_ts,
            trigger_price=order.trigger_price if price is None else price,
            reduce_only=True,
        )
        self._booking.on_update(update, Pending.AMEND)

    def _durable(self, client_id: str, price: Decimal | None, quantity: Decimal | None, deadline_ns: int) -> None:
        core = self._core
        order = core.known(client_id)
        if not order.is_open or order.pending is not Pending.AMEND:
            return
        if core.clock.now_ns() > deadline_ns:
            text = "not amended: the journal took too long"
            core.change(Declined(client_id, text))
            self._shrink_later(order, text)
        else:
            self._send(order, price, quantity)

    def _send(self, order: Order, price: Decimal | None, quantity: Decimal | None) -> None:
        core, client_id = self._core, order.client_id
        adds = not _only_shrinks(order, price, quantity)
        try:
            if adds:
                core.risk.check_gate(order)
        except TradingHalted as error:
            core.change(Declined(client_id, f"not amended: {error}", type(error).__name__))
            return
        sent_ns = core.clock.now_ns()
        with under(partial(self._permit, client_id, sent_ns + DEADLINE_NS, adds)):
            core.gateway.amend(client_id, order.symbol, price, quantity, partial(self._amended, client_id, sent_ns))

    def _amended(self, client_id: str, sent_ns: int, outcome: OrderUpdate | CtosError) -> None:
        core = self._core
        order = core.known(client_id)
        if isinstance(outcome, OrderUpdate):
            core.oplog("OrderAmended", **about(order), by=order.asked_by, latency_ms=core.ms_since(sent_ns))
            self._booking.on_update(outcome, Pending.AMEND)
            self._forget_retry(client_id)
        elif not order.is_open or order.pending is not Pending.AMEND:
            return  # final, or being cancelled: a cancel that is tried again must not end with the amendment
        elif isinstance(outcome, OrderNotFound | UnknownOutcome):
            self._resolver.watch(order, 0.0)
            return
        else:
            core.oplog("OrderAmendFail", **about(order), error=type(outcome).__name__, det=str(outcome))
            core.change(Declined(client_id, f"not amended: {outcome}", type(outcome).__name__))
            if outcome.unsent or isinstance(outcome, _TRANSIENT) or order.type is OrderType.STOP:
                self._shrink_later(order, str(outcome))  # a stop that is too large is better than none
            elif order.asked_by == LESS_HELD:
                self._cancel(client_id, LESS_HELD)
        self.take_waiting(client_id)

    def _shrink_later(self, order: Order, why: str) -> None:
        """Have a reduction that is larger than what it reduces made smaller a little later."""
        if order.asked_by != LESS_HELD:
            return
        before = self._shrinking.get(order.client_id)
        tries = 1
        if before is not None:
            before.timer.cancel()
            tries += before.tries
        seconds = wait_s(tries)
        if tries == LOUD_AFTER:
            text = f"#{order.label} is larger than what it reduces ({why}); it is tried again every {seconds:g} s"
            self._core.alarm("reduction", text, order.symbol, order.instance)
        timer = self._core.clock.call_later(seconds, self._shrink, order.client_id)
        self._shrinking[order.client_id] = _Retry(tries, timer)

    def _shrink(self, client_id: str) -> None:
        order = self._core.tracker.get(client_id)
        if order is None or not order.is_open:
            self._forget_retry(client_id)
        else:
            self._reductions.fit(order.instance, order.symbol)

    def _forget_retry(self, client_id: str) -> None:
        retry = self._shrinking.pop(client_id, None)
        if retry is not None:
            retry.timer.cancel()

    def take_waiting(self, client_id: str) -> None:
        """Send the amendment that waited for the answer to the one before."""
        change = self._waiting.pop(client_id, None)
        order = self._core.tracker.get(client_id)
        if change is None or order is None or not order.is_open or order.pending is not Pending.NONE:
            return
        try:
            self.amend(client_id, change.price, change.quantity, by=change.by)
        except CtosError as error:
            self._core.refused(order.instance, order.symbol, error)


def _only_shrinks(order: Order, price: Decimal | None, quantity: Decimal | None) -> bool:
    return price is None and quantity is not None and quantity < order.quantity


def _refuse(order: Order) -> None:
    """Refuse to amend an order that cannot be amended now."""
    name = f"#{order.label} {order.symbol}"
    if not order.is_open:
        raise InvalidOrder(f"{name} is {order.state.value}: there is nothing to amend")
    if order.pending is Pending.CANCEL:
        raise InvalidOrder(f"{name} is being cancelled: it cannot be amended")
    if order.state in _NOT_CONFIRMED and not order.held:
        raise InvalidOrder(f"{name} is not confirmed by the venue yet: amend it when it is open")
    if not order.type.rests:
        raise InvalidOrder(f"{name} is a {order.type.value} order: it cannot be amended")
