"""Backpack's REST calls: paths, parameters, signatures and typed answers. Retries nothing but a refused time stamp."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import quote

import msgspec

from drivers.backpack.errors import error_from
from drivers.backpack.rest_wire import (
    LendPosition,
    Market,
    RestAccount,
    RestBalance,
    RestFill,
    RestFunding,
    RestKline,
    RestMark,
    RestOrder,
    RestPosition,
    RestTicker,
)
from drivers.backpack.signer import Params, Signer, Value, instruction_text, text_of
from drivers.backpack.wire import DepthSnapshot, is_finite
from drivers.transport.http import HttpClient, HttpReply, WireRequest
from drivers.transport.rate_limits import Cost, Urgency
from drivers.transport.server_clock import ServerClock
from drivers.transport.setup import Log
from engine.kernel.clock import Clock
from engine.kernel.errors import AuthError, ClockSkew, OrderNotFound, UnknownOutcome, VenueUnavailable

REQUEST: Cost = (("requests", 1),)
HISTORICAL: Cost = (("requests", 1), ("historical", 1))
ORDER_S = 5.0
"""How long a new order or a cancel may take."""
CANDLES_S = 70.0
"""How long a request for candles may take: it may have to wait for the next minute's budget, which is small."""
_JSON_BODY = "application/json; charset=utf-8"
_NO_CONTENT = 204
_ACCEPTED = 202

T = TypeVar("T")


