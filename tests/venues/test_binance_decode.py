"""Raw lines of Binance to events: every message shape, every kind of rubbish, the whole recordings."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.binance import default_instruments, make_decoder
from drivers.binance.symbols import arch, native_symbol, parse_native
from engine.io.event_lines import EventLines, decimal_text, decode_lines
from engine.io.instruments_file import read_instruments
from engine.kernel.errors import UnknownSymbol
from engine.kernel.instruments import InstrumentKind
from engine.kernel.market import BookUpdate, Unparsed

RECEIVED = b"1723161255030314667 "
PERP_DEPTH = (
    '{"e":"depthUpdate","E":1723161256299,"T":1723161256298,"s":"BTCUSDT","U":10,"u":20,"pu":9,'
    '"b":[["100.10","2.500"],["99.00","0.000"]],"a":[["100.20","1.000"]]}'
)
SPOT_DEPTH = '{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":10,"u":20,"b":[["100.10","2.5"]],"a":[]}'
PERP_SNAPSHOT = '{"lastUpdateId":15,"E":1,"T":1,"bids":[["100.00","1"]],"asks":[["101.00","2"]]}'
SPOT_SNAPSHOT = '{"lastUpdateId":15,"bids":[["100.00","1"]],"asks":[["101.00","2"]]}'


def wrapped(stream: str, data: str) -> bytes:
    return f'{{"stream":"{stream}","data":{data}}}'.encode()


def only(line: bytes) -> dict:
    (found,) = decode_lines(make_decoder(), [line])
    return found


MESSAGES = {
    "perp quote": (
        '{"e":"bookTicker","u":5,"s":"BTCUSDT","b":"61800.20","B":"2.507","a":"61800.30","A":"2.510","T":11,"E":12}',
        {"type": "quote", "symbol": "BTC-USDT-PERP", "ts": 11, "bid": "61800.2", "bid_size": "2.507", "ask": "61800.3",
         "ask_size": "2.51"},
    ),
    "perp trade": (
        '{"e":"trade","E":13,"T":12,"s":"BTCUSDT","t":5266583935,"p":"61800.30","q":"0.006","X":"MARKET","m":false}',
        {"type": "trade", "symbol": "BTC-USDT-PERP", "ts": 12, "price": "61800.3", "size": "0.006", "side": "buy",
         "id": "5266583935"},
    ),
    "spot trade": (
        '{"e":"trade","E":13,"s":"BTCUSDT","t":37,"p":"61837.63000000","q":"0.02000000","T":12,"m":true,"M":true}',
        {"type": "trade", "symbol": "BTC-USDT", "ts": 12, "price": "61837.63", "size": "0.02", "side": "sell",
         "id": "37"},
    ),
    "perp aggregate trade of a thousand-coin listing": (
        '{"e":"aggTrade","E":13,"s":"1000PEPEUSDT","a":7,"p":"0.0083241","q":"250","f":1,"l":2,"T":12,"m":true}',
        {"type": "trade", "symbol": "PEPE-USDT-PERP", "ts": 12, "price": "0.0000083241", "size": "250000",
         "side": "sell", "id": "7"},
    ),
    "spot aggregate trade": (
        '{"e":"aggTrade","E":13,"s":"ETHBTC","a":7,"p":"0.05","q":"2","f":1,"l":2,"T":12,"m":false,"M":true}',
        {"type": "trade", "symbol": "ETH-BTC", "ts": 12, "price": "0.05", "size": "2", "side": "buy", "id": "7"},
    ),
    "kline": (
        '{"e":"kline","E":13,"s":"BTCUSDT","k":{"t":60000,"T":119999,"s":"BTCUSDT","i":"1m","f":1,"L":2,"o":"1.0",'
        '"c":"1.5","h":"2","l":"0.5","v":"100","n":3,"x":true,"q":"120.50","V":"1","Q":"1","B":"0"}}',
        {"type": "kline", "symbol": "BTC-USDT-PERP", "ts": 13, "timeframe": "1m", "open_time": 60000, "open": "1",
         "high": "2", "low": "0.5", "close": "1.5", "base_volume": "100", "quote_volume": "120.5", "closed": True},
    ),
    "spot 24 h": (
        '{"e":"24hrTicker","E":13,"s":"BTCUSDT","p":"-5","c":"95","o":"100","h":"101","l":"90","q":"1000","b":"94",'
        '"B":"1","a":"96","A":"2","v":"10"}',
        {"type": "ticker", "symbol": "BTC-USDT", "ts": 13, "last": "95", "open_24h": "100", "high_24h": "101",
         "low_24h": "90", "quote_volume_24h": "1000"},
    ),
    "times in microseconds": (
        '{"e":"trade","E":1723161255343001,"s":"BTCUSDT","t":3,"p":"1","q":"2","T":1723161255342001,"m":true,"M":true}',
        {"type": "trade", "symbol": "BTC-USDT", "ts": 1723161255342, "price": "1", "size": "2", "side": "sell",
         "id": "3"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("shape", ["bare", "wrapped", "received", "spaced"])
def test_message_shapes(name: str, shape: str):
    data, expected = MESSAGES[name]
    line = {
        "bare": data.encode(),
        "wrapped": wrapped("btcusdt@any", data),
        "received": RECEIVED + wrapped("btcusdt@any", data) + b"\n",
        "spaced": json.dumps({"data": json.loads(data), "stream": "x"}, indent=1).replace("\n", " ").encode(),
    }[shape]
    assert only(line) == expected


def test_spot_quote_has_no_time_of_its_own():
    data = '{"u":400900217,"s":"BNBUSDT","b":"25.35190000","B":"31.21000000","a":"25.36520000","A":"40.66000000"}'
    expected = {"type": "quote", "symbol": "BNB-USDT", "ts": None, "bid": "25.3519", "bid_size": "31.21",
                "ask": "25.3652", "ask_size": "40.66"}  # fmt: skip
    assert only(data.encode()) == expected
    assert only(wrapped("bnbusdt@bookTicker", data)) == expected
    assert only(RECEIVED + wrapped("bnbusdt@bookTicker", data)) == expected | {"ts": 1723161255030}


def test_mark_price_brings_funding_when_there_is_one():
    mark = '{"e":"markPriceUpdate","E":5,"s":"BTCUSDT","p":"11794.15","i":"11784.62","P":"11784.25","r":"%s","T":28}'
    lines = list(decode_lines(make_decoder(), [(mark % "-0.00038167").encode(), (mark % "").encode()]))
    head = {"symbol": "BTC-USDT-PERP", "ts": 5}
    marked = {"type": "mark", **head, "mark": "11794.15", "index": "11784.62"}
    funded = {"type": "funding", **head, "rate": "-0.00038167", "period_h": 8, "next_time": 28}
    assert lines == [marked, funded, marked]


@pytest.mark.parametrize(
    ("depth", "snapshot", "symbol"),
    [(PERP_DEPTH, PERP_SNAPSHOT, "BTC-USDT-PERP"), (SPOT_DEPTH, SPOT_SNAPSHOT, "BTC-USDT")],
)
def test_book_lines_begin_with_sync_and_pause_while_invalid(depth: str, snapshot: str, symbol: str):
    def after(first: int, last: int) -> bytes:
        fields = json.loads(depth) | {"U": first, "u": last, "b": [["100.10", "3"]], "a": []}
        return json.dumps(fields | ({"pu": first - 1} if "pu" in fields else {})).encode()

    raw = [depth.encode(), snapshot.encode(), after(21, 30), after(32, 40), after(41, 50)]
    lines = list(decode_lines(make_decoder(), raw))
    assert [line["type"] for line in lines] == ["book_synced", "book", "book", "book_invalid"]
    assert {line["symbol"] for line in lines} == {symbol}
    ask, ask_size = ("100.2", "1") if symbol.endswith("PERP") else ("101", "2")
    ts = json.loads(depth).get("T", 1723161255208)
    expected = {"type": "book", "symbol": symbol, "ts": ts, "bid": "100.1", "bid_size": "2.5", "ask": ask,
                "ask_size": ask_size}  # fmt: skip
    assert lines[1] == expected
    assert lines[2] == expected | {"bid_size": "3"}
    assert "gap" in lines[3]["reason"]


def test_replies_are_counted_and_lead_to_nothing():
    decoder = make_decoder()
    assert decoder.feed(b'{"result":null,"id":1}') == []
    assert decoder.summary()["messages"] == {"reply": 1}


def test_one_trade_by_two_streams_is_one_trade():
    decoder = make_decoder()
    aggregate = b'{"e":"aggTrade","E":1,"s":"BTCUSDT","a":7,"p":"5","q":"2","f":1,"l":2,"T":12,"m":true}'
    assert len(decoder.feed(MESSAGES["perp trade"][0].encode())) == 1
    assert decoder.feed(aggregate) == []
    assert decoder.summary()["repeated_trades"] == 1


def test_snapshots_without_a_symbol_find_their_books():
    def depth(symbol: str, price: str) -> bytes:
        fields = {"s": symbol, "U": 10, "u": 20, "b": [[price, "1"]], "a": []}
        return json.dumps(json.loads(SPOT_DEPTH) | fields).encode()

    def snapshot(price: str) -> bytes:
        return f'{{"lastUpdateId":15,"bids":[["{price}","2"],["1","2"]],"asks":[]}}'.encode()

    raw = [snapshot("3000"), depth("BTCUSDT", "60000"), depth("ETHUSDT", "3000"), snapshot("60000")]
    lines = [line for line in decode_lines(make_decoder(), raw) if line["type"] == "book"]
    assert [(line["symbol"], line["bid"]) for line in lines] == [("ETH-USDT", "3000"), ("BTC-USDT", "60000")]


@pytest.mark.parametrize("other_first", [10, 5000], ids=["numbers alike", "numbers of its own"])
def test_snapshots_of_two_pairs_at_one_price_do_not_change_places(other_first: int):
    def depth(symbol: str, first: int, last: int, *bids: list[str]) -> bytes:
        fields = {"s": symbol, "U": first, "u": last, "b": list(bids), "a": []}
        return json.dumps(json.loads(SPOT_DEPTH) | fields).encode()

    def snapshot(last: int, size: str) -> bytes:
        bids, asks = [["100", size], ["99", size]], [["101", size]]
        return json.dumps({"lastUpdateId": last, "bids": bids, "asks": asks}).encode()

    n = other_first
    raw = [
        depth("BTCUSDT", 10, 20, ["100", "3"]),
        depth("BTCUSDT", 21, 22, ["98", "1"]),
        snapshot(n + 10, "7"),
        snapshot(20, "3"),
        depth("BTCUSDT", 23, 30, ["99", "4"]),
        depth("BTCUSDC", n, n + 10, ["100", "7"]),
        depth("BTCUSDC", n + 11, n + 12, ["99", "8"]),
    ]
    last = {line["symbol"]: (line["bid_size"], line["ask_size"]) for line in decode_lines(make_decoder(), raw)
            if line["type"] == "book"}  # fmt: skip
    assert last == {"BTC-USDT": ("3", "3"), "BTC-USDC": ("7", "7")}


RUBBISH = {
    b"": "empty line",
    b"  \n": "empty line",
    b"\x00\xff\xfe\x80rubbish": "not JSON",
    b'{"e":"\xff\xfe"}': "not JSON",
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1,': "not JSON",
    b"[1,2]": "a JSON list",
    b"5": "a JSON int",
    b"null": "a JSON NoneType",
    b"{}": "unknown message",
    b"[" * 100_000: "not JSON",
    b'{"e":"trade","x":' + b"[" * 100_000: "not JSON",
    b'{"stream":"x","data":[1]}': "data of stream 'x' is a list",
    b'{"e":"forceOrder","s":"BTCUSDT"}': "unknown event 'forceOrder'",
    b'{"e":7}': "unknown event '7'",
    b'{"code":-1121,"msg":"Invalid symbol."}': "the venue refused a request: -1121 Invalid symbol.",
    b'{"id":1,"error":{"code":2,"msg":"Bad"}}': "the venue refused a request: 2 Bad",
    wrapped("btcusdt@depth5@100ms", PERP_DEPTH): "partial depth",
    wrapped("btcusdt@depth20", SPOT_SNAPSHOT): "partial depth",
    PERP_DEPTH.replace('"100.10"', '"NaN"').encode(): "depthUpdate: Expected `float`",
    PERP_DEPTH.replace('"100.10"', '"-1"').encode(): "depthUpdate: Expected `float`",
    PERP_DEPTH.replace('"100.10"', '"inf"').encode(): "depthUpdate: Expected `float`",
    PERP_DEPTH.replace('"2.500"', "true").encode(): "depthUpdate: Expected `float`",
    PERP_DEPTH.replace('"U":10', '"U":"x"').encode(): "depthUpdate: Expected `int`",
    PERP_DEPTH.replace('"u":20', '"u":5').encode(): "depthUpdate: u 5 is before U 10",
    PERP_DEPTH.replace("BTCUSDT", "BTCUSDT_250926").encode(): "dated future",
    PERP_DEPTH.replace("BTCUSDT", "XYZ").encode(): "no known quote",
    PERP_DEPTH.replace("BTCUSDT", "USDT").encode(): "no known quote",
    PERP_DEPTH.replace("BTCUSDT", "\\u001b[31mUSDT").encode(): "not in the form",
    PERP_SNAPSHOT.replace('"asks"', '"as"').encode(): "DepthSnapshot: Object missing required field `asks`",
    MESSAGES["perp trade"][0].replace("MARKET", "INSURANCE_FUND").encode(): "did not happen in the book",
    b"17x {}": "not JSON",
    b"99999999999999999999 {}": "not JSON",
}


@pytest.mark.parametrize("line", RUBBISH, ids=range(len(RUBBISH)))
def test_rubbish_is_reported_with_its_reason_and_disturbs_nothing(line: bytes):
    decoder = make_decoder()
    decoder.feed(PERP_DEPTH.encode())
    decoder.feed(PERP_SNAPSHOT.encode())
    (event,) = decoder.feed(line)
    assert isinstance(event, Unparsed)
    assert RUBBISH[line] in event.reason
    assert len(event.raw) <= 201
    json.dumps(list(EventLines().lines([event])))
    assert decoder.counts["unparsed"] == 1
    following = json.loads(PERP_DEPTH) | {"U": 21, "u": 30, "pu": 20}
    assert [type(e) for e in decoder.feed(json.dumps(following).encode())] == [BookUpdate]


def test_a_huge_line_is_not_searched():
    (event,) = make_decoder().feed(b"x" * (9 << 20))
    assert isinstance(event, Unparsed)
    assert "longer than" in event.reason


@given(st.one_of(st.binary(max_size=300), st.integers(0, len(PERP_DEPTH)).map(lambda n: PERP_DEPTH[:n].encode())))
def test_no_bytes_raise(line: bytes):
    decoder = make_decoder()
    for raw in (line, RECEIVED + line, PERP_DEPTH.encode() + line):
        assert all(isinstance(event, Unparsed) for event in decoder.feed(raw))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(list(MESSAGES)), st.data())
def test_no_value_in_any_field_raises(name: str, data: st.DataObject):
    fields = json.loads(MESSAGES[name][0])
    fields[data.draw(st.sampled_from(list(fields)))] = data.draw(json_values)
    events = make_decoder().feed(json.dumps(fields).encode())
    json.dumps(list(EventLines().lines(events)), allow_nan=False)


@pytest.mark.parametrize(
    ("native", "kind", "symbol", "multiplier"),
    [
        ("BTCUSDT", "perp", "BTC-USDT-PERP", 1),
        ("BTCUSDT", "spot", "BTC-USDT", 1),
        ("ETHBTC", "spot", "ETH-BTC", 1),
        ("BTCFDUSD", "spot", "BTC-FDUSD", 1),
        ("USDCUSDT", "perp", "USDC-USDT-PERP", 1),
        ("1INCHUSDT", "perp", "1INCH-USDT-PERP", 1),
        ("1000PEPEUSDT", "perp", "PEPE-USDT-PERP", 1000),
        ("1000000MOGUSDT", "perp", "MOG-USDT-PERP", 1_000_000),
        ("1MBABYDOGEUSDT", "perp", "BABYDOGE-USDT-PERP", 1_000_000),
        ("1000SATSUSDT", "spot", "SATS-USDT", 1000),
        ("PEPEUSDT", "spot", "PEPE-USDT", 1),
    ],
)
def test_symbols_there_and_back(native: str, kind: str, symbol: str, multiplier: int):
    listing = parse_native(native, InstrumentKind(kind))
    assert (listing.symbol, listing.multiplier) == (symbol, multiplier)
    assert native_symbol(symbol) == native


@pytest.mark.parametrize("symbol", ["", "BTC", "BTC-", "-USDT", "BTC-USDT-SWAP", "BTC-USDT-PERP-X"])
def test_what_is_no_canonical_symbol_has_no_native_name(symbol: str):
    with pytest.raises(UnknownSymbol):
        native_symbol(symbol)


@pytest.mark.parametrize(
    ("value", "text"), [(61800.20, "61800.2"), (5.0, "5"), (1e-05, "0.00001"), (0.0, "0"), (1e22, "1" + "0" * 22)]
)
def test_numbers_keep_the_venues_digits(value: float, text: str):
    assert decimal_text(value) == text


@pytest.fixture(scope="module", params=["usdm", "spot"])
def recording(request: pytest.FixtureRequest, shared_dir: Path) -> tuple[str, list[bytes]]:
    path = shared_dir / "captures" / f"{request.param}_btcusdt_20240808.gz"
    if not path.is_file():
        pytest.skip(f"no recording at {path}")
    with gzip.open(path) as file:
        return request.param, file.readlines()


def test_whole_recording_stays_in_step(recording: tuple[str, list[bytes]]):
    kind, raw = recording
    decoder = make_decoder()
    lines = list(decode_lines(decoder, raw))
    counts = Counter(line["type"] for line in lines)
    quotes, trades, books = (66_089, 21_313, 6_546) if kind == "usdm" else (28_040, 9_757, 3_449)
    assert counts == {"quote": quotes, "trade": trades, "book": books, "book_synced": 1}
    assert {line["symbol"] for line in lines} == {"BTC-USDT-PERP" if kind == "usdm" else "BTC-USDT"}
    assert all(book["state"] == "synced" for book in decoder.summary()["books"].values())
    assert sum(decoder.counts.values()) == len(raw)


def test_book_agrees_with_the_best_quotes_of_the_same_id(recording: tuple[str, list[bytes]]):
    """After the depth message with last id u, the book's touch is that of the last best quote with id <= u."""
    _, raw = recording
    decoder, printer = make_decoder(), EventLines()
    quotes, touches = [], []
    for line in raw:
        data = json.loads(line.partition(b" ")[2])
        data = data.get("data", data)
        for event in printer.lines(decoder.feed(line)):
            touch = tuple(event.get(name) for name in ("bid", "bid_size", "ask", "ask_size"))
            if event["type"] == "quote":
                quotes.append((data["u"], touch))
            elif event["type"] == "book":
                touches.append((data.get("u", 0), touch))
    quotes.sort()
    agree = compared = index = 0
    for update_id, touch in touches:
        while index + 1 < len(quotes) and quotes[index + 1][0] <= update_id:
            index += 1
        if quotes[index][0] <= update_id:
            compared += 1
            agree += quotes[index][1] == touch
    assert compared > 3000
    assert agree / compared > 0.99


