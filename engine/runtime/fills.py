"""Executions that are booked: each is known by (symbol, trade id), so that none counts twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from engine.kernel.orders import Fill

KEPT_FILLS = 2000


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
        horizon_ts: Venue time (ms) of the newest fill that was forgotten; whether an older one is new cannot be told
            from memory.
    """

    def __init__(self) -> None:
        self._fills: dict[tuple[str, str], BookedFill] = {}
        self.horizon_ts = -1

    def get(self, symbol: str, trade_id: str) -> BookedFill | None:
        """Return a booked fill by its key."""
        return self._fills.get((symbol, trade_id))

    def add(self, booked: BookedFill) -> None:
        """Keep a fill, and forget the oldest one when there are too many."""
        self._fills[booked.fill.symbol, booked.fill.trade_id] = booked
        if len(self._fills) > KEPT_FILLS:
            oldest = self._fills.pop(next(iter(self._fills)))
            self.horizon_ts = max(self.horizon_ts, oldest.fill.ts)

    def recent(self, count: int = KEPT_FILLS) -> list[BookedFill]:
        """Return the last `count` fills, oldest first."""
        return list(self._fills.values())[-count:]

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
        for booked in fills:
            self.add(booked)
        self.horizon_ts = horizon_ts
