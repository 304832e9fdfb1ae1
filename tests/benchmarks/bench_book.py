"""Order book: decode, apply, best bid and ask after each message, beside a floor measured in the same run.

The floor is the least that Python can do: a typed msgspec decode of symbol, ids and levels, float dicts, the
best price kept and searched anew only when it goes. Ours checks values and sequence, makes events and keeps the order.
"""

from __future__ import annotations

import gc
import gzip
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import pytest

from drivers.binance import make_decoder
from drivers.okx import make_decoder as make_okx_decoder
from engine.kernel.market import BookUpdate
from engine.kernel.orderbook import OrderBook
from tests.benchmarks.peers import run_peer
from tests.benchmarks.table import Table

REPETITIONS = 11
MOST = 1.3
PEER_ROUNDS = 3
PEER_REPETITIONS = 2
DEPTH = 1000
pytestmark = pytest.mark.bench


class FloorDepth(msgspec.Struct, gc=False):
    s: str
    U: int
    u: int
    b: list[tuple[float, float]]
    a: list[tuple[float, float]]


class FloorMessage(msgspec.Struct, gc=False):
    data: FloorDepth | None = None
    bids: list[tuple[float, float]] = []
    asks: list[tuple[float, float]] = []


class FloorBook:
    """Float dicts with the best price kept."""

    def __init__(self, bids: list[tuple[float, float]], asks: list[tuple[float, float]]) -> None:
        self.bids, self.asks = dict(bids), dict(asks)
        self.bid, self.ask = max(self.bids), min(self.asks)

    def change(self, bids: list[tuple[float, float]], asks: list[tuple[float, float]]) -> None:
        book, best, gone = self.bids, self.bid, False
        for price, size in bids:
            if size:
                book[price] = size
                if price > best:
                    best = price
            else:
                book.pop(price, None)
                if price == best:
                    gone = True
        self.bid = max(book) if gone else best
        book, best, gone = self.asks, self.ask, False
        for price, size in asks:
            if size:
                book[price] = size
                if price < best:
                    best = price
            else:
                book.pop(price, None)
                if price == best:
                    gone = True
        self.ask = min(book) if gone else best


def floor_run(payloads: list[bytes]) -> Any:
    decode = msgspec.json.Decoder(FloorMessage, strict=False).decode
    book, best = None, None
    for payload in payloads:
        message = decode(payload)
        depth = message.data
        if depth is None:
            book = FloorBook(message.bids, message.asks)
        elif book is not None:
            book.change(depth.b, depth.a)
            best = book.bid, book.ask
    return best


def our_run(payloads: list[bytes]) -> Any:
    feed = make_decoder().feed
    book, best = OrderBook("BTC-USDT-PERP"), None
    for payload in payloads:
        for event in feed(payload):
            if type(event) is BookUpdate:
                book.apply(event)
                best = book.best_bid, book.best_ask
    return best


def recorded(path: Path) -> list[bytes]:
    """Depth messages in the order in which a book takes them: the snapshot, then what follows its id."""
    with gzip.open(path) as file:
        payloads = [line.partition(b" ")[2].strip() for line in file]
    (snapshot,) = (p for p in payloads if p.startswith(b'{"lastUpdateId"'))
    last_id = json.loads(snapshot)["lastUpdateId"]
    depth = [p for p in payloads if b"@depth" in p[:40]]
    return [snapshot, *(p for p in depth if json.loads(p)["data"]["u"] > last_id)]


