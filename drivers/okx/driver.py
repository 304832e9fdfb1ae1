"""The OKX driver: linear swaps and spot of one account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec

from drivers.okx import codec
from drivers.okx.account import Account
from drivers.okx.feed import Feed
from drivers.okx.history import History
from drivers.okx.orders import Orders
from drivers.okx.private import PrivateSocket
from drivers.okx.rest import ORDER_LIFE_MS, OkxRest
from drivers.okx.streams import MarketStreams
from drivers.okx.symbols import Contract, Contracts, arch, read_instrument
from drivers.okx.wire import (
    Arg,
    ExactBookRow,
    FundingRow,
    InstrumentRow,
    MarkRow,
    OrderRow,
    Push,
    TickerRow,
)
from drivers.transport.asking import asking
from drivers.transport.funding import FundingWatch
from drivers.transport.line_decoder import NONSENSE, Undecodable, reason_of, understanding
from drivers.transport.rate_limits import RateLimiter, Urgency
from drivers.transport.setup import VenueSetup
from drivers.transport.venue_driver import Topic, VenueDriver
from engine.kernel.account import Balance, CashTransfer, KeyRights, Position, unreadable
from engine.kernel.errors import CtosError, InvalidOrder, UnknownSymbol, VenueUnavailable
from engine.kernel.instruments import Instrument, InstrumentKind
from engine.kernel.links import LinkStatus
from engine.kernel.market import Bar
from engine.kernel.orders import Fill, OrderRequest, OrderUpdate
from engine.kernel.syscalls import BookLevels, Fees, PriceNow, Unsubscribe

LIVE_WAIT_S = 20.0
FUNDING_EVERY_S = 60.0
FUNDING_DAYS = 7
"""How far back the venue's bills can be asked for."""


