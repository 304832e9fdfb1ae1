"""Binance's sockets: market streams by path, the private stream, and the two WS APIs (EXCHANGES §2.1, §2.6, §3.6)."""

from __future__ import annotations

import inspect
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

import msgspec

from tests.venues.emulators.binance_streams import channel_of, is_served
from tests.venues.emulators.binance_user import SPOT_CHANNEL
from tests.venues.emulators.binance_wire import (
    BinanceError,
    Params,
    Product,
    check_time,
    check_ws_signature,
    ws_params,
)
from tests.venues.emulators.wire import Socket

if TYPE_CHECKING:
    from tests.venues.emulators.binance import BinanceEmulator

_ROUTES = {
    "/public": "public:futures",
    "/market": "public:market",
    "/private": "private:futures",
    "/fstream": "public:unrouted",
}
_MOST_STREAMS = 1024
_MESSAGES_A_SECOND = {Product.FUTURES: 10, Product.SPOT: 5}
HANDSHAKE_WEIGHT = {"trade:futures": 5, "private:spot": 2}
_ROUTE_OF = {
    "public:futures": "public",
    "public:market": "market",
    "private:futures": "private",
    "public:unrouted": "unrouted",
    "public:spot": "spot",
}

FUTURES_METHODS = {
    "order.place": ("POST", "/fapi/v1/order"),
    "order.modify": ("PUT", "/fapi/v1/order"),
    "order.cancel": ("DELETE", "/fapi/v1/order"),
    "order.status": ("GET", "/fapi/v1/order"),
    "algoOrder.place": ("POST", "/fapi/v1/algoOrder"),
    "algoOrder.cancel": ("DELETE", "/fapi/v1/algoOrder"),
    "account.position": ("GET", "/fapi/v3/positionRisk"),
    "account.balance": ("GET", "/fapi/v3/balance"),
    "account.status": ("GET", "/fapi/v3/account"),
    "ticker.price": ("GET", "/fapi/v1/ticker/price"),
    "ticker.book": ("GET", "/fapi/v1/ticker/bookTicker"),
    "depth": ("GET", "/fapi/v1/depth"),
    "userDataStream.start": ("POST", "/fapi/v1/listenKey"),
    "userDataStream.ping": ("PUT", "/fapi/v1/listenKey"),
    "userDataStream.stop": ("DELETE", "/fapi/v1/listenKey"),
}
SPOT_METHODS = {
    "ping": ("GET", "/api/v3/ping"),
    "time": ("GET", "/api/v3/time"),
    "exchangeInfo": ("GET", "/api/v3/exchangeInfo"),
    "depth": ("GET", "/api/v3/depth"),
    "klines": ("GET", "/api/v3/klines"),
    "ticker.price": ("GET", "/api/v3/ticker/price"),
    "ticker.book": ("GET", "/api/v3/ticker/bookTicker"),
    "ticker.24hr": ("GET", "/api/v3/ticker/24hr"),
    "order.place": ("POST", "/api/v3/order"),
    "order.cancel": ("DELETE", "/api/v3/order"),
    "order.status": ("GET", "/api/v3/order"),
    "order.cancelReplace": ("POST", "/api/v3/order/cancelReplace"),
    "order.amend.keepPriority": ("PUT", "/api/v3/order/amend/keepPriority"),
    "openOrders.status": ("GET", "/api/v3/openOrders"),
    "openOrders.cancelAll": ("DELETE", "/api/v3/openOrders"),
    "allOrders": ("GET", "/api/v3/allOrders"),
    "account.status": ("GET", "/api/v3/account"),
    "account.rateLimits.orders": ("GET", "/api/v3/rateLimit/order"),
    "myTrades": ("GET", "/api/v3/myTrades"),
}


class _Command(msgspec.Struct):
    method: str
    id: int | str | None = None
    params: list[str] | bool | None = None


class _Call(msgspec.Struct):
    method: str
    id: int | str | None = None
    params: dict[str, object] = {}


