"""What a resolved intent asks of the engine: exact orders, amendments and cancels."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from engine.kernel.orders import OrderType, Side


@dataclass(frozen=True, slots=True)
class PlaceCommand:
    """Send one order. Quantity in base coins and price are exact multiples of lot and tick.

    Attributes:
        price: Limit price; None for a market order.
        soft: The engine re-pegs it to its own side of the touch.
    """

    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal | None
    reduce_only: bool = False
    soft: bool = False


@dataclass(frozen=True, slots=True)
class AmendCommand:
    """Change a working order; None leaves a field as it is. `quantity` is the new total."""

    client_id: str
    symbol: str
    price: Decimal | None
    quantity: Decimal | None


@dataclass(frozen=True, slots=True)
class CancelCommand:
    """Cancel one working order."""

    client_id: str
    symbol: str


@dataclass(frozen=True, slots=True)
class TargetCommand:
    """Bring the account's position of a market to a signed amount of quote."""

    symbol: str
    amount: Decimal
    soft: bool


Command = PlaceCommand | AmendCommand | CancelCommand | TargetCommand
