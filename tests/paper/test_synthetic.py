"""The synthetic market: the same for the same seed, and like a market."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from itertools import pairwise
from statistics import fmean

import numpy as np
import pytest

from drivers.paper.config import MemoryStore, PaperConfig
from drivers.paper.driver import PaperDriver
from drivers.paper.markets.catalogue import COINS
from drivers.paper.markets.fair import FairPrice, MarketFactor
from drivers.paper.markets.noise import Octaves, hashed, hashed_array, walk
from drivers.paper.markets.synthetic import SyntheticMarket
from engine.kernel.clock import NS_PER_S, Rng, VirtualClock
from engine.kernel.instruments import InstrumentKind
from engine.kernel.market import TIMEFRAME_MS, BookUpdate, FundingRate, MarkPrice, Quote, Ticker, Trade
from tests.paper.venue import START_NS

BTC, ETH, PEPE = "BTC-USDT-PERP", "ETH-USDT-PERP", "PEPE-USDT-PERP"


def played(seconds: float, seed: int = 1, start_ns: int = START_NS, **options) -> list:
    """Return the events of a market's first seconds."""
    market = SyntheticMarket(seed, start_ns, **options)
    events: list = []
    while (market.next_event_ns() or 0) < start_ns + seconds * NS_PER_S:
        events += market.step()
    return events


def venue(seed: int = 1, start_ns: int = START_NS) -> tuple[PaperDriver, VirtualClock]:
    clock = VirtualClock(start_ns)
    return PaperDriver(SyntheticMarket(seed, start_ns), clock, Rng(1), PaperConfig(), MemoryStore()), clock


def test_same_seed_same_market():
    assert played(20) == played(20)
    assert played(20) != played(20, seed=2)


def test_instruments_are_many_and_usable():
    listed = SyntheticMarket(1, START_NS).instruments()
    kinds = [instrument.kind for instrument in listed]
    assert kinds.count(InstrumentKind.PERP) >= 26 and kinds.count(InstrumentKind.SPOT) >= 8
    assert len({instrument.symbol for instrument in listed}) == len(listed)
    prices = {event.symbol: event.mark for event in played(0.1) if isinstance(event, MarkPrice)}
    for instrument in listed:
        if instrument.is_perp:
            price = Decimal(repr(prices[instrument.symbol]))
            assert instrument.tick_size / price < Decimal("0.0005"), f"{instrument.symbol}: tick is too coarse"
            assert instrument.minimum_order_quantity(price) * price <= 150
    assert prices[PEPE] < 1e-4 and 20_000 < prices[BTC] < 200_000


def test_books_are_whole_at_every_moment():
    driver, clock = venue()
    spreads: list[float] = []
    instruments = driver.exchange.instruments

    def check(quote) -> None:
        if isinstance(quote, Quote):
            assert 0 < quote.bid < quote.ask and quote.bid_size > 0 and quote.ask_size > 0
            spreads.append((quote.ask - quote.bid) / quote.bid)

    for symbol in instruments:
        driver.subscribe_ticks(symbol, check)
    driver.run_virtual(clock, START_NS + 60 * NS_PER_S)
    assert len(spreads) > 3_000 and fmean(spreads) < 0.001
    for symbol, instrument in instruments.items():
        book = driver.book(symbol)
        for levels in (book.bids, book.asks):
            assert 30 <= len(levels) <= 70, symbol
            for price, size in levels.items():
                assert instrument.price_from_float(price) == Decimal(repr(price)), "prices lie on the tick"
                assert instrument.quantity_from_float(size) == Decimal(repr(size)) > 0, "sizes lie on the lot"


def test_busier_markets_take_the_given_rate():
    for rate in (300, 3_000):
        moments = sum(isinstance(event, BookUpdate) for event in played(5, rate=rate))
        assert rate * 5 * 0.8 < moments < rate * 5 * 1.2


def test_focus_makes_an_instrument_busier():
    def share(**options) -> float:
        events = [event for event in played(10, **options) if isinstance(event, BookUpdate)]
        return sum(event.symbol == PEPE for event in events) / len(events)

    assert share(focus=(PEPE,)) > 2.5 * share()


