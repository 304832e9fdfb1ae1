"""A trading desk in the simulation: the real engine and driver, a venue's emulator, and a proxy that breaks the wire.

Time is virtual and the network in memory, so that ten minutes of trouble take a moment and happen the same each time.
"""

from __future__ import annotations

import asyncio
import importlib
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from drivers.paper.config import PaperConfig
from drivers.transport.setup import Credentials, VenueSetup, choose_hosts
from engine.boot.venues import JournalVenueStore
from engine.io.journal import Journal
from engine.io.writer import WriterThread
from engine.kernel.clock import NS_PER_S, Rng, sleep
from engine.kernel.errors import CtosError
from engine.kernel.event_bus import EventBus
from engine.kernel.links import LinkState
from engine.kernel.orders import Order, OrderState, OrderType, Side
from engine.kernel.secret import Secret
from engine.kernel.syscalls import Driver
from engine.runtime.accounts import MANUAL, Account, AccountLimits
from engine.runtime.events import CommandRefused, EngineAlarm
from engine.runtime.execution import ExecutionEngine
from engine.runtime.shell import LoopShell
from tests.faults.chaosproxy import ChaosProxy
from tests.sim.loop import SimLoop, run
from tests.sim.mortal import SimClock, SlowDisk
from tests.venues.conformance.rig import BOOKS
from tests.venues.conformance.wire import WIRES
from tests.venues.emulators.__main__ import emulator_class
from tests.venues.emulators.core import Emulator
from tests.venues.emulators.wire import Seen

START_NS = 1_789_999_200 * NS_PER_S
LIMITS = AccountLimits(max_notional_usd=Decimal(100_000), max_order_usd=Decimal(20_000), max_leverage=Decimal(20))
REAL = ("okx", "binance", "backpack")
each_venue = pytest.mark.parametrize("venue", REAL)
BUY, SELL = Side.BUY, Side.SELL


class StepClock(SimClock):
    """A clock whose time of day somebody sets, while the time that passes goes on.

    Attributes:
        step_ns: How far the time of day was set forward.
    """

    step_ns = 0

    def wall_ns(self) -> int:
        """Return the time of day."""
        return self.now_ns() + self.step_ns


