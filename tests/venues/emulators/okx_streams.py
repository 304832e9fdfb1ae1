"""OKX's sockets: login, subscriptions, public and private pushes, order operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeGuard

import msgspec

from engine.kernel.clock import NS_PER_S
from engine.kernel.market import Bar, FundingRate, MarkPrice, Trade
from engine.kernel.syscalls import TickEvent, Unsubscribe
from tests.venues.emulators.market import BookChange
from tests.venues.emulators.okx_account import UID
from tests.venues.emulators.okx_auth import check_login
from tests.venues.emulators.okx_candles import BarRule, candle_row, follow, is_bar
from tests.venues.emulators.okx_listing import Units
from tests.venues.emulators.okx_market import level_rows
from tests.venues.emulators.okx_private import text_of
from tests.venues.emulators.okx_wire import SOCKET_TEXTS, OkxError, Row, acted
from tests.venues.emulators.wire import Socket

if TYPE_CHECKING:
    from tests.venues.emulators.okx import OkxEmulator

_PUBLIC = (
    "tickers",
    "trades",
    "books",
    "books5",
    "bbo-tbt",
    "mark-price",
    "index-tickers",
    "funding-rate",
    "price-limit",
)
_PRIVATE = ("orders", "positions", "account", "balance_and_position")
_KINDS = {"SPOT", "SWAP", "FUTURES", "MARGIN", "OPTION", "ANY"}
_SILENCE_NS = 30 * NS_PER_S
_HEARTBEAT_NS = 60 * NS_PER_S
_INTERVAL_S = 5
_HOURLY_REQUESTS = 480
_LONGEST_REQUEST = 65_536
_NO_DATA_CLOSE = 4004
_TOP = {"books5": 5, "bbo-tbt": 1}
_PATHS = {
    "order": "/api/v5/trade/order",
    "batch-orders": "/api/v5/trade/batch-orders",
    "cancel-order": "/api/v5/trade/cancel-order",
    "batch-cancel-orders": "/api/v5/trade/cancel-batch-orders",
    "amend-order": "/api/v5/trade/amend-order",
    "batch-amend-orders": "/api/v5/trade/amend-batch-orders",
}


class Streams:
    """Sockets of one emulator.

    Args:
        emulator: Whose.
    """

    def __init__(self, emulator: OkxEmulator) -> None:
        self._emulator = emulator
        self._candles: dict[str, Unsubscribe] = {}
        self._last_candle: dict[str, str] = {}
        self._tops: dict[tuple[str, str], tuple[Any, Any]] = {}
        self._changed_ns: dict[str, int] = {}
        self._quiet: dict[Socket, tuple[int, int]] = {}

    # Requests of clients.

    async def on_text(self, socket: Socket, text: str) -> None:
        """Take a client's message."""
        if text == "ping":
            socket.send("pong")
            return
        try:
            request = msgspec.json.decode(text)
        except msgspec.DecodeError:
            request = None
        if len(text) > _LONGEST_REQUEST:
            request = None
        operation = request.get("op") if isinstance(request, dict) else None
        arguments = request.get("args") if isinstance(request, dict) else None
        if operation in _PATHS and socket.kind == "private":
            await self._operation(socket, text, request, operation)
        elif operation not in ("login", "subscribe", "unsubscribe") or not are_objects(arguments):
            self._fail(socket, OkxError("60012", text), request)
        elif self._emulator.limits.add(f"requests {id(socket)}", 3600.0) > _HOURLY_REQUESTS:
            self._fail(socket, OkxError("60014"), request)
        elif operation == "login":
            self._login(socket, request)
        else:
            for argument in arguments:
                try:
                    await self._change(socket, operation == "subscribe", argument, request)
                except OkxError as error:
                    self._fail(socket, error, request)

    def on_close(self, socket: Socket) -> None:
        """Stop what only this socket listened to."""
        self._quiet.pop(socket, None)
        self._stop_candles(socket.topics)

    def on_second(self) -> None:
        """Close silent sockets, show quiet books alive, push positions at their interval."""
        now_ns = self._emulator.clock.now_ns()
        for socket in list(self._emulator.sockets):
            since_ns, traffic = self._quiet.get(socket, (now_ns, -1))
            if traffic != socket.traffic:
                self._quiet[socket] = now_ns, socket.traffic
            elif now_ns - since_ns > _SILENCE_NS:
                socket.close(_NO_DATA_CLOSE)
        for units in self._emulator.units.values():
            changed_ns = self._changed_ns.setdefault(units.native, now_ns)
            if now_ns - changed_ns >= _HEARTBEAT_NS:
                chain = self._emulator.books[units.instrument.symbol]
                self.on_book(units, BookChange(chain.symbol, chain.ts, [], [], chain.last, chain.last, chain.last))
        if now_ns // NS_PER_S % _INTERVAL_S == 0:
            for position in self._emulator.exchange.positions():
                self._emulator.private.on_position(position, "interval_update")

    def notice(self, which: str = "*") -> None:
        """Announce that sockets will be disconnected for an upgrade of the service (code 64008)."""
        text = "The connection will soon be closed for a service upgrade. Please reconnect."
        for socket in self._emulator.sockets:
            if socket.is_of(which):
                socket.send_json({"event": "notice", "code": "64008", "msg": text, "connId": _connection(socket)})

    def _login(self, socket: Socket, request: Row) -> None:
        emulator = self._emulator
        try:
            if socket.kind == "public" or len(request["args"]) != 1:
                raise OkxError("60009")
            credentials = (emulator.key, emulator.secret, emulator.passphrase)
            check_login(request["args"][0], *credentials, emulator.clock.now_ms())
        except OkxError as error:
            self._fail(socket, error, request)
            return
        socket.account = emulator.key
        socket.send_json({"event": "login", "msg": "", "code": "0", "connId": _connection(socket)})

    async def _change(self, socket: Socket, begins: bool, argument: Row, request: Row) -> None:
        topic = self._topic(socket, argument)
        event = "subscribe" if begins else "unsubscribe"
        answer = {"event": event, "arg": argument, "connId": _connection(socket)}
        socket.send_json({**answer, "id": request["id"]} if "id" in request else answer)
        if not begins:
            socket.topics.pop(topic, None)
            self._stop_candles([topic])
            return
        channel = argument["channel"]
        if channel in _PRIVATE:
            connections = sum(topic in each.topics for each in self._emulator.sockets) + (topic not in socket.topics)
            count = {"event": "channel-conn-count", "channel": channel, "connCount": str(connections)}
            socket.send_json({**count, "connId": _connection(socket)})
        socket.topics[topic] = {**argument, "uid": UID} if channel in _PRIVATE else argument
        await self._first(socket, topic, argument)

    def _topic(self, socket: Socket, argument: Row) -> str:
        """Return the topic of a subscription; refuse what is not offered on this socket."""
        channel = argument.get("channel", "")
        named = ",".join(f"{name}:{value}" for name, value in argument.items())
        if channel in _PRIVATE and socket.kind == "private":
            if not socket.account:
                raise OkxError("60011")
            if channel in ("orders", "positions") and argument.get("instType") not in _KINDS:
                raise OkxError("60018", named)
            parts = (argument.get(name) for name in ("instType", "instFamily", "instId", "ccy"))
            return f"{channel}:{','.join(part for part in parts if part)}"
        if channel == "instruments" and socket.kind == "public" and argument.get("instType") in _KINDS:
            return f"instruments:{argument['instType']}"
        if channel == "status" and socket.kind == "public":
            return "status:"
        known = (channel in _PUBLIC and socket.kind == "public") or (
            channel.startswith("candle") and socket.kind == "business"
        )
        if not known or self._units_named(channel, argument.get("instId", "")) is None:
            raise OkxError("60018", named)
        if channel.startswith("candle") and not is_bar(channel.removeprefix("candle")):
            raise OkxError("60018", named)
        return f"{channel}:{argument['instId']}"

    def _units_named(self, channel: str, name: str) -> Units | None:
        units = self._emulator.units
        if channel == "index-tickers":
            return next((each for each in units.values() if each.family == name and each.instrument.is_perp), None)
        return units.get(name)

    async def _operation(self, socket: Socket, text: str, request: Row, operation: str) -> None:
        request_id = str(request.get("id", ""))

        async def carry_out() -> str:
            outcome = self._act(socket, request, operation)
            return msgspec.json.encode({"id": request_id, "op": operation, **outcome}).decode()

        await self._emulator.operate(socket, operation, text, request_id, carry_out)

    def _act(self, socket: Socket, request: Row, operation: str) -> Row:
        emulator, arguments = self._emulator, request.get("args")
        if not socket.account:
            return {"code": "60011", "msg": SOCKET_TEXTS["60011"], "data": []}
        if not are_objects(arguments) or (len(arguments) > 1 and "batch" not in operation):
            return {"code": "60013", "msg": SOCKET_TEXTS["60013"], "data": []}
        named = [{**each, "instId": emulator.by_code.get(each.get("instIdCode", 0), "")} for each in arguments]
        try:
            emulator.check_trading_right()
            emulator.check_expiry(request.get("expTime"))
            emulator.count_request("POST", _PATHS[operation], named[0]["instId"], len(named))
            items = emulator.trade(_PATHS[operation], named, singly=False)
        except OkxError as error:
            return {"code": error.code, "msg": error.text, "data": []}
        return {**acted(items, emulator.now_us()), "msg": ""}

    def _fail(self, socket: Socket, error: OkxError, request: Any) -> None:
        text = {"event": "error", "code": error.code, "msg": error.text, "connId": _connection(socket)}
        given = isinstance(request, dict) and "id" in request
        socket.send_json({**text, "id": request["id"]} if given else text)

    # What a subscription begins with.

    async def _first(self, socket: Socket, topic: str, argument: Row) -> None:
        channel = argument["channel"]
        units = self._units_named(channel, argument.get("instId", ""))
        if channel.startswith("candle") and units is not None:
            await self._first_candle(socket, topic, argument, units)
            return
        if channel in _PRIVATE:
            for rows, extra in self._emulator.private.snapshot(channel, argument):
                socket.send_on(topic, text_of(socket.topics[topic], rows, extra))
        elif channel == "instruments":
            chosen = [each for each in self._emulator.units.values() if each.inst_type == argument["instType"]]
            rows = [self._emulator.public.instrument_row(each) for each in chosen]
            socket.send_on(topic, text_of(argument, rows))
        elif units is not None and (row := self._state(channel, units)) is not None:
            extra = {"action": "snapshot"} if channel == "books" else {}
            socket.send_on(topic, text_of(argument, [row], extra))

    def _state(self, channel: str, units: Units) -> Row | None:
        public = self._emulator.public
        makers: dict[str, Callable[[Units], Row | None]] = {
            "tickers": public.ticker_row,
            "mark-price": public.mark_row,
            "index-tickers": public.index_row,
            "funding-rate": public.funding_row,
            "price-limit": public.limit_row,
        }
        if channel in makers:
            return makers[channel](units)
        if channel == "books":
            return {**public.book_row(units, 400), "checksum": 0, "prevSeqId": -1}
        if channel in _TOP:
            return {**public.book_row(units, _TOP[channel]), "instId": units.native}
        return None

    async def _first_candle(self, socket: Socket, topic: str, argument: Row, units: Units) -> None:
        if topic in self._candles:
            if topic in self._last_candle:
                socket.send_on(topic, self._last_candle[topic])
            return
        rule = BarRule(argument["channel"].removeprefix("candle"))

        def push(bar: Bar) -> None:
            self._last_candle[topic] = text_of(argument, [candle_row(units, bar)])
            self._emulator.publish(topic, self._last_candle[topic])

        self._candles[topic] = lambda: None
        self._candles[topic] = await follow(self._emulator.venue, units.instrument.symbol, rule, push)

    def _stop_candles(self, topics: Iterable[str]) -> None:
        for topic in list(topics):
            if topic in self._candles and not self._listened(topic):
                self._candles.pop(topic)()
                self._last_candle.pop(topic, None)

    # Public pushes.

    def on_book(self, units: Units, change: BookChange) -> None:
        """Push a change of a book, and its best levels where they changed."""
        self._changed_ns[units.native] = self._emulator.clock.now_ns()
        if self._listened(f"books:{units.native}"):
            row = {
                "asks": level_rows(units, change.asks),
                "bids": level_rows(units, change.bids),
                "ts": str(change.ts),
                "checksum": 0,
                "prevSeqId": change.previous,
                "seqId": change.last,
            }
            self._push("books", units, row, {"action": "update"})
        for channel, depth in _TOP.items():
            if self._listened(f"{channel}:{units.native}"):
                row = self._emulator.public.book_row(units, depth)
                top = row["asks"], row["bids"]
                if self._tops.get((channel, units.native)) != top:
                    self._tops[channel, units.native] = top
                    self._push(channel, units, {**row, "instId": units.native})

    def on_trade(self, units: Units, trade: Trade) -> None:
        """Push a public trade, and the ticker that it changes."""
        row = {
            "instId": units.native,
            "tradeId": trade.id,
            "px": units.market_price(trade.price),
            "sz": units.market_size(trade.size),
            "side": trade.side.value,
            "ts": str(trade.ts),
            "count": "1",
            "source": "0",
            "seqId": self._emulator.books[units.instrument.symbol].last,
        }
        self._push("trades", units, row)
        self._push_state("tickers", units)

    def on_tick(self, units: Units, event: TickEvent) -> None:
        """Push what a quote, ticker, mark price or funding rate changes."""
        if isinstance(event, MarkPrice):
            for channel in ("mark-price", "price-limit", "index-tickers"):
                self._push_state(channel, units)
        elif isinstance(event, FundingRate):
            self._push_state("funding-rate", units)
        else:
            self._push_state("tickers", units)

    def on_instrument(self, units: Units) -> None:
        """Push an instrument whose state changed."""
        topic = f"instruments:{units.inst_type}"
        row = self._emulator.public.instrument_row(units)
        self._emulator.publish(topic, text_of({"channel": "instruments", "instType": units.inst_type}, [row]))

    def _push_state(self, channel: str, units: Units) -> None:
        name = units.family if channel == "index-tickers" else units.native
        if self._listened(f"{channel}:{name}"):
            row = self._state(channel, units)
            if row is not None:
                self._push(channel, units, row, name=name)

    def _push(self, channel: str, units: Units, row: Row, extra: Row | None = None, name: str | None = None) -> None:
        topic = f"{channel}:{name or units.native}"
        if self._listened(topic):
            arg = {"channel": channel, "instId": name or units.native}
            self._emulator.publish(topic, text_of(arg, [row], extra or {}))

    def _listened(self, topic: str) -> bool:
        return any(topic in socket.topics for socket in self._emulator.sockets)


def are_objects(arguments: Any) -> TypeGuard[list[Row]]:
    """Return whether a request's `args` is a list of objects that is not empty."""
    return isinstance(arguments, list) and bool(arguments) and all(isinstance(each, dict) for each in arguments)


def _connection(socket: Socket) -> str:
    return f"{id(socket) & 0xFFFFFFFF:08x}"
