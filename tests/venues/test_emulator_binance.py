"""The Binance emulator against a bare client with its own signer: what a driver meets there."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import sys
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from engine.kernel.orders import OrderType, Side
from tests.venues.emulators.binance import INTERNAL_503, UNKNOWN_503, WAF_403, BinanceEmulator
from tests.venues.emulators.binance_wire import BinanceError, check_request_signature

PATIENCE_S = 5
PERP, SPOT = "BTC-USDT-PERP", "BTC-USDT"
Message = dict[str, Any]


class Client:
    """A REST client that signs by itself."""

    def __init__(self, venue: BinanceEmulator, http: aiohttp.ClientSession) -> None:
        self.venue, self.http = venue, http
        self.key, self.secret, self.behind_ms = venue.key, venue.secret, 0
        self.headers: dict[str, str] = {}

    def sign(self, text: str) -> str:
        return hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).hexdigest()

    def signed(self, **params: object) -> str:
        stamp = {"timestamp": self.venue.clock.now_ms() - self.behind_ms}
        text = urlencode(stamp | params)
        return f"{text}&signature={self.sign(text)}"

    async def raw(self, method: str, path: str, query: str = "", body: str = "") -> tuple[int, Any]:
        url = aiohttp.client.URL(f"{self.venue.rest_url}{path}{'?' + query if query else ''}", encoded=True)
        headers = {"X-MBX-APIKEY": self.key} if self.key else {}
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        async with self.http.request(method, url, data=body or None, headers=headers) as reply:
            self.headers = dict(reply.headers)
            text = await reply.text()
            is_json = reply.headers.get("Content-Type", "").startswith("application/json")
            return reply.status, json.loads(text) if is_json else text

    async def __call__(self, method: str, path: str, **params: object) -> Any:
        """Send a signed request and return its JSON; refusals come back as {"code", "msg"} too."""
        text = self.signed(**params)
        return (await self.raw(method, path, *(("", text) if method == "POST" else (text,))))[1]

    async def public(self, path: str, **params: object) -> Any:
        return (await self.raw("GET", path, urlencode(params)))[1]

    async def buy(self, quantity: str = "0.01", price: str = "60000", **more: object) -> Any:
        terms = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": quantity}
        return await self("POST", "/fapi/v1/order", **(terms | {"price": price} | more))

    async def spot_buy(self, quantity: str = "0.01", price: str = "60000", **more: object) -> Any:
        terms = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": quantity}
        return await self("POST", "/api/v3/order", **(terms | {"price": price} | more))


class Tap:
    """A socket whose messages can be waited for."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket, self.got, self.unread = socket, [], []

    async def next(self, wanted: Callable[[Message], object] = lambda message: True) -> Message:
        """Return the first message that is wanted; the others stay for later."""
        for message in self.unread:
            if wanted(message):
                self.unread.remove(message)
                return message
        async with asyncio.timeout(PATIENCE_S):
            while True:
                frame = await self.socket.receive()
                if frame.type is not aiohttp.WSMsgType.TEXT:
                    raise ConnectionError(f"closed: {frame.type}")
                message = json.loads(frame.data)
                self.got.append(message)
                if wanted(message):
                    return message
                self.unread.append(message)

    async def ask(self, **message: object) -> Message:
        await self.socket.send_json(message)
        return await self.next(lambda reply: reply.get("id") == message["id"])

    async def kind(self, name: str) -> Message:
        return await self.next(lambda message: message.get("e", message.get("event", {}).get("e")) == name)


@pytest.fixture
async def venue() -> AsyncIterator[BinanceEmulator]:
    async with BinanceEmulator() as emulator:
        for symbol in (PERP, SPOT):
            emulator.book(symbol, [(60_000.0, 1.0), (59_999.0, 5.0)], [(60_001.0, 1.0), (60_002.0, 5.0)])
        emulator.book("PEPE-USDT-PERP", [(0.0000091, 1e7)], [(0.0000091001, 1e7)])
        emulator.book("PEPE-USDT", [(0.00000910, 1e7)], [(0.00000911, 1e7)])
        yield emulator


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def client(venue: BinanceEmulator, http: aiohttp.ClientSession) -> Client:
    return Client(venue, http)


async def open_tap(client: Client, path: str) -> Tap:
    return Tap(await client.http.ws_connect(client.venue.ws_url + path))


async def user_tap(client: Client) -> Tap:
    key = (await client.raw("POST", "/fapi/v1/listenKey"))[1]["listenKey"]
    return await open_tap(client, f"/private/ws?listenKey={key}")


async def spot_user_tap(client: Client) -> Tap:
    tap = await open_tap(client, "/ws-api/v3")
    params = {"apiKey": client.key, "timestamp": client.venue.clock.now_ms()}
    text = "&".join(f"{name}={params[name]}" for name in sorted(params))
    reply = await tap.ask(
        id=1, method="userDataStream.subscribe.signature", params={**params, "signature": client.sign(text)}
    )
    assert reply["status"] == 200 and reply["result"] == {"subscriptionId": 0}
    return tap


