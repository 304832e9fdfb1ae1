"""Backpack as a driver: perpetuals and spot of one account."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from functools import partial

from drivers.backpack import funding, history
from drivers.backpack.account import Account
from drivers.backpack.aliases import Aliases
from drivers.backpack.codec import event_fill, event_position, event_update
from drivers.backpack.feed import PublicFeed
from drivers.backpack.listing import fees_of, instrument_of
from drivers.backpack.orders import Orders
from drivers.backpack.rest import Rest
from drivers.backpack.signer import Signer
from drivers.backpack.symbols import arch
from drivers.backpack.wire import BalanceEvent, Message, OrderEvent, PositionEvent, PrivateMessage, PublicMessage
from drivers.backpack.ws import PrivateSocket, PublicSocket
from drivers.transport.asking import asking
from drivers.transport.funding import FundingWatch, after_each_hour
from drivers.transport.http import HttpClient
from drivers.transport.line_decoder import understanding
from drivers.transport.rate_limits import RateLimiter
from drivers.transport.setup import VenueSetup
from drivers.transport.thousands import coin_levels
from drivers.transport.venue_calls import Topic
from drivers.transport.venue_driver import VenueDriver
from engine.kernel.account import Balance, KeyRights, Position
from engine.kernel.clock import TimerHandle
from engine.kernel.errors import CtosError, InvalidOrder, UnknownSymbol, Unsupported
from engine.kernel.instruments import Instrument
from engine.kernel.links import LinkStatus
from engine.kernel.market import Bar, Unparsed
from engine.kernel.orders import Fill, OrderRequest, OrderUpdate
from engine.kernel.syscalls import BookLevels, Fees, PriceNow

DEPTH_LIMITS = (5, 10, 20, 50, 100, 500, 1000)
LIVE_S = 15.0
BALANCES_AFTER_S = 1.0
"""How long a query of balances waits, so that many changes lead to one."""


class BackpackDriver(VenueDriver):
    """One account of Backpack, or its public data.

    Raises:
        AuthError: The key pair is malformed, or its halves do not belong together.
        StorageError: The saved client ids cannot be read.
    """

    def __init__(self, setup: VenueSetup) -> None:
        super().__init__(setup, arch())
        credentials = setup.credentials
        signer = Signer(credentials) if credentials is not None else None
        limiter = RateLimiter(self.venue, self.arch.rate_buckets, setup.clock, setup.store)
        self._http = HttpClient(self.venue, setup.hosts["rest_url"], setup.clock, limiter, ssl=setup.ssl)
        self._rest = Rest(self._http, setup.clock, signer, self.arch.limits["window_ms"], setup.log)
        self.follow_health(limiter, self._rest.clock, self.arch.limits["window_ms"])
        self._aliases = Aliases(setup.store, setup.clock, setup.rng.fork("aliases"))
        self._money = Account(self._rest, self._aliases, setup.log)
        self._orders = Orders(self._rest, self._aliases, setup.log)
        self._feed = PublicFeed(self._period_h)
        self._public = PublicSocket(
            setup, self._on_public, self._on_problem, self._on_subscribed, self._on_public_lost, self.in_background
        )
        self._private: PrivateSocket | None = None
        if signer is not None:
            self._private = PrivateSocket(
                setup,
                self._rest.subscription,
                self._on_private,
                self._on_problem,
                self.on_account,
                self._rest.clock.suspect,
            )
        self._funding = FundingWatch(
            self.venue,
            partial(funding.payments, self._rest, setup.log),
            setup,
            self._rest.clock.now_ms,
            self.on_account,
            lambda: self.streams.account_heard,
            after_each_hour,
        )
        self._balances_due: TimerHandle | None = None

    # Life.

    @asking
    async def load_instruments(self) -> list[Instrument]:
        """Ask for the visible markets; fees are the account's own when there are keys."""
        await self._http.start()
        if self._rest.clock.uncertainty_ms == float("inf"):
            await self._rest.clock.sync()
        settings = await self._money.refresh() if self.setup.credentials is not None else None
        instruments = []
        for market in await self._rest.markets():
            if not market.visible:
                continue
            try:
                instruments.append(instrument_of(market, settings))
            except UnknownSymbol as error:
                self.log("debug", f"backpack: left out: {error.message}")
        return instruments

    async def open(self) -> None:
        """Connect the sockets and keep the venue's time."""
        self._rest.clock.start()
        self._public.client.start()
        if self._private is not None:
            self._private.client.start()
            self._http.keep_warm(self._rest.time_ms)
            await self._private.client.wait_live(LIVE_S)
            await self._money.balances()
            self.lasting(self._funding.run, "funding payments")
        await self._public.client.wait_live(LIVE_S)

    async def open_requests(self) -> None:
        """Keep the venue's time: no request needs a socket."""
        self._rest.clock.start()

    async def close(self) -> None:
        """Disconnect."""
        if self._balances_due is not None:
            self._balances_due.cancel()
            self._balances_due = None
        if self._private is not None:
            await self._private.client.stop()
        await self._public.client.stop()
        self._rest.clock.stop()
        await self._http.stop()

    def links(self) -> list[LinkStatus]:
        """Return the state of REST and the sockets."""
        sockets = [self._public.client.status]
        if self._private is not None:
            sockets.append(self._private.client.status)
        return [self._http.status, *sockets]

    def clock_offset_ms(self) -> float | None:
        """Return the venue's time less ours, in ms; None until it was asked."""
        return self._rest.clock.known_offset_ms

    # Orders.

    async def submit(self, request: OrderRequest) -> OrderUpdate:
        """Send a new order; see `OrderCalls`. Reduce-only is a perpetual's affair and is left out on spot."""
        self.require_keys()
        return await self._orders.submit(request, self.instrument(request.symbol))

    async def change(self, order_id: str, symbol: str, price: Decimal | None, quantity: Decimal | None) -> OrderUpdate:
        """Refuse: the venue cannot change an order; the engine cancels and places anew."""
        raise Unsupported(f"backpack cannot amend an order: cancel {order_id} and place another")

    async def withdraw(self, order_id: str, symbol: str) -> OrderUpdate:
        """Cancel a working order; see `OrderCalls`."""
        self.require_keys()
        return await self._orders.withdraw(order_id, self.instrument(symbol))

    @asking
    async def look_up(self, order_id: str, symbol: str) -> OrderUpdate:
        """Return what became of an order; see `OrderCalls`."""
        self.require_keys()
        return await self._orders.look_up(order_id, self.instrument(symbol))

    async def cancel_all(self, symbol: str | None = None) -> list[OrderUpdate]:
        """Cancel every order, of one instrument or all, with one call a market that has any."""
        return await self._orders.withdraw_all(await self.get_open_orders(symbol), self.instrument)

    # Market queries.

    @asking
    async def server_time(self) -> int:
        """Return the venue's time in ms."""
        return await self._rest.time_ms()

    @asking
    async def get_price_now(self, symbol: str) -> PriceNow:
        """Return the current prices; the venue's ticker has no bid or ask, they come from the book."""
        instrument = self.instrument(symbol)
        levels, ticker, mark = await asyncio.gather(
            self.get_orderbook(symbol, DEPTH_LIMITS[0]),
            self._rest.ticker(instrument.native),
            self._rest.mark(instrument.native) if instrument.is_perp else _nothing(),
        )
        by = instrument.multiplier
        return PriceNow(
            symbol,
            levels.ts,
            levels.bids[0][0] if levels.bids else None,
            levels.asks[0][0] if levels.asks else None,
            ticker.lastPrice / by if ticker is not None else None,
            mark.markPrice / by if mark is not None else None,
        )

    @asking
    async def get_orderbook(self, symbol: str, level: int = 20) -> BookLevels:
        """Return the best `level` levels of each side, at most 1000."""
        if level < 1:
            raise InvalidOrder(f"level {level} must be at least 1")
        instrument = self.instrument(symbol)
        limit = next((limit for limit in DEPTH_LIMITS if limit >= level), DEPTH_LIMITS[-1])
        snapshot, _ = await self._rest.depth(instrument.native, limit)
        bids = sorted(coin_levels(snapshot.bids, instrument.multiplier), reverse=True)[:level]
        asks = sorted(coin_levels(snapshot.asks, instrument.multiplier))[:level]
        exact = instrument.price_from_float
        ts = (snapshot.timestamp or 0) // 1000 or self._rest.clock.now_ms()
        return BookLevels(
            symbol,
            ts,
            [(exact(price), Decimal(repr(size))) for price, size in bids if size],
            [(exact(price), Decimal(repr(size))) for price, size in asks if size],
        )

    @asking
    async def get_klines(
        self,
        symbol: str,
        timeframe: str,
        limit: int = 500,
        start_time: int | None = None,
        end_time: int | None = None,
    ) -> list[Bar]:
        """Return candles, oldest first; with a start the first `limit`, else the last."""
        return await history.klines(self._rest, self.instrument(symbol), timeframe, limit, start_time, end_time)

    @asking
    async def fees(self, symbol: str) -> Fees:
        """Return fees (the account's own when there are keys) and funding."""
        instrument = self.instrument(symbol)
        maker, taker = fees_of(instrument.kind, self._money.settings)
        if not instrument.is_perp:
            return Fees(symbol, maker, taker, None, None, None, None)
        mark, hours = await self._rest.mark(instrument.native), instrument.funding_period_h
        rate = mark.fundingRate if mark is not None else None
        hourly = rate / hours if rate is not None else None
        return Fees(symbol, maker, taker, rate, hourly, hours, mark.nextFundingTimestamp if mark is not None else None)

    # The account.

    @asking
    async def get_open_orders(self, symbol: str | None = None) -> list[OrderUpdate]:
        """Return the resting orders of spot and perpetuals, oldest first."""
        self.require_keys()
        return await self._money.open_orders(self._native(symbol))

    @asking
    async def get_fills(self, symbol: str | None = None, since: int | None = None) -> list[Fill]:
        """Return executions, oldest first; `since` in ms. Liquidations are among them, and marked."""
        self.require_keys()
        return await self._money.fills(self._native(symbol), since)

    @asking
    async def fetch_balance(self, currency: str | None = None) -> list[Balance]:
        """Return balances. What is lent automatically counts as free: it backs positions and is called back."""
        self.require_keys()
        return [balance for balance in await self._money.balances() if currency in (None, balance.currency)]

    @asking
    async def get_position(self, symbol: str | None = None) -> list[Position]:
        """Return open positions; there is one a market, long or short, with cross margin."""
        self.require_keys()
        self._native(symbol)
        return await self._money.positions(symbol)

    @asking
    async def set_leverage(self, symbol: str, leverage: Decimal) -> Decimal:
        """Set and return the leverage limit OF THE WHOLE ACCOUNT: the venue has none for an instrument alone."""
        self.require_keys()
        instrument = self.instrument(symbol)
        if not instrument.is_perp:
            raise InvalidOrder(f"{symbol}: spot has no leverage")
        if not 1 <= leverage <= instrument.max_leverage:
            raise InvalidOrder(f"{symbol}: leverage {leverage} is not from 1 to {instrument.max_leverage}")
        return await self._money.limit_leverage(leverage)

    def leverage(self, symbol: str) -> Decimal | None:
        """Return the account's leverage limit, which holds for every perpetual; 1 on spot."""
        instrument = self.instrument(symbol)
        if not instrument.is_perp:
            return Decimal(1)
        limit = self._money.leverage
        return min(limit, instrument.max_leverage) if limit is not None else None

    @asking
    async def check_account(self) -> list[str]:
        """Return what forbids to trade: a key that is refused, an account that is blocked or being liquidated."""
        self.require_keys()
        return await self._money.obstacles()

    @asking
    async def key_rights(self) -> KeyRights:
        """Return that nothing is known: the venue has no call that tells."""
        self.require_keys()
        return KeyRights(None, None, "Backpack has no call that tells a key's rights")

    def _native(self, symbol: str | None) -> str | None:
        return None if symbol is None else self.instrument(symbol).native

    # Streams.

    def follow(self, topic: Topic) -> None:
        """Subscribe to the streams of a topic."""
        self._public.follow(self._streams(topic))

    def unfollow(self, topic: Topic) -> None:
        """Unsubscribe from the streams of a topic."""
        if topic.kind == "book":
            self._feed.market(self.instrument(topic.symbol).native).sync.lose()
        self._public.unfollow(self._streams(topic))

    def resync(self, symbol: str, reason: str) -> None:
        """Ask for a symbol's book anew; the updates that come meanwhile are kept."""
        market = self._feed.market(self.instrument(symbol).native)
        if market.sync.synced:
            market.sync.lose()
        self.in_background(self._fetch_book(symbol), f"book of {symbol}")

    async def _fetch_book(self, symbol: str) -> None:
        native = self.instrument(symbol).native
        try:
            snapshot, raw = await self._rest.depth(native, DEPTH_LIMITS[-1])
        except CtosError as error:
            if self.topics.has(Topic("book", symbol)):
                self.books.lose(symbol, f"its snapshot did not come: {error}")
            return
        if self.topics.has(Topic("book", symbol)):
            self.on_raw(raw)
            self.on_market(self._feed.snapshot(native, snapshot))

    def _streams(self, topic: Topic) -> list[str]:
        instrument = self.instrument(topic.symbol)
        native = instrument.native
        match topic.kind:
            case "ticks":
                names = [f"bookTicker.{native}", f"ticker.{native}"]
                return [*names, f"markPrice.{native}"] if instrument.is_perp else names
            case "book":
                return [f"depth.{native}"]
            case "trades":
                return [f"trade.{native}"]
            case _:
                return [f"kline.{topic.timeframe}.{native}"]

    def _on_public(self, payload: bytes, stream: str, message: Message) -> None:
        self.on_raw(payload)
        if isinstance(message, PublicMessage):
            self.on_market(self._feed.take(message, stream))

    def _on_subscribed(self, streams: list[str]) -> None:
        """Ask for the books whose streams were just subscribed (only now does no update go missing) and for quotes."""
        names = {self.instrument(topic.symbol).native: topic.symbol for topic in self.topics.active}
        for stream in streams:
            kind, _, native = stream.partition(".")
            symbol = names.get(native)
            if symbol is not None and kind == "depth":
                self.books.lose(symbol, "waiting for its snapshot")
            elif symbol is not None and kind == "bookTicker":
                self.in_background(self._fetch_quote(symbol), f"quote of {symbol}")

    async def _fetch_quote(self, symbol: str) -> None:
        native = self.instrument(symbol).native
        try:
            snapshot, _ = await self._rest.depth(native, DEPTH_LIMITS[0])
            with understanding(f"backpack: first quote of {symbol}"):
                events = self._feed.first_quote(native, snapshot)
        except CtosError as error:
            self.log("debug", f"backpack: the first quote of {symbol} comes with the stream: {error}")
            return
        self.on_market(events)

    def _on_public_lost(self, reason: str) -> None:
        self._feed.lose_books()
        self.books.lose_all(reason)

    def _on_problem(self, problem: Unparsed) -> None:
        self.on_market([problem])

    def _on_private(self, message: PrivateMessage) -> None:
        client_id_of = self._aliases.client_id
        if isinstance(message, OrderEvent):
            fill = event_fill(message, client_id_of)
            if fill is not None:
                self.on_account(fill)
            self.on_account(event_update(message, client_id_of))
            if fill is not None and self._private is not None and not self._private.has_balances:
                self._ask_balances_soon()
        elif isinstance(message, PositionEvent):
            self.on_account(event_position(message, self._money.leverage or Decimal(1)))
        elif isinstance(message, BalanceEvent):
            self.on_account(self._money.balance_from(message))
            if self._money.lends:
                self._ask_balances_soon()

    def _ask_balances_soon(self) -> None:
        if self._balances_due is None:
            self._balances_due = self.clock.call_later(BALANCES_AFTER_S, self._ask_balances)

    def _ask_balances(self) -> None:
        self._balances_due = None
        self.in_background(self._tell_balances(), "balances")

    async def _tell_balances(self) -> None:
        try:
            balances = await self._money.balances()
        except CtosError as error:
            self.log("warning", f"backpack: balances could not be asked for: {error}")
            return
        for balance in balances:
            self.on_account(balance)

    def _period_h(self, symbol: str) -> int | None:
        instrument = self.instruments.get(symbol)
        return instrument.funding_period_h if instrument is not None else None


async def _nothing() -> None:
    return None
