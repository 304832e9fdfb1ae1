"""Requests to one of Binance's two interfaces: signed, within the budgets, every answer a result or a typed error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from drivers.binance.errors import banned_until_ms, refusal, unreadable
from drivers.binance.products import Product
from drivers.binance.signer import Params, encode_params, signed_query
from drivers.binance.symbols import arch
from drivers.binance.wire import LimitRow, Refusal, ServerTime
from drivers.transport.arch import BucketSpec
from drivers.transport.http import HttpClient, HttpReply, Undecodable, WireRequest, reply_json, retry_after_s
from drivers.transport.rate_limits import Cost, RateLimiter, Urgency
from drivers.transport.server_clock import ServerClock
from drivers.transport.setup import Credentials, VenueSetup, VenueStore
from engine.kernel.errors import AuthError, ClockSkew, UnknownOutcome, VenueUnavailable

T = TypeVar("T")
BAN_WITHOUT_END_S = 120.0
"""How long nothing is sent after a ban or a firewall's refusal that does not say when it ends: the shortest ban."""
_SECONDS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86400}
_ORDER_WINDOWS = {10: "orders_10s", 60: "orders_1m", 86400: "orders_1d"}
_USED = {
    "X-MBX-USED-WEIGHT-1M": "weight",
    "X-MBX-ORDER-COUNT-10S": "orders_10s",
    "X-MBX-ORDER-COUNT-1M": "orders_1m",
    "X-MBX-ORDER-COUNT-1D": "orders_1d",
}


