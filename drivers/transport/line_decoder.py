"""From raw lines of a venue's sockets to events: what the decoders of all venues share.

A line is one message as JSON, optionally after its receive time in nanoseconds and a space.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from engine.kernel.account import Balance, Position
from engine.kernel.clock import NS_PER_MS
from engine.kernel.errors import UnknownSymbol, VenueUnavailable
from engine.kernel.market import MarketEvent, Unparsed
from engine.kernel.orders import Fill, OrderUpdate

DecodedEvent = MarketEvent | OrderUpdate | Fill | Position | Balance

MAX_LINE_BYTES = 8 << 20
"""A longer line that does not begin as a message is reported, not searched; the largest REST snapshot has 0.3 MB."""
_LONGEST_TIME = 19
RAW_SHOWN = 200
"""How many characters of an undecodable message are shown."""


class Undecodable(Exception):
    """A payload is not a message of this venue; the text says why, `symbol` is its native name where known."""

    def __init__(self, reason: str, symbol: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.symbol = symbol


NONSENSE = (ArithmeticError, LookupError, TypeError, ValueError)
"""What a field without sense leads to where nothing foresaw it."""


def reason_of(error: Exception) -> str:
    """Return why a message could not be understood, in words."""
    if isinstance(error, Undecodable):
        return error.reason
    return error.message if isinstance(error, UnknownSymbol) else f"{type(error).__name__}: {error}"


@contextmanager
def understanding(what: str) -> Iterator[None]:
    """Turn rows without sensible values into `VenueUnavailable`: a query whose answer makes no sense has failed.

    Args:
        what: Venue and question, for the message.
    """
    try:
        yield
    except (Undecodable, *NONSENSE) as error:
        raise VenueUnavailable(f"{what}: the answer cannot be understood: {reason_of(error)}") from error


def unparsed(payload: bytes, reason: str, ts: int | None = None, symbol: str | None = None) -> Unparsed:
    """Return what to tell of a message that could not be understood: the reason and the beginning of its text."""
    raw = payload[: 4 * RAW_SHOWN].decode("utf-8", "backslashreplace").rstrip("\r\n")
    return Unparsed(reason, raw if len(raw) <= RAW_SHOWN else raw[:RAW_SHOWN] + "…", ts, symbol)


class MessageDecoder(Protocol):
    """What a venue adds: one message to events, and the state of its books."""

    def take(self, payload: bytes, received_ms: int | None) -> tuple[str, list[Any]]:
        """Return the message's name for the counts and the events (`DecodedEvent`) that it leads to.

        Raises:
            Undecodable: It is no message of this venue.
            UnknownSymbol: Its symbol is none that can be named.
        """

    def symbol_of(self, native: str) -> str | None:
        """Return the canonical symbol of a native name met before, None when there is not exactly one."""

    def state(self) -> dict[str, Any]:
        """Return what `summary` tells beside the counts: `books` and whatever else the venue keeps."""


class LineDecoder:
    """Turns raw lines into events. Never raises on data.

    Args:
        messages: The venue's own decoder.

    Attributes:
        ts_ns: Time of the last line: receive time when given, else venue time; 0 before the first.
        counts: Messages by type: the venue's own names and `unparsed`.
    """

    def __init__(self, messages: MessageDecoder) -> None:
        self.ts_ns = 0
        self.counts: Counter[str] = Counter()
        self._messages = messages
        self._take = messages.take
        self._received_ms: int | None = None

    def feed(self, line: bytes) -> list[DecodedEvent]:
        """Decode one line.

        Returns:
            The events it leads to: none for a reply, several when a book comes into step; what cannot be understood
            is one `Unparsed` with the reason.
        """
        self._received_ms = None
        try:
            payload = line if line.startswith(b"{") else self._payload(line)
            name, events = self._take(payload, self._received_ms)
        except Undecodable as error:
            return [self._unparsed(line, error.reason, error.symbol)]
        except (UnknownSymbol, *NONSENSE) as error:
            return [self._unparsed(line, reason_of(error), None)]
        self.counts[name] += 1
        if self._received_ms is None and events:
            self.ts_ns = (getattr(events[-1], "ts", 0) or 0) * NS_PER_MS or self.ts_ns
        return events

    def summary(self) -> dict[str, Any]:
        """Return the counts, and each book's final state: `synced`, `invalid`, or `no snapshot`."""
        return {"messages": dict(sorted(self.counts.items())), **self._messages.state()}

    def _payload(self, line: bytes) -> bytes:
        """Strip the receive time off a line and keep it."""
        if len(line) > MAX_LINE_BYTES:
            raise Undecodable(f"line of {len(line)} bytes, longer than {MAX_LINE_BYTES}")
        at = line.find(b" {", 0, _LONGEST_TIME + 1)
        if at > 0 and line[:at].isdigit():
            # What a recorder writes, with one copy of the payload.
            self.ts_ns = int(line[:at])
            self._received_ms = self.ts_ns // NS_PER_MS
            return line[at + 1 :]
        line = line.removeprefix(BOM_UTF8)  # an editor wrote the file
        received, _, payload = line.strip().partition(b" ")
        if not received:
            raise Undecodable("empty line")
        if payload and received.isdigit() and len(received) <= _LONGEST_TIME:
            self.ts_ns = int(received)
            self._received_ms = self.ts_ns // NS_PER_MS
            return payload
        return line

    def _unparsed(self, line: bytes, reason: str, native: str | None) -> Unparsed:
        self.counts["unparsed"] += 1
        symbol = None if native is None else self._messages.symbol_of(native)
        return unparsed(line, reason, self._received_ms, symbol)
