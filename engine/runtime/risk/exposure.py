"""What an account would hold at worst, whichever of its working orders fill.

A ledger that holds `h` coins with buys B and sells S working ends between `h - S` and `h + B`; its exposure is the
largest notional on that way. Ledgers of different strategies are not netted, so that one that reduces can never raise
the exposure of the account; what a person holds against them is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

import msgspec

from engine.kernel.orders import Order, OrderType, Side
from engine.runtime.accounts import MANUAL

ZERO, ONE = Decimal(0), Decimal(1)
LedgerKey = tuple[str, str]
"""Instance and symbol."""


class WorkingSide(msgspec.Struct):
    """The working orders of one side: base coins, their notional in USD, and the dearest price in USD."""

    quantity: Decimal = ZERO
    notional: Decimal = ZERO
    dearest: Decimal = ZERO

    def add(self, quantity: Decimal, price: Decimal) -> None:
        """Count one order more."""
        self.quantity += quantity
        self.notional += quantity * price
        if price > self.dearest:
            self.dearest = price

    def with_order(self, quantity: Decimal, price: Decimal) -> WorkingSide:
        """Return a copy of this side with one order more."""
        return WorkingSide(self.quantity + quantity, self.notional + quantity * price, max(self.dearest, price))


class LedgerExposure(msgspec.Struct):
    """One ledger and its working orders; `reference` is the present price in USD."""

    held: Decimal
    reference: Decimal
    buys: WorkingSide = msgspec.field(default_factory=WorkingSide)
    sells: WorkingSide = msgspec.field(default_factory=WorkingSide)

    def worst(self) -> Decimal:
        """Return the largest notional that can come of it, USD."""
        return max(
            abs(self.held) * self.reference,
            self._toward(self.held, self.buys),
            self._toward(-self.held, self.sells),
        )

    def with_order(self, side: Side, quantity: Decimal, price: Decimal) -> LedgerExposure:
        """Return a copy of this exposure with one order more; `price` in USD."""
        if side is Side.BUY:
            return LedgerExposure(self.held, self.reference, self.buys.with_order(quantity, price), self.sells)
        return LedgerExposure(self.held, self.reference, self.buys, self.sells.with_order(quantity, price))

    def firm(self) -> Decimal:
        """Return the held quantity that is left when every working order against it fills, unsigned."""
        against = self.sells if self.held > ZERO else self.buys
        return max(ZERO, abs(self.held) - against.quantity)

    def _toward(self, ahead: Decimal, working: WorkingSide) -> Decimal:
        """Return the notional when one side fills whole; `ahead` is what is held in that direction."""
        if ahead >= ZERO:
            return ahead * self.reference + working.notional
        return max(ZERO, working.quantity + ahead) * working.dearest


class SymbolPrice(msgspec.Struct, frozen=True):
    """Present price of a symbol in USD, and USD per unit of its quote currency."""

    usd: Decimal
    fx: Decimal


def gross_notional(exposures: Mapping[LedgerKey, LedgerExposure], instance: str | None = None) -> Decimal:
    """Return the worst-case notional of an instance, or of the account, USD."""
    if instance is not None:
        return sum((e.worst() for (owner, _), e in exposures.items() if owner == instance), ZERO)
    return sum((e.worst() for e in exposures.values()), -netted_by_hand(exposures))


def netted_by_hand(exposures: Mapping[LedgerKey, LedgerExposure]) -> Decimal:
    """Return the notional, USD, that strategies and the operator hold against each other, counted on both sides.

    Only what no working order would take away counts.
    """
    netted = ZERO
    for (instance, symbol), manual in exposures.items():
        if instance == MANUAL and manual.held:
            against = sum(
                (e.firm() for (_, name), e in exposures.items() if name == symbol and e.held * manual.held < ZERO), ZERO
            )
            netted += 2 * min(manual.firm(), against) * manual.reference
    return netted


def ledger_exposures(
    ledgers: Iterable[tuple[str, str, Decimal]],
    orders: Iterable[Order],
    extent: Callable[[Order], tuple[Decimal, Decimal | None]],
    price_of: Callable[[str], SymbolPrice],
) -> dict[LedgerKey, LedgerExposure]:
    """Return the exposure of every ledger that holds something or has orders.

    Args:
        ledgers: (instance, symbol, signed base coins).
        orders: Orders that may still bring something; stops do not count, they only reduce.
        extent: Base coins that an order may still bring, and its price in quote.
        price_of: Price of a symbol; raises when it is not known.
    """
    found: dict[LedgerKey, LedgerExposure] = {}
    prices: dict[str, SymbolPrice] = {}
    for instance, symbol, held in ledgers:
        if held:
            price = prices.get(symbol) or prices.setdefault(symbol, price_of(symbol))
            found[(instance, symbol)] = LedgerExposure(held, price.usd)
    for order in orders:
        if order.type is OrderType.STOP:
            continue
        symbol = order.symbol
        price = prices.get(symbol) or prices.setdefault(symbol, price_of(symbol))
        exposure = found.get((order.instance, symbol))
        if exposure is None:
            exposure = found[(order.instance, symbol)] = LedgerExposure(ZERO, price.usd)
        quantity, limit = extent(order)
        side = exposure.buys if order.side is Side.BUY else exposure.sells
        side.add(quantity, price.usd if limit is None else limit if price.fx == ONE else limit * price.fx)
    return found
