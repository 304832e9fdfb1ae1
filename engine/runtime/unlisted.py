"""What the venue does not list any more, or does not trade now, while something of ours names it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from engine.io.journal import Journal
from engine.kernel.account import Position
from engine.kernel.clock import TimerHandle
from engine.kernel.orders import Fill, OrderUpdate
from engine.runtime.core import EngineCore

KEEP_EVERY_S = 60.0
WORTHLESS = 1e-12
"""What values something that has neither a last price nor a cost."""
_TABLE = "notes"


class UnlistedInstruments:
    """Keeps what we hold or ordered known when its listing has ended, and valued while it does not trade.

    Args:
        core: The engine's shared parts.
        journal: Keeps the last prices of what is held or ordered.
    """

    def __init__(self, core: EngineCore, journal: Journal) -> None:
        self._core = core
        self._journal = journal
        self._key = f"{core.account.key}/last_prices"
        self._prices: dict[str, float] = {}
        self._untold: dict[str, float] = {}
        self._timer: TimerHandle | None = None

    def restore(self) -> None:
        """Know every instrument that the journal's orders, work and ledgers name."""
        saved = self._journal.get(_TABLE, self._key)
        self._prices = {} if saved is None else msgspec.json.decode(saved, type=dict[str, float])
        state = self._core.state
        names = {order.symbol for order in (*self._core.working(), *self._core.unbooked())}
        names.update(self._core.portfolio.traded_symbols())
        names.update(symbol for body in state.works.values() for symbol in _symbols_of(body))
        self.know(names)

    def know(self, symbols: Iterable[str]) -> None:
        """Know these instruments, as delisted where the venue does not list them; harmless for what is known."""
        market = self._core.market
        for symbol in sorted(set(symbols) - market.instruments.keys()):
            market.keep(symbol)
        self._value()

    def know_told(self, orders: Iterable[OrderUpdate], fills: Iterable[Fill], positions: Iterable[Position]) -> None:
        """Know every instrument that the venue's first answers name."""
        names = {order.symbol for order in orders} | {fill.symbol for fill in fills}
        self.know(names | {position.symbol for position in positions})

    def start(self) -> None:
        """Tell of what is delisted now, and begin to keep prices."""
        market = self._core.market
        self._value()
        tell_unlisted(self._core, [symbol for symbol in market.instruments if not market.is_listed(symbol)])
        self._keep_later()
        self._save()

    def stop(self) -> None:
        """Keep the prices of now, and no more."""
        if self._timer is not None:
            self._save()
            self._timer.cancel()
            self._timer = None

    def _keep_later(self) -> None:
        self._timer = self._core.clock.call_later(KEEP_EVERY_S, self._keep)

    def _keep(self) -> None:
        self._keep_later()
        self._tell()
        self._value()
        self._save()

    def _value(self) -> None:
        """Value what is ours, does not trade and has no price: at its last price, else at its cost or limit."""
        core = self._core
        for symbol in self._ours():
            if core.market.is_trading(symbol) or core.market.price(symbol) is not None:
                continue
            cost = core.portfolio.position(symbol).entry_price
            limits = [order.price or order.trigger_price for order in core.working(symbol)]
            price = self._prices.get(symbol) or next((float(each) for each in (cost, *limits) if each), WORTHLESS)
            core.market.stand_in(symbol, price)
            self._untold[symbol] = price

    def _tell(self) -> None:
        """Tell of what has been valued so since the last look; of what is not listed, `tell_unlisted` tells."""
        untold, self._untold = self._untold, {}
        for symbol, price in untold.items():
            if self._core.market.is_listed(symbol) and self._core.market.price(symbol) == price:
                text = f"{symbol} does not trade now and has no price: it is valued at {price:g} until it has one"
                self._core.alarm("suspended", text, symbol)

    def _save(self) -> None:
        prices: dict[str, float] = {}
        for symbol in self._ours():
            price = self._core.market.price(symbol) or self._prices.get(symbol)  # none comes in the first moments
            if price is not None:
                prices[symbol] = price
        if prices != self._prices and self._journal.failed is None:
            self._prices = prices
            self._journal.put(_TABLE, self._key, msgspec.json.encode(prices))

    def _ours(self) -> list[str]:
        held = {symbol for _, symbol, _ in self._core.ledgers()}
        return sorted(held | {order.symbol for order in (*self._core.working(), *self._core.unbooked())})


def tell_unlisted(core: EngineCore, symbols: Iterable[str]) -> None:
    """Tell a person what is held or ordered of instruments that are not listed any more."""
    for symbol in symbols:
        held, orders = core.account_quantity(symbol), len(core.working(symbol))
        price = core.portfolio.mark(symbol)
        valued = "without a price" if price is None else f"valued at the last known price {price:f}"
        has = [f"{held:f} held, {valued}"] if held else []
        has += [f"{orders} working order{'' if orders == 1 else 's'}"] if orders else []
        if has:
            text = f"{symbol} is not listed any more: {', '.join(has)}; it cannot be traded here, look at the venue"
            core.alarm("delisted", text, symbol)


def _symbols_of(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield the symbols that a saved piece of work names, its own and those of its parts."""
    for name, value in body.items():
        if name == "symbol":
            yield str(value)
        elif isinstance(value, Mapping):
            yield from _symbols_of(value)
