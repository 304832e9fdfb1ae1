"""What work needs from the execution engine."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Protocol

from engine.kernel.clock import Clock
from engine.kernel.instruments import Instrument
from engine.kernel.market import Quote
from engine.kernel.orders import Order, OrderType, Side
from engine.kernel.strategy import Done, Purpose


class OrderDesk(Protocol):
    """Orders, prices and ledgers, as the execution engine offers them to work.

    The engine calls `WorkBook.on_order(order)` after every change of an order that has a `parent`, when its fills are
    in the ledgers and its own events are published; also when the change happens inside one of these calls.
    """

    @property
    def clock(self) -> Clock:
        """Return the engine's clock."""

    def submit(
        self,
        instance: str,
        symbol: str,
        side: Side,
        type: OrderType,
        quantity: Decimal,
        price: Decimal | None = None,
        *,
        reduce_only: bool = False,
        purpose: Purpose = Purpose.ENTRY,
        parent: str = "",
        replaces: str = "",
    ) -> str:
        """Send an order and return its client id.

        A `MARKET` order is sent as an immediate-or-cancel limit at the slippage cap. A reduce-only order is capped at
        what the instance's ledger leaves to reduce; that of the instance `manual` at what the account's position
        leaves, because the operator acts on the account. `replaces` is the order, final by now, whose place it takes.

        Raises:
            CtosError: Refused by a limit, the instrument's rules or the trading state; nothing was sent.
        """

    def amend(self, client_id: str, price: Decimal | None = None, quantity: Decimal | None = None, *, by: str) -> None:
        """Change price and/or total quantity of a working order in one native call.

        Raises:
            CtosError: Refused; the order works on unchanged.
        """

    def can_amend(self, symbol: str) -> bool:
        """Return whether the venue changes price and quantity of a working order in one call."""

    def check_replacement(self, client_id: str, price: Decimal | None, quantity: Decimal) -> None:
        """Check the order that would take a working order's place, as if that order were gone already.

        Raises:
            CtosError: It would be refused.
        """

    def cancel(self, client_id: str, by: str) -> None:
        """Ask for the cancellation of an order; harmless when it is final or being cancelled."""

    def release(self, client_id: str) -> None:
        """Leave a working order to its instance, which minds it from now on."""

    def order(self, client_id: str) -> Order | None:
        """Return the live record of an order, working or recently final."""

    def orders_of(self, parent: str) -> list[Order]:
        """Return the orders sent for a piece of work, working and recently final, oldest first."""

    def quote(self, symbol: str) -> Quote | None:
        """Return the best bid and ask."""

    def mark(self, symbol: str) -> Decimal | None:
        """Return the mark price, to the tick; the middle of the touch where the venue has none."""

    def instrument(self, symbol: str) -> Instrument:
        """Return an instrument; raises `UnknownSymbol`."""

    def ledger_quantity(self, instance: str, symbol: str) -> Decimal:
        """Return the signed base coins in an instance's ledger."""

    def account_quantity(self, symbol: str) -> Decimal:
        """Return the signed base coins of the account's position: all ledgers together."""

    def save_work(self, handle: str, body: dict[str, Any] | None) -> None:
        """Journal the state of a piece of work; the newest comes back at a restart. None takes it back unreported."""

    def finish(self, instance: str, done: Done) -> None:
        """Journal that a piece of work has ended, which ends its saved state, and tell the instance and the bus."""


def is_settled(order: Order) -> bool:
    """Return whether an order is final and every fill that the venue reported for it is booked."""
    return order.state.is_final and order.filled >= order.reported_filled
