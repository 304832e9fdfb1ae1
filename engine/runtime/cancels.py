"""Cancellations under way: sent once more until the venue has carried them out or has refused them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from engine.kernel.clock import TimerHandle
from engine.kernel.errors import ClockSkew, CtosError, OrderNotFound, RateLimited, UnknownOutcome, VenueUnavailable
from engine.kernel.orders import Order, OrderUpdate, Pending
from engine.runtime.booking import Booking, about
from engine.runtime.core import EngineCore
from engine.runtime.records import Declined
from engine.runtime.resolver import Resolver
from engine.runtime.waits import WAITS_S, wait_s

ACKED_WAITS_S = (5.0, 10.0, 20.0, 30.0)
"""So long a venue that has acknowledged a cancellation is given to carry it out."""
_TRY_AGAIN = (RateLimited, VenueUnavailable, UnknownOutcome, ClockSkew)


@dataclass(slots=True)
class _Again:
    """When a cancellation is sent once more, and how often it was put off."""

    tries: int = 0
    timer: TimerHandle | None = None


class Cancels:
    """Carries out the cancellations that were asked for.

    Args:
        core: The engine's shared parts.
        booking: Takes in what the venue answers.
        resolver: Looks for an order that the venue does not know.
    """

    def __init__(self, core: EngineCore, booking: Booking, resolver: Resolver) -> None:
        self._core = core
        self._booking = booking
        self._resolver = resolver
        self._under_way: dict[str, _Again] = {}

    def send(self, client_id: str) -> None:
        """Tell the venue to cancel an order, if that is still wanted."""
        order = self._core.order(client_id)
        if order is not None and _is_wanted(order):
            self._core.gateway.cancel(client_id, order.symbol, partial(self._answered, client_id))
        else:
            self.forget(client_id)

    def forget(self, client_id: str) -> None:
        """Plan nothing any more: the order is gone, or is not to be cancelled after all."""
        again = self._under_way.pop(client_id, None)
        if again is not None and again.timer is not None:
            again.timer.cancel()

    def send_again(self, client_id: str, waits_s: Sequence[float] = WAITS_S) -> None:
        """Tell the venue once more in a while, later with each time; what was planned before gives way."""
        again = self._under_way.setdefault(client_id, _Again())
        if again.timer is not None:
            again.timer.cancel()
        again.tries += 1
        again.timer = self._core.clock.call_later(wait_s(again.tries, waits_s), self.send, client_id)

    def stop(self) -> None:
        """Send nothing any more."""
        for client_id in list(self._under_way):
            self.forget(client_id)

    def _answered(self, client_id: str, outcome: OrderUpdate | CtosError) -> None:
        core = self._core
        order = core.known(client_id)
        if isinstance(outcome, OrderUpdate):
            self._booking.on_update(outcome)
        if not order.is_open:
            self.forget(client_id)
        elif isinstance(outcome, OrderUpdate):
            self.send_again(client_id, ACKED_WAITS_S)
        elif isinstance(outcome, OrderNotFound):
            self._resolver.watch(order, 0.0)
        elif isinstance(outcome, _TRY_AGAIN):
            self.send_again(client_id)
        else:
            self.forget(client_id)
            core.oplog("OrderCancelFail", **about(order), error=type(outcome).__name__, det=str(outcome))
            core.change(Declined(client_id, f"not cancelled: {outcome}", type(outcome).__name__))


def _is_wanted(order: Order) -> bool:
    return order.is_open and order.pending is Pending.CANCEL
