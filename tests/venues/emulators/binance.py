"""Binance on the loopback: USD-M futures under /fapi, spot under /api, from one address (EXCHANGES §2, §3, §0).

Sockets: futures streams under /public, /market, /private and unrouted under /fstream; spot streams under /ws and
/stream; WS APIs under /ws-fapi/v1 and /ws-api/v3. Names for faults: kinds of sockets are `public` (all market data),
`private` (futures user data; the spot WS API, which carries spot user data and orders) and `trade` (the futures WS
API), each also in full (`public:spot`); channels are `depth`, `bookTicker`, `aggTrade`, `trade`, `markPrice`, `kline`,
`ticker`, and `user`, each also in full (`depth:fapi:btcusdt@depth@100ms`, `user:api`).

Futures and spot wallets are apart: each begins with the configured USDT and USDC, other currencies lie in spot;
`balances` adds them up.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import ClassVar

from drivers.paper.config import PaperConfig
from drivers.paper.markets.model import MarketModel
from engine.kernel.account import Balance
from engine.kernel.clock import NS_PER_S, Clock
from engine.kernel.instruments import Instrument
from engine.kernel.market import MarkPrice, Trade
from engine.kernel.orders import Fill
from engine.kernel.syscalls import AccountEvent, TickEvent
from tests.venues.emulators.binance_algo import Algos
from tests.venues.emulators.binance_endpoint import Endpoint, Security
from tests.venues.emulators.binance_futures import FUTURES
from tests.venues.emulators.binance_futures_account import FUTURES_ACCOUNT
from tests.venues.emulators.binance_limits import Limits
from tests.venues.emulators.binance_listing import (
    FUTURES_WALLET,
    MARGIN_ASSETS,
    Catalogue,
    Listing,
    asset_of,
    default_listings,
    listing_of,
)
from tests.venues.emulators.binance_orders import Orders
from tests.venues.emulators.binance_public import PUBLIC
from tests.venues.emulators.binance_sockets import HANDSHAKE_WEIGHT, Sockets, kind_of
from tests.venues.emulators.binance_spot import SPOT
from tests.venues.emulators.binance_streams import MarketStreams
from tests.venues.emulators.binance_trading import cancel_all, expire_due
from tests.venues.emulators.binance_user import ListenKeys, UserData
from tests.venues.emulators.binance_wire import (
    BinanceError,
    Params,
    Product,
    check_request_signature,
    check_time,
    parse_params,
)
from tests.venues.emulators.core import Emulator
from tests.venues.emulators.faults import Answer
from tests.venues.emulators.market import BookChange
from tests.venues.emulators.wire import Seen, Socket, json_answer

ZERO = Decimal(0)
SPOT_CONNECTIONS = 300
UNKNOWN_503 = '{"code":-1000,"msg":"Unknown error, please check your request or try again later."}'
INTERNAL_503 = '{"code":-1001,"msg":"Internal error; unable to process your request. Please try again."}'
WAF_403 = "<html><head><title>403 Forbidden</title></head><body>Request blocked by the firewall</body></html>"


@dataclass(slots=True)
class AccountSettings:
    """What the account and its key are like; tests change it.

    Attributes:
        countdowns: When the dead-man switch of a symbol cancels its orders, ms.
        spot_fees: Maker and taker rate of spot.
    """

    dual_side: bool = False
    can_trade: bool = True
    can_withdraw: bool = False
    ip_restrict: bool = True
    margin_types: dict[str, str] = field(default_factory=dict)
    countdowns: dict[str, int] = field(default_factory=dict)
    spot_fees: tuple[Decimal, Decimal] = (Decimal("0.001"), Decimal("0.001"))


class BinanceEmulator(Emulator):
    """Binance, futures and spot, with one account.

    Attributes:
        account: What the account and its key are like.
        catalogue: What is listed, in native units.
        orders: Orders by Binance's ids.
        limits_of: Weight and order limits of each product.
        listen_keys: The futures listen key.
        streams: Market streams and native books.
    """

    name: ClassVar[str] = "binance"
    coin_fees: ClassVar[bool] = True
    ping_every_s: ClassVar[float | None] = 20.0
    pong_within_s: ClassVar[float] = 60.0

    def __init__(
        self, *, market: MarketModel | None = None, clock: Clock | None = None, config: PaperConfig | None = None
    ) -> None:
        self._listings: list[Listing] = []
        config = config or PaperConfig(latency_ms=0)
        super().__init__(market=market, clock=clock, config=replace(config, balances=_wallets(config)))
        self.key, self.secret = (
            "dbefbc809e3e83c283a984c3a1459732ea7db1360ca80c5c2c8867408d28cc83",
            ("2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"),
        )
        self.account = AccountSettings(spot_fees=(config.spot_maker, config.spot_taker))
        self.catalogue = Catalogue(self._listings)
        self.by_native = {
            listing.native: listing.instrument
            for product in (Product.SPOT, Product.FUTURES)
            for listing in self.catalogue.of(product)
        }
        self.instruments = {
            symbol: replace(instrument, settle=asset_of(instrument.settle))
            for symbol, instrument in self.exchange.instruments.items()
        }
        self.limits_of = {product: Limits(product, self.clock.now_ms) for product in Product}
        self.endpoints = PUBLIC | FUTURES | FUTURES_ACCOUNT | SPOT
        self.orders = Orders(self.clock.now_ms, self.catalogue.by_symbol.__getitem__)
        self.streams = MarketStreams(self)
        self.user = UserData(self)
        self.listen_keys = ListenKeys(self)
        self.algos = Algos(self)
        self.wire = Sockets(self)

    def default_instruments(self) -> list[Instrument]:
        """Return BTCUSDT, ETHUSDT, SOLUSDT and 1000PEPEUSDT perpetuals, BTCUSDT, ETHUSDT and PEPEUSDT spot."""
        self._listings = default_listings()
        return [listing.instrument for listing in self._listings]

    def adapt(self, instrument: Instrument) -> Instrument | None:
        """Return an instrument under its native name, perpetuals settled in the futures wallet."""
        listing = listing_of(instrument)
        self._listings.append(listing)
        return listing.instrument

    @property
    def overrides(self) -> dict[str, str]:
        """Return the host fields; the spot ones follow them."""
        return {
            "rest_url": self.rest_url,
            "ws_public_url": self.ws_url,
            "ws_private_url": self.ws_url,
            "ws_trade_url": self.ws_url,
        }

    def balances(self) -> list[Balance]:
        """Return the futures and the spot wallet of each currency together."""
        sums: dict[str, Balance] = {}
        for part in self.exchange.balances():
            name = asset_of(part.currency)
            had = sums.get(name) or Balance(name, ZERO, ZERO)
            sums[name] = Balance(name, had.total + part.total, had.free + part.free, had.locked + part.locked)
        return list(sums.values())

    def executions(self) -> list[Fill]:
        """Return the account's executions with the currency of their fees."""
        return [replace(fill, fee_currency=asset_of(fill.fee_currency)) for fill in super().executions()]

    # REST.

    async def answer(self, seen: Seen) -> Answer:
        """Carry a request out."""
        product = Product.FUTURES if seen.path.startswith("/fapi/") else Product.SPOT
        endpoint = self.endpoints.get((seen.method, seen.path))
        limits = self.limits_of[product]
        if endpoint is None:
            if product is Product.SPOT:
                return Answer(404, b"<html><body><h1>404 Not Found</h1></body></html>", {"Content-Type": "text/html"})
            return json_answer({"code": -5000, "msg": f"Path {seen.path}, Method {seen.method} is invalid"}, 404)
        orders = False
        try:
            params = parse_params(seen.query, seen.body.decode())
            if endpoint.security is not Security.NONE:
                self.check_key(seen.headers.get("X-MBX-APIKEY", ""))
            result = self.run(endpoint, product, params, lambda: self._authorise(seen, params))
            data = await result if inspect.isawaitable(result) else result
            orders = bool(endpoint.orders)
            return json_answer(data, headers=limits.headers(orders))
        except BinanceError as error:
            return json_answer(error.body, error.status, limits.headers(orders) | error.headers)

    def run(
        self, endpoint: Endpoint, product: Product, params: Params, authorise: Callable[[], None]
    ) -> object | Awaitable[object]:
        """Run an endpoint's call: limits first, then the caller's rights.

        Raises:
            BinanceError: Why it was refused.
        """
        limits = self.limits_of[product]
        if self.limits_on:
            limits.admit(endpoint.weight_of(params))
        if endpoint.security in (Security.READ, Security.TRADE):
            authorise()
        if endpoint.security is Security.TRADE and not self.account.can_trade:
            raise BinanceError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        count = endpoint.orders_of(params)
        if count and self.limits_on:
            limits.count_orders(count)
        return endpoint.run(self, params)

    def check_key(self, key: str) -> None:
        """Raise unless the key is the account's: -2014 without one, -2015 for another one."""
        if not key:
            raise BinanceError(-2014, "API-key format invalid.", 401)
        if key != self.key:
            raise BinanceError(-2015, "Invalid API-key, IP, or permissions for action.", 401)

    def _authorise(self, seen: Seen, params: Params) -> None:
        check_time(params, self.clock.now_ms())
        check_request_signature(self.secret, seen.query, seen.body.decode())
        seen.account = self.key

    def banned(self, seconds: float) -> Answer:
        """Return the answer to a banned address."""
        until = self.clock.now_ms() + round(seconds * 1000)
        text = (
            f"Way too many requests; IP banned until {until}. Please use the websocket for live updates to avoid bans."
        )
        return json_answer({"code": -1003, "msg": text}, 418, {"Retry-After": str(max(1, round(seconds)))})

    # Sockets.

    def socket_kind(self, path: str) -> str | None:
        """Return which socket a path is."""
        return kind_of(path)

    def refuse_socket(self, kind: str) -> Answer | None:
        """Refuse a spot address more than 300 connections in 5 minutes; a WS API handshake costs weight."""
        product = Product.SPOT if kind.endswith(":spot") else Product.FUTURES
        if not self.limits_on:
            return None
        try:
            if product is Product.SPOT and self.limits.add("spot connections", 300.0) > SPOT_CONNECTIONS:
                raise BinanceError(-1003, "Too many connections.", 429, {"Retry-After": "300"})
            self.limits_of[product].admit(HANDSHAKE_WEIGHT.get(kind, 0))
        except BinanceError as error:
            return json_answer(error.body, error.status, error.headers)
        return None

    async def on_open(self, socket: Socket) -> None:
        """Subscribe to what the address names."""
        self.wire.opened(socket)

    async def on_text(self, socket: Socket, text: str) -> None:
        """Take a client's message."""
        await self.wire.message(socket, text)

    # What happens on the venue.

    def on_book(self, change: BookChange) -> None:
        """Number a change of a book."""
        self.streams.on_book(change)

    def on_trade(self, trade: Trade) -> None:
        """Publish a trade and trigger what waits for its price."""
        self.streams.on_trade(trade)
        self.algos.on_price(trade)

    def on_tick(self, event: TickEvent) -> None:
        """Publish a tick and trigger what waits for the mark."""
        self.streams.on_tick(event)
        if isinstance(event, MarkPrice):
            self.algos.on_price(event)

    def on_account(self, event: AccountEvent) -> None:
        """Tell the account's streams."""
        self.user.take(event)

    def on_second(self) -> None:
        """Publish marks, let the listen key and dated orders run out, fire dead-man switches."""
        now_ms = self.clock.now_ms()
        self.streams.on_second(self.clock.now_ns() // NS_PER_S)
        self.listen_keys.on_second()
        expire_due(self)
        for symbol, due_ms in list(self.account.countdowns.items()):
            if now_ms >= due_ms:
                del self.account.countdowns[symbol]
                cancel_all(self, self.catalogue.by_symbol[symbol])


def _wallets(config: PaperConfig) -> dict[str, Decimal]:
    """Return the configured money in two wallets."""
    wallets = {}
    for currency, amount in config.balances.items():
        if currency in MARGIN_ASSETS:
            wallets[currency + FUTURES_WALLET] = amount
        wallets[currency] = amount
    return wallets