@pytest.mark.parametrize("lost", [40, 2000])
def test_one_lost_depth_message_is_noticed_by_the_next(recording: tuple[str, list[bytes]], lost: int):
    _, raw = recording
    depth = [number for number, line in enumerate(raw) if b"@depth" in line[:60]]
    decoder = make_decoder()
    for line in raw[: depth[lost]]:
        decoder.feed(line)
    kinds: list[str] = []
    for line in raw[depth[lost] + 1 :]:
        kinds += [type(event).__name__ for event in decoder.feed(line)]
        if line is raw[depth[lost + 1]]:
            assert kinds[-1] == "BookInvalid"
    assert "BookUpdate" not in kinds
    assert kinds.count("BookInvalid") == 1


def test_built_in_filters_are_those_of_the_recordings(shared_dir: Path):
    path = shared_dir / "captures" / "instruments.yaml"
    if not path.is_file():
        pytest.skip(f"no {path}")
    wanted = {listed.instrument.symbol: listed.instrument for listed in read_instruments(path)}
    found = {instrument.symbol: instrument for instrument in default_instruments()}
    for symbol, instrument in wanted.items():
        for field in (
            "native",
            "tick_size",
            "lot_size",
            "min_quantity",
            "min_notional",
            "settle",
            "kind",
            "maker_fee",
            "taker_fee",
        ):
            assert getattr(found[symbol], field) == getattr(instrument, field), (symbol, field)