class Desk:
    """One engine on one venue.

    Args:
        loop: The simulation.
        venue: Which.
        folder: Where the journal is.
        settings: Further fields of the driver's setup.

    Attributes:
        perp, other, spot: Symbols with a living market.
        alarms, refusals, logs: What the engine and the driver said, as text.
    """

    def __init__(self, loop: SimLoop, venue: str, folder: Path, **settings: Any) -> None:
        self.loop = loop
        self.venue = venue
        self.wire = WIRES[venue]
        self.folder = folder
        self.settings = settings
        self.clock = StepClock(loop, START_NS)
        quote = "USDC" if venue == "backpack" else "USDT"
        balances = {quote: Decimal(200_000), "BTC": Decimal(1)}
        config = PaperConfig(balances=balances, latency_ms=1.0)
        self.emulator: Emulator = emulator_class(venue)(clock=SimClock(loop, START_NS), config=config)
        self.quote = quote
        self.perp, self.other, self.spot = f"BTC-{quote}-PERP", f"ETH-{quote}-PERP", f"BTC-{quote}"
        self.proxy: ChaosProxy
        self.alarms: list[str] = []
        self.refusals: list[str] = []
        self.logs: list[str] = []
        self.failures: list[str] = []
        self._market: asyncio.Task[None] | None = None
        self._lives = 0

    # Life.

    async def open(self) -> None:
        """Start venue, market, proxy and engine, and arm it."""
        await self.open_venue()
        await self.begin()

    async def open_venue(self) -> None:
        """Start venue, market and proxy."""
        self.loop.set_exception_handler(lambda loop, context: self.failures.append(_told(context)))
        await self.emulator.start()
        self.proxy = ChaosProxy(self.emulator._server.port)
        await self.proxy.start()
        for symbol in (self.perp, self.other, self.spot):
            bids, asks = BOOKS[symbol.partition("-")[0]]
            self.emulator.book(symbol, bids, asks)
            if symbol != self.spot:
                period = self.emulator.instruments[symbol].funding_period_h
                self.emulator.funding(symbol, 0.0001, period_h=period or 8)
                self.emulator.mark(symbol, (bids[0][0] + asks[0][0]) / 2)
            self.emulator.print(symbol, asks[0][0], 0.001, BUY)
        self._market = self.loop.create_task(self._beat(), name="market")
        await sleep(self.clock, 1.0)

    async def begin(self, arm: bool = True) -> None:
        """Begin a life of the program: journal, driver, engine.

        Raises:
            CtosError: The venue does not answer.
        """
        self._lives += 1
        rng = Rng(f"{self.venue} {self._lives}")
        self.writer = cast(WriterThread, SlowDisk(self.clock, rng.fork("disk"), self._fail))
        self.journal = Journal(self.folder / "ctos.db", self.writer, on_error=self._fail, ballast_bytes=0)
        self.bus = EventBus(lambda handler, event, error: self.failures.append(f"{handler}: {error!r}"))
        self.bus.subscribe(EngineAlarm, lambda alarm: self.alarms.append(f"{alarm.kind}: {alarm.text}"))
        self.bus.subscribe(CommandRefused, lambda refused: self.refusals.append(refused.text))
        account = Account(0, "desk", self.venue, default_quote=self.quote, limits=LIMITS)
        self.driver = self._driver(account, rng)
        self.shell = LoopShell(self.loop)
        self.engine = ExecutionEngine(
            account, self.driver, self.clock, rng.fork("engine"), self.bus, self.journal, self.shell
        )
        self.engine.risk.check_entry = lambda instance, symbol: self.engine.stream.check()
        try:
            await self.driver.start()
            await self.engine.start()
        except CtosError:
            await self.end()
            raise
        for symbol in (self.perp, self.other):
            self.engine.market.watch(symbol)
        await self.until(self.is_ready, 30)
        if arm and not self.engine.risk.is_halted:
            self.engine.arm("desk")

    def _driver(self, account: Account, rng: Rng) -> Driver:
        package, emulator = importlib.import_module(f"drivers.{self.venue}"), self.emulator
        through = {
            name: url.replace(f":{emulator._server.port}", f":{self.proxy.port}")
            for name, url in emulator.overrides.items()
        }
        fields: dict[str, Any] = {
            "clock": self.clock,
            "rng": rng.fork("venue"),
            "store": JournalVenueStore(self.journal, account.key),
            "hosts": choose_hosts(package.arch(), "live", through),
            "credentials": Credentials(
                Secret(emulator.key),
                Secret(emulator.secret),
                Secret(emulator.passphrase) if emulator.passphrase else None,
            ),
            "log": lambda level, text: self.logs.append(f"{level}: {text}"),
        }
        driver: Driver = package.make_driver(VenueSetup(**{**fields, **self.settings}))
        return driver

    async def end(self) -> None:
        """End the present life in order."""
        await self.driver.stop()
        self.shell.close()
        self.engine.stop()
        self.journal.close()

    async def close(self) -> None:
        """End everything; whatever failed unheard fails the test."""
        await self.end()
        await self.proxy.stop()
        assert self._market is not None
        self._market.cancel()
        await self.emulator.stop()
        assert not self.failures, self.failures[0]

    def _fail(self, error: CtosError) -> None:
        self.failures.append(str(error))

    async def _beat(self) -> None:
        """Let the market live without any effect on orders: the deepest bid changes size, marks are told again."""
        swing = False
        while True:
            swing = not swing
            for symbol in (self.perp, self.other, self.spot):
                price, size = BOOKS[symbol.partition("-")[0]][0][-1]
                self.emulator.book(symbol, [(price, size * (2 if swing else 1))], [], snapshot=False)
                if symbol != self.spot:
                    self.emulator.mark(symbol, float(self.emulator.exchange.market(symbol).mark_price() or 0))
            await sleep(self.clock, 1.0)

    # Waiting.

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        await sleep(self.clock, seconds)

    async def until(self, condition: Callable[[], object], within_s: float = 20.0) -> float:
        """Let time pass until something is so; returns how many seconds that took.

        Raises:
            AssertionError: It did not become so in time.
        """
        began_s = self.loop.time()
        while not condition():
            assert self.loop.time() - began_s < within_s, f"not within {within_s} s; {self.situation()}"
            await asyncio.sleep(0.02)
        return self.loop.time() - began_s

    def situation(self) -> str:
        """Return what a failed wait wants to tell."""
        links = ", ".join(f"{link.name} {link.state.value} {link.detail}".strip() for link in self.driver.links())
        orders = [f"{order.client_id} {order.state.value} {order.reason}" for order in self.engine.tracker.working()]
        return f"{links}; orders {orders}; stream {self.engine.stream.trouble()}; {self.logs[-3:]} {self.alarms[-3:]}"

    def is_live(self) -> bool:
        """Return whether every connection is live."""
        return all(link.state is LinkState.LIVE for link in self.driver.links())

    def is_ready(self) -> bool:
        """Return whether orders can be given: connections live, prices fresh, books whole, nothing missed."""
        market = self.engine.market
        return (
            self.is_live()
            and not self.engine.stream.trouble()
            and all(market.quote(symbol) and not market.is_stale(symbol) for symbol in (self.perp, self.other))
            and not any(self.engine.core.is_book_broken(symbol) for symbol in (self.perp, self.other))
        )

    # Orders.

    def give(self, side: Side = BUY, quantity: str = "0.02", price: str | None = "59900", **terms: Any) -> str:
        """Give an order for the perpetual; returns its client id."""
        kind = terms.pop("type", OrderType.MARKET if price is None else OrderType.LIMIT)
        limit = None if price is None else Decimal(price)
        symbol = terms.pop("symbol", self.perp)
        return self.engine.submit(MANUAL, symbol, side, kind, Decimal(quantity), limit, **terms)

    async def rest(self, price: str = "59900", quantity: str = "0.02", side: Side = BUY) -> str:
        """Give an order and wait until it rests; returns its client id."""
        client_id = self.give(side, quantity, price)
        await self.ends(client_id, OrderState.OPEN)
        return client_id

    async def ends(self, client_id: str, state: OrderState, within_s: float = 20.0) -> float:
        """Wait until an order has a state; returns how long that took."""
        return await self.until(lambda: self.order(client_id).state is state, within_s)

    def order(self, client_id: str) -> Order:
        """Return an order."""
        found = self.engine.tracker.get(client_id)
        assert found is not None
        return found

    def placements(self) -> list[Seen]:
        """Return the requests that asked the venue to place an order, over REST or a trading socket."""
        method, _, path = self.wire.place.partition(" ")
        return [
            seen
            for seen in self.emulator.requests
            if (seen.method == method and seen.path == path)
            or (seen.method == "WS" and seen.path in ("order", "order.place"))
        ]

    def resting(self) -> list[Decimal | None]:
        """Return the prices of the orders that rest at the venue, in truth."""
        return sorted(order.price or Decimal(0) for order in self.emulator.exchange.open_orders())

    def taken(self) -> int:
        """Return how many orders the venue ever took, in truth."""
        registry = self.emulator.exchange.registry
        return len(registry._closed) + len(registry.open)

    async def agrees(self, within_s: float = 30.0) -> None:
        """Wait until orders, fills and positions of the engine are the venue's, each once (I2, I3, I4)."""
        await self.until(lambda: not self.differences(), within_s)

    def differences(self) -> list[str]:
        """Return in what engine and venue differ."""
        found = []
        exchange, engine = self.emulator.exchange, self.engine
        working = [order for order in engine.tracker.working() if not order.held]
        known = sorted((order.symbol, order.price, order.quantity, order.filled) for order in working)
        truth = sorted((o.symbol, o.price, o.quantity, o.filled) for o in exchange.registry.open.values())
        if known != truth:
            found.append(f"orders: {known} here, {truth} there")
        booked = Counter((b.fill.symbol, b.fill.price, b.fill.quantity) for b in engine.portfolio.fills.recent())
        happened = Counter((f.symbol, f.price, f.quantity) for f in self.emulator.executions())
        if booked != happened:
            found.append(f"fills: {booked} booked, {happened} happened")
        for symbol in (self.perp, self.other):
            held = exchange.account.position(exchange.instruments[symbol])
            if engine.portfolio.quantity(symbol) != held:
                found.append(f"{symbol}: {engine.portfolio.quantity(symbol)} here, {held} there")
        return found


def _told(context: dict[str, Any]) -> str:
    """Return what failed unheard, with the place."""
    error = context.get("exception")
    place = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else ""
    return f"{context.get('message')}\n{place}"


Story = Callable[[Desk], Awaitable[None]]


def play(venue: str, folder: Path, story: Story, started: bool = True, **settings: Any) -> None:
    """Tell a story on one venue's desk; `started` says whether its engine runs when the story begins."""

    async def main(loop: SimLoop) -> None:
        desk = Desk(loop, venue, folder, **settings)
        await (desk.open() if started else desk.open_venue())
        await story(desk)
        await desk.close()

    run(main, f"{venue} faults")


def bodies(seen: Sequence[Seen]) -> list[bytes]:
    """Return what requests said."""
    return [each.query.encode() + each.body for each in seen]


__all__ = ["BUY", "REAL", "SELL", "Desk", "bodies", "each_venue", "play"]
