"""One venue under test: driver, the venue it talks to, a scripted market, and a clock that can be wound.

A rig of the paper venue has the matching engine for a venue; a rig of a real venue has its emulator on the loopback.
`exchange` is in both cases the truth that the driver's words are compared with.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Protocol

from drivers.paper.config import MemoryStore as PaperStore
from drivers.paper.config import PaperConfig
from drivers.paper.driver import PaperDriver
from drivers.paper.exchange import Exchange
from drivers.paper.markets.scripted import ScriptedMarket
from drivers.paper.state import PaperOrder
from drivers.transport.setup import Credentials, MemoryStore, VenueSetup, choose_hosts
from engine.kernel.account import Balance
from engine.kernel.clock import NS_PER_MS, NS_PER_S, Rng
from engine.kernel.errors import CtosError
from engine.kernel.instruments import Instrument, InstrumentKind
from engine.kernel.links import LinkState
from engine.kernel.market import Bar, BookSynced, BookUpdate, FundingRate, Levels, MarkPrice, Trade
from engine.kernel.orders import Fill, OrderRequest, OrderType, OrderUpdate, Side
from engine.kernel.secret import Secret
from engine.kernel.syscalls import AccountEvent, Driver
from tests.venues.conformance.elastic_clock import ElasticClock
from tests.venues.conformance.wire import WIRES, Wire
from tests.venues.emulators.core import Emulator

START_NS = 1_789_999_200 * NS_PER_S + 90 * NS_PER_S
"""2026-09-21 14:01:30 UTC: in the middle of a minute and of an hour."""
DEPOSITS = {"BTC": Decimal(1), "SOL": Decimal(100)}
QUOTE_DEPOSIT = Decimal(100_000)

BOOKS: dict[str, tuple[Levels, Levels]] = {
    "BTC": ([(60_000.0, 2.0), (59_990.0, 5.0), (59_900.0, 10.0)], [(60_010.0, 2.0), (60_020.0, 5.0), (60_100.0, 10.0)]),
    "ETH": ([(3_000.0, 20.0), (2_999.0, 50.0)], [(3_001.0, 20.0), (3_002.0, 50.0)]),
    "SOL": ([(150.0, 200.0), (149.0, 500.0)], [(150.1, 200.0), (150.2, 500.0)]),
    "PEPE": ([(0.00001, 4e9), (0.000009999, 8e9)], [(0.000010001, 4e9), (0.000010002, 8e9)]),
}
"""Bids and asks of each base coin in one coin's price, sizes in coins; perpetual and spot alike."""


class Stage(Protocol):
    """What a rig does to the market and reads of the venue's truth; every emulator offers it."""

    exchange: Exchange

    def book(self, symbol: str, bids: Levels, asks: Levels, snapshot: bool = True) -> None:
        """Show a book, or change levels of it."""

    def print(self, symbol: str, price: float, size: float, side: Side = Side.SELL) -> None:
        """Let the public trade."""

    def mark(self, symbol: str, price: float, index: float | None = None) -> None:
        """Announce mark and index price."""

    def funding(self, symbol: str, rate: float, next_time: int | None = None, period_h: int = 8) -> None:
        """Announce a funding rate."""


class PaperStage:
    """The paper venue's own market, played by hand."""

    def __init__(self, driver: PaperDriver, clock: ElasticClock) -> None:
        self._driver = driver
        self._clock = clock
        self._prints = 0
        self.exchange = driver.exchange

    def book(self, symbol: str, bids: Levels, asks: Levels, snapshot: bool = True) -> None:
        """Show a book, or change levels of it."""
        now = self._clock.now_ms()
        self._driver.on_market(BookUpdate(symbol, now, list(bids), list(asks), snapshot))
        if snapshot:
            self._driver.on_market(BookSynced(symbol, now))

    def print(self, symbol: str, price: float, size: float, side: Side = Side.SELL) -> None:
        """Let the public trade."""
        self._prints += 1
        self._driver.on_market(Trade(symbol, self._clock.now_ms(), price, size, side, str(self._prints)))

    def mark(self, symbol: str, price: float, index: float | None = None) -> None:
        """Announce mark and index price."""
        self._driver.on_market(MarkPrice(symbol, self._clock.now_ms(), price, price if index is None else index))

    def funding(self, symbol: str, rate: float, next_time: int | None = None, period_h: int = 8) -> None:
        """Announce a funding rate, due at the next whole period unless told otherwise."""
        now, period = self._clock.now_ms(), period_h * 3_600_000
        due = now - now % period + period if next_time is None else next_time
        self._driver.on_market(FundingRate(symbol, now, rate, period_h, due))


