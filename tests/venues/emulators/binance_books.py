"""Binance's update ids over the books: the chain of depth events, and REST snapshots that fit into it.

Ids go on whether anybody listens or not. Futures number the changes of all symbols together, so that only `pu` links
two events; spot numbers each symbol without a hole, so that U is the previous u + 1.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.kernel.market import Levels
from tests.venues.emulators.binance_listing import Listing
from tests.venues.emulators.market import BookChain, BookChange

FUTURES_SPEEDS_MS = {"": 250, "@100ms": 100, "@250ms": 250, "@500ms": 500}
SPOT_SPEEDS_MS = {"": 1000, "@100ms": 100}
PARTIAL_LEVELS = (5, 10, 20)


class _Pending:
    """One stream speed: the changes since its last event."""

    __slots__ = ("asks", "bids", "first", "last", "sent", "ts")

    def __init__(self, last: int) -> None:
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self.first = 0
        self.last = self.sent = last
        self.ts = 0


class NativeBook:
    """One symbol's book on the wire.

    Args:
        listing: The symbol.
        chain: Its levels, in canonical prices and coins.
        ids: Source of update ids; the futures symbols share one.

    Attributes:
        update_id: Id of the newest change.
        speeds_ms: Stream speeds by suffix of the stream's name.
    """

    def __init__(self, listing: Listing, chain: BookChain, ids: Iterator[int]) -> None:
        self.listing = listing
        self.chain = chain
        self._ids = ids
        self.update_id = next(ids)
        self.speeds_ms = FUTURES_SPEEDS_MS if listing.is_futures else SPOT_SPEEDS_MS
        self._pending = {suffix: _Pending(self.update_id) for suffix in self.speeds_ms}

    def change(self, change: BookChange) -> None:
        """Number a change and keep it for the next event of every speed."""
        first = last = next(self._ids)
        for _ in range(len(change.bids) + len(change.asks) - 1):
            last = next(self._ids)
        self.update_id = last
        for pending in self._pending.values():
            pending.bids.update(change.bids)
            pending.asks.update(change.asks)
            pending.first = pending.first or first
            pending.last, pending.ts = last, change.ts

    def event(self, suffix: str, now_ms: int) -> dict[str, object]:
        """Return the depth event of one speed since its last one, and begin the next."""
        pending, is_futures = self._pending[suffix], self.listing.is_futures
        event: dict[str, object] = {"e": "depthUpdate", "E": now_ms}
        if is_futures:
            event["T"] = pending.ts
        event |= {"s": self.listing.native, "U": pending.first, "u": pending.last}
        if is_futures:
            event |= {"pu": pending.sent, "ps": self.listing.native, "st": 1}
        event["b"] = self._texts(sorted(pending.bids.items(), reverse=True))
        event["a"] = self._texts(sorted(pending.asks.items()))
        self.skip(suffix)
        return event

    def skip(self, suffix: str) -> None:
        """Let an event of one speed go by unheard."""
        pending = self._pending[suffix]
        pending.sent, pending.first = pending.last, 0
        pending.bids, pending.asks = {}, {}

    def snapshot(self, limit: int, now_ms: int) -> dict[str, object]:
        """Return the REST answer of /depth."""
        answer: dict[str, object] = {"lastUpdateId": self.update_id}
        if self.listing.is_futures:
            answer |= {"E": now_ms, "T": self.chain.ts or now_ms}
        return answer | self._sides(limit)

    def partial(self, levels: int, now_ms: int) -> dict[str, object]:
        """Return the event of a depth5, depth10 or depth20 stream."""
        if not self.listing.is_futures:
            return self.snapshot(levels, now_ms)
        sides = self._sides(levels)
        return {
            "e": "depthUpdate", "E": now_ms, "T": self.chain.ts, "s": self.listing.native, "U": self.update_id,
            "u": self.update_id, "pu": self.update_id, "ps": self.listing.native, "st": 1,
            "b": sides["bids"], "a": sides["asks"],
        }  # fmt: skip

    def _sides(self, limit: int) -> dict[str, object]:
        return {"bids": self._texts(self.chain.best_bids(limit)), "asks": self._texts(self.chain.best_asks(limit))}

    def _texts(self, levels: Levels) -> list[list[str]]:
        price_text, qty_text = self.listing.price_text, self.listing.qty_text
        return [[price_text(price), qty_text(size)] for price, size in levels]
