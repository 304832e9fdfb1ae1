"""One quantity worked to its end by one order after another: what soft orders and market orders share."""

from __future__ import annotations

from collections.abc import Callable, Collection
from decimal import Decimal
from typing import Any, Protocol

from engine.kernel.market import Quote
from engine.kernel.orders import Order
from engine.kernel.strategy import Done, DoneStatus
from engine.runtime.work.desk import OrderDesk
from engine.runtime.work.ticket import Tally

ZERO = Decimal(0)
OnDone = Callable[[Done], None]
OnChange = Callable[[], None]
CANCELED_OUTSIDE = "canceled outside"


class Execution(Protocol):
    """A part of work that owns at most one working order at a time."""

    def start(self) -> None:
        """Send the first order; raises what the desk raises when nothing was sent."""

    def on_order(self, order: Order) -> None:
        """Follow a change of an order."""

    def on_quote(self, quote: Quote) -> None:
        """Follow the touch."""

    def end(self, reason: str) -> None:
        """Cancel what works and report what was done."""

    def resume(self, known: Collection[str] = ()) -> None:
        """Go on after a restart from the truth of the tracker; `known` are orders of earlier parts of the work."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""


def end_status(filled: Decimal, failed: bool) -> DoneStatus:
    """Return how work ended that was not filled."""
    if filled > ZERO:
        return DoneStatus.PARTIAL
    return DoneStatus.FAILED if failed else DoneStatus.CANCELED


def unknown_orders(desk: OrderDesk, handle: str, tally: Tally, known: Collection[str]) -> list[Order]:
    """Return the orders of a piece of work that are in no sum yet, oldest first."""
    return [
        order
        for order in desk.orders_of(handle)
        if order.client_id not in tally.children and order.client_id not in known
    ]


def refusal(order: Order) -> str:
    """Return why the venue did not work an order: the typed error's name and text."""
    return f"{order.error}: {order.reason}" if order.error else order.reason or order.state.value
