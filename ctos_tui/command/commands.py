"""What a resolved intent asks of the engine: exact orders, amendments and cancels."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import structs

from engine.kernel.orders import OrderType, Side

_MOVED: Final = Decimal("0.01")
"""A size in quote becomes other coins as the price moves; by a larger share it is another order."""


class PlaceCommand(msgspec.Struct, frozen=True):
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


class AmendCommand(msgspec.Struct, frozen=True):
    """Change a working order; None leaves a field as it is. `quantity` is the new total."""

    client_id: str
    symbol: str
    price: Decimal | None
    quantity: Decimal | None


class CancelCommand(msgspec.Struct, frozen=True):
    """Cancel one working order."""

    client_id: str
    symbol: str


class TargetCommand(msgspec.Struct, frozen=True):
    """Bring the account's position of a market to a signed amount of quote."""

    symbol: str
    amount: Decimal
    soft: bool


class FlattenAllCommand(msgspec.Struct, frozen=True):
    """Cancel every order, protective stops too, and close everything that the venue says is held."""


Command = PlaceCommand | AmendCommand | CancelCommand | TargetCommand | FlattenAllCommand


def is_confirmed(asked: Sequence[Command], now: Sequence[Command]) -> bool:
    """Return whether commands are what was confirmed, but for what the market's price moves.

    Closes may have become smaller, or fewer: part of a position can have gone meanwhile.
    """
    if asked and all(isinstance(command, PlaceCommand) and command.reduce_only for command in asked):
        return bool(now) and all(any(_is_no_more(old, new) for old in asked) for new in now)
    return len(asked) == len(now) and all(map(_is_same, asked, now))


def _is_no_more(old: Command, new: Command) -> bool:
    """Return whether a close is the same as another, or smaller."""
    if not isinstance(old, PlaceCommand) or not isinstance(new, PlaceCommand):
        return False
    return _is_same(structs.replace(old, quantity=min(old.quantity, new.quantity)), new)


def _is_same(one: Command, other: Command) -> bool:
    """Return whether two resolutions of an intent ask for the same, but for what the market's price moves."""
    match one, other:
        case (PlaceCommand() as old, PlaceCommand() as new) | (AmendCommand() as old, AmendCommand() as new):
            alike = structs.replace(old, price=new.price, quantity=new.quantity) == new
            return alike and _is_near(old.quantity, new.quantity)
        case _:
            return one == other


def _is_near(one: Decimal | None, other: Decimal | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= _MOVED * one
