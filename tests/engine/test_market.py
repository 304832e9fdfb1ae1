"""What is known of a market's present."""

from __future__ import annotations

from typing import Any

from engine.kernel.clock import VirtualClock
from engine.kernel.event_bus import EventBus
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

    def subscribe_ticks(self, symbol: str, handler: Any) -> Any:
        self.tick = handler
        return lambda: None

    def subscribe_orderbook(self, symbol: str, handler: Any) -> Any:
        self.depth = handler
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