def test_trades_are_of_both_sides_with_heavy_tails():
    trades = [event for event in played(120) if isinstance(event, Trade) and event.symbol == BTC]
    sizes = sorted(trade.size for trade in trades)
    assert 0.35 < fmean(trade.side == "buy" for trade in trades) < 0.65
    assert sizes[-1] > 8 * fmean(sizes) > 8 * sizes[len(sizes) // 2] * 1.2
    assert len({trade.id for trade in trades}) == len(trades)


def test_marks_funding_and_tickers_are_announced():
    events = played(15)
    assert {event.symbol for event in events if isinstance(event, Ticker)} == {
        instrument.symbol for instrument in SyntheticMarket(1, START_NS).instruments()
    }
    for event in events:
        if isinstance(event, FundingRate):
            assert abs(event.rate) < 0.003 and event.next_time % 28_800_000 == 0
            assert START_NS // 10**6 < event.next_time <= START_NS // 10**6 + 28_800_000
        if isinstance(event, Ticker):
            assert event.low_24h <= min(event.open_24h, event.last) <= max(event.open_24h, event.last) <= event.high_24h


def closes(market: SyntheticMarket, symbol: str, timeframe: str = "1m", count: int = 10_000) -> np.ndarray:
    return np.array([bar.close for bar in market.klines(symbol, timeframe, count, None, None)])


def test_returns_are_correlated_clustered_and_heavy_tailed():
    market = SyntheticMarket(1, START_NS)
    returns = {
        symbol: np.diff(np.log(closes(market, symbol))) for symbol in (BTC, ETH, "SOL-USDT-PERP", "WIF-USDT-PERP")
    }
    for symbol, series in returns.items():
        assert 0.01 < series.std() * 1_440**0.5 < 0.12, f"{symbol}: daily volatility"
        assert abs(np.corrcoef(series[1:], series[:-1])[0, 1]) < 0.1, "the direction is not foreseeable"
        size = np.abs(series)
        assert np.corrcoef(size[10:], size[:-10])[0, 1] > 0.08, "wild times stay wild"
        assert ((series / series.std()) ** 4).mean() > 4
        if symbol != BTC:
            assert 0.5 < np.corrcoef(series, returns[BTC])[0, 1] < 0.97


def test_candles_of_any_length_agree_and_nest():
    market = SyntheticMarket(1, START_NS)
    for timeframe, step in TIMEFRAME_MS.items():
        bars = market.klines(BTC, timeframe, 100, None, None)
        assert len(bars) == 100
        assert all(later.open_time - bar.open_time == step for bar, later in pairwise(bars))
        assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in bars)
        assert all(bar.close == later.open for bar, later in pairwise(bars))
        assert all(bar.closed for bar in bars[:-1]) and not bars[-1].closed
        assert bars[-1].open_time <= START_NS // 10**6 < bars[-1].open_time + step
    hour = market.klines(BTC, "1h", 3, None, None)[0]
    minutes = market.klines(BTC, "1m", 60, hour.open_time, None)
    assert (minutes[0].open, minutes[-1].close) == (hour.open, hour.close)
    assert (max(m.high for m in minutes), min(m.low for m in minutes)) == (hour.high, hour.low)


def test_candles_before_the_start_do_not_depend_on_it():
    later = SyntheticMarket(1, START_NS + 3_600 * NS_PER_S)
    first_ms = START_NS // 10**6 - 86_400_000
    both = [market.klines(ETH, "5m", 200, first_ms, None) for market in (SyntheticMarket(1, START_NS), later)]
    assert both[0] == both[1] and len(both[0]) == 200


def test_candles_join_the_live_market_without_a_jump():
    driver, clock = venue()
    driver.run_virtual(clock, START_NS)
    for symbol, most in ((BTC, 0.00005), (ETH, 0.0001), ("BTC-USDT", 0.00005), (PEPE, 0.0005)):
        cut = asyncio.run(driver.get_klines(symbol, "15m", 1))[0]
        assert driver.book(symbol).mid == pytest.approx(cut.close, rel=most), symbol
    driver.run_virtual(clock, START_NS + 150 * NS_PER_S)
    for symbol in (BTC, ETH, PEPE):
        bars = asyncio.run(driver.get_klines(symbol, "1m", 30))
        assert [later.open_time - bar.open_time for bar, later in pairwise(bars)] == [60_000] * 29
        usual = fmean(abs(bar.close / bar.open - 1) for bar in bars)
        for bar, later in pairwise(bars):
            assert abs(later.open / bar.close - 1) < max(usual, 0.0005), symbol
        volumes = [bar.quote_volume for bar in bars[-30:-1]]
        assert min(volumes) > 0


def test_a_restarted_market_stands_where_time_says():
    driver, clock = venue()
    driver.run_virtual(clock, START_NS + 600 * NS_PER_S)
    again, _ = venue(start_ns=START_NS + 600 * NS_PER_S)
    again.pump_until(START_NS + 600 * NS_PER_S)
    for symbol in (BTC, ETH):
        assert again.book(symbol).mid == pytest.approx(driver.book(symbol).mid, rel=0.0005)


def test_after_a_long_pause_the_market_goes_on_where_it_would_be():
    market = SyntheticMarket(1, START_NS)
    market.step()
    later_ns = START_NS + 7_200 * NS_PER_S
    market.skip_to(later_ns)
    events = market.step()
    assert market.next_event_ns() > later_ns
    fresh = [event for event in SyntheticMarket(1, later_ns).step() if isinstance(event, MarkPrice)]
    assert [event for event in events if isinstance(event, MarkPrice)] == fresh
    assert sum(isinstance(event, BookUpdate) and event.snapshot for event in events) == len(market.instruments())


def test_a_fair_price_is_the_same_at_one_moment_and_in_a_series():
    factor = MarketFactor(3)
    seconds = np.arange(1_700_000_000, 1_700_200_000, 997)
    for coin, perp in ((COINS[0], "a"), (COINS[5], None)):
        fair = FairPrice(3, coin, factor, perp)
        prices, vols = fair.series(seconds)
        moments = [fair.at(int(second)) for second in seconds]
        assert prices == pytest.approx([moment.price for moment in moments])
        assert vols == pytest.approx([moment.vol for moment in moments])
        assert max(vols) > 1.5 * min(vols)


def test_noise_is_the_same_at_one_moment_and_in_a_series():
    octaves = Octaves(7, walk(1e-4, range(0, 16)))
    seconds = np.arange(1_700_000_000, 1_700_000_500)
    assert octaves.series(seconds) == pytest.approx([octaves.at(int(second)) for second in seconds], abs=1e-15)
    numbers = hashed_array(99, seconds)
    assert list(numbers) == [hashed(99, int(second)) for second in seconds]
    assert numbers.min() >= -1 and numbers.max() < 1 and abs(numbers.mean()) < 0.1
