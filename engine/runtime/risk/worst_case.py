"""What one more order would do to the worst case of the account, in USD or in coins."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import chain

from engine.kernel.errors import RiskReject
from engine.kernel.orders import Order, OrderRequest, Pending
from engine.runtime.risk.checks import ExposureChange
from engine.runtime.risk.exposure import LedgerExposure, LedgerKey, SymbolPrice, ledger_exposures
from engine.runtime.risk.view import RiskView

ZERO, ONE = Decimal(0), Decimal(1)
_A_COIN = SymbolPrice(ONE, ONE)


class WorstCase:
    """Exposures of one account, with amendments in flight at their larger.

    Args:
        view: The engine's orders, ledgers and prices.
    """

    def __init__(self, view: RiskView) -> None:
        self._view = view
        self._amended: dict[str, tuple[Decimal, Decimal | None]] = {}

    def remember_amendment(self, client_id: str, quantity: Decimal, price: Decimal | None) -> None:
        """Count an order at the larger of what it is and what an amendment makes it, until that is answered."""
        self._amended[client_id] = (quantity, price)

    def exposures(self, orders: Iterable[Order]) -> dict[LedgerKey, LedgerExposure]:
        """Return the exposure of every ledger, USD, with `orders` working.

        Raises:
            RiskReject: The price of something that is held or ordered is not known.
        """
        orders = chain(orders, self._view.unbooked())
        return ledger_exposures(self._view.ledgers(), orders, self.extent, self._price_of)

    def known(self) -> dict[LedgerKey, LedgerExposure] | None:
        """Return the exposure of every ledger, USD; None when a price is missing."""
        try:
            return self.exposures(self._view.working())
        except RiskReject:
            return None

    def change(
        self, request: OrderRequest, price_usd: Decimal, replacing: str, orders: Sequence[Order]
    ) -> ExposureChange:
        """Return what an order does to exposure, in USD.

        Args:
            request: The order.
            price_usd: Its price.
            replacing: Client id of the working order whose place it takes.
            orders: Working orders.

        Raises:
            RiskReject: The price of something that is held or ordered is not known.
        """
        before = without = self.exposures(orders)
        if replacing:
            without = self.exposures(order for order in orders if order.client_id != replacing)
        key = (request.instance, request.symbol)
        if key not in without:
            without[key] = LedgerExposure(ZERO, self._price_of(request.symbol).usd)
        return ExposureChange(request, self._view.instrument(request.symbol), price_usd, before, without)

    def is_raised_by(self, request: OrderRequest, replacing: str) -> bool:
        """Return whether a plain order raises what the account may hold of its symbol at worst, in coins.

        It needs no price, so that missing data cannot turn a reduction into something else.

        Args:
            request: The order.
            replacing: Client id of the working order whose place it takes.
        """
        symbol = request.symbol
        orders = [*self._view.working(symbol=symbol)]
        orders += (order for order in self._view.unbooked() if order.symbol == symbol)
        before = without = self._in_coins(symbol, orders)
        if replacing:
            without = self._in_coins(symbol, (order for order in orders if order.client_id != replacing))
        without.setdefault((request.instance, symbol), LedgerExposure(ZERO, ONE))
        change = ExposureChange(request, self._view.instrument(symbol), ONE, before, without)
        return change.excess(None, ZERO) is not None

    def extent(self, order: Order) -> tuple[Decimal, Decimal | None]:
        """Return quantity and price that an order may still bring."""
        quantity, price = order.exposed_quantity, order.price
        if self._amended and (amended := self._amended.get(order.client_id)) is not None:
            if order.pending is Pending.NONE:  # a cancel that came after it does not say that it was not carried out
                del self._amended[order.client_id]
            else:
                quantity = max(quantity, amended[0])
                price = price if price is None or amended[1] is None else max(price, amended[1])
        return quantity, price

    def _in_coins(self, symbol: str, orders: Iterable[Order]) -> dict[LedgerKey, LedgerExposure]:
        ledgers = (ledger for ledger in self._view.ledgers() if ledger[1] == symbol)
        return ledger_exposures(ledgers, orders, lambda order: (self.extent(order)[0], None), lambda _: _A_COIN)

    def _price_of(self, symbol: str) -> SymbolPrice:
        view = self._view
        price, quote, instrument = view.mark(symbol), view.quote(symbol), view.instrument(symbol)
        if price is None and quote is not None and quote.is_whole:
            price = quote.mid
        if price is None:
            raise RiskReject("market_data", "", f"no price of {symbol}, which is held or has orders")
        fx = view.fx(instrument.quote)
        return SymbolPrice(instrument.price_from_float(price) * fx, fx)
