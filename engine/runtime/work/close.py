"""Closing many positions at once: which ones, and at which price."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, TypeVar

from engine.kernel.errors import RiskReject
from engine.kernel.instruments import Instrument
from engine.kernel.orders import Side

BP = Decimal(10_000)
PASSIVE_BP = Decimal(5)


class Closable(Protocol):
    """A position that may be closed."""

    @property
    def symbol(self) -> str:
        """Return the canonical symbol."""

    @property
    def quantity(self) -> Decimal:
        """Return signed base coins."""

    @property
    def unrealised(self) -> Decimal:
        """Return the open profit, in quote."""


C = TypeVar("C", bound=Closable)


@dataclass(slots=True, frozen=True)
class CloseFilter:
    """Which positions are meant; every condition given must hold.

    Attributes:
        side: BUY for long positions, SELL for short ones.
        profit: True for positions in profit, False for those that are not.
        only: Symbols; empty for all.
        ignore: Symbols left alone.
    """

    side: Side | None = None
    profit: bool | None = None
    only: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()

    def takes(self, position: Closable) -> bool:
        """Return whether a position is meant."""
        if not position.quantity or position.symbol in self.ignore:
            return False
        if self.only and position.symbol not in self.only:
            return False
        if self.side is not None and position.quantity * self.side.sign < 0:
            return False
        return self.profit is None or (position.unrealised > 0) is self.profit


def positions_to_close(positions: Iterable[C], wanted: CloseFilter) -> list[C]:
    """Return the positions that a filter takes, in their order."""
    return [position for position in positions if wanted.takes(position)]


def closing_side(quantity: Decimal) -> Side:
    """Return the side that reduces a position."""
    return Side.SELL if quantity > 0 else Side.BUY


def passive_price(instrument: Instrument, side: Side, mark: Decimal | None) -> Decimal:
    """Return the limit at which a position is closed without taking: 5 bp from the mark price, on the far side.

    Raises:
        RiskReject: There is no mark price.
    """
    if mark is None:
        raise RiskReject("market_data", "", f"no mark price of {instrument.symbol} yet")
    return instrument.round_price(side, mark * (1 - side.sign * PASSIVE_BP / BP))
