"""Public streams: every kind of event, in canonical symbols and coins, only while somebody listens."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from engine.kernel.market import Bar, BookSynced, BookUpdate, FundingRate, MarkPrice, Quote, Ticker, Trade
from engine.kernel.orders import Side
from tests.venues.conformance.rig import BOOKS, Rig


class Heard:
    """Events in order of arrival."""

    def __init__(self) -> None:
        self.all: list[Any] = []

    def __call__(self, event: Any) -> None:
        self.all.append(event)

    def of(self, kind: type) -> list[Any]:
        """Return the events of one type."""
        return [event for event in self.all if isinstance(event, kind)]


async def test_ticks_bring_quotes_marks_funding_and_tickers(rig: Rig):
    heard = Heard()
    stop = rig.driver.subscribe_ticks(rig.perp, heard)
    assert heard.all == [], "nothing comes on the caller's stack"

    async def complete() -> None:
        rig.stage.print(rig.perp, 60010.0, 0.001, Side.BUY)
        await rig.wind(1.0)

    for _ in range(30):
        await complete()
        if all(heard.of(kind) for kind in (Quote, MarkPrice, FundingRate, Ticker)):
            break
    rig.stage.book(rig.perp, [(60_001.0, 3.0)], [], snapshot=False)
    rig.stage.mark(rig.perp, 60_002.5, 60_001.5)
    await rig.until(lambda: heard.of(Quote) and heard.of(Quote)[-1].bid == 60_001.0)
    quote = heard.of(Quote)[-1]
    assert (quote.bid_size, quote.ask, quote.ask_size) == (3.0, 60_010.0, 2.0)
    await rig.until(lambda: heard.of(MarkPrice)[-1].mark == 60_002.5, alive=False)
    assert heard.of(MarkPrice)[-1].index == pytest.approx(60_001.5)
    funding, truth = heard.of(FundingRate)[-1], rig.exchange.market(rig.perp).funding
    assert truth is not None
    assert (funding.rate, funding.period_h, funding.next_time) == (0.0001, truth.period_h, truth.next_time)
    assert heard.of(Ticker)[-1].last == 60_010.0
    assert {event.symbol for event in heard.all} == {rig.perp}
    assert all(abs(event.ts - rig.clock.now_ms()) < 120_000 for event in heard.all)
    stop()
    count = len(heard.all)
    rig.stage.book(rig.perp, [(60_002.0, 3.0)], [], snapshot=False)
    await rig.wind(2.0)
    assert len(heard.all) == count


async def test_a_quiet_market_shows_its_quote_all_the_same(rig: Rig):
    for symbol in (rig.perp, rig.tiny, rig.spot):
        heard = Heard()
        rig.driver.subscribe_ticks(symbol, heard)
        await rig.until(lambda heard=heard: heard.of(Quote))
        bids, asks = BOOKS[symbol.partition("-")[0]]
        quote = heard.of(Quote)[0]
        assert (quote.symbol, quote.bid, quote.ask) == (symbol, pytest.approx(bids[0][0]), pytest.approx(asks[0][0]))
        assert (quote.bid_size, quote.ask_size) == (pytest.approx(bids[0][1]), pytest.approx(asks[0][1]))
        assert abs(quote.ts - rig.clock.now_ms()) < 120_000


async def test_what_is_known_comes_first_to_a_late_listener(rig: Rig):
    early, late = Heard(), Heard()
    rig.driver.subscribe_ticks(rig.perp, early)
    await rig.wind(2.0)
    rig.stage.book(rig.perp, [(60_001.0, 3.0)], [], snapshot=False)
    await rig.until(lambda: early.of(Quote) and early.of(Quote)[-1].bid == 60_001.0 and early.of(MarkPrice), alive=True)
    rig.driver.subscribe_ticks(rig.perp, late)
    assert late.all == []
    await rig.until(lambda: late.of(Quote) and late.of(MarkPrice))
    assert late.of(Quote)[0].bid == 60_001.0


async def test_trades_carry_the_aggressors_side(rig: Rig):
    heard, tiny = Heard(), Heard()
    rig.driver.subscribe_trades(rig.perp, heard)
    rig.driver.subscribe_trades(rig.tiny, tiny)
    await rig.wind(1.0)
    rig.stage.print(rig.perp, 60010.0, 0.25, Side.BUY)
    rig.stage.print(rig.perp, 60000.0, 0.5, Side.SELL)
    rig.stage.print(rig.tiny, 0.00001, 3e6, Side.SELL)
    await rig.until(lambda: len(heard.all) >= 2 and tiny.all)
    assert all(isinstance(trade, Trade) for trade in heard.all)
    assert [(t.symbol, t.price, t.size, t.side) for t in heard.all[-2:]] == [
        (rig.perp, 60010.0, 0.25, Side.BUY),
        (rig.perp, 60000.0, 0.5, Side.SELL),
    ]
    assert heard.all[-1].id != heard.all[-2].id
    assert (tiny.all[-1].symbol, tiny.all[-1].price) == (rig.tiny, pytest.approx(0.00001))
    assert tiny.all[-1].size == pytest.approx(3e6)


async def test_a_followed_book_is_the_venues(rig: Rig):
    for symbol in (rig.perp, rig.tiny, rig.spot):
        heard = Heard()
        rig.driver.subscribe_orderbook(symbol, heard)
        book = rig.driver.book(symbol)
        await rig.until(lambda book=book: book.valid)
        await rig.until(lambda heard=heard: heard.of(BookSynced))
        bids, asks = BOOKS[symbol.partition("-")[0]]
        truth = rig.exchange.market(symbol).book
        _same_book(book, truth)
        rig.stage.book(symbol, [(bids[0][0], bids[0][1] / 2), (bids[1][0], 0.0)], [(asks[0][0], 0.0)], snapshot=False)
        await rig.until(lambda book=book, ask=asks[1][0]: book.best_ask == pytest.approx(ask))
        _same_book(book, truth)
        assert heard.of(BookUpdate)
        assert {event.symbol for event in heard.all} == {symbol}
    late = Heard()
    rig.driver.subscribe_orderbook(rig.perp, late)
    await rig.until(lambda: isinstance(late.all[0] if late.all else None, BookSynced))


def _same_book(ours: Any, truth: Any) -> None:
    for mine, theirs in ((ours.top_bids(10), truth.top_bids(10)), (ours.top_asks(10), truth.top_asks(10))):
        assert [price for price, _ in mine] == pytest.approx([price for price, _ in theirs])
        assert [size for _, size in mine] == pytest.approx([size for _, size in theirs])


async def test_a_book_that_nobody_follows_is_not_valid(rig: Rig):
    if rig.emulator is None:
        pytest.skip("the paper venue keeps its own books")
    stop = rig.driver.subscribe_orderbook(rig.perp, lambda event: None)
    await rig.until(lambda: rig.driver.book(rig.perp).valid)
    stop()
    assert not rig.driver.book(rig.perp).valid
    rig.driver.subscribe_orderbook(rig.perp, lambda event: None)
    await rig.until(lambda: rig.driver.book(rig.perp).valid)


async def test_candles_form_and_close_once(rig: Rig):
    heard: list[Bar] = []
    rig.driver.subscribe_klines(rig.perp, "1m", heard.append)
    await rig.wind(1.0)
    begun = rig.clock.now_ms() // 60_000 * 60_000
    for price in (60_005.0, 60_020.0, 60_001.0):
        rig.stage.print(rig.perp, price, 0.1, Side.BUY)
        await rig.wind(2.0)
    while rig.clock.now_ms() < begun + 63_000:
        await rig.wind(1.0)
    rig.stage.print(rig.perp, 60_003.0, 0.1, Side.BUY)
    await rig.wind(3.0)
    await rig.until(lambda: [bar for bar in heard if bar.closed and bar.open_time == begun], alive=True)
    closed = [bar for bar in heard if bar.closed and bar.open_time == begun]
    assert len(closed) == 1
    bar = closed[0]
    assert (bar.symbol, bar.timeframe, bar.high, bar.close) == (rig.perp, "1m", 60_020.0, 60_001.0)
    assert bar.base_volume >= 0.3 - 1e-9
    forming = [bar for bar in heard if not bar.closed and bar.open_time == begun]
    assert forming, "a candle is told while it forms"
    await rig.until(lambda: heard[-1].open_time == begun + 60_000, alive=True)


async def test_raw_messages_are_what_decode_reads(wired: Rig):
    raw: list[bytes] = []
    wired.driver.subscribe_raw(raw.append)
    wired.driver.subscribe_orderbook(wired.perp, lambda event: None)
    wired.driver.subscribe_trades(wired.perp, lambda event: None)
    await wired.until(lambda: wired.driver.book(wired.perp).valid)
    wired.stage.book(wired.perp, [(60_001.0, 3.0)], [], snapshot=False)
    wired.stage.print(wired.perp, 60010.0, 0.25, Side.BUY)
    await wired.until(lambda: wired.driver.book(wired.perp).best_bid == 60_001.0)
    await wired.wind(1.0)
    decoder = importlib.import_module(f"drivers.{wired.venue}").make_decoder()
    events = [event for payload in raw for event in decoder.feed(payload)]
    assert any(isinstance(event, BookSynced) and event.symbol == wired.perp for event in events)
    assert any(isinstance(event, Trade) and event.price == 60010.0 for event in events)
