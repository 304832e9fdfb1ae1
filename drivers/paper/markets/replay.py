"""A market that was recorded: raw capture files through a decoder, or any other iterator of timed events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from engine.kernel.clock import NS_PER_MS, NS_PER_S
from engine.kernel.errors import ConfigError
from engine.kernel.instruments import Instrument
from engine.kernel.market import Bar, BookInvalid, BookSynced, FundingRate, MarketEvent, Trade

_LOOP_PAUSE_NS = NS_PER_S

Batch = tuple[int, Sequence[MarketEvent]]
"""The time (ns) at which events were received, and the events."""


class LineDecoder(Protocol):
    """Turns one raw line of a recording into market events.

    Attributes:
        ts_ns: Time of the last line, ns: when it was received, else the venue's time.
    """

    ts_ns: int

    def feed(self, line: bytes) -> list[MarketEvent]:
        """Decode a line; what cannot be understood comes back as `Unparsed`."""


def decoded(lines: Iterator[bytes], decoder: LineDecoder) -> Iterator[Batch]:
    """Decode a recording's lines into timed events; lines that lead to none are left out."""
    feed = decoder.feed
    for line in lines:
        events = feed(line)
        if events:
            yield decoder.ts_ns, events


class ReplayMarket:
    """Plays a recording, once or again and again with its times moved on.

    Args:
        instruments: What the recording holds, with its steps and minimums.
        source: Opens the recording from its beginning.
        loop: Whether it begins again after its end.

    Raises:
        ConfigError: The recording holds no event.
    """

    def __init__(
        self, instruments: Sequence[Instrument], source: Callable[[], Iterator[Batch]], loop: bool = False
    ) -> None:
        self._instruments = list(instruments)
        self._source = source
        self._loop = loop
        self._batches = source()
        self._round = 0
        self._shift_ns = 0
        self._books: dict[str, None] = {}
        first = next(self._batches, None)
        if first is None:
            raise ConfigError("the recording holds no market events; choose another file")
        self._pending: Sequence[MarketEvent] = first[1]
        self._due_ns: int | None = first[0]
        self._last_ns = self.start_ns = first[0]
        self._note_books(first[1])

    def instruments(self) -> list[Instrument]:
        """Return what the recording holds."""
        return self._instruments

    def next_event_ns(self) -> int | None:
        """Return the time of the next recorded moment, None at the end."""
        return self._due_ns

    def step(self) -> Sequence[MarketEvent]:
        """Return the events of the next recorded moment."""
        events = self._pending
        following = next(self._batches, None)
        if following is not None:
            received_ns = following[0] + self._shift_ns
            if received_ns > self._last_ns:
                self._last_ns = received_ns
            self._due_ns = self._last_ns
            self._pending = following[1]
            if self._shift_ns:
                self._move(self._pending)
            elif self._loop:
                self._note_books(self._pending)
        elif self._loop:
            self._begin_again()
        else:
            self._due_ns = None
        return events

    def skip_to(self, now_ns: int) -> None:
        """Go on at `now_ns` with what comes next: a recording waits while the program does."""
        if self._due_ns is not None and now_ns > self._due_ns:
            more_ns = now_ns - self._due_ns
            for event in self._pending:
                _shift(event, more_ns // NS_PER_MS)
            self._shift_ns += more_ns
            self._last_ns = self._due_ns = now_ns

    def klines(self, symbol: str, timeframe: str, limit: int, start: int | None, end: int | None) -> list[Bar]:
        """Return nothing: a recording knows no time before its beginning."""
        return []

    def _begin_again(self) -> None:
        """Open the recording anew, a moment after its end; books are invalid until their next snapshot."""
        self._round += 1
        self._batches = self._source()
        first = next(self._batches, None)
        if first is None:
            raise ConfigError("the recording held events, and holds none when it is opened again")
        self._last_ns += _LOOP_PAUSE_NS
        self._shift_ns = self._last_ns - first[0]
        self._due_ns = self._last_ns
        self._move(first[1])
        now_ms = self._last_ns // NS_PER_MS
        ended = [BookInvalid(symbol, now_ms, "the recording begins again") for symbol in self._books]
        self._pending = [*ended, *first[1]]

    def _move(self, events: Sequence[MarketEvent]) -> None:
        shift_ms = self._shift_ns // NS_PER_MS
        for event in events:
            _shift(event, shift_ms)
            if self._round and type(event) is Trade:
                event.id = f"{event.id}.{self._round}"

    def _note_books(self, events: Sequence[MarketEvent]) -> None:
        for event in events:
            if type(event) is BookSynced:
                self._books[event.symbol] = None


def _shift(event: MarketEvent, shift_ms: int) -> None:
    if event.ts is not None:
        event.ts += shift_ms
    if type(event) is FundingRate:
        event.next_time += shift_ms
    elif type(event) is Bar:
        event.open_time += shift_ms
