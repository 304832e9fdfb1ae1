"""The Backpack emulator, asked by a bare client with a signer of its own."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.kernel.orders import Side
from tests.venues.emulators.backpack import BackpackEmulator
from tests.venues.emulators.backpack_auth import pre_sign

BTC, PEPE, SPOT = "BTC_USDC_PERP", "kPEPE_USDC_PERP", "BTC_USDC"


class Client:
    """A bare client of the venue."""

    def __init__(self, emulator: BackpackEmulator, session: aiohttp.ClientSession) -> None:
        self.emulator = emulator
        self.session = session
        self.key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(emulator.secret))
        self.window = 5000
        self.late_ms = 0

    def signature(self, text: str) -> str:
        return base64.b64encode(self.key.sign(text.encode())).decode()

    def headers(self, instruction: str, params: dict[str, Any]) -> dict[str, str]:
        now = self.emulator.clock.now_ms() - self.late_ms
        said = {key: str(value).lower() if isinstance(value, bool) else value for key, value in params.items()}
        middle = "".join(f"&{key}={said[key]}" for key in sorted(said))
        text = f"instruction={instruction}{middle}&timestamp={now}&window={self.window}"
        return {
            "X-API-Key": self.emulator.key,
            "X-Signature": self.signature(text),
            "X-Timestamp": str(now),
            "X-Window": str(self.window),
            "Content-Type": "application/json; charset=utf-8",
        }

    async def get(self, path: str, **params: str) -> tuple[int, Any]:
        async with self.session.get(self.emulator.rest_url + path, params=params) as reply:
            return reply.status, await _content(reply)

    async def ask(self, method: str, path: str, instruction: str, **params: Any) -> tuple[int, Any]:
        headers = self.headers(instruction, params)
        given: dict[str, Any] = {"params": params} if method == "GET" else {"data": json.dumps(params)}
        url = self.emulator.rest_url + path
        async with self.session.request(method, url, headers=headers, **given) as reply:
            return reply.status, await _content(reply)

    async def order(self, side: str = "Bid", price: str | None = "100.0", quantity: str = "1", **more: Any) -> Any:
        body = {"symbol": BTC, "side": side, "orderType": "Limit" if price else "Market", "quantity": quantity}
        body |= {"price": price} if price else {}
        return await self.ask("POST", "/api/v1/order", "orderExecute", **{**body, **more})


async def _content(reply: aiohttp.ClientResponse) -> Any:
    text = await reply.text()
    return json.loads(text) if reply.content_type == "application/json" and text else text


@pytest.fixture
async def venue() -> AsyncIterator[BackpackEmulator]:
    async with BackpackEmulator() as emulator:
        emulator.book(BTC, [(100.0, 2.0), (99.0, 5.0)], [(101.0, 2.0), (102.0, 5.0)])
        emulator.book(PEPE, [(0.00001, 1e9)], [(0.000010001, 1e9)])
        emulator.book(SPOT, [(100.0, 2.0)], [(101.0, 2.0)])
        yield emulator


@pytest.fixture
async def client(venue: BackpackEmulator) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(venue, session)


async def read(socket: aiohttp.ClientWebSocketResponse, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Returns the first message that is wanted."""
    while True:
        message = json.loads((await asyncio.wait_for(socket.receive(), 5)).data)
        if wanted(message):
            return message


def of_stream(prefix: str) -> Callable[[dict[str, Any]], bool]:
    return lambda message: message.get("stream", "").startswith(prefix)


def test_the_published_texts_are_signed():
    cancel = {"orderId": "28", "symbol": "BTC_USDT"}
    order = {"symbol": "SOL_USDC_PERP", "side": "Bid", "orderType": "Limit", "price": "141", "quantity": "12"}
    batch = pre_sign("orderExecute", [order, {**order, "price": "140", "quantity": "11"}], "1750793021519", "5000")
    assert pre_sign("orderCancel", [cancel], "1614550000000", "5000") == (
        "instruction=orderCancel&orderId=28&symbol=BTC_USDT&timestamp=1614550000000&window=5000"
    )
    assert batch == (
        "instruction=orderExecute&orderType=Limit&price=141&quantity=12&side=Bid&symbol=SOL_USDC_PERP&"
        "instruction=orderExecute&orderType=Limit&price=140&quantity=11&side=Bid&symbol=SOL_USDC_PERP&"
        "timestamp=1750793021519&window=5000"
    )
    assert pre_sign("subscribe", [{}], "1614550000000", "5000") == (
        "instruction=subscribe&timestamp=1614550000000&window=5000"
    )


