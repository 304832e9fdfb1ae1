"""What an account would hold at worst, whichever of its working orders fill.

A ledger that holds `h` coins with buys B and sells S working ends between `h - S` and `h + B`; its exposure is the
largest notional on that way. Ledgers of different instances are not netted, so that an instance that reduces can
never raise the exposure of the account.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from engine.kernel.orders import Order, OrderType, Side

ZERO = Decimal(0)
LedgerKey = tuple[str, str]
"""Instance and symbol."""


@dataclass(slots=True)
class WorkingSide:
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


@dataclass(slots=True)
class LedgerExposure:
    """One ledger and its working orders; `reference` is the present price in USD."""

    held: Decimal
    reference: Decimal
    buys: WorkingSide = field(default_factory=WorkingSide)
    sells: WorkingSide = field(default_factory=WorkingSide)

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

    def room(self, side: Side, price: Decimal, limit: Decimal) -> Decimal:
        """Return the largest order of a side at `price` that keeps the worst case within `limit`; never negative."""
        ahead = self.held if side is Side.BUY else -self.held
        working = self.buys if side is Side.BUY else self.sells
        if ahead >= ZERO:
            left = (limit - ahead * self.reference - working.notional) / price
        else:
            left = limit / max(working.dearest, price) - working.quantity - ahead
        return max(ZERO, left)

    def _toward(self, ahead: Decimal, working: WorkingSide) -> Decimal:
        """Return the notional when one side fills whole; `ahead` is what is held in that direction."""
        if ahead >= ZERO:
            return ahead * self.reference + working.notional
        return max(ZERO, working.quantity + ahead) * working.dearest


@dataclass(slots=True, frozen=True)
class SymbolPrice:
    """Present price of a symbol in USD, and USD per unit of its quote currency."""

    usd: Decimal
    fx: Decimal


def ledger_exposures(
    ledgers: Iterable[tuple[str, str, Decimal]],
    orders: Iterable[Order],
    extent: Callable[[Order], tuple[Decimal, Decimal | None]],
    price_of: Callable[[str], SymbolPrice],
) -> dict[LedgerKey, LedgerExposure]:
    """Return the exposure of every ledger that holds something or has orders.

    Args:
        ledgers: (instance, symbol, signed base coins).
        orders: Working orders; stops do not count, they only reduce.
        extent: Base coins that an order may still trade, and its price in quote.
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
        key = (order.instance, symbol)
        exposure = found.get(key)
        if exposure is None:
            exposure = found[key] = LedgerExposure(ZERO, price.usd)
        quantity, limit = extent(order)
        side = exposure.buys if order.side is Side.BUY else exposure.sells
        side.add(quantity, price.usd if limit is None else limit * price.fx)
    return found
