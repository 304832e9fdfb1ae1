"""A limit order book of price levels, fast at the touch and in depth.

All levels of a side are in a plain dict. Beside it a short sorted list holds its best prices, down to an edge: most
changes lie beyond the edge and cost one comparison, and the next best price is at hand when the best one goes.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from heapq import nlargest, nsmallest
from math import inf

from engine.kernel.market import BookUpdate, Levels

_WINDOW = 32


class OrderBook:
    """Bids and asks of one instrument.

    Attributes:
        symbol: Canonical name.
        ts: Venue time (ms) of the last change, 0 before the first.
        valid: Whether the book is complete and continuous.
        best_bid: Highest bid price, None when there is none.
        best_ask: Lowest ask price, None when there is none.
        bids: Price -> size; change it through `load`, `change` and `apply` only.
        asks: Price -> size; likewise.
    """

    __slots__ = (
        "_ask_edge",
        "_bid_edge",
        "_near_asks",
        "_near_bids",
        "asks",
        "best_ask",
        "best_bid",
        "bids",
        "symbol",
        "ts",
        "valid",
    )

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.ts = 0
        self.valid = False
        self.best_bid: float | None = None
        self.best_ask: float | None = None
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        # Ascending, and complete: every bid >= _bid_edge, every ask <= _ask_edge.
        self._near_bids: list[float] = []
        self._near_asks: list[float] = []
        self._bid_edge = -inf
        self._ask_edge = inf

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
        self._find_bids()
        self._find_asks()
        self.ts = ts
        self.valid = True

    def change(self, bids: Levels, asks: Levels, ts: int) -> None:
        """Apply level changes of both sides."""
        book, near, edge = self.bids, self._near_bids, self._bid_edge
        for price, size in bids:
            if price < edge:
                if size:
                    book[price] = size
                else:
                    book.pop(price, None)
            elif size:
                if price not in book:
                    insort(near, price)
                book[price] = size
            elif book.pop(price, None) is not None:
                del near[bisect_left(near, price)]
        if len(near) > 2 * _WINDOW:
            del near[:-_WINDOW]
            self._bid_edge = near[0]
        if near:
            self.best_bid = near[-1]
        else:
            self._find_bids()

        book, near, edge = self.asks, self._near_asks, self._ask_edge
        for price, size in asks:
            if price > edge:
                if size:
                    book[price] = size
                else:
                    book.pop(price, None)
            elif size:
                if price not in book:
                    insort(near, price)
                book[price] = size
            elif book.pop(price, None) is not None:
                del near[bisect_left(near, price)]
        if len(near) > 2 * _WINDOW:
            del near[_WINDOW:]
            self._ask_edge = near[-1]
        if near:
            self.best_ask = near[0]
        else:
            self._find_asks()
        self.ts = ts

    def invalidate(self) -> None:
        """Mark the book as not to be trusted until the next `load`."""
        self.valid = False

    @property
    def mid(self) -> float | None:
        """Return the middle of the touch, None when a side is empty."""
        bid, ask = self.best_bid, self.best_ask
        return None if bid is None or ask is None else (bid + ask) / 2

    def top_bids(self, count: int) -> Levels:
        """Return the best `count` bids, highest first."""
        bids, near = self.bids, self._near_bids
        best = near[: -count - 1 : -1] if len(near) >= count else nlargest(count, bids)
        return [(price, bids[price]) for price in best]

    def top_asks(self, count: int) -> Levels:
        """Return the best `count` asks, lowest first."""
        asks, near = self.asks, self._near_asks
        best = near[:count] if len(near) >= count else nsmallest(count, asks)
        return [(price, asks[price]) for price in best]

    def _find_bids(self) -> None:
        near = nlargest(_WINDOW, self.bids)[::-1]
        self._near_bids = near
        self._bid_edge, self.best_bid = (near[0], near[-1]) if near else (-inf, None)

    def _find_asks(self) -> None:
        near = nsmallest(_WINDOW, self.asks)
        self._near_asks = near
        self._ask_edge, self.best_ask = (near[-1], near[0]) if near else (inf, None)
