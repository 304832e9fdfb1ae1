"""The part of a driver that is the same for every venue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from decimal import Decimal
from typing import Any

from drivers.transport.arch import Arch, venue_features
from drivers.transport.gateway import TaskGateway
from drivers.transport.known_instruments import KnownInstruments
from drivers.transport.lasting import LastingTask
from drivers.transport.order_calls import LastingOrderCalls
from drivers.transport.rate_limits import RateLimiter
from drivers.transport.server_clock import ServerClock
from drivers.transport.setup import VenueSetup
from drivers.transport.venue_calls import Topic, VenueCalls
from drivers.transport.venue_streams import VenueStreams
from engine.kernel.account import CashTransfer
from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import (
    AuthError,
    CtosError,
    InvalidOrder,
    OrderNotFound,
    UnknownSymbol,
    Unsupported,
    VenueUnavailable,
)
from engine.kernel.instruments import Instrument, InstrumentKind, InstrumentStatus
from engine.kernel.links import VenueHealth
from engine.kernel.market import TIMEFRAME_MS, Bar, Trade
from engine.kernel.orderbook import OrderBook
from engine.kernel.orders import OrderRequest, OrderState, OrderType, OrderUpdate, Side, combined_order_type
from engine.kernel.syscalls import AccountEvent, BookEvent, ExchangeLimits, TickEvent, Unsubscribe

_ID_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_FRESH_NS = 3 * NS_PER_S


class VenueDriver(VenueCalls):
    """Base of the drivers of real venues.

    A venue gives the calls of `VenueCalls`, and `cancel_all_after` where it has such a timer.

    It calls `on_market` with what its decoder made of a public message, `on_account` with what a private one told,
    `on_raw` with each public wire message, `books.lose_all` when the public socket broke.

    Args:
        setup: What the driver needs from outside.
        arch: The venue's description.

    Attributes:
        streams: Who listens to what.
        instruments: By canonical name, what is not listed any more among them; filled by `start`, replaced whole by
            `refresh_instruments`.
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
        self._refreshed_ns = 0
        self._known = KnownInstruments(setup.store, setup.log)
        self.streams = VenueStreams(arch.venue, self, setup.clock, setup.log)
        self.topics, self.books = self.streams.topics, self.streams.books
        self.on_market, self.on_account = self.streams.on_market, self.streams.on_account
        self.on_raw = self.streams.on_raw
        self._order_calls = LastingOrderCalls(self, self.is_listed, self.get_open_orders)
        self.gateway = TaskGateway(self._order_calls)
        self._tasks: dict[asyncio.Task[object], None] = {}  # in the order in which they began
        self._lasting: list[LastingTask] = []
        self._limiters: list[RateLimiter] = []
        self._times: list[ServerClock] = []
        self._window_ms = 0.0

    async def get_transfers(self, since: int) -> list[CashTransfer]:
        """Refuse: this venue does not tell every deposit, withdrawal and transfer."""
        raise Unsupported(f"{self.venue} does not tell every deposit, withdrawal and transfer")

    def follow_health(self, limiter: RateLimiter, time: ServerClock, window_ms: float) -> None:
        """Make a budget, a venue's time and the window in which it accepts a time stamp part of `health`."""
        self._limiters.append(limiter)
        self._times.append(time)
        self._window_ms = window_ms

    def health(self) -> VenueHealth:
        """Return whether the venue serves us, and how well its time is known."""
        bans = [until for limiter in self._limiters if (until := limiter.banned_until_ms) is not None]
        errors = [time.uncertainty_ms for time in self._times]
        return VenueHealth(max(bans, default=None), max(errors, default=None), self._window_ms / 2)

    async def cancel_all_after(self, seconds: int) -> None:
        """Refuse: the venue has no such timer, unless its driver says otherwise."""
        raise Unsupported(f"{self.venue} has no timer that cancels our orders")

    async def start(self) -> None:
        """Load the instruments and connect; what was opened is closed again when that fails.

        Raises:
            CtosError: The venue cannot be reached, or refuses the key.
        """
        await self._begin(self.open)

    async def start_requests(self) -> None:
        """Be ready to cancel and to ask, which is all that is needed to clear up after a program that is gone.

        Raises:
            CtosError: The venue cannot be reached, or refuses the key.
        """
        await self._begin(self.open_requests)

    async def _begin(self, open_up: Callable[[], Awaitable[None]]) -> None:
        try:
            await self.refresh_instruments()
            await open_up()
        except BaseException:
            await self.close()
            raise

    async def open_requests(self) -> None:
        """Make cancels and questions possible; opens the streams as well, unless the driver can do without."""
        await self.open()

    async def stop(self) -> None:
        """Give up what is in flight and disconnect."""
        await self.gateway.stop()
        lasting, self._lasting = self._lasting, []
        for each in lasting:
            await each.stop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.close()

    async def refresh_instruments(self) -> None:
        """Take over the venue's instruments as they are now; what it has ceased to list stays known, as delisted.

        Raises:
            VenueUnavailable: The venue lists nothing at all.
        """
        listed = await self.load_instruments()
        if not listed:
            raise VenueUnavailable(f"{self.venue}: the venue lists no instruments now; try again")
        self.instruments = self._known.take(listed)
        self._refreshed_ns = self.clock.now_ns()
        for symbol in self._known.unlisted:
            self.on_unlisted(self.instruments[symbol])
        self.streams.leave_out(self._known.unlisted)

    def on_unlisted(self, instrument: Instrument) -> None:
        """Hear of an instrument that is known but not listed, after each look: for tables of a driver's own."""

    def is_listed(self, symbol: str) -> bool:
        """Return whether the venue lists an instrument at present, and not as delisted."""
        instrument = self.instruments.get(symbol)
        return instrument is not None and instrument.status is not InstrumentStatus.DELISTED

    def remembered(self, symbol: str) -> Instrument | None:
        """Return an instrument that is listed or, as delisted, was once; None for one that was never seen."""
        return self.instruments.get(symbol)

    def require_keys(self) -> None:
        """Raise `AuthError` when this driver has no keys."""
        if self.setup.credentials is None:
            raise AuthError(f"{self.venue}: no keys: name an account with keys in accounts.yaml to use it")

    def instrument(self, symbol: str) -> Instrument:
        """Return an instrument, also one that is not listed any more.

        Raises:
            UnknownSymbol: The venue does not list it, and never did.
        """
        instrument = self.instruments.get(symbol)
        if instrument is None:
            raise UnknownSymbol(f"{symbol!r} is not listed on {self.venue}")
        return instrument

    async def symbols(self, kind: InstrumentKind | None = None) -> list[Instrument]:
        """Return the instruments that the venue lists, whatever their status; it is asked anew when 3 s have passed."""
        if self.clock.now_ns() - self._refreshed_ns > _FRESH_NS:
            await self.refresh_instruments()
        listed = (each for symbol, each in self.instruments.items() if symbol not in self._known.unlisted)
        return [each for each in listed if kind is None or each.kind is kind]

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
            return await self._order_calls.look_up(chosen, symbol)
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
        return await self._order_calls.withdraw(order_id, symbol)

    async def get_order_status(self, order_id: str, symbol: str) -> OrderUpdate:
        """Return what became of an order."""
        self.instrument(symbol)
        return await self._order_calls.look_up(order_id, symbol)

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
                canceled.append(await self._order_calls.withdraw(order.client_id or order.venue_order_id, order.symbol))
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
        return self.streams.ticks(symbol, handler)

    def subscribe_orderbook(self, symbol: str, handler: Callable[[BookEvent], None]) -> Unsubscribe:
        """Stream book changes; a book that is complete already is announced first, but later."""
        self.instrument(symbol)
        return self.streams.orderbook(symbol, handler)

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
        return self.streams.raw(handler)

    def subscribe_account(self, handler: Callable[[AccountEvent], None]) -> Unsubscribe:
        """Stream order updates, fills, positions, balances and funding payments of this account."""
        return self.streams.account(handler)

    def in_background(self, work: Coroutine[Any, Any, object], name: str) -> asyncio.Task[object]:
        """Run a coroutine beside everything else, until `stop`; a failure goes to the loop's exception handler."""
        task = asyncio.get_running_loop().create_task(work, name=f"{self.venue} {name}")
        self._tasks[task] = None
        task.add_done_callback(self._background_done)
        return task

    def lasting(self, make: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Run a coroutine that has no end beside everything else, until `stop`; when it ends it begins anew."""
        task = LastingTask(f"{self.venue} {name}", make, self.clock)
        self._lasting.append(task)
        task.start()

    def _background_done(self, task: asyncio.Task[object]) -> None:
        self._tasks.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            task.get_loop().call_exception_handler({"message": f"{task.get_name()} failed", "exception": error})
