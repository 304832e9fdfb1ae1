"""A limit order book of price levels, fast at the touch.

Levels are kept in plain dicts; the best price is found lazily, so that a message that does not touch the top
costs no search.
"""

from __future__ import annotations

from heapq import nlargest, nsmallest

from engine.kernel.market import BookUpdate, Levels


class OrderBook:
    """Bids and asks of one instrument.

    Attributes:
        symbol: Canonical name.
        ts: Venue time (ms) of the last change, 0 before the first.
        valid: Whether the book is complete and continuous.
        bids: Price -> size.
        asks: Price -> size.
    """

    __slots__ = ("_best_ask", "_best_bid", "asks", "bids", "symbol", "ts", "valid")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.ts = 0
        self.valid = False
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self._best_bid: float | None = None
        self._best_ask: float | None = None

    def apply(self, update: BookUpdate) -> None:
        """Apply a change, or replace everything by a snapshot. Sizes are absolute; 0 removes a level."""
        if update.snapshot:
            self.load(update.bids, update.asks, update.ts)
        else:
            self.change(update.bids, update.asks, update.ts)

    def load(self, bids: Levels, asks: Levels, ts: int) -> None:
        """Replace the whole book."""
        self.bids = {price: size for price, size in bids if size > 0}
        self.asks = {price: size for price, size in asks if size > 0}
        self._best_bid = self._best_ask = None
        self.ts = ts
        self.valid = True

    def change(self, bids: Levels, asks: Levels, ts: int) -> None:
        """Apply level changes of both sides."""
        book, best = self.bids, self._best_bid
        for price, size in bids:
            if size:
                book[price] = size
                if best is not None and price > best:
                    best = price
            else:
                book.pop(price, None)
                if price == best:
                    best = None
        self._best_bid = best
        book, best = self.asks, self._best_ask
        for price, size in asks:
            if size:
                book[price] = size
                if best is not None and price < best:
                    best = price
            else:
                book.pop(price, None)
                if price == best:
                    best = None
        self._best_ask = best
        self.ts = ts

    def invalidate(self) -> None:
        """Mark the book as not to be trusted until the next `load`."""
        self.valid = False

    @property
    def best_bid(self) -> float | None:
        """Return the highest bid price, None when there is none."""
        if self._best_bid is None and self.bids:
            self._best_bid = max(self.bids)
        return self._best_bid

    @property
    def best_ask(self) -> float | None:
        """Return the lowest ask price, None when there is none."""
        if self._best_ask is None and self.asks:
            self._best_ask = min(self.asks)
        return self._best_ask

    @property
    def mid(self) -> float | None:
        """Return the middle of the touch, None when a side is empty."""
        bid, ask = self.best_bid, self.best_ask
        return None if bid is None or ask is None else (bid + ask) / 2

    def top_bids(self, count: int) -> Levels:
        """Return the best `count` bids, highest first."""
        bids = self.bids
        return [(price, bids[price]) for price in nlargest(count, bids)]

    def top_asks(self, count: int) -> Levels:
        """Return the best `count` asks, lowest first."""
        asks = self.asks
        return [(price, asks[price]) for price in nsmallest(count, asks)]