class Rest:
    """The calls of one account, or of nobody.

    Args:
        http: Carries the requests.
        clock: Our time.
        signer: Signs private calls; without one they raise `AuthError`.
        window_ms: How long a signature is good for.
        log: Takes lines for the operator.

    Attributes:
        clock: The venue's time, by which requests are signed.
    """

    def __init__(self, http: HttpClient, clock: Clock, signer: Signer | None, window_ms: int, log: Log) -> None:
        self._http = http
        self._signer = signer
        self._window_ms = window_ms
        self.clock = ServerClock(clock, self.time_ms, log)

    # Public calls.

    async def time_ms(self) -> int:
        """Return the venue's time; the answer is plain text."""
        reply = await self._get("/api/v1/time", {})
        if reply.status != 200 or not reply.body.strip().isdigit():
            raise error_from(reply.status, reply.body, "time")
        return int(reply.body)

    async def markets(self) -> list[Market]:
        """Return all markets; rows that are no market we could trade are left to the caller."""
        rows = await self._public("/api/v1/markets", {}, list[msgspec.Raw])
        return [market for market in map(_market, rows) if market is not None]

    async def ticker(self, symbol: str) -> RestTicker | None:
        """Return the last price, None when nothing was traded."""
        reply = await self._get("/api/v1/ticker", {"symbol": symbol})
        return None if reply.status == _NO_CONTENT else _result(reply, RestTicker, f"ticker of {symbol}")

    async def mark(self, symbol: str) -> RestMark | None:
        """Return mark price and funding of a perpetual, None when the venue has none."""
        rows = await self._public("/api/v1/markPrices", {"symbol": symbol}, list[RestMark])
        return next((row for row in rows if row.symbol == symbol), None)

    async def depth(self, symbol: str, limit: int) -> tuple[DepthSnapshot, bytes]:
        """Return a book and the answer as it came; limit 5, 10, 20, 50, 100, 500 or 1000."""
        reply = await self._get("/api/v1/depth", {"symbol": symbol, "limit": limit})
        return _result(reply, DepthSnapshot, f"book of {symbol}"), reply.body

    async def klines(self, symbol: str, interval: str, start_s: int, end_s: int) -> list[RestKline]:
        """Return the candles that begin between two times (seconds)."""
        params: Params = {"symbol": symbol, "interval": interval, "startTime": start_s, "endTime": end_s}
        return await self._public("/api/v1/klines", params, list[RestKline], HISTORICAL)

    # Private calls.

    async def account(self) -> RestAccount:
        """Return leverage limit, fees and settings of the account."""
        return await self._ask("/api/v1/account", "accountQuery", {}, RestAccount)

    async def limit_leverage(self, limit: str) -> None:
        """Set the account's leverage limit."""
        await self._signed("PATCH", "/api/v1/account", "accountUpdate", {"leverageLimit": limit}, Urgency.QUERY)

    async def balances(self) -> dict[str, RestBalance]:
        """Return what is available, locked and staked, by asset."""
        return await self._ask("/api/v1/capital", "balanceQuery", {}, dict[str, RestBalance])

    async def lend_positions(self) -> list[LendPosition]:
        """Return what is lent or borrowed."""
        path = "/api/v1/borrowLend/positions"
        return await self._ask(path, "borrowLendPositionQuery", {}, list[LendPosition])

    async def positions(self) -> list[RestPosition]:
        """Return all open positions."""
        return await self._ask("/api/v1/position", "positionQuery", {}, list[RestPosition])

    async def open_orders(self, symbol: str | None) -> list[RestOrder]:
        """Return the resting orders of one market or all, spot and perpetual."""
        params: Params = {} if symbol is None else {"symbol": symbol}
        return await self._ask("/api/v1/orders", "orderQueryAll", params, list[RestOrder])

    async def open_order(self, symbol: str, identity: Params) -> RestOrder | None:
        """Return an order that rests, by `orderId` or `clientId`; None when it does not rest."""
        try:
            return await self._ask("/api/v1/order", "orderQuery", {"symbol": symbol, **identity}, RestOrder)
        except OrderNotFound:
            return None

    async def order_history(self, filters: Params, limit: int, offset: int) -> list[RestOrder]:
        """Return a page of past orders, newest first."""
        params = {**filters, "limit": limit, "offset": offset, "sortDirection": "Desc"}
        return await self._ask("/wapi/v1/history/orders", "orderHistoryQueryAll", params, list[RestOrder])

    async def fills(self, filters: Params, limit: int, offset: int) -> list[RestFill]:
        """Return a page of executions, oldest first; those of the venue's own doing (liquidations) among them."""
        params = {**filters, "limit": limit, "offset": offset, "sortDirection": "Asc"}
        return await self._ask("/wapi/v1/history/fills", "fillHistoryQueryAll", params, list[RestFill])

    async def funding(self, limit: int, offset: int) -> list[RestFunding]:
        """Return a page of funding payments, newest first."""
        params: Params = {"limit": limit, "offset": offset, "sortDirection": "Desc"}
        return await self._ask("/wapi/v1/history/funding", "fundingHistoryQueryAll", params, list[RestFunding])

    async def place(self, body: Params, what: str) -> RestOrder:
        """Send a new order; `what` names it in errors.

        Raises:
            UnknownOutcome: It is not proven that the venue did not take it.
            CtosError: It was certainly not taken.
        """
        reply = await self._signed("POST", "/api/v1/order", "orderExecute", body, Urgency.ORDER, what)
        if reply.status == _ACCEPTED:
            raise UnknownOutcome(f"backpack: {what}: taken, but not carried out yet", code="HTTP 202", request=what)
        try:
            return _decoded(reply.body, RestOrder)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UnknownOutcome(f"backpack: {what}: the answer cannot be read: {error}", request=what) from error

    async def cancel(self, symbol: str, identity: Params, what: str) -> RestOrder | None:
        """Cancel an order by `orderId` or `clientId`; `what` names it in errors.

        Returns:
            The order, None when the venue took the request and has not carried it out yet.

        Raises:
            OrderNotFound: It does not rest.
        """
        params = {"symbol": symbol, **identity}
        reply = await self._signed("DELETE", "/api/v1/order", "orderCancel", params, Urgency.CANCEL, what)
        return None if reply.status == _ACCEPTED else _result(reply, RestOrder, what)

    async def cancel_all(self, symbol: str, what: str) -> list[RestOrder] | None:
        """Cancel the resting orders of a market and return them; None when the venue has not carried it out yet."""
        reply = await self._signed(
            "DELETE", "/api/v1/orders", "orderCancelAll", {"symbol": symbol}, Urgency.CANCEL, what
        )
        return None if reply.status == _ACCEPTED else _result(reply, list[RestOrder], what)

    async def subscription(self) -> list[str]:
        """Return the signature of a subscription to private streams."""
        await self.clock.settled()
        return self._keys().subscription(self.clock.now_ms(), self._window_ms)

    # How requests are made.

    def _keys(self) -> Signer:
        if self._signer is None:
            raise AuthError("backpack: no keys: name an account with keys in accounts.yaml to use it")
        return self._signer

    async def _get(self, path: str, params: Params, cost: Cost = REQUEST) -> HttpReply:
        target, timeout_s = path + _query(params), CANDLES_S if cost is HISTORICAL else None
        return await self._http.send(lambda: WireRequest("GET", target), Urgency.QUERY, cost, timeout_s)

    async def _public(self, path: str, params: Params, type: type[T], cost: Cost = REQUEST) -> T:
        return _result(await self._get(path, params, cost), type, _words("GET", path, params))

    async def _ask(self, path: str, instruction: str, params: Params, type: type[T]) -> T:
        what = _words("GET", path, params)
        return _result(await self._signed("GET", path, instruction, params, Urgency.RECONCILE, what), type, what)

    async def _signed(
        self, method: str, path: str, instruction: str, params: Params, urgency: Urgency, what: str = ""
    ) -> HttpReply:
        """Return the successful answer to a signed request.

        A request that was refused for its time stamp was not looked at: it is signed again, once, by the venue's time.
        """
        what = what or _words(method, path, params)
        try:
            return await self._signed_once(method, path, instruction, params, urgency, what)
        except ClockSkew:
            self.clock.suspect()
            await self.clock.settled()
            return await self._signed_once(method, path, instruction, params, urgency, what)

    async def _signed_once(
        self, method: str, path: str, instruction: str, params: Params, urgency: Urgency, what: str
    ) -> HttpReply:
        signer = self._keys()
        await self.clock.settled()
        in_query = method == "GET"
        target = path + _query(params) if in_query else path
        body = b"" if in_query else msgspec.json.encode(params)
        text = instruction_text(instruction, params)

        def build() -> WireRequest:
            headers = signer.headers([text], self.clock.now_ms(), self._window_ms)
            if body:
                headers["Content-Type"] = _JSON_BODY
            return WireRequest(method, target, headers, body)

        timeout_s = ORDER_S if urgency in (Urgency.ORDER, Urgency.CANCEL) else None
        reply = await self._http.send(build, urgency, REQUEST, timeout_s)
        if not 200 <= reply.status < 300:
            raise error_from(reply.status, reply.body, what, is_order=urgency is Urgency.ORDER)
        return reply


