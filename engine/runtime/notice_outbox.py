"""When a notice goes to one target: duplicates folded, never more than the limit, the rest in one digest, retries.

A few messages of the allowance are kept for halts, which are sent alone, before everything else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from engine.kernel.anomaly import Severity
from engine.kernel.clock import NS_PER_S, Clock, TimerHandle

BURST, PER_MINUTE = 5, 5
"""Messages at once, and further ones a minute: never more than ten within any minute."""

RESERVED = 2
"""Messages of the allowance that only halts may use."""

FOLD_S = 60.0
HELD = 50
REMEMBERED = 256
DIGEST_LINES = 5
URGENT_KEPT_S = 300.0
KEPT_S = 60.0
FIRST_RETRY_S, LONGEST_RETRY_S = 2.0, 60.0

Send = Callable[[str, str, Severity, Callable[[str], object]], object]
"""Sends (title, body, how grave it looks) and tells later why it failed, nothing when it went."""


@dataclass(slots=True, frozen=True)
class Notice:
    """One thing that the operator is told.

    Attributes:
        key: Notices of one key within a minute are the same news.
        severity: Decides to which targets it goes.
        title: What happened, in a few words.
        text: The rest, with the time.
        urgent: A halt, or how far it has come: never folded, sent first, retried longest.
        tone: How a service shows it where that is not the severity: the end of a failure is no failure.
    """

    key: str
    severity: Severity
    title: str
    text: str
    urgent: bool = False
    tone: Severity | None = None

    @property
    def shown(self) -> Severity:
        """Return how grave it looks."""
        return self.tone or self.severity


@dataclass(slots=True)
class _Held:
    notice: Notice
    since_ns: int


@dataclass(slots=True)
class _Seen:
    """A key that was told a moment ago: what came since, to be told at the end of the minute."""

    until_ns: int
    again: int = 0
    last: Notice | None = None


class Outbox:
    """What waits for one target.

    Args:
        name: The target's name.
        least: Least severity that it wants.
        clock: Its stopwatch measures the limits, its timers wake the outbox.
        send: Sends one message.
        on_trouble: Called with the name and why nothing arrives any more, and with an empty text when it does again.
    """

    def __init__(
        self, name: str, least: Severity, clock: Clock, send: Send, on_trouble: Callable[[str, str], object]
    ) -> None:
        self.name = name
        self._least = least
        self._clock = clock
        self._send = send
        self._on_trouble = on_trouble
        self._held: deque[_Held] = deque()
        self._seen: dict[str, _Seen] = {}
        self._left_out = 0
        self._tokens = float(BURST)
        self._filled_ns = clock.stopwatch_ns()
        self._sending: list[_Held] = []
        self._failures = 0
        self._retry_ns = 0
        self._timer: TimerHandle | None = None
        self._closing = self._stopped = False
        self.on_idle: Callable[[], object] = _nothing

    @property
    def is_failing(self) -> bool:
        """Return whether the last message did not arrive."""
        return self._failures > 0

    @property
    def is_idle(self) -> bool:
        """Return whether nothing is left that is worth waiting for at the end of the program."""
        if self.is_failing:
            return not any(held.notice.urgent for held in (*self._held, *self._sending))
        return not self._held and not self._sending

    def offer(self, notice: Notice) -> None:
        """Take a notice: send it now, later, with others, or as one more of the same."""
        if notice.severity.rank < self._least.rank:
            return
        now_ns = self._clock.stopwatch_ns()
        if not notice.urgent:
            seen = self._seen.get(notice.key)
            if seen is not None and now_ns < seen.until_ns:
                seen.again += 1
                seen.last = notice
                self._wake()
                return
            self._remember(notice.key, now_ns)
        self._hold(_Held(notice, now_ns))
        self._pump()

    def close(self) -> None:
        """Send what waits without further delay; nothing is offered afterwards."""
        self._closing = True
        for seen in self._seen.values():
            self._fold(seen)
        self._pump()

    def stop(self) -> None:
        """Give up what is left; what is on its way is not heard of any more."""
        self._stopped = True
        self._held.clear()
        self._seen.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _remember(self, key: str, now_ns: int) -> None:
        if len(self._seen) >= REMEMBERED:
            self._fold(self._seen.pop(next(iter(self._seen))))
        self._seen[key] = _Seen(now_ns + round(FOLD_S * NS_PER_S))

    def _hold(self, held: _Held) -> None:
        self._held.append(held)
        if len(self._held) > HELD:
            oldest = next((one for one in self._held if not one.notice.urgent), self._held[0])
            self._held.remove(oldest)
            self._left_out += 1

    def _fold(self, seen: _Seen) -> None:
        """Hold what came again of one key as one notice."""
        if seen.last is not None:
            last = seen.last
            title = f"{last.title} (x{seen.again})" if seen.again > 1 else last.title
            self._hold(_Held(replace(last, title=title), self._clock.stopwatch_ns()))
        seen.again, seen.last = 0, None

    def _pump(self) -> None:
        """Send what may be sent now, and see to it that the rest is looked at again."""
        now_ns = self._clock.stopwatch_ns()
        for key, seen in list(self._seen.items()):
            if seen.until_ns > now_ns:
                continue
            del self._seen[key]
            if seen.last is not None:
                self._remember(key, now_ns)
                self._fold(seen)
        self._expire(now_ns)
        batch = self._next(now_ns)
        if batch:
            self._tokens -= 1
            self._sending = batch
            title, body, severity = self._message(batch)
            self._send(title, body, severity, self._sent)
        self._wake()

    def _next(self, now_ns: int) -> list[_Held]:
        """Take what goes into the next message; nothing when none may go now."""
        self._tokens = min(BURST, self._tokens + (now_ns - self._filled_ns) * PER_MINUTE / (60 * NS_PER_S))
        self._filled_ns = now_ns
        if self._sending or now_ns < self._retry_ns:
            return []
        urgent = next((held for held in self._held if held.notice.urgent), None)
        if urgent is not None:
            if self._tokens < 1:
                return []
            self._held.remove(urgent)
            return [urgent]
        if self._tokens < self._needed():
            return []
        batch = list(self._held)
        self._held.clear()
        return batch

    def _needed(self) -> float:
        """Return how many messages must be left for the next one to go."""
        return 1 if self._closing or any(held.notice.urgent for held in self._held) else 1 + RESERVED

    def _message(self, batch: list[_Held]) -> tuple[str, str, Severity]:
        """Return title, text and look of one notice, or of a digest of several, the gravest first."""
        notices = sorted((held.notice for held in batch), key=lambda notice: -notice.shown.rank)
        first = notices[0]
        if first.urgent:
            return first.title, first.text, first.shown
        left_out, self._left_out = self._left_out, 0
        lines = [first.text]
        if len(notices) > 1:
            lines = [f"{notice.title}\n{notice.text}" for notice in notices[:DIGEST_LINES]]
        hidden = max(0, len(notices) - DIGEST_LINES) + left_out
        if hidden:
            lines.append(f"and {hidden} more: see the anomalies and the log of the console")
        title = first.title if len(notices) == 1 else f"{first.title} and {len(notices) - 1 + left_out} more"
        return title, "\n\n".join(lines), first.shown

    def _sent(self, failure: str) -> None:
        """Take in what became of the message on its way."""
        if self._stopped:
            return
        batch, self._sending = self._sending, []
        now_ns = self._clock.stopwatch_ns()
        if failure:
            self._failures += 1
            pause = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(self._failures - 1, 10))
            self._retry_ns = now_ns + round(pause * NS_PER_S)
            self._held.extendleft(reversed(batch))
            if self._failures == 1:
                self._on_trouble(self.name, failure)
        elif self._failures:
            self._failures = self._retry_ns = 0
            self._on_trouble(self.name, "")
        self._pump()
        if self.is_idle:
            self.on_idle()

    def _expire(self, now_ns: int) -> None:
        """Drop what waits for a failing target for too long."""
        if not self._failures:
            return
        kept = []
        for held in self._held:
            limit_s = URGENT_KEPT_S if held.notice.urgent else KEPT_S
            if now_ns - held.since_ns < limit_s * NS_PER_S:
                kept.append(held)
            else:
                self._left_out += 1
        self._held = deque(kept)

    def _wake(self) -> None:
        """Set the timer for the next thing that is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now_ns = self._clock.stopwatch_ns()
        due = [seen.until_ns for seen in self._seen.values() if seen.last is not None]
        if self._held and not self._sending:
            missing = max(0.0, self._needed() - self._tokens)
            due.append(max(self._retry_ns, now_ns + round(missing * 60 * NS_PER_S / PER_MINUTE)))
        if due:
            # A little late rather than early: what is due is then due by every reading of the clock.
            self._timer = self._clock.call_later(max(0, min(due) - now_ns) / NS_PER_S + 0.01, self._pump)


def _nothing() -> None:
    """Stand in while nobody waits."""
