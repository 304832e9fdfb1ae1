"""Keeping an order book in step with Binance's depth stream, by the venue's own sequence rules.

Updates are kept from the start. A REST snapshot with id L is usable when an update with

* futures: U <= L <= u (updates with u < L are dropped), each further update's pu equal to the u before it; as nothing
  happened between pu and U, pu <= L <= u will do,
* spot: U <= L + 1 <= u (updates with u <= L are dropped), each further update's U equal to the u before it plus one,

is there. A break makes the book invalid until the next usable snapshot.
"""

from __future__ import annotations

from collections import deque

from drivers.binance.codec import DepthSnapshot, DepthUpdate, WireLevels
from engine.kernel.market import BookInvalid, BookSynced, BookUpdate, Levels, MarketEvent

BUFFERED_UPDATES = 10_000
"""How many updates wait for a snapshot; the oldest are dropped, which only makes older snapshots unusable."""


class DepthSync:
    """The sequence state of one symbol's book.

    Args:
        symbol: Canonical name for the events.
        futures: Whether the futures rule holds; spot otherwise.

    Attributes:
        synced: Whether the book is complete and continuous.
        last_id: Id of the last update seen, None before the first.
        gaps: How many times a synced book was lost.
    """

    __slots__ = (
        "_begins",
        "_buffer",
        "_first_id",
        "_futures",
        "_needed",
        "_snapshot",
        "_symbol",
        "gaps",
        "last_id",
        "synced",
    )

    def __init__(self, symbol: str, futures: bool) -> None:
        self._symbol = symbol
        self._futures = futures
        self._buffer: deque[DepthUpdate] = deque(maxlen=BUFFERED_UPDATES)
        self._snapshot: DepthSnapshot | None = None
        self._first_id: int | None = None
        self._begins: int | None = None  # the first id of the unbroken row of updates
        self.last_id: int | None = None
        self.synced = False
        self.gaps = 0
        self._needed: int | None = None  # what the first update after a snapshot that was current must cover

    def update(self, message: DepthUpdate) -> list[MarketEvent]:
        """Take the next message of the stream.

        Returns:
            The change itself while in step; what became of the book when that changes; else nothing.
        """
        last = self.last_id
        follows = message.pu == last if self._futures else last == message.U - 1
        if follows and self.synced:
            self._first_id, self.last_id = message.U, message.u
            return [BookUpdate(self._symbol, message.T or message.E, message.b, message.a)]
        if message.u == last and self._first_id == message.U:
            return []
        if self._needed is not None:
            return self._first_after(message, self._needed)
        self._first_id, self.last_id = message.U, message.u
        events: list[MarketEvent] = []
        if not follows:
            self._buffer.clear()
            self._begins = _begins(message)
        if self.synced:
            events.append(self._lose(message, last))
        self._buffer.append(message)
        return events + self._try()

    def snapshot(self, message: DepthSnapshot, current: bool = False) -> list[MarketEvent]:
        """Take a REST snapshot; one that the book has already passed is not needed and changes nothing.

        Args:
            message: The snapshot.
            current: Whether it was asked for after the stream was subscribed. When no update has come that goes
                beyond it, it is the book as it is, and the next update must follow it: a quiet market need not wait.
        """
        self._snapshot = message
        if self.synced:
            return []
        events = self._try()
        if events or not current:
            return events
        self._snapshot, self._first_id, self.last_id = None, None, None
        self._needed = message.lastUpdateId if self._futures else message.lastUpdateId + 1
        self.synced = True
        self._buffer.clear()
        ts = message.T or message.E or 0
        whole = BookUpdate(self._symbol, ts, message.bids, message.asks, snapshot=True)
        return [BookSynced(self._symbol, ts or None), whole]

    def covers(self, snapshot_id: int) -> bool:
        """Return whether a snapshot's id lies among the updates that came without a break."""
        needed = snapshot_id if self._futures else snapshot_id + 1
        first = self._begins if self.synced or not self._buffer else _begins(self._buffer[0])
        last = self.last_id
        return first is not None and last is not None and first <= needed <= last

    def included(self, snapshot_id: int) -> list[tuple[WireLevels, WireLevels]]:
        """Return bids and asks of the updates kept that a snapshot includes, oldest first."""
        return [(update.b, update.a) for update in self._buffer if update.u <= snapshot_id]

    def reset(self) -> None:
        """Forget everything but the count of gaps: the stream broke off."""
        self._buffer.clear()
        self._snapshot, self._first_id, self.last_id, self._needed = None, None, None, None
        self._begins = None
        self.synced = False

    def _first_after(self, message: DepthUpdate, needed: int) -> list[MarketEvent]:
        """Take an update after a snapshot that was taken as the book at once."""
        if message.u < needed:
            return []
        self._needed = None
        self._first_id, self.last_id = message.U, message.u
        if _begins(message) <= needed:
            return [BookUpdate(self._symbol, message.T or message.E, message.b, message.a)]
        events: list[MarketEvent] = [self._lose(message, needed)]
        self._buffer.append(message)
        return events

    def _lose(self, message: DepthUpdate, last: int | None) -> BookInvalid:
        self.synced = False
        self.gaps += 1
        if self._snapshot is not None and last is not None and self._snapshot.lastUpdateId <= last:
            self._snapshot = None
        found = f"pu {message.pu}" if self._futures else f"U {message.U}"
        wanted = last if self._futures or last is None else last + 1
        return BookInvalid(self._symbol, message.time, f"gap: {found}, expected {wanted}; waiting for a snapshot")

    def _try(self) -> list[MarketEvent]:
        snapshot, buffer = self._snapshot, self._buffer
        if snapshot is None:
            return []
        needed = snapshot.lastUpdateId if self._futures else snapshot.lastUpdateId + 1
        while buffer and buffer[0].u < needed:
            buffer.popleft()
        if not buffer:
            return []
        self._snapshot = None
        first, last = buffer[0], buffer[-1]
        if needed < _begins(first):
            reason = f"snapshot {snapshot.lastUpdateId} is too old: the updates kept begin at {first.U}"
            return [BookInvalid(self._symbol, last.time, reason)]
        bids, asks = dict(snapshot.bids), dict(snapshot.asks)
        for update in buffer:
            _change(bids, update.b)
            _change(asks, update.a)
        buffer.clear()
        self.synced = True
        top_down: Levels = sorted(bids.items(), reverse=True)
        bottom_up: Levels = sorted(asks.items())
        return [
            BookSynced(self._symbol, last.time),
            BookUpdate(self._symbol, last.time, top_down, bottom_up, snapshot=True),
        ]


def _begins(message: DepthUpdate) -> int:
    """Return the smallest snapshot id that an update can follow; on futures nothing happened between `pu` and `U`."""
    return message.U if message.pu is None else min(message.pu, message.U)


def _change(side: dict[float, float], levels: WireLevels) -> None:
    for price, size in levels:
        if size:
            side[price] = size
        else:
            side.pop(price, None)
