"""The paper venue as a driver: syscalls, streams, and the pump that plays the market."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal

from drivers.paper.account import AuditLine
from drivers.paper.candles import Candles
from drivers.paper.channel import Channel
from drivers.paper.config import PaperConfig, PaperStore
from drivers.paper.exchange import Exchange
from drivers.paper.feed import MarketFeed
from drivers.paper.gateway import Operation, PaperGateway
from drivers.paper.markets.model import MarketModel
from drivers.paper.pump import MarketPump
from drivers.paper.state import decode, encode
from drivers.paper.streams import Streams
from drivers.transport.lasting import LastingTask
from engine.kernel.account import Balance, CashTransfer, KeyRights, Position
from engine.kernel.clock import Clock, Rng, VirtualClock
from engine.kernel.errors import CtosError, InvalidOrder, OrderNotFound, Unsupported, VenueUnavailable
from engine.kernel.instruments import Instrument, InstrumentKind
from engine.kernel.links import LinkStatus, VenueHealth
from engine.kernel.market import Bar, Levels, MarketEvent, Trade
from engine.kernel.orderbook import OrderBook
from engine.kernel.orders import Fill, OrderRequest, OrderType, OrderUpdate, Side, combined_order_type
from engine.kernel.syscalls import (
    AccountEvent,
    BookEvent,
    BookLevels,
    ExchangeLimits,
    Fees,
    PriceNow,
    TickEvent,
    Unsubscribe,
    VenueFeatures,
)


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
    features = VenueFeatures(transfers=True)

    def __init__(self, model: MarketModel, clock: Clock, rng: Rng, config: PaperConfig, store: PaperStore) -> None:
        self._model = model
        self._clock = clock
        self._config = config
        self._store = store
        self.exchange = Exchange((), config, clock)
        self._channels: dict[str, Channel] = {}
        self._candles = Candles(self._channels, model, clock)
        self._streams = Streams(self._channels, self._candles, clock)
        self._feed = MarketFeed(self.exchange, self._channels, self._commit, self._streams.on_unparsed)
        self._pump = MarketPump(model, self._feed, clock, config.speed)
        self._playing = LastingTask("paper market", self._pump.play, clock, may_return=True)
        self.gateway = PaperGateway(self.exchange, clock, rng, config, self._pump.pump_now, self._commit)
        if listed := model.instruments():
            self._open([config.with_fees(instrument) for instrument in listed])

    def _open(self, instruments: Sequence[Instrument]) -> None:
        """Begin with the saved account on these instruments."""
        saved = self._store.load()
        self.exchange.open(instruments, decode(saved) if saved is not None else None)
        self._add_channels()

    def _add_channels(self) -> None:
        for symbol, market in self.exchange.markets.items():
            if symbol not in self._channels:
                self._channels[symbol] = Channel(market)

    async def start(self) -> None:
        """Begin to play the market as the clock goes."""
        self._playing.start()

    async def stop(self) -> None:
        """Stop playing and keep the account."""
        await self._playing.stop()
        self._store.save(encode(self.exchange.state()))

    def next_event_ns(self) -> int | None:
        """Return the time of the next market event, None when the market has ended."""
        return self._model.next_event_ns()

    def pump_until(self, now_ns: int, budget_ns: int | None = None) -> bool:
        """Play every market event that is due at `now_ns`; returns whether more is due (see `MarketPump`)."""
        return self._pump.pump_until(now_ns, budget_ns)

    def run_virtual(self, clock: VirtualClock, until_ns: int) -> None:
        """Play the market on a virtual clock, as fast as it goes, until `until_ns` or the market's end."""
        self._pump.run_virtual(clock, until_ns)

    @property
    def unparsed(self) -> int:
        """Return how many raw messages of the market could not be understood."""
        return self._streams.unparsed_count

    def on_market(self, event: MarketEvent) -> None:
        """Take one market event from outside the model, at the clock's present time."""
        self._feed.on_market(event)

    def _commit(self, reply: Callable[[], None] | None = None) -> None:
        """Save what an operation changed, answer it, then deliver its consequences."""
        public, events = self.exchange.take_events()
        if events:
            self._store.save(encode(self.exchange.state()))
        if reply is not None:
            reply()
        self._streams.deliver(public, events)

    def reset(self) -> None:
        """Cancel all orders, flatten all positions and restore the configured balances."""
        self.exchange.reset()
        self._commit()

    def leverage(self, symbol: str) -> Decimal:
        """Return the leverage at which an instrument's orders take margin, 1 on spot."""
        instrument = self.exchange.market(symbol).instrument
        return self.exchange.margin.leverage(instrument)

    async def check_account(self) -> list[str]:
        """Return nothing: there is no mode that would forbid to trade on paper."""
        return []

    async def key_rights(self) -> KeyRights:
        """Return that everything but withdrawing is possible: there is no key."""
        return KeyRights(trade=True, withdraw=False, note="paper money needs no key")

    async def cancel_all_after(self, seconds: int) -> None:
        """Refuse: the paper venue lives and ends with this program."""
        raise Unsupported("the paper venue has no dead-man timer: it ends with this program")

    def links(self) -> list[LinkStatus]:
        """Return nothing: there is no connection to lose."""
        return []

    def health(self) -> VenueHealth:
        """Return nothing: a simulated venue bans nobody and has no time of its own."""
        return VenueHealth()

    def clock_offset_ms(self) -> float | None:
        """Return None: the paper venue goes by our clock."""
        return None

    def audit(self) -> list[AuditLine]:
        """Return the proof of every currency's cash."""
        return self.exchange.audit()

    async def symbols(self, kind: InstrumentKind | None = None) -> list[Instrument]:
        """Return the tradable instruments."""
        return [i for i in self.exchange.instruments.values() if kind is None or i.kind is kind]

    def remembered(self, symbol: str) -> Instrument | None:
        """Return an instrument that is or was traded; None for one that was never seen."""
        return self.exchange.instruments.get(symbol)

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
        """Return the best `level` levels of each side; only the touch while the book is not complete.

        Raises:
            VenueUnavailable: There is no price yet.
        """
        if level < 1:
            raise InvalidOrder(f"level {level} must be at least 1")
        market = self.exchange.market(symbol)
        book, touch, instrument = market.book, market.touch, market.instrument
        if book.valid:
            ts, bids, asks = book.ts, book.top_bids(level), book.top_asks(level)
        elif touch is not None:
            ts, bids, asks = touch.ts, [(touch.bid, touch.bid_size)], [(touch.ask, touch.ask_size)]
        else:
            raise VenueUnavailable(f"{symbol}: no market yet; try again when its first price has come")

        def exact(levels: Levels) -> list[tuple[Decimal, Decimal]]:
            return [(instrument.price_from_float(price), Decimal(repr(size))) for price, size in levels if size]

        return BookLevels(symbol, ts, exact(bids), exact(asks))

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
        return await self._candles.get(symbol, timeframe, limit, start_time, end_time)

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
        kind = combined_order_type(order_type, post_only, time_in_force)
        request = OrderRequest(client_id or "", "", symbol, side, kind, size, price, trigger_price, reduce_only)
        accepted = await self._request(lambda: self.exchange.place(request))
        return self.exchange.query(accepted.venue_order_id, symbol)

    async def amend_order(
        self, order_id: str, symbol: str, price: Decimal | None = None, size: Decimal | None = None
    ) -> OrderUpdate:
        """Amend an order by venue or client id; `size` is the new total."""
        self._check_listed(symbol)
        return await self._request(lambda: self.exchange.amend(order_id, symbol, price, size))

    async def revoke_order(self, order_id: str, symbol: str) -> OrderUpdate:
        """Cancel an order by venue or client id."""
        self._check_listed(symbol)
        return await self._request(lambda: self.exchange.cancel(order_id, symbol))

    async def cancel_all(self, symbol: str | None = None) -> list[OrderUpdate]:
        """Cancel every order, of one instrument or all; one that fills meanwhile is left out."""
        self._check_listed(symbol)
        canceled = []
        for order in self.exchange.open_orders(symbol):
            try:
                canceled.append(await self.revoke_order(order.venue_order_id, order.symbol))
            except OrderNotFound:
                continue
        return canceled

    async def get_open_orders(self, symbol: str | None = None) -> list[OrderUpdate]:
        """Return the working orders, oldest first."""
        self._check_listed(symbol)
        return self.exchange.open_orders(symbol)

    async def get_order_status(self, order_id: str, symbol: str) -> OrderUpdate:
        """Return what became of an order."""
        self._check_listed(symbol)
        return self.exchange.query(order_id, symbol)

    async def get_fills(self, symbol: str | None = None, since: int | None = None) -> list[Fill]:
        """Return executions, oldest first; `since` in ms."""
        self._check_listed(symbol)
        return [
            fill
            for fill in self.exchange.registry.fills
            if (symbol is None or fill.symbol == symbol) and (since is None or fill.ts >= since)
        ]

    async def fetch_balance(self, currency: str | None = None) -> list[Balance]:
        """Return balances, in order of currency."""
        return [balance for balance in self.exchange.balances() if currency is None or balance.currency == currency]

    async def get_transfers(self, since: int) -> list[CashTransfer]:
        """Return nothing: while the account lives, only trades, fees and funding move its money."""
        return []

    async def get_position(self, symbol: str | None = None) -> list[Position]:
        """Return open positions, in order of name."""
        self._check_listed(symbol)
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
        return self._streams.ticks(symbol, handler)

    def subscribe_orderbook(self, symbol: str, handler: Callable[[BookEvent], None]) -> Unsubscribe:
        """Stream book changes; a book that is complete already is announced first."""
        return self._streams.orderbook(symbol, handler)

    def subscribe_klines(self, symbol: str, timeframe: str, handler: Callable[[Bar], None]) -> Unsubscribe:
        """Stream candles about once a second while they form; closed ones once."""
        return self._streams.klines(symbol, timeframe, handler)

    def subscribe_trades(self, symbol: str, handler: Callable[[Trade], None]) -> Unsubscribe:
        """Stream public trades."""
        return self._streams.trades(symbol, handler)

    def subscribe_raw(self, handler: Callable[[bytes], None]) -> Unsubscribe:
        """Refuse: this market has no wire.

        Raises:
            Unsupported: Always.
        """
        raise Unsupported("this market has no wire messages; record --raw needs --market live and a venue")

    def subscribe_account(self, handler: Callable[[AccountEvent], None]) -> Unsubscribe:
        """Stream order updates, fills, positions, balances and funding payments of this account."""
        return self._streams.account(handler)

    def _check_listed(self, symbol: str | None) -> None:
        """Raise `UnknownSymbol` when an instrument is named that is not traded."""
        if symbol is not None:
            self.exchange.market(symbol)

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