@pytest.mark.parametrize(
    ("secret", "text", "signature"),
    [
        (
            "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9",
            "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943",
            "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9",
        ),
        (
            "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j",
            "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559",
            "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71",
        ),
    ],
)
def test_published_signatures_are_accepted_and_changed_text_is_not(secret: str, text: str, signature: str) -> None:
    check_request_signature(secret, f"{text}&signature={signature}", "")
    check_request_signature(secret, "", f"{text}&signature={signature}")
    query, body = text.split("&timeInForce", 1)[0], "timeInForce" + text.split("&timeInForce", 1)[1]
    joined = hmac.new(secret.encode(), (query + body).encode(), hashlib.sha256).hexdigest()
    check_request_signature(secret, query, f"{body}&signature={joined}")
    raw = f"{text}&note={{b}}"
    unencoded = hmac.new(secret.encode(), raw.encode(), hashlib.sha256).hexdigest()
    for bad in (f"{text}0&signature={signature}", f"signature={signature}&{text}", f"{raw}&signature={unencoded}"):
        with pytest.raises(BinanceError) as refused:
            check_request_signature(secret, bad, "")
        assert refused.value.code == -1022


async def test_the_caller_is_checked(client: Client) -> None:
    path = "/fapi/v3/balance"
    assert [row["asset"] for row in await client("GET", path)] == ["USDC", "USDT", "BNB"]
    client.behind_ms = 6_000
    assert (await client("GET", path))["code"] == -1021
    assert (await client("GET", path, recvWindow=10_000))[0]["asset"] == "USDC"
    client.behind_ms = -2_000
    assert "ahead" in (await client("GET", path))["msg"]
    client.behind_ms = 0
    assert (await client.raw("GET", path, "a=b"))[1]["code"] == -1102
    stamp = f"timestamp={client.venue.clock.now_ms()}"
    assert await client.raw("GET", path, stamp) == (
        400,
        {"code": -1102, "msg": "Mandatory parameter 'signature' was not sent, was empty/null, or malformed."},
    )
    assert (await client.raw("GET", path, f"{stamp}&signature=00"))[1]["code"] == -1022
    client.venue.skew_ms = 40_000
    assert (await client.raw("GET", path, f"{stamp}&signature={client.sign(stamp)}"))[1]["code"] == -1021
    client.key = "x" * 64
    assert (await client.raw("GET", path, client.signed()))[0] == 401
    assert (await client("GET", path))["code"] == -2015
    client.key = ""
    assert (await client("GET", path))["code"] == -2014


