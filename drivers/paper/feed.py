"""The hot path: market events into the venue's state, out to subscribers, and against our resting orders.

A market event reaches its subscribers before the executions that it causes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from drivers.paper.bars import MINUTE_MS
from drivers.paper.channel import Channel
from drivers.paper.config import StopTrigger
from drivers.paper.exchange import Exchange
from drivers.paper.matching import printed, touched
from drivers.paper.symbol_market import SymbolMarket
from engine.kernel.clock import NS_PER_MS, NS_PER_S
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
from engine.kernel.orders import Side

_TOUCH_SIZE = 1e9
_DAY_MINUTES = 1_440
_MINUTE_NS = MINUTE_MS * NS_PER_MS


class MarketFeed:
    """Takes market events one by one.

    Args:
        exchange: Where own orders are matched.
        channels: State and subscribers by symbol.
        commit: Delivers what an operation on the exchange brought about.
        on_unparsed: Told of every raw message of the market that could not be understood.

    Attributes:
        now_ns: Market time of the present event.
        next_second_ns: When `catch_up` has something to do.
    """

    def __init__(
        self,
        exchange: Exchange,
        channels: Mapping[str, Channel],
        commit: Callable[[], None],
        on_unparsed: Callable[[Unparsed], None],
    ) -> None:
        self._exchange = exchange
        self._commit = commit
        self._marks_from_touch = not exchange.touch_mode
        self._stop_on_mark = exchange.config.stop_trigger is StopTrigger.MARK
        self.now_ns = exchange.clock.now_ns()
        self._minute_ms = self.now_ns // _MINUTE_NS * MINUTE_MS
        self.next_second_ns = self.now_ns - self.now_ns % NS_PER_S + NS_PER_S
        self._channels = channels
        self._paid: dict[str, int] = {}
        self.handlers: dict[type, Callable[..., None]] = {
            Quote: self._quote,
            BookUpdate: self._book,
            BookSynced: self._book_state,
            BookInvalid: self._book_state,
            Trade: self._trade,
            MarkPrice: self._mark,
            FundingRate: self._funding,
            Ticker: self._ticker,
            Bar: _ignore,
            Unparsed: on_unparsed,
        }
        if exchange.touch_mode:
            self.handlers |= {
                Trade: self._print,
                Quote: _ignore,
                BookUpdate: _ignore,
                BookSynced: _ignore,
                BookInvalid: _ignore,
                MarkPrice: _ignore,
            }

    def on_market(self, event: MarketEvent) -> None:
        """Take one event at the clock's present time."""
        now_ns = self._exchange.clock.now_ns()
        self.catch_up(now_ns)
        self.now_ns = now_ns
        self.handlers[type(event)](event)

    def catch_up(self, now_ns: int) -> None:
        """Do what is due by the second and by the minute, up to `now_ns`."""
        while self.next_second_ns <= now_ns:
            second_ns = self.next_second_ns
            if now_ns - second_ns > 2 * _MINUTE_NS:
                second_ns = min(now_ns, (self._minute_ms + MINUTE_MS) * NS_PER_MS)
            self.now_ns = second_ns
            self.next_second_ns = second_ns - second_ns % NS_PER_S + NS_PER_S
            self._each_second()
            if second_ns >= (self._minute_ms + MINUTE_MS) * NS_PER_MS:
                self._close_minute()

    def _quote(self, quote: Quote) -> None:
        channel = self._channels.get(quote.symbol)
        if channel is None:
            return
        market = channel.market
        market.native_quotes = True
        market.touch = quote
        market.touch_ns = self.now_ns
        for handler in channel.ticks:
            handler(quote)
        buys, sells = market.buys, market.sells
        if quote.ask <= buys.best or quote.bid >= sells.best:
            self._touched(market, quote)
        elif buys.orders or sells.orders:
            buys.cap_at(quote.bid, quote.bid_size)
            sells.cap_at(quote.ask, quote.ask_size)

    def _book(self, update: BookUpdate) -> None:
        channel = self._channels.get(update.symbol)
        if channel is None:
            return
        market = channel.market
        book = market.book
        book.apply(update)
        for handler in channel.books:
            handler(update)
        if not market.native_quotes:
            self._touch_from_book(channel, update.ts)
        if book.valid:
            if market.buys.orders:
                market.buys.lower_queues(update.bids, book.bids, update.snapshot)
            if market.sells.orders:
                market.sells.lower_queues(update.asks, book.asks, update.snapshot)

    def _touch_from_book(self, channel: Channel, ts: int) -> None:
        market = channel.market
        book, touch = market.book, market.touch
        market.touch_ns = self.now_ns
        bid, ask = book.best_bid, book.best_ask
        if bid is None or ask is None:
            if touch is None:
                return
            bid, bid_size = (touch.bid, 0.0) if bid is None else (bid, book.bids[bid])
            ask, ask_size = (touch.ask, 0.0) if ask is None else (ask, book.asks[ask])
        else:
            bid_size, ask_size = book.bids[bid], book.asks[ask]
        if (
            touch is not None
            and bid == touch.bid
            and ask == touch.ask
            and bid_size == touch.bid_size
            and ask_size == touch.ask_size
        ):
            return
        quote = market.touch = Quote(market.symbol, ts, bid, bid_size, ask, ask_size)
        for handler in channel.ticks:
            handler(quote)
        if (ask_size and ask <= market.buys.best) or (bid_size and bid >= market.sells.best):
            self._touched(market, quote)

    def _book_state(self, event: BookSynced | BookInvalid) -> None:
        channel = self._channels.get(event.symbol)
        if channel is None:
            return
        if type(event) is BookInvalid:
            channel.market.book.invalidate()
        for handler in channel.books:
            handler(event)

    def _trade(self, trade: Trade) -> None:
        channel = self._channels.get(trade.symbol)
        if channel is None:
            return
        market, price = channel.market, trade.price
        market.last = price
        channel.bars.trade(self._minute_ms, price, trade.size)
        for handler in channel.trades:
            handler(trade)
        if price <= market.buys.best or price >= market.sells.best:
            clearing = self._exchange.clearing
            for order, quantity in printed(market, price, trade.size, trade.side):
                if order.is_open:
                    assert order.price is not None
                    clearing.fill(order, order.price, min(quantity, order.remaining), maker=True)
            self._commit()
        if (price <= market.stop_low or price >= market.stop_high) and not self._stop_on_mark:
            self._fire_stops(market, price)

    def _print(self, trade: Trade) -> None:
        """Take a print in touch mode: bid, ask, mark and last are all its price."""
        channel = self._channels.get(trade.symbol)
        if channel is None:
            return
        market, price = channel.market, trade.price
        market.last = market.mark = market.index = price
        market.touch_ns = self.now_ns
        quote = market.touch = Quote(trade.symbol, trade.ts, price, _TOUCH_SIZE, price, _TOUCH_SIZE)
        level = [(price, _TOUCH_SIZE)]
        book = BookUpdate(trade.symbol, trade.ts, level, level, snapshot=True)
        market.book.apply(book)
        channel.bars.trade(self._minute_ms, price, trade.size)
        mark = MarkPrice(trade.symbol, trade.ts, price, price)
        for books in channel.books:
            books(book)
        for ticks in channel.ticks:
            ticks(quote)
            ticks(mark)
        for handler in channel.trades:
            handler(trade)
        if price <= market.buys.best or price >= market.sells.best:
            self._touched(market, quote)
        if price <= market.stop_low or price >= market.stop_high:
            self._fire_stops(market, price)
        self._protect(market)

    def _mark(self, event: MarkPrice) -> None:
        channel = self._channels.get(event.symbol)
        if channel is None:
            return
        channel.market.native_mark = True
        self._new_mark(channel, event)

    def _new_mark(self, channel: Channel, event: MarkPrice) -> None:
        market = channel.market
        market.mark, market.index = event.mark, event.index
        for handler in channel.ticks:
            handler(event)
        if self._stop_on_mark and (event.mark <= market.stop_low or event.mark >= market.stop_high):
            self._fire_stops(market, event.mark)
        self._protect(market)

    def _protect(self, market: SymbolMarket) -> None:
        ledger = self._exchange.account.ledgers.get(market.symbol)
        if ledger is not None and ledger.quantity:
            self._exchange.clearing.protect(market.instrument.settle)
            self._commit()

    def _funding(self, event: FundingRate) -> None:
        channel = self._channels.get(event.symbol)
        if channel is None:
            return
        channel.market.funding = event
        for handler in channel.ticks:
            handler(event)

    def _ticker(self, event: Ticker) -> None:
        channel = self._channels.get(event.symbol)
        if channel is None:
            return
        channel.market.native_ticker = True
        channel.market.ticker = event
        for handler in channel.ticks:
            handler(event)

    def _touched(self, market: SymbolMarket, quote: Quote) -> None:
        clearing = self._exchange.clearing
        for order in touched(market, quote.bid, quote.ask):
            if order.is_open:
                assert order.price is not None
                clearing.fill(order, order.price, order.remaining, maker=True)
        self._commit()

    def _fire_stops(self, market: SymbolMarket, price: float) -> None:
        for order in list(market.stops):
            trigger = float(order.trigger_price or 0)
            if order.is_open and (price <= trigger if order.side is Side.SELL else price >= trigger):
                self._exchange.trigger(order)
        self._commit()

    def _each_second(self) -> None:
        """Give marks and tickers to instruments whose market has none of its own; settle funding that is due."""
        now_ms = self.now_ns // NS_PER_MS
        for channel in self._channels.values():
            market = channel.market
            funding, touch = market.funding, market.touch
            if funding is not None and funding.next_time <= now_ms:
                self._pay_funding(market, funding)
            if touch is not None and not market.native_mark and self._marks_from_touch and market.instrument.is_perp:
                mid = market.middle(touch)
                if mid != market.mark:
                    self._new_mark(channel, MarkPrice(market.symbol, touch.ts, mid, mid))
            if not market.native_ticker:
                self._derive_ticker(channel)
            forming = channel.bars.forming
            if forming is not None:
                for stream in channel.streams.values():
                    stream.forming(forming)

    def _pay_funding(self, market: SymbolMarket, funding: FundingRate) -> None:
        if self._paid.get(market.symbol, -1) >= funding.next_time:
            return
        self._paid[market.symbol] = funding.next_time
        if market.instrument.is_perp:
            self._exchange.clearing.pay_funding(market, funding.rate, funding.next_time)
            self._commit()

    def _derive_ticker(self, channel: Channel) -> None:
        market, forming, day = channel.market, channel.bars.forming, channel.day
        if forming is None or market.last is None:
            return
        if day is None:
            day = (forming.open, forming.high, forming.low, 0.0)
        opened, high, low, volume = day
        ticker = Ticker(
            market.symbol,
            self.now_ns // NS_PER_MS,
            market.last,
            opened,
            max(high, forming.high),
            min(low, forming.low),
            volume + forming.quote_volume,
        )
        market.ticker = ticker
        for handler in channel.ticks:
            handler(ticker)

    def _close_minute(self) -> None:
        minute_ms = self._minute_ms
        self._minute_ms = self.now_ns // _MINUTE_NS * MINUTE_MS
        for closing in range(minute_ms, self._minute_ms, MINUTE_MS):
            for channel in self._channels.values():
                alive = channel.market.touch_ns >= closing * NS_PER_MS
                bar = channel.bars.close_minute(closing, alive)
                if bar is not None:
                    for stream in channel.streams.values():
                        stream.minute_closed(bar)
        for channel in self._channels.values():
            _update_day(channel)


def _update_day(channel: Channel) -> None:
    minutes = channel.bars.closed
    if not minutes:
        return
    recent = list(minutes)[-_DAY_MINUTES:]
    channel.day = (
        recent[0].open,
        max(bar.high for bar in recent),
        min(bar.low for bar in recent),
        sum(bar.quote_volume for bar in recent),
    )


def _ignore(event: object) -> None:
    """Leave out an event that the fill model does not use."""