async def test_public_calls_have_the_venues_shapes(venue: BackpackEmulator, client: Client):
    _, markets = await client.get("/api/v1/markets")
    row = next(row for row in markets if row["symbol"] == PEPE)
    assert (row["filters"]["price"]["tickSize"], row["filters"]["quantity"]["stepSize"]) == ("0.000001", "100")
    assert row["fundingInterval"] == 3_600_000
    _, depth = await client.get("/api/v1/depth", symbol=BTC, limit="5")
    assert [price for price, _ in depth["bids"]] == ["99", "100"], "bids come ascending"
    assert depth["timestamp"] > 10**15
    _, thousands = await client.get("/api/v1/depth", symbol=PEPE)
    assert thousands["bids"] == [["0.01", "1000000"]], "prices and sizes of thousands"
    assert await client.get("/api/v1/ticker", symbol=SPOT) == (204, "")
    assert (await client.get("/api/v1/ping"))[1] == "pong"
    assert (await client.get("/api/v1/klines", symbol=BTC, interval="1m"))[0] == 400, "startTime is required"
    assert (await client.get("/api/v1/depth", symbol="NO_SUCH"))[1]["code"] == "INVALID_SYMBOL"


async def test_signatures_windows_and_keys_are_checked(client: Client):
    async def code() -> tuple[int, str, str]:
        status, body = await client.ask("GET", "/api/v1/capital", "balanceQuery")
        return (status, "", "") if status == 200 else (status, body["code"], body["message"])

    assert (await code())[0] == 200
    client.late_ms = 6_000
    assert await code() == (400, "INVALID_CLIENT_REQUEST", "Request has expired")
    client.late_ms = -6_000
    assert "timestamp" in (await code())[2]
    client.late_ms, client.window = 0, 70_000
    assert (await code())[0] == 400
    client.window = 5_000
    client.key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    assert await code() == (400, "INVALID_CLIENT_REQUEST", "Invalid signature")
    client.emulator.key = base64.b64encode(bytes(32)).decode()
    status, _ = await client.ask("GET", "/api/v1/order", "orderQueryAll", symbol=BTC)
    assert status == 400, "the instruction is part of what is signed"


async def test_an_order_lives_from_acceptance_to_history(venue: BackpackEmulator, client: Client):
    status, order = await client.order(clientId=7, price="101.0", quantity="3", timeInForce="GTC")
    assert (status, order["status"], order["executedQuantity"], order["executedQuoteQuantity"]) == (
        200,
        "PartiallyFilled",
        "2",
        "202",
    )
    found = await client.ask("GET", "/api/v1/order", "orderQuery", symbol=BTC, clientId="7")
    assert found == (200, order)
    venue.print(BTC, 100.5, 5.0, Side.SELL)
    gone = await client.ask("GET", "/api/v1/order", "orderQuery", symbol=BTC, clientId="7")
    assert gone[0] == 404, "only resting orders are found"
    _, history = await client.ask("GET", "/wapi/v1/history/orders", "orderHistoryQueryAll", symbol=BTC)
    assert (history[0]["id"], history[0]["status"], history[0]["expiryReason"]) == (order["id"], "Filled", None)
    assert "+" not in history[0]["createdAt"] and not history[0]["createdAt"].endswith("Z")
    _, fills = await client.ask("GET", "/wapi/v1/history/fills", "fillHistoryQueryAll", orderId=order["id"])
    assert [(fill["clientId"], fill["quantity"], fill["isMaker"]) for fill in fills] == [
        ("7", "1", True),
        ("7", "2", False),
    ]
    _, positions = await client.ask("GET", "/api/v1/position", "positionQuery")
    assert [(row["symbol"], row["netQuantity"]) for row in positions] == [(BTC, "3")]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"price": "100.05"}, "INVALID_PRICE"),
        ({"quantity": "0.000001"}, "INVALID_QUANTITY"),
        ({"quantity": "900000"}, "INSUFFICIENT_MARGIN"),
        ({"symbol": SPOT, "quantity": "5", "side": "Ask"}, "INSUFFICIENT_FUNDS"),
        ({"symbol": "NO_SUCH"}, "INVALID_SYMBOL"),
        ({"price": "101.0", "postOnly": True}, "INVALID_ORDER"),
        ({"side": "Ask", "price": "150.0", "reduceOnly": True}, "INVALID_ORDER"),
        ({"clientId": 2**32}, "INVALID_CLIENT_REQUEST"),
        ({"clientId": "12"}, "INVALID_CLIENT_REQUEST"),
        ({"quantity": 1}, "INVALID_CLIENT_REQUEST"),
        ({"surprise": "1"}, "INVALID_CLIENT_REQUEST"),
    ],
)
async def test_refusals_have_the_venues_codes(client: Client, change: dict[str, Any], code: str):
    status, body = await client.order(**change)
    assert (status, body["code"]) == (400, code)
    assert (await client.ask("GET", "/api/v1/orders", "orderQueryAll"))[1] == []