class Rig:
    """One venue under test.

    Attributes:
        venue: Its name.
        emulator: The emulator; None for the paper venue.
        wire: How faults name its requests and channels; None for the paper venue.
        driver: The driver under test.
        store: What the driver keeps; a restart finds it again.
        perp, other, tiny, spot: Symbols: a perpetual, another one, one with prices of 1e-9, and spot.
        events: Account events so far.
        failures: What failed in the loop without anybody to hear it; `close` raises the first.
        logs: Lines for the operator as (level, text).
    """

    def __init__(self, venue: str, instruments: list[Instrument], clock: ElasticClock, config: PaperConfig) -> None:
        self.venue = venue
        self.clock = clock
        self.config = config
        self.quote = instruments[0].quote
        self.listed = {instrument.symbol: instrument for instrument in instruments}
        self.perp, self.other = f"BTC-{self.quote}-PERP", f"ETH-{self.quote}-PERP"
        self.tiny, self.spot = f"PEPE-{self.quote}-PERP", f"BTC-{self.quote}"
        self.store = MemoryStore()
        self.events: list[AccountEvent] = []
        self.logs: list[tuple[str, str]] = []
        self.emulator: Emulator | None = None
        self.wire: Wire | None = None
        self.stage: Stage
        self.driver: Driver
        self.others: list[Driver] = []
        self.failures: list[str] = []
        asyncio.get_running_loop().set_exception_handler(self._take_failure)
        self._ids = 0

    # Building.

    @classmethod
    async def open(cls, venue: str, **settings: Any) -> Rig:
        """Return a rig with a market and a started driver."""
        rig = await cls.prepare(venue, **settings)
        await rig.start_driver()
        return rig

    @classmethod
    async def prepare(cls, venue: str, **settings: Any) -> Rig:
        """Return a rig with a market; its driver is not started yet."""
        clock = ElasticClock(asyncio.get_running_loop(), START_NS)
        if venue == "paper":
            return cls._paper(clock, settings)
        emulator_type = getattr(
            importlib.import_module(f"tests.venues.emulators.{venue}"), f"{venue.capitalize()}Emulator"
        )
        quote = "USDC" if venue == "backpack" else "USDT"
        config = _config(quote, settings)
        emulator = emulator_type(clock=clock, config=config)
        rig = cls(venue, [i for i in emulator.instruments.values() if i.quote == quote], clock, config)
        rig.emulator, rig.stage, rig.wire = emulator, emulator, WIRES[venue]
        await emulator.start()
        rig.open_market()
        await rig.wind(2.0)
        rig.driver = rig.new_driver()
        return rig

    @classmethod
    def _paper(cls, clock: ElasticClock, settings: dict[str, Any]) -> Rig:
        config = _config("USDT", settings)
        listed = [
            _listed("BTC", "0.1", "0.0001", InstrumentKind.PERP),
            _listed("ETH", "0.01", "0.001", InstrumentKind.PERP),
            _listed("PEPE", "0.000000001", "1000", InstrumentKind.PERP),
            _listed("BTC", "0.1", "0.00001", InstrumentKind.SPOT),
        ]
        driver = PaperDriver(ScriptedMarket(listed, start_ns=clock.now_ns()), clock, Rng(1), config, PaperStore())
        rig = cls("paper", listed, clock, config)
        rig.driver, rig.stage = driver, PaperStage(driver, clock)
        rig.open_market()
        return rig

    def new_driver(self, **changes: Any) -> Driver:
        """Return another driver of the same account, not started; `changes` replace fields of its setup."""
        assert self.emulator is not None
        package = importlib.import_module(f"drivers.{self.venue}")
        emulator = self.emulator
        phrase = Secret(emulator.passphrase) if emulator.passphrase else None
        fields: dict[str, Any] = {
            "clock": self.clock,
            "rng": Rng(f"conformance {len(self.others)}"),
            "store": self.store,
            "hosts": choose_hosts(package.arch(), "live", emulator.overrides),
            "credentials": Credentials(Secret(emulator.key), Secret(emulator.secret), phrase),
            "log": lambda level, text: self.logs.append((level, text)),
        }
        driver: Driver = package.make_driver(VenueSetup(**{**fields, **changes}))
        self.others.append(driver)
        return driver

    async def start_driver(self) -> None:
        """Start the driver and listen to its account."""
        await self.patiently(self.driver.start())
        self.driver.subscribe_account(self.events.append)

    async def restart(self, **changes: Any) -> Driver:
        """Stop the driver and start another one with the same store."""
        await self.driver.stop()
        self.driver = self.new_driver(**changes)
        await self.start_driver()
        return self.driver

    async def close(self) -> None:
        """Stop everything."""
        for driver in self.others or [self.driver]:
            await driver.stop()
        if self.emulator is not None:
            await self.emulator.stop()
        assert not self.failures, self.failures[0]

    def _take_failure(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")

    # The market.

    @property
    def exchange(self) -> Exchange:
        """Return the truth."""
        return self.stage.exchange

    def open_market(self) -> None:
        """Show the books of everything that is used, marks and funding."""
        for symbol in (self.perp, self.other, self.tiny, self.spot):
            bids, asks = BOOKS[symbol.partition("-")[0]]
            self.stage.book(symbol, bids, asks)
            if symbol != self.spot:
                mark = (bids[0][0] + asks[0][0]) / 2
                self.stage.funding(symbol, 0.0001, period_h=self.listed[symbol].funding_period_h)
                self.stage.mark(symbol, mark)
            self.stage.print(symbol, asks[0][0], 0.001 if "PEPE" not in symbol else 1e6, Side.BUY)

    def beat(self) -> None:
        """Let the market live without any effect on orders: the deepest bid changes size, marks are told again."""
        for symbol in (self.perp, self.other, self.tiny, self.spot):
            bids, _ = BOOKS[symbol.partition("-")[0]]
            price, size = bids[-1]
            now = self.exchange.market(symbol).book.bids.get(price, size)
            self.stage.book(symbol, [(price, size * 2 if now == size else size)], [], snapshot=False)
            if symbol != self.spot:
                self.stage.mark(symbol, float(self.exchange.market(symbol).mark_price() or 0))

    def give_history(self, symbol: str, timeframe: str, bars: list[Bar]) -> None:
        """Let the market have candles of the time before it began."""
        venue = self.driver if self.emulator is None else self.emulator.venue
        assert isinstance(venue, PaperDriver)
        model: Any = venue._model
        getattr(model, "_model", model)._history[symbol, timeframe] = bars

    # Waiting.

    async def wind(self, seconds: float, alive: bool = True) -> None:
        """Let time pass, with a living market or a silent one."""
        left = seconds
        while left > 0:
            if alive:
                self.beat()
            await self.clock.wind(min(1.0, left))
            left -= 1.0

    async def sleep(self, seconds: float) -> None:
        """Let a long time pass at once, as when the host slept; the market's candles leave it out."""
        venue = self.driver if self.emulator is None else self.emulator.venue
        assert isinstance(venue, PaperDriver)
        awake_ns = self.clock.now_ns() + round(seconds * NS_PER_S)
        venue._feed.next_second_ns = awake_ns
        venue._feed._minute_ms = awake_ns // NS_PER_MS // 60_000 * 60_000
        await self.clock.wind(seconds, seconds)
        self.open_market()

    async def until(self, condition: Callable[[], object], within_s: float = 20.0, alive: bool = False) -> None:
        """Let time pass until something is so.

        Raises:
            AssertionError: It did not become so within that time of the clock.
        """
        end_ns = self.clock.now_ns() + round(within_s * NS_PER_S)
        beat_ns = self.clock.now_ns()
        while not condition():
            assert self.clock.now_ns() < end_ns, f"not within {within_s} s; {self.situation()}"
            if alive and self.clock.now_ns() - beat_ns >= NS_PER_S:
                beat_ns = self.clock.now_ns()
                self.beat()
            await asyncio.sleep(0.001)
            await self.clock.wind(0.02, 0.02)

    async def patiently(self, call: Any, within_s: float = 60.0) -> Any:
        """Await a call while the clock runs faster than it would by itself."""
        task = asyncio.ensure_future(call)
        try:
            await self.until(task.done, within_s)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
        return task.result()

    def situation(self) -> str:
        """Return what a failed wait wants to tell: links, and the driver's last lines."""
        links = ", ".join(f"{link.name} {link.state} {link.detail}".strip() for link in self.driver.links())
        return f"links: {links}; log: {self.logs[-4:]}; events: {self.events[-4:]}"

    def balances(self) -> list[Balance]:
        """Return the account's money by currency over all its wallets, in truth."""
        return self.exchange.balances() if self.emulator is None else self.emulator.balances()

    def executions(self) -> list[Fill]:
        """Return the account's executions, oldest first, in truth."""
        return list(self.exchange.registry.fills) if self.emulator is None else self.emulator.executions()

    # Orders.

    def new_id(self) -> str:
        """Return a client id as the engine makes them: 18 lower-case letters and digits."""
        self._ids += 1
        return f"ab1zconform{self._ids:07d}"

    async def ask(self, send: Callable[[Callable[[OrderUpdate | CtosError], None]], None]) -> OrderUpdate | CtosError:
        """Send a request through the gateway and return its one reply."""
        replies: list[OrderUpdate | CtosError] = []
        send(replies.append)
        assert not replies, "a reply came on the caller's stack"
        await self.until(lambda: replies, within_s=60)
        assert len(replies) == 1
        return replies[0]

    async def place(
        self,
        side: Side,
        quantity: str,
        price: str | None = None,
        kind: OrderType = OrderType.LIMIT,
        *,
        symbol: str = "",
        client_id: str = "",
        trigger: str | None = None,
        reduce_only: bool = False,
    ) -> tuple[str, OrderUpdate | CtosError]:
        """Place an order through the gateway; returns its client id and the reply."""
        request = OrderRequest(
            client_id or self.new_id(),
            "conform",
            symbol or self.perp,
            side,
            kind,
            Decimal(quantity),
            None if price is None else Decimal(price),
            None if trigger is None else Decimal(trigger),
            reduce_only,
        )
        reply = await self.ask(lambda answer: self.driver.gateway.place(request, answer))
        return request.client_id, reply

    async def placed(self, side: Side, quantity: str, price: str | None = None, *args: Any, **more: Any) -> str:
        """Place an order that the venue takes; returns its client id."""
        client_id, reply = await self.place(side, quantity, price, *args, **more)
        assert isinstance(reply, OrderUpdate), repr(reply)
        assert reply.client_id == client_id
        return client_id

    async def query(self, client_id: str, symbol: str = "") -> OrderUpdate | CtosError:
        """Ask the gateway what became of an order."""
        return await self.ask(lambda answer: self.driver.gateway.query(client_id, symbol or self.perp, answer))

    async def cancel(self, client_id: str, symbol: str = "") -> OrderUpdate | CtosError:
        """Cancel an order through the gateway."""
        return await self.ask(lambda answer: self.driver.gateway.cancel(client_id, symbol or self.perp, answer))

    def orders(self) -> list[PaperOrder]:
        """Return every order that the venue ever took, in truth."""
        registry = self.exchange.registry
        return [*registry._closed, *registry.open.values()]

    def told(self, client_id: str) -> list[OrderUpdate]:
        """Return what the private stream said about an order."""
        return [event for event in self.events if isinstance(event, OrderUpdate) and event.client_id == client_id]

    def fills(self) -> list[Fill]:
        """Return the executions that the private stream told, each once."""
        found = {event.trade_id: event for event in self.events if isinstance(event, Fill)}
        return list(found.values())

    def is_live(self) -> bool:
        """Return whether every connection is live."""
        return all(link.state is LinkState.LIVE for link in self.driver.links())


def _config(quote: str, settings: dict[str, Any]) -> PaperConfig:
    return PaperConfig(**{"balances": {quote: QUOTE_DEPOSIT, **DEPOSITS}, "latency_ms": 1.0, **settings})


def _listed(base: str, tick: str, lot: str, kind: InstrumentKind) -> Instrument:
    perp = kind is InstrumentKind.PERP
    return Instrument(
        symbol=f"{base}-USDT{'-PERP' if perp else ''}",
        venue="paper",
        base=base,
        quote="USDT",
        settle="USDT",
        kind=kind,
        tick_size=Decimal(tick),
        lot_size=Decimal(lot),
        min_quantity=Decimal(lot),
        min_notional=Decimal(5),
        max_leverage=Decimal(50 if perp else 1),
        funding_period_h=8 if perp else 0,
    )
