"""Scripted faults of an emulator: what is lost, late, doubled, silent or wrong.

A `match` of requests is a predicate on (method, path, body), or text: part of the path, with or without a method in
front (`"POST /api/v5/trade/order"`). Requests over a trading socket have the method `WS` and their operation as path.
A channel is a pattern (`books:*`), or the part of the name before the first colon (`books`); `*` is all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from fnmatch import fnmatchcase

from engine.kernel.clock import NS_PER_S, Clock

Match = Callable[[str, str, bytes], bool] | str


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer, or the text of an answer on a socket."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Kind(Enum):
    """What happens to a request."""

    LOSE_RESPONSE = auto()
    LOSE_REQUEST = auto()
    ANSWER = auto()
    UNKNOWN_BUT_DONE = auto()
    HOLD_UP = auto()
    DELAY = auto()


@dataclass(slots=True)
class Fault:
    """One scripted fault of requests.

    Attributes:
        times: How often it still happens; None for as long as it stands.
        seen: How often it happened.
    """

    kind: Kind
    match: Match
    times: int | None = 1
    answer: Answer = field(default_factory=Answer)
    seconds: float = 0.0
    seen: int = 0

    def stop(self) -> None:
        """Let it happen no more."""
        self.times = 0

    def takes(self, method: str, path: str, body: bytes) -> bool:
        """Return whether it happens to a request, and count it."""
        if self.times == 0 or not _matches(self.match, method, path, body):
            return False
        if self.times is not None:
            self.times -= 1
        self.seen += 1
        return True


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to happen to one request: at most one fault, held up for `held_s`, answered after `seconds`."""

    kind: Kind | None = None
    answer: Answer = field(default_factory=Answer)
    seconds: float = 0.0
    held_s: float = 0.0


