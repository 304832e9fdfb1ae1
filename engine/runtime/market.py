"""The newest market data of every watched instrument, passed on to the bus by direct call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from engine.kernel.clock import NS_PER_MS, NS_PER_S, Clock
from engine.kernel.errors import UnknownSymbol
from engine.kernel.event_bus import EventBus
from engine.kernel.instruments import Instrument, InstrumentStatus, unlisted_instrument
from engine.kernel.links import LinkState, LinkStatus
from engine.kernel.market import BookInvalid, BookUpdate, FundingRate, MarkPrice, Quote, Ticker, Trade
from engine.kernel.orderbook import OrderBook
from engine.kernel.syscalls import BookEvent, Driver, TickEvent, Unsubscribe

STALE_MS = 10_000
PRINTS_LOST_NS = 15 * NS_PER_S
"""Longer than a venue is silent about a mark price that rests: OKX tells it at least every 10 s."""
RENEW_NS = 30 * NS_PER_S
"""So long a price may stay away on connections that live again."""
_NOT_MARKET = ("rest", "private", "trade")


class _View:
    """What is known of one instrument; times are engine time, 0 before the first message.

    `printed_ns` is when the last mark price was received; where there is none, as on spot, the last trade.
    """

    __slots__ = (
        "are_prints_lost",
        "book_broken",
        "funding",
        "last",
        "mark",
        "patience_ns",
        "printed_ns",
        "quote",
        "received_ns",
        "renewed_ns",
        "ticker",
        "trade",
    )

    def __init__(self) -> None:
        self.quote: Quote | None = None
        self.mark: MarkPrice | None = None
        self.funding: FundingRate | None = None
        self.ticker: Ticker | None = None
        self.trade: Trade | None = None
        self.last: float | None = None
        self.received_ns = 0
        self.printed_ns = 0
        self.are_prints_lost = False
        self.renewed_ns = 0
        self.patience_ns = RENEW_NS
        self.book_broken = False


class MarketData:
    """Watches instruments and answers from memory.

    Args:
        driver: Where the streams come from.
        clock: Engine time; the age of data is judged by when it was received.
        bus: Carries every market event on.

    Attributes:
        instruments: Every instrument of the venue, by canonical symbol.
        instruments_ns: Engine time at which they were read from the venue.
    """

    def __init__(self, driver: Driver, clock: Clock, bus: EventBus) -> None:
        self.instruments: dict[str, Instrument] = {}
        self.instruments_ns = clock.now_ns()
        self._driver = driver
        self._clock = clock
        self._bus = bus
        self._views: dict[str, _View] = {}
        self._ticks: dict[str, Unsubscribe] = {}
        self._depth: dict[str, tuple[Unsubscribe, Unsubscribe]] = {}
        self._unknown: dict[str, bool] = {}
        self._ended: dict[str, bool] = {}
        self._listed: frozenset[str] = frozenset()
        self._last_prices: dict[str, float] = {}

    def set_instruments(self, instruments: Sequence[Instrument]) -> list[str]:
        """Take over the venue's list of instruments; one that is not listed any more stays known as delisted.

        What the list names as delisted, as some venues do for years, is not listed either.

        Returns:
            What was listed before and is no more.
        """
        known = {instrument.symbol: instrument for instrument in instruments}
        listed = (each.symbol for each in instruments if each.status is not InstrumentStatus.DELISTED)
        before, self._listed = self._listed, frozenset(listed)
        for symbol, instrument in self.instruments.items():
            if symbol not in known:
                known[symbol] = replace(instrument, status=InstrumentStatus.DELISTED)
        self.instruments.clear()
        self.instruments.update(known)
        self.instruments_ns = self._clock.now_ns()
        self._last_prices = {
            symbol: price for symbol, price in self._last_prices.items() if not self.is_trading(symbol)
        }
        for symbol in sorted(self._unknown.keys() & self._listed):
            self.watch(symbol, self._unknown.pop(symbol))
        return sorted(before - self._listed)

    def is_listed(self, symbol: str) -> bool:
        """Return whether the venue lists an instrument at present, and not as delisted."""
        return symbol in self._listed

    def is_trading(self, symbol: str) -> bool:
        """Return whether an instrument is listed and not suspended."""
        instrument = self.instruments.get(symbol)
        return instrument is not None and instrument.status is InstrumentStatus.TRADING

    def keep(self, symbol: str) -> None:
        """Know an instrument, as delisted, though the venue does not list it: something of ours names it."""
        instrument = self._driver.remembered(symbol) or unlisted_instrument(symbol, self._driver.venue)
        self.instruments[symbol] = replace(instrument, status=InstrumentStatus.DELISTED)

    def stand_in(self, symbol: str, price: float) -> None:
        """Take a price for an instrument that has none and does not trade; a price of the venue counts more."""
        self._last_prices[symbol] = price

    def instrument(self, symbol: str) -> Instrument:
        """Return an instrument.

        Raises:
            UnknownSymbol: The venue does not list it.
        """
        try:
            return self.instruments[symbol]
        except KeyError:
            venue = self._driver.venue
            raise UnknownSymbol(f"{venue} does not list {symbol!r}; names look like BTC-USDT-PERP") from None

    def watch(self, symbol: str, depth: bool = True) -> None:
        """Begin to stream an instrument, with its book and trades unless `depth` is False; harmless when it streams.

        Raises:
            UnknownSymbol: The venue does not list it.
        """
        self.instrument(symbol)
        view = self._views.setdefault(symbol, _View())
        if symbol in self._ended:
            self._ended[symbol] |= depth
            return
        if symbol not in self._listed and self._driver.remembered(symbol) is None:
            self._unknown[symbol] = depth or self._unknown.get(symbol, False)
            return  # the venue would not know what is meant
        if symbol not in self._ticks:
            self._ticks[symbol] = self._driver.subscribe_ticks(symbol, self._tick_handler(view))
        if depth and symbol not in self._depth:
            book = self._driver.subscribe_orderbook(symbol, self._book_handler(view))
            trades = self._driver.subscribe_trades(symbol, self._trade_handler(view))
            self._depth[symbol] = (book, trades)

    def end_deaf(self) -> list[str]:
        """End the streams that have told no price since their connections live: the venue may not know of them.

        On new connections each is given `RENEW_NS` first, and twice as long each time, as a market may just be quiet.
        One that does not trade has nothing to tell. They rest until `renew`, whoever watches them meanwhile.

        Returns:
            Their symbols.
        """
        links = [link for link in self._driver.links() if not link.name.startswith(_NOT_MARKET)]
        if not links or any(link.state is not LinkState.LIVE for link in links):
            return []
        now_ns, live_ns = self._clock.now_ns(), max(link.since_ns for link in links)
        for symbol in list(self._ticks):
            view = self._views[symbol]
            heard_ns = view.received_ns if view.mark is None else view.printed_ns
            if max(heard_ns, live_ns) > view.renewed_ns:
                view.patience_ns = RENEW_NS
            is_deaf = heard_ns < live_ns and now_ns - max(live_ns, view.renewed_ns) > view.patience_ns
            if is_deaf and self.is_trading(symbol):
                view.renewed_ns, view.patience_ns = now_ns, 2 * view.patience_ns
                depth = symbol in self._depth
                self._ticks.pop(symbol)()
                self.unwatch_depth(symbol)
                self._ended[symbol] = depth
        return list(self._ended)

    def renew(self) -> None:
        """Watch anew what `end_deaf` ended."""
        ended, self._ended = self._ended, {}
        for symbol, depth in ended.items():
            self.watch(symbol, depth)

    def unwatch_depth(self, symbol: str) -> None:
        """Stop to stream the book and trades of an instrument; its prices go on."""
        for unsubscribe in self._depth.pop(symbol, ()):
            unsubscribe()
        for resting in (self._ended, self._unknown):
            if symbol in resting:
                resting[symbol] = False
        view = self._views.get(symbol)
        if view is not None:
            view.book_broken = False

    def close(self) -> None:
        """End all streams."""
        for unsubscribe in self._ticks.values():
            unsubscribe()
        self._ticks.clear()
        self._ended.clear()
        self._unknown.clear()
        for symbol in list(self._depth):
            self.unwatch_depth(symbol)

    @property
    def watched(self) -> list[str]:
        """Return the symbols that are streamed, in order of their first watch."""
        return list(self._ticks)

    def quote(self, symbol: str) -> Quote | None:
        """Return the best bid and ask."""
        view = self._views.get(symbol)
        return view.quote if view is not None else None

    def book(self, symbol: str) -> OrderBook:
        """Return the live order book; it is empty and not valid while nobody watches it."""
        return self._driver.book(symbol)

    def mark(self, symbol: str) -> float | None:
        """Return the venue's mark price; None where it has none, as on spot. See `stand_in` for what does not trade."""
        view = self._views.get(symbol)
        return view.mark.mark if view is not None and view.mark is not None else self._last_prices.get(symbol)

    def last(self, symbol: str) -> float | None:
        """Return the price of the last trade."""
        view = self._views.get(symbol)
        return view.last if view is not None else None

    def price(self, symbol: str) -> float | None:
        """Return the price that values a position: the mark, else the middle of the touch, else the last trade.

        While marks are lost and the touch is fresh, its middle stands in for them. A touch of one side has no middle.
        """
        view, kept = self._views.get(symbol), self._last_prices.get(symbol)
        if view is None:
            return kept
        if view.mark is not None and not (self._are_prints_lost(view) and self._is_touch_fresh(view)):
            return view.mark.mark
        last = kept if view.last is None else view.last
        return view.quote.mid if view.quote is not None and view.quote.is_whole else last

    def middle(self, symbol: str) -> Decimal | None:
        """Return the middle of the touch, exact; None without a bid or an ask."""
        quote = self.quote(symbol)
        if quote is None or not quote.is_whole:
            return None
        return (Decimal(repr(quote.bid)) + Decimal(repr(quote.ask))) / 2

    def funding(self, symbol: str) -> FundingRate | None:
        """Return the predicted funding rate."""
        view = self._views.get(symbol)
        return view.funding if view is not None else None

    def ticker(self, symbol: str) -> Ticker | None:
        """Return the 24 h statistics."""
        view = self._views.get(symbol)
        return view.ticker if view is not None else None

    def age_ms(self, symbol: str) -> int | None:
        """Return how long ago the last quote, trade or book change was received; None before the first.

        Statistics, mark prices and funding rates say nothing about what an order would meet, so they do not count.
        """
        view = self._views.get(symbol)
        if view is None or not view.received_ns:
            return None
        return (self._clock.now_ns() - view.received_ns) // NS_PER_MS

    def are_prints_lost(self, symbol: str) -> bool:
        """Return whether mark prices (on spot: trades) stayed away while a connection that may carry them was down.

        On live connections a price that is not told again is one that has not moved. What was lost is back with the
        next one: a connection that is made again may yet carry nothing.
        """
        view = self._views.get(symbol)
        return view is not None and self._are_prints_lost(view)

    def down_links(self) -> list[LinkStatus]:
        """Return the connections for market data that are not live."""
        links = self._driver.links()
        return [link for link in links if link.state is not LinkState.LIVE and not link.name.startswith(_NOT_MARKET)]

    def is_book_broken(self, symbol: str) -> bool:
        """Return whether the watched book has lost its sequence and waits for a new snapshot."""
        view = self._views.get(symbol)
        return view is not None and view.book_broken

    def is_stale(self, symbol: str) -> bool:
        """Return whether data is missing, older than 10 s, or the book is broken: no entries then."""
        age = self.age_ms(symbol)
        return age is None or age > STALE_MS or self._views[symbol].book_broken

    def _are_prints_lost(self, view: _View) -> bool:
        if not view.are_prints_lost and self._clock.now_ns() - view.printed_ns > PRINTS_LOST_NS:
            view.are_prints_lost = bool(self.down_links())
        return view.are_prints_lost

    def _is_touch_fresh(self, view: _View) -> bool:
        if view.quote is None or not view.quote.is_whole:
            return False
        return self._clock.now_ns() - view.received_ns <= STALE_MS * NS_PER_MS

    def _tick_handler(self, view: _View) -> Callable[[TickEvent], None]:
        now_ns, publish = self._clock.now_ns, self._bus.publish

        def handle(event: TickEvent) -> None:
            kind = type(event)
            if kind is Quote:
                view.quote = event  # type: ignore[assignment]
                view.received_ns = now_ns()
            elif kind is MarkPrice:
                view.mark = event  # type: ignore[assignment]
                view.printed_ns = now_ns()
                view.are_prints_lost = False
            elif kind is Ticker:
                view.ticker = event  # type: ignore[assignment]
                view.last = event.last  # type: ignore[union-attr]
            else:
                view.funding = event  # type: ignore[assignment]
            publish(event)

        return handle

    def _trade_handler(self, view: _View) -> Callable[[Trade], None]:
        now_ns, publish = self._clock.now_ns, self._bus.publish

        def handle(trade: Trade) -> None:
            view.trade = trade
            view.last = trade.price
            view.received_ns = now_ns()
            if view.mark is None:
                view.printed_ns = view.received_ns
                view.are_prints_lost = False
            publish(trade)

        return handle

    def _quote_from_book(self, view: _View, symbol: str) -> None:
        """Fill in the touch from a whole book: a quote comes only when the touch changes, and the first may be lost."""
        book = self._driver.book(symbol)
        bids, asks = book.top_bids(1), book.top_asks(1)
        if bids and asks:
            view.quote = Quote(symbol, self._clock.now_ms(), *bids[0], *asks[0])
            self._bus.publish(view.quote)

    def _book_handler(self, view: _View) -> Callable[[BookEvent], None]:
        now_ns, publish = self._clock.now_ns, self._bus.publish

        def handle(event: BookEvent) -> None:
            view.received_ns = now_ns()
            if type(event) is not BookUpdate:
                view.book_broken = type(event) is BookInvalid
                if view.quote is None and not view.book_broken:
                    self._quote_from_book(view, event.symbol)
            publish(event)

        return handle