def test_description_names_what_a_driver_needs():
    described = arch()
    for kind in ("perp", "spot"):
        assert described.features[kind]["depth_sync"] == "rest_snapshot"
        assert described.limits[kind]["depth_snapshot_levels"] >= 1000
        assert any(bucket.name == f"{kind}_weight" for bucket in described.rate_buckets)


def test_account_messages_among_public_ones_become_orders_fills_positions_and_balances():
    futures = (
        '{"e":"ORDER_TRADE_UPDATE","E":9,"T":8,"o":{"s":"1000PEPEUSDT","c":"ours","S":"SELL","o":"LIMIT","f":"GTC",'
        '"q":"250","p":"0.0083","ap":"0.0083","sp":"0","x":"TRADE","X":"FILLED","i":5,"l":"250","z":"250",'
        '"L":"0.0083","n":"0.4","N":"USDT","T":8,"t":3,"m":true,"R":false,"ps":"BOTH","rp":"0"}}'
    )
    account = (
        '{"e":"ACCOUNT_UPDATE","E":2,"T":1,"a":{"m":"ORDER","B":[{"a":"USDT","wb":"990","cw":"990","bc":"0"}],'
        '"P":[{"s":"BTCUSDT","pa":"-0.5","ep":"100","up":"5","ps":"BOTH"}]}}'
    )
    spot = '{"subscriptionId":0,"event":{"e":"outboundAccountPosition","E":1,"B":[{"a":"BTC","f":"1","l":"0.5"}]}}'
    decoder = make_decoder()
    lines = [
        futures.encode(),
        wrapped("listenkey", account),
        RECEIVED + spot.encode() + b"\n",
        b'{"e":"TRADE_LITE","E":1,"s":"BTCUSDT"}',
        MESSAGES["perp trade"][0].encode(),
        b'{"e":"ORDER_TRADE_UPDATE","E":9,"T":8,"o":{"s":"BTCUSDT"}}',
    ]
    kinds = [[type(event).__name__ for event in decoder.feed(line)] for line in lines]
    assert kinds == [["OrderUpdate", "Fill"], ["Balance", "Position"], ["Balance"], [], ["Trade"], ["Unparsed"]]
    assert decoder.counts["ORDER_TRADE_UPDATE"] == decoder.counts["TRADE_LITE"] == decoder.counts["unparsed"] == 1
