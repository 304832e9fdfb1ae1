"""Paper money on a real venue's market: its public data comes in, orders are matched here.

Instruments, fees, candles and funding are the venue's; money, orders and positions are this program's. Nothing private
is asked of the venue, so no key is needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from drivers.paper.config import PaperConfig, PaperStore
from drivers.paper.driver import PaperDriver
from drivers.paper.gateway import PaperGateway
from drivers.paper.state import decode
from engine.kernel.clock import Clock, Rng, TimerHandle
from engine.kernel.errors import UnknownSymbol
from engine.kernel.instruments import Instrument, InstrumentKind
from engine.kernel.links import LinkStatus
from engine.kernel.market import Bar, BookSynced, BookUpdate, MarketEvent, Trade
from engine.kernel.orders import OrderRequest
from engine.kernel.syscalls import (
    BookEvent,
    BookLevels,
    Driver,
    Fees,
    PriceNow,
    Reply,
    TickEvent,
    Unsubscribe,
)

_CATCH_UP_S = 0.25


class _NoModel:
    """Stands for a market that comes from outside: nothing to step through."""

    def __init__(self, start_ns: int) -> None:
        self.start_ns = start_ns

    def instruments(self) -> list[Instrument]:
        """Return nothing: the venue is asked when it is connected."""
        return []

    def next_event_ns(self) -> int | None:
        """Return None: events are pushed."""
        return None

    def step(self) -> list[MarketEvent]:
        """Return nothing."""
        return []

    def skip_to(self, now_ns: int) -> None:
        """Do nothing: the venue's time goes on by itself."""

    def klines(self, symbol: str, timeframe: str, limit: int, start: int | None, end: int | None) -> list[Bar]:
        """Return nothing: candles are the venue's."""
        return []


class _FollowingGateway(PaperGateway):
    """Follows the market of every order before it is carried out.

    Attributes:
        follow: Called with the symbol of a new order.
    """

    follow: Callable[[str], None]

    def place(self, request: OrderRequest, reply: Reply) -> None:
        """Send a new order."""
        self.follow(request.symbol)
        super().place(request, reply)


