"""Keeping an order book in step with OKX's `books` channel, by the venue's own sequence rules.

The snapshot of the channel has prevSeqId -1; each update's prevSeqId is the seqId before it. A heartbeat without
changes has prevSeqId == seqId. After maintenance seqId is smaller than prevSeqId once; the new seqId counts from then
on. Where no snapshot comes, a REST snapshot with seqId S takes its place: updates with seqId <= S are dropped, the
first one used has prevSeqId <= S < seqId. The checksum is always 0 and says nothing.
"""

from __future__ import annotations

from collections import deque

from engine.kernel.market import BookInvalid, BookSynced, BookUpdate, Levels, MarketEvent

BUFFERED_UPDATES = 2_000
"""How many updates wait for a REST snapshot; the oldest are dropped, which only makes older snapshots unusable."""
NO_PREVIOUS = -1


class Step:
    """One message of the channel, in coins."""

    __slots__ = ("asks", "bids", "previous", "sequence", "ts")

    def __init__(self, previous: int, sequence: int, ts: int, bids: Levels, asks: Levels) -> None:
        self.previous = previous
        self.sequence = sequence
        self.ts = ts
        self.bids = bids
        self.asks = asks


class DepthSync:
    """The sequence state of one symbol's book.

    Args:
        symbol: Canonical name for the events.

    Attributes:
        synced: Whether the book is complete and continuous.
        last: seqId of the last message seen, None before the first.
        gaps: How many times a synced book was lost.
    """

    __slots__ = ("_before_last", "_buffer", "_from_rest", "_symbol", "gaps", "last", "synced")

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol
        self._buffer: deque[Step] = deque(maxlen=BUFFERED_UPDATES)
        self._before_last: int | None = None
        self._from_rest = False  # the next update is the first after a REST snapshot
        self.last: int | None = None
        self.synced = False
        self.gaps = 0

    def snapshot(self, step: Step) -> list[MarketEvent]:
        """Take the channel's own snapshot: whatever was before, the book begins here."""
        return self._load(step, from_rest=False)

    def update(self, step: Step) -> list[MarketEvent]:
        """Take the next update.

        Returns:
            The change itself while in step; what became of the book when that changes; else nothing.
        """
        last = self.last
        if self.synced:
            if step.previous == last:
                self._before_last, self.last, self._from_rest = last, step.sequence, False
                return [BookUpdate(self._symbol, step.ts, step.bids, step.asks)]
            if step.sequence == last and step.previous == self._before_last:
                return []
            if self._from_rest and last is not None:
                if step.sequence <= last:
                    return []
                if step.previous < last:
                    self._before_last, self.last, self._from_rest = step.previous, step.sequence, False
                    return [BookUpdate(self._symbol, step.ts, step.bids, step.asks)]
        lost = self._lose(step) if self.synced else []
        self._keep(step, follows=step.previous == last)
        return lost

    def rest_snapshot(self, step: Step) -> list[MarketEvent]:
        """Take a REST snapshot; one that is not needed changes nothing, one that is too old says so."""
        if self.synced:
            return []
        buffer = self._buffer
        while buffer and buffer[0].sequence <= step.sequence:
            buffer.popleft()
        if buffer and buffer[0].previous > step.sequence:
            reason = f"snapshot {step.sequence} is too old: the updates kept begin after {buffer[0].previous}"
            return [BookInvalid(self._symbol, buffer[-1].ts, reason)]
        following = list(buffer)
        events = self._load(step, from_rest=True)
        for update in following:
            events += self.update(update)
        return events

    def covers(self, sequence: int) -> bool:
        """Return whether a REST snapshot with this seqId joins the updates that are kept."""
        buffer = self._buffer
        return bool(buffer) and buffer[0].previous <= sequence <= buffer[-1].sequence

    def lose(self) -> None:
        """Forget everything: the connection broke, or the symbol is asked for anew."""
        self.synced = self._from_rest = False
        self.last = self._before_last = None
        self._buffer.clear()

    def _load(self, step: Step, from_rest: bool) -> list[MarketEvent]:
        known = self.synced
        self._buffer.clear()
        self.synced, self._from_rest = True, from_rest
        self._before_last, self.last = None, step.sequence
        whole = BookUpdate(self._symbol, step.ts, step.bids, step.asks, snapshot=True)
        return [whole] if known else [BookSynced(self._symbol, step.ts), whole]

    def _lose(self, step: Step) -> list[MarketEvent]:
        reason = f"gap: prevSeqId {step.previous}, expected {self.last}; waiting for a snapshot"
        self.synced = self._from_rest = False
        self.gaps += 1
        return [BookInvalid(self._symbol, step.ts, reason)]

    def _keep(self, step: Step, follows: bool) -> None:
        """Keep an update for a REST snapshot to come; what does not follow on the last one begins the row anew."""
        buffer = self._buffer
        if not follows:
            buffer.clear()
        self._before_last, self.last = step.previous, step.sequence
        if step.sequence < step.previous:
            buffer.clear()  # the numbers began anew: none before them can be compared with a snapshot's
        elif step.bids or step.asks or not buffer:
            buffer.append(step)
