"""Paper venue: market events a second through matching, beside the same events put into plain dict books.

The floor keeps float dicts, best prices that are searched anew only when they go, and the last trade. Ours delivers to
subscribers, keeps touch, marks, candles and queues, and matches our resting orders.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from statistics import median

import pytest

from drivers.binance import make_decoder
from drivers.paper.config import MemoryStore, PaperConfig
from drivers.paper.driver import PaperDriver
from drivers.paper.markets.replay import ReplayMarket, decoded
from drivers.paper.markets.synthetic import SyntheticMarket
from engine.io.raw_files import open_raw, raw_lines
from engine.kernel.clock import NS_PER_S, Rng, VirtualClock
from engine.kernel.instruments import Instrument, InstrumentKind
from engine.kernel.market import BookUpdate, MarketEvent, Quote, Trade
from engine.kernel.orders import OrderRequest, OrderType, Side
from tests.benchmarks.table import Table

REPETITIONS = 7
MOST = 12.0
LEAST_MADE = 20_000
START_NS = 1_767_225_600 * NS_PER_S
BTC = "BTC-USDT-PERP"
BUSY = (BTC, "ETH-USDT-PERP", "SOL-USDT-PERP")
Batches = list[tuple[int, list[MarketEvent]]]
pytestmark = pytest.mark.bench


def synthetic_events(rate: float, seconds: int) -> tuple[list[Instrument], Batches]:
    market = SyntheticMarket(1, START_NS, rate=rate)
    batches: Batches = []
    while (due := market.next_event_ns()) is not None and due < START_NS + seconds * NS_PER_S:
        batches.append((due, list(market.step())))
    return market.instruments(), batches


def recorded_events(shared_dir: Path) -> tuple[list[Instrument], Batches]:
    path = shared_dir / "captures" / "usdm_btcusdt_20240808.gz"
    if not path.exists():
        pytest.skip(f"no recording {path}")
    instrument = Instrument(
        BTC, "binance", "BTC", "USDT", "USDT", InstrumentKind.PERP, Decimal("0.1"), Decimal("0.001"),
        Decimal("0.001"), Decimal(100), max_leverage=Decimal(125),
    )  # fmt: skip
    with open_raw(path) as file:
        return [instrument], [(ns, list(events)) for ns, events in decoded(raw_lines(file, path.name), make_decoder())]


def floor_seconds(batches: Batches) -> float:
    bids: dict[str, dict[float, float]] = {}
    asks: dict[str, dict[float, float]] = {}
    best: dict[str, tuple[float, float]] = {}
    last: dict[str, float] = {}
    started = time.process_time()
    for _, events in batches:
        for event in events:
            kind = type(event)
            if kind is BookUpdate:
                symbol = event.symbol
                if event.snapshot or symbol not in bids:
                    bids[symbol], asks[symbol] = dict(event.bids), dict(event.asks)
                    best[symbol] = (max(bids[symbol], default=0.0), min(asks[symbol], default=0.0))
                    continue
                bid, ask = best[symbol]
                book = bids[symbol]
                for price, size in event.bids:
                    if size:
                        book[price] = size
                        if price > bid:
                            bid = price
                    else:
                        book.pop(price, None)
                        if price == bid:
                            bid = max(book, default=0.0)
                book = asks[symbol]
                for price, size in event.asks:
                    if size:
                        book[price] = size
                        if price < ask:
                            ask = price
                    else:
                        book.pop(price, None)
                        if price == ask:
                            ask = min(book, default=0.0)
                best[symbol] = bid, ask
            elif kind is Quote:
                best[event.symbol] = event.bid, event.ask
            elif kind is Trade:
                last[event.symbol] = event.price
    return time.process_time() - started


def paper_seconds(instruments: list[Instrument], batches: Batches, orders: int) -> tuple[float, int]:
    """Play the events, with `orders` orders a side resting near the touch of the busy symbols, renewed every second."""
    market = ReplayMarket(instruments, lambda: iter(batches))
    clock = VirtualClock(market.start_ns)
    driver = PaperDriver(market, clock, Rng(1), PaperConfig(balances={"USDT": Decimal(10_000_000)}), MemoryStore())
    seen = [0]

    def listen(event: object) -> None:
        seen[0] += 1

    symbols = [symbol for symbol in BUSY if symbol in driver.exchange.markets]
    for symbol in symbols:
        driver.subscribe_ticks(symbol, listen)
        driver.subscribe_trades(symbol, listen)
        driver.subscribe_orderbook(symbol, listen)

    def quote_again(number: int) -> None:
        driver.exchange.cancel_all()
        for symbol in symbols:
            place_ladder(driver, symbol, number, orders)
        clock.call_later(1.0, quote_again, number + 1)

    if orders:
        clock.call_later(0.5, quote_again, 0)
    started = time.process_time()
    driver.run_virtual(clock, batches[-1][0])
    took = time.process_time() - started
    assert all(line.difference == 0 for line in driver.audit())
    assert seen[0] > 1000
    return took, len(driver.exchange.registry.fills)


def place_ladder(driver: PaperDriver, symbol: str, number: int, orders: int) -> None:
    market = driver.exchange.markets[symbol]
    if market.touch is None:
        return
    instrument = market.instrument
    for step in range(orders):
        for side, price in ((Side.BUY, market.touch.bid), (Side.SELL, market.touch.ask)):
            exact = instrument.price_from_float(price * (1 - side.sign * 0.00005 * step))
            quantity = instrument.minimum_order_quantity(exact) * 2
            request = OrderRequest(
                f"{symbol}{side}{number}n{step}", "bench", symbol, side, OrderType.LIMIT, quantity, exact
            )
            driver.gateway.place(request, lambda answer: None)


def report(name: str, instruments: list[Instrument], batches: Batches, table: Table) -> None:
    count = sum(len(events) for _, events in batches)

    def middle(run: Callable[[], float]) -> float:
        times = []
        for _ in range(REPETITIONS):
            gc.collect()
            times.append(run())
        return median(times)

    floor = middle(lambda: floor_seconds(batches))
    fills = [0]

    def played(orders: int) -> float:
        took, fills[0] = paper_seconds(instruments, batches, orders)
        return took

    idle, busy = middle(lambda: played(0)), middle(lambda: played(4))
    for what, took in (("no own orders", idle), (f"8 own orders a symbol, {fills[0]:,} fills", busy)):
        table.add(
            f"paper matching, {name}, {what}",
            f"{count / took:,.0f}/s",
            f"<= {MOST:.0f} x",
            took / floor <= MOST,
            f"{count / floor:,.0f}/s",
            took / floor,
        )


def test_synthetic_market(table: Table) -> None:
    report("synthetic, 36 books", *synthetic_events(3_000, 30), table)


def test_recorded_market(shared_dir: Path, table: Table) -> None:
    report("recorded BTC perpetual", *recorded_events(shared_dir), table)


def test_generator(table: Table) -> None:
    """How fast the synthetic market itself makes events."""
    rates = []
    for _ in range(3):
        started = time.process_time()
        _, batches = synthetic_events(10_000, 5)
        rates.append(sum(len(events) for _, events in batches) / (time.process_time() - started))
    rate = median(rates)
    table.add("synthetic market, events made", f"{rate:,.0f}/s", f">= {LEAST_MADE:,}/s", rate >= LEAST_MADE)
