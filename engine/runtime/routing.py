"""Routes market events to the strategy instances that want them, by direct call."""

from __future__ import annotations

from collections.abc import Callable

from engine.kernel.market import Bar, BookUpdate, Quote, Trade
from engine.kernel.syscalls import Unsubscribe
from engine.runtime.data import BarFeed
from engine.runtime.execution import ExecutionEngine
from engine.runtime.instance import StrategyInstance


class MarketRouter:
    """Who sees which symbol. Only handlers that a strategy overrides cost anything.

    Args:
        engine: Its bus carries the events.
        bars: Closed candles.
        after_bar: Called when an instance has handled a closed candle.
    """

    def __init__(self, engine: ExecutionEngine, bars: BarFeed, after_bar: Callable[[StrategyInstance], None]) -> None:
        self._engine = engine
        self._bars = bars
        self._after_bar = after_bar
        self._bar_subscriptions: dict[str, list[Unsubscribe]] = {}
        self._quotes: dict[str, list[StrategyInstance]] = {}
        self._trades: dict[str, list[StrategyInstance]] = {}
        self._books: dict[str, list[StrategyInstance]] = {}

    def add(self, instance: StrategyInstance) -> None:
        """Begin to route to an instance."""
        bus = self._engine.bus
        if instance.handles("on_quote"):
            if not self._quotes:
                bus.subscribe(Quote, self._route_quote)
            self._register(self._quotes, instance)
        if instance.handles("on_trade"):
            if not self._trades:
                bus.subscribe(Trade, self._route_trade)
            self._register(self._trades, instance)
        if instance.handles("on_book"):
            if not self._books:
                bus.subscribe(BookUpdate, self._route_book)
            self._register(self._books, instance)

        def handle_bar(bar: Bar) -> None:
            instance.on_bar(bar)
            self._after_bar(instance)

        timeframes = instance.strategy_class.timeframes(instance.params)
        for symbol in instance.symbols:
            self._engine.market.watch(symbol)
        self._bar_subscriptions[instance.name] = [
            self._bars.watch(symbol, timeframe, handle_bar) for symbol in instance.symbols for timeframe in timeframes
        ]

    def remove(self, name: str) -> None:
        """Route nothing to an instance any more."""
        for unsubscribe in self._bar_subscriptions.pop(name, []):
            unsubscribe()
        for routes in (self._quotes, self._trades, self._books):
            for symbol, instances in routes.items():
                routes[symbol] = [instance for instance in instances if instance.name != name]

    @staticmethod
    def _register(routes: dict[str, list[StrategyInstance]], instance: StrategyInstance) -> None:
        for symbol in instance.symbols:
            routes[symbol] = [*routes.get(symbol, []), instance]

    def _route_quote(self, quote: Quote) -> None:
        for instance in self._quotes.get(quote.symbol, ()):
            instance.on_quote(quote)

    def _route_trade(self, trade: Trade) -> None:
        for instance in self._trades.get(trade.symbol, ()):
            instance.on_trade(trade)

    def _route_book(self, update: BookUpdate) -> None:
        for instance in self._books.get(update.symbol, ()):
            instance.on_book(self._engine.market.book(update.symbol))
