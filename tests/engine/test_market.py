"""What is known of a market's present."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.kernel.clock import VirtualClock
from engine.kernel.event_bus import EventBus
from engine.kernel.instruments import InstrumentStatus
from engine.kernel.links import LinkState, LinkStatus
from engine.kernel.market import BookInvalid, BookSynced, Quote
from engine.kernel.orderbook import OrderBook
from engine.runtime.market import MarketData
from tests.paper.venue import PERP, START_NS, instruments


class Streams:
    """A driver of which a test sends every event."""

    venue = "test"

    def __init__(self) -> None:
        self.the_book = OrderBook(PERP)
        self.tick: Any = None
        self.depth: Any = None
        self.live_ns = START_NS
        self.asked: list[str] = []

    def links(self) -> list[LinkStatus]:
        return [LinkStatus("market", LinkState.LIVE, self.live_ns)]

    def remembered(self, symbol: str) -> None:
        return None

    def subscribe_ticks(self, symbol: str, handler: Any) -> Any:
        self.tick = handler
        self.asked.append(f"ticks {symbol}")
        return lambda: self.asked.append(f"no ticks {symbol}")

    def subscribe_orderbook(self, symbol: str, handler: Any) -> Any:
        self.depth = handler
        self.asked.append(f"depth {symbol}")
        return lambda: None

    def subscribe_trades(self, symbol: str, handler: Any) -> Any:
        return lambda: None

    def book(self, symbol: str) -> OrderBook:
        return self.the_book


def test_a_whole_book_fills_in_the_touch_that_the_venue_tells_only_when_it_changes() -> None:
    streams, bus = Streams(), EventBus()
    market = MarketData(streams, VirtualClock(START_NS), bus)  # type: ignore[arg-type]
    market.set_instruments(instruments())
    told: list[Quote] = []
    bus.subscribe(Quote, told.append)
    market.watch(PERP)
    streams.depth(BookInvalid(PERP, None, "gap"))
    assert market.quote(PERP) is None
    streams.the_book.load([(99.0, 1.0), (98.0, 2.0)], [(101.0, 3.0)], 1)
    streams.depth(BookSynced(PERP, 1))
    quote = market.quote(PERP)
    assert quote is not None and (quote.bid, quote.bid_size, quote.ask, quote.ask_size) == (99.0, 1.0, 101.0, 3.0)
    assert told == [quote]
    streams.tick(Quote(PERP, 2, 99.5, 1.0, 100.5, 1.0))
    streams.depth(BookSynced(PERP, 3))
    assert market.quote(PERP) == told[-1] and told[-1].bid == 99.5, "what the venue tells comes first"


@pytest.fixture
def deaf() -> tuple[Streams, MarketData, VirtualClock]:
    """A watched market on a live connection, on which nothing comes."""
    streams, clock = Streams(), VirtualClock(START_NS)
    market = MarketData(streams, clock, EventBus())  # type: ignore[arg-type]
    market.set_instruments(instruments())
    market.watch(PERP, depth=False)
    return streams, market, clock


def renewed(market: MarketData, clock: VirtualClock, seconds: int) -> list[int]:
    """Let time pass and return after how many seconds the silent stream was begun anew."""
    found = []
    for second in range(seconds):
        market.renew()
        clock.advance(1)
        if market.end_deaf():
            found.append(second)
    market.renew()
    return found


def test_a_new_connection_is_given_as_little_time_as_the_first(deaf: tuple[Streams, MarketData, VirtualClock]) -> None:
    streams, market, clock = deaf
    assert renewed(market, clock, 600) == [30, 91, 212, 453], "a market may just be quiet"
    streams.live_ns = clock.now_ns()
    assert renewed(market, clock, 100) == [30, 91]


def test_what_is_to_rest_before_it_is_asked_for_anew_is_asked_for_by_nobody_meanwhile(
    deaf: tuple[Streams, MarketData, VirtualClock],
) -> None:
    streams, market, clock = deaf
    clock.advance(31)
    assert market.end_deaf() == [PERP]
    market.set_instruments(instruments())
    assert streams.asked == [f"ticks {PERP}", f"no ticks {PERP}"]
    market.renew()
    assert streams.asked[2:] == [f"ticks {PERP}"], "and without a depth that nobody wanted"
    clock.advance(61)
    assert market.end_deaf() == [PERP]
    market.watch(PERP)
    assert len(streams.asked) == 4
    market.renew()
    assert streams.asked[4:] == [f"ticks {PERP}", f"depth {PERP}"], "with what was wanted meanwhile"


def test_what_does_not_trade_is_silent_and_left_alone(deaf: tuple[Streams, MarketData, VirtualClock]) -> None:
    _, market, clock = deaf
    market.set_instruments([replace(each, status=InstrumentStatus.SUSPENDED) for each in instruments()])
    assert renewed(market, clock, 300) == []
    market.set_instruments([each for each in instruments() if each.symbol != PERP])
    assert renewed(market, clock, 300) == []
    market.set_instruments(instruments())
    assert renewed(market, clock, 10) == [0]


def test_what_the_venue_comes_to_list_is_streamed_as_it_was_wanted(
    deaf: tuple[Streams, MarketData, VirtualClock],
) -> None:
    streams, market, _ = deaf
    gone = f"GONE-{PERP}"
    market.instruments[gone] = replace(instruments()[0], symbol=gone, status=InstrumentStatus.DELISTED)
    market.watch(gone, depth=False)
    assert streams.asked == [f"ticks {PERP}"]
    market.set_instruments([*instruments(), replace(instruments()[0], symbol=gone)])
    assert streams.asked[1:] == [f"ticks {gone}"]
