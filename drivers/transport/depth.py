"""Keeping an order book in step with a stream of numbered changes and with snapshots.

Each change says which number it follows on and with which it ends. Changes are kept from the start. A snapshot with
number L is usable when no change is missing between it and those kept: what L covers is dropped, the first that is
left must follow on L or on a number before it. From there on each change follows on the one before it. A break makes
the book invalid until the next usable snapshot.

Venues tell the numbers in their own ways. Where a message names the first and the last of its changes, it follows on
the first less one; where a stream begins with a snapshot of its own, that is a `restart`.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from engine.kernel.market import BookInvalid, BookSynced, BookUpdate, Levels, MarketEvent

KEPT_CHANGES = 10_000
"""How many changes wait for a snapshot; the oldest are dropped, which only makes older snapshots unusable."""


class _Change(NamedTuple):
    previous: int
    last: int
    ts: int
    bids: Levels
    asks: Levels


class DepthSync:
    """The sequence state of one symbol's book.

    Args:
        symbol: Canonical name for the events.

    Attributes:
        symbol: Canonical name.
        synced: Whether the book is complete and continuous.
        last: Number of the last change or snapshot that counts, None before the first.
        gaps: How many times a synced book was lost.
    """

    __slots__ = ("_begins", "_kept", "_previous", "_row", "gaps", "last", "symbol", "synced")

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.synced = False
        self.last: int | None = None
        self.gaps = 0
        self._kept: deque[_Change] = deque(maxlen=KEPT_CHANGES)
        self._previous: int | None = None  # what the last change followed on
        self._row: int | None = None  # what the first change since the last break followed on
        self._begins = False  # nothing came since the snapshot: the next change may begin before its number

    def update(self, previous: int, last: int, ts: int, bids: Levels, asks: Levels) -> list[MarketEvent]:
        """Take the next change of the stream, which follows on `previous` and ends with `last`.

        Returns:
            The change itself while in step, a `BookInvalid` when the book is lost, else nothing.
        """
        known = self.last
        if self.synced:
            joins = previous == known
            if not joins and self._begins and known is not None:
                if last <= known:
                    return []
                joins = previous < known
            if joins:
                self._previous, self.last, self._begins = previous, last, False
                return [BookUpdate(self.symbol, ts, bids, asks)]
        if last == known and previous == self._previous:
            return []
        lost: list[MarketEvent] = []
        if self.synced:
            self.synced = self._begins = False
            self.gaps += 1
            reason = f"gap: a change follows on {previous}, expected {known}; waiting for a snapshot"
            lost.append(BookInvalid(self.symbol, ts, reason))
        self._keep(_Change(previous, last, ts, bids, asks))
        return lost

    def restart(self, last: int, ts: int, bids: Levels, asks: Levels) -> list[MarketEvent]:
        """Take a snapshot out of the stream itself: whatever was before, the book begins here."""
        known = self.synced
        self._begin(last, row=last)
        whole = BookUpdate(self.symbol, ts, bids, asks, snapshot=True)
        return [whole] if known else [BookSynced(self.symbol, ts), whole]

    def snapshot(self, last: int, ts: int | None, bids: Levels, asks: Levels) -> list[MarketEvent]:
        """Take a snapshot that was asked for after the stream was subscribed; a book in step needs none.

        When no change has gone beyond it, it is the book as it is, and the next change must join it: a quiet market
        need not wait.

        Args:
            last: Its number.
            ts: Its time, None where it has none.
            bids: Its levels, in any order.
            asks: Its levels, in any order.

        Returns:
            The whole book with the changes kept, or a `BookInvalid` when some are missing in between.
        """
        if self.synced:
            return []
        kept = self._kept
        while kept and kept[0].last <= last:
            kept.popleft()
        if kept and kept[0].previous > last:
            reason = f"snapshot {last} is too old: the changes kept follow on {kept[0].previous}"
            return [BookInvalid(self.symbol, kept[-1].ts, reason)]
        following = list(kept)
        self._begin(last, row=last if self._row is None else self._row)
        asked, offered = dict(bids), dict(asks)
        for change in following:
            _apply(asked, change.bids)
            _apply(offered, change.asks)
            self._previous, self.last, self._begins, ts = change.previous, change.last, False, change.ts
        whole = sorted(asked.items(), reverse=True), sorted(offered.items())
        return [BookSynced(self.symbol, ts), BookUpdate(self.symbol, ts or 0, *whole, snapshot=True)]

    def covers(self, last: int) -> bool:
        """Return whether a snapshot's number lies among the changes that came without a break."""
        first = self._kept[0].previous if self._kept else self._row
        return first is not None and self.last is not None and first <= last <= self.last

    def included(self, last: int) -> list[tuple[Levels, Levels]]:
        """Return bids and asks of the changes kept that a snapshot with this number includes, oldest first."""
        return [(change.bids, change.asks) for change in self._kept if change.last <= last]

    def newest(self) -> tuple[Levels, Levels]:
        """Return bids and asks of the newest change kept."""
        return (self._kept[-1].bids, self._kept[-1].asks) if self._kept else ([], [])

    def lose(self) -> None:
        """Forget everything but the count of gaps: the stream broke, or the book is asked for anew."""
        self._kept.clear()
        self._previous = self._row = self.last = None
        self.synced = self._begins = False

    def state(self) -> dict[str, Any]:
        """Return what a decoder's summary tells: `synced`, `invalid` or `no snapshot`, and the gaps."""
        return {"state": "synced" if self.synced else "invalid" if self.gaps else "no snapshot", "gaps": self.gaps}

    def _begin(self, last: int, row: int) -> None:
        self._kept.clear()
        self._row, self._previous, self.last = row, None, last
        self.synced = self._begins = True

    def _keep(self, change: _Change) -> None:
        """Keep a change for a snapshot to come; what does not follow on the last one begins the row anew."""
        if change.last < change.previous:
            self._kept.clear()  # the numbers begin anew: a snapshot's cannot be compared with any before
            self._row = change.last
        else:
            if change.previous != self.last:
                self._kept.clear()
                self._row = change.previous
            self._kept.append(change)
        self._previous, self.last = change.previous, change.last


def _apply(side: dict[float, float], levels: Levels) -> None:
    for price, size in levels:
        if size:
            side[price] = size
        else:
            side.pop(price, None)
