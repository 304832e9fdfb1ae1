"""From Backpack's public messages to market events, keeping each symbol's depth sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from drivers.backpack.bars import bar_of
from drivers.backpack.symbols import Listing, arch, parse_native
from drivers.backpack.values import ms_of
from drivers.backpack.wire import (
    BookTicker,
    DayTicker,
    Depth,
    DepthSnapshot,
    Kline,
    MarkPriceUpdate,
    PublicMessage,
    TradePrint,
)
from drivers.transport.depth import DepthSync
from drivers.transport.line_decoder import Undecodable
from drivers.transport.thousands import coin_levels, coins
from engine.kernel.market import TIMEFRAME_MS, Bar, FundingRate, MarketEvent, MarkPrice, Quote, Ticker, Trade
from engine.kernel.orders import Side


class MarketFeed:
    """What is remembered of one symbol between messages.

    Attributes:
        listing: The symbol's names.
        sync: The state of its book.
        last_bars: The last candle of each length.
        quoted_us: Time of the last best bid and ask, µs.
    """

    __slots__ = ("last_bars", "listing", "quoted_us", "sync")

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.sync = DepthSync(listing.symbol)
        self.last_bars: dict[str, Bar] = {}
        self.quoted_us = 0


class PublicFeed:
    """Turns public messages into events.

    Args:
        period_h: Returns the hours between funding payments of a canonical symbol, None for the venue's usual.

    Attributes:
        markets: What is remembered, by native symbol.
    """

    def __init__(self, period_h: Callable[[str], int | None] = lambda symbol: None) -> None:
        self.markets: dict[str, MarketFeed] = {}
        self._period_h = period_h
        self._handlers: dict[type, Callable[[Any, str], list[MarketEvent]]] = {
            Depth: self._on_depth,
            BookTicker: self._on_book_ticker,
            TradePrint: self._on_trade,
            Kline: self._on_kline,
            MarkPriceUpdate: self._on_mark_price,
            DayTicker: self._on_day_ticker,
        }

    def market(self, native: str) -> MarketFeed:
        """Return what is remembered of a symbol.

        Raises:
            UnknownSymbol: It is not a spot pair or perpetual.
        """
        market = self.markets.get(native)
        if market is None:
            market = self.markets[native] = MarketFeed(parse_native(native))
        return market

    def take(self, message: PublicMessage, stream: str) -> list[MarketEvent]:
        """Return the events of a message; `stream` is the name it came under.

        Raises:
            Undecodable: Its fields contradict each other.
            UnknownSymbol: It is about a market that cannot be named.
        """
        return self._handlers[type(message)](message, stream)

    def snapshot(self, native: str, message: DepthSnapshot) -> list[MarketEvent]:
        """Return the events that a REST snapshot of a symbol's book leads to."""
        market = self.market(native)
        by = market.listing.multiplier
        bids, asks = coin_levels(message.bids, by), coin_levels(message.asks, by)
        return market.sync.snapshot(message.lastUpdateId, message.ts, bids, asks)

    def first_quote(self, native: str, message: DepthSnapshot) -> list[MarketEvent]:
        """Return the best bid and ask of a REST book, unless the stream told newer ones or a side is empty.

        The stream tells them when they change, which in a quiet market may take long.
        """
        market, time_us = self.market(native), message.timestamp or 0
        if time_us <= market.quoted_us or not message.bids or not message.asks:
            return []
        return self._quote(market, time_us, max(message.bids), min(message.asks))

    def lose_books(self) -> None:
        """Every book waits for a new snapshot: the stream broke off."""
        for market in self.markets.values():
            market.sync.lose()

    def _on_depth(self, message: Depth, stream: str) -> list[MarketEvent]:
        if message.u < message.U:
            raise Undecodable(f"depth: u {message.u} is before U {message.U}", message.s)
        market = self.markets.get(message.s) or self.market(message.s)
        by = market.listing.multiplier
        bids, asks = coin_levels(message.b, by), coin_levels(message.a, by)
        return market.sync.update(message.U - 1, message.u, (message.T or message.E) // 1000, bids, asks)

    def _on_book_ticker(self, message: BookTicker, stream: str) -> list[MarketEvent]:
        market = self.market(message.s)
        if not message.b or not message.a:
            return []
        bid, ask = (message.b, message.B or 0.0), (message.a, message.A or 0.0)
        return self._quote(market, message.T or message.E, bid, ask)

    def _quote(
        self, market: MarketFeed, time_us: int, bid: tuple[float, float], ask: tuple[float, float]
    ) -> list[MarketEvent]:
        market.quoted_us = time_us
        listing = market.listing
        (bid_price, bid_size), (ask_price, ask_size) = coin_levels([bid, ask], listing.multiplier)
        return [Quote(listing.symbol, time_us // 1000, bid_price, bid_size, ask_price, ask_size)]

    def _on_trade(self, message: TradePrint, stream: str) -> list[MarketEvent]:
        listing = self.market(message.s).listing
        price, size = coins(message.p, message.q, listing.multiplier)
        side = Side.SELL if message.m else Side.BUY
        return [Trade(listing.symbol, (message.T or message.E) // 1000, price, size, side, str(message.t))]

    def _on_kline(self, message: Kline, stream: str) -> list[MarketEvent]:
        market = self.market(message.s)
        timeframe = stream.split(".")[1] if stream.count(".") >= 2 else ""
        if timeframe not in TIMEFRAME_MS:
            raise Undecodable(f"kline: interval {timeframe[:10]!r} is not one of {', '.join(TIMEFRAME_MS)}", message.s)
        try:
            open_time = ms_of(message.t)
        except ValueError as error:
            raise Undecodable(f"kline: t {message.t[:40]!r} is not a time", message.s) from error
        before = market.last_bars.get(timeframe)
        if before is not None and (before.open_time > open_time or (before.open_time == open_time and before.closed)):
            return []
        prices, volumes = (message.o, message.h, message.l, message.c), (message.v, message.V)
        last_close = before.close if before is not None else None
        ts = message.E // 1000
        bar = bar_of(market.listing, timeframe, open_time, prices, volumes, message.X, ts, last_close)
        if bar is None:
            return []
        market.last_bars[timeframe] = bar
        return [bar]

    def _on_mark_price(self, message: MarkPriceUpdate, stream: str) -> list[MarketEvent]:
        listing = self.market(message.s).listing
        ts, by = (message.T or message.E) // 1000, listing.multiplier
        mark = coins(message.p, 0.0, by)[0]
        index = coins(message.i, 0.0, by)[0] if message.i is not None else mark
        events: list[MarketEvent] = [MarkPrice(listing.symbol, ts, mark, index)]
        if message.f is not None and message.n is not None:
            period_h = self._period_h(listing.symbol) or arch().extra["funding_period_h"]
            events.append(FundingRate(listing.symbol, ts, message.f, period_h, message.n))
        return events

    def _on_day_ticker(self, message: DayTicker, stream: str) -> list[MarketEvent]:
        listing = self.market(message.s).listing
        if not message.c:
            return []
        prices = (message.c, message.o or message.c, message.h or message.c, message.l or message.c)
        last, first, high, low = (coins(price, 0.0, listing.multiplier)[0] for price in prices)
        return [Ticker(listing.symbol, message.E // 1000, last, first, high, low, message.V)]
