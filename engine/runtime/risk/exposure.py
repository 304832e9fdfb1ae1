"""What an account would hold at worst, whichever of its working orders fill, in any order, and whatever is reduced.

Reductions always pass, so no limit may rest on what is held against an order: it may be reduced away first. A ledger
that holds `h` coins with buys B and sells S working ends between `h + B` and `h - S`, and, once it is reduced to
nothing, as far as those of the orders reach that may also open: plain orders of a side count by their whole, at least.
Reductions never add up to more than is held, so admitting one more never raises the worst case of its ledger.

Ledgers of different strategies are not netted. What a person holds against them cannot come on top of it, but is left
when they reduce: the larger of both counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec

from engine.kernel.orders import Order, OrderType, Side
from engine.runtime.accounts import MANUAL

ZERO, ONE = Decimal(0), Decimal(1)
LedgerKey = tuple[str, str]
"""Instance and symbol."""


class WorkingSide(msgspec.Struct):
    """The working orders of one side.

    Attributes:
        quantity: Base coins.
        notional: What they come to, USD.
        dearest: The highest price, USD.
        plain: Base coins of those that may also open a position.
    """

    quantity: Decimal = ZERO
    notional: Decimal = ZERO
    dearest: Decimal = ZERO
    plain: Decimal = ZERO

    def add(self, quantity: Decimal, price: Decimal, reduce_only: bool) -> None:
        """Count one order more."""
        self.quantity += quantity
        self.notional += quantity * price
        if not reduce_only:
            self.plain += quantity
        if price > self.dearest:
            self.dearest = price

    def with_order(self, quantity: Decimal, price: Decimal) -> WorkingSide:
        """Return a copy of this side with one plain order more."""
        return WorkingSide(
            self.quantity + quantity,
            self.notional + quantity * price,
            max(self.dearest, price),
            self.plain + quantity,
        )


class LedgerExposure(msgspec.Struct):
    """One ledger and its working orders; `reference` is the present price in USD."""

    held: Decimal
    reference: Decimal
    buys: WorkingSide = msgspec.field(default_factory=WorkingSide)
    sells: WorkingSide = msgspec.field(default_factory=WorkingSide)

    def worst(self) -> Decimal:
        """Return the largest notional that can come of it, USD."""
        return max(self.longest(), self.shortest())

    def longest(self) -> Decimal:
        """Return the largest long notional that can come of it, USD."""
        return self._toward(self.held, self.buys)

    def shortest(self) -> Decimal:
        """Return the largest short notional that can come of it, USD, unsigned."""
        return self._toward(-self.held, self.sells)

    def with_order(self, side: Side, quantity: Decimal, price: Decimal) -> LedgerExposure:
        """Return a copy of this exposure with one plain order more; `price` in USD."""
        if side is Side.BUY:
            return LedgerExposure(self.held, self.reference, self.buys.with_order(quantity, price), self.sells)
        return LedgerExposure(self.held, self.reference, self.buys, self.sells.with_order(quantity, price))

    def _toward(self, ahead: Decimal, working: WorkingSide) -> Decimal:
        """Return the notional when one side fills whole; `ahead` is what is held in that direction."""
        if ahead >= ZERO:
            return ahead * self.reference + working.notional
        return max(working.plain, working.quantity + ahead) * working.dearest


class SymbolPrice(msgspec.Struct, frozen=True):
    """Present price of a symbol in USD, and USD per unit of its quote currency."""

    usd: Decimal
    fx: Decimal


def gross_notional(exposures: Mapping[LedgerKey, LedgerExposure], instance: str | None = None) -> Decimal:
    """Return the worst-case notional of an instance, or of the account, USD."""
    if instance is not None:
        return sum((e.worst() for (owner, _), e in exposures.items() if owner == instance), ZERO)
    total = ZERO
    beside_hand: dict[str, list[LedgerExposure]] = {}
    for (owner, symbol), exposure in exposures.items():
        if (MANUAL, symbol) not in exposures:
            total += exposure.worst()
        elif owner != MANUAL:
            beside_hand.setdefault(symbol, []).append(exposure)
    by_hand = ((symbol, exposure) for (owner, symbol), exposure in exposures.items() if owner == MANUAL)
    return total + sum((_with_strategies(e, beside_hand.get(symbol, [])) for symbol, e in by_hand), ZERO)


def _with_strategies(by_hand: LedgerExposure, strategies: Sequence[LedgerExposure]) -> Decimal:
    """Return the worst-case notional, USD, of what is held by hand and by strategies in one symbol."""
    if not strategies:
        return by_hand.worst()
    return max(
        sum((e.worst() for e in strategies), ZERO),
        sum((e.longest() for e in strategies), by_hand.longest()),
        sum((e.shortest() for e in strategies), by_hand.shortest()),
    )


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
        at = price.usd if limit is None else limit if price.fx == ONE else limit * price.fx
        side.add(quantity, at, order.reduce_only)
    return found
