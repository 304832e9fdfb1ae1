"""The engine on a real event loop with the real writer thread: intents wait for the disk, answers come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from drivers.paper.config import MemoryStore, PaperConfig, QueueModel
from drivers.paper.driver import PaperDriver
from drivers.paper.markets.scripted import ScriptedMarket
from engine.io.journal import Journal
from engine.io.writer import WriterThread
from engine.kernel.clock import LoopClock, Rng
from engine.kernel.event_bus import EventBus
from engine.kernel.market import Quote, Trade
from engine.kernel.orders import Order, OrderState, OrderType, Side
from engine.runtime.accounts import MANUAL, Account
from engine.runtime.events import OrderChanged
from engine.runtime.execution import ExecutionEngine
from engine.runtime.shell import LoopShell
from tests.engine.floor import d
from tests.paper.venue import PERP, START_NS, instruments


class Live:
    """An engine in real time on a market that prints once."""

    def __init__(self, directory: Path, store: MemoryStore) -> None:
        loop = asyncio.get_running_loop()
        self.clock = LoopClock(loop, START_NS)
        self.market = ScriptedMarket(instruments(), start_ns=START_NS)
        self.market.add(START_NS, Trade(PERP, START_NS // 1_000_000, 100.0, 1.0, Side.SELL, "1"))
        self.bus = EventBus()
        self.errors: list[Exception] = []
        self.writer = WriterThread(loop, self.errors.append)
        self.journal = Journal(directory / "ctos.db", self.writer, ballast_bytes=0)
        config = PaperConfig(balances={"USD": Decimal(10_000)}, queue=QueueModel.TOUCH, latency_ms=1)
        self.driver = PaperDriver(self.market, self.clock, Rng(1), config, store)
        self.shell = LoopShell(loop)
        account = Account(0, "test", "paper", default_quote="USD")
        self.engine = ExecutionEngine(account, self.driver, self.clock, Rng(2), self.bus, self.journal, self.shell)

    async def start(self) -> None:
        await self.engine.start()
        quoted = asyncio.Event()
        self.bus.subscribe(Quote, lambda quote: quoted.set())
        self.engine.market.watch(PERP)
        await self.driver.start()
        await asyncio.wait_for(quoted.wait(), 5)
        self.engine.arm("test")

    async def stop(self) -> None:
        await self.driver.stop()
        self.shell.close()
        self.engine.stop()
        self.journal.close()
        self.writer.close()
        assert self.errors == []

    async def until(self, order: Order, wanted: Callable[[Order], bool]) -> None:
        """Wait until an order is as wanted."""
        if wanted(order):
            return
        done = asyncio.Event()

        def look(event: OrderChanged) -> None:
            if event.order is order and wanted(order):
                done.set()

        end = self.bus.subscribe(OrderChanged, look)
        await asyncio.wait_for(done.wait(), 5)
        end()


async def test_orders_live_and_die_on_the_loop_and_come_back_after_a_restart(tmp_path: Path):
    store = MemoryStore()
    live = Live(tmp_path, store)
    await live.start()
    engine = live.engine
    resting = engine.tracker.get(engine.submit(MANUAL, PERP, Side.BUY, OrderType.LIMIT, d(1), d(99)))
    assert resting is not None and resting.state is OrderState.INTENT
    dropped = engine.tracker.get(engine.submit(MANUAL, PERP, Side.BUY, OrderType.LIMIT, d(2), d(98)))
    assert dropped is not None
    engine.cancel(dropped.client_id)
    assert dropped.state is OrderState.NEVER_SENT
    await live.until(resting, lambda order: order.state is OrderState.OPEN)
    bought = engine.tracker.get(engine.submit(MANUAL, PERP, Side.BUY, OrderType.MARKET, d(3)))
    assert bought is not None
    await live.until(bought, lambda order: order.state is OrderState.FILLED)
    engine.amend(resting.client_id, price=d("99.5"))
    await live.until(resting, lambda order: order.price == d("99.5"))
    await live.stop()

    again = Live(tmp_path, store)
    await again.start()
    (order,) = again.engine.tracker.working()
    assert (order.client_id, order.price, order.label) == (resting.client_id, d("99.5"), resting.label)
    assert again.engine.portfolio.quantity(PERP) == 3
    again.engine.cancel(order.client_id)
    await again.until(order, lambda order: order.state is OrderState.CANCELED)
    report = again.engine.panic("test")
    assert report.asked == [] and again.engine.risk.is_halted
    await again.stop()
