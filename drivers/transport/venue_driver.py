"""The part of a driver that is the same for every venue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any, NamedTuple

from drivers.transport.arch import Arch, venue_features
from drivers.transport.books import BookKeeper
from drivers.transport.gateway import TaskGateway
from drivers.transport.setup import VenueSetup
from drivers.transport.subscriptions import Topics
from engine.kernel.account import Balance, KeyRights, Position
from engine.kernel.errors import AuthError, CtosError, InvalidOrder, OrderNotFound, UnknownSymbol, Unsupported
from engine.kernel.instruments import Instrument, InstrumentKind
from engine.kernel.links import LinkStatus
from engine.kernel.market import (
    TIMEFRAME_MS,
    Bar,
    BookInvalid,
    BookSynced,
    BookUpdate,
    FundingRate,
    MarketEvent,
    MarkPrice,
    Quote,
    Ticker,
    Trade,
    Unparsed,
)
from engine.kernel.orderbook import OrderBook
from engine.kernel.orders import Fill, OrderRequest, OrderState, OrderType, OrderUpdate, Side, combined_order_type
from engine.kernel.syscalls import (
    AccountEvent,
    BookEvent,
    BookLevels,
    ExchangeLimits,
    Fees,
    PriceNow,
    TickEvent,
    Unsubscribe,
)

_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class Topic(NamedTuple):
    """What a public subscription is about.

    Attributes:
        kind: `ticks`, `book`, `trades` or `klines`.
        symbol: Canonical name.
        timeframe: Candle length; empty for the others.
    """

    kind: str
    symbol: str
    timeframe: str = ""


class VenueDriver:
    """Base of the drivers of real venues.

    A venue gives these:

    - `load_instruments`: asks the venue for its instruments;
    - `open`, `close`: clock, sockets, private stream; `open` runs after the instruments are loaded and returns when
      everything is ready; `close` must bear an `open` that failed half-way;
    - `submit`, `change`, `withdraw`, `look_up`: one order (see `OrderCalls`), by client id or venue id;
    - `follow`, `unfollow`: a topic got its first handler, or lost its last: subscribe or unsubscribe; called before
      the socket is open too (`topics.active` says what to subscribe when it opens);
    - `resync`: a book has to be asked for anew; a failed try is told by `books.lose(symbol, reason)`;
    - `links`: the state of its connections;
    - the queries: `get_price_now`, `get_orderbook`, `get_klines`, `fees`, `server_time`, `get_open_orders`,
      `get_fills`, `fetch_balance`, `get_position`, `set_leverage`, `leverage`, `check_account`, `key_rights`, and
      `cancel_all_after` where the venue has such a timer.

    It calls `on_market` with what its decoder made of a public message, `on_account` with what a private one told,
    `on_raw` with each public wire message, `books.lose_all` when the public socket broke.

    Args:
        setup: What the driver needs from outside.
        arch: The venue's description.

    Attributes:
        instruments: By canonical name; filled by `start`, replaced whole by `refresh_instruments`.
        topics: Who listens to which public stream.
        books: The live books.
        gateway: The engine's way to place orders.
    """

    def __init__(self, setup: VenueSetup, arch: Arch) -> None:
        self.setup = setup
        self.arch = arch
        self.venue = arch.venue
        self.features = venue_features(arch)
        self.clock = setup.clock
        self.rng = setup.rng
        self.log = setup.log
        self.instruments: dict[str, Instrument] = {}
        self.topics: Topics[Topic] = Topics(self._followed, self._unfollowed)
        self.books = BookKeeper(setup.clock, self.resync, self._publish_book)
        self.gateway = TaskGateway(self)
        self.unparsed_count = 0
        self._known: dict[str, dict[type, TickEvent]] = {}
        self._account: Topics[str] = Topics(_nothing, _nothing)
        self._raw: Topics[str] = Topics(_nothing, _nothing)
        self._tasks: set[asyncio.Task[object]] = set()

    # What a venue gives.

    async def load_instruments(self) -> list[Instrument]:
        """Ask the venue for its instruments."""
        raise NotImplementedError

    async def open(self) -> None:
        """Connect; return when everything is ready."""
        raise NotImplementedError

    async def close(self) -> None:
        """Disconnect and release everything, whatever of it was opened."""
        raise NotImplementedError

    async def submit(self, request: OrderRequest) -> OrderUpdate:
        """Send a new order; see `OrderCalls`."""
        raise NotImplementedError

    async def change(self, order_id: str, symbol: str, price: Decimal | None, quantity: Decimal | None) -> OrderUpdate:
        """Change a working order; see `OrderCalls`."""
        raise NotImplementedError

    async def withdraw(self, order_id: str, symbol: str) -> OrderUpdate:
        """Cancel a working order; see `OrderCalls`."""
        raise NotImplementedError

    async def look_up(self, order_id: str, symbol: str) -> OrderUpdate:
        """Return what became of an order; see `OrderCalls`."""
        raise NotImplementedError

    def follow(self, topic: Topic) -> None:
        """Subscribe to a topic at the venue."""
        raise NotImplementedError

    def unfollow(self, topic: Topic) -> None:
        """Unsubscribe from a topic."""
        raise NotImplementedError

    def resync(self, symbol: str, reason: str) -> None:
        """Ask for a symbol's book anew."""
        raise NotImplementedError

    def links(self) -> list[LinkStatus]:
        """Return the state of every connection."""
        raise NotImplementedError

    async def get_price_now(self, symbol: str) -> PriceNow:
        """Return the current prices."""
        raise NotImplementedError

    async def get_orderbook(self, symbol: str, level: int = 20) -> BookLevels:
        """Return the best `level` levels of each side."""
        raise NotImplementedError

    async def get_klines(
        self,
        symbol: str,
        timeframe: str,
        limit: int = 500,
        start_time: int | None = None,
        end_time: int | None = None,
    ) -> list[Bar]:
        """Return candles, oldest first; with a start the first `limit`, else the last."""
        raise NotImplementedError

    async def fees(self, symbol: str) -> Fees:
        """Return fees and funding."""
        raise NotImplementedError

    async def server_time(self) -> int:
        """Return the venue's time in ms."""
        raise NotImplementedError

    async def get_open_orders(self, symbol: str | None = None) -> list[OrderUpdate]:
        """Return the working orders, oldest first."""
        raise NotImplementedError

    async def get_fills(self, symbol: str | None = None, since: int | None = None) -> list[Fill]:
        """Return executions, oldest first; `since` in ms."""
        raise NotImplementedError

    async def fetch_balance(self, currency: str | None = None) -> list[Balance]:
        """Return balances."""
        raise NotImplementedError

    async def get_position(self, symbol: str | None = None) -> list[Position]:
        """Return open positions."""
        raise NotImplementedError

    async def set_leverage(self, symbol: str, leverage: Decimal) -> Decimal:
        """Set and return the leverage of an instrument."""
        raise NotImplementedError

    def leverage(self, symbol: str) -> Decimal | None:
        """Return the leverage of an instrument as last heard of; None while it is not known."""
        raise NotImplementedError

    async def check_account(self) -> list[str]:
        """Return what forbids trading on this account, with remedies."""
        raise NotImplementedError

    async def key_rights(self) -> KeyRights:
        """Return what the venue says the key may do."""
        raise NotImplementedError

    async def cancel_all_after(self, seconds: int) -> None:
        """Refuse: the venue has no such timer, unless its driver says otherwise."""
        raise Unsupported(f"{self.venue} has no timer that cancels our orders")

    # What is the same everywhere.

    async def start(self) -> None:
        """Load the instruments and connect; what was opened is closed again when that fails.

        Raises:
            CtosError: The venue cannot be reached, or refuses the key.
        """
        try:
            await self.refresh_instruments()
            await self.open()
        except BaseException:
            await self.close()
            raise

    async def stop(self) -> None:
        """Give up what is in flight and disconnect."""
        await self.gateway.stop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.close()

    async def refresh_instruments(self) -> None:
        """Take over the venue's instruments as they are now."""
        self.instruments = {instrument.symbol: instrument for instrument in await self.load_instruments()}

    def require_keys(self) -> None:
        """Raise `AuthError` when this driver has no keys."""
        if self.setup.credentials is None:
            raise AuthError(f"{self.venue}: no keys: name an account with keys in accounts.yaml to use it")

    def instrument(self, symbol: str) -> Instrument:
        """Return an instrument.

        Raises:
            UnknownSymbol: The venue does not list it.
        """
        instrument = self.instruments.get(symbol)
        if instrument is None:
            raise UnknownSymbol(f"{symbol!r} is not listed on {self.venue}")
        return instrument

    async def symbols(self, kind: InstrumentKind | None = None) -> list[Instrument]:
        """Return the tradable instruments."""
        return [i for i in self.instruments.values() if kind is None or i.kind is kind]

    async def exchange_limits(self, symbol: str) -> ExchangeLimits:
        """Return steps and limits of an instrument."""
        i = self.instrument(symbol)
        return ExchangeLimits(
            symbol, i.tick_size, i.lot_size, i.min_quantity, i.min_notional, i.contract_size, i.max_leverage
        )

    async def place_order(
        self,
        symbol: str,
        side: Side,
        order_type: OrderType,
        size: Decimal,
        price: Decimal | None = None,
        client_id: str | None = None,
        post_only: bool = False,
        reduce_only: bool = False,
        time_in_force: str | None = None,
        trigger_price: Decimal | None = None,
    ) -> OrderUpdate:
        """Place an order and return what became of it, or the bare acknowledgement when the venue cannot tell yet."""
        kind = combined_order_type(order_type, post_only, time_in_force)
        self.instrument(symbol)
        chosen = client_id or self.new_client_id()
        request = OrderRequest(chosen, "", symbol, side, kind, size, price, trigger_price, reduce_only)
        accepted = await self.submit(request)
        if accepted.state is not OrderState.SENT:
            return accepted
        try:
            return await self.look_up(chosen, symbol)
        except CtosError as error:
            self.log("warning", f"{self.venue}: order {chosen} was accepted, but could not be looked up: {error}")
            return accepted

    async def amend_order(
        self, order_id: str, symbol: str, price: Decimal | None = None, size: Decimal | None = None
    ) -> OrderUpdate:
        """Amend an order by venue or client id; `size` is the new total."""
        self.instrument(symbol)
        if price is None and size is None:
            raise InvalidOrder(f"amend {order_id}: give a price, a size or both")
        return await self.change(order_id, symbol, price, size)

    async def revoke_order(self, order_id: str, symbol: str) -> OrderUpdate:
        """Cancel an order by venue or client id."""
        self.instrument(symbol)
        return await self.withdraw(order_id, symbol)

    async def get_order_status(self, order_id: str, symbol: str) -> OrderUpdate:
        """Return what became of an order."""
        self.instrument(symbol)
        return await self.look_up(order_id, symbol)

    async def cancel_all(self, symbol: str | None = None) -> list[OrderUpdate]:
        """Cancel every order, of one instrument or all; one that is done meanwhile is left out.

        Raises:
            CtosError: Some could not be cancelled; all were tried.
        """
        if symbol is not None:
            self.instrument(symbol)
        canceled, failures = [], []
        for order in await self.get_open_orders(symbol):
            try:
                canceled.append(await self.withdraw(order.client_id or order.venue_order_id, order.symbol))
            except OrderNotFound:
                continue
            except CtosError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return canceled

    async def close_all_positions(
        self,
        symbol: str | None = None,
        mode: str = "market",
        price_offset: Decimal = Decimal(0),
        side: Side | None = None,
    ) -> list[OrderUpdate]:
        """Close positions reduce-only, by `market`, or by `limit` at the mark moved away by an offset (fraction).

        `side` buy closes long positions only, sell short ones.

        Raises:
            CtosError: Some could not be closed; all were tried.
        """
        if mode not in ("market", "limit"):
            raise InvalidOrder(f"mode {mode!r} must be market or limit")
        closed, failures = [], []
        for position in await self.get_position(symbol):
            held = Side.BUY if position.quantity > 0 else Side.SELL
            if not position.quantity or (side is not None and side is not held):
                continue
            closing, price = held.opposite, None
            if mode == "limit":
                wanted = position.mark_price * (1 + price_offset * held.sign)
                price = self.instrument(position.symbol).round_price(closing, wanted)
            kind = OrderType.MARKET if price is None else OrderType.LIMIT
            quantity = abs(position.quantity)
            try:
                closed.append(await self.place_order(position.symbol, closing, kind, quantity, price, reduce_only=True))
            except CtosError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return closed

    def new_client_id(self) -> str:
        """Return a client id of the form that the engine uses: 18 lower-case letters and digits, a letter first."""
        letters = [self.rng.choice(_ID_LETTERS) for _ in range(17)]
        return "x" + "".join(letters)

    def book(self, symbol: str) -> OrderBook:
        """Return the live book of an instrument, kept current while it is subscribed."""
        self.instrument(symbol)
        return self.books.book(symbol)

    def subscribe_ticks(self, symbol: str, handler: Callable[[TickEvent], None]) -> Unsubscribe:
        """Stream quotes, tickers, mark prices and funding rates; what is known already comes first, but later."""
        self.instrument(symbol)
        return self._subscribe(Topic("ticks", symbol), handler, lambda: list(self._known.get(symbol, {}).values()))

    def subscribe_orderbook(self, symbol: str, handler: Callable[[BookEvent], None]) -> Unsubscribe:
        """Stream book changes; a book that is complete already is announced first, but later."""
        book = self.book(symbol)
        return self._subscribe(
            Topic("book", symbol), handler, lambda: [BookSynced(symbol, book.ts)] if book.valid else []
        )

    def subscribe_klines(self, symbol: str, timeframe: str, handler: Callable[[Bar], None]) -> Unsubscribe:
        """Stream candles; closed ones are delivered once."""
        self.instrument(symbol)
        if timeframe not in TIMEFRAME_MS:
            raise InvalidOrder(f"timeframe {timeframe!r} must be one of {', '.join(TIMEFRAME_MS)}")
        return self.topics.add(Topic("klines", symbol, timeframe), handler)

    def subscribe_trades(self, symbol: str, handler: Callable[[Trade], None]) -> Unsubscribe:
        """Stream public trades."""
        self.instrument(symbol)
        return self.topics.add(Topic("trades", symbol), handler)

    def subscribe_raw(self, handler: Callable[[bytes], None]) -> Unsubscribe:
        """Stream the public wire messages as they arrive, REST snapshots among them."""
        return self._raw.add("raw", handler)

    def subscribe_account(self, handler: Callable[[AccountEvent], None]) -> Unsubscribe:
        """Stream order updates, fills, positions, balances and funding payments of this account."""
        return self._account.add("account", handler)

    def on_raw(self, payload: bytes) -> None:
        """Pass a public wire message on to who records it."""
        self._raw.publish("raw", payload)

    def on_account(self, event: AccountEvent) -> None:
        """Pass an event of this account on."""
        self._account.publish("account", event)

    def on_market(self, events: list[MarketEvent]) -> None:
        """Apply and pass on what a decoder made of one public message."""
        for event in events:
            if isinstance(event, BookUpdate | BookSynced | BookInvalid):
                self.books.apply(event.symbol, (event,))
            elif isinstance(event, Quote | Ticker | MarkPrice | FundingRate):
                topic = Topic("ticks", event.symbol)
                if self.topics.has(topic):
                    self._known.setdefault(event.symbol, {})[type(event)] = event
                    self.topics.publish(topic, event)
            elif isinstance(event, Trade):
                self.topics.publish(Topic("trades", event.symbol), event)
            elif isinstance(event, Bar):
                self.topics.publish(Topic("klines", event.symbol, event.timeframe), event)
            elif isinstance(event, Unparsed):
                self._on_unparsed(event)

    def in_background(self, work: Coroutine[Any, Any, object], name: str) -> asyncio.Task[object]:
        """Run a coroutine beside everything else, until `stop`; a failure goes to the loop's exception handler."""
        task = asyncio.get_running_loop().create_task(work, name=f"{self.venue} {name}")
        self._tasks.add(task)
        task.add_done_callback(self._background_done)
        return task

    def _background_done(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            task.get_loop().call_exception_handler({"message": f"{task.get_name()} failed", "exception": error})

    def _on_unparsed(self, event: Unparsed) -> None:
        self.unparsed_count += 1
        if self.unparsed_count in (1, 10, 100) or self.unparsed_count % 1000 == 0:
            text = f"{self.venue}: {self.unparsed_count} messages could not be understood; the last: {event.reason}"
            self.log("warning", f"{text}: {event.raw}")

    def _subscribe(self, topic: Topic, handler: Callable[..., None], known: Callable[[], list[object]]) -> Unsubscribe:
        remove = self.topics.add(topic, handler)
        active = True

        def first() -> None:
            for event in known():
                if active:
                    handler(event)

        def unsubscribe() -> None:
            nonlocal active
            active = False
            remove()

        self.clock.call_at(self.clock.now_ns(), first)
        return unsubscribe

    def _publish_book(self, symbol: str, event: BookEvent) -> None:
        self.topics.publish(Topic("book", symbol), event)

    def _followed(self, topic: Topic) -> None:
        self.follow(topic)

    def _unfollowed(self, topic: Topic) -> None:
        if topic.kind == "ticks":
            self._known.pop(topic.symbol, None)
        elif topic.kind == "book":
            self.books.forget(topic.symbol)
        self.unfollow(topic)


def _nothing(topic: str) -> None:
    """Do nothing: no venue has to be told."""
