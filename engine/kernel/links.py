"""The state of a driver's connections, as the operator and the entry gate see it."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class LinkState(StrEnum):
    """How far a connection can be trusted."""

    CONNECTING = "connecting"
    SYNCING = "syncing"
    LIVE = "live"
    STALE = "stale"
    DOWN = "down"


class VenueHealth(msgspec.Struct, frozen=True):
    """Whether a venue serves us at all, and how well its time is known.

    Attributes:
        banned_until_ms: Until when (UTC, ms) it answers nothing; None when it does.
        clock_error_ms: Largest possible error of its time as we know it; None where it has no time of its own.
        clock_limit_ms: Error at which it may refuse our orders as too old or too new.
    """

    banned_until_ms: int | None = None
    clock_error_ms: float | None = None
    clock_limit_ms: float = 0.0


class LinkStatus(msgspec.Struct, frozen=True):
    """One connection to a venue.

    Attributes:
        name: What it carries: `rest`, `public`, `market`, `private`, `trade` ...
        state: How far it can be trusted.
        since_ns: Engine time at which it got into this state.
        rtt_ms: Last measured round trip, None before the first.
        detail: Why it is not live, in words; empty when it is.
    """

    name: str
    state: LinkState
    since_ns: int
    rtt_ms: float | None = None
    detail: str = ""