class OkxDriver(VenueDriver):
    """OKX, API v5.

    Quantities are coins above this driver and contracts on the wire. Private calls need keys.
    """

    def __init__(self, setup: VenueSetup) -> None:
        super().__init__(setup, arch())
        self._contracts = Contracts()
        self._groups: dict[str, str] = {}
        self._limiter = RateLimiter(self.venue, self.arch.rate_buckets, setup.clock, setup.store)
        self._rest = OkxRest(setup, self._limiter)
        self.follow_health(self._limiter, self._rest.time, ORDER_LIFE_MS)
        self._feed = Feed(self._contracts)
        self._market = MarketStreams(self, self._rest, self._feed, lambda: self.streams.raw_heard)
        now_ms = self._rest.time.now_ms
        self._history = History(self._rest, self._contracts, lambda: self._account.inst_types, now_ms, setup.log)
        self._account = Account(self._rest, self._history.known)
        self._private: PrivateSocket | None = None
        self._orders = Orders(
            self._rest,
            self._history,
            self._contract,
            setup.clock,
            lambda: self._account.spot_trade_mode,
            lambda: self._private if setup.trade_over_ws else None,
            self.new_client_id,
        )
        self._funding = FundingWatch(
            self.venue,
            self._history.funding_payments,
            setup,
            now_ms,
            self.on_account,
            lambda: self.streams.account_heard,
            lambda now_ms: FUNDING_EVERY_S,
            reach_days=FUNDING_DAYS,
        )
        self._leverage_asked: set[str] = set()

    # Connecting.

    @asking
    async def load_instruments(self) -> list[Instrument]:
        """Ask for swaps and spot pairs."""
        await self._rest.http.start()
        found = []
        for inst_type in ("SWAP", "SPOT"):
            reply = await self._rest.get_raw("/public/instruments", "instruments", instType=inst_type)
            for raw in self._rest.rows(reply, msgspec.Raw, f"instruments {inst_type}"):
                instrument = self._take_instrument(raw)
                if instrument is not None:
                    found.append(instrument)
        return found

    def _take_instrument(self, raw: msgspec.Raw) -> Instrument | None:
        """Return an instrument and keep its contract; None for what this driver does not trade."""
        try:
            row = msgspec.json.decode(raw, type=InstrumentRow, strict=False)
            instrument, contract = read_instrument(row)
        except UnknownSymbol:
            return None
        except (msgspec.ValidationError, ArithmeticError) as error:
            self.log("warning", f"okx: an instrument is left out: {error}: {bytes(raw)[:80]!r}")
            return None
        self._contracts.add(contract)
        self._groups[instrument.symbol] = row.groupId
        if instrument.is_perp:
            self._market.instrument_rows[row.instId] = bytes(raw)
        return self._with_fees(instrument)

    def on_unlisted(self, instrument: Instrument) -> None:
        """Understand what the account still tells of it."""
        self._contracts.add(
            Contract(
                instrument.native,
                instrument.symbol,
                instrument.kind,
                instrument.contract_size,
                settle=instrument.settle,
            )
        )

    def _with_fees(self, instrument: Instrument) -> Instrument:
        maker, taker = self._account.rates(instrument.kind, self._groups.get(instrument.symbol, ""), instrument.settle)
        return replace(instrument, maker_fee=maker, taker_fee=taker)

    async def open(self) -> None:
        """Set the clock; with keys, read the account's settings and go live on its stream."""
        await self._rest.time.sync()
        self._rest.time.start()
        if self.setup.credentials is None:
            return
        await self._account.load_config()
        await self._account.load_rates()
        self.instruments = {symbol: self._with_fees(each) for symbol, each in self.instruments.items()}
        await self._account.positions(None)
        self._private = PrivateSocket(
            self.setup, self._rest.time, self._private_args, self._on_private, self.on_account
        )
        self._private.client.start()
        if self._account.trades_swaps:
            await self._ask_leverages(
                [each.symbol for each in self.instruments.values() if each.is_perp and self.is_listed(each.symbol)]
            )
        await self._private.client.wait_live(LIVE_WAIT_S)
        self._rest.http.keep_warm(self._rest.server_time)
        self.lasting(self._funding.run, "funding payments")

    async def close(self) -> None:
        """Disconnect."""
        self._rest.time.stop()
        if self._private is not None:
            await self._private.client.stop()
        await self._market.stop()
        await self._rest.http.stop()

    def links(self) -> list[LinkStatus]:
        """Return the state of REST and of the sockets in use."""
        private = [self._private.client.status] if self._private is not None else []
        return [self._rest.http.status, *self._market.links(), *private]

    def clock_offset_ms(self) -> float | None:
        """Return the venue's time less ours, in ms; None until it was asked."""
        return self._rest.time.known_offset_ms

    # Public streams.

    def follow(self, topic: Topic) -> None:
        """Subscribe to a topic."""
        self._market.follow(topic)

    def unfollow(self, topic: Topic) -> None:
        """Unsubscribe from a topic."""
        self._market.unfollow(topic)

    def resync(self, symbol: str, reason: str) -> None:
        """Ask for one book anew."""
        self.log("info", f"okx: the book of {symbol} is asked for anew: {reason}")
        self._market.resync(symbol)

    def subscribe_raw(self, handler: Callable[[bytes], None]) -> Unsubscribe:
        """Stream the public messages; before the first one of a swap comes what tells its contract size."""
        self._market.begin_record()
        return super().subscribe_raw(handler)

    # Public queries.

    @asking
    async def server_time(self) -> int:
        """Return the venue's time in ms."""
        return await self._rest.server_time()

    @asking
    async def get_price_now(self, symbol: str) -> PriceNow:
        """Return the current prices."""
        contract = self._contract(symbol)
        rows = await self._rest.get("/market/ticker", TickerRow, "ticker", instId=contract.native)
        if not rows:
            raise VenueUnavailable(f"okx: {symbol} has no ticker now; try again")
        row, mark = rows[0], None
        if contract.kind is InstrumentKind.PERP:
            marks = await self._rest.get(
                "/public/mark-price", MarkRow, "mark_price", instType="SWAP", instId=contract.native
            )
            mark = Decimal(repr(marks[0].markPx)) if marks else None
        with understanding(f"okx: ticker of {symbol}"):
            bid, ask, last = (codec.optional(text, "price") for text in (row.bidPx, row.askPx, row.last))
        return PriceNow(symbol, row.ts, bid or None, ask or None, last or None, mark)

    @asking
    async def get_orderbook(self, symbol: str, level: int = 20) -> BookLevels:
        """Return the best `level` levels of each side, as many as the venue shows (400)."""
        if level < 1:
            raise InvalidOrder(f"level {level} must be at least 1")
        contract = self._contract(symbol)
        count = min(level, self.arch.limits["book_levels"])
        rows = await self._rest.get("/market/books", ExactBookRow, "books", instId=contract.native, sz=count)
        if not rows:
            raise VenueUnavailable(f"okx: {symbol} has no book now; try again")
        book = rows[0]
        with understanding(f"okx: book of {symbol}"):
            bids, asks = (
                [(codec.decimal(price, "px"), codec.decimal(size, "sz") * contract.coins) for price, size, *_ in side]
                for side in (book.bids, book.asks)
            )
            return BookLevels(symbol, codec.time_ms(book.ts), bids, asks)

    @asking
    async def get_klines(
        self,
        symbol: str,
        timeframe: str,
        limit: int = 500,
        start_time: int | None = None,
        end_time: int | None = None,
    ) -> list[Bar]:
        """Return candles in UTC, oldest first; with a start the first `limit`, else the last."""
        return await self._history.candles(self._contract(symbol), timeframe, limit, start_time, end_time)

    @asking
    async def fees(self, symbol: str) -> Fees:
        """Return the account's fees (without keys, the public ones) and funding."""
        contract, instrument = self._contract(symbol), self.instrument(symbol)
        fees = Fees(symbol, instrument.maker_fee, instrument.taker_fee, None, None, None, None)
        if contract.kind is InstrumentKind.SPOT:
            return fees
        bucket = f"funding_rate/{contract.native}"
        rows = await self._rest.get("/public/funding-rate", FundingRow, bucket, instId=contract.native)
        if not rows:
            raise VenueUnavailable(f"okx: {symbol} has no funding rate now; try again")
        with understanding(f"okx: funding of {symbol}"):
            told = codec.funding(rows[0], contract, self.arch.extra["funding_period_h"])
            rate = codec.decimal(rows[0].fundingRate, "fundingRate")
        return msgspec.structs.replace(
            fees,
            funding_rate=rate,
            funding_rate_per_hour=rate / told.period_h,
            funding_period_h=told.period_h,
            next_funding_time=told.next_time,
        )

    # Orders.

    async def submit(self, request: OrderRequest) -> OrderUpdate:
        """Send a new order."""
        self.require_keys()
        return await self._orders.submit(request)

    async def change(self, order_id: str, symbol: str, price: Decimal | None, quantity: Decimal | None) -> OrderUpdate:
        """Change a working order."""
        self.require_keys()
        return await self._orders.change(order_id, symbol, price, quantity)

    async def withdraw(self, order_id: str, symbol: str) -> OrderUpdate:
        """Cancel a working order."""
        self.require_keys()
        return await self._orders.withdraw(order_id, symbol)

    @asking
    async def look_up(self, order_id: str, symbol: str) -> OrderUpdate:
        """Return what became of an order."""
        self.require_keys()
        return await self._orders.look_up(order_id, symbol)

    async def cancel_all(self, symbol: str | None = None) -> list[OrderUpdate]:
        """Cancel every order, of one instrument or all, twenty at a time: the venue has no call for all."""
        return await self._orders.withdraw_all(await self.get_open_orders(symbol))

    async def cancel_all_after(self, seconds: int) -> None:
        """Let the venue cancel all orders of the account unless called again in time; 0 switches it off."""
        limits = self.arch.limits
        if seconds and not limits["dead_man_min_s"] <= seconds <= limits["dead_man_max_s"]:
            text = f"{limits['dead_man_min_s']} to {limits['dead_man_max_s']}"
            raise InvalidOrder(f"cancel_all_after: {seconds} s must be {text} s, or 0 to switch it off")
        self.require_keys()
        body = {"timeOut": str(seconds)}
        row: Any = dict
        await self._rest.post("/trade/cancel-all-after", body, row, "cancel_all_after", Urgency.CANCEL)

    # The account.

    @asking
    async def get_open_orders(self, symbol: str | None = None) -> list[OrderUpdate]:
        """Return the working orders, oldest first."""
        self.require_keys()
        return await self._history.open_orders(self._contract(symbol) if symbol is not None else None)

    @asking
    async def get_fills(self, symbol: str | None = None, since: int | None = None) -> list[Fill]:
        """Return executions, oldest first: of the last three days, or since a time up to three months ago."""
        self.require_keys()
        return await self._history.fills(self._contract(symbol) if symbol is not None else None, since)

    @asking
    async def fetch_balance(self, currency: str | None = None) -> list[Balance]:
        """Return the balances of the trading account."""
        self.require_keys()
        return await self._account.balances(currency)

    @asking
    async def get_transfers(self, since: int) -> list[CashTransfer]:
        """Return deposits, withdrawals and transfers since a time within the last seven days, oldest first."""
        self.require_keys()
        return await self._history.transfers(since)

    @asking
    async def get_position(self, symbol: str | None = None) -> list[Position]:
        """Return open positions in swaps."""
        self.require_keys()
        contract = self._contract(symbol) if symbol is not None else None
        if contract is not None and contract.kind is InstrumentKind.SPOT:
            return []
        return await self._account.positions(contract)

    @asking
    async def set_leverage(self, symbol: str, leverage: Decimal) -> Decimal:
        """Set the leverage of a swap, cross margin."""
        self.require_keys()
        return await self._account.set_leverage(self._contract(symbol), leverage, self.instrument(symbol))

    def leverage(self, symbol: str) -> Decimal | None:
        """Return the leverage of a swap; one that is not known is asked for, and None until then."""
        if not self.instrument(symbol).is_perp:
            return Decimal(1)
        known = self._account.leverages.get(symbol)
        if known is None and self.setup.credentials is not None and symbol not in self._leverage_asked:
            self._leverage_asked.add(symbol)
            self.in_background(self._ask_leverages([symbol]), f"leverage of {symbol}")
        return known

    @asking
    async def check_account(self) -> list[str]:
        """Return what forbids trading on this account."""
        self.require_keys()
        return await self._account.obstacles()

    @asking
    async def key_rights(self) -> KeyRights:
        """Return what the key may do."""
        self.require_keys()
        return await self._account.key_rights()

    async def _ask_leverages(self, symbols: list[str]) -> None:
        try:
            await self._account.load_leverage([self._contract(symbol) for symbol in symbols])
        except CtosError as error:
            self._leverage_asked.difference_update(symbols)
            self.log("warning", f"okx: the leverage of {symbols[0]} could not be asked for: {error}")

    def _contract(self, symbol: str) -> Contract:
        return self._contracts.get(self.instrument(symbol).native)

    # The private stream.

    def _private_args(self) -> list[Arg]:
        orders = [Arg("orders", instType=kind) for kind in self._account.inst_types]
        return [*orders, Arg("positions", instType="SWAP"), Arg("account")]

    def _on_private(self, push: Push[Any], payload: bytes) -> None:
        """Pass on what a push tells, row by row: one that makes no sense does not hide the others."""
        for row in push.data:
            try:
                events = self._feed.events(Push(push.arg, [row], push.action), None)
            except UnknownSymbol as error:
                self.log("warning", f"okx: the account's stream: {error}")
                continue
            except (Undecodable, *NONSENSE) as error:
                self.log("error", f"okx: the account's stream: {reason_of(error)}: {payload[:200]!r}")
                self.on_account(unreadable(reason_of(error)))
                continue
            for event in events:
                if isinstance(event, OrderUpdate) and isinstance(row, OrderRow):
                    self._orders.note(row, event)
                elif isinstance(event, Position):
                    self._account.note(event)
                self.on_account(event)  # type: ignore[arg-type]  # private channels lead to account events only