def _query(params: Mapping[str, Value]) -> str:
    """Return parameters as a query; only here are values percent-encoded, never in what is signed."""
    pairs = [f"{name}={quote(text_of(value), safe='')}" for name, value in params.items()]
    return "?" + "&".join(pairs) if pairs else ""


def _words(method: str, path: str, params: Params) -> str:
    symbol = params.get("symbol")
    return f"{method} {path}" + (f" of {symbol}" if symbol else "")


def _result(reply: HttpReply, type: type[T], what: str) -> T:
    """Return a successful answer's content.

    Raises:
        VenueError: It is no success.
        VenueUnavailable: It cannot be read.
    """
    if not 200 <= reply.status < 300:
        raise error_from(reply.status, reply.body, what)
    try:
        return _decoded(reply.body, type)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        shown = " ".join(reply.body[:120].decode("utf-8", "replace").split())
        text = f"backpack: {what}: the answer cannot be read: {error}; it begins {shown!r}"
        raise VenueUnavailable(text, request=what) from error


def _decoded(body: bytes, type: type[T]) -> T:
    result = msgspec.json.decode(body, type=type, strict=False)
    if not is_finite(result):
        raise msgspec.ValidationError("an amount is not a number")
    return result


class _Kind(msgspec.Struct):
    marketType: str


_TRADED = ("SPOT", "PERP")


def _market(row: msgspec.Raw) -> Market | None:
    """Return a spot or perpetual market, None for the others (dated, prediction, RFQ), whose rows may lack filters."""
    try:
        if msgspec.json.decode(row, type=_Kind).marketType not in _TRADED:
            return None
        return msgspec.json.decode(row, type=Market, strict=False)
    except msgspec.DecodeError as error:
        raise VenueUnavailable(f"backpack: a row of /markets cannot be read: {error}") from error