def deep_messages(count: int = 3000, seed: int = 3) -> list[bytes]:
    """A book of 1,000 levels a side: 40-120 changes a message, near the touch, at the far end, anywhere."""
    rng = random.Random(seed)
    sides = [{302300 - 1 - i: 1.0 for i in range(DEPTH)}, {302300 + 1 + i: 1.0 for i in range(DEPTH)}]

    def row(tick: int, size: float) -> list[str]:
        return [f"{tick / 10:.2f}", f"{size:.3f}"]

    snapshot = {"lastUpdateId": 0, "E": 1, "T": 1}
    snapshot |= {name: [row(t, 1.0) for t in side] for name, side in zip(("bids", "asks"), sides, strict=True)}
    lines = [json.dumps(snapshot, separators=(",", ":")).encode()]
    for number in range(count):
        changed: list[dict[int, float]] = [{}, {}]
        for _ in range(rng.choice((40, 60, 80, 100, 120))):
            change_level(rng, sides, changed)
        for side, change, worst in zip(sides, changed, (min, max), strict=True):
            while len(side) > DEPTH:
                gone = worst(side)
                del side[gone]
                change[gone] = 0.0
        bids = [row(t, changed[0][t]) for t in sorted(changed[0], reverse=True)]
        asks = [row(t, changed[1][t]) for t in sorted(changed[1])]
        data = {"e": "depthUpdate", "E": 1_626_992_741_037 + number * 100, "T": 1_626_992_741_024 + number * 100}
        data |= {"s": "BTCUSDT", "U": number * 10, "u": number * 10 + 9, "pu": number * 10 - 1, "b": bids, "a": asks}
        message = {"stream": "btcusdt@depth@100ms", "data": data}
        lines.append(json.dumps(message, separators=(",", ":")).encode())
    return lines


def change_level(rng: random.Random, sides: list[dict[int, float]], changed: list[dict[int, float]]) -> None:
    which = rng.randrange(2)
    side, other = sides[which], sides[1 - which]
    sign = 1 if which else -1
    best, far = (min(side), max(other)) if which else (max(side), min(other))
    where = rng.random()
    if where < 0.05 and abs(best - far) > 1:
        tick = best - sign
    elif where < 0.6:
        tick = best + sign * int(rng.expovariate(1 / 60))
    else:
        tick = best + sign * (DEPTH - rng.randint(1, 20) if where < 0.85 else rng.randint(0, DEPTH))
    if tick in side and rng.random() < 0.45 and len(side) > DEPTH // 2:
        del side[tick]
        changed[which][tick] = 0.0
    else:
        side[tick] = changed[which][tick] = rng.random() * 30 + 0.001


class OkxFloorRow(msgspec.Struct, gc=False):
    bids: list[tuple[float, float, str, str]]
    asks: list[tuple[float, float, str, str]]


class OkxFloorMessage(msgspec.Struct, gc=False):
    data: list[OkxFloorRow]


def as_okx(payloads: list[bytes], native: str) -> list[bytes]:
    """The same changes as OKX tells them."""
    lines = []
    for number, payload in enumerate(payloads, 1):
        message = json.loads(payload)
        depth = message.get("data", message)
        sides = [[[*row, "0", "3"] for row in depth.get(long, depth.get(long[0]))] for long in ("asks", "bids")]
        row = {"asks": sides[0], "bids": sides[1], "ts": str(1_626_992_741_037 + number), "checksum": 0}
        row |= {"prevSeqId": number - 1 if number > 1 else -1, "seqId": number}
        push = {"arg": {"channel": "books", "instId": native}, "action": "update" if number > 1 else "snapshot"}
        lines.append(json.dumps(push | {"data": [row]}, separators=(",", ":")).encode())
    return lines


def okx_floor_run(payloads: list[bytes], coins: float) -> Any:
    decode = msgspec.json.Decoder(OkxFloorMessage, strict=False).decode
    book, best = None, None
    for payload in payloads:
        row = decode(payload).data[0]
        bids = [(price, size * coins) for price, size, _, _ in row.bids]
        asks = [(price, size * coins) for price, size, _, _ in row.asks]
        if book is None:
            book = FloorBook(bids, asks)
        else:
            book.change(bids, asks)
            best = book.bid, book.ask
    return best


