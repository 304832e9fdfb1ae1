"""What a unit of each currency is worth in dollars, by present prices of the venue's own markets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from engine.kernel.errors import CtosError
from engine.kernel.instruments import InstrumentKind, canonical_symbol
from engine.runtime.market import MarketData

ONE = Decimal(1)
DOLLARS = ("USDT", "USDC", "USD")
_KINDS = (InstrumentKind.SPOT, InstrumentKind.PERP)


class DollarRates:
    """Prices currencies; the dollar and its coins count as one.

    Args:
        market: Instruments and prices.
        mark: Returns the exact price of a symbol, None while there is none.
    """

    def __init__(self, market: MarketData, mark: Callable[[str], Decimal | None]) -> None:
        self._market = market
        self._mark = mark

    def rate(self, currency: str) -> Decimal | None:
        """Return USD per unit of a currency, None while no market tells."""
        if currency in DOLLARS:
            return ONE
        for symbol in self._markets(currency):
            price = self._mark(symbol)
            if price:
                return price if self._market.instruments[symbol].base == currency else ONE / price
        return None

    def known(self, currency: str) -> Decimal:
        """Return USD per unit of a currency.

        Raises:
            CtosError: No market gives a price for it now.
        """
        rate = self.rate(currency)
        if rate is None:
            raise CtosError(f"no price of {currency} in USD is known: {self.lack(currency)}")
        return rate

    def market(self, currency: str) -> str | None:
        """Return the market that prices a currency; None for the dollar and where there is none."""
        return None if currency in DOLLARS else next(iter(self._markets(currency)), None)

    def lack(self, currency: str) -> str:
        """Return why a currency has no rate, in words; empty when it has one."""
        if self.rate(currency) is not None:
            return ""
        market = self.market(currency)
        return f"{market} has no price" if market else f"the venue has no market of {currency} in dollars"

    def spot_market(self, coin: str) -> str | None:
        """Return the spot market in dollars of a coin, None for the dollar itself and for what is not listed.

        One that trades is taken before one that does not.
        """
        if coin in DOLLARS:
            return None
        symbols = (canonical_symbol(coin, quote, InstrumentKind.SPOT) for quote in DOLLARS)
        return next(iter(self._trading_first(symbol for symbol in symbols if symbol in self._market.instruments)), None)

    def _markets(self, currency: str) -> list[str]:
        """Return the markets that price a currency: its own, spot first, then those of the dollar in it.

        One that does not trade counts while it has a price, after those that trade.
        """
        symbols = [canonical_symbol(currency, dollar, kind) for kind in _KINDS for dollar in DOLLARS]
        symbols += [canonical_symbol(dollar, currency, InstrumentKind.SPOT) for dollar in DOLLARS]
        return self._trading_first(symbol for symbol in symbols if self._is_alive(symbol))

    def _trading_first(self, symbols: Iterable[str]) -> list[str]:
        return sorted(symbols, key=lambda symbol: not self._market.is_trading(symbol))

    def _is_alive(self, symbol: str) -> bool:
        if symbol not in self._market.instruments:
            return False
        return self._market.is_trading(symbol) or self._market.price(symbol) is not None
