"""Whose book is it? A REST snapshot in a recording does not name its symbol; its numbers and prices tell.

A snapshot belongs to a book that waits for one, among whose changes its number lies, and whose levels it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import Any, NamedTuple

from drivers.transport.depth import DepthSync
from engine.kernel.market import Levels, MarketEvent

MOST_WAITING = 50


class Snapshot(NamedTuple):
    """A snapshot as it came.

    Attributes:
        last: Its number.
        ts: Its time in ms, None where it has none.
        bids: Its levels, in the venue's units.
        asks: Its levels, in the venue's units.
        group: Which books it can belong to, where its shape tells: perpetuals or spot.
    """

    last: int
    ts: int | None
    bids: Any
    asks: Any
    group: str = ""


class Book(NamedTuple):
    """A book that a snapshot may belong to, and what turns levels in the venue's units into levels of coins."""

    sync: DepthSync
    levels: Callable[[Any], Levels]


class WaitingSnapshots:
    """The snapshots of a recording, each kept until its book is known.

    Args:
        books: Returns the books of a group.
    """

    def __init__(self, books: Callable[[str], Iterable[Book]]) -> None:
        self._books = books
        self._waiting: list[Snapshot] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, snapshot: Snapshot) -> list[MarketEvent]:
        """Take a snapshot, and return the events of the books that have theirs now."""
        self._waiting = [*self._waiting, snapshot][-MOST_WAITING:]
        return self.place()

    def place(self) -> list[MarketEvent]:
        """Give each snapshot to the book that it belongs to, keep the others, and return the events."""
        events: list[MarketEvent] = []
        waiting, self._waiting = self._waiting, []
        for snapshot in waiting:
            book = _owner(snapshot, self._books(snapshot.group))
            if book is None:
                self._waiting.append(snapshot)
            else:
                bids, asks = book.levels(snapshot.bids), book.levels(snapshot.asks)
                events += book.sync.snapshot(snapshot.last, snapshot.ts, bids, asks)
        return events

    def unplaced(self) -> int:
        """Return how many found no book; those of a book that needed none are not among them."""
        return sum(not self._is_needless(snapshot) for snapshot in self._waiting)

    def _is_needless(self, snapshot: Snapshot) -> bool:
        return any(book.sync.synced and book.sync.covers(snapshot.last) for book in self._books(snapshot.group))


def _owner(snapshot: Snapshot, books: Iterable[Book]) -> Book | None:
    """Return the book a snapshot belongs to, of those that wait for one; None while that cannot be told."""
    ranked: list[tuple[tuple[int, int], int]] = []
    waiting = [book for book in books if not book.sync.synced and book.sync.covers(snapshot.last)]
    for at, book in enumerate(waiting):
        bids, asks = book.levels(snapshot.bids), book.levels(snapshot.asks)
        changed = [price for side in book.sync.newest() for price, _ in side]
        agreement = _agreement(bids, asks, book.sync.included(snapshot.last))
        if agreement >= 0 and _is_near(bids, asks, changed):
            listed = {price for price, _ in bids + asks}
            ranked.append(((agreement, sum(price in listed for price in changed)), at))
    ranked.sort(reverse=True)
    if not ranked or (len(ranked) > 1 and ranked[0][0] == ranked[1][0]):
        return None
    return waiting[ranked[0][1]]


def _agreement(bids: Levels, asks: Levels, changes: Iterable[tuple[Levels, Levels]]) -> int:
    """Return how many levels that changes left behind a snapshot shows as they are, less those it shows otherwise.

    Levels beyond the snapshot's last one do not count: it may have been cut there.
    """
    left_bids: dict[float, float] = {}
    left_asks: dict[float, float] = {}
    for changed_bids, changed_asks in changes:
        left_bids.update(changed_bids)
        left_asks.update(changed_asks)
    shown_bids, shown_asks = dict(bids), dict(asks)
    lowest, highest = min(shown_bids, default=inf), max(shown_asks, default=-inf)
    seen = [size == shown_bids.get(price, 0.0) for price, size in left_bids.items() if price >= lowest]
    seen += [size == shown_asks.get(price, 0.0) for price, size in left_asks.items() if price <= highest]
    return 2 * sum(seen) - len(seen)


def _is_near(bids: Levels, asks: Levels, changed: list[float]) -> bool:
    """Return whether one of the changed prices lies between half and twice the best bid, without one the best ask."""
    best = max(bids)[0] if bids else min(asks)[0] if asks else None
    return best is None or not changed or any(best / 2 < price < best * 2 for price in changed)
