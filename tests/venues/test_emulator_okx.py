"""The OKX emulator against a bare client with a signer of its own: the venue's facts, one by one."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from yarl import URL

from drivers.paper.config import PaperConfig
from drivers.paper.markets.synthetic import SyntheticMarket
from engine.kernel.clock import LoopClock, sleep
from engine.kernel.orders import OrderRequest, OrderType, Side
from tests.venues.emulators.okx import OkxEmulator

SWAP, SPOT, PEPE = "BTC-USDT-SWAP", "BTC-USDT", "PEPE-USDT-SWAP"
CASH = {"USDT": Decimal(10_000), "BTC": Decimal(1)}


class Client:
    """A signed client of nothing but the standard library and aiohttp."""

    def __init__(self, venue: OkxEmulator, session: aiohttp.ClientSession) -> None:
        self.venue = venue
        self.session = session
        self.key, self.secret, self.phrase = venue.key, venue.secret, venue.passphrase
        self.offset_s = 0.0
        self.headers: dict[str, str] = {}

    def sign(self, text: str) -> str:
        return base64.b64encode(hmac.digest(self.secret.encode(), text.encode(), "sha256")).decode()

    async def send(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        text = "" if body is None else json.dumps(body)
        now = self.venue._clock.now_ms() / 1000 + self.offset_s
        stamp = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        headers = {
            "OK-ACCESS-KEY": self.key,
            "OK-ACCESS-SIGN": self.sign(f"{stamp}{method}{path}{text}"),
            "OK-ACCESS-TIMESTAMP": stamp,
            "OK-ACCESS-PASSPHRASE": self.phrase,
            "Content-Type": "application/json",
            **self.headers,
        }
        url = URL(self.venue.rest_url + path, encoded=True)
        async with self.session.request(method, url, data=text or None, headers=headers) as answer:
            return answer.status, json.loads(await answer.text())

    async def get(self, path: str) -> list[Any]:
        status, envelope = await self.send("GET", f"/api/v5/{path}")
        assert (status, envelope["code"]) == (200, "0"), envelope
        return envelope["data"]

    async def code(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        status, envelope = await self.send(method, f"/api/v5/{path}", body)
        return status, envelope["code"]

    async def trade(self, path: str, **request: Any) -> dict[str, Any]:
        status, envelope = await self.send("POST", f"/api/v5/trade/{path}", request)
        assert status == 200, envelope
        return envelope["data"][0]

    async def order(self, instrument: str = SWAP, **request: Any) -> dict[str, Any]:
        mode = "cross" if instrument.endswith("SWAP") else "cash"
        given = {"instId": instrument, "tdMode": mode, "side": "buy", "ordType": "limit", "sz": "1", **request}
        return await self.trade("order", **given)

    async def refused(self, instrument: str = SWAP, **request: Any) -> str:
        return (await self.order(instrument, **request))["sCode"]

    async def socket(self, kind: str, *channels: dict[str, str], login: bool = True) -> Socket:
        socket = Socket(await self.session.ws_connect(f"{self.venue.ws_url}/ws/v5/{kind}"), self)
        if kind == "private" and login:
            assert (await socket.log_in())["code"] == "0"
        for channel in channels:
            assert (await socket.subscribe(**channel))["event"] == "subscribe"
        return socket


class Socket:
    def __init__(self, wire: aiohttp.ClientWebSocketResponse, client: Client) -> None:
        self.wire = wire
        self.client = client
        self.early: list[dict[str, Any]] = []

    async def send(self, **message: Any) -> None:
        await self.wire.send_str(json.dumps(message))

    async def next(self, *, answer: bool = False) -> dict[str, Any]:
        """Return the next message, or the next answer to a request while data waits."""
        while not answer and self.early:
            return self.early.pop(0)
        while True:
            text = await self.wire.receive_str(timeout=5)
            if text == "pong":
                continue
            message = json.loads(text)
            if message.get("event") == "channel-conn-count":
                continue
            if not answer or "arg" not in message or "event" in message:
                return message
            self.early.append(message)

    async def row(self, channel: str) -> dict[str, Any]:
        """Return the next row of a channel."""
        while True:
            message = await self.next()
            if message.get("arg", {}).get("channel") == channel:
                return message["data"][0]

    async def log_in(self, **wrong: str) -> dict[str, Any]:
        stamp = wrong.get("timestamp") or str(self.client.venue._clock.now_ms() // 1000)
        signature = self.client.sign(f"{stamp}GET/users/self/verify")
        keys = {"apiKey": self.client.key, "passphrase": self.client.phrase, "timestamp": stamp, "sign": signature}
        await self.send(op="login", args=[{**keys, **wrong}])
        return await self.next()

    async def subscribe(self, **channel: str) -> dict[str, Any]:
        await self.send(op="subscribe", args=[channel])
        return await self.next(answer=True)


@pytest.fixture
async def venue() -> AsyncIterator[OkxEmulator]:
    async with OkxEmulator(config=PaperConfig(balances=CASH)) as running:
        for name in (SWAP, SPOT):
            running.book(name, [(49_999.0, 1.0), (49_990.0, 2.0)], [(50_001.0, 1.0), (50_010.0, 2.0)])
        yield running


@pytest.fixture
async def client(venue) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(venue, session)


async def test_signatures_time_stamps_keys_and_rights_are_checked(venue, client):
    assert await client.code("GET", "account/balance?ccy=BTC,USDT") == (200, "0")
    assert venue.requests[-1].account == venue.key
    for change, wanted in (
        ({"secret": "other"}, (401, "50113")),
        ({"key": "other"}, (401, "50111")),
        ({"phrase": "other"}, (401, "50105")),
        ({"offset_s": -31.0}, (401, "50102")),
        ({"offset_s": 31.0}, (401, "50102")),
        ({"headers": {"x-simulated-trading": "1"}}, (401, "50101")),
        ({"headers": {"OK-ACCESS-SIGN": ""}}, (401, "50106")),
        ({"headers": {"OK-ACCESS-TIMESTAMP": "1700000000"}}, (401, "50112")),
    ):
        kept = {name: getattr(client, name) for name in change}
        for name, value in change.items():
            setattr(client, name, value)
        assert await client.code("GET", "account/balance") == wanted
        for name, value in kept.items():
            setattr(client, name, value)
    venue.skew_ms = 40_000
    assert await client.code("GET", "account/balance") == (401, "50102")
    assert (
        int((await client.get("public/time"))[0]["ts"]) - venue._clock.now_ms() > 39_000 if client.key == "" else True
    )
    venue.skew_ms = 0
    venue.perm = "read_only"
    assert await client.code("POST", "trade/order", {"instId": SWAP}) == (401, "50120")


async def test_orders_are_held_to_the_venues_rules(venue, client):
    for request, wanted in (
        ({"px": "50000.05"}, "51000"),
        ({"px": "50000", "sz": "0.015"}, "51121"),
        ({"px": "50000", "sz": "100000001"}, "51101"),
        ({"ordType": "market", "sz": "100001"}, "51202"),
        ({"px": "60000"}, "51006"),
        ({"px": "50000", "sz": "5000"}, "51008"),
        ({"px": "50000", "clOrdId": "with-dash"}, "51000"),
        ({"px": "50000", "clOrdId": "a" * 33}, "51000"),
        ({"px": "50000", "tdMode": "cash"}, "51000"),
        ({"px": "50000", "reduceOnly": True}, "51169"),
        ({"px": "50000", "posSide": "long"}, "51000"),
        ({"px": "50000", "side": "long"}, "51000"),
    ):
        assert await client.refused(**request) == wanted, request
    assert await client.refused(SPOT, px="50000", sz="0.000001") == "51020"
    assert await client.refused(SPOT, px="50000", tdMode="cross") == "51000"
    assert await client.refused("NO-USDT-SWAP", px="1") == "51001"
    assert await client.code("POST", "trade/order", {"instId": SWAP, "side": "buy"}) == (400, "50014")
    venue.set_state(SWAP, "suspend")
    assert await client.refused(px="50000") == "51022"
    venue.set_state(SWAP, "live")
    assert await client.refused(px="49000", clOrdId="same") == "0"
    assert await client.refused(px="49000", clOrdId="same") == "51016"
    assert (await client.trade("cancel-order", instId=SWAP, clOrdId="same"))["sCode"] == "0"
    assert await client.refused(px="49000", clOrdId="same") == "0"
    venue.pos_mode = "long_short_mode"
    assert await client.refused(px="49000") == "51000"
    assert await client.refused(px="49000", posSide="long") == "0"
    assert await client.code("POST", "account/set-position-mode", {"posMode": "net_mode"}) == (200, "59000")
    assert (await client.get("account/config"))[0]["posMode"] == "long_short_mode"


async def test_an_order_lives_in_contracts_and_is_told_on_the_private_socket(venue, client):
    orders, positions = {"channel": "orders", "instType": "ANY"}, {"channel": "positions", "instType": "SWAP"}
    socket = await client.socket("private", orders, {"channel": "account"}, positions)
    assert (await socket.next())["eventType"] == "snapshot"
    item = await client.order(px="49999", sz="150", clOrdId="o1")
    live = await socket.row("orders")
    assert (live["ordId"], live["state"], live["sz"], live["fillSz"]) == (item["ordId"], "live", "150", "0")
    venue.print(SWAP, 49_999.0, 1.5)
    part = await socket.row("orders")
    assert (part["state"], part["fillSz"], part["accFillSz"], part["fillPx"]) == (
        "partially_filled",
        "50",
        "50",
        "49999",
    )
    assert (part["execType"], part["fillFee"], part["fillFeeCcy"]) == ("M", "-4.9999", "USDT")
    position = await socket.row("positions")
    assert (position["pos"], position["avgPx"], position["posSide"]) == ("50", "49999", "net")
    await client.trade("amend-order", instId=SWAP, clOrdId="o1", newSz="120", reqId="r1")
    amended = await socket.row("orders")
    assert (amended["amendResult"], amended["reqId"], amended["sz"], amended["fillSz"]) == ("0", "r1", "120", "0")
    assert (await client.trade("cancel-order", instId=SWAP, ordId=item["ordId"]))["sCode"] == "0"
    canceled = await socket.row("orders")
    assert (canceled["state"], canceled["cancelSource"], canceled["accFillSz"]) == ("canceled", "1", "50")
    assert (await client.trade("cancel-order", instId=SWAP, clOrdId="o1"))["sCode"] == "51401"
    assert (await client.trade("amend-order", instId=SWAP, clOrdId="o1", newSz="2"))["sCode"] == "51509"
    assert (await client.trade("cancel-order", instId=SWAP, clOrdId="o9"))["sCode"] == "51400"
    row = (await client.get(f"trade/order?instId={SWAP}&clOrdId=o1"))[0]
    assert (row["accFillSz"], row["avgPx"], row["fee"]) == ("50", "49999", "-4.9999")
    fill = (await client.get(f"trade/fills?instType=SWAP&instId={SWAP}"))[0]
    assert (fill["tradeId"], fill["fillSz"], fill["fee"]) == (part["tradeId"], "50", "-4.9999")
    held = (await client.get("account/positions"))[0]
    assert Decimal(held["pos"]) / 100 == venue.exchange.positions()[0].quantity


async def test_post_only_is_accepted_then_cancelled_and_the_dead_man_cancels(venue, client):
    socket = await client.socket("private", {"channel": "orders", "instType": "SWAP"})
    item = await client.order(px="50001", ordType="post_only")
    assert item["sCode"] == "0"
    row = await socket.row("orders")
    assert (row["ordId"], row["state"], row["cancelSource"]) == (item["ordId"], "canceled", "31")
    resting = await client.order(px="49000", ordType="post_only")
    assert (await socket.row("orders"))["state"] == "live"
    await client.trade("amend-order", instId=SWAP, ordId=resting["ordId"], newPx="50005", reqId="x")
    failed = await socket.row("orders")
    assert (failed["amendResult"], failed["code"], failed["px"], failed["state"]) == ("-1", "51511", "49000", "live")
    for kind, source in (("ioc", "14"), ("fok", "13")):
        await client.order(px="50001", ordType=kind, sz="110")
        states = [await socket.row("orders")]
        while states[-1]["state"] not in ("canceled", "filled"):
            states.append(await socket.row("orders"))
        assert states[-1]["cancelSource"] == source


async def test_an_order_that_fills_while_its_cancel_or_amendment_is_carried_out_stays_filled(
    venue, client, monkeypatch
):
    async def fill_first(path: str, **fields: str) -> dict[str, str]:
        item = await client.order(px="49000", ordType="limit")
        with monkeypatch.context() as patch:
            patch.setattr(venue.venue, "pump_until", lambda *args: venue.print(SWAP, 48_000.0, 100.0))
            return await client.trade(path, instId=SWAP, ordId=item["ordId"], **fields)

    assert (await fill_first("cancel-order"))["sCode"] == "51402"
    socket = await client.socket("private", {"channel": "orders", "instType": "SWAP"})
    assert (await fill_first("amend-order", newPx="49001"))["sCode"] == "0"
    rows = [await socket.row("orders") for _ in range(3)]
    assert rows[1]["state"] == "filled"
    assert (rows[-1]["amendResult"], rows[-1]["code"], rows[-1]["state"]) == ("-1", "51510", "filled")


async def test_the_dead_man_timer_cancels_everything():
    clock = LoopClock(asyncio.get_running_loop(), speed=50)
    async with OkxEmulator(config=PaperConfig(balances=CASH), clock=clock) as venue, aiohttp.ClientSession() as session:
        venue.book(SWAP, [(49_999.0, 1.0)], [(50_001.0, 1.0)])
        venue.limits_on = False
        client = Client(venue, session)
        socket = await client.socket("private", {"channel": "orders", "instType": "SWAP"})
        assert await client.code("POST", "trade/cancel-all-after", {"timeOut": "5"}) == (200, "51000")
        resting = await client.order(px="49000")
        assert (await client.trade("cancel-all-after", timeOut="10"))["triggerTime"] != "0"
        assert (await client.trade("cancel-all-after", timeOut="0"))["triggerTime"] == "0"
        assert int((await client.trade("cancel-all-after", timeOut="10"))["triggerTime"]) > venue.clock.now_ms()
        assert (await socket.row("orders"))["state"] == "live"
        row = await socket.row("orders")
        assert (row["ordId"], row["state"], row["cancelSource"]) == (resting["ordId"], "canceled", "20")


async def test_spot_market_buys_are_in_quote_money_by_default(venue, client):
    assert (await client.order(SPOT, ordType="market", sz="500"))["sCode"] == "0"
    bought = (await client.get("trade/fills"))[0]
    assert (bought["fillSz"], bought["fillPx"], bought["execType"]) == ("0.0099998", "50001", "T")
    await client.order(SPOT, ordType="market", sz="0.01", tgtCcy="base_ccy")
    await client.order(SPOT, ordType="market", side="sell", sz="0.01")
    history = await client.get("trade/orders-history?instType=SPOT")
    assert [row["accFillSz"] for row in history] == ["0.01", "0.01", "0.0099998"]
    assert [(row["sz"], row["tgtCcy"]) for row in history][1:] == [("0.01", "base_ccy"), ("500", "quote_ccy")]
    details = {row["ccy"]: row for row in (await client.get("account/balance"))[0]["details"]}
    for balance in venue.exchange.balances():
        assert Decimal(details[balance.currency]["cashBal"]) == balance.total
        assert Decimal(details[balance.currency]["availBal"]) == balance.free


async def test_books_are_chains_that_begin_with_a_snapshot(venue, client):
    socket = await client.socket("public", {"channel": "books", "instId": SWAP})
    first = await socket.row("books")
    assert (first["prevSeqId"], first["checksum"]) == (-1, 0)
    assert first["bids"] == [["49999", "100", "0", "1"], ["49990", "200", "0", "1"]]
    venue.book(SWAP, [(49_999.0, 0.0), (49_995.0, 0.5)], [], snapshot=False)
    update = await socket.row("books")
    assert update["prevSeqId"] == first["seqId"] and update["seqId"] > first["seqId"]
    assert update["bids"] == [["49999", "0", "0", "0"], ["49995", "50", "0", "1"]]
    row = (await client.get(f"market/books?instId={SWAP}&sz=1"))[0]
    assert (row["seqId"], row["bids"][0][:2]) == (update["seqId"], ["49995", "50"])
    venue.faults.drop_message("books")
    for size in (0.6, 0.7):
        venue.book(SWAP, [(49_995.0, size)], [], snapshot=False)
    assert (await socket.row("books"))["prevSeqId"] > update["seqId"]
    venue.restart_sequence(SWAP)
    again = await socket.row("books")
    assert again["seqId"] < again["prevSeqId"] and again["bids"] == []
    assert (await client.code("GET", f"market/books?instId={SWAP}&sz=401")) == (200, "51000")
    five = await client.socket("public", {"channel": "books5", "instId": SWAP}, {"channel": "bbo-tbt", "instId": SPOT})
    assert "prevSeqId" not in await five.row("books5")
    assert (await five.row("bbo-tbt"))["asks"] == [["50001", "1", "0", "1"]]


async def test_public_data_comes_by_rest_and_by_socket_in_the_same_words(venue, client):
    venue.book(PEPE, [(0.000009100, 2e9)], [(0.000009101, 1e9)])
    venue.mark(SWAP, 50_000.5, 49_999.5)
    venue.funding(SWAP, 0.0001)
    swaps = {row["instId"]: row for row in await client.get("public/instruments?instType=SWAP")}
    assert {SWAP, PEPE, "ETH-USDT-SWAP", "SOL-USDT-SWAP", "BTC-USD-SWAP"} == set(swaps)
    assert (swaps[PEPE]["ctVal"], swaps[PEPE]["tickSz"], swaps[PEPE]["lotSz"]) == ("10000000", "0.000000001", "0.1")
    ticker = (await client.get(f"market/ticker?instId={PEPE}"))[0]
    assert (ticker["bidPx"], ticker["bidSz"], ticker["askPx"]) == ("0.0000091", "200", "0.000009101")
    assert (await client.get(f"public/mark-price?instType=SWAP&instId={SWAP}"))[0]["markPx"] == "50000.5"
    funding = (await client.get(f"public/funding-rate?instId={SWAP}"))[0]
    assert funding["fundingRate"] == "0.0001"
    assert int(funding["nextFundingTime"]) - int(funding["fundingTime"]) == 8 * 3_600_000
    socket = await client.socket(
        "public", *({"channel": name, "instId": SWAP} for name in ("tickers", "mark-price", "funding-rate", "trades")),
        {"channel": "index-tickers", "instId": SPOT},
    )  # fmt: skip
    assert (await socket.row("index-tickers"))["idxPx"] == "49999.5"
    venue.print(SWAP, 50_000.0, 0.25, Side.BUY)
    trade = await socket.row("trades")
    assert (trade["px"], trade["sz"], trade["side"]) == ("50000", "25", "buy")
    business = await client.socket("business", {"channel": "candle1m", "instId": SWAP})
    assert (await business.row("candle1m"))[1:7] == ["50000", "50000", "50000", "50000", "25", "0.25"]
    assert (await client.get(f"market/candles?instId={SWAP}&bar=1D"))[0][8] == "0"
    day = int((await client.get(f"market/candles?instId={SWAP}&bar=1D"))[0][0])
    assert day % 86_400_000 == 16 * 3_600_000
    assert int((await client.get(f"market/candles?instId={SWAP}&bar=1Dutc"))[0][0]) % 86_400_000 == 0
    wrong = await client.socket("public")
    for channel, instrument in (("candle1m", SWAP), ("books", "NO-USDT-SWAP"), ("nonsense", SWAP)):
        assert (await wrong.subscribe(channel=channel, instId=instrument))["code"] == "60018"


async def test_logins_and_operations_over_the_private_socket(venue, client):
    socket = await client.socket("private", login=False)
    assert (await socket.subscribe(channel="account"))["code"] == "60011"
    for wrong, code in (
        ({"apiKey": "x"}, "60005"),
        ({"passphrase": "x"}, "60024"),
        ({"sign": "x"}, "60007"),
        ({"timestamp": "1700000000"}, "60006"),
        ({"timestamp": str(venue.clock.now_ms())}, "60004"),
    ):
        assert (await socket.log_in(**wrong))["code"] == code
    assert (await socket.log_in())["event"] == "login"
    await socket.wire.send_str("ping")
    assert await socket.wire.receive_str(timeout=5) == "pong"
    order = {"instIdCode": venue.units[SWAP].code, "tdMode": "cross", "side": "buy", "ordType": "limit", "px": "49000"}
    await socket.send(id="7", op="order", args=[{**order, "sz": "1", "clOrdId": "w1"}])
    answer = await socket.next()
    assert (answer["id"], answer["op"], answer["code"], answer["data"][0]["sCode"]) == ("7", "order", "0", "0")
    await socket.send(id="8", op="order", args=[{**order, "instIdCode": None, "instId": SWAP, "sz": "1"}])
    answer = await socket.next()
    assert (answer["code"], answer["data"][0]["sCode"]) == ("1", "50014")
    venue.faults.unknown_but_done(
        "WS cancel-order", 200, '{"id":"$id","op":"cancel-order","code":"50004","msg":"","data":[]}'
    )
    await socket.send(id="9", op="cancel-order", args=[{"instIdCode": order["instIdCode"], "clOrdId": "w1"}])
    assert (await socket.next())["id"] == "9"
    assert await client.get("trade/orders-pending") == []


async def test_queries_page_to_the_end_and_lag_behind(venue, client):
    venue.limits_on = False
    for start in range(0, 120, 20):
        legs = [
            {"instId": SWAP, "tdMode": "cross", "side": "buy", "ordType": "limit", "px": "49000", "sz": "0.01"}
            for _ in range(20)
        ]
        status, envelope = await client.send("POST", "/api/v5/trade/batch-orders", legs)
        assert (status, envelope["code"]) == (200, "0"), start
    page = await client.get("trade/orders-pending?instType=SWAP&limit=100")
    rest = await client.get(f"trade/orders-pending?instType=SWAP&limit=100&after={page[-1]['ordId']}")
    assert (len(page), len(rest), len({row["ordId"] for row in page + rest})) == (100, 20, 120)
    legs = [{"instId": SWAP, "ordId": page[0]["ordId"]}, {"instId": SWAP, "ordId": "5"}]
    _, envelope = await client.send("POST", "/api/v5/trade/cancel-batch-orders", legs)
    assert (envelope["code"], [item["sCode"] for item in envelope["data"]]) == ("2", ["0", "51400"])
    venue.faults.lag(60)
    hidden = await client.order(px="49000", sz="1")
    assert await client.code("GET", f"trade/order?instId={SWAP}&ordId={hidden['ordId']}") == (200, "51603")
    venue.faults.lag(0)
    assert await client.code("GET", f"trade/order?instId={SWAP}&ordId={hidden['ordId']}") == (200, "0")
    venue.carry_out(
        lambda: venue.exchange.place(
            OrderRequest("", "", "BTC-USDT-PERP", Side.BUY, OrderType.LIMIT, Decimal("0.01"), Decimal(48_000))
        )
    )
    foreign = (await client.get("trade/orders-pending?instType=SWAP"))[0]
    assert (foreign["clOrdId"], foreign["px"], foreign["sz"]) == ("", "48000", "1")


async def test_limits_are_counted_by_endpoint_and_instrument(venue, client):
    codes = [await client.code("GET", "account/balance") for _ in range(25)]
    assert codes.count((429, "50011")) >= 5 and codes[0] == (200, "0")
    assert await client.code("GET", "account/positions") == (200, "0")


async def test_leverage_fees_and_closing_a_position(venue, client):
    await client.order(ordType="market", sz="10")
    assert (await client.get(f"account/leverage-info?instId={SWAP}&mgnMode=cross"))[0]["lever"] == "20"
    request = {"instId": SWAP, "lever": "10", "mgnMode": "cross"}
    assert await client.code("POST", "account/set-leverage", request) == (200, "0")
    assert (await client.get("account/positions"))[0]["lever"] == "10"
    assert await client.code("POST", "account/set-leverage", {**request, "lever": "101"}) == (200, "59102")
    fees = (await client.get(f"account/trade-fee?instType=SWAP&instId={SWAP}"))[0]
    assert (fees["makerU"], fees["takerU"]) == ("-0.0002", "-0.0005")
    assert (await client.trade("close-position", instId=SWAP, mgnMode="cross"))["instId"] == SWAP
    assert await client.get("account/positions") == []
    assert (await client.get(f"account/positions?instId={SWAP}"))[0]["pos"] == "0"
    assert await client.code("POST", "trade/close-position", {"instId": SWAP, "mgnMode": "cross"}) == (200, "51023")
    venue.exchange.audit()
    assert all(line.difference == 0 for line in venue.exchange.audit())


async def test_every_fault_of_requests_meets_orders(venue, client):
    order = {"instId": SWAP, "tdMode": "cross", "side": "buy", "ordType": "limit", "sz": "1", "px": "49000"}
    venue.faults.lose_response("POST /api/v5/trade/order")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.trade("order", **order, clOrdId="a1")
    assert len(venue.desk.open_orders()) == 1
    venue.faults.lose_request("POST /api/v5/trade/order")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.trade("order", **order, clOrdId="a2")
    assert len(venue.desk.open_orders()) == 1
    venue.faults.unknown_but_done("POST /api/v5/trade/order", 400, '{"code":"50004","msg":"","data":[]}')
    assert await client.code("POST", "trade/order", order) == (400, "50004")
    assert len(venue.desk.open_orders()) == 2
    venue.faults.answer(
        "/api/v5/trade/orders-pending", 429, '{"code":"50011","msg":"","data":[]}', {"Retry-After": "1"}
    )
    assert await client.code("GET", "trade/orders-pending") == (429, "50011")
    venue.faults.ban(60)
    async with client.session.get(f"{venue.rest_url}/api/v5/public/time") as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (403, "60")


async def test_amendments_may_end_an_order_or_fail_later_than_their_answer(venue, client):
    socket = await client.socket("private", {"channel": "orders", "instType": "SWAP"})
    await client.order(px="49999", sz="150", clOrdId="o1")
    venue.print(SWAP, 49_999.0, 1.5)
    assert [(await socket.row("orders"))["accFillSz"] for _ in range(2)] == ["0", "50"]
    assert (await client.trade("amend-order", instId=SWAP, clOrdId="o1", newSz="30", reqId="r"))["reqId"] == "r"
    ended = await socket.row("orders")
    assert (ended["state"], ended["sz"], ended["accFillSz"], ended["cancelSource"]) == ("filled", "50", "50", "")
    assert (await client.trade("amend-order", instId=SWAP, clOrdId="o1", newSz="60"))["sCode"] == "51510"
    assert (await client.trade("cancel-order", instId=SWAP, clOrdId="o1"))["sCode"] == "51402"
    await client.order(px="49000", sz="10", clOrdId="o2")
    item = await client.trade("amend-order", instId=SWAP, clOrdId="o2", newSz="9000", cxlOnFail=True)
    assert item["sCode"] == "0"
    rows = [await socket.row("orders") for _ in range(3)]
    assert [(row["amendResult"], row["code"], row["state"]) for row in rows] == [
        ("", "0", "live"),
        ("-1", "51008", "live"),
        ("", "0", "canceled"),
    ]
    assert await client.code("POST", "trade/amend-order", {"instId": SWAP, "clOrdId": "o2"}) == (200, "1")


async def test_reduce_only_orders_end_with_their_position(venue, client):
    socket = await client.socket("private", {"channel": "orders", "instType": "SWAP"})
    await client.order(ordType="market", sz="10")
    resting = await client.order(side="sell", px="51000", sz="10", reduceOnly=True)
    assert (await client.trade("close-position", instId=SWAP, mgnMode="cross", autoCxl=True))["instId"] == SWAP
    await client.order(ordType="market", sz="10")
    again = await client.order(side="sell", px="51000", sz="10", reduceOnly=True)
    await client.order(ordType="market", side="sell", sz="10")
    ends = {}
    while len(ends) < 6:
        row = await socket.row("orders")
        if row["state"] in ("filled", "canceled"):
            ends[row["ordId"]] = row["cancelSource"]
    assert (ends[resting["ordId"]], ends[again["ordId"]]) == ("17", "22")
    assert sorted(ends.values()) == ["", "", "", "", "17", "22"]


async def test_positions_come_in_pages_and_funding_is_told(venue, client):
    venue.book("ETH-USDT-SWAP", [(2_999.0, 10.0)], [(3_001.0, 10.0)])
    await client.order(ordType="market", sz="10")
    await client.order("ETH-USDT-SWAP", ordType="market", side="sell", sz="10")
    venue.private.page_size = 1
    both = await client.socket("private", {"channel": "balance_and_position"})
    first = await both.row("balance_and_position")
    assert (first["eventType"], [row["pos"] for row in first["posData"]]) == ("snapshot", ["10", "-10"])
    socket = await client.socket("private", {"channel": "positions", "instType": "ANY"})
    pages = [await socket.next() for _ in range(2)]
    assert [(page["curPage"], page["lastPage"], len(page["data"])) for page in pages] == [(1, False, 1), (2, True, 1)]
    venue.funding(SWAP, 0.001, venue.clock.now_ms() + 1)
    paid = await both.row("balance_and_position")
    while paid["eventType"] != "funding_fee":
        paid = await both.row("balance_and_position")
    assert paid["balData"][0]["ccy"] == "USDT"
    bill = (await client.get("account/bills?type=8"))[0]
    assert (bill["instId"], bill["subType"], bill["sz"]) == (SWAP, "173", "10")
    assert Decimal(bill["balChg"]) == venue.exchange.account.ledgers["BTC-USDT-PERP"].funding
    assert len(await client.get(f"account/bills?instType=SWAP&after={bill['billId']}")) == 2
    assert (
        Decimal((await client.get("account/positions"))[0]["fundingFee"])
        == venue.exchange.account.ledgers["BTC-USDT-PERP"].funding
        < 0
    )


async def test_quiet_books_show_life_and_silent_clients_are_closed():
    clock = LoopClock(asyncio.get_running_loop(), speed=200)
    async with OkxEmulator(clock=clock) as venue, aiohttp.ClientSession() as session:
        venue.book(SWAP, [(49_999.0, 1.0)], [(50_001.0, 1.0)])
        client = Client(venue, session)
        books = await client.socket("public", {"channel": "books", "instId": SWAP})
        first = await books.row("books")
        silent = await client.socket("public")

        async def talk() -> None:
            while True:
                await books.wire.send_str("ping")
                await sleep(clock, 10)

        talking = asyncio.create_task(talk())
        async with asyncio.timeout(10):
            quiet = await books.row("books")
        assert (quiet["prevSeqId"], quiet["seqId"], quiet["bids"]) == (first["seqId"], first["seqId"], [])
        closed = await silent.wire.receive(timeout=5)
        assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 4004)
        assert not books.wire.closed
        talking.cancel()


async def test_three_connections_a_second_are_accepted(venue, client):
    refused = 0
    for _ in range(8):
        try:
            await client.session.ws_connect(f"{venue.ws_url}/ws/v5/public")
        except aiohttp.WSServerHandshakeError as error:
            assert error.status == 429
            refused += 1
    assert refused >= 2


async def test_candles_of_every_length_page_backwards_without_a_gap():
    clock = LoopClock(asyncio.get_running_loop(), start_ns=1_717_000_000_000_000_000)
    async with OkxEmulator(market=SyntheticMarket(1, clock.now_ns()), clock=clock) as venue:
        venue.limits_on = False
        async with aiohttp.ClientSession() as session:
            client = Client(venue, session)
            hour = 3_600_000
            for bar, length in (("5m", hour // 12), ("2H", 2 * hour), ("12H", 12 * hour), ("1Wutc", 168 * hour)):
                path = f"market/history-candles?instId={SWAP}&bar={bar}&limit=7"
                first = await client.get(path)
                older = await client.get(f"{path}&after={first[-1][0]}")
                times = [int(row[0]) for row in first + older]
                assert times == [times[0] - step * length for step in range(14)], bar
                assert {row[8] for row in older} == {"1"} and first[0][8] == "0"
                newer = await client.get(f"{path}&before={first[3][0]}")
                assert [row[0] for row in newer] == [row[0] for row in first[:3]]
            months = await client.get(f"market/history-candles?instId={SWAP}&bar=1Mutc&limit=3")
            assert [datetime.fromtimestamp(int(row[0]) / 1000, UTC).day for row in months] == [1, 1, 1]
            assert await client.get(f"market/candles?instId={SWAP}&bar=1m&after={times[-1]}") == []
            assert len(await client.get(f"market/candles?instId={SWAP}&bar=1m&limit=1000")) == 300
            assert await client.code("GET", f"market/candles?instId={SWAP}&bar=7m") == (200, "51000")


async def test_a_liquidation_shows_in_orders_and_fills(venue, client):
    socket = await client.socket("private", {"channel": "orders", "instType": "SWAP"})
    venue.book(SWAP, [(49_999.0, 9.0)], [(50_001.0, 9.0)])
    await client.order(ordType="market", sz="350")
    venue.book(SWAP, [(47_000.0, 9.0)], [(47_002.0, 9.0)])
    venue.mark(SWAP, 47_001.0)
    forced = await socket.row("orders")
    while forced["side"] == "buy" or forced["state"] != "filled":
        forced = await socket.row("orders")
    assert (forced["category"], forced["clOrdId"], forced["accFillSz"]) == ("full_liquidation", "", "350")
    rows = await client.get("trade/fills?instType=SWAP")
    assert [row["subType"] for row in rows] == ["104", "1"]
    assert forced["tradeId"] == "0" and int(rows[0]["tradeId"]) < 0 < int(rows[1]["tradeId"])
    assert await client.get("account/positions") == []
