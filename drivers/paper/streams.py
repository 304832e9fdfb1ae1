"""Subscriptions to the paper venue's market and account."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from drivers.paper.candles import Candles
from drivers.paper.channel import Channel
from engine.kernel.clock import Clock
from engine.kernel.errors import UnknownSymbol
from engine.kernel.market import Bar, BookSynced, BookUpdate, MarkPrice, Quote, Trade, Unparsed
from engine.kernel.syscalls import AccountEvent, BookEvent, TickEvent, Unsubscribe

T = TypeVar("T")


class Streams:
    """Who listens to what.

    Args:
        channels: State and subscribers of every instrument, by symbol.
        candles: Where candle streams begin.
        clock: Venue time.

    Attributes:
        unparsed_count: Raw messages of the market that could not be understood.
    """

    def __init__(self, channels: Mapping[str, Channel], candles: Candles, clock: Clock) -> None:
        self._channels = channels
        self._candles = candles
        self._clock = clock
        self._account: tuple[Callable[[AccountEvent], None], ...] = ()
        self.unparsed_count = 0

    def ticks(self, symbol: str, handler: Callable[[TickEvent], None]) -> Unsubscribe:
        """Stream quotes, tickers, mark prices and funding rates; what is known already comes first, but later."""
        channel = self._channel(symbol)
        channel.ticks = (*channel.ticks, handler)
        active = [True]

        def first() -> None:
            market = channel.market
            known: list[TickEvent | None] = [market.touch, market.funding, market.ticker]
            if market.mark is not None:
                index = market.index if market.index is not None else market.mark
                known.append(MarkPrice(symbol, self._clock.now_ms(), market.mark, index))
            for event in known:
                if event is not None and active[0]:
                    handler(event)

        def unsubscribe() -> None:
            active[0] = False
            channel.ticks = without(channel.ticks, handler)

        self._clock.call_at(self._clock.now_ns(), first)
        return unsubscribe

    def orderbook(self, symbol: str, handler: Callable[[BookEvent], None]) -> Unsubscribe:
        """Stream book changes; a book that is complete already is announced first, but later."""
        channel = self._channel(symbol)
        channel.books = (*channel.books, handler)
        active = [True]

        def first() -> None:
            book = channel.market.book
            if active[0] and book.valid:
                handler(BookSynced(symbol, book.ts))

        def unsubscribe() -> None:
            active[0] = False
            channel.books = without(channel.books, handler)

        self._clock.call_at(self._clock.now_ns(), first)
        return unsubscribe

    def klines(self, symbol: str, timeframe: str, handler: Callable[[Bar], None]) -> Unsubscribe:
        """Stream candles about once a second while they form; closed ones once."""
        streams = self._channel(symbol).streams
        stream = self._candles.stream(symbol, timeframe)
        stream.handlers = (*stream.handlers, handler)

        def unsubscribe() -> None:
            stream.handlers = without(stream.handlers, handler)
            if not stream.handlers and streams.get(timeframe) is stream:
                del streams[timeframe]

        return unsubscribe

    def trades(self, symbol: str, handler: Callable[[Trade], None]) -> Unsubscribe:
        """Stream public trades."""
        channel = self._channel(symbol)
        channel.trades = (*channel.trades, handler)

        def unsubscribe() -> None:
            channel.trades = without(channel.trades, handler)

        return unsubscribe

    def account(self, handler: Callable[[AccountEvent], None]) -> Unsubscribe:
        """Stream account events."""
        self._account = (*self._account, handler)

        def unsubscribe() -> None:
            self._account = without(self._account, handler)

        return unsubscribe

    def on_unparsed(self, event: Unparsed) -> None:
        """Count a raw message that could not be understood."""
        self.unparsed_count += 1

    def deliver(self, public: Iterable[BookUpdate | Quote], events: Iterable[AccountEvent]) -> None:
        """Deliver what an operation on the exchange brought about: public changes, then account events."""
        for change in public:
            channel = self._channels[change.symbol]
            if type(change) is BookUpdate:
                for books in channel.books:
                    books(change)
            elif type(change) is Quote:
                for ticks in channel.ticks:
                    ticks(change)
        for event in events:
            for receive in self._account:
                receive(event)

    def _channel(self, symbol: str) -> Channel:
        channel = self._channels.get(symbol)
        if channel is None:
            raise UnknownSymbol(f"{symbol!r} is not listed on the paper venue")
        return channel


def without(handlers: tuple[T, ...], handler: T) -> tuple[T, ...]:
    """Return the tuple less one occurrence of the handler."""
    kept = list(handlers)
    if handler in kept:
        kept.remove(handler)
    return tuple(kept)