class _OwnStore:
    """A part of the driver's store: each interface has its own bans."""

    def __init__(self, store: VenueStore, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    def load(self, key: str) -> bytes | None:
        return self._store.load(f"{self._prefix}_{key}")

    def save(self, key: str, value: bytes, on_durable: Callable[[], object] | None = None) -> None:
        self._store.save(f"{self._prefix}_{key}", value, on_durable)


class Rest:
    """Sends requests to one interface.

    Args:
        product: Which.
        base_url: Its address.
        setup: The driver's setup.

    Attributes:
        limiter: The interface's budgets; orders over a socket count too.
        http: The session.
        time: The interface's time.
    """

    def __init__(self, product: Product, base_url: str, setup: VenueSetup) -> None:
        self.product = product
        self._clock = setup.clock
        self._credentials = setup.credentials
        specs = [bucket for bucket in arch().rate_buckets if bucket.name.startswith(f"{product.name}_")]
        self._buckets = {bucket.name for bucket in specs}
        name = f"binance {product.name}"
        self.limiter = RateLimiter(name, specs, setup.clock, _OwnStore(setup.store, product.name))
        self.http = HttpClient(name, base_url, setup.clock, self.limiter, ssl=setup.ssl)
        self.time = ServerClock(setup.clock, self.server_time, setup.log)

    @property
    def credentials(self) -> Credentials:
        """Return the keys; raises `AuthError` when there are none."""
        if self._credentials is None:
            raise AuthError("binance: no keys: name an account with keys in accounts.yaml to use it")
        return self._credentials

    async def server_time(self) -> int:
        """Return the interface's time in ms."""
        return (await self.get("time", {}, ServerTime, weight=1)).serverTime

    async def get(
        self,
        endpoint: str,
        params: Params,
        type: type[T],
        *,
        weight: int,
        urgency: Urgency = Urgency.QUERY,
        bucket: str = "weight",
    ) -> T:
        """Ask for public data; `endpoint` is a name of the first version, or a whole path."""
        return self._decoded(await self.fetch(endpoint, params, weight=weight, urgency=urgency, bucket=bucket), type)

    async def fetch(
        self,
        endpoint: str,
        params: Params,
        *,
        weight: int,
        urgency: Urgency = Urgency.QUERY,
        bucket: str = "weight",
    ) -> HttpReply:
        """Ask for public data and return the answer undecoded.

        Raises:
            VenueError: The venue refused, or could not be asked.
        """
        path = self._path(endpoint)
        query = encode_params(params)
        request = WireRequest("GET", f"{path}?{query}" if query else path)
        cost = self._cost(weight) if bucket == "weight" else self._named(bucket, weight)
        reply = await self.http.send(lambda: request, urgency, cost)
        self._check(reply, f"GET {path}", is_order=False)
        return reply

    async def keyed(self, method: str, endpoint: str, type: type[T], *, weight: int = 1) -> T:
        """Send a request that names the key but is not signed: those about a listen key."""
        path = self._path(endpoint)
        headers = {"X-MBX-APIKEY": self.credentials.key.reveal()}
        request = WireRequest(method, path, headers)
        reply = await self.http.send(lambda: request, Urgency.RECONCILE, self._cost(weight))
        self._check(reply, f"{method} {path}", is_order=False)
        return self._decoded(reply, type)

    async def signed(
        self,
        method: str,
        endpoint: str,
        params: Params,
        type: type[T],
        *,
        weight: int,
        urgency: Urgency = Urgency.RECONCILE,
        counts_as_order: bool = False,
    ) -> T:
        """Send a signed request.

        A refused time stamp is a certain refusal: the time is measured anew and the request, with the same client id,
        signed once more.

        Raises:
            UnknownOutcome: An order may have been carried out.
            VenueError: It was certainly not.
        """
        try:
            return await self._signed_once(method, endpoint, params, type, weight, urgency, counts_as_order)
        except ClockSkew:
            await self.time.sync()
            return await self._signed_once(method, endpoint, params, type, weight, urgency, counts_as_order)

    async def _signed_once(
        self,
        method: str,
        endpoint: str,
        params: Params,
        type: type[T],
        weight: int,
        urgency: Urgency,
        counts_as_order: bool,
    ) -> T:
        path, credentials = self._path(endpoint), self.credentials

        def build() -> WireRequest:
            query = signed_query(params, credentials.secret, self.time.now_ms())
            return WireRequest(method, f"{path}?{query}", {"X-MBX-APIKEY": credentials.key.reveal()})

        is_order = urgency is Urgency.ORDER
        reply = await self.http.send(build, urgency, self.cost(weight, counts_as_order))
        what = f"{method} {path}"
        self._check(reply, what, is_order)
        return self._decoded(reply, type, what, is_order)

    def cost(self, weight: int, counts_as_order: bool = False) -> Cost:
        """Return what a request takes of the budgets."""
        orders = tuple((name, 1) for name in self.product.order_counts) if counts_as_order else ()
        return (*self._cost(weight), *orders)

    def take_limits(self, rows: list[LimitRow]) -> None:
        """Take over the budgets that the venue itself names."""
        for row in rows:
            window_s = _SECONDS.get(row.interval, 0) * row.intervalNum
            if row.rateLimitType == "REQUEST_WEIGHT":
                name = "weight"
            elif row.rateLimitType == "RAW_REQUESTS":
                name = "raw"
            else:
                name = _ORDER_WINDOWS.get(window_s, "") if row.rateLimitType == "ORDERS" else ""
            full = f"{self.product.name}_{name}"
            if window_s and full in self._buckets and row.limit > 0:
                scope = "account" if row.rateLimitType == "ORDERS" else "ip"
                self.limiter.define(BucketSpec(full, row.limit, window_s, scope))

    def learn(self, used: dict[str, int]) -> None:
        """Take over how much of budgets (`weight`, `orders_10s`, ...) the venue counts as used."""
        for name, count in used.items():
            full = f"{self.product.name}_{name}"
            if full in self._buckets:
                self.limiter.learn(full, count)

    def banned(self, text: str, retry_after: float | None) -> None:
        """Send nothing until the ban is over that a message tells of."""
        wait_ms = int((retry_after or BAN_WITHOUT_END_S) * 1000)
        self.limiter.ban_until(banned_until_ms(text) or self._clock.now_ms() + wait_ms, text[:120] or "banned")

    def _check(self, reply: HttpReply, what: str, is_order: bool) -> None:
        """Learn from an answer's headers, and raise the error it tells of, if it does."""
        headers = reply.headers
        told = {name: headers.get(header, "") for header, name in _USED.items()}
        self.learn({name: int(text) for name, text in told.items() if text.isdigit()})
        if reply.status == 200:
            return
        kind = self.product.kind
        try:
            refused = msgspec.json.decode(reply.body, type=Refusal)
        except (msgspec.DecodeError, UnicodeDecodeError):
            if reply.status in (403, 418):
                self.banned(f"HTTP {reply.status}", retry_after_s(reply))
            raise unreadable(kind, reply.status, reply.body, what, is_order) from None
        if reply.status == 418 or banned_until_ms(refused.msg) is not None:
            self.banned(refused.msg, retry_after_s(reply))
        raise refusal(kind, reply.status, refused.code, refused.msg, what, is_order)

    def _decoded(self, reply: HttpReply, type: type[T], what: str = "", is_order: bool = False) -> T:
        try:
            return reply_json(reply, type)
        except Undecodable as error:
            text = f"binance {self.product.name}: {what or 'a query'}: an answer that cannot be read: {error}"
            raise (UnknownOutcome(text) if is_order else VenueUnavailable(text)) from error

    def _path(self, endpoint: str) -> str:
        return endpoint if endpoint.startswith("/") else self.product.path(endpoint)

    def _cost(self, weight: int) -> Cost:
        raw = f"{self.product.name}_raw"
        return (*self._named("weight", weight), *(((raw, 1),) if raw in self._buckets else ()))

    def _named(self, bucket: str, weight: int) -> Cost:
        return ((f"{self.product.name}_{bucket}", weight),) if weight else ()