async def test_an_order_lives_and_the_stream_tells_it_in_order(client: Client, venue: BinanceEmulator) -> None:
    tap = await user_tap(client)
    placed = await client.buy(newClientOrderId="life1")
    assert (placed["status"], placed["executedQty"], placed["clientOrderId"]) == ("NEW", "0.000", "life1")
    assert "avgPrice" not in placed and client.headers["X-MBX-ORDER-COUNT-10S"] == "1"
    new = (await tap.kind("ORDER_TRADE_UPDATE"))["o"]
    assert (new["x"], new["X"], new["i"], new["c"]) == ("NEW", "NEW", placed["orderId"], "life1")

    venue.print(PERP, 60_000.0, 1.004)
    trade = (await tap.kind("ORDER_TRADE_UPDATE"))["o"]
    assert [message["e"] for message in tap.got[-2:]] == ["TRADE_LITE", "ORDER_TRADE_UPDATE"]
    assert (trade["x"], trade["X"], trade["l"], trade["z"], trade["m"]) == (
        "TRADE",
        "PARTIALLY_FILLED",
        "0.004",
        "0.004",
        True,
    )
    account = (await tap.kind("ACCOUNT_UPDATE"))["a"]
    assert [item["a"] for item in account["B"]] == ["USDT"] and account["m"] == "ORDER"
    assert [(row["s"], row["pa"], row["ep"]) for row in account["P"]] == [("BTCUSDT", "0.004", "60000.00000000")]

    amended = await client(
        "PUT",
        "/fapi/v1/order",
        symbol="BTCUSDT",
        origClientOrderId="life1",
        side="BUY",
        quantity="0.008",
        price="59999.5",
    )
    assert (amended["origQty"], amended["price"]) == ("0.008", "59999.50")
    assert (await tap.kind("ORDER_TRADE_UPDATE"))["o"]["x"] == "AMENDMENT"
    same = {"symbol": "BTCUSDT", "orderId": placed["orderId"], "side": "BUY", "quantity": "0.008"}
    assert (await client("PUT", "/fapi/v1/order", **same, price="59999.5"))["code"] == -5027
    assert (await client("PUT", "/fapi/v1/order", **same))["code"] == -1102
    query = await client("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="life1")
    assert (query["status"], query["avgPrice"], query["executedQty"]) == ("PARTIALLY_FILLED", "60000.00000000", "0.004")
    cancelled = await client("DELETE", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="life1")
    assert cancelled["status"] == "CANCELED"
    assert (await tap.kind("ORDER_TRADE_UPDATE"))["o"]["x"] == "CANCELED"
    gone = {"symbol": "BTCUSDT", "orderId": placed["orderId"]}
    assert (await client("DELETE", "/fapi/v1/order", **gone))["code"] == -2011
    assert (await client("GET", "/fapi/v1/openOrder", **gone))["code"] == -2013
    assert [row["orderId"] for row in await client("GET", "/fapi/v1/allOrders", symbol="BTCUSDT")] == [
        placed["orderId"]
    ]

    trades = await client("GET", "/fapi/v1/userTrades", symbol="BTCUSDT")
    assert [(row["orderId"], row["qty"], row["maker"]) for row in trades] == [(placed["orderId"], "0.004", True)]
    assert await client("GET", "/fapi/v1/userTrades", symbol="BTCUSDT", fromId=trades[0]["id"] + 1) == []
    position = (await client("GET", "/fapi/v3/positionRisk"))[0]
    assert (position["symbol"], position["positionAmt"], "leverage" in position) == ("BTCUSDT", "0.004", False)
    assert Decimal(position["positionAmt"]) == (await venue.venue.get_position())[0].quantity
    closed = await client(
        "POST", "/fapi/v1/order", symbol="BTCUSDT", side="SELL", type="MARKET", quantity="0.004", reduceOnly="true",
        newOrderRespType="RESULT",
    )  # fmt: skip
    assert (closed["status"], closed["executedQty"], closed["reduceOnly"]) == ("FILLED", "0.004", True)
    trades = await client("GET", "/fapi/v1/userTrades", symbol="BTCUSDT", orderId=closed["orderId"])
    assert trades[0]["realizedPnl"] == "0.00000000" and await client("GET", "/fapi/v3/positionRisk") == []


LIMIT = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.01",
    "price": "59000",
}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"symbol": "NOUSDT"}, -1121),
        ({"side": "HOLD"}, -1117),
        ({"type": "ICEBERG"}, -1116),
        ({"type": "STOP_MARKET", "stopPrice": "1"}, -4120),
        ({"price": None}, -1102),
        ({"timeInForce": "SOON"}, -1115),
        ({"type": "MARKET"}, -1106),
        ({"price": "59000.05"}, -4014),
        ({"price": "59000.001"}, -1111),
        ({"quantity": "0.0101"}, -1111),
        ({"quantity": "0"}, -4003),
        ({"quantity": "1001"}, -4005),
        ({"quantity": "0.001"}, -4164),
        ({"price": "90000"}, -4016),
        ({"side": "SELL", "price": "40000"}, -4024),
        ({"timeInForce": "GTX", "price": "60001"}, -5022),
        ({"side": "SELL", "price": "61000", "reduceOnly": "true"}, -2022),
        ({"quantity": "900"}, -2019),
        ({"positionSide": "LONG"}, -4061),
        ({"newClientOrderId": "no spaces"}, -4015),
        ({"newClientOrderId": "x" * 37}, -4015),
        ({"price": "5e4"}, -1100),
    ],
)
async def test_futures_refusals(client: Client, change: dict[str, str | None], code: int) -> None:
    terms = {name: value for name, value in (LIMIT | change).items() if value is not None}
    refused = await client("POST", "/fapi/v1/order", **terms)
    assert refused["code"] == code, refused
    assert await client("GET", "/fapi/v1/openOrders") == []


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"price": "59000.005"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"quantity": "0.000001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "0.00005"}, -1013, "Filter failure: NOTIONAL"),
        ({"price": "10000"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        (
            {"type": "MARKET", "quantity": "101", "price": None, "timeInForce": None},
            -1013,
            "Filter failure: MARKET_LOT_SIZE",
        ),
        ({"price": "59000.000000001"}, -1111, "too much precision"),
        ({"quantity": "10"}, -2010, "Account has insufficient balance for requested action."),
        (
            {"type": "LIMIT_MAKER", "timeInForce": None, "price": "60001"},
            -2010,
            "Order would immediately match and take.",
        ),
        ({"type": "LIMIT_MAKER"}, -1106, "timeInForce"),
        ({"reduceOnly": "true"}, -1104, "Not all sent parameters were read"),
        ({"newClientOrderId": "no spaces"}, -1100, "newClientOrderId"),
    ],
)
async def test_spot_refusals(client: Client, change: dict[str, str | None], code: int, text: str) -> None:
    terms = {name: value for name, value in (LIMIT | change).items() if value is not None}
    refused = await client("POST", "/api/v3/order", **terms)
    assert refused["code"] == code and text in refused["msg"], refused