class Faults:
    """The faults of one emulator.

    Args:
        clock: Time of lags and bans.
        cut: Closes sockets: (which, close code; None cuts the connection without a word).
    """

    def __init__(self, clock: Clock, cut: Callable[[str, int | None], int]) -> None:
        self._clock = clock
        self._cut = cut
        self._requests: list[Fault] = []
        self._muted: set[str] = set()
        self._drops: dict[str, int] = {}
        self._duplicates: dict[str, int] = {}
        self._reorders: set[str] = set()
        self._held: dict[str, list[str]] = {}
        self._lag_ns = 0
        self._banned_until_ns = 0
        self.black_holes: set[str] = set()

    def lose_response(self, match: Match, times: int | None = 1) -> Fault:
        """Carry the request out, then cut the connection before the answer."""
        return self._add(Fault(Kind.LOSE_RESPONSE, match, times))

    def lose_request(self, match: Match, times: int | None = 1) -> Fault:
        """Cut the connection before anything is carried out."""
        return self._add(Fault(Kind.LOSE_REQUEST, match, times))

    def answer(
        self,
        match: Match,
        status: int,
        body: str | bytes = b"",
        headers: Mapping[str, str] | None = None,
        times: int | None = 1,
    ) -> Fault:
        """Answer with this instead, nothing is carried out; works on the opening of sockets too."""
        return self._add(Fault(Kind.ANSWER, match, times, _answer(status, body, headers)))

    def unknown_but_done(
        self,
        match: Match,
        status: int,
        body: str | bytes = b"",
        headers: Mapping[str, str] | None = None,
        times: int | None = 1,
    ) -> Fault:
        """Carry the request out, then answer with this."""
        return self._add(Fault(Kind.UNKNOWN_BUT_DONE, match, times, _answer(status, body, headers)))

    def delay(self, match: Match, seconds: float, times: int | None = None) -> Fault:
        """Carry requests out at once, but answer `seconds` later."""
        return self._add(Fault(Kind.DELAY, match, times, seconds=seconds))

    def hold_up(self, match: Match, seconds: float, times: int | None = 1) -> Fault:
        """Let requests arrive `seconds` later, whether or not anybody waits for their answers by then."""
        return self._add(Fault(Kind.HOLD_UP, match, times, seconds=seconds))

    def mute(self, channel: str) -> None:
        """Send nothing on these channels while the socket stays open and answers pings."""
        self._muted.add(channel)

    def unmute(self, channel: str) -> None:
        """Send again; what was published meanwhile is lost."""
        self._muted.discard(channel)

    def drop_message(self, channel: str, n: int = 1) -> None:
        """Lose the next `n` messages."""
        self._drops[channel] = self._drops.get(channel, 0) + n

    def duplicate(self, channel: str, n: int = 1) -> None:
        """Send each of the next `n` messages twice."""
        self._duplicates[channel] = self._duplicates.get(channel, 0) + n

    def reorder(self, channel: str) -> None:
        """Send the next message after the one that follows it."""
        self._reorders.add(channel)

    def cut_sockets(self, which: str = "*", code: int | None = None) -> int:
        """Cut the open sockets of a kind (`public`, `private`, ...; `*` all), with a close code if one is given.

        Returns:
            How many were cut.
        """
        return self._cut(which, code)

    def black_hole(self, which: str = "*") -> None:
        """Let sockets of a kind stay open but neither answer nor send anything, pongs included."""
        self.black_holes.add(which)

    def lag(self, seconds: float) -> None:
        """Hide new orders from queries for so long after they were placed; 0 ends it."""
        self._lag_ns = int(seconds * NS_PER_S)

    def ban(self, seconds: float) -> None:
        """Refuse every request for so long, in the venue's words for a banned address."""
        self._banned_until_ns = self._clock.now_ns() + int(seconds * NS_PER_S)

    def clear(self) -> None:
        """End every fault."""
        self._requests.clear()
        self._muted.clear()
        self._drops.clear()
        self._duplicates.clear()
        self._reorders.clear()
        self._held.clear()
        self.black_holes.clear()
        self._lag_ns = self._banned_until_ns = 0

    @property
    def banned_s(self) -> float:
        """Return how many seconds the ban still lasts, 0 without one."""
        return max(0.0, (self._banned_until_ns - self._clock.now_ns()) / NS_PER_S)

    def hides(self, placed_ms: int) -> bool:
        """Return whether an order that was placed at a time (ms of the faults' clock) is not visible to queries yet."""
        return self._lag_ns > 0 and placed_ms * 1_000_000 + self._lag_ns > self._clock.now_ns()

    def plan(self, method: str, path: str, body: bytes) -> Plan:
        """Return what is to happen to a request."""
        seconds = 0.0
        chosen: Fault | None = None
        for fault in self._requests:
            if fault.kind is Kind.DELAY:
                seconds += fault.seconds if fault.takes(method, path, body) else 0.0
            elif chosen is None and fault.takes(method, path, body):
                chosen = fault
        self._requests = [fault for fault in self._requests if fault.times != 0]
        return (
            Plan(None, seconds=seconds) if chosen is None else Plan(chosen.kind, chosen.answer, seconds, chosen.seconds)
        )

    def stream(self, channel: str, text: str) -> list[str]:
        """Return what really goes out when a message is published on a channel."""
        if any(matches_channel(pattern, channel) for pattern in self._muted):
            return []
        if _counted(self._drops, channel):
            return []
        reordering = next((pattern for pattern in self._reorders if matches_channel(pattern, channel)), None)
        if reordering is not None:
            self._reorders.discard(reordering)
            self._held.setdefault(channel, []).append(text)
            return []
        texts = [text, text] if _counted(self._duplicates, channel) else [text]
        return texts + self._held.pop(channel, [])

    def _add(self, fault: Fault) -> Fault:
        self._requests.append(fault)
        return fault


def matches_channel(pattern: str, channel: str) -> bool:
    """Return whether a channel name is meant by a pattern."""
    return channel.partition(":")[0] == pattern or fnmatchcase(channel, pattern)


def _matches(match: Match, method: str, path: str, body: bytes) -> bool:
    if not isinstance(match, str):
        return match(method, path, body)
    wanted, _, part = match.rpartition(" ")
    return (not wanted or wanted == method) and part in path


def _counted(counts: dict[str, int], channel: str) -> bool:
    for pattern, left in counts.items():
        if left and matches_channel(pattern, channel):
            counts[pattern] = left - 1
            return True
    return False


def _answer(status: int, body: str | bytes, headers: Mapping[str, str] | None) -> Answer:
    return Answer(status, body.encode() if isinstance(body, str) else body, headers or {})
