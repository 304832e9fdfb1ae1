"""Executions that are booked: each is known by (symbol, trade id), so that none counts twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from engine.kernel.orders import Fill

KEPT_FILLS = 2000
KEPT_MS = 120_000
"""Fills of the last two minutes are kept even when there are more."""
MOST_FILLS = 50_000
"""So many are kept at most, whatever the venue's times say."""
SLACK_MS = 60_000
"""A venue may tell a fill again under a time that is later by so much: its lists and its stream need not agree."""


@dataclass(slots=True, frozen=True)
class BookedFill:
    """A fill, whose it is, and what it realised (before the fee) and cost in quote currency."""

    fill: Fill
    instance: str
    realised: Decimal
    fee_quote: Decimal


class FillBook:
    """The most recent booked fills, oldest first.

    Attributes:
        horizon_ts: Venue time (ms) of the newest fill that was forgotten.
    """

    def __init__(self) -> None:
        self._fills: dict[tuple[str, str], BookedFill] = {}
        self._newest_ts = -1
        self.horizon_ts = -1

    def get(self, symbol: str, trade_id: str) -> BookedFill | None:
        """Return a booked fill by its key."""
        return self._fills.get((symbol, trade_id))

    def may_have_forgotten(self, fill: Fill) -> bool:
        """Return whether a fill that is not kept may have been booked: then only the journal can tell."""
        return fill.ts <= self.horizon_ts + SLACK_MS

    def add(self, booked: BookedFill) -> None:
        """Keep a fill, and forget the oldest ones when there are too many."""
        fills = self._fills
        fills[booked.fill.symbol, booked.fill.trade_id] = booked
        self._newest_ts = max(self._newest_ts, booked.fill.ts)
        while len(fills) > KEPT_FILLS:
            key = next(iter(fills))
            ts = fills[key].fill.ts
            if ts > self._newest_ts - KEPT_MS and len(fills) <= MOST_FILLS:
                break
            del fills[key]
            self.horizon_ts = max(self.horizon_ts, ts)

    def recent(self, count: int = KEPT_FILLS) -> list[BookedFill]:
        """Return the last `count` fills, oldest first."""
        return list(self._fills.values())[-count:]

    def snapshot(self) -> tuple[list[BookedFill], int]:
        """Return what a checkpoint keeps: the last fills, and the horizon with those that it leaves out."""
        fills = list(self._fills.values())
        left_out = fills[:-KEPT_FILLS]
        return fills[-KEPT_FILLS:], max([self.horizon_ts, *(booked.fill.ts for booked in left_out)])

    def of_order(self, client_id: str) -> list[BookedFill]:
        """Return the kept fills of one order, oldest first."""
        return [booked for booked in self._fills.values() if booked.fill.client_id == client_id]

    def of_venue_order(self, symbol: str, venue_order_id: str) -> list[Fill]:
        """Return the kept fills of one order by the venue's id for it, oldest first."""
        return [
            booked.fill
            for (of_symbol, _), booked in self._fills.items()
            if of_symbol == symbol and booked.fill.venue_order_id == venue_order_id
        ]

    def restore(self, fills: Sequence[BookedFill], horizon_ts: int) -> None:
        """Take over the state of a checkpoint."""
        self._fills = {(booked.fill.symbol, booked.fill.trade_id): booked for booked in fills}
        self._newest_ts = max([horizon_ts, *(booked.fill.ts for booked in fills)])
        self.horizon_ts = horizon_ts
