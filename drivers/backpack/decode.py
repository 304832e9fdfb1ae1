"""From raw lines of Backpack's sockets to events: the decoder behind `decode`, `replay:` and recordings.

Public and private messages and REST snapshots of books come mixed in one recording. A snapshot does not name its
symbol: it belongs to the symbol being synced.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from drivers.backpack.codec import balance_of, event_fill, event_position, event_update
from drivers.backpack.feed import MarketFeed, PublicFeed
from drivers.backpack.rest_wire import RestBalance
from drivers.backpack.values import coin_levels, coins
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
from drivers.transport.snapshots import agreement, best_fit

WAITING_SNAPSHOTS = 50
NOT_KNOWN = Decimal(0)


class BackpackMessages:
    """Decodes one message at a time; what each symbol's book needs is kept in between."""

    def __init__(self) -> None:
        self._feed = PublicFeed()
        self._waiting: list[DepthSnapshot] = []

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
            self._waiting = [*self._waiting, message][-WAITING_SNAPSHOTS:]
            return kind, self._place_snapshots()
        if isinstance(message, OrderEvent | PositionEvent | BalanceEvent):
            return kind, _private(message)
        events: list[Any] = list(self._feed.take(message, stream))
        if isinstance(message, Depth) and self._waiting and not self._feed.market(message.s).sync.synced:
            events += self._place_snapshots()
        return kind, events

    def symbol_of(self, native: str) -> str | None:
        """Return the canonical symbol of a native name met before."""
        market = self._feed.markets.get(native)
        return market.listing.symbol if market is not None else None

    def state(self) -> dict[str, Any]:
        """Return the state of each book: `synced`, `invalid`, or `no snapshot`."""
        books = {
            market.listing.symbol: {
                "state": "synced" if market.sync.synced else "invalid" if market.sync.gaps else "no snapshot",
                "gaps": market.sync.gaps,
            }
            for market in self._feed.markets.values()
            if market.sync.last_id is not None
        }
        syncs = [market.sync for market in self._feed.markets.values()]
        unplaced = [s for s in self._waiting if not any(sync.covers(s.lastUpdateId) for sync in syncs)]
        return {"books": books, "unplaced_snapshots": len(unplaced)}

    def _place_snapshots(self) -> list[Any]:
        """Give each waiting snapshot to the book it belongs to; keep those whose book is not known yet."""
        events: list[Any] = []
        waiting, self._waiting = self._waiting, []
        for snapshot in waiting:
            market = self._owner(snapshot)
            if market is None:
                self._waiting.append(snapshot)
            else:
                events += self._feed.snapshot(market.listing.native, snapshot)
        return events

    def _owner(self, snapshot: DepthSnapshot) -> MarketFeed | None:
        """Return the market a snapshot belongs to, of those that wait for one; None while that cannot be told."""
        number = snapshot.lastUpdateId
        waiting = [m for m in self._feed.markets.values() if not m.sync.synced and m.sync.covers(number)]
        fitting = [market for market in waiting if _is_near(snapshot, market)]
        at = best_fit([(_agreement(snapshot, market), _common(snapshot, market)) for market in fitting])
        return None if at is None else fitting[at]


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


def _agreement(snapshot: DepthSnapshot, market: MarketFeed) -> int:
    by = market.listing.multiplier
    bids, asks = coin_levels(snapshot.bids, by), coin_levels(snapshot.asks, by)
    return agreement(bids, asks, market.sync.included(snapshot.lastUpdateId))


def _common(snapshot: DepthSnapshot, market: MarketFeed) -> int:
    """Return how many prices a snapshot shares with a market's last update."""
    listed = {coins(price, 0.0, market.listing.multiplier)[0] for price, _ in snapshot.bids + snapshot.asks}
    return sum(price in listed for price in _changed_prices(market))


def _is_near(snapshot: DepthSnapshot, market: MarketFeed) -> bool:
    """Return whether a market's last update has a price between half and twice the snapshot's best bid or ask."""
    best = max((price for price, _ in snapshot.bids), default=None) or min((p for p, _ in snapshot.asks), default=None)
    changed = _changed_prices(market)
    if best is None or not changed:
        return True
    best = coins(best, 0.0, market.listing.multiplier)[0]
    return any(best / 2 < price < best * 2 for price in changed)


def _changed_prices(market: MarketFeed) -> list[float]:
    depth = market.last_depth
    return [] if depth is None else [price for price, _ in depth.b + depth.a]
