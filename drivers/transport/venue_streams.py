"""What a driver streams: who listens to which public stream, to the account, to the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from functools import lru_cache

from drivers.transport.books import BookKeeper
from drivers.transport.setup import Log
from drivers.transport.subscriptions import Handler, Topics
from drivers.transport.venue_calls import Topic, VenueCalls
from engine.kernel.clock import Clock
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
    Unparsed,
)
from engine.kernel.syscalls import AccountEvent, BookEvent, TickEvent, Unsubscribe

_BOOK = (BookUpdate, BookSynced, BookInvalid)
_TICKS = (Quote, Ticker, MarkPrice, FundingRate)
_topic = lru_cache(maxsize=8192)(Topic)


class VenueStreams:
    """Routes a venue's events to those who listen.

    Args:
        venue: Name for messages.
        calls: Told of first and last listeners, and which book to ask for anew.
        clock: Time and timers.
        log: Takes lines for the operator.

    Attributes:
        topics: Who listens to which public stream.
        books: The live books.
        unparsed_count: Messages that could not be understood.
    """

    def __init__(self, venue: str, calls: VenueCalls, clock: Clock, log: Log) -> None:
        self._venue = venue
        self._calls = calls
        self._clock = clock
        self._log = log
        self.topics: Topics[Topic] = Topics(self._followed, self._unfollowed)
        self.books = BookKeeper(clock, self._resync, self._publish_book)
        self._left_out: Set[str] = frozenset()
        self.unparsed_count = 0
        self._known: dict[str, dict[type, TickEvent]] = {}
        self._account: tuple[Callable[[AccountEvent], None], ...] = ()
        self._raw: tuple[Callable[[bytes], None], ...] = ()

    def leave_out(self, symbols: Set[str]) -> None:
        """Ask the venue for nothing of these symbols, whoever listens: it does not list them.

        A stream that does not exist would be refused at each new connection. What is listed again is followed again.
        """
        before, self._left_out = self._left_out, symbols
        for topic in self.topics.active:
            is_out = topic.symbol in symbols
            if is_out and topic.symbol not in before:
                self._calls.unfollow(topic)
            elif not is_out and topic.symbol in before:
                self._calls.follow(topic)

    def ticks(self, symbol: str, handler: Callable[[TickEvent], None]) -> Unsubscribe:
        """Stream quotes, tickers, mark prices and funding rates; what is known already comes first, but later."""
        return self._subscribe(Topic("ticks", symbol), handler, lambda: self._known.get(symbol, {}).values())

    def orderbook(self, symbol: str, handler: Callable[[BookEvent], None]) -> Unsubscribe:
        """Stream book changes; a book that is complete already is announced first, but later."""
        book = self.books.book(symbol)
        return self._subscribe(
            Topic("book", symbol), handler, lambda: [BookSynced(symbol, book.ts)] if book.valid else []
        )

    def raw(self, handler: Callable[[bytes], None]) -> Unsubscribe:
        """Stream the public wire messages."""
        self._raw = (*self._raw, handler)

        def unsubscribe() -> None:
            self._raw = tuple(each for each in self._raw if each is not handler)

        return unsubscribe

    def account(self, handler: Callable[[AccountEvent], None]) -> Unsubscribe:
        """Stream the events of the account."""
        self._account = (*self._account, handler)

        def unsubscribe() -> None:
            self._account = tuple(each for each in self._account if each is not handler)

        return unsubscribe

    @property
    def account_heard(self) -> bool:
        """Return whether anybody listens to the account."""
        return bool(self._account)

    @property
    def raw_heard(self) -> bool:
        """Return whether anybody records the public wire messages."""
        return bool(self._raw)

    def on_raw(self, payload: bytes) -> None:
        """Pass a public wire message on to who records it."""
        for handler in self._raw:
            handler(payload)

    def on_account(self, event: AccountEvent) -> None:
        """Pass an event of this account on."""
        for handler in self._account:
            handler(event)

    def on_market(self, events: Iterable[MarketEvent]) -> None:
        """Apply and pass on what a decoder made of one public message."""
        for event in events:
            if isinstance(event, _BOOK):
                self.books.apply(event.symbol, (event,))
            elif isinstance(event, _TICKS):
                topic = _topic("ticks", event.symbol)
                if self.topics.has(topic):
                    self._known.setdefault(event.symbol, {})[type(event)] = event
                    self.topics.publish(topic, event)
            elif isinstance(event, Trade):
                self.topics.publish(_topic("trades", event.symbol), event)
            elif isinstance(event, Bar):
                self.topics.publish(_topic("klines", event.symbol, event.timeframe), event)
            else:
                self._on_unparsed(event)

    def _on_unparsed(self, event: Unparsed) -> None:
        self.unparsed_count += 1
        if self.unparsed_count in (1, 10, 100) or self.unparsed_count % 1000 == 0:
            text = f"{self._venue}: {self.unparsed_count} messages could not be understood; the last: {event.reason}"
            self._log("warning", f"{text}: {event.raw}")

    def _subscribe(self, topic: Topic, handler: Handler, known: Callable[[], Iterable[object]]) -> Unsubscribe:
        remove = self.topics.add(topic, handler)
        active = True

        def first() -> None:
            for event in list(known()):
                if active:
                    handler(event)

        def unsubscribe() -> None:
            nonlocal active
            active = False
            remove()

        self._clock.call_at(self._clock.now_ns(), first)
        return unsubscribe

    def _publish_book(self, symbol: str, event: BookEvent) -> None:
        self.topics.publish(_topic("book", symbol), event)

    def _unfollowed(self, topic: Topic) -> None:
        if topic.kind == "ticks":
            self._known.pop(topic.symbol, None)
        elif topic.kind == "book":
            self.books.forget(topic.symbol)
        if topic.symbol not in self._left_out:
            self._calls.unfollow(topic)

    def _followed(self, topic: Topic) -> None:
        if topic.symbol not in self._left_out:
            self._calls.follow(topic)

    def _resync(self, symbol: str, reason: str) -> None:
        if symbol not in self._left_out:
            self._calls.resync(symbol, reason)
