"""Stop orders that the engine keeps because the venue cannot: fired by the first price that reaches the trigger."""

from __future__ import annotations

from collections.abc import Callable

from engine.kernel.market import MarkPrice, Quote, Trade
from engine.kernel.orders import Order, OrderState, Side
from engine.kernel.syscalls import Unsubscribe
from engine.runtime.core import EngineCore


class HeldStops:
    """Watches last trade and mark price for held stops; while these are lost, the middle of the touch.

    Args:
        core: The engine's shared parts.
        fire: Sends a stop whose trigger was met.
    """

    def __init__(self, core: EngineCore, fire: Callable[[Order], None]) -> None:
        self._core = core
        self._fire = fire
        self._by_symbol: dict[str, list[str]] = {}
        self._subscriptions: list[Unsubscribe] = []

    def keep(self, order: Order) -> None:
        """Begin to watch a stop; it fires at once when the price is beyond its trigger already."""
        self._core.market.watch(order.symbol)
        if not self._subscriptions:
            bus = self._core.bus
            self._subscriptions = [
                bus.subscribe(Trade, self._on_trade),
                bus.subscribe(MarkPrice, self._on_mark),
                bus.subscribe(Quote, self._on_quote),
            ]
        self._by_symbol.setdefault(order.symbol, []).append(order.client_id)
        price = self._core.market.price(order.symbol)
        if price is not None:
            self._check(order.symbol, price)

    def is_watched(self, order: Order) -> bool:
        """Return whether a stop is held: its intent is on the disk, and prices are compared with its trigger."""
        return order.client_id in self._by_symbol.get(order.symbol, ())

    def forget(self, order: Order) -> None:
        """Stop watching an order; harmless when it is not watched."""
        kept = self._by_symbol.get(order.symbol)
        if kept is None or order.client_id not in kept:
            return
        kept.remove(order.client_id)
        if not kept:
            del self._by_symbol[order.symbol]
        if not self._by_symbol:
            for unsubscribe in self._subscriptions:
                unsubscribe()
            self._subscriptions = []

    def _on_trade(self, trade: Trade) -> None:
        if trade.symbol in self._by_symbol:
            self._check(trade.symbol, trade.price)

    def _on_mark(self, mark: MarkPrice) -> None:
        if mark.symbol in self._by_symbol:
            self._check(mark.symbol, mark.mark)

    def _on_quote(self, quote: Quote) -> None:
        if quote.symbol in self._by_symbol and quote.is_whole and self._core.market.are_prints_lost(quote.symbol):
            self._check(quote.symbol, quote.mid)

    def _check(self, symbol: str, price: float) -> None:
        for client_id in tuple(self._by_symbol.get(symbol, ())):
            order = self._core.tracker.get(client_id)
            if order is None or order.state is not OrderState.INTENT:
                if order is not None:
                    self.forget(order)
            elif _is_met(order, price):
                self.forget(order)
                self._fire(order)


def _is_met(order: Order, price: float) -> bool:
    if order.trigger_price is None:
        return False
    trigger = float(order.trigger_price)  # as the price is: 91.18 is a little more than Decimal("91.18")
    return price <= trigger if order.side is Side.SELL else price >= trigger
