"""Recorded markets: played once, looped, paused, damaged, and the real recordings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from drivers.binance import make_decoder
from drivers.paper.config import MemoryStore, PaperConfig
from drivers.paper.driver import PaperDriver
from drivers.paper.markets.replay import ReplayMarket, decoded
from engine.io.raw_files import open_raw, raw_lines
from engine.kernel.clock import NS_PER_S, Rng, VirtualClock
from engine.kernel.errors import ConfigError
from engine.kernel.instruments import Instrument, InstrumentKind
from engine.kernel.market import BookInvalid, BookSynced, FundingRate, Quote, Trade, Unparsed
from engine.kernel.orders import Fill, OrderRequest, OrderType, Side
from tests.paper.venue import PERP, START_NS, instruments

START_MS = START_NS // 1_000_000
BTC = "BTC-USDT-PERP"


def recording() -> list:
    return [
        (START_NS, [BookSynced(PERP, START_MS)]),
        (START_NS + NS_PER_S, [Trade(PERP, START_MS + 1_000, 100.0, 1.0, Side.BUY, "7")]),
        (START_NS + NS_PER_S // 2, [FundingRate(PERP, START_MS + 500, 0.0001, 8, START_MS + 9_000)]),
    ]


def test_times_never_go_back():
    market = ReplayMarket(instruments(), lambda: iter(recording()))
    times = []
    while (due := market.next_event_ns()) is not None:
        times.append(due)
        market.step()
    assert times == [START_NS, START_NS + NS_PER_S, START_NS + NS_PER_S]


def test_a_loop_goes_on_with_later_times_and_an_invalid_book():
    market = ReplayMarket(instruments(), lambda: iter(recording()), loop=True)
    first_round = [market.step() for _ in range(3)]
    assert first_round[2][0].ts == START_MS + 500
    assert market.next_event_ns() == START_NS + 2 * NS_PER_S
    begun = market.step()
    assert isinstance(begun[0], BookInvalid) and begun[1] == BookSynced(PERP, START_MS + 2_000)
    (trade,) = market.step()
    assert (trade.ts, trade.id) == (START_MS + 3_000, "7.1")
    (funding,) = market.step()
    assert (funding.ts, funding.next_time) == (START_MS + 2_500, START_MS + 11_000)


def test_a_recording_waits_while_the_program_does():
    market = ReplayMarket(instruments(), lambda: iter(recording()))
    market.step()
    market.skip_to(START_NS + 100 * NS_PER_S)
    assert market.next_event_ns() == START_NS + 100 * NS_PER_S
    (trade,) = market.step()
    assert trade.ts == START_MS + 100_000
    (funding,) = market.step()
    assert funding.ts == START_MS + 99_500


def test_an_empty_recording_is_refused():
    with pytest.raises(ConfigError, match="no market events"):
        ReplayMarket(instruments(), lambda: iter([]))


def test_rubbish_between_the_lines_is_counted():
    quote = b'1723161255088169167 {"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":1,"s":"BTCUSDT",' \
        b'"b":"61800.20","B":"2.507","a":"61800.30","A":"2.510","T":1723161256313,"E":1723161256313}}\n'  # fmt: skip
    batches = list(decoded(iter([b"\x00\xff\n", quote, b"{}\n", b"\n"]), make_decoder()))
    kinds = [type(event) for _, events in batches for event in events]
    assert kinds.count(Quote) == 1 and kinds.count(Unparsed) >= 2
    assert batches[1][0] == 1_723_161_255_088_169_167


def recorded_lines(path: Path) -> Iterator[bytes]:
    with open_raw(path) as file:
        yield from raw_lines(file, path.name)


def captured(shared_dir: Path, name: str, symbol: str, kind: InstrumentKind, tick: str, lot: str) -> ReplayMarket:
    path = shared_dir / "captures" / name
    if not path.exists():
        pytest.skip(f"no recording {path}")
    instrument = Instrument(
        symbol, "binance", "BTC", "USDT", "USDT", kind, Decimal(tick), Decimal(lot), Decimal(lot), Decimal(5)
    )
    return ReplayMarket([instrument], lambda: decoded(recorded_lines(path), make_decoder()))


@pytest.mark.parametrize(
    ("name", "symbol", "kind", "tick", "lot"),
    [
        ("usdm_btcusdt_20240808.gz", BTC, InstrumentKind.PERP, "0.1", "0.001"),
        ("spot_btcusdt_20240808.gz", "BTC-USDT", InstrumentKind.SPOT, "0.01", "0.00001"),
    ],
)
def test_a_real_recording_plays_whole_and_orders_trade_on_it(shared_dir: Path, name, symbol, kind, tick, lot):
    market = captured(shared_dir, name, symbol, kind, tick, lot)
    start_ns = market.start_ns
    clock = VirtualClock(start_ns)
    driver = PaperDriver(
        market, clock, Rng(1), PaperConfig(balances={"USDT": Decimal(100_000), "BTC": Decimal(1)}), MemoryStore()
    )
    fills: list[Fill] = []
    refused: list = []
    driver.subscribe_account(lambda event: fills.append(event) if isinstance(event, Fill) else None)

    def requote(number: int) -> None:
        touch = driver.exchange.markets[symbol].touch
        driver.exchange.cancel_all()
        for side, price in ((Side.BUY, touch.bid), (Side.SELL, touch.ask)):
            request = OrderRequest(
                f"{side}{number}", "t", symbol, side, OrderType.POST_ONLY, Decimal("0.01"), Decimal(repr(price))
            )
            driver.gateway.place(request, refused.append)
        clock.call_later(2.0, requote, number + 1)

    clock.call_later(1.0, requote, 0)
    driver.run_virtual(clock, start_ns + 345 * NS_PER_S)
    assert driver.unparsed == 0
    book = driver.book(symbol)
    touch = driver.exchange.markets[symbol].touch
    assert book.valid and abs(book.best_bid - touch.bid) < 5
    assert len(fills) > 20 and all(fill.maker for fill in fills)
    assert all(line.difference == 0 for line in driver.audit())
    bars = asyncio.run(driver.get_klines(symbol, "1m", 10))
    assert [bar.missing for bar in bars] == [False] * len(bars) and len(bars) >= 6
