"""The staged order: an intent that waits for Enter, resolved anew against the market of each moment."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from msgspec.structs import replace

from ctos_tui.command.desk import Desk
from ctos_tui.command.intents import MoveOrder, OrderIntent, PlaceOrder
from ctos_tui.command.resolve import Staged, resolve
from ctos_tui.command.terms import AbsolutePrice, Size
from engine.kernel.errors import CtosError


@dataclass(slots=True)
class Ticket:
    """A staged order.

    Attributes:
        intent: What was asked.
        typed: The prompt line it came from; empty when a key staged it.
    """

    intent: OrderIntent
    typed: str = ""

    def staged(self, desk: Desk) -> Staged | CtosError:
        """Return what would be sent now, or why nothing can be."""
        try:
            return resolve(self.intent, desk)
        except CtosError as error:
            return error

    def at_price(self, price: Decimal) -> None:
        """Move a ticket that stands at a price to another one."""
        if isinstance(self.intent, PlaceOrder | MoveOrder):
            self.intent = replace(self.intent, price=AbsolutePrice(price))

    def with_size(self, size: Size) -> None:
        """Change the size of a new order."""
        if isinstance(self.intent, PlaceOrder):
            self.intent = replace(self.intent, size=size)

    @property
    def price(self) -> Decimal | None:
        """Return the price it stands at; None when it follows the market."""
        price = self.intent.price if isinstance(self.intent, PlaceOrder | MoveOrder) else None
        return price.value if isinstance(price, AbsolutePrice) else None