async def test_client_ids_are_unique_among_open_orders_only(client: Client) -> None:
    first = await client.buy(newClientOrderId="again")
    assert (await client.buy(newClientOrderId="again"))["code"] == -4116
    await client("DELETE", "/fapi/v1/order", symbol="BTCUSDT", orderId=first["orderId"])
    second = await client.buy(newClientOrderId="again")
    assert second["orderId"] != first["orderId"]
    found = await client("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="again")
    assert found["orderId"] == second["orderId"] and found["status"] == "NEW"
    assert (await client.spot_buy(newClientOrderId="again"))["status"] == "NEW"
    duplicate = await client.spot_buy(newClientOrderId="again")
    assert duplicate == {"code": -2010, "msg": "Duplicate order sent."}


async def test_thousands_and_tiny_prices_keep_their_units(client: Client, venue: BinanceEmulator) -> None:
    depth = await client.public("/fapi/v1/depth", symbol="1000PEPEUSDT", limit=5)
    assert depth["bids"] == [["0.0091000", "10000"]] and depth["asks"] == [["0.0091001", "10000"]]
    order = {"symbol": "1000PEPEUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "IOC", "quantity": "2000"}
    taken = await client("POST", "/fapi/v1/order", **order, price="0.0091001", newOrderRespType="RESULT")
    assert (taken["status"], taken["executedQty"], taken["price"]) == ("FILLED", "2000", "0.0091001")
    assert (await venue.venue.get_position())[0].quantity == 2_000_000
    spot = await client.public("/api/v3/depth", symbol="PEPEUSDT", limit=5)
    assert spot["bids"][0] == ["0.00000910", "10000000.00000000"]
    info = await client.public("/api/v3/exchangeInfo", symbol="PEPEUSDT")
    assert info["symbols"][0]["filters"][0]["tickSize"] == "0.00000001"


async def test_spot_orders_live_and_events_name_the_cancellation(client: Client, venue: BinanceEmulator) -> None:
    tap = await spot_user_tap(client)
    placed = await client.spot_buy(newClientOrderId="s1", price="60001", quantity="0.02")
    assert placed["status"] == "FILLED" and placed["fills"][0]["qty"] == "0.02000000"
    filled = await tap.next(lambda message: message.get("event", {}).get("x") == "TRADE")
    assert (filled["event"]["c"], filled["event"]["Z"], filled["event"]["m"]) == ("s1", "1200.02000000", False)
    assert (filled["event"]["N"], filled["event"]["n"]) == ("BTC", "0.00002000"), "a buy pays in what it buys"
    held = (await tap.kind("outboundAccountPosition"))["event"]["B"]
    assert {item["a"] for item in held} == {"BTC", "USDT"}

    resting = await client.spot_buy(newClientOrderId="s2", price="59000", quantity="0.03")
    await tap.next(lambda message: message.get("event", {}).get("x") == "NEW")
    locked = (await tap.kind("outboundAccountPosition"))["event"]["B"]
    assert next(item["l"] for item in locked if item["a"] == "USDT") == "1770.00000000"
    amended = await client(
        "PUT", "/api/v3/order/amend/keepPriority", symbol="BTCUSDT", orderId=resting["orderId"], newQty="0.02",
        newClientOrderId="s2",
    )  # fmt: skip
    assert amended["amendedOrder"]["clientOrderId"] == "s2" and amended["amendedOrder"]["qty"] == "0.02000000"
    grown = {"symbol": "BTCUSDT", "orderId": resting["orderId"], "newQty": "0.04"}
    assert (await client("PUT", "/api/v3/order/amend/keepPriority", **grown))["code"] == -2038

    replaced = await client(
        "POST", "/api/v3/order/cancelReplace", **(LIMIT | {"price": "59500", "newClientOrderId": "s3"}),
        cancelReplaceMode="STOP_ON_FAILURE", cancelOrigClientOrderId="s2",
    )  # fmt: skip
    assert (replaced["cancelResult"], replaced["newOrderResponse"]["clientOrderId"]) == ("SUCCESS", "s3")
    failed = await client(
        "POST",
        "/api/v3/order/cancelReplace",
        **LIMIT,
        cancelReplaceMode="STOP_ON_FAILURE",
        cancelOrigClientOrderId="s2",
    )
    assert (failed["code"], failed["data"]["newOrderResult"]) == (-2022, "NOT_ATTEMPTED")

    gone = await client("DELETE", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="s3", newClientOrderId="bye")
    assert (gone["origClientOrderId"], gone["clientOrderId"], gone["status"]) == ("s3", "bye", "CANCELED")
    told = await tap.next(lambda message: message.get("event", {}).get("c") == "bye")
    assert (told["event"]["C"], told["event"]["x"]) == ("s3", "CANCELED")
    assert (await client("DELETE", "/api/v3/openOrders", symbol="BTCUSDT"))["code"] == -2011
    trades = await client("GET", "/api/v3/myTrades", symbol="BTCUSDT")
    assert [row["isBuyer"] for row in trades] == [True]
    week = {"startTime": 0, "endTime": 7 * 86_400_000}
    assert (await client("GET", "/api/v3/myTrades", symbol="BTCUSDT", **week))["code"] == -1127
    wallet = {
        row["asset"]: row for row in (await client("GET", "/api/v3/account", omitZeroBalances="true"))["balances"]
    }
    assert wallet["BTC"]["free"] == "0.01998000" and "DOGE" not in wallet
    futures = {row["asset"]: Decimal(row["balance"]) for row in await client("GET", "/fapi/v3/balance")}
    spot = Decimal(wallet["USDT"]["free"]) + Decimal(wallet["USDT"]["locked"])
    together = {balance.currency: balance.total for balance in venue.balances()}
    assert futures["USDT"] == 10_000 and futures["USDT"] + spot == together["USDT"]


async def test_depth_is_one_chain_into_which_every_snapshot_fits(client: Client, venue: BinanceEmulator) -> None:
    futures = await open_tap(client, "/public/stream?streams=btcusdt@depth@100ms")
    spot = await open_tap(client, "/ws/btcusdt@depth@100ms")
    events: dict[Tap, list[Message]] = {futures: [], spot: []}
    snapshots = []
    for turn in range(4):
        for symbol in (PERP, SPOT, "ETH-USDT-PERP"):
            venue.book(symbol, [(59_990.0 + turn, 2.0)], [], snapshot=turn == 2)
        snapshots.append((await client.public("/fapi/v1/depth", symbol="BTCUSDT", limit=1000))["lastUpdateId"])
        for tap in events:
            message = await tap.next(lambda message: "depthUpdate" in str(message))
            events[tap].append(message.get("data", message))
    chain = events[futures]
    assert futures.got[0]["stream"] == "btcusdt@depth@100ms" and chain[0]["st"] == 1
    for previous, event in pairwise(chain):
        assert event["pu"] == previous["u"] < event["U"] <= event["u"]
    assert all(event["U"] <= taken <= event["u"] for taken, event in zip(snapshots, chain, strict=True))
    assert any(event["U"] != event["pu"] + 1 for event in chain), "futures ids leave holes"
    for previous, event in pairwise(events[spot]):
        assert event["U"] == previous["u"] + 1 and "pu" not in event
    gone = {price for price, size in chain[2]["b"] if float(size) == 0}
    assert "60000.00" in gone, "a whole new book comes as the changes that lead to it"


async def test_the_wrong_path_is_silent(client: Client, venue: BinanceEmulator) -> None:
    public, market = await open_tap(client, "/public/ws"), await open_tap(client, "/market/ws")
    unrouted = await open_tap(client, "/fstream/ws")
    streams = ["btcusdt@bookTicker", "btcusdt@aggTrade", "btcusdt@markPrice@1s", "btcusdt@kline_1m"]
    for tap in (public, market, unrouted):
        assert await tap.ask(method="SUBSCRIBE", params=streams, id=7) == {"result": None, "id": 7}
    assert set((await market.ask(method="LIST_SUBSCRIPTIONS", id=8))["result"]) == set(streams)
    venue.funding(PERP, 0.0001)
    venue.mark(PERP, 60_005.0)
    venue.print(PERP, 60_001.0, 0.5, Side.BUY)
    venue.book(PERP, [(60_000.5, 3.0)], [], snapshot=False)
    trade, quote = await market.kind("aggTrade"), await public.kind("bookTicker")
    assert (trade["q"], trade["m"]) == ("0.500", False) and (quote["b"], quote["B"]) == ("60000.50", "3.000")
    mark = await market.next(lambda message: message.get("p") == "60005.00000000")
    assert (mark["e"], mark["r"]) == ("markPriceUpdate", "0.00010000")
    kline = await market.kind("kline")
    assert (kline["k"]["i"], kline["k"]["c"], kline["k"]["x"]) == ("1m", "60001.00", False)
    assert (await unrouted.kind("bookTicker"))["u"] == quote["u"]
    assert {message.get("e") for message in public.got + unrouted.got} == {None, "bookTicker"}
    assert "bookTicker" not in {message.get("e") for message in market.got}
    error = await public.ask(method="SING", params=[], id=9)
    assert error["error"]["code"] == 2


async def test_limits_warn_refuse_and_ban(client: Client, venue: BinanceEmulator) -> None:
    await client.public("/fapi/v1/depth", symbol="BTCUSDT", limit=1000)
    assert client.headers["X-MBX-USED-WEIGHT-1M"] == "20"
    venue.limits_of[next(iter(venue.limits_of))].set_limit("ORDERS", 1)
    await client.buy()
    refused = await client.buy()
    assert refused["code"] == -1015 and int(client.headers["Retry-After"]) <= 10
    venue.limits_of[next(iter(venue.limits_of))].set_limit("REQUEST_WEIGHT", 21)
    await client.public("/fapi/v1/time")
    status, refused = await client.raw("GET", "/fapi/v1/time")
    assert (status, refused["code"]) == (429, -1003) and 0 < int(client.headers["Retry-After"]) <= 60
    while status == 429:
        status, refused = await client.raw("GET", "/fapi/v1/time")
    until = int(re.search(r"banned until (\d+)", refused["msg"])[1])
    assert status == 418 and client.headers["Retry-After"] == "120" and until > venue.clock.now_ms()
    assert (await client.raw("GET", "/api/v3/time"))[0] == 200
    venue.skew_ms = 121_000
    assert (await client.raw("GET", "/fapi/v1/time"))[0] == 200


async def test_the_listen_key_lives_an_hour(client: Client, venue: BinanceEmulator) -> None:
    tap = await user_tap(client)
    key = venue.listen_keys.key
    assert (await client.raw("POST", "/fapi/v1/listenKey"))[1] == {"listenKey": key}
    assert (await client.raw("PUT", "/fapi/v1/listenKey"))[1] == {"listenKey": key}
    venue.skew_ms = 3_600_001
    assert (await tap.kind("listenKeyExpired"))["listenKey"] == key
    assert (await client.raw("PUT", "/fapi/v1/listenKey"))[1]["code"] == -1125
    assert (await client.raw("POST", "/fapi/v1/listenKey"))[1]["listenKey"] != key
    await client.buy()
    client.key = "nobody"
    assert (await client.raw("POST", "/fapi/v1/listenKey"))[1]["code"] == -2015


async def test_settings_of_the_account(client: Client, venue: BinanceEmulator) -> None:
    tap = await user_tap(client)
    assert (await client("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=7))["leverage"] == 7
    assert (await tap.kind("ACCOUNT_CONFIG_UPDATE"))["ac"] == {"s": "BTCUSDT", "l": 7}
    assert (await client("GET", "/fapi/v1/symbolConfig", symbol="BTCUSDT"))[0]["leverage"] == 7
    assert (await client("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=500))["code"] == -4028
    assert (await client("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="CROSSED"))["code"] == -4046
    assert (await client("POST", "/fapi/v1/positionSide/dual", dualSidePosition="false"))["code"] == -4059
    assert (await client("POST", "/fapi/v1/positionSide/dual", dualSidePosition="true"))["code"] == 200
    assert (await client("GET", "/fapi/v1/positionSide/dual"))["dualSidePosition"] is True
    assert (await client.buy())["code"] == -4061
    venue.account.can_trade, venue.account.can_withdraw = False, True
    assert (await client.buy())["code"] == -2015
    assert (await client("GET", "/sapi/v1/account/apiRestrictions"))["enableWithdrawals"] is True
    rates = await client("GET", "/fapi/v1/commissionRate", symbol="BTCUSDT")
    assert rates["takerCommissionRate"] == "0.000500"


async def test_the_dead_man_switch_cancels_one_symbol(client: Client, venue: BinanceEmulator) -> None:
    tap = await user_tap(client)
    await client.buy(price="59000")
    other = {"symbol": "1000PEPEUSDT", "quantity": "2000", "price": "0.0090"}
    kept = await client.buy(**other)
    await client("POST", "/fapi/v1/countdownCancelAll", symbol="BTCUSDT", countdownTime=60_000)
    venue.skew_ms = 61_000
    cancelled = await tap.next(lambda message: message.get("o", {}).get("x") == "CANCELED")
    assert cancelled["o"]["s"] == "BTCUSDT"
    assert [row["orderId"] for row in await client("GET", "/fapi/v1/openOrders")] == [kept["orderId"]]


async def test_conditional_orders_have_their_own_endpoints(client: Client, venue: BinanceEmulator) -> None:
    tap = await user_tap(client)
    await client.buy(price="60001", quantity="0.01")
    venue.print(PERP, 60_001.0, 0.1, Side.BUY)
    stop = {"algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "quantity": "0.01"}
    wrong = await client("POST", "/fapi/v1/algoOrder", **stop, triggerPrice="60500")
    assert wrong["code"] == -2021
    placed = await client(
        "POST", "/fapi/v1/algoOrder", **stop, triggerPrice="59000", reduceOnly="true", clientAlgoId="stop1"
    )
    assert (placed["algoStatus"], placed["clientAlgoId"]) == ("NEW", "stop1")
    second = await client("POST", "/fapi/v1/algoOrder", **stop, triggerPrice="58000", clientAlgoId="stop2")
    cancelled = await client("DELETE", "/fapi/v1/algoOrder", algoId=second["algoId"])
    assert cancelled["code"] == "200"
    assert [row["clientAlgoId"] for row in await client("GET", "/fapi/v1/openAlgoOrders")] == ["stop1"]
    assert await client("GET", "/fapi/v1/openOrders") == []
    venue.book(PERP, [(58_990.0, 5.0)], [(58_999.0, 5.0)])
    venue.print(PERP, 58_995.0, 0.1)
    done = await tap.next(lambda message: message.get("o", {}).get("X") == "FINISHED")
    statuses = [m["o"]["X"] for m in tap.got if m["e"] == "ALGO_UPDATE" and m["o"]["caid"] == "stop1"]
    assert statuses == ["NEW", "TRIGGERING", "TRIGGERED", "FINISHED"] and done["o"]["ai"]
    assert (await client("GET", "/fapi/v1/algoOrder", clientAlgoId="stop1"))["algoStatus"] == "FINISHED"
    assert await client("GET", "/fapi/v3/positionRisk") == []


async def test_the_trading_socket_takes_sorted_signatures(client: Client, venue: BinanceEmulator) -> None:
    tap = await open_tap(client, "/ws-fapi/v1")

    async def call(number: int, method: str, **params: object) -> Message:
        params |= {"apiKey": client.key, "timestamp": venue.clock.now_ms()}
        text = "&".join(f"{name}={params[name]}" for name in sorted(params))
        return await tap.ask(id=number, method=method, params={**params, "signature": client.sign(text)})

    placed = await call(1, "order.place", **LIMIT, newClientOrderId="w1")
    assert placed["status"] == 200 and placed["result"]["clientOrderId"] == "w1"
    assert {limit["rateLimitType"] for limit in placed["rateLimits"]} == {"REQUEST_WEIGHT", "ORDERS"}
    moved = await call(
        2, "order.modify", symbol="BTCUSDT", origClientOrderId="w1", side="BUY", quantity="0.01", price="59100"
    )
    assert moved["result"]["price"] == "59100.00"
    assert (await call(3, "order.cancel", symbol="BTCUSDT", origClientOrderId="w1"))["result"]["status"] == "CANCELED"
    refused = await call(4, "order.cancel", symbol="BTCUSDT", origClientOrderId="w1")
    assert (refused["status"], refused["error"]["code"]) == (400, -2011)
    unsigned = await tap.ask(id=5, method="order.place", params={**LIMIT, "apiKey": client.key, "timestamp": 1})
    assert unsigned["error"]["code"] == -1021
    assert venue.requests[-1].method == "WS" and venue.requests[-1].path == "order.place"
    venue.faults.lose_response("WS order.place")
    with pytest.raises(ConnectionError):
        await call(6, "order.place", **LIMIT, newClientOrderId="w2")
    assert (await client("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="w2"))["status"] == "NEW"


async def test_faults_of_requests(client: Client, venue: BinanceEmulator) -> None:
    order = "POST /fapi/v1/order"
    venue.faults.lose_response(order)
    with pytest.raises(aiohttp.ClientError):
        await client.buy(newClientOrderId="f1")
    venue.faults.lose_request(order)
    with pytest.raises(aiohttp.ClientError):
        await client.buy(newClientOrderId="f2")
    venue.faults.unknown_but_done(order, 503, UNKNOWN_503)
    await client.buy(newClientOrderId="f3")
    venue.faults.answer(order, 503, INTERNAL_503)
    assert "Internal error" in await client.buy(newClientOrderId="f4")
    assert [row["clientOrderId"] for row in await client("GET", "/fapi/v1/openOrders")] == ["f1", "f3"]
    venue.faults.answer("/fapi/v1/time", 403, WAF_403)
    assert (await client.raw("GET", "/fapi/v1/time"))[0] == 403
    venue.faults.lag(30)
    await client.buy(newClientOrderId="f5")
    assert (await client("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="f5"))["code"] == -2013
    venue.faults.lag(0)
    assert (await client("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="f5"))["status"] == "NEW"
    venue.faults.ban(60)
    status, banned = await client.raw("GET", "/fapi/v1/time")
    assert status == 418 and "banned until" in banned["msg"] and client.headers["Retry-After"] == "60"


async def test_faults_of_streams(client: Client, venue: BinanceEmulator) -> None:
    tap = await open_tap(client, "/market/ws/btcusdt@aggTrade")

    async def sizes(count: int) -> list[str]:
        return [(await tap.next())["q"] for _ in range(count)]

    venue.print(PERP, 60_000.5, 0.001)
    assert await sizes(1) == ["0.001"]
    venue.faults.drop_message("aggTrade")
    venue.print(PERP, 60_000.5, 0.002)
    venue.print(PERP, 60_000.5, 0.003)
    venue.faults.duplicate("aggTrade")
    venue.print(PERP, 60_000.5, 0.004)
    venue.faults.reorder("aggTrade")
    venue.print(PERP, 60_000.5, 0.005)
    venue.print(PERP, 60_000.5, 0.006)
    venue.faults.mute("aggTrade")
    venue.print(PERP, 60_000.5, 0.007)
    venue.faults.unmute("aggTrade")
    venue.print(PERP, 60_000.5, 0.008)
    assert await sizes(6) == ["0.003", "0.004", "0.004", "0.006", "0.005", "0.008"]
    private = await user_tap(client)
    assert venue.faults.cut_sockets("public") == 1
    with pytest.raises(ConnectionError):
        await tap.next()
    await client.buy()
    assert (await private.kind("ORDER_TRADE_UPDATE"))["o"]["x"] == "NEW"


async def test_funding_is_told_without_a_symbol_and_income_names_it(client: Client, venue: BinanceEmulator) -> None:
    tap = await user_tap(client)
    await client.buy(price="60001")
    await tap.kind("ACCOUNT_UPDATE")
    due = venue.clock.now_ms() + 5_000
    venue.funding(PERP, 0.0001, due)
    venue.skew_ms = 6_000
    paid = (await tap.kind("ACCOUNT_UPDATE"))["a"]
    assert (paid["m"], paid["P"], [item["a"] for item in paid["B"]]) == ("FUNDING_FEE", [], ["USDT"])
    rows = await client("GET", "/fapi/v1/income", incomeType="FUNDING_FEE")
    assert [(row["symbol"], row["income"]) for row in rows] == [("BTCUSDT", paid["B"][0]["bc"])]


async def test_batches_answer_order_by_order(client: Client) -> None:
    terms = LIMIT | {"newClientOrderId": "b1"}
    batch = json.dumps([terms, terms, LIMIT | {"price": "59000.05"}], separators=(",", ":"))
    first, second, third = await client("POST", "/fapi/v1/batchOrders", batchOrders=batch)
    assert (first["clientOrderId"], second["code"], third["code"]) == ("b1", -4116, -4014)
    assert client.headers["X-MBX-ORDER-COUNT-1M"] == "3"
    names = json.dumps(["b1", "b2"])
    gone = await client("DELETE", "/fapi/v1/batchOrders", symbol="BTCUSDT", origClientOrderIdList=names)
    assert (gone[0]["status"], gone[1]["code"]) == ("CANCELED", -2011)


async def test_a_good_till_date_ends_an_order(client: Client, venue: BinanceEmulator) -> None:
    tap = await user_tap(client)
    soon = venue.clock.now_ms() + 60_000
    assert (await client.buy(price="59000", timeInForce="GTD", goodTillDate=soon))["code"] == -4188
    due = venue.clock.now_ms() + 601_000
    placed = await client.buy(price="59000", timeInForce="GTD", goodTillDate=due)
    assert placed["goodTillDate"] == due - due % 1000
    venue.skew_ms = 602_000
    assert (await tap.next(lambda message: message.get("o", {}).get("x") == "EXPIRED"))["o"]["X"] == "EXPIRED"


async def test_what_the_venue_does_by_itself_is_told_too(client: Client, venue: BinanceEmulator) -> None:
    tap = await user_tap(client)
    foreign = await venue.venue.place_order(PERP, Side.BUY, OrderType.LIMIT, Decimal("0.01"), Decimal(59_000))
    told = (await tap.kind("ORDER_TRADE_UPDATE"))["o"]
    assert (told["x"], told["c"], told["q"]) == ("NEW", foreign.client_id, "0.010")
    await client("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=100)
    await client.buy(quantity="5", price="60010")
    venue.book(PERP, [(57_600.0, 50.0)], [(57_601.0, 50.0)])
    venue.mark(PERP, 57_600.0)
    forced = await tap.next(lambda message: message.get("o", {}).get("x") == "CALCULATED")
    assert forced["o"]["o"] == "LIQUIDATION" and forced["o"]["c"].startswith("autoclose-")
    trades = await client("GET", "/fapi/v1/userTrades", symbol="BTCUSDT", limit=1)
    assert Decimal(trades[0]["realizedPnl"]) < -10_000


async def test_spot_market_orders_by_quote_and_the_ends_of_its_stream(client: Client, venue: BinanceEmulator) -> None:
    tap = await spot_user_tap(client)
    bought = await client(
        "POST",
        "/api/v3/order",
        symbol="BTCUSDT",
        side="BUY",
        type="MARKET",
        quoteOrderQty="1000",
        newOrderRespType="FULL",
    )
    assert (bought["executedQty"], bought["cummulativeQuoteQty"]) == ("0.01666000", "999.61666000")
    assert sum(Decimal(fill["qty"]) for fill in bought["fills"]) == Decimal("0.01666")
    stream = await open_tap(client, "/ws")
    assert (await stream.ask(method="SUBSCRIBE", params=["btcusdt@trade"], id=1))["result"] is None
    venue.wire.announce_shutdown()
    assert (await tap.kind("serverShutdown"))["event"] and (await stream.kind("serverShutdown"))["E"]
    venue.wire.terminate_spot_stream()
    assert (await tap.kind("eventStreamTerminated"))["subscriptionId"] == 0
    await client.spot_buy(price="59000")
    assert (await tap.ask(id=5, method="session.logon", params={"apiKey": client.key}))["status"] == 400
    assert (await tap.ask(id=6, method="ping", params={}))["result"] == {}
    assert not [message for message in tap.got[-2:] if "event" in message]


async def test_slow_deaf_and_too_talkative_connections(client: Client, venue: BinanceEmulator) -> None:
    began = venue.clock.stopwatch_ns()
    slow = venue.faults.delay("/fapi/v1/time", 0.2)
    await client.public("/fapi/v1/time")
    assert venue.clock.stopwatch_ns() - began > 190_000_000
    slow.stop()
    talker = await open_tap(client, "/public/ws")
    with pytest.raises(ConnectionError):
        for number in range(12):
            await talker.ask(method="LIST_SUBSCRIPTIONS", id=number)
    deaf = await open_tap(client, "/market/ws/btcusdt@aggTrade")
    venue.faults.black_hole("public")
    venue.print(PERP, 60_000.5, 0.001)
    await client.public("/fapi/v1/time")
    venue.faults.clear()
    venue.print(PERP, 60_000.5, 0.002)
    assert (await deaf.kind("aggTrade"))["q"] == "0.002"


async def test_old_orders_without_a_fill_are_forgotten(client: Client, venue: BinanceEmulator) -> None:
    by_name = {"symbol": "BTCUSDT", "origClientOrderId": "old"}
    for path, buy in (("/fapi/v1/order", client.buy), ("/api/v3/order", client.spot_buy)):
        await buy(price="59000", newClientOrderId="old")
        await client("DELETE", path, **by_name)
        assert (await client("GET", path, **by_name))["status"] == "CANCELED"
    await client.buy(price="60001", newClientOrderId="filled")
    venue.skew_ms = 4 * 86_400_000
    assert (await client("GET", "/fapi/v1/order", **by_name))["code"] == -2013
    assert (await client("GET", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="filled"))["status"] == "FILLED"
    assert (await client("GET", "/api/v3/order", **by_name))["status"] == "CANCELED"
    venue.skew_ms = 91 * 86_400_000
    assert (await client("GET", "/api/v3/order", **by_name))["code"] == -2026


async def test_it_runs_by_hand() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.venues.emulators",
        "binance",
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            text = ""
            while "secret:" not in text:
                text += (await process.stdout.readline()).decode()
        address = re.search(r"rest_url: (\S+)", text)
        assert address is not None
        async with aiohttp.ClientSession() as http, http.get(address[1] + "/fapi/v1/exchangeInfo") as reply:
            listed = {row["symbol"] for row in (await reply.json())["symbols"]}
        assert {"BTCUSDT", "1000PEPEUSDT", "BTCUSDT_261225"} <= listed
    finally:
        process.terminate()
        await process.wait()
