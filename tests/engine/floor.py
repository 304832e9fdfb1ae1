"""A whole engine on the real paper exchange and a real journal, on a virtual clock, driven by hand."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from drivers.paper.config import MemoryStore, PaperConfig, QueueModel
from drivers.paper.driver import PaperDriver
from drivers.paper.markets.scripted import ScriptedMarket
from engine.io.journal import Journal
from engine.io.writer import WriterThread
from engine.kernel.clock import NS_PER_S, Rng, VirtualClock
from engine.kernel.errors import CtosError
from engine.kernel.event_bus import EventBus
from engine.kernel.instruments import Instrument
from engine.kernel.market import FundingRate, MarkPrice, Trade
from engine.kernel.orders import Order, OrderType, Side
from engine.kernel.strategy import RiskParams
from engine.kernel.syscalls import VenueFeatures
from engine.runtime.accounts import MANUAL, Account, AccountLimits
from engine.runtime.events import (
    CommandRefused,
    EngineAlarm,
    FillBooked,
    FundingShared,
    OrderChanged,
    PanicProgress,
    WorkDone,
)
from engine.runtime.execution import ExecutionEngine
from engine.runtime.shell import ImmediateShell
from tests.paper.venue import FREE, PERP, SPOT, START_NS, instruments

BUY, SELL = Side.BUY, Side.SELL
ROOMY = AccountLimits(
    max_notional_usd=Decimal(10_000_000), max_order_usd=Decimal(1_000_000), max_leverage=Decimal(1000)
)


def d(value: object) -> Decimal:
    return Decimal(str(value))


class Floor:
    """Market, venue, journal and engine. `touch` mode: a print is bid, ask and mark; everything there fills.

    Args:
        directory: Where the journal is; a second floor on the same one is a restart.
        store: The venue's state; shared between restarts.
        driver_of: Wraps the driver, to script its answers.
    """

    def __init__(
        self,
        directory: Path,
        store: MemoryStore | None = None,
        *,
        start_ns: int = START_NS,
        limits: AccountLimits = ROOMY,
        listed: list[Instrument] | None = None,
        features: VenueFeatures | None = None,
        driver_of: Callable[[PaperDriver], Any] = lambda driver: driver,
        armed: bool = True,
        started: bool = True,
        queue: QueueModel = QueueModel.TOUCH,
        **config: Any,
    ) -> None:
        self.clock = VirtualClock(start_ns)
        self.market = ScriptedMarket(listed or instruments(), start_ns=start_ns)
        self.store = store or MemoryStore()
        settings = {"balances": {"USD": Decimal(100_000)}, **FREE, **config}
        self.venue = PaperDriver(self.market, self.clock, Rng(1), PaperConfig(queue=queue, **settings), self.store)
        if features is not None:
            self.venue.features = features
        self.driver = driver_of(self.venue)
        self.bus = EventBus()
        self.writer = WriterThread(None, _raise)
        self.journal = Journal(directory / "ctos.db", self.writer, ballast_bytes=0)
        self.operations: list[tuple[str, dict[str, Any]]] = []
        self.account = Account(0, "test", "paper", limits=limits, default_quote="USD")
        self.engine = ExecutionEngine(
            self.account,
            self.driver,
            self.clock,
            Rng(7),
            self.bus,
            self.journal,
            ImmediateShell(),
            lambda op, **fields: self.operations.append((op, fields)),
        )
        self.events: list[Any] = []
        kinds = (OrderChanged, FillBooked, FundingShared, WorkDone, CommandRefused, EngineAlarm, PanicProgress)
        for kind in kinds:
            self.bus.subscribe(kind, self.events.append)
        if started:
            self.start()
        if armed:
            self.engine.arm("test")

    def start(self) -> None:
        """Start the engine and watch every instrument."""
        ImmediateShell().run(self.engine.start(), lambda _: None, _raise)
        for symbol in self.engine.instruments:
            self.engine.market.watch(symbol)
        self.run(0.001)

    def admit(self, *names: str, **params: Any) -> None:
        """Put roomy limits for instances in force."""
        notional = params.get("max_notional_usd", d(1_000_000))
        roomy = {"max_notional_usd": notional, "max_order_usd": notional, "max_cmds_per_min": 600}
        for name in names:
            self.engine.risk.admit(name, RiskParams(**{**roomy, **params}), Decimal(1_000_000))

    def run(self, seconds: float = 0.02) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    def run_to(self, time_ns: int) -> None:
        """Let time pass until a moment."""
        self.clock.advance((time_ns - self.clock.now_ns()) / NS_PER_S)

    def print(self, price: float, size: float = 1.0, symbol: str = PERP) -> None:
        """Play a print now, and let what it caused happen."""
        self.play(Trade(symbol, self.clock.now_ms(), price, size, SELL, "1"))
        self.run()

    def play(self, event: Trade | MarkPrice | FundingRate) -> None:
        """Play a market event now."""
        self.market.add(self.clock.now_ns(), event)
        self.venue.pump_until(self.clock.now_ns())

    def order(
        self,
        side: Side,
        quantity: object,
        price: object = None,
        type: OrderType = OrderType.LIMIT,
        instance: str = MANUAL,
        symbol: str = PERP,
        trigger: object = None,
        **flags: Any,
    ) -> Order:
        """Submit an order, let it arrive, and return it."""
        order = self.submit(side, quantity, price, type, instance, symbol, trigger, **flags)
        self.run()
        return order

    def submit(
        self,
        side: Side,
        quantity: object,
        price: object = None,
        type: OrderType = OrderType.LIMIT,
        instance: str = MANUAL,
        symbol: str = PERP,
        trigger: object = None,
        **flags: Any,
    ) -> Order:
        """Submit an order and return it, before anything happens."""
        client_id = self.engine.submit(
            instance,
            symbol,
            side,
            type,
            d(quantity),
            None if price is None else d(price),
            None if trigger is None else d(trigger),
            **flags,
        )
        order = self.engine.tracker.get(client_id)
        assert order is not None
        return order

    def hold(self, quantity: object, price: float = 100.0, instance: str = MANUAL) -> None:
        """Have an instance buy (or, below zero, sell) at a price."""
        self.print(price)
        side = BUY if d(quantity) > 0 else SELL
        self.order(side, abs(d(quantity)), type=OrderType.MARKET, instance=instance)
        assert self.ledger(instance) == d(quantity)

    def ledger(self, instance: str = MANUAL, symbol: str = PERP) -> Decimal:
        """Return what an instance holds."""
        return self.engine.portfolio.ledger(instance, symbol).quantity

    def venue_quantity(self, symbol: str = PERP) -> Decimal:
        """Return what the venue says the account holds."""
        return self.venue.exchange.account.position(self.venue.exchange.instruments[symbol])

    def venue_orders(self) -> list[str]:
        """Return the client ids of the orders that rest at the venue."""
        return [update.client_id for update in self.venue.exchange.open_orders()]

    def fills(self) -> list[FillBooked]:
        """Return the fills that were delivered."""
        return [event for event in self.events if isinstance(event, FillBooked)]

    def alarms(self) -> list[str]:
        """Return the kinds of the alarms that were raised."""
        return [event.kind for event in self.events if isinstance(event, EngineAlarm)]

    def ops(self) -> list[str]:
        """Return the names of the operations that were logged."""
        return [op for op, _ in self.operations]

    def restart(self, directory: Path, **options: Any) -> Floor:
        """End this engine as a crash would, and start another on the same journal and venue."""
        self.journal.flush()
        self.journal.close()
        options.setdefault("start_ns", self.clock.now_ns() + 60 * NS_PER_S)
        return Floor(directory, MemoryStore(self.store.state), **options)

    def check_books(self) -> None:
        """Hold that ledgers, tracker and venue agree."""
        engine = self.engine
        for symbol in engine.instruments:
            if engine.instruments[symbol].is_perp:
                assert engine.portfolio.quantity(symbol) == self.venue_quantity(symbol)
                parts = sum((held for _, name, held in engine.portfolio.ledgers() if name == symbol), Decimal(0))
                assert parts == engine.portfolio.quantity(symbol)
        known = sorted(order.client_id for order in engine.tracker.working() if not order.held)
        assert known == sorted(self.venue_orders())
        booked = {(b.fill.symbol, b.fill.trade_id) for b in engine.portfolio.fills.recent()}
        adopted = engine.core.state.adopted_until
        happened = {(f.symbol, f.trade_id) for f in self.venue.exchange.registry.fills if f.ts > adopted}
        assert booked == happened


def _raise(error: CtosError) -> None:
    raise error


__all__ = ["BUY", "MANUAL", "PERP", "SELL", "SPOT", "Floor", "d"]
