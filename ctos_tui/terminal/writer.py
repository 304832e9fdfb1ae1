"""The thread that writes to the terminal, so that nobody else ever waits for it."""

from __future__ import annotations

import errno
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

HIGH = 8_000
LOW = 500
LIMIT = 1_000_000

GONE = frozenset({errno.EIO, errno.EPIPE, errno.ENXIO, errno.EBADF, errno.ENODEV})
"""What a terminal that no longer exists answers."""

_SLICE = 4_096
_LAST_SECONDS = 0.5
_RETRY_MS = 50


class PacedWriter(threading.Thread):
    """Writes what it is given, in order, as fast as the terminal takes it.

    `write` never waits: what is not yet written stays in memory, and when more than `LIMIT` bytes wait, all of it is
    dropped, as by then it shows the past. Callbacks run in the thread that notices, so they must be thread-safe.

    Args:
        fileno: The terminal to write to.
        on_level: Called after `behind` has changed; what was called first may come last, so read `behind` then.
        on_dropped: Called when waiting output was dropped: the screen must be painted anew.
        on_lost: Called once, when the terminal cannot be written to any more.
        on_end: Called last: nothing is written by `fileno` any more.

    Attributes:
        behind: Whether more than `HIGH` bytes waited, and not yet less than `LOW` again.
    """

    def __init__(
        self,
        fileno: int,
        *,
        on_level: Callable[[], None],
        on_dropped: Callable[[], None],
        on_lost: Callable[[], None],
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(daemon=True, name="ctos-output")
        self._fileno = fileno
        self._on_level = on_level
        self._on_dropped = on_dropped
        self._on_lost = on_lost
        self._on_end = on_end
        self._queue: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._give_up_at: float | None = None
        self.behind = False
        self.dead = False
        self.pending = 0
        self.unwritten = 0
        self.written = 0
        self.dropped = 0
        self.busy_seconds = 0.0

    def write(self, text: str) -> None:
        """Take text to be written; what comes after the terminal is lost is forgotten."""
        data = text.encode("utf-8", "replace")
        with self._changed:
            if self.dead or not data:
                return
            overflow = self.pending + len(data) > LIMIT
            if overflow:
                self._drop_waiting()
            self._queue.append(data)
            self.pending += len(data)
            went_high = not self.behind and self.pending > HIGH
            self.behind |= went_high
            self._changed.notify()
        if overflow:
            self._on_dropped()
        if went_high:
            self._on_level()

    def drop_waiting(self) -> None:
        """Forget what waits; the piece being written is finished, so no sequence is cut in two."""
        with self._changed:
            self._drop_waiting()

    def _drop_waiting(self) -> None:
        gone = sum(map(len, self._queue))
        self._queue.clear()
        self.pending -= gone
        self.dropped += gone

    def run(self) -> None:
        """Write until told to finish or until the terminal is gone."""
        try:
            while (data := self._next()) is not None:
                self._put(data)
        except OSError as error:
            if error.errno not in GONE:
                raise
        finally:
            with self._changed:
                lost = self._give_up_at is None
                self.dead = True
                self._queue.clear()
                self.unwritten, self.pending = self.pending, 0
            if lost:
                self._on_lost()
            self._on_end()

    def _next(self) -> bytes | None:
        with self._changed:
            while not self._queue:
                if self._give_up_at is not None:
                    return None
                self._changed.wait()
            return self._queue.popleft()

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view and not self._has_given_up:
            began = time.monotonic()
            count = self._put_slice(view[:_SLICE])
            with self._changed:
                self.busy_seconds += time.monotonic() - began
                self.written += count
                self.pending -= count
                went_low = self.behind and self.pending < LOW
                if went_low:
                    self.behind = False
            view = view[count:]
            if went_low:
                self._on_level()

    def _put_slice(self, piece: memoryview) -> int:
        try:
            return os.write(self._fileno, piece)
        except BlockingIOError:
            poller = select.poll()
            poller.register(self._fileno, select.POLLOUT)
            poller.poll(_RETRY_MS)
            return 0

    @property
    def _has_given_up(self) -> bool:
        return self._give_up_at is not None and time.monotonic() > self._give_up_at

    def finish(self) -> None:
        """Write what waits and end, for half a second at most: a stalled terminal may never take it. Does not wait."""
        with self._changed:
            self._give_up_at = time.monotonic() + _LAST_SECONDS
            self._changed.notify()
