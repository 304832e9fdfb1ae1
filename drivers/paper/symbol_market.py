"""One instrument on the paper venue: public book, touch, prices and our own orders on it."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from decimal import Decimal
from math import inf

from drivers.paper.state import PaperOrder
from engine.kernel.instruments import Instrument
from engine.kernel.market import BookUpdate, FundingRate, Levels, Quote, Ticker
from engine.kernel.orderbook import OrderBook
from engine.kernel.orders import OrderType, Side

UNKNOWN_AHEAD = 1e15
"""Queue ahead of an order at a level whose size is not known yet."""


class Resting:
    """An own order on the book with its place in the queue.

    Attributes:
        price: Limit price as the book's float.
        ahead: Base coins of others that stood at the price before it.
    """

    __slots__ = ("ahead", "order", "price")

    def __init__(self, order: PaperOrder, ahead: float) -> None:
        assert order.price is not None
        self.order = order
        self.price = float(order.price)
        self.ahead = ahead


class OwnSide:
    """Our resting orders of one side, best price first, then oldest first.

    Attributes:
        best: Best own price; -inf (buys) or inf (sells) when there is none.
    """

    __slots__ = ("_at", "_sign", "best", "orders")

    def __init__(self, side: Side) -> None:
        self._sign = -1.0 if side is Side.BUY else 1.0
        self.orders: list[Resting] = []
        self._at: dict[float, list[Resting]] = {}
        self.best = inf * self._sign

    def _key(self, resting: Resting) -> tuple[float, int]:
        return resting.price * self._sign, resting.order.priority

    def add(self, resting: Resting) -> None:
        """Insert by price and time."""
        insort(self.orders, resting, key=self._key)
        insort(self._at.setdefault(resting.price, []), resting, key=self._key)
        self.best = self.orders[0].price

    def remove(self, order: PaperOrder) -> Resting | None:
        """Take an order off; None when it does not rest here."""
        for index, resting in enumerate(self.orders):
            if resting.order is order:
                del self.orders[index]
                level = self._at[resting.price]
                level.remove(resting)
                if not level:
                    del self._at[resting.price]
                self.best = self.orders[0].price if self.orders else inf * self._sign
                return resting
        return None

    def at(self, price: float) -> list[Resting]:
        """Return the orders at a price, oldest first."""
        return self._at.get(price, [])

    def lower_queues(self, changes: Levels, book: dict[float, float], snapshot: bool) -> None:
        """Let no queue ahead exceed the public size of its level."""
        own = self._at
        if snapshot or len(own) <= len(changes):
            for price, restings in own.items():
                self._cap(restings, book.get(price, 0.0))
        else:
            for price, size in changes:
                if price in own:
                    self._cap(own[price], size)

    def cap_at(self, price: float, size: float) -> None:
        """Let no queue ahead at one price exceed a size."""
        self._cap(self._at.get(price, ()), size)

    @staticmethod
    def _cap(restings: list[Resting] | tuple[()], size: float) -> None:
        for resting in restings:
            if size < resting.ahead:
                resting.ahead = size


class SymbolMarket:
    """Public prices of one instrument and our orders on it.

    Attributes:
        book: Public book, less what our taking orders consumed.
        touch: Newest best bid and ask; a size of 0 means that nobody is there.
        native_quotes: Whether the market has best quotes of its own; else the touch comes from the book.
        native_mark: Whether the market has mark prices of its own; else the mark is the middle.
        stops: Own stops that wait for their trigger, oldest first.
        stop_low: Highest trigger of a sell stop, -inf without any.
        stop_high: Lowest trigger of a buy stop, inf without any.
    """

    __slots__ = (
        "book",
        "buys",
        "funding",
        "index",
        "instrument",
        "last",
        "mark",
        "native_mark",
        "native_quotes",
        "native_ticker",
        "sells",
        "stop_high",
        "stop_low",
        "stops",
        "symbol",
        "ticker",
        "touch",
        "touch_ns",
    )

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.symbol = instrument.symbol
        self.book = OrderBook(instrument.symbol)
        self.touch: Quote | None = None
        self.touch_ns = 0
        self.native_quotes = False
        self.native_mark = False
        self.native_ticker = False
        self.mark: float | None = None
        self.index: float | None = None
        self.last: float | None = None
        self.funding: FundingRate | None = None
        self.ticker: Ticker | None = None
        self.buys = OwnSide(Side.BUY)
        self.sells = OwnSide(Side.SELL)
        self.stops: list[PaperOrder] = []
        self.stop_low = -inf
        self.stop_high = inf

    def own(self, side: Side) -> OwnSide:
        """Return our resting orders of one side."""
        return self.buys if side is Side.BUY else self.sells

    def open_orders(self) -> Iterator[PaperOrder]:
        """Return our working orders: buys, sells, stops."""
        for own in (self.buys, self.sells):
            for resting in own.orders:
                yield resting.order
        yield from self.stops

    def rest(self, order: PaperOrder, ahead: float) -> None:
        """Put an order on the book, or among the stops."""
        if order.type is OrderType.STOP:
            self.stops.append(order)
            self._index_stops()
        else:
            self.own(order.side).add(Resting(order, ahead))

    def take_off(self, order: PaperOrder) -> None:
        """Remove an order from the book or the stops; harmless when it is not there."""
        if order.type is OrderType.STOP:
            self.stops = [stop for stop in self.stops if stop is not order]
            self._index_stops()
        else:
            self.own(order.side).remove(order)

    def _index_stops(self) -> None:
        triggers = [(stop.side, float(stop.trigger_price or 0)) for stop in self.stops]
        self.stop_low = max((price for side, price in triggers if side is Side.SELL), default=-inf)
        self.stop_high = min((price for side, price in triggers if side is Side.BUY), default=inf)

    def mark_price(self) -> Decimal | None:
        """Return the mark price, else the middle, else the last price; None before any is known."""
        price, touch = self.mark, self.touch
        if price is None and touch is not None:
            one_sided = not (touch.bid_size and touch.ask_size)
            price = self.last if one_sided and self.last is not None else self.middle(touch)
        return None if price is None else Decimal(repr(price))

    def middle(self, touch: Quote) -> float:
        """Return the middle of a touch, on half a tick."""
        return round(touch.mid, self.instrument.price_places + 1)

    def queue_ahead(self, side: Side, price: float) -> float:
        """Return the public size that a new order at `price` stands behind."""
        touch = self.touch
        if touch is not None:
            best, size = (touch.bid, touch.bid_size) if side is Side.BUY else (touch.ask, touch.ask_size)
            if price == best:
                return size
            if (price > best) if side is Side.BUY else (price < best):
                return 0.0
        if not self.book.valid:
            return UNKNOWN_AHEAD
        levels = self.book.bids if side is Side.BUY else self.book.asks
        return levels.get(price, 0.0)

    def opposite_levels(self, side: Side, limit: float | None) -> Levels:
        """Return what an order of `side` can take, best first, no worse than `limit`.

        The touch is newer than the rest of the book: levels at or before it are replaced by it.
        """
        touch = self.touch
        if touch is None:
            return []
        if side is Side.BUY:
            best, size = touch.ask, touch.ask_size
            book = self.book.asks if self.book.valid else {}
            prices = sorted(p for p in book if p > best and (limit is None or p <= limit))
            reachable = limit is None or best <= limit
        else:
            best, size = touch.bid, touch.bid_size
            book = self.book.bids if self.book.valid else {}
            prices = sorted((p for p in book if p < best and (limit is None or p >= limit)), reverse=True)
            reachable = limit is None or best >= limit
        levels = [(price, book[price]) for price in prices]
        return [(best, size), *levels] if size and reachable else levels

    def consume(self, side: Side, taken: list[tuple[float, float]], ts: int) -> tuple[BookUpdate | None, Quote]:
        """Remove what an order of `side` took; `taken` holds (price, size left there).

        Returns:
            The public changes: of the book where it is complete, and the new touch.
        """
        assert self.touch is not None
        touch, book = self.touch, self.book
        update = None
        if book.valid:
            bids, asks = ([], taken) if side is Side.BUY else (taken, [])
            update = BookUpdate(self.symbol, ts, bids, asks)
            book.change(update.bids, update.asks, ts)
        left = next(((price, size) for price, size in taken if size), None)
        if left is None:
            levels = book.asks if side is Side.BUY else book.bids
            last = taken[-1][0]
            beyond = [p for p in levels if (p > last if side is Side.BUY else p < last)] if book.valid else []
            if beyond:
                price = min(beyond) if side is Side.BUY else max(beyond)
                left = price, levels[price]
            else:
                left = last, 0.0
        if side is Side.BUY:
            self.touch = Quote(self.symbol, ts, touch.bid, touch.bid_size, *left)
        else:
            self.touch = Quote(self.symbol, ts, *left, touch.ask, touch.ask_size)
        return update, self.touch
