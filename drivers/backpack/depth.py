"""Keeping an order book in step with Backpack's depth stream, by the venue's own sequence rules.

Updates are kept from the start. A REST snapshot with id L is usable when no update is missing between it and those
kept: updates with u <= L are dropped, the first that is left must satisfy U <= L + 1. From there on U is the u before
it plus one. A break makes the book invalid until the next usable snapshot.
"""

from __future__ import annotations

from collections import deque

from drivers.backpack.wire import Depth, DepthSnapshot, WireLevels
from engine.kernel.market import BookInvalid, BookSynced, BookUpdate, MarketEvent

BUFFERED_UPDATES = 10_000
"""How many updates wait for a snapshot; the oldest are dropped, which only makes older snapshots unusable."""


class DepthSync:
    """The sequence state of one symbol's book.

    Args:
        symbol: Canonical name for the events.

    Attributes:
        synced: Whether the book is complete and continuous.
        last_id: Id of the last update or snapshot that counts, None before the first.
        gaps: How many times a synced book was lost.
    """

    __slots__ = ("_after_snapshot", "_begins", "_buffer", "_symbol", "gaps", "last_id", "synced")

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol
        self._buffer: deque[Depth] = deque(maxlen=BUFFERED_UPDATES)
        self._after_snapshot = False  # no update came since: the next may begin before the snapshot's id
        self._begins: int | None = None  # the first id of the unbroken row of updates
        self.last_id: int | None = None
        self.synced = False
        self.gaps = 0

    def update(self, message: Depth) -> list[MarketEvent]:
        """Take the next message of the stream.

        Returns:
            The change itself while in step, a `BookInvalid` when the book is lost, else nothing.
        """
        last = self.last_id
        if not self.synced or last is None:
            self._keep(message)
            return []
        if message.u <= last:
            return []
        if last + 1 == message.U or (self._after_snapshot and last >= message.U):
            self._after_snapshot = False
            self.last_id = message.u
            return [BookUpdate(self._symbol, time_of(message), message.b, message.a)]
        self.synced = False
        self.gaps += 1
        self._keep(message)
        reason = f"gap: U {message.U}, expected {last + 1}; waiting for a snapshot"
        return [BookInvalid(self._symbol, time_of(message), reason)]

    def snapshot(self, message: DepthSnapshot) -> list[MarketEvent]:
        """Take a REST snapshot that was asked for after the stream was subscribed; a synced book needs none.

        Returns:
            The whole book with what was kept applied to it, a `BookInvalid` when updates are missing in between.
        """
        if self.synced:
            return []
        last, buffer = message.lastUpdateId, self._buffer
        while buffer and buffer[0].u <= last:
            buffer.popleft()
        ts = (message.timestamp or 0) // 1000
        if buffer and last + 1 < buffer[0].U:
            reason = f"snapshot {last} is too old: the updates kept begin at {buffer[0].U}"
            return [BookInvalid(self._symbol, ts or None, reason)]
        bids, asks = dict(message.bids), dict(message.asks)
        for update in buffer:
            _change(bids, update.b)
            _change(asks, update.a)
            last, ts = update.u, time_of(update)
        self._after_snapshot = not buffer
        buffer.clear()
        self.last_id, self.synced = last, True
        return [
            BookSynced(self._symbol, ts or None),
            BookUpdate(self._symbol, ts, sorted(bids.items(), reverse=True), sorted(asks.items()), snapshot=True),
        ]

    def covers(self, snapshot_id: int) -> bool:
        """Return whether a snapshot's id lies among the updates that came without a break."""
        first = self._begins if self.synced or not self._buffer else self._buffer[0].U
        last = self.last_id
        return first is not None and last is not None and first - 1 <= snapshot_id <= last

    def included(self, snapshot_id: int) -> list[tuple[WireLevels, WireLevels]]:
        """Return bids and asks of the updates kept that a snapshot includes, oldest first."""
        return [(update.b, update.a) for update in self._buffer if update.u <= snapshot_id]

    def lose(self) -> None:
        """Wait for a snapshot again, with the updates that come from now on."""
        self._buffer.clear()
        self.synced = False
        self._begins = self.last_id = None

    def _keep(self, message: Depth) -> None:
        if self.last_id is None or self.last_id + 1 != message.U:
            self._buffer.clear()
            self._begins = message.U
        self._buffer.append(message)
        self.last_id = message.u


def time_of(message: Depth) -> int:
    """Return the time of the last change, ms."""
    return (message.T or message.E) // 1000


def _change(side: dict[float, float], levels: WireLevels) -> None:
    for price, size in levels:
        if size:
            side[price] = size
        else:
            side.pop(price, None)
