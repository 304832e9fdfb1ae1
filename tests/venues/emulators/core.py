"""The server and the market under every emulator.

A venue's skin derives from `Emulator` and overrides its hooks: `answer` for REST, `socket_kind`, `on_open`, `on_text`
for sockets, `on_book`, `on_trade`, `on_tick`, `on_account` for what happens on the venue. The inner paper venue runs
with canonical instruments in coins; the skin converts. Its own clock, `self.clock`, is the venue's, skew included.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import ClassVar, Self, TypeVar

from drivers.paper.config import MemoryStore, PaperConfig
from drivers.paper.driver import PaperDriver
from drivers.paper.markets.model import MarketModel
from drivers.paper.markets.scripted import ScriptedMarket
from engine.kernel.account import Balance
from engine.kernel.clock import NS_PER_S, Clock, LoopClock, Rng, sleep
from engine.kernel.instruments import Instrument
from engine.kernel.market import BookSynced, BookUpdate, FundingRate, Levels, MarketEvent, MarkPrice, Trade
from engine.kernel.orders import Fill, Side
from engine.kernel.syscalls import AccountEvent, BookEvent, TickEvent
from tests.venues.emulators.faults import Answer, Faults, Kind
from tests.venues.emulators.market import BookChain, BookChange, Listed, VenueClock, Windows
from tests.venues.emulators.server import Server
from tests.venues.emulators.wire import Seen, Socket

T = TypeVar("T")

_PUMP_S = 0.02
_SLICE_NS = 5_000_000
_FIRST_NUMBER = 1_000_000


class Emulator:
    """A venue on the loopback.

    Args:
        market: Where prices come from; without one they come from `book`, `print` and `mark`.
        clock: Time; the loop's when None (then there must be a running loop).
        config: Balances, fees and fill model of the inner paper venue.

    Attributes:
        name: The venue's name in `ctos.yaml`.
        ping_every_s: How often the server pings every socket; None for never.
        pong_within_s: A socket that leaves pings unanswered for so long is closed.
        coin_fees: Whether a spot buy pays its fee in the coins that it buys.
        instruments: What is listed, by canonical symbol; `native` holds the venue's name.
        books: Public books with their numbers, by canonical symbol.
        venue: The inner paper venue: the truth to compare with; `exchange` is its core.
        requests: Every request so far.
        sockets: Open sockets.
        limits: Use of the venue's limits; `limits_on` says whether the skin enforces them.
        bugs: Errors of the emulator itself; `stop` raises the first.
    """

    name: ClassVar[str] = ""
    ping_every_s: ClassVar[float | None] = None
    pong_within_s: ClassVar[float] = 60.0
    coin_fees: ClassVar[bool] = False

    def __init__(
        self, *, market: MarketModel | None = None, clock: Clock | None = None, config: PaperConfig | None = None
    ) -> None:
        self._clock = clock or LoopClock(asyncio.get_running_loop())
        self.clock = VenueClock(self._clock)
        self.key = f"{self.name}-key-0001"
        self.secret = f"{self.name}-secret-0001"
        self.passphrase = ""
        listed = self.default_instruments() if market is None else self._adapted(market)
        model = Listed(market or ScriptedMarket(listed, start_ns=self.clock.now_ns()), listed)
        rules = replace(config or PaperConfig(), coin_fees=self.coin_fees)
        self.venue = PaperDriver(model, self.clock, Rng(1), rules, MemoryStore())
        self.exchange = self.venue.exchange
        self.instruments = dict(self.exchange.instruments)
        self.by_native = {instrument.native: instrument for instrument in listed}
        self.books = {symbol: BookChain(symbol, _FIRST_NUMBER) for symbol in self.instruments}
        self.faults = Faults(self.clock, self._cut)
        self.limits = Windows(self.clock)
        self.limits_on = True
        self.requests: list[Seen] = []
        self.sockets: list[Socket] = []
        self.bugs: list[BaseException] = []
        self._server = Server(self, self._clock)
        self._player: asyncio.Task[None] | None = None
        self._prints = 0
        for symbol in self.instruments:
            self.venue.subscribe_orderbook(symbol, self._book_event)
            self.venue.subscribe_trades(symbol, self.on_trade)
            self.venue.subscribe_ticks(symbol, self.on_tick)
        self.venue.subscribe_account(self.on_account)

    # What a skin overrides.

    def default_instruments(self) -> list[Instrument]:
        """Return what is listed when no market is given; `native` must be set."""
        raise NotImplementedError

    def adapt(self, instrument: Instrument) -> Instrument | None:
        """Return an instrument of a given market as the venue lists it (name, contract); None leaves it out."""
        raise NotImplementedError

    async def answer(self, seen: Seen) -> Answer:
        """Carry a REST request out; sets `seen.account` when it is authorised."""
        raise NotImplementedError

    def banned(self, seconds: float) -> Answer:
        """Return the answer to a banned address."""
        raise NotImplementedError

    def socket_kind(self, path: str) -> str | None:
        """Return which of the venue's sockets a path is, None for none."""
        raise NotImplementedError

    def refuse_socket(self, kind: str) -> Answer | None:
        """Return the answer to a socket that may not be opened now, None to open it."""
        return None

    async def on_open(self, socket: Socket) -> None:
        """Take a new socket."""

    async def on_text(self, socket: Socket, text: str) -> None:
        """Take a client's message."""
        raise NotImplementedError

    def on_close(self, socket: Socket) -> None:
        """Take note that a socket has gone."""

    def on_book(self, change: BookChange) -> None:
        """Take a change of a public book."""

    def on_trade(self, trade: Trade) -> None:
        """Take a public trade."""

    def on_tick(self, event: TickEvent) -> None:
        """Take a quote, ticker, mark price or funding rate."""

    def on_account(self, event: AccountEvent) -> None:
        """Take an event of the account, in the order in which they happened."""

    def on_second(self) -> None:
        """Do what the venue does once a second."""

    @property
    def overrides(self) -> dict[str, str]:
        """Return the host fields of `venues.<name>` in `ctos.yaml`."""
        raise NotImplementedError

    # The server.

    @property
    def rest_url(self) -> str:
        """Return where REST is served."""
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def ws_url(self) -> str:
        """Return where sockets are served."""
        return f"ws://127.0.0.1:{self._server.port}"

    @property
    def skew_ms(self) -> int:
        """Return how far the venue's clock is ahead of ours."""
        return self.clock.skew_ms

    @skew_ms.setter
    def skew_ms(self, value: int) -> None:
        self.clock.skew_ms = value

    async def start(self, port: int = 0) -> None:
        """Serve on a port of the loopback; 0 takes a free one."""
        await self._server.start(port)
        self._player = asyncio.get_running_loop().create_task(self._play(), name=f"{self.name} emulator")

    async def stop(self) -> None:
        """Stop serving; raises the first error that the emulator itself made."""
        if self._player is not None:
            self._player.cancel()
            await asyncio.wait([self._player])
        self._cut("*", None)
        await self._server.stop()
        if self.bugs:
            raise self.bugs[0]

    async def __aenter__(self) -> Self:
        """Serve."""
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop serving."""
        await self.stop()

    def publish(self, channel: str, text: str) -> None:
        """Send a message to every socket that has subscribed to a channel, subject to the faults of streams."""
        listening = [socket for socket in self.sockets if channel in socket.topics]
        for each in self.faults.stream(channel, text) if listening else ():
            for socket in listening:
                socket.send(each)

    async def operate(
        self, socket: Socket, operation: str, text: str, request_id: str, handler: Callable[[], Awaitable[str]]
    ) -> None:
        """Carry an operation of a trading socket out, subject to the faults of requests.

        `$id` in a scripted answer stands for the request's id.
        """
        body = text.encode()
        self.requests.append(Seen("WS", operation, "", body, socket.headers, self.clock.now_ms(), socket.account))
        plan = self.faults.plan("WS", operation, body)
        if plan.kind is Kind.LOSE_REQUEST:
            socket.cut()
            return
        answer = plan.answer.body.decode().replace("$id", request_id)
        if plan.kind is not Kind.ANSWER:
            done = await handler()
            answer = answer if plan.kind is Kind.UNKNOWN_BUT_DONE else done
        if plan.kind is Kind.LOSE_RESPONSE:
            socket.cut()
        elif plan.seconds:
            self._clock.call_later(plan.seconds, socket.send, answer)
        else:
            socket.send(answer)

    def _cut(self, which: str, code: int | None) -> int:
        sockets = [socket for socket in self.sockets if socket.is_of(which)]
        for socket in sockets:
            if code is None:
                socket.cut()
            else:
                socket.close(code)
        return len(sockets)

    # The market.

    async def _play(self) -> None:
        """Play the market as the clock goes, and what the venue does by the second."""
        second = self.clock.now_ns() // NS_PER_S
        pinged_s = self._clock.now_ns() // NS_PER_S
        try:
            while True:
                more = self.venue.pump_until(self.clock.now_ns(), _SLICE_NS)
                now_s = self.clock.now_ns() // NS_PER_S
                if now_s != second:
                    second = now_s
                    self.on_second()
                real_s = self._clock.now_ns() // NS_PER_S
                if self.ping_every_s is not None and real_s - pinged_s >= self.ping_every_s:
                    pinged_s = real_s
                    self._ping()
                await sleep(self._clock, 0.0 if more else _PUMP_S)
        except Exception as error:
            self.bugs.append(error)
            raise

    def _ping(self) -> None:
        silent_ns = self._clock.now_ns() - int(self.pong_within_s * NS_PER_S)
        for socket in list(self.sockets):
            if socket.last_pong_ns < silent_ns:
                socket.cut()
            else:
                socket.ping(str(self.clock.now_ms()).encode())

    def carry_out(self, operation: Callable[[], T]) -> T:
        """Carry an operation on `exchange` out, then deliver what follows from it (`on_account`, `on_book`).

        Raises:
            CtosError: Why the exchange refused.
        """
        self.venue.pump_until(self.clock.now_ns())
        try:
            return operation()
        finally:
            self.venue._commit()

    def balances(self) -> list[Balance]:
        """Return the account's money by currency over all its wallets: the truth for drivers."""
        return self.exchange.balances()

    def executions(self) -> list[Fill]:
        """Return the account's executions, oldest first: the truth for drivers."""
        return list(self.exchange.registry.fills)

    def play(self, event: MarketEvent) -> None:
        """Let something happen in the public market now."""
        self.venue.on_market(event)

    def book(self, symbol: str, bids: Levels, asks: Levels, snapshot: bool = True) -> None:
        """Show a book (prices, coins), or change levels of it; symbols may be the venue's or canonical."""
        name = self.canonical(symbol)
        self.play(BookUpdate(name, self.clock.now_ms(), list(bids), list(asks), snapshot))
        if snapshot:
            self.play(BookSynced(name, self.clock.now_ms()))

    def print(self, symbol: str, price: float, size: float, side: Side = Side.SELL) -> None:
        """Let the public trade; `side` is the aggressor's, size in coins."""
        self._prints += 1
        now_ms = self.clock.now_ms()
        self.play(Trade(self.canonical(symbol), now_ms, price, size, Side(side), str(self._prints)))

    def mark(self, symbol: str, price: float, index: float | None = None) -> None:
        """Announce mark and index price."""
        self.play(MarkPrice(self.canonical(symbol), self.clock.now_ms(), price, price if index is None else index))

    def funding(self, symbol: str, rate: float, next_time: int | None = None, period_h: int = 8) -> None:
        """Announce a funding rate; by default due at the next whole period."""
        now_ms, period_ms = self.clock.now_ms(), period_h * 3_600_000
        due = now_ms - now_ms % period_ms + period_ms if next_time is None else next_time
        self.play(FundingRate(self.canonical(symbol), now_ms, rate, period_h, due))

    def canonical(self, symbol: str) -> str:
        """Return the canonical name of an instrument named either way."""
        return self.by_native[symbol].symbol if symbol in self.by_native else symbol

    def _adapted(self, market: MarketModel) -> list[Instrument]:
        adapted = (self.adapt(instrument) for instrument in market.instruments())
        return [instrument for instrument in adapted if instrument is not None]

    def _book_event(self, event: BookEvent) -> None:
        if isinstance(event, BookUpdate):
            change = self.books[event.symbol].apply(event)
            if change is not None:
                self.on_book(change)


def number_of(paper_id: str) -> int:
    """Return the running number in an order or trade id of the inner venue."""
    return int(paper_id.replace("t", "-").rpartition("-")[2])