_command = msgspec.json.Decoder(_Command)
_call = msgspec.json.Decoder(_Call)


def kind_of(path: str) -> str | None:
    """Return which socket a path is: `public:` for market data, `private:` where account events come, `trade:`."""
    if path == "/ws-fapi/v1":
        return "trade:futures"
    if path == "/ws-api/v3":
        return "private:spot"
    for prefix, kind in _ROUTES.items():
        if path.startswith(prefix + "/") and _is_stream_path(path.removeprefix(prefix)):
            return kind
    return "public:spot" if _is_stream_path(path) else None


def _is_stream_path(path: str) -> bool:
    return path in ("/ws", "/ws/", "/stream") or path.startswith("/ws/")


class Sockets:
    """Takes clients' messages.

    Args:
        venue: The emulator.
    """

    def __init__(self, venue: BinanceEmulator) -> None:
        self._venue = venue
        self._subscriptions = count(0)

    def opened(self, socket: Socket) -> None:
        """Subscribe to what the address names."""
        if socket.kind not in _ROUTE_OF:
            return
        query = parse_qs(socket.query)
        named = [stream for part in query.get("streams", []) for stream in part.split("/")]
        named += query.get("listenKey", [])
        tail = unquote(socket.path).partition("/ws/")[2]
        named += [stream for stream in tail.split("/") if stream]
        self._subscribe(socket, named)

    async def message(self, socket: Socket, text: str) -> None:
        """Take one message; too many of them end the connection."""
        product = _product(socket)
        if socket.kind in _ROUTE_OF:
            sent = self._venue.limits.add(f"messages {id(socket)}", 1.0)
            if sent > _MESSAGES_A_SECOND[product] and self._venue.limits_on:
                socket.close(1008)
                return
            self._command(socket, text)
        else:
            await self._operate(socket, product, text)

    def _command(self, socket: Socket, text: str) -> None:
        try:
            command = _command.decode(text)
        except msgspec.ValidationError as error:
            socket.send_json({"error": {"code": 2, "msg": f"Invalid request: {error}"}, "id": None})
            return
        except msgspec.DecodeError as error:
            socket.send_json({"error": {"code": 3, "msg": f"Invalid JSON: {error}"}, "id": None})
            return
        streams = command.params if isinstance(command.params, list) else []
        result: object = None
        if command.method == "SUBSCRIBE":
            self._subscribe(socket, streams)
        elif command.method == "UNSUBSCRIBE":
            for stream in streams:
                for name in _names(_product(socket), stream):
                    socket.topics.pop(name, None)
        elif command.method == "LIST_SUBSCRIPTIONS":
            result = list(socket.topics.values())
        else:
            text = "unknown variant, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`"
            socket.send_json({"error": {"code": 2, "msg": f"Invalid request: {text}"}, "id": command.id})
            return
        if len(socket.topics) > _MOST_STREAMS:
            socket.close(1008)
            return
        socket.send_json({"result": result, "id": command.id})

    def _subscribe(self, socket: Socket, streams: list[str]) -> None:
        product, route = _product(socket), _ROUTE_OF[socket.kind]
        for stream in streams:
            channel, silent, key = _names(product, stream)
            if route == "private":
                socket.topics[key] = stream
            elif is_served(route, stream):
                socket.topics[channel] = stream
                self._venue.streams.subscribed(product, stream)
            else:
                socket.topics[silent] = stream

    async def _operate(self, socket: Socket, product: Product, text: str) -> None:
        try:
            call = _call.decode(text)
        except msgspec.DecodeError:
            socket.send_json({"id": None, "status": 400, "error": {"code": -1135, "msg": "Invalid JSON Request"}})
            return

        async def carry() -> str:
            return msgspec.json.encode(await self._reply(socket, product, call)).decode()

        await self._venue.operate(socket, call.method, text, str(call.id), carry)

    async def _reply(self, socket: Socket, product: Product, call: _Call) -> dict[str, object]:
        limits = self._venue.limits_of[product]
        answer: dict[str, object] = {"id": call.id}
        try:
            answer |= {"status": 200, "result": await self._result(socket, product, call)}
        except BinanceError as error:
            failure: dict[str, object] = error.body
            if "Retry-After" in error.headers:
                now_ms = self._venue.clock.now_ms()
                until = now_ms + int(error.headers["Retry-After"]) * 1000
                failure["data"] = {"serverTime": now_ms, "retryAfter": until}
            answer |= {"status": error.status, "error": failure}
        return answer | {"rateLimits": limits.usage()}

    async def _result(self, socket: Socket, product: Product, call: _Call) -> object:
        params = ws_params(call.params)
        method = call.method.removeprefix("v3/").removeprefix("v2/").removeprefix("v1/")
        if method.startswith(("session.", "userDataStream.")) and method not in FUTURES_METHODS:
            return self._session(socket, product, method, params)
        route = (FUTURES_METHODS if product is Product.FUTURES else SPOT_METHODS).get(method)
        if route is None:
            raise BinanceError(-1100, "Illegal characters found in a parameter. Invalid method.")
        endpoint = self._venue.endpoints[route]
        if method.startswith("userDataStream."):
            self._venue.check_key(params.text("apiKey"))
        result = self._venue.run(endpoint, product, params, lambda: self._authorise(socket, params))
        return await result if inspect.isawaitable(result) else result

    def _authorise(self, socket: Socket, params: Params) -> None:
        self._venue.check_key(params.text("apiKey"))
        check_time(params, self._venue.clock.now_ms())
        check_ws_signature(self._venue.secret, params.values)
        socket.account = self._venue.key

    def _session(self, socket: Socket, product: Product, method: str, params: Params) -> object:
        limits = self._venue.limits_of[product]
        limits.admit(2)
        if method == "session.status":
            return {"apiKey": None, "authorizedSince": None, "serverTime": self._venue.clock.now_ms()}
        if method == "session.logon":
            raise BinanceError(-1022, "Signature for this request is not valid. session.logon needs an Ed25519 key.")
        if product is Product.FUTURES:
            raise BinanceError(-1100, "Illegal characters found in a parameter. Invalid method.")
        if method == "userDataStream.subscribe.signature":
            self._authorise(socket, params)
            if SPOT_CHANNEL in socket.topics:
                raise BinanceError(-1036, "A user data stream subscription is already active on this connection.")
            socket.topics[SPOT_CHANNEL] = next(self._subscriptions)
            return {"subscriptionId": socket.topics[SPOT_CHANNEL]}
        if method == "userDataStream.unsubscribe":
            socket.topics.pop(SPOT_CHANNEL, None)
            return {}
        raise BinanceError(-1000, "The WebSocket session is not authenticated with an Ed25519 key; call session.logon.")

    def terminate_spot_stream(self) -> None:
        """End every spot subscription, as when the key's rights change."""
        event = {"e": "eventStreamTerminated", "E": self._venue.clock.now_ms()}
        self._venue.user.to_spot(event)
        for socket in self._venue.sockets:
            socket.topics.pop(SPOT_CHANNEL, None)

    def announce_shutdown(self) -> None:
        """Ask spot sockets to connect anew."""
        event = {"e": "serverShutdown", "E": self._venue.clock.now_ms()}
        for socket in self._venue.sockets:
            if socket.kind == "private:spot":
                socket.send_json({"event": event})
            elif socket.kind == "public:spot":
                wrapped = socket.path.endswith("/stream")
                socket.send_json({"stream": "!serverShutdown", "data": event} if wrapped else event)


def _product(socket: Socket) -> Product:
    return Product.SPOT if socket.kind.endswith(":spot") else Product.FUTURES


def _names(product: Product, stream: str) -> tuple[str, str, str]:
    """Return under which topics a stream may stand: heard, silent, and a listen key."""
    return channel_of(product, stream), f"silent {stream}", stream
