"""Market recordings: what was on the bus comes back; what is damaged is named."""

from __future__ import annotations

import gzip
import random
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from engine.io import market_files
from engine.io.inference import infer_instruments, infer_step
from engine.io.instruments_file import Fees, read_instruments, write_instruments
from engine.io.market_files import MarketReader, MarketRecorder, RecordProgress
from engine.io.raw_files import open_raw, raw_lines
from engine.io.writer import WriterThread
from engine.kernel.clock import NS_PER_MS, NS_PER_S, VirtualClock
from engine.kernel.errors import ConfigError, CtosError, StorageError
from engine.kernel.event_bus import EventBus
from engine.kernel.instruments import Instrument, InstrumentKind
from engine.kernel.market import (
    Bar,
    BookInvalid,
    BookSynced,
    BookUpdate,
    FundingRate,
    MarketEvent,
    MarkPrice,
    Quote,
    Ticker,
    Trade,
)
from engine.kernel.orderbook import OrderBook
from engine.kernel.orders import Side

START_NS = 1_723_161_255 * NS_PER_S
BTC, ETH = "BTC-USDT-PERP", "ETH-USDT"
PERP = Instrument(
    symbol=BTC,
    venue="binance",
    base="BTC",
    quote="USDT",
    settle="USDT",
    kind=InstrumentKind.PERP,
    tick_size=Decimal("0.10"),
    lot_size=Decimal("0.001"),
    min_quantity=Decimal("0.001"),
    min_notional=Decimal(100),
    max_leverage=Decimal(125),
    taker_fee=Decimal("0.0005"),
    native="BTCUSDT",
)
SPOT = replace(PERP, symbol=ETH, base="ETH", kind=InstrumentKind.SPOT, max_leverage=Decimal(1), funding_period_h=0)


def fail(error: Exception) -> None:
    raise error


def events(seed: int, count: int) -> list[MarketEvent]:
    """A market's events of every kind; each symbol's book comes into step first, and is lost and found once."""
    rng = random.Random(seed)
    found: list[MarketEvent] = []
    for symbol in (BTC, ETH):
        found += [BookSynced(symbol, 1), BookUpdate(symbol, 1, [(99.0, 1.0), (98.5, 2.0)], [(100.0, 1.0)], True)]
    for ts in range(2, count):
        symbol = rng.choice((BTC, ETH))
        price = round(90 + rng.random() * 10, 2)
        found.append(
            rng.choice((
                Trade(symbol, ts, price, rng.random(), rng.choice(list(Side)), str(ts)),
                Quote(symbol, ts, price, 1.5, price + 0.1, rng.random()),
                BookUpdate(symbol, ts, [(price, rng.random())], [(price + 5, 0.0), (101.0, 1.0)]),
                BookUpdate(symbol, ts, [], []),
                MarkPrice(BTC, ts, price, price + 1),
                FundingRate(BTC, ts, -0.0001, 8, ts + 5),
                Ticker(symbol, ts, price, 1.0, 2.0, 0.5, 1e9),
                Bar(symbol, "1m", 60_000, 1.0, 2.0, 0.5, 1.5, 10.0, 15.0, closed=False, ts=ts),
            ))
        )  # fmt: skip
        if ts == count // 2:
            found += [BookInvalid(BTC, None, "gap"), BookSynced(BTC, ts), BookUpdate(BTC, ts, [(97.0, 1.0)], [], True)]
    return found


class Desk:
    """A bus with a clock, and the live books that a driver keeps."""

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock(START_NS)
        self.bus = EventBus()
        self.books = {symbol: OrderBook(symbol) for symbol in (BTC, ETH)}
        self.writer = WriterThread(None, fail)
        self.progress: list[RecordProgress] = []
        self.errors: list[CtosError] = []
        self.folder = folder

    def recorder(self) -> MarketRecorder:
        return MarketRecorder(
            self.folder, self.bus, self.clock, self.writer, [PERP, SPOT], self.books.__getitem__,
            self.progress.append, self.errors.append,
        )  # fmt: skip

    def publish(self, event: MarketEvent, after_ms: int = 0) -> None:
        self.clock.advance(after_ms / 1000)
        if isinstance(event, BookUpdate):
            self.books[event.symbol].apply(event)
        elif isinstance(event, BookInvalid):
            self.books[event.symbol].invalidate()
        self.bus.publish(event)

    def record(self, recorded: list[MarketEvent], after_ms: int) -> None:
        recorder = self.recorder()
        for event in recorded:
            self.publish(event, after_ms)
        recorder.close()
        self.writer.close()


