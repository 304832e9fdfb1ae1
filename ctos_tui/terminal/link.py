"""How well the link to the operator's terminal does: bytes a second, drain rate, round trip."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

PING = "\x1b[6n"

_WINDOW = 2.0
_PING_EVERY = 1.0
_PING_LOST = 10.0
_REMEMBERED = 120


@dataclass(slots=True)
class LinkMeter:
    """Measures from samples of the writer's counters and from pings that the terminal answers.

    All times are seconds of one monotonic clock. A ping is a request for the cursor position: its answer shows that
    everything before it has reached the screen, through sshd, TCP and tmux, which the writer cannot see.
    """

    bytes_per_second: float = 0.0
    drain_per_second: float | None = None
    _samples: deque[tuple[float, int, float]] = field(default_factory=deque)
    _asked: float | None = None
    _last_ping: float | None = None
    _answers: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def sample(self, now: float, written: int, busy_seconds: float) -> None:
        """Take the writer's counters: bytes written so far and seconds spent writing."""
        samples = self._samples
        samples.append((now, written, busy_seconds))
        while len(samples) > 2 and now - samples[1][0] >= _WINDOW:
            samples.popleft()
        began, first, busy = samples[0]
        if now > began:
            self.bytes_per_second = (written - first) / (now - began)
        if busy_seconds > busy:
            self.drain_per_second = (written - first) / (busy_seconds - busy)

    def wants_ping(self, now: float) -> bool:
        """Say whether it is time to send `PING`, and take it as sent if so."""
        if self._asked is not None and now - self._asked < _PING_LOST:
            return False
        if self._last_ping is not None and now - self._last_ping < _PING_EVERY:
            return False
        self._asked = self._last_ping = now
        return True

    def answered(self, now: float) -> None:
        """Take the terminal's answer to the last ping."""
        if self._asked is not None:
            self._answers.append(now - self._asked)
            self._asked = None

    def round_trip(self, now: float) -> float | None:
        """Give the round trip in seconds: the last answer's, or the age of a ping still under way if that is more.

        None as long as no ping has been answered: some terminals never do.
        """
        last = self.last_round_trip
        if self._asked is None or last is None:
            return last
        return max(last, now - self._asked)

    @property
    def last_round_trip(self) -> float | None:
        """The last answered round trip in seconds."""
        return self._answers[-1] if self._answers else None

    @property
    def base_round_trip(self) -> float | None:
        """The best round trip of the last two minutes: the link when it is idle."""
        return min(self._answers) if self._answers else None