async def test_orders_that_expire_name_the_reason(venue: BackpackEmulator, client: Client):
    venue.late_refusals = True
    for more in ({"postOnly": True}, {"timeInForce": "FOK"}, {"timeInForce": "IOC"}):
        _, order = await client.order(price="101.0", quantity="3", **more)
        assert order["status"] == "Expired"
        venue.book(BTC, [(100.0, 2.0)], [(101.0, 2.0)])
    _, history = await client.ask("GET", "/wapi/v1/history/orders", "orderHistoryQueryAll")
    assert [row["expiryReason"] for row in history] == ["ImmediateOrCancel", "FillOrKill", "PostOnlyTaker"]


async def test_cancels_are_carried_out_now_later_or_not_at_all(venue: BackpackEmulator, client: Client):
    _, order = await client.order()
    both = await client.ask("DELETE", "/api/v1/order", "orderCancel", symbol=BTC, orderId=order["id"], clientId=1)
    assert both[0] == 400
    status, answer = await client.ask("DELETE", "/api/v1/order", "orderCancel", symbol=BTC, orderId=order["id"])
    assert (status, answer["status"]) == (200, "Cancelled")
    again = await client.ask("DELETE", "/api/v1/order", "orderCancel", symbol=BTC, orderId=order["id"])
    assert (again[0], again[1]["code"]) == (404, "RESOURCE_NOT_FOUND")
    venue.slow_cancels = True
    _, order = await client.order()
    assert await client.ask("DELETE", "/api/v1/order", "orderCancel", symbol=BTC, orderId=order["id"]) == (202, "")
    venue.slow_cancels = False
    _, rows = await client.ask("DELETE", "/api/v1/orders", "orderCancelAll", symbol=BTC)
    assert [row["id"] for row in rows] == [order["id"]]


async def test_a_conditional_order_waits_for_its_trigger(venue: BackpackEmulator, client: Client):
    await client.order(price=None, quantity="2")
    stop = {"symbol": BTC, "side": "Ask", "orderType": "Market", "reduceOnly": True}
    _, order = await client.ask(
        "POST", "/api/v1/order", "orderExecute", **stop, triggerPrice="95.0", triggerQuantity="2"
    )
    assert order["status"] == "TriggerPending"
    venue.print(BTC, 94.0, 1.0)
    _, history = await client.ask("GET", "/wapi/v1/history/orders", "orderHistoryQueryAll", orderId=order["id"])
    assert history[0]["status"] == "Filled"
    assert venue.exchange.positions() == []


async def test_lent_money_is_not_in_the_capital(venue: BackpackEmulator, client: Client):
    venue.lent["USDC"] = Decimal(4_000)
    _, capital = await client.ask("GET", "/api/v1/capital", "balanceQuery")
    assert capital == {"USDC": {"available": "6000", "locked": "0", "staked": "0"}}
    _, lent = await client.ask("GET", "/api/v1/borrowLend/positions", "borrowLendPositionQuery")
    assert [(row["symbol"], row["netQuantity"]) for row in lent] == [("USDC", "4000")]
    _, account = await client.ask("GET", "/api/v1/account", "accountQuery")
    assert (account["futuresTakerFee"], account["leverageLimit"]) == ("5", "20")
    assert await client.ask("PATCH", "/api/v1/account", "accountUpdate", leverageLimit="5") == (200, "")
    assert venue.venue.leverage("BTC-USDC-PERP") == 5


