"""The Backpack emulator: REST under /api/v1 and /wapi/v1, one WebSocket for public and private streams.

Written from EXCHANGES.md §0 and §5. Stream names are the channels of `faults` (`depth.*`, `account.*`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar

from drivers.paper.config import PaperConfig
from drivers.paper.markets.model import MarketModel
from engine.kernel.account import Balance, FundingPayment, Position
from engine.kernel.clock import Clock
from engine.kernel.errors import CtosError
from engine.kernel.instruments import Instrument
from engine.kernel.market import TIMEFRAME_MS, Bar, FundingRate, MarkPrice, Quote, Ticker, Trade
from engine.kernel.orders import Fill, OrderUpdate
from engine.kernel.syscalls import AccountEvent, TickEvent, Unsubscribe
from tests.venues.emulators import backpack_events as events
from tests.venues.emulators.backpack_auth import INSTRUCTIONS, check_signature, check_signed, exact_json, key_pair
from tests.venues.emulators.backpack_errors import Refusal
from tests.venues.emulators.backpack_listings import INSTRUMENTS, Listing, Listings, naive_utc, native_name, plain
from tests.venues.emulators.backpack_orders import Ticket, Tickets
from tests.venues.emulators.backpack_private import PrivateCalls, refused
from tests.venues.emulators.backpack_public import PublicCalls
from tests.venues.emulators.core import Emulator
from tests.venues.emulators.faults import Answer
from tests.venues.emulators.market import BookChange
from tests.venues.emulators.wire import Seen, Socket, json_answer

REQUESTS_A_MINUTE = 2_000
HISTORICAL_A_MINUTE = 30
_OPEN_IN_MAINTENANCE = ("/api/v1/status", "/api/v1/time", "/api/v1/ping")
_PRIVATE = ("account.orderUpdate", "account.positionUpdate", "account.balanceUpdate")
_BY_SYMBOL = ("bookTicker", "depth", "trade", "markPrice", "ticker", "openInterest", "liquidation")
_DEPTH_SPEEDS = {"200ms": 0.2, "600ms": 0.6, "1000ms": 1.0}


class BackpackEmulator(Emulator):
    """Backpack on the loopback.

    Attributes:
        late_refusals: Post-only and reduce-only orders that cannot work are taken and expire at once, instead of being
            refused.
        slow_cancels: A cancel is answered 202 and carried out a moment later.
        maintenance: Everything but status, time and ping answers 503.
        deactivated: Private calls are refused: the account is closed.
        read_only_key: Orders are refused: the key may not trade.
        liquidating: What GET /account says.
        leverage: The account's leverage limit.
        lent: Money that is lent out, and so not shown by GET /capital.
    """

    name = "backpack"
    ping_every_s: ClassVar[float | None] = 60.0
    pong_within_s: ClassVar[float] = 120.0

    def __init__(
        self, *, market: MarketModel | None = None, clock: Clock | None = None, config: PaperConfig | None = None
    ) -> None:
        self.late_refusals = False
        self.slow_cancels = False
        self.maintenance = False
        self.deactivated = False
        self.read_only_key = False
        self.liquidating = False
        self.lent: dict[str, Decimal] = {}
        self.funding_rows: list[dict[str, Any]] = []
        super().__init__(market=market, clock=clock, config=config or PaperConfig(balances={"USDC": Decimal(10_000)}))
        self.key, self.secret = key_pair(bytes(range(7, 39)))
        self.leverage = self.exchange.config.leverage
        self.listings = Listings(self.exchange.instruments.values())
        self.tickets = Tickets()
        self._public = PublicCalls(self)
        self._private = PrivateCalls(self)
        self._held: dict[str, Decimal] = {}
        self._klines: dict[tuple[str, str], Unsubscribe] = {}
        self._pending: dict[tuple[str, str], tuple[int, dict[float, float], dict[float, float]]] = {}

    def default_instruments(self) -> list[Instrument]:
        """Return what the venue lists."""
        return list(INSTRUMENTS)

    def adapt(self, instrument: Instrument) -> Instrument | None:
        """Return an instrument of a given market as this venue lists it: against USDC, funding each hour."""
        if instrument.quote != "USDC":
            return None
        name = native_name(instrument.base, "USDC", instrument.kind, int(instrument.multiplier))
        return replace(instrument, venue="backpack", native=name, funding_period_h=1 if instrument.is_perp else 0)

    @property
    def overrides(self) -> dict[str, str]:
        """Return the host fields: one socket address for public and private streams."""
        return {"rest_url": self.rest_url, "ws_public_url": self.ws_url, "ws_private_url": self.ws_url}

    # REST.

    async def answer(self, seen: Seen) -> Answer:
        """Carry a request out."""
        try:
            return await self._answer(seen)
        except Refusal as refusal:
            return json_answer(refusal.body(), refusal.status, refusal.headers)
        except CtosError as error:
            refusal = refused(seen, error)
            return json_answer(refusal.body(), refusal.status)

    async def _answer(self, seen: Seen) -> Answer:
        route = (seen.method, seen.path)
        if self.maintenance and seen.path not in _OPEN_IN_MAINTENANCE:
            raise Refusal(503, "MAINTENANCE", "Exchange is in maintenance")
        self._count("requests", REQUESTS_A_MINUTE)
        if route in self._public.routes:
            return await self._public.routes[route](seen)
        if route not in self._private.routes:
            raise Refusal(404, "RESOURCE_NOT_FOUND", "Not found")
        parts = _signed_parts(seen)
        check_signature(self.key, seen.headers, INSTRUCTIONS[route], parts, self.clock.now_ms())
        if seen.method != "GET" and "application/json" not in seen.headers.get("Content-Type", ""):
            raise Refusal(400, "INVALID_CLIENT_REQUEST", "Expected Content-Type application/json")
        if self.deactivated:
            raise Refusal(403, "ACCOUNT_DEACTIVATED", "Account is deactivated")
        seen.account = self.key
        return await self._private.routes[route](seen)

    def banned(self, seconds: float) -> Answer:
        """Return the answer to an address that asks too much."""
        refusal = Refusal(429, "TOO_MANY_REQUESTS", "Too many requests", {"Retry-After": str(int(seconds) + 1)})
        return json_answer(refusal.body(), refusal.status, refusal.headers)

    def count_historical(self) -> None:
        """Count a request of historical market data."""
        self._count("historical", HISTORICAL_A_MINUTE)

    def _count(self, bucket: str, limit: int) -> None:
        if self.limits.add(bucket, 60.0) > limit and self.limits_on:
            raise Refusal(429, "TOO_MANY_REQUESTS", "Too many requests")

    # Sockets.

    def socket_kind(self, path: str) -> str | None:
        """Return `public`: there is one kind."""
        return "public" if path == "/" else None

    async def on_text(self, socket: Socket, text: str) -> None:
        """Take SUBSCRIBE and UNSUBSCRIBE; neither is acknowledged, only errors are answered."""
        try:
            request = json.loads(text)
        except ValueError:
            request = None
        if not isinstance(request, dict) or not isinstance(request.get("params"), list):
            return _complain(socket, 4002, "Invalid request")
        if request.get("method") not in ("SUBSCRIBE", "UNSUBSCRIBE"):
            return _complain(socket, 4002, "Invalid method")
        for stream in request["params"]:
            if not self._is_stream(stream):
                _complain(socket, 4006, "Invalid stream")
            elif request["method"] == "UNSUBSCRIBE":
                socket.topics.pop(stream, None)
            elif not stream.startswith("account.") or self._signed(socket, request.get("signature")):
                self._subscribe(socket, stream)
        return None

    def _is_stream(self, stream: object) -> bool:
        if not isinstance(stream, str):
            return False
        private = next((name for name in _PRIVATE if stream == name or stream.startswith(f"{name}.")), None)
        if private is not None:
            return stream == private or stream.removeprefix(f"{private}.") in self.by_native
        kind, _, rest = stream.partition(".")
        head, dot, symbol = rest.partition(".")
        if kind == "kline":
            return head in TIMEFRAME_MS and symbol in self.by_native
        if kind == "depth" and dot:
            return head in _DEPTH_SPEEDS and symbol in self.by_native
        return kind in _BY_SYMBOL and rest in self.by_native

    def _signed(self, socket: Socket, signature: object) -> bool:
        if not isinstance(signature, list) or len(signature) != 4:
            _complain(socket, 4003, "Signature is missing")
            return False
        key, text, timestamp, window = (str(part) for part in signature)
        try:
            check_signed(self.key, (key, text, timestamp, window), "subscribe", [{}], self.clock.now_ms())
        except Refusal as refusal:
            _complain(socket, 4003, refusal.message)
            return False
        socket.account = self.key
        return True

    def _subscribe(self, socket: Socket, stream: str) -> None:
        socket.topics[stream] = True
        kind, _, rest = stream.partition(".")
        if kind == "kline":
            timeframe, _, native = rest.partition(".")
            symbol = self.canonical(native)
            if (symbol, timeframe) not in self._klines:
                self._klines[symbol, timeframe] = self.venue.subscribe_klines(symbol, timeframe, self._on_bar)
        if stream.startswith("account.positionUpdate"):
            for held in self.exchange.positions():
                listing = self.listings.of(held.symbol)
                self._held[held.symbol] = held.quantity
                if stream in ("account.positionUpdate", f"account.positionUpdate.{listing.native}"):
                    data = events.position(listing, held, None, self._now_us())
                    socket.send_on(stream, _wrapped(stream, data))

    def _publish(self, stream: str, data: Mapping[str, Any]) -> None:
        self.publish(stream, _wrapped(stream, data))

    def _publish_private(self, name: str, listing: Listing, data: Mapping[str, Any]) -> None:
        self._publish(f"account.{name}", data)
        self._publish(f"account.{name}.{listing.native}", data)

    def _now_us(self) -> int:
        return self.clock.now_ns() // 1_000

    # What happens on the venue.

    def on_book(self, change: BookChange) -> None:
        """Publish a change of a book, at once and for the slower streams."""
        listing, numbers = self.listings.of(change.symbol), (change.first, change.last)
        data = events.depth(listing, change.bids, change.asks, numbers, self._now_us(), change.ts * 1000)
        self._publish(f"depth.{listing.native}", data)
        for speed, seconds in _DEPTH_SPEEDS.items():
            if not any(f"depth.{speed}.{listing.native}" in socket.topics for socket in self.sockets):
                continue
            if (change.symbol, speed) not in self._pending:
                self._pending[change.symbol, speed] = (change.first, {}, {})
                self.clock.call_later(seconds, self._flush_depth, listing, speed)
            _, bids, asks = self._pending[change.symbol, speed]
            bids.update(change.bids)
            asks.update(change.asks)

    def _flush_depth(self, listing: Listing, speed: str) -> None:
        first, bids, asks = self._pending.pop((listing.symbol, speed))
        book = self.books[listing.symbol]
        now = self._now_us()
        data = events.depth(listing, list(bids.items()), list(asks.items()), (first, book.last), now, book.ts * 1000)
        self._publish(f"depth.{speed}.{listing.native}", data)

    def on_trade(self, trade: Trade) -> None:
        """Publish a public trade."""
        listing = self.listings.of(trade.symbol)
        number = self._public.on_trade(listing, trade)
        self._publish(f"trade.{listing.native}", events.trade(listing, trade, number, self._now_us()))

    def on_tick(self, event: TickEvent) -> None:
        """Publish a quote, ticker or mark price."""
        listing, now = self.listings.of(event.symbol), self._now_us()
        if isinstance(event, Quote):
            number = self.books[event.symbol].last
            self._publish(f"bookTicker.{listing.native}", events.book_ticker(listing, event, number, now))
        elif isinstance(event, Ticker):
            count = len(self._public.trades.get(listing.native, ()))
            self._publish(f"ticker.{listing.native}", events.ticker(listing, event, count, now))
        elif isinstance(event, MarkPrice | FundingRate):
            market = self.exchange.market(event.symbol)
            if market.mark is not None and market.funding is not None:
                index = market.index if market.index is not None else market.mark
                data = events.mark_price(listing, market.mark, index, market.funding, now)
                self._publish(f"markPrice.{listing.native}", data)

    def _on_bar(self, bar: Bar) -> None:
        listing = self.listings.of(bar.symbol)
        data = events.kline(listing, bar, len(self._public.trades.get(listing.native, ())), self._now_us())
        self._publish(f"kline.{bar.timeframe}.{listing.native}", data)

    def on_account(self, event: AccountEvent) -> None:
        """Publish what happened on the account."""
        now = self._now_us()
        if isinstance(event, OrderUpdate):
            listing = self.listings.of(event.symbol)
            data = events.order_update(self.tickets.of(listing, event), event, now)
            if data is not None:
                self._publish_private("orderUpdate", listing, data)
        elif isinstance(event, Fill):
            ticket = self.tickets.of_fill(event)
            self._publish_private("orderUpdate", ticket.listing, events.order_fill(ticket, event, now))
        elif isinstance(event, Position):
            listing = self.listings.of(event.symbol)
            before = self._held.get(event.symbol, Decimal(0))
            self._held[event.symbol] = event.quantity
            name = "positionAdjusted" if before and event.quantity else "positionOpened"
            data = events.position(listing, event, name if event.quantity else "positionClosed", now)
            self._publish_private("positionUpdate", listing, data)
        elif isinstance(event, Balance):
            self._publish("account.balanceUpdate", events.balance(self._wallet(event.currency), now))
        elif isinstance(event, FundingPayment):
            listing = self.listings.of(event.symbol)
            row = {"symbol": listing.native, "quantity": plain(event.amount), "fundingRate": plain(event.rate)}
            self.funding_rows.append({**row, "subaccountId": 0, "intervalEndTimestamp": naive_utc(event.ts)})

    def _wallet(self, currency: str) -> Balance:
        """Return a wallet as GET /capital shows it: only spot orders lock money, lent money is not in it."""
        total = self.exchange.account.cash(currency)
        locked = min(total, self.exchange.margin.locked(currency))
        free = max(Decimal(0), total - locked - self.lent.get(currency, Decimal(0)))
        return Balance(currency, total, free, locked)

    def announce_refused(self, ticket: Ticket) -> None:
        """Publish that an order expired before it reached the book."""
        self._publish_private("orderUpdate", ticket.listing, events.refused_order(ticket, self._now_us()))

    def on_second(self) -> None:
        """Publish the open interest once a minute."""
        if self.clock.now_ms() // 1000 % 60 == 0:
            for listing in self.listings.all:
                if listing.instrument.is_perp:
                    held = abs(self.exchange.account.position(listing.instrument))
                    data = {"e": "openInterest", "E": self._now_us(), "s": listing.native, "o": listing.size(held)}
                    self._publish(f"openInterest.{listing.native}", data)


def _signed_parts(seen: Seen) -> list[Mapping[str, object]]:
    """Return what a request's signature covers: query or body parameters, of each order in a batch."""
    if seen.method == "GET":
        return [seen.params]
    body = exact_json(seen.body)
    parts = body if isinstance(body, list) else [body]
    if not all(isinstance(part, dict) for part in parts):
        raise Refusal(400, "INVALID_CLIENT_REQUEST", "Expected a JSON object")
    return parts


def _wrapped(stream: str, data: Mapping[str, Any]) -> str:
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":"))


def _complain(socket: Socket, code: int, message: str) -> None:
    socket.send_json({"id": None, "error": {"code": code, "message": message}})
