"""What risk sees of the engine, and what it tells about limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from engine.kernel.instruments import Instrument
from engine.kernel.market import Quote
from engine.kernel.orders import Order, Side


class RiskView(Protocol):
    """Orders, ledgers and prices of one account. None means: not known; an order that needs it is refused."""

    def instrument(self, symbol: str) -> Instrument:
        """Return an instrument; raises `UnknownSymbol`."""

    def quote(self, symbol: str) -> Quote | None:
        """Return the best bid and ask."""

    def mark(self, symbol: str) -> float | None:
        """Return the mark price."""

    def is_book_broken(self, symbol: str) -> bool:
        """Return whether the order book has lost its sequence."""

    def age_ms(self, symbol: str) -> int | None:
        """Return how long ago market data of a symbol last arrived."""

    def instruments_age_s(self) -> float:
        """Return how long ago the venue's instruments were read."""

    def leverage(self, symbol: str) -> Decimal | None:
        """Return the leverage of an instrument, 1 on spot; None while it is not known."""

    def free_usd(self, currency: str | None) -> Decimal | None:
        """Return what is free of a currency, or (None) of all, in USD; None while it is not known."""

    def ledgers(self) -> Iterable[tuple[str, str, Decimal]]:
        """Return (instance, symbol, signed base coins) of every ledger that is not flat, `manual` included."""

    def holdings(self) -> Sequence[tuple[str, str, Decimal]]:
        """Return the same without what is too little for any order to close: the part of a lot that a fee left over."""

    def ledger_quantity(self, instance: str, symbol: str) -> Decimal:
        """Return the signed base coins of one ledger."""

    def account_quantity(self, symbol: str) -> Decimal:
        """Return the signed base coins of the account's position."""

    def reducible(self, instance: str, symbol: str, side: Side) -> Decimal:
        """Return how much of what an instance holds orders of a side may reduce, in base units."""

    def working(self, symbol: str | None = None, instance: str | None = None) -> Sequence[Order]:
        """Return working orders, UNKNOWN and external ones included."""

    def unbooked(self) -> Sequence[Order]:
        """Return final orders of which more is reported filled than is booked: their fills are still exposure."""

    def order(self, client_id: str) -> Order | None:
        """Return an order, working or recently final."""

    def equity(self) -> Decimal | None:
        """Return the account's equity, USD."""

    def profit(self) -> Decimal | None:
        """Return the account's profit over all its life, open profit included, USD."""

    def day_profit(self) -> Decimal | None:
        """Return the account's profit since 00:00 UTC, USD."""

    def instance_profit(self, instance: str) -> Decimal | None:
        """Return realised + unrealised + funding - fees of an instance, USD."""

    def fx(self, currency: str) -> Decimal:
        """Return USD per unit of a quote currency; raises when it is not known."""


@dataclass(slots=True, frozen=True)
class LimitUse:
    """How much of a limit is used.

    Attributes:
        scope: `account`, or the name of an instance.
        rule: Name of the limit, as in the configuration.
        used: What is used, in `unit`.
        limit: The limit, in `unit`.
        unit: USD, orders, x or 1/min.
    """

    scope: str
    rule: str
    used: Decimal
    limit: Decimal
    unit: str

    @property
    def share(self) -> float:
        """Return used / limit."""
        return float(self.used / self.limit) if self.limit else 0.0
