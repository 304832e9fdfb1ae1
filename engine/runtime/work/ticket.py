"""What a piece of work is asked to do, and what it has come to."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from engine.kernel.orders import Order, Side
from engine.kernel.strategy import Done, DoneStatus, Purpose

ZERO = Decimal(0)


class Ticket(msgspec.Struct, frozen=True):
    """One quantity to be worked.

    Attributes:
        handle: Handle of the piece of work, the `parent` of its orders.
        instance: For whom.
        symbol: Canonical symbol.
        side: Direction.
        quantity: Base coins.
        reduce_only: Whether it may only reduce.
        purpose: Why.
    """

    handle: str
    instance: str
    symbol: str
    side: Side
    quantity: Decimal
    reduce_only: bool = False
    purpose: Purpose = Purpose.ENTRY

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "handle": self.handle,
            "instance": self.instance,
            "symbol": self.symbol,
            "side": self.side.value,
            "quantity": str(self.quantity),
            "reduce_only": self.reduce_only,
            "purpose": self.purpose.value,
        }

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> Ticket:
        """Return what `to_dict` saved."""
        return cls(
            handle=str(body["handle"]),
            instance=str(body["instance"]),
            symbol=str(body["symbol"]),
            side=Side(body["side"]),
            quantity=Decimal(body["quantity"]),
            reduce_only=bool(body["reduce_only"]),
            purpose=Purpose(body["purpose"]),
        )


class Tally(msgspec.Struct):
    """Sum of the settled orders of a piece of work: base coins, quote amount, fees, and their client ids."""

    quantity: Decimal = ZERO
    notional: Decimal = ZERO
    fees: Decimal = ZERO
    children: list[str] = msgspec.field(default_factory=list)

    def add_order(self, order: Order) -> None:
        """Add a settled order."""
        self.quantity += order.filled
        self.notional += order.filled_notional
        self.fees += order.fees
        self.children.append(order.client_id)

    def add_done(self, done: Done) -> None:
        """Add what a part of the work has come to."""
        self.quantity += done.quantity
        self.notional += done.notional
        self.fees += done.fees
        self.children.extend(done.children)

    def done(
        self, handle: str, kind: str, symbol: str, status: DoneStatus, reason: str = "", unspent: Decimal = ZERO
    ) -> Done:
        """Return the report of the whole."""
        return Done(
            handle=handle,
            kind=kind,
            symbol=symbol,
            status=status,
            quantity=self.quantity,
            average_price=self.notional / self.quantity if self.quantity else None,
            notional=self.notional,
            fees=self.fees,
            unspent=unspent,
            children=tuple(self.children),
            reason=reason,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "quantity": str(self.quantity),
            "notional": str(self.notional),
            "fees": str(self.fees),
            "children": self.children.copy(),
        }

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> Tally:
        """Return what `to_dict` saved."""
        children: Iterable[str] = body["children"]
        return cls(Decimal(body["quantity"]), Decimal(body["notional"]), Decimal(body["fees"]), list(children))
