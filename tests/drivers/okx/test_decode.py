"""Recordings made by hand, through the decoder behind `decode okx`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.okx import make_decoder
from engine.kernel.account import Balance, Position
from engine.kernel.market import (
    Bar,
    BookInvalid,
    BookSynced,
    BookUpdate,
    FundingRate,
    MarkPrice,
    Quote,
    Ticker,
    Trade,
    Unparsed,
)
from engine.kernel.orders import Fill, OrderState, OrderUpdate, Side

SWAP, SPOT = "BTC-USDT-SWAP", "ETH-USDT"


def line(channel: str, native: str, *rows: Any, received: int | None = None, **more: Any) -> bytes:
    text = msgspec.json.encode({"arg": {"channel": channel, "instId": native}, **more, "data": list(rows)})
    return text if received is None else str(received).encode() + b" " + text


def book(native: str, previous: int, sequence: int, bids: list[list[str]], asks: list[list[str]]) -> bytes:
    action = "snapshot" if previous == -1 else "update"
    row = {"asks": asks, "bids": bids, "ts": str(sequence), "checksum": 0, "prevSeqId": previous, "seqId": sequence}
    return line("books", native, row, action=action)


def level(price: str, size: str) -> list[str]:
    return [price, size, "0", "1"]


def fed(*lines: bytes) -> list[Any]:
    decoder = make_decoder()
    return [event for each in lines for event in decoder.feed(each)]


def test_books_in_coins_with_a_gap_in_the_middle():
    decoder = make_decoder()
    lines = [
        book(SWAP, -1, 10, [level("50000.1", "12.34")], [level("50000.2", "7")]),
        book(SWAP, 10, 12, [level("50000.1", "0")], []),
        book(SWAP, 12, 12, [], []),
        book(SWAP, 13, 14, [level("50000", "5")], []),
        book(SWAP, 14, 15, [level("50000", "6")], []),
        book(SWAP, -1, 20, [level("50000", "1")], [level("50001", "1")]),
    ]
    events = [event for each in lines for event in decoder.feed(each)]
    assert [type(e) for e in events] == [
        BookSynced, BookUpdate, BookUpdate, BookUpdate, BookInvalid, BookSynced, BookUpdate,
    ]  # fmt: skip
    assert events[1].bids == [(50000.1, 0.1234)] and events[1].asks == [(50000.2, 0.07)]
    assert decoder.summary() == {
        "messages": {"books": 6},
        "books": {"BTC-USDT-PERP": {"state": "synced", "gaps": 1}},
        "unplaced_snapshots": 0,
    }


def test_a_rest_snapshot_finds_the_book_it_belongs_to():
    snapshot = {"asks": [level("2001", "1")], "bids": [level("2000", "1")], "ts": "5", "seqId": 104}
    reply = msgspec.json.encode({"code": "0", "msg": "", "data": [snapshot]})
    events = fed(
        reply,
        book(SWAP, 7, 8, [level("50000", "5")], []),
        book(SPOT, 100, 103, [level("1999", "5")], []),
        book(SPOT, 103, 106, [level("1998", "5")], []),
    )
    assert [type(e) for e in events] == [BookSynced, BookUpdate]
    assert {e.symbol for e in events} == {"ETH-USDT"} and events[1].bids == [(2000.0, 1.0), (1998.0, 5.0)]


@pytest.mark.parametrize(("price", "owner"), [("50000", None), ("1999", "ETH-USDT")])
def test_a_rest_snapshot_whose_number_fits_two_books_is_told_by_its_prices_or_given_to_neither(price, owner):
    decoder = make_decoder()
    snapshot = {"asks": [level("2001", "1")], "bids": [level("2000", "1")], "ts": "5", "seqId": 104}
    if owner is None:
        snapshot |= {"asks": [level("50001", "1")], "bids": [level("49990", "1")]}
    reply = msgspec.json.encode({"code": "0", "msg": "", "data": [snapshot]})
    lines = [
        book(SWAP, 100, 106, [level("50000", "5")], []),
        book(SPOT, 100, 106, [level(price, "5")], []),
        reply,
    ]
    events = [event for each in lines for event in decoder.feed(each)]
    assert {event.symbol for event in events} == ({owner} if owner else set())
    assert decoder.summary()["unplaced_snapshots"] == (0 if owner else 1)


def test_market_channels():
    events = fed(
        line("trades", SWAP, {"instId": SWAP, "tradeId": "7", "px": "50000.1", "sz": "3.3", "side": "sell", "ts": "1"}),
        line("bbo-tbt", SWAP, {"asks": [level("2", "10")], "bids": [level("1", "20")], "ts": "2", "seqId": 3}),
        line("index-tickers", "BTC-USDT", {"instId": "BTC-USDT", "idxPx": "49999", "ts": "3"}),
        line("mark-price", SWAP, {"instType": "SWAP", "instId": SWAP, "markPx": "50000.5", "ts": "4"}),
        line("index-tickers", "BTC-USDT", {"instId": "BTC-USDT", "idxPx": "50001", "ts": "5"}),
        line("funding-rate", SWAP, {
            "instId": SWAP, "fundingRate": "-0.0001", "fundingTime": "28800000", "nextFundingTime": "43200000",
            "ts": "6", "instType": "SWAP",
        }),
        line("tickers", SWAP, {
            "instId": SWAP, "last": "50000", "open24h": "49000", "high24h": "51000", "low24h": "48000",
            "vol24h": "123456", "volCcy24h": "1234.56", "ts": "7",
        }),
        line("tickers", SPOT, {
            "instId": SPOT, "last": "2000", "open24h": "1900", "high24h": "2100", "low24h": "1800",
            "vol24h": "10", "volCcy24h": "20000", "ts": "8",
        }),
        line("candle1Dutc", SWAP, ["0", "1", "4", "1", "2", "100", "1.5", "75000", "1"], received=9_000_000),
    )  # fmt: skip
    assert events == [
        Trade("BTC-USDT-PERP", 1, 50000.1, 0.033, Side.SELL, "7"),
        Quote("BTC-USDT-PERP", 2, 1.0, 0.2, 2.0, 0.1),
        MarkPrice("BTC-USDT-PERP", 4, 50000.5, 49999.0),
        MarkPrice("BTC-USDT-PERP", 5, 50000.5, 50001.0),
        FundingRate("BTC-USDT-PERP", 6, -0.0001, 4, 28_800_000),
        Ticker("BTC-USDT-PERP", 7, 50000.0, 49000.0, 51000.0, 48000.0, 61_728_000.0),
        Ticker("ETH-USDT", 8, 2000.0, 1900.0, 2100.0, 1800.0, 20000.0),
        Bar("BTC-USDT-PERP", "1d", 0, 1.0, 4.0, 1.0, 2.0, 1.5, 75000.0, closed=True, ts=9),
    ]


def test_private_channels():
    order = {
        "instType": "SWAP", "instId": SWAP, "ordId": "77", "clOrdId": "c1", "side": "buy", "ordType": "limit",
        "sz": "2", "px": "50000", "state": "filled", "accFillSz": "2", "avgPx": "50000", "uTime": "11", "cTime": "10",
        "tradeId": "5", "fillPx": "50000", "fillSz": "2", "fillTime": "11", "fillFee": "-0.2", "fillFeeCcy": "USDT",
        "execType": "T", "reduceOnly": "false", "category": "normal", "cancelSource": "", "tgtCcy": "",
    }  # fmt: skip
    position = {"instId": SWAP, "instType": "SWAP", "pos": "-2", "posSide": "net", "avgPx": "50000", "lever": "5"}
    balance = {"uTime": "12", "details": [{"ccy": "USDT", "cashBal": "100", "availBal": "80", "eq": "101"}]}
    events = fed(
        line("orders", "", order), line("positions", "", position), line("account", "", balance),
    )  # fmt: skip
    assert [type(e) for e in events] == [Fill, OrderUpdate, Position, Balance]
    assert events[0].quantity == Decimal("0.02") and events[0].fee == Decimal("0.2") and not events[0].maker
    assert events[1].state is OrderState.FILLED and events[2].quantity == Decimal("-0.02")
    assert (events[3].free, events[3].locked) == (80, 20)


def test_replies_and_events_are_counted_and_skipped():
    decoder = make_decoder()
    quiet = [
        b'{"event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT-SWAP"},"connId":"a"}',
        b'{"event":"channel-conn-count","channel":"orders","connCount":"2","connId":"a"}',
        b'{"event":"login","code":"0","msg":"","connId":"a"}',
        b"pong",
        b'{"id":"1","op":"order","data":[{"sCode":"0","sMsg":"","ordId":"1"}],"code":"0","msg":""}',
        b'{"code":"0","msg":"","data":[{"ts":"1"}]}',
    ]
    assert [event for each in quiet for event in decoder.feed(each)] == []
    assert decoder.counts == {
        "subscribe": 1, "channel-conn-count": 1, "login": 1, "pong": 1, "order": 1, "reply": 1,
    }  # fmt: skip


def test_an_instruments_reply_tells_contract_sizes():
    trade = line("trades", "NEW-USDT-SWAP", {
        "instId": "NEW-USDT-SWAP", "tradeId": "1", "px": "2", "sz": "3", "side": "buy", "ts": "1",
    })  # fmt: skip
    row = {
        "instId": "NEW-USDT-SWAP", "instType": "SWAP", "tickSz": "0.1", "lotSz": "1", "minSz": "1", "ctVal": "50",
        "ctMult": "1", "ctValCcy": "NEW", "ctType": "linear", "settleCcy": "USDT", "lever": "20", "state": "live",
        "instIdCode": None,
    }  # fmt: skip
    reply = msgspec.json.encode({"code": "0", "msg": "", "data": [{**row, "instId": "BTC-USD-SWAP"}, row]})
    unknown, known = fed(trade, reply, trade)
    assert isinstance(unknown, Unparsed) and unknown.reason.startswith("contract size of NEW-USDT-SWAP is not known")
    assert unknown.symbol is None and known.size == 150.0


def test_what_cannot_be_understood_says_why():
    bad = {
        b"": "empty line",
        b"{": "not JSON",
        b"[1]": "a JSON list",
        b'{"a":1}': "unknown message with the fields a",
        b'{"event":"error","code":"60018","msg":"no such channel"}': "60018 no such channel",
        b'{"code":"50011","msg":"Too Many Requests","data":[]}': "50011 Too Many Requests",
        line("liquidations", SWAP): "unknown channel 'liquidations'",
        line("trades", SWAP, {"instId": SWAP, "tradeId": "1", "px": "-1", "sz": "3", "side": "buy", "ts": "1"}): "px",
        line("trades", SWAP, {"instId": SWAP, "tradeId": "1", "px": "1", "sz": "3", "side": "up", "ts": "1"}): "side",
        line("trades", "BTC-USDT-260327", {
            "instId": "BTC-USDT-260327", "tradeId": "1", "px": "1", "sz": "3", "side": "buy", "ts": "1",
        }): "dated future",
        line("books", SWAP, {"asks": [], "bids": [], "ts": "1"}, action="update"): "without seqId",
    }  # fmt: skip
    decoder = make_decoder()
    for raw, reason in bad.items():
        (event,) = decoder.feed(raw)
        assert isinstance(event, Unparsed) and reason in event.reason, (raw, event)
    assert decoder.counts == {"unparsed": len(bad)}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["arg", "data", "code", "event", "op", "id", "channel", "instId", "asks", "bids", "ts"])
        | st.text(max_size=5),
        inner,
        max_size=5,
    ),
    max_leaves=12,
)  # fmt: skip


@given(_JSON, st.binary(max_size=40))
def test_e21_it_never_raises(value: Any, junk: bytes):
    decoder = make_decoder()
    decoder.feed(msgspec.json.encode(value))
    decoder.feed(msgspec.json.encode({"arg": {"channel": "books", "instId": SWAP}, "data": value}))
    decoder.feed(msgspec.json.encode({"arg": {"channel": "orders", "instId": SWAP}, "data": [value]}))
    decoder.feed(junk)
