"""The paper venue as a driver: syscalls, streams, and the pump that plays the market."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from math import inf
from typing import TypeVar

from drivers.paper.account import AuditLine
from drivers.paper.bars import BarStream, aggregated, merged
from drivers.paper.config import PaperConfig, PaperStore
from drivers.paper.exchange import Exchange
from drivers.paper.feed import MarketFeed
from drivers.paper.gateway import Operation, PaperGateway
from drivers.paper.markets.model import MarketModel
from drivers.paper.state import decode, encode
from engine.kernel.account import Balance, Position
from engine.kernel.clock import NS_PER_S, Clock, Rng, VirtualClock, sleep
from engine.kernel.errors import CtosError, InvalidOrder, OrderNotFound
from engine.kernel.instruments import Instrument, InstrumentKind
from engine.kernel.market import TIMEFRAME_MS, Bar, BookSynced, BookUpdate, MarketEvent, MarkPrice, Trade, Unparsed
from engine.kernel.orderbook import OrderBook
from engine.kernel.orders import Fill, OrderRequest, OrderType, OrderUpdate, Side
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

_PUMP_S = 0.02
_SLICE_NS = 5_000_000
_SLICE_STEPS = 16
_SKIP_NS = 10 * NS_PER_S
_TIME_IN_FORCE = {"gtc": OrderType.LIMIT, "ioc": OrderType.IOC, "fok": OrderType.FOK}

T = TypeVar("T")


class PaperDriver:
    """A simulated venue and account.

    Args:
        model: Where prices come from.
        clock: Venue time; market events are played when it reaches them.
        rng: Randomness of the latency.
        config: Balances, fees, latency, fill model.
        store: Keeps the account between runs.

    Raises:
        ConfigError: The saved account cannot be read, or does not fit the market.
    """

    venue = "paper"

    def __init__(self, model: MarketModel, clock: Clock, rng: Rng, config: PaperConfig, store: PaperStore) -> None:
        self._model = model
        self._clock = clock
        self._config = config
        self._store = store
        saved = store.load()
        instruments = [config.with_fees(instrument) for instrument in model.instruments()]
        self.exchange = Exchange(instruments, config, clock, decode(saved) if saved is not None else None)
        self.unparsed = 0
        self._unparsed_handlers: tuple[Callable[[Unparsed], None], ...] = ()
        self._account_handlers: tuple[Callable[[AccountEvent], None], ...] = ()
        self._feed = MarketFeed(self.exchange, self._commit, self._on_unparsed)
        self._pumping = False
        self._task: asyncio.Task[None] | None = None
        self.gateway = PaperGateway(self.exchange, clock, rng, config, self._pump_now, self._commit)

    async def start(self) -> None:
        """Begin to play the market as the clock goes."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._play(), name="paper market")

    async def stop(self) -> None:
        """Stop playing and keep the account."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._store.save(encode(self.exchange.state()))

    async def _play(self) -> None:
        while self._model.next_event_ns() is not None:
            more = self.pump_until(self._clock.now_ns(), _SLICE_NS)
            await sleep(self._clock, 0.0 if more else _PUMP_S * self._config.speed)

    def next_event_ns(self) -> int | None:
        """Return the time of the next market event, None when the market has ended."""
        return self._model.next_event_ns()

    def pump_until(self, now_ns: int, budget_ns: int | None = None) -> bool:
        """Play every market event that is due at `now_ns`, in order.

        Args:
            now_ns: Market time to play up to.
            budget_ns: How long this may take; without one all that is due is played.

        Returns:
            Whether more is due.
        """
        model, feed = self._model, self._feed
        handlers, step, next_event_ns = feed.handlers, model.step, model.next_event_ns
        deadline_ns = inf if budget_ns is None else self._clock.stopwatch_ns() + budget_ns
        due = next_event_ns()
        if budget_ns is not None and due is not None and now_ns - due > _SKIP_NS:
            model.skip_to(now_ns)
        steps = 0
        self._pumping = True
        try:
            while (due := next_event_ns()) is not None and due <= now_ns:
                if due >= feed.next_second_ns:
                    feed.catch_up(due)
                feed.now_ns = due
                for event in step():
                    handlers[type(event)](event)
                steps += 1
                if not steps % _SLICE_STEPS and self._clock.stopwatch_ns() > deadline_ns:
                    return True
            feed.catch_up(now_ns)
        finally:
            self._pumping = False
        return False

    def run_virtual(self, clock: VirtualClock, until_ns: int) -> None:
        """Play the market on a virtual clock, as fast as it goes, until `until_ns` or the market's end."""
        next_event_ns = self._model.next_event_ns
        while (due := next_event_ns()) is not None and due <= until_ns:
            clock.advance_to(due)
            self.pump_until(due)
        clock.advance_to(until_ns)
        self._feed.catch_up(until_ns)

    def on_market(self, event: MarketEvent) -> None:
        """Take one market event from outside the model, at the clock's present time."""
        self._feed.on_market(event)

    def _pump_now(self) -> None:
        if not self._pumping:
            self.pump_until(self._clock.now_ns())

    def _on_unparsed(self, event: Unparsed) -> None:
        self.unparsed += 1
        for handler in self._unparsed_handlers:
            handler(event)

    def _commit(self, reply: Callable[[], None] | None = None) -> None:
        """Save what an operation changed, answer it, then deliver its consequences."""
        public, events = self.exchange.take_events()
        if events:
            self._store.save(encode(self.exchange.state()))
        if reply is not None:
            reply()
        for change in public:
            channel = self._feed.channels[change.symbol]
            handlers: tuple[Callable[..., None], ...] = channel.books if type(change) is BookUpdate else channel.ticks
            for handler in handlers:
                handler(change)
        for event in events:
            for receive in self._account_handlers:
                receive(event)

    def reset(self) -> None:
        """Cancel all orders, flatten all positions and restore the configured balances."""
        self.exchange.reset()
        self._commit()

    def audit(self) -> list[AuditLine]:
        """Return the proof of every currency's cash."""
        return self.exchange.audit()

    async def symbols(self, kind: InstrumentKind | None = None) -> list[Instrument]:
        """Return the tradable instruments."""
        return [i for i in self.exchange.instruments.values() if kind is None or i.kind is kind]

    async def exchange_limits(self, symbol: str) -> ExchangeLimits:
        """Return steps and limits of an instrument."""
        i = self.exchange.market(symbol).instrument
        return ExchangeLimits(
            symbol, i.tick_size, i.lot_size, i.min_quantity, i.min_notional, i.contract_size, i.max_leverage
        )

    async def get_price_now(self, symbol: str) -> PriceNow:
        """Return the current prices."""
        market = self.exchange.market(symbol)
        touch, exact = market.touch, market.instrument.price_from_float
        return PriceNow(
            symbol,
            touch.ts if touch is not None else self._clock.now_ms(),
            exact(touch.bid) if touch is not None and touch.bid_size else None,
            exact(touch.ask) if touch is not None and touch.ask_size else None,
            exact(market.last) if market.last is not None else None,
            market.mark_price(),
        )

    async def get_orderbook(self, symbol: str, level: int = 20) -> BookLevels:
        """Return the best `level` levels of each side."""
        if level < 1:
            raise InvalidOrder(f"level {level} must be at least 1")
        market = self.exchange.market(symbol)
        book, instrument = market.book, market.instrument

        def exact(levels: list[tuple[float, float]]) -> list[tuple[Decimal, Decimal]]:
            return [(instrument.price_from_float(price), Decimal(repr(size))) for price, size in levels]

        return BookLevels(symbol, book.ts, exact(book.top_bids(level)), exact(book.top_asks(level)))

    async def get_klines(
        self,
        symbol: str,
        timeframe: str,
        limit: int = 500,
        start_time: int | None = None,
        end_time: int | None = None,
    ) -> list[Bar]:
        """Return candles, oldest first; the last may be unclosed. With a start the first `limit`, else the last."""
        self.exchange.market(symbol)
        if timeframe not in TIMEFRAME_MS:
            raise InvalidOrder(f"timeframe {timeframe!r} is not one of {', '.join(TIMEFRAME_MS)}")
        if limit < 1:
            raise InvalidOrder(f"limit {limit} must be at least 1")
        bars = self._candles(symbol, timeframe, limit, start_time, end_time, forming=True)
        bars = [
            bar
            for bar in bars
            if (start_time is None or bar.open_time >= start_time) and (end_time is None or bar.open_time <= end_time)
        ]
        return bars[:limit] if start_time is not None else bars[-limit:]

    def _candles(
        self, symbol: str, timeframe: str, limit: int, start: int | None, end: int | None, forming: bool
    ) -> list[Bar]:
        """Join the model's history with the minutes played since."""
        minutes = self._feed.channels[symbol].bars
        played = aggregated(
            [*minutes.closed, *([minutes.forming] if forming and minutes.forming is not None else [])], timeframe
        )
        history = self._model.klines(symbol, timeframe, limit, start, end)
        if history and played and history[-1].open_time == played[0].open_time:
            joint = merged(history.pop(), played[0], timeframe, played[0].closed)
            played[0] = joint
        return history + played

    async def fees(self, symbol: str) -> Fees:
        """Return fees and funding."""
        market = self.exchange.market(symbol)
        funding, instrument = market.funding, market.instrument
        rate = Decimal(repr(funding.rate)) if funding is not None else None
        return Fees(
            symbol,
            instrument.maker_fee,
            instrument.taker_fee,
            rate,
            rate / funding.period_h if rate is not None and funding is not None else None,
            funding.period_h if funding is not None else None,
            funding.next_time if funding is not None else None,
        )

    async def server_time(self) -> int:
        """Return the venue's time in ms."""
        return self._clock.now_ms()

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
        """Place an order and return what became of it by the time of the answer."""
        kind = _order_type(order_type, post_only, time_in_force)
        request = OrderRequest(client_id or "", "", symbol, side, kind, size, price, trigger_price, reduce_only)
        accepted = await self._request(lambda: self.exchange.place(request))
        return self.exchange.query(accepted.venue_order_id, symbol)

    async def amend_order(
        self, order_id: str, symbol: str, price: Decimal | None = None, size: Decimal | None = None
    ) -> OrderUpdate:
        """Amend an order by venue or client id; `size` is the new total."""
        return await self._request(lambda: self.exchange.amend(order_id, symbol, price, size))

    async def revoke_order(self, order_id: str, symbol: str) -> OrderUpdate:
        """Cancel an order by venue or client id."""
        return await self._request(lambda: self.exchange.cancel(order_id, symbol))

    async def cancel_all(self, symbol: str | None = None) -> list[OrderUpdate]:
        """Cancel every order, of one instrument or all; one that fills meanwhile is left out."""
        if symbol is not None:
            self.exchange.market(symbol)
        canceled = []
        for order in self.exchange.open_orders(symbol):
            try:
                canceled.append(await self.revoke_order(order.venue_order_id, order.symbol))
            except OrderNotFound:
                continue
        return canceled

    async def get_open_orders(self, symbol: str | None = None) -> list[OrderUpdate]:
        """Return the working orders, oldest first."""
        return self.exchange.open_orders(symbol)

    async def get_order_status(self, order_id: str, symbol: str) -> OrderUpdate:
        """Return what became of an order."""
        return self.exchange.query(order_id, symbol)

    async def get_fills(self, symbol: str | None = None, since: int | None = None) -> list[Fill]:
        """Return executions, oldest first; `since` in ms."""
        return [
            fill
            for fill in self.exchange.registry.fills
            if (symbol is None or fill.symbol == symbol) and (since is None or fill.ts >= since)
        ]

    async def fetch_balance(self, currency: str | None = None) -> list[Balance]:
        """Return balances, in order of currency."""
        return [balance for balance in self.exchange.balances() if currency is None or balance.currency == currency]

    async def get_position(self, symbol: str | None = None) -> list[Position]:
        """Return open positions, in order of name."""
        return [position for position in self.exchange.positions() if symbol is None or position.symbol == symbol]

    async def close_all_positions(
        self,
        symbol: str | None = None,
        mode: str = "market",
        price_offset: Decimal = Decimal(0),
        side: Side | None = None,
    ) -> list[OrderUpdate]:
        """Close positions reduce-only, by `market`, or by `limit` at the mark moved away by an offset (fraction).

        `side` buy closes long positions only, sell short ones.
        """
        if mode not in ("market", "limit"):
            raise InvalidOrder(f"mode {mode!r} must be market or limit")
        closed = []
        for position in await self.get_position(symbol):
            held = Side.BUY if position.quantity > 0 else Side.SELL
            if side is not None and side is not held:
                continue
            quantity, closing = abs(position.quantity), held.opposite
            price = None
            if mode == "limit":
                instrument = self.exchange.instruments[position.symbol]
                price = instrument.round_price(closing, position.mark_price * (1 + price_offset * held.sign))
            kind = OrderType.MARKET if price is None else OrderType.LIMIT
            closed.append(await self.place_order(position.symbol, closing, kind, quantity, price, reduce_only=True))
        return closed

    async def set_leverage(self, symbol: str, leverage: Decimal) -> Decimal:
        """Set and return the leverage of an instrument."""
        result = self.exchange.set_leverage(symbol, leverage)
        self._commit()
        return result

    def book(self, symbol: str) -> OrderBook:
        """Return the live book of an instrument."""
        return self.exchange.market(symbol).book

    def subscribe_ticks(self, symbol: str, handler: Callable[[TickEvent], None]) -> Unsubscribe:
        """Stream quotes, tickers, mark prices and funding rates; what is known already comes first."""
        market = self.exchange.market(symbol)
        channel = self._feed.channels[symbol]
        channel.ticks = (*channel.ticks, handler)
        active = [True]

        def first() -> None:
            known: list[TickEvent | None] = [market.touch, market.funding, market.ticker]
            if market.mark is not None:
                known.append(MarkPrice(symbol, self._clock.now_ms(), market.mark, market.index or market.mark))
            for event in known:
                if event is not None and active[0]:
                    handler(event)

        def unsubscribe() -> None:
            active[0] = False
            channel.ticks = _without(channel.ticks, handler)

        self._clock.call_at(self._clock.now_ns(), first)
        return unsubscribe

    def subscribe_orderbook(self, symbol: str, handler: Callable[[BookEvent], None]) -> Unsubscribe:
        """Stream book changes; a book that is complete already is announced first."""
        market = self.exchange.market(symbol)
        channel = self._feed.channels[symbol]
        channel.books = (*channel.books, handler)
        active = [True]

        def first() -> None:
            if active[0] and market.book.valid:
                handler(BookSynced(symbol, market.book.ts))

        def unsubscribe() -> None:
            active[0] = False
            channel.books = _without(channel.books, handler)

        self._clock.call_at(self._clock.now_ns(), first)
        return unsubscribe

    def subscribe_klines(self, symbol: str, timeframe: str, handler: Callable[[Bar], None]) -> Unsubscribe:
        """Stream candles about once a second while they form; closed ones once."""
        self.exchange.market(symbol)
        if timeframe not in TIMEFRAME_MS:
            raise InvalidOrder(f"timeframe {timeframe!r} is not one of {', '.join(TIMEFRAME_MS)}")
        streams = self._feed.channels[symbol].streams
        stream = streams.get(timeframe)
        if stream is None:
            now_ms = self._clock.now_ms()
            period_ms = now_ms - now_ms % TIMEFRAME_MS[timeframe]
            before = self._candles(symbol, timeframe, 1, None, None, forming=False)[-1:]
            present = before[0] if before and before[0].open_time == period_ms else None
            stream = streams[timeframe] = BarStream(timeframe, present)
        stream.handlers = (*stream.handlers, handler)

        def unsubscribe() -> None:
            stream.handlers = _without(stream.handlers, handler)
            if not stream.handlers and streams.get(timeframe) is stream:
                del streams[timeframe]

        return unsubscribe

    def subscribe_trades(self, symbol: str, handler: Callable[[Trade], None]) -> Unsubscribe:
        """Stream public trades."""
        self.exchange.market(symbol)
        channel = self._feed.channels[symbol]
        channel.trades = (*channel.trades, handler)

        def unsubscribe() -> None:
            channel.trades = _without(channel.trades, handler)

        return unsubscribe

    def subscribe_account(self, handler: Callable[[AccountEvent], None]) -> Unsubscribe:
        """Stream order updates, fills, positions, balances and funding payments of this account."""
        self._account_handlers = (*self._account_handlers, handler)

        def unsubscribe() -> None:
            self._account_handlers = _without(self._account_handlers, handler)

        return unsubscribe

    def subscribe_unparsed(self, handler: Callable[[Unparsed], None]) -> Unsubscribe:
        """Stream the raw messages of a recording that could not be understood."""
        self._unparsed_handlers = (*self._unparsed_handlers, handler)

        def unsubscribe() -> None:
            self._unparsed_handlers = _without(self._unparsed_handlers, handler)

        return unsubscribe

    async def _request(self, operation: Operation) -> OrderUpdate:
        future: asyncio.Future[OrderUpdate] = asyncio.get_running_loop().create_future()

        def reply(outcome: OrderUpdate | CtosError) -> None:
            if future.done():
                return
            if isinstance(outcome, CtosError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self.gateway.submit(operation, reply)
        return await future


def _without(handlers: tuple[T, ...], handler: T) -> tuple[T, ...]:
    """Return the tuple less one occurrence of the handler."""
    kept = list(handlers)
    if handler in kept:
        kept.remove(handler)
    return tuple(kept)


def _order_type(order_type: OrderType, post_only: bool, time_in_force: str | None) -> OrderType:
    """Return the one order type that a type, a post-only flag and a time in force mean together."""
    wanted = order_type
    if time_in_force is not None:
        by_force = _TIME_IN_FORCE.get(time_in_force.lower())
        if by_force is None:
            raise InvalidOrder(f"time in force {time_in_force!r} is not one of gtc, ioc, fok")
        if by_force is not OrderType.LIMIT:
            if order_type not in (OrderType.LIMIT, by_force):
                raise InvalidOrder(f"a {order_type} order cannot be {time_in_force}")
            wanted = by_force
    if post_only:
        if wanted not in (OrderType.LIMIT, OrderType.POST_ONLY):
            raise InvalidOrder(f"a {wanted} order cannot be post-only")
        wanted = OrderType.POST_ONLY
    return wanted
