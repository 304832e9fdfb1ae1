"""What happened, as a hash that two runs of the same seed must share, and the last lines for a person to read."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable

KEPT = 120


class Trace:
    """A running hash over lines.

    Args:
        now_s: Returns the simulated time in seconds.
        keep: How many of the last lines are kept.

    Attributes:
        lines: The last lines.
        count: How many there were.
    """

    def __init__(self, now_s: Callable[[], float], keep: int = KEPT) -> None:
        self._now_s = now_s
        self._hash = hashlib.sha256()
        self.lines: deque[str] = deque(maxlen=keep)
        self.count = 0

    def note(self, text: str) -> None:
        """Take a line down."""
        line = f"{self._now_s():.6f} {text}"
        self._hash.update(line.encode() + b"\n")
        self.lines.append(line)
        self.count += 1

    @property
    def digest(self) -> str:
        """Return the hash so far."""
        return self._hash.hexdigest()[:16]