@pytest.mark.parametrize(("count", "after_ms", "parts"), [(50, 3, 1), (3000, 250, 13)])
def test_what_was_on_the_bus_comes_back_in_order(tmp_path: Path, count: int, after_ms: int, parts: int):
    desk, recorded = Desk(tmp_path / "market"), events(7, count)
    desk.record(recorded, after_ms)
    reader = MarketReader(desk.folder)
    read = [timed for batch in reader.batches() for timed in batch]
    assert [event for _, event in read] == recorded
    assert [ns for ns, _ in read] == [START_NS + after_ms * NS_PER_MS * (i + 1) for i in range(len(recorded))]
    assert len(reader.parts) == parts
    assert desk.progress[-1].events == len(recorded)
    assert desk.progress[-1].size == sum(part.stat().st_size for part in reader.parts)
    assert reader.instruments() == [PERP, SPOT]


@pytest.mark.parametrize("ask", ["lost part", "one part"])
def test_a_book_is_whole_wherever_reading_begins(tmp_path: Path, ask: str):
    desk, recorded = Desk(tmp_path / "market"), events(8, 3000)
    desk.record(recorded, 250)
    reader = MarketReader(desk.folder)
    if ask == "lost part":
        reader.parts[5].unlink()
        batches = MarketReader(desk.folder).batches()
    else:
        batches = MarketReader(reader.parts[-1]).batches()
    books = {symbol: OrderBook(symbol) for symbol in (BTC, ETH)}
    for batch in batches:
        for _, event in batch:
            if isinstance(event, BookUpdate):
                books[event.symbol].apply(event)
    for symbol, book in books.items():
        assert (book.bids, book.asks) == (desk.books[symbol].bids, desk.books[symbol].asks)


def test_a_book_followed_before_the_recording_began_is_recorded_whole(tmp_path: Path):
    desk = Desk(tmp_path)
    desk.books[BTC].load([(5.0, 1.0)], [(6.0, 1.0)], 1)
    desk.record([BookUpdate(BTC, 2, [(5.0, 2.0)], [])], 1)
    ((_, synced), (_, whole), (_, change)) = next(MarketReader(tmp_path).batches())
    assert isinstance(synced, BookSynced)
    assert whole == BookUpdate(BTC, 2, [(5.0, 2.0)], [(6.0, 1.0)], snapshot=True)
    assert change == BookUpdate(BTC, 2, [(5.0, 2.0)], [])


def test_after_a_crash_all_whole_parts_are_there(tmp_path: Path):
    desk = Desk(tmp_path)
    recorder = desk.recorder()
    recorded = events(9, 600)
    for event in recorded:
        desk.publish(event, 250)
    reader = MarketReader(tmp_path)
    read = [event for batch in reader.batches() for _, event in batch]
    assert read == recorded[: len(read)]
    assert len(read) >= 480
    assert reader.unfinished == []
    recorder.close()


def test_a_batch_of_events_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(market_files, "PART_EVENTS", 500)
    monkeypatch.setattr(market_files, "READ_ROWS", 100)
    desk = Desk(tmp_path)
    desk.record([Quote(BTC, ts, 1.0, 1.0, 2.0, 1.0) for ts in range(1200)], 1)
    reader = MarketReader(tmp_path)
    assert len(reader.parts) == 3
    assert {len(batch) for batch in reader.batches()} == {100}


@pytest.mark.parametrize("damage", ["cut", "middle", "text"])
def test_a_damaged_part_is_named_with_the_remedy(tmp_path: Path, damage: str):
    desk = Desk(tmp_path)
    desk.record(events(3, 1500), 100)
    part = MarketReader(tmp_path).parts[1]
    content = part.read_bytes()
    half = len(content) // 2
    broken = {"cut": content[:half], "middle": content[:200] + bytes(2000) + content[2200:], "text": b"hello"}
    part.write_bytes(broken[damage])
    with pytest.raises((ConfigError, StorageError)) as caught:
        list(MarketReader(tmp_path).batches())
    assert part.name in str(caught.value)
    assert "delete it to replay the other parts" in str(caught.value)


