"""From raw lines of Backpack's sockets to events: the decoder behind `decode`, `replay:` and recordings.

Public and private messages and REST snapshots of books come mixed in one recording. A snapshot does not name its
symbol: it belongs to the symbol being synced.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from typing import Any

from drivers.backpack.codec import balance_of, event_fill, event_position, event_update
from drivers.backpack.feed import PublicFeed
from drivers.backpack.rest_wire import RestBalance
from drivers.backpack.wire import (
    BalanceEvent,
    Depth,
    DepthSnapshot,
    OrderEvent,
    PositionEvent,
    StreamReply,
    decode,
    stream_kind,
)
from drivers.transport.line_decoder import LineDecoder, Undecodable
from drivers.transport.snapshots import Book, Snapshot, WaitingSnapshots
from drivers.transport.thousands import coin_levels

NOT_KNOWN = Decimal(0)


class BackpackMessages:
    """Decodes one message at a time; what each symbol's book needs is kept in between."""

    def __init__(self) -> None:
        self._feed = PublicFeed()
        self._snapshots = WaitingSnapshots(self._books)

    def take(self, payload: bytes, received_ms: int | None) -> tuple[str, list[Any]]:
        """Return the message's name and its events; see `MessageDecoder`."""
        stream, message = decode(payload)
        kind = stream_kind(stream)
        if message is None:
            return kind, []
        if isinstance(message, StreamReply):
            if message.error is not None:
                raise Undecodable(f"the venue refused a request: {message.error.code} {message.error.message[:120]}")
            return kind, []
        if isinstance(message, DepthSnapshot):
            snapshot = Snapshot(message.lastUpdateId, message.ts, message.bids, message.asks)
            return kind, self._snapshots.take(snapshot)
        if isinstance(message, OrderEvent | PositionEvent | BalanceEvent):
            return kind, _private(message)
        events: list[Any] = list(self._feed.take(message, stream))
        if isinstance(message, Depth) and self._snapshots and not self._feed.market(message.s).sync.synced:
            events += self._snapshots.place()
        return kind, events

    def symbol_of(self, native: str) -> str | None:
        """Return the canonical symbol of a native name met before."""
        market = self._feed.markets.get(native)
        return market.listing.symbol if market is not None else None

    def state(self) -> dict[str, Any]:
        """Return the state of each book: `synced`, `invalid`, or `no snapshot`."""
        syncs = [market.sync for market in self._feed.markets.values()]
        books = {sync.symbol: sync.state() for sync in syncs if sync.last is not None}
        return {"books": books, "unplaced_snapshots": self._snapshots.unplaced()}

    def _books(self, group: str) -> Iterator[Book]:
        for market in self._feed.markets.values():
            yield Book(market.sync, partial(coin_levels, multiplier=market.listing.multiplier))


def make_decoder() -> LineDecoder:
    """Return a decoder of raw lines from this venue's sockets."""
    return LineDecoder(BackpackMessages())


def _private(message: OrderEvent | PositionEvent | BalanceEvent) -> list[Any]:
    """Return the events of a private message; the venue's number of an order stands for its client id."""
    if isinstance(message, PositionEvent):
        return [event_position(message, leverage=NOT_KNOWN)]
    if isinstance(message, BalanceEvent):
        return [balance_of(message.a, RestBalance(message.A, message.L, message.S), lent=Decimal(0))]
    events: list[Any] = [event_update(message, _number)]
    fill = event_fill(message, _number)
    return [*events, fill] if fill is not None else events


def _number(number: int | None) -> str:
    return "" if number is None else str(number)