def our_okx_run(payloads: list[bytes]) -> Any:
    feed = make_okx_decoder().feed
    book, best = OrderBook("BTC-USDT"), None
    for payload in payloads:
        for event in feed(payload):
            if type(event) is BookUpdate:
                book.apply(event)
                best = book.best_bid, book.best_ask
    return best


def cpu_seconds(run: Callable[[list[bytes]], Any], payloads: list[bytes]) -> float:
    gc.collect()
    gc.freeze()  # what pytest itself holds is not scanned in either run
    start = time.process_time()
    run(payloads)
    return time.process_time() - start


def compare(
    name: str,
    payloads: list[bytes],
    table: Table,
    ours_of: Callable[[list[bytes]], Any] = our_run,
    floor_of: Callable[[list[bytes]], Any] = floor_run,
) -> None:
    assert ours_of(payloads) == floor_of(payloads)
    ratios, ours, floors = [], [], []
    for _ in range(REPETITIONS):
        floors.append(cpu_seconds(floor_of, payloads))
        ours.append(cpu_seconds(ours_of, payloads))
        ratios.append(ours[-1] / floors[-1])
    scale = 1e6 / len(payloads)
    table.add(
        f"book, {name}, {len(payloads):,} messages",
        f"{median(ours) * scale:.1f} µs",
        f"<= {MOST} x",
        median(ratios) <= MOST,
        f"{median(floors) * scale:.1f} µs",
        median(ratios),
    )


def compare_peer(name: str, payloads: list[bytes], table: Table, tmp_path: Path, most: float) -> None:
    """The same messages through the C package `order-book` in its own process, alternating with ours."""
    file = tmp_path / "messages"
    file.write_bytes(b"\n".join(payloads))
    ratios, ours, theirs = [], [], []
    for _ in range(PEER_ROUNDS):
        peer = run_peer("book_peer.py", file, PEER_REPETITIONS)
        assert tuple(peer["best"]) == our_run(payloads)
        theirs.append(median(peer["cpu_s"]))
        ours.append(median(cpu_seconds(our_run, payloads) for _ in range(PEER_REPETITIONS)))
        ratios.append(ours[-1] / theirs[-1])
    scale = 1e6 / len(payloads)
    table.add(
        f"book, {name}, beside order-book (C)",
        f"{median(ours) * scale:.1f} µs",
        f"<= {most:g} x",
        median(ratios) <= most,
        f"{median(theirs) * scale:.1f} µs",
        median(ratios),
    )


@pytest.fixture(scope="module")
def recordings(shared_dir: Path) -> Iterator[dict[str, list[bytes]]]:
    captures = shared_dir / "captures"
    if not captures.is_dir():
        pytest.skip(f"no recordings at {captures}")
    yield {kind: recorded(captures / f"{kind}_btcusdt_20240808.gz") for kind in ("usdm", "spot")}


@pytest.mark.parametrize("kind", ["usdm", "spot"])
def test_recorded_book(recordings: dict[str, list[bytes]], kind: str, table: Table):
    compare(f"recorded {kind}", recordings[kind], table)


def test_deep_book(table: Table):
    compare("synthetic deep", deep_messages(), table)


@pytest.mark.parametrize(("native", "coins"), [("BTC-USDT", 1.0), ("BTC-USDT-SWAP", 0.01)])
def test_deep_book_as_okx_tells_it(native: str, coins: float, table: Table):
    messages = as_okx(deep_messages(), native)
    compare(f"deep, {native}", messages, table, our_okx_run, lambda payloads: okx_floor_run(payloads, coins))


@pytest.mark.parametrize("kind", ["usdm", "spot"])
def test_recorded_book_beside_the_peer(recordings: dict[str, list[bytes]], kind: str, table: Table, tmp_path: Path):
    compare_peer(f"recorded {kind}", recordings[kind], table, tmp_path, 1.0)


def test_deep_book_beside_the_peer(table: Table, tmp_path: Path):
    compare_peer("synthetic deep", deep_messages(), table, tmp_path, 0.5)