@pytest.mark.parametrize("ask", ["nothing", "empty", "foreign file"])
def test_no_recording_is_said_so(tmp_path: Path, ask: str):
    path = tmp_path / {"nothing": "none", "empty": "", "foreign file": "x.parquet"}[ask]
    if ask == "foreign file":
        path.write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match=r"no recording in .*make one with record"):
        MarketReader(path)


def test_a_folder_with_a_recording_is_not_written_over(tmp_path: Path):
    Desk(tmp_path).record(events(1, 10), 1)
    with pytest.raises(ConfigError, match="holds a recording already"):
        Desk(tmp_path).recorder()


def test_a_disk_that_refuses_ends_the_recording_and_says_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    desk = Desk(tmp_path)
    recorder = desk.recorder()
    monkeypatch.setattr(market_files.os, "replace", refuse)
    for event in events(2, 1000):
        desk.publish(event, 200)
    recorder.close()
    (error,) = desk.errors
    assert isinstance(error, StorageError)
    assert "No space left" in str(error)
    assert str(tmp_path) in str(error)


def test_instruments_file_there_and_back_and_its_faults(tmp_path: Path):
    path = tmp_path / "instruments.yaml"
    write_instruments(path, [PERP, SPOT])
    assert [listed.instrument for listed in read_instruments(path)] == [PERP, SPOT]
    path.write_text('- {venue: b, symbol: BTC-USDT, tick: "0.1", lot: "1", recordings: [a.gz]}\n')
    (listed,) = read_instruments(path, Fees(spot_maker=Decimal("0.002")))
    assert (listed.instrument.maker_fee, listed.instrument.taker_fee) == (Decimal("0.002"), Decimal("0.001"))
    assert (listed.is_in(tmp_path / "a.gz"), listed.is_in(tmp_path / "b.gz")) == (True, False)
    faults = {
        "a: 1": "expected a list",
        "- {venue: b, symbol: BTC-USDT, lot: 1}": "instruments[0].tick: is missing",
        "- {venue: b, symbol: BTC-USDT, tick: 0, lot: 1}": "instruments[0].tick: '0'",
        "- {venue: b, symbol: btc, tick: 1, lot: 1}": "instruments[0].symbol: 'btc'",
        "- {venue: b, symbol: BTC-USDT, tick: 1, lot: 1}\n- 7": "instruments[1]: '7'",
    }
    for text, message in faults.items():
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            read_instruments(path)
        assert message in str(caught.value)
        assert str(path) in str(caught.value)


def test_steps_are_inferred_from_prices_and_sizes():
    rng = random.Random(4)
    assert infer_step(round(rng.randrange(1, 10_000) * 0.5, 1) for _ in range(500)) == Decimal("0.5")
    assert infer_step([100.0, 200.0, 100.1]) == Decimal("0.1")
    assert infer_step([5.0, 1e-05]) == Decimal("0.00001")
    with pytest.raises(ValueError, match="no values"):
        infer_step([0.0])
    (perp, spot) = infer_instruments("x", [Trade(BTC, 1, 10.25, 0.5, Side.BUY, ""), Quote(ETH, 1, 1, 2, 3, 4)], Fees())
    assert (perp.tick_size, perp.lot_size, perp.kind) == (Decimal("0.01"), Decimal("0.1"), InstrumentKind.PERP)
    assert (spot.tick_size, spot.taker_fee, spot.kind) == (Decimal(1), Decimal("0.001"), InstrumentKind.SPOT)


def test_a_cut_recording_gives_what_it_has(tmp_path: Path):
    path = tmp_path / "raw.gz"
    path.write_bytes(gzip.compress(b'1 {"a":1}\n') + gzip.compress(b'2 {"b":2}\n')[:-3])
    read: list[bytes] = []
    with pytest.raises(StorageError, match=r"raw\.gz ends early, after line 2: it is cut off"):
        read.extend(raw_lines(open_raw(path), path.name))


def test_a_line_without_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("engine.io.raw_files.MAX_LINE_BYTES", 10)
    path = tmp_path / "raw.gz"
    path.write_bytes(gzip.compress(b"x" * 35 + b"\nshort\n"))
    assert list(raw_lines(open_raw(path), "raw")) == [b"x" * 10, b"short\n"]
    path.write_bytes(b"plain\n")
    assert list(raw_lines(open_raw(path), "raw")) == [b"plain\n"]
    with pytest.raises(ConfigError, match="cannot read the recording"):
        open_raw(tmp_path)