class LivePaperDriver(PaperDriver):
    """A simulated account on the live market of a venue.

    Args:
        public: The venue's own driver, without keys; started and stopped with this one.
        clock: The engine's time.
        rng: Randomness of the latency.
        config: Balances, fill model; its fees stand in where the venue tells none.
        store: Keeps the account between runs.
    """

    def __init__(self, public: Driver, clock: Clock, rng: Rng, config: PaperConfig, store: PaperStore) -> None:
        super().__init__(_NoModel(clock.now_ns()), clock, rng, config, store)
        self.venue = public.venue
        self._public = public
        self.gateway = gateway = _FollowingGateway(self.exchange, clock, rng, config, self._pump.pump_now, self._commit)
        gateway.follow = self._hold
        self._listening: dict[tuple[str, str], Unsubscribe] = {}
        self._wanted: Counter[tuple[str, str]] = Counter()
        self._held: set[str] = set()
        self._timer: TimerHandle | None = None

    async def start(self) -> None:
        """Connect to the venue's public data and take up the account where it was.

        Raises:
            CtosError: The venue cannot be reached, or the saved account does not fit its market.
        """
        await self._public.start()
        listed = await self._public.symbols()
        self._open([self._with_fees(instrument) for instrument in [*listed, *self._unlisted(listed)]])
        state = self.exchange.state()
        for symbol in {*state.ledgers, *(order.symbol for order in state.orders)}:
            self._hold(symbol)
        self._catch_up()

    async def stop(self) -> None:
        """Disconnect and keep the account."""
        if self._timer is not None:
            self._timer.cancel()
        for unsubscribe in self._listening.values():
            unsubscribe()
        self._listening.clear()
        opened = bool(self.exchange.instruments)
        try:
            await self._public.stop()
        finally:
            if opened:
                await super().stop()

    async def symbols(self, kind: InstrumentKind | None = None) -> list[Instrument]:
        """Return the venue's instruments, asked for anew."""
        listed = [self._with_fees(instrument) for instrument in await self._public.symbols()]
        self.exchange.add_instruments(listed)
        self._add_channels()
        return [instrument for instrument in listed if kind is None or instrument.kind is kind]

    async def get_price_now(self, symbol: str) -> PriceNow:
        """Return the venue's current prices."""
        return await self._public.get_price_now(symbol)

    async def get_orderbook(self, symbol: str, level: int = 20) -> BookLevels:
        """Return the venue's book."""
        return await self._public.get_orderbook(symbol, level)

    async def get_klines(
        self,
        symbol: str,
        timeframe: str,
        limit: int = 500,
        start_time: int | None = None,
        end_time: int | None = None,
    ) -> list[Bar]:
        """Return the venue's candles, oldest first; the last may be unclosed."""
        return await self._public.get_klines(symbol, timeframe, limit, start_time, end_time)

    async def fees(self, symbol: str) -> Fees:
        """Return the fees that are charged here, and the venue's funding."""
        charged = self.exchange.market(symbol).instrument
        fees = await self._public.fees(symbol)
        return Fees(
            symbol,
            charged.maker_fee,
            charged.taker_fee,
            fees.funding_rate,
            fees.funding_rate_per_hour,
            fees.funding_period_h,
            fees.next_funding_time,
        )

    async def server_time(self) -> int:
        """Return the venue's time in ms."""
        return await self._public.server_time()

    def links(self) -> list[LinkStatus]:
        """Return the state of the connections to the venue's public data."""
        return self._public.links()

    def subscribe_ticks(self, symbol: str, handler: Callable[[TickEvent], None]) -> Unsubscribe:
        """Stream quotes, tickers, mark prices and funding rates."""
        return self._joined(super().subscribe_ticks(symbol, handler), symbol, "ticks")

    def subscribe_orderbook(self, symbol: str, handler: Callable[[BookEvent], None]) -> Unsubscribe:
        """Stream the venue's book, less what orders took here."""
        return self._joined(super().subscribe_orderbook(symbol, handler), symbol, "ticks", "book")

    def subscribe_trades(self, symbol: str, handler: Callable[[Trade], None]) -> Unsubscribe:
        """Stream the venue's trades."""
        return self._joined(super().subscribe_trades(symbol, handler), symbol, "ticks", "trades")

    def subscribe_klines(self, symbol: str, timeframe: str, handler: Callable[[Bar], None]) -> Unsubscribe:
        """Stream the venue's candles."""
        return self._public.subscribe_klines(symbol, timeframe, handler)

    def subscribe_raw(self, handler: Callable[[bytes], None]) -> Unsubscribe:
        """Stream the venue's public wire messages."""
        return self._public.subscribe_raw(handler)

    def _unlisted(self, listed: Sequence[Instrument]) -> list[Instrument]:
        """Return what the saved account names and the venue does not list any more."""
        saved = self._store.load()
        if saved is None:
            return []
        state = decode(saved)
        named = {*state.ledgers, *(order.symbol for order in state.orders)} - {each.symbol for each in listed}
        return [known for symbol in sorted(named) if (known := self._public.remembered(symbol)) is not None]

    def _with_fees(self, instrument: Instrument) -> Instrument:
        """Return an instrument with the venue's fees, with the configured ones where it tells none."""
        if instrument.maker_fee or instrument.taker_fee:
            return instrument
        charged = self._config.with_fees(instrument)
        return replace(instrument, maker_fee=charged.maker_fee, taker_fee=charged.taker_fee)

    def _hold(self, symbol: str) -> None:
        """Follow a market in full for as long as this runs: an order or a position of ours lives there."""
        if symbol not in self._held:
            self._held.add(symbol)
            for stream in ("ticks", "book", "trades"):
                self._want(symbol, stream)

    def _joined(self, inner: Unsubscribe, symbol: str, *streams: str) -> Unsubscribe:
        """Return what ends a subscription here, and at the venue when nobody else is left."""
        for stream in streams:
            self._want(symbol, stream)
        left = [False]

        def unsubscribe() -> None:
            inner()
            if not left[0]:
                left[0] = True
                for stream in streams:
                    self._release(symbol, stream)

        return unsubscribe

    def _want(self, symbol: str, stream: str) -> None:
        key = (symbol, stream)
        self._wanted[key] += 1
        if key in self._listening:
            return
        if symbol not in self._channels:
            raise UnknownSymbol(f"{self.venue} does not list {symbol!r}")
        if stream == "ticks":
            self._listening[key] = self._public.subscribe_ticks(symbol, self.on_market)
        elif stream == "trades":
            self._listening[key] = self._public.subscribe_trades(symbol, self.on_market)
        else:
            self._listening[key] = self._public.subscribe_orderbook(symbol, self._on_book)

    def _release(self, symbol: str, stream: str) -> None:
        key = (symbol, stream)
        self._wanted[key] -= 1
        if self._wanted[key] <= 0 and key in self._listening:
            self._listening.pop(key)()
            if stream == "book":
                self._channels[symbol].market.book.invalidate()

    def _on_book(self, event: BookEvent) -> None:
        """Take a change of the venue's book; one that was in step before we listened is taken over whole."""
        if type(event) is BookSynced:
            book = self._public.book(event.symbol)
            if not book.valid:
                return
            whole = BookUpdate(event.symbol, book.ts, list(book.bids.items()), list(book.asks.items()), snapshot=True)
            self.on_market(whole)
        self.on_market(event)

    def _catch_up(self) -> None:
        """Do what is due by the second though no message came: funding, candles, derived prices."""
        self._feed.catch_up(self._clock.now_ns())
        self._timer = self._clock.call_later(_CATCH_UP_S, self._catch_up)
