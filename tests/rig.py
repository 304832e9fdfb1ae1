"""A whole system without files and loop: scripted market, paper venue, engine, strategies, on a virtual clock.

`Rig(tmp_path)` starts it, `rig.launch(...)` runs a strategy, `rig.path(100, 96.12)` plays prints one second apart, and
`rig.restart()` kills it and starts another one on the same journal and venue.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from drivers.paper.config import MemoryStore
from drivers.paper.driver import PaperDriver
from drivers.paper.markets.scripted import ScriptedMarket
from engine.kernel.clock import NS_PER_S, Rng, VirtualClock
from engine.kernel.market import Bar, BookUpdate, Trade
from engine.kernel.orders import Order, Side
from engine.kernel.strategy import Strategy
from engine.runtime.data import BarFeed
from engine.runtime.events import InstanceChanged, LogLine
from engine.runtime.instance import StrategyInstance
from engine.runtime.shell import ImmediateShell
from engine.runtime.strategies import StrategyManager
from engine.runtime.watchdog import HandlerWatch
from strategies.dyn_grid import DynGrid
from strategies.mean_reversion import MeanReversion
from tests.engine.floor import Floor
from tests.engine.scripted_desk import NO_OFFSET
from tests.paper.venue import PERP

CLASSES = (DynGrid, MeanReversion)


class Rig(Floor):
    """A floor with strategies on it.

    Attributes:
        anomalies: (kind, symbol, instance, severity) of each anomaly that a strategy or the manager raised.
        lines: Log lines as (level, source, text).
    """

    def __init__(
        self,
        directory: Path,
        store: MemoryStore | None = None,
        *,
        classes: Iterable[type[Strategy[Any]]] = CLASSES,
        first_price: float | None = 100.0,
        history: dict[tuple[str, str], list[Bar]] | None = None,
        armed: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(directory, store, started=False, armed=False, **options)
        self.directory = directory
        self.classes = tuple(classes)
        self._options = options
        if history is not None:
            self.market._history = history
        self.anomalies: list[tuple[str, str, str, str]] = []
        self.lines: list[tuple[str, str, str]] = []
        self.engine.works._params = NO_OFFSET
        self.bus.subscribe(LogLine, lambda line: self.lines.append((line.level, line.source, line.text)))
        self.bus.subscribe(InstanceChanged, self.events.append)
        self.watch = HandlerWatch()
        self.bars = BarFeed(self.driver, self.clock, ImmediateShell(), lambda what, error: _fail(what, error))
        self.manager = StrategyManager(
            self.engine,
            self.bars,
            {strategy.name: strategy for strategy in self.classes},
            Rng(5),
            [PERP],
            lambda kind, symbol, instance, value, threshold, text, severity: self.anomalies.append(
                (kind, symbol, instance, severity)
            ),
            self.watch,
        )
        self.manager.restore()
        self.start()
        if first_price is not None:
            self.print(first_price)
        self.manager.start_restored()
        self.run()
        if armed:
            self.engine.arm("test")
            self.run()

    def launch(self, strategy: str, symbols: str = PERP, name: str | None = None, **params: Any) -> StrategyInstance:
        """Run a strategy and let its first orders arrive."""
        given = {key.replace("__", "."): value for key, value in params.items()}
        instance = self.manager.launch(strategy, given, symbols, name)
        self.run()
        return instance

    def path(self, *prices: float, symbol: str = PERP, seconds: float = 1.0) -> None:
        """Play prints, and let time pass after each."""
        for price in prices:
            self.print(price, symbol=symbol)
            self.run(seconds)

    def candles(self, closes: Iterable[float], seconds: float = 60.0, symbol: str = PERP) -> None:
        """Play one print a candle, a second before its end, up to just after the end of the last candle."""
        period_ns = int(seconds * NS_PER_S)
        for close in closes:
            start_ns = self.clock.now_ns() // period_ns * period_ns
            self.play_to(start_ns + period_ns - NS_PER_S)
            self.print(close, symbol=symbol)
            self.play_to(start_ns + period_ns + NS_PER_S // 10)
            self.run()

    def candles_traded(self, closes: Iterable[float], seconds: float = 60.0, symbol: str = PERP) -> None:
        """Like `candles`, with a book around each price."""
        period_ns = int(seconds * NS_PER_S)
        for close in closes:
            start_ns = self.clock.now_ns() // period_ns * period_ns
            self.play_to(start_ns + period_ns - 2 * NS_PER_S)
            self.book(close, symbol)
            self.trade(close, 0.001, symbol=symbol)
            self.play_to(start_ns + period_ns + NS_PER_S // 10)
            self.run()

    def play_to(self, time_ns: int) -> None:
        """Let the market and the clock go on until a moment."""
        self.venue.run_virtual(self.clock, max(time_ns, self.clock.now_ns()))

    def run(self, seconds: float = 0.02) -> None:
        """Let time pass, the venue's own clockwork included."""
        self.play_to(self.clock.now_ns() + round(seconds * NS_PER_S))

    def resting(self, instance: str | None = None, symbol: str | None = None) -> dict[str, tuple[str, str]]:
        """Return price and open quantity of each side's order, as text; fails when a side has two."""
        found: dict[str, tuple[str, str]] = {}
        for order in self.working(instance, symbol):
            assert order.side.value not in found, f"two {order.side.value} orders rest"
            price = order.trigger_price if order.price is None else order.price
            found[order.side.value] = (f"{order.remaining:f}", f"{price:f}")
        return found

    def working(self, instance: str | None = None, symbol: str | None = None) -> list[Order]:
        """Return working orders."""
        return self.engine.tracker.working(symbol, instance)

    def order_of(self, side: Side, instance: str | None = None) -> Order:
        """Return the one working order of a side."""
        (order,) = [order for order in self.working(instance) if order.side is side]
        return order

    def cancel_outside(self, order: Order) -> None:
        """Cancel an order in the venue's own app."""
        self.venue.exchange.cancel(order.venue_order_id, order.symbol)
        self.venue._commit()
        self.run()

    def restart(self, *, prices: Sequence[float] = (), **options: Any) -> Rig:
        """Kill this system; play prices at the venue while it is down; start another one a minute later."""
        self.journal.flush()
        self.journal.close()
        for price in prices:
            self.print_alone(price)
        merged = {**self._options, "classes": self.classes, "first_price": None, **options}
        merged.setdefault("start_ns", self.clock.now_ns() + 60 * NS_PER_S)
        if merged["first_price"] is None:
            merged["first_price"] = prices[-1] if prices else self.venue.exchange.market(PERP).last
        return Rig(self.directory, MemoryStore(self.store.state), **merged)

    def print_alone(self, price: float) -> None:
        """Play a print that only the venue sees."""
        clock = VirtualClock(self.clock.now_ns())
        market = ScriptedMarket(list(self.venue.exchange.instruments.values()), start_ns=clock.now_ns())
        venue = PaperDriver(market, clock, Rng(1), self.venue.exchange.config, self.store)
        market.add(clock.now_ns(), Trade(PERP, clock.now_ms(), price, 1.0, Side.SELL, "1"))
        venue.pump_until(clock.now_ns())

    def book(self, middle: float, symbol: str = PERP) -> None:
        """Show a deep book two ticks around a price; for the queue model that fills from the book."""
        bids = [(round(middle - 0.01 - step, 2), 1000.0) for step in range(5)]
        asks = [(round(middle + 0.01 + step, 2), 1000.0) for step in range(5)]
        self.play(BookUpdate(symbol, self.clock.now_ms(), bids, asks, True))
        self.run()

    def trade(self, price: float, size: float, side: Side = Side.SELL, symbol: str = PERP) -> None:
        """Play a public print of a size; the aggressor's side decides whose orders it meets."""
        self.play(Trade(symbol, self.clock.now_ms(), price, size, side, "1"))
        self.run()

    def log_of(self, source: str) -> list[str]:
        """Return the log lines of an instance."""
        return [text for _, name, text in self.lines if name == source]

    def ledger_of(self, instance: str, symbol: str = PERP) -> Any:
        """Return an instance's ledger."""
        return self.engine.portfolio.ledger(instance, symbol)


def _fail(what: str, error: Exception) -> None:
    raise AssertionError(f"{what}: {error}")