async def test_depth_is_an_unbroken_chain_that_joins_the_snapshot(venue: BackpackEmulator, client: Client):
    async with client.session.ws_connect(venue.ws_url) as socket:
        await socket.send_json({"method": "SUBSCRIBE", "params": [f"depth.{BTC}", f"bookTicker.{BTC}", "nothing.X"]})
        assert await read(socket, lambda message: "error" in message) == {
            "id": None,
            "error": {"code": 4006, "message": "Invalid stream"},
        }
        _, snapshot = await client.get("/api/v1/depth", symbol=BTC)
        venue.book(BTC, [(100.0, 0.0), (99.5, 1.0)], [], snapshot=False)
        venue.book(BTC, [(98.0, 1.0)], [(101.5, 2.0)])
        first = (await read(socket, of_stream("depth")))["data"]
        second = (await read(socket, of_stream("depth")))["data"]
        assert first["U"] == int(snapshot["lastUpdateId"]) + 1
        assert second["U"] == first["u"] + 1
        assert first["b"] == [["100", "0"], ["99.5", "1"]]
        assert ["99.5", "0"] in second["b"], "a whole new book goes out as the change that leads to it"
        assert first["E"] > 10**15
        venue.faults.drop_message("depth.*")
        venue.book(BTC, [(97.0, 1.0)], [], snapshot=False)
        venue.book(BTC, [(96.0, 1.0)], [], snapshot=False)
        assert (await read(socket, of_stream("depth")))["data"]["U"] == second["u"] + 2, "the drop leaves a gap"


async def test_private_events_come_to_who_signed(venue: BackpackEmulator, client: Client):
    await client.order(price=None, quantity="1")
    async with client.session.ws_connect(venue.ws_url) as socket:
        streams = ["account.orderUpdate", "account.positionUpdate", "account.balanceUpdate"]
        await socket.send_json({"method": "SUBSCRIBE", "params": streams[:1]})
        assert (await read(socket, lambda message: "error" in message))["error"]["code"] == 4003
        now = str(venue.clock.now_ms())
        signature = client.signature(f"instruction=subscribe&timestamp={now}&window=5000")
        signed = [venue.key, signature, now, "5000"]
        await socket.send_json({"method": "SUBSCRIBE", "params": streams, "signature": signed})
        snapshot = (await read(socket, of_stream("account.positionUpdate")))["data"]
        assert "e" not in snapshot and (snapshot["s"], snapshot["q"]) == (BTC, "1")
        await client.order("Ask", price="100.0", quantity="3", clientId=9)
        told = [(await read(socket, of_stream("account.orderUpdate")))["data"] for _ in range(2)]
        assert [(event["e"], event["X"], event["c"], event["o"]) for event in told] == [
            ("orderAccepted", "New", 9, "LIMIT"),
            ("orderFill", "PartiallyFilled", 9, "LIMIT"),
        ]
        assert (told[1]["l"], told[1]["z"], told[1]["L"], told[1]["N"], told[1]["m"]) == (
            "2",
            "2",
            "100",
            "USDC",
            False,
        )
        moved = (await read(socket, of_stream("account.positionUpdate")))["data"]
        assert (moved["e"], moved["q"]) == ("positionAdjusted", "-1")


async def test_too_many_requests_a_ban_and_maintenance(venue: BackpackEmulator, client: Client):
    venue.limits.add("historical", 60.0, 30)
    path = "/api/v1/klines"
    start = str(venue.clock.now_ms() // 1000 - 600)
    status, body = await client.get(path, symbol=BTC, interval="1m", startTime=start)
    assert (status, body["code"]) == (429, "TOO_MANY_REQUESTS")
    venue.faults.ban(30)
    async with client.session.get(venue.rest_url + "/api/v1/time") as reply:
        assert (reply.status, int(reply.headers["Retry-After"])) == (429, 30)
    venue.faults.clear()
    venue.maintenance = True
    assert (await client.get("/api/v1/status"))[1]["status"] == "Maintenance"
    assert (await client.order())[1]["code"] == "MAINTENANCE"


async def test_a_lost_answer_leaves_the_order_and_a_lost_request_none(venue: BackpackEmulator, client: Client):
    venue.faults.lose_response("POST /api/v1/order")
    with pytest.raises(aiohttp.ClientError):
        await client.order(clientId=1)
    assert (await client.ask("GET", "/api/v1/order", "orderQuery", symbol=BTC, clientId="1"))[0] == 200
    venue.faults.lose_request("POST /api/v1/order")
    with pytest.raises(aiohttp.ClientError):
        await client.order(clientId=2)
    assert (await client.ask("GET", "/api/v1/order", "orderQuery", symbol=BTC, clientId="2"))[0] == 404
    venue.faults.unknown_but_done("POST /api/v1/order", 504, "<html>gateway</html>")
    assert (await client.order(clientId=3))[0] == 504
    venue.faults.lag(3)
    _, order = await client.order(clientId=4)
    _, rows = await client.ask("GET", "/api/v1/orders", "orderQueryAll")
    assert order["id"] not in [row["id"] for row in rows]
