"""Routes market and account events to the strategy instances that they are for, by direct call."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.kernel.market import BookUpdate, Quote, Trade
from engine.kernel.syscalls import Unsubscribe
from engine.runtime.data import BarFeed
from engine.runtime.events import FillBooked, FundingShared, OrderChanged, TradingStateChanged, WorkDone
from engine.runtime.execution import ExecutionEngine
from engine.runtime.instance import StrategyInstance
from engine.runtime.trading_state import TradingMode

ARMED_TOPIC = "armed"
"""Name of the engine topic that tells running instances that orders are accepted again."""


class MarketRouter:
    """Who sees which symbol. Only handlers that a strategy overrides cost anything.

    Args:
        engine: Its bus carries the events.
        bars: Closed candles.
    """

    def __init__(self, engine: ExecutionEngine, bars: BarFeed) -> None:
        self._engine = engine
        self._bars = bars
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
        for symbol in instance.symbols:
            self._engine.market.watch(symbol)
        self._bar_subscriptions[instance.name] = [
            self._bars.watch(symbol, timeframe, instance.on_bar)
            for symbol in instance.symbols
            for timeframe in instance.timeframes
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


class AccountRouter:
    """Hands every instance its own orders, fills, work and funding.

    Args:
        engine: Its bus carries the events.
        instances: Instances by name, as they are at each event.
        progress: Called with an instance whenever one of its orders or pieces of work has ended.
    """

    def __init__(
        self,
        engine: ExecutionEngine,
        instances: Mapping[str, StrategyInstance],
        progress: Callable[[StrategyInstance], None],
    ) -> None:
        self._instances = instances
        self._progress = progress
        bus = engine.bus
        bus.subscribe(OrderChanged, self._on_order)
        bus.subscribe(FillBooked, self._on_fill)
        bus.subscribe(WorkDone, self._on_done)
        bus.subscribe(FundingShared, self._on_funding)
        bus.subscribe(TradingStateChanged, self._on_trading_state)

    def _on_order(self, event: OrderChanged) -> None:
        """Orders of work in progress are reported by their work."""
        instance = self._instances.get(event.order.instance)
        if instance is None:
            return
        if not event.order.parent:
            instance.on_order(event.order)
        if event.order.state.is_final:
            self._progress(instance)

    def _on_fill(self, event: FillBooked) -> None:
        instance = self._instances.get(event.instance)
        if instance is not None:
            instance.on_fill(event.fill)

    def _on_done(self, event: WorkDone) -> None:
        instance = self._instances.get(event.instance)
        if instance is not None:
            instance.on_done(event.done)
            self._progress(instance)

    def _on_funding(self, event: FundingShared) -> None:
        instance = self._instances.get(event.instance)
        if instance is not None:
            instance.on_funding(event.payment)

    def _on_trading_state(self, event: TradingStateChanged) -> None:
        if event.state == TradingMode.ARMED.value:
            for instance in list(self._instances.values()):
                instance.on_timer(ARMED_TOPIC, None)
