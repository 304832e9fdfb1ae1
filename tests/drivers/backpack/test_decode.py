"""Raw lines of the venue's sockets: every stream, a book through a gap, and what nobody can read."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from drivers.backpack import make_decoder
from engine.io.event_lines import decode_lines
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
from engine.kernel.orders import Fill, OrderUpdate, Side

US = 1_753_142_400_123_456
MS = US // 1000


def line(stream: str, receive_ns: int | None = None, **data) -> bytes:
    # The venue sorts the names of its objects: data comes before stream.
    text = json.dumps({"data": data, "stream": stream}, separators=(",", ":")).encode()
    return text if receive_ns is None else b"%d %s" % (receive_ns, text)


def depth(first: int, last: int, bids=(), asks=(), symbol: str = "SOL_USDC", us: int = US) -> bytes:
    data = {"e": "depth", "E": us + 50, "T": us, "s": symbol, "U": first, "u": last, "a": list(asks), "b": list(bids)}
    return line(f"depth.{symbol}", **data)


def snapshot(last: int, bids=(), asks=(), us: int = US) -> bytes:
    return json.dumps({"asks": asks, "bids": bids, "lastUpdateId": str(last), "timestamp": us}).encode()


def test_every_public_stream_is_an_event():
    feed = make_decoder().feed
    head = {"E": US + 99, "T": US, "s": "SOL_USDC_PERP"}
    (quote,) = feed(line("bookTicker.SOL_USDC_PERP", e="bookTicker", a="151", A="2", b="150.5", B="3", u="77", **head))
    assert quote == Quote("SOL-USDC-PERP", MS, 150.5, 3.0, 151.0, 2.0)
    (trade,) = feed(line("trade.SOL_USDC_PERP", e="trade", p="150.5", q="0.01", b="1", a="2", t=12, m=True, **head))
    assert trade == Trade("SOL-USDC-PERP", MS, 150.5, 0.01, Side.SELL, "12")
    rate = "-0.0000039641039274236048482914"
    mark, funding = feed(
        line("markPrice.SOL_USDC_PERP", e="markPrice", p="150.25", i="150.3", f=rate, n=1_753_144_000_000, **head)
    )
    assert mark == MarkPrice("SOL-USDC-PERP", MS, 150.25, 150.3)
    assert funding == FundingRate("SOL-USDC-PERP", MS, float(rate), 1, 1_753_144_000_000)
    ticker = {
        "e": "ticker",
        "E": US,
        "s": "SOL_USDC",
        "o": "1",
        "c": "2",
        "h": "3",
        "l": "0.5",
        "v": "10",
        "V": "20",
        "n": 5,
    }
    assert feed(line("ticker.SOL_USDC", **ticker)) == [Ticker("SOL-USDC", MS, 2.0, 1.0, 3.0, 0.5, 20.0)]
    assert (
        feed(line("ticker.SOL_USDC", e="ticker", E=US, s="SOL_USDC", o=None, c=None, h=None, l=None, v="0", V="0"))
        == []
    )
    assert feed(line("bookTicker.SOL_USDC", e="bookTicker", E=US, s="SOL_USDC", a="0", A="0", b="150", B="1")) == []
    assert feed(line("openInterest.SOL_USDC_PERP", e="openInterest", E=US, s="SOL_USDC_PERP", o="5")) == []


def test_candles_name_their_length_in_the_stream_and_close_once():
    decoder = make_decoder()

    def candle(begin: str, close: str | None, closed: bool) -> list:
        values = {"o": close, "c": close, "h": close, "l": close}
        fields = {
            "e": "kline",
            "E": US,
            "s": "SOL_USDC",
            "t": begin,
            "T": begin,
            "v": "2",
            "n": 1,
            "X": closed,
            **values,
        }
        return decoder.feed(line("kline.5m.SOL_USDC", **fields))

    assert candle("2025-07-22T00:00:00", None, False) == [], "no price was ever known"
    (bar,) = candle("2025-07-22T00:00:00", "150", False)
    assert (bar.timeframe, bar.open_time, bar.close, bar.closed) == ("5m", 1_753_142_400_000, 150.0, False)
    assert (bar.base_volume, bar.quote_volume, bar.ts) == (2.0, 300.0, MS)
    assert candle("2025-07-22T00:00:00", "151", True)[0].closed
    assert candle("2025-07-22T00:00:00", "151", True) == candle("2025-07-22T00:00:00", "151", False) == []
    (flat,) = candle("2025-07-22T00:05:00", None, True)
    assert isinstance(flat, Bar) and (flat.missing, flat.close) == (True, 151.0)


def test_a_book_through_a_gap():
    decoder = make_decoder()
    assert decoder.feed(depth(101, 103, bids=[["150", "1"]])) == []
    synced, whole = decoder.feed(snapshot(102, bids=[["149", "2"], ["149.5", "1"]], asks=[["151", "4"]]))
    assert type(synced) is BookSynced and whole.snapshot
    assert whole.bids == [(150.0, 1.0), (149.5, 1.0), (149.0, 2.0)]
    assert decoder.feed(depth(104, 104, asks=[["151", "0"]])) == [BookUpdate("SOL-USDC", MS, [], [(151.0, 0.0)])]
    (invalid,) = decoder.feed(depth(106, 107, bids=[["150", "0"]]))
    assert type(invalid) is BookInvalid and "follows on 105, expected 104" in invalid.reason
    assert decoder.feed(depth(108, 108, bids=[["149.5", "3"]])) == []
    assert [type(e) for e in decoder.feed(snapshot(107, bids=[["149.5", "1"]]))] == [BookSynced, BookUpdate]
    assert decoder.summary() == {
        "messages": {"depth": 4, "snapshot": 2},
        "books": {"SOL-USDC": {"state": "synced", "gaps": 1}},
        "unplaced_snapshots": 0,
    }


def test_a_snapshot_goes_to_the_book_that_it_belongs_to():
    decoder = make_decoder()
    assert decoder.feed(snapshot(9, bids=[["60000", "1"]], asks=[["60010", "1"]])) == [], "no book is known yet"
    assert decoder.feed(depth(10, 11, bids=[["150", "1"]])) == [], "not its price"
    events = decoder.feed(depth(10, 11, bids=[["60000", "2"]], symbol="BTC_USDC_PERP"))
    assert [(type(event), event.symbol) for event in events] == [
        (BookSynced, "BTC-USDC-PERP"),
        (BookUpdate, "BTC-USDC-PERP"),
    ]
    thousands = decoder.feed(depth(5, 6, bids=[["0.0065", "10"]], symbol="kPEPE_USDC_PERP"))
    assert thousands == []
    _, whole = decoder.feed(snapshot(5, bids=[["0.0064", "7"], ["0.0065", "9"]], asks=[["0.0066", "3"]]))
    assert whole.symbol == "PEPE-USDC-PERP"
    assert whole.bids == [(0.0000065, 10_000.0), (0.0000064, 7000.0)]


@pytest.mark.parametrize("spot_last", [11, 500], ids=["numbers alike", "numbers of its own"])
def test_snapshots_of_spot_and_perpetual_at_one_price_do_not_change_places(spot_last: int):
    perp, spot = {"symbol": "SOL_USDC_PERP"}, {"symbol": "SOL_USDC"}
    lines = [
        depth(10, 12, bids=[["150", "1"]], **perp),
        snapshot(spot_last, bids=[["150", "7"], ["149", "7"]], asks=[["151", "7"]]),
        snapshot(11, bids=[["150", "3"], ["149", "3"]], asks=[["151", "3"]]),
        depth(13, 13, bids=[["149", "4"]], **perp),
        depth(spot_last - 1, spot_last, bids=[["150", "7"]], **spot),
        depth(spot_last + 1, spot_last + 1, bids=[["149", "8"]], **spot),
    ]
    if spot_last == 11:
        lines[:1] = [depth(10, 11, bids=[["150", "3"]], **perp), depth(12, 12, bids=[["150", "1"]], **perp)]
    books: dict[str, dict] = {}
    for row in decode_lines(decoder := make_decoder(), lines):
        books[row["symbol"]] = row
    assert (books["SOL-USDC-PERP"]["bid_size"], books["SOL-USDC-PERP"]["ask_size"]) == ("1", "3")
    assert (books["SOL-USDC"]["bid_size"], books["SOL-USDC"]["ask_size"]) == ("7", "7")
    assert decoder.summary()["unplaced_snapshots"] == 0


def test_a_snapshot_that_no_book_needs_is_not_counted_and_a_strange_one_is():
    decoder = make_decoder()
    for raw in (depth(10, 11, bids=[["150", "1"]]), snapshot(10, bids=[["149", "1"]]), depth(12, 12, [["149", "2"]])):
        decoder.feed(raw)
    assert decoder.feed(snapshot(11, bids=[["149", "1"]])) == [], "the book is complete"
    assert decoder.summary()["unplaced_snapshots"] == 0
    assert decoder.feed(snapshot(99, bids=[["149", "1"]])) == []
    assert decoder.summary()["unplaced_snapshots"] == 1


def test_the_accounts_streams_are_orders_fills_positions_and_balances():
    feed = make_decoder().feed
    head = {"E": US + 9, "T": US, "s": "SOL_USDC_PERP"}
    order = {
        "S": "Bid",
        "o": "MARKET",
        "f": "IOC",
        "q": "1",
        "X": "Filled",
        "i": "5",
        "c": 77,
        "z": "1",
        "Z": "150",
        "V": "x",
    }
    trade = {"t": 3, "l": "1", "L": "150", "m": False, "n": "0.075", "N": "USDC", "O": "USER"}
    update, fill = feed(line("account.orderUpdate", e="orderFill", **head, **order, **trade))
    assert isinstance(update, OrderUpdate) and isinstance(fill, Fill)
    assert (update.client_id, fill.trade_id, fill.fee) == ("77", "3", Decimal("0.075"))
    position = {"q": 1.5, "B": 150, "b": 150.1, "M": 151, "P": "1.5", "p": "0", "Q": 1.5, "n": 226.5, "i": "1"}
    (held,) = feed(line("account.positionUpdate.SOL_USDC_PERP", **head, **position))
    assert isinstance(held, Position) and held.quantity == Decimal("1.5")
    (balance,) = feed(line("account.balanceUpdate", e="balanceUpdate", E=US, a="USDC", A="10.5", L="2", S="0"))
    assert balance == Balance("USDC", Decimal("12.5"), Decimal("10.5"), Decimal(2))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty line"),
        (b"not json", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b'{"id":null,"error":{"code":4006,"message":"Invalid stream"}}', "refused a request: 4006 Invalid stream"),
        (b'{"hello":1}', "unknown message with the fields hello"),
        (line("weather.SOL_USDC", s="SOL_USDC"), "unknown stream 'weather.SOL_USDC'"),
        (depth(3, 2), "u 2 is before U 3"),
        (depth(1, 2, bids=[["-1", "1"]]), "depth.SOL_USDC"),
        (depth(1, 2, bids=[["NaN", "1"]]), "depth.SOL_USDC"),
        (depth(1, 2, symbol="QQQ.US_USDC_PERP"), "not that of a coin"),
        (line("trade.SOL_USDC", e="trade", E=1, s="SOL_USDC", p="1"), "missing required field `q`"),
        (
            line("account.orderUpdate", e="orderAccepted", E=1, s="SOL_USDC", S="Bid", o="LIMIT", X="Odd", i="1"),
            "'Odd'",
        ),
        (b'{"stream":"depth.SOL_USDC","data":"\xff"}', ""),
    ],
)
def test_what_cannot_be_read_is_told_and_never_dropped(raw, reason):
    decoder = make_decoder()
    (event,) = decoder.feed(raw)
    assert isinstance(event, Unparsed) and reason in event.reason
    assert decoder.counts["unparsed"] == 1


def test_lines_with_receive_times_print_as_json():
    lines = [
        b"1753142400200000000 " + depth(1, 1, bids=[["150.10", "1.50"]]),
        b"1753142400300000000 " + snapshot(0, asks=[["151", "1"]]),
    ]
    printed = list(decode_lines(make_decoder(), lines))
    assert [row["type"] for row in printed] == ["book_synced", "book"]
    assert (printed[1]["bid"], printed[1]["bid_size"], printed[1]["symbol"]) == ("150.1", "1.5", "SOL-USDC")
