"""Binance's refusals as typed errors: EXCHANGES 0.5, 2.3, 3.3.

Two rules come first: what does not prove that an order was not accepted is `UnknownOutcome` for an order; and a code
counts before the HTTP status.
"""

from __future__ import annotations

import re

from engine.kernel.errors import (
    AuthError,
    ClockSkew,
    DuplicateClientOrderId,
    InsufficientFunds,
    InvalidOrder,
    OrderNotFound,
    PermissionDenied,
    PostOnlyWouldTake,
    RateLimited,
    ReduceOnlyRejected,
    UnknownOutcome,
    VenueError,
    VenueUnavailable,
)
from engine.kernel.instruments import InstrumentKind

ALREADY_SO = frozenset({-4046, -4059, -5027})
"""What was asked for is so already: margin type, position mode, an amendment that changes nothing."""
NO_LISTEN_KEY = -1125


class NotOffered(VenueUnavailable):
    """The address has no such endpoint: another environment, or not the venue's interface."""


_COMMON: dict[type[VenueError], tuple[int, ...]] = {
    RateLimited: (-1003, -1015),
    AuthError: (-2014, -1022, -1002, -2015),
    ClockSkew: (-1021, -5028),
    VenueUnavailable: (-1001, -1008, -1016),
    UnknownOutcome: (-1000, -1006, -1007),
    OrderNotFound: (-2011, -2013),
    InvalidOrder: (-1013, -1100, -1102, -1104, -1105, -1106, -1111, -1114, -1115, -1116, -1117, -1121, -1122, -1130),
}
_PERP: dict[type[VenueError], tuple[int, ...]] = {
    InsufficientFunds: (-2018, -2019, -2027, -2028, -4050, -4051),
    InvalidOrder: (
        *(-4001, -4002, -4003, -4004, -4005, -4013, -4014, -4015, -4016, -4023, -4024, -4028, -4131, -4164, -5029),
        *(-4120, -2021, -4060, -4061, -2025, -4045, -5025, -5026),
    ),
    DuplicateClientOrderId: (-4116,),
    PermissionDenied: (-2023, -4400, -4401, -4402, -4403),
    PostOnlyWouldTake: (-5022,),
    ReduceOnlyRejected: (-2022, -4118, -2026, -4062),
}
_SPOT: dict[type[VenueError], tuple[int, ...]] = {OrderNotFound: (-2026,)}


def _by_code(*tables: dict[type[VenueError], tuple[int, ...]]) -> dict[int, type[VenueError]]:
    return {code: kind for table in tables for kind, codes in table.items() for code in codes}


CLASSES: dict[InstrumentKind, dict[int, type[VenueError]]] = {
    InstrumentKind.PERP: _by_code(_COMMON, _PERP),
    InstrumentKind.SPOT: _by_code(_COMMON, _SPOT),
}

_SPOT_REJECTED: tuple[tuple[str, type[VenueError]], ...] = (
    ("insufficient balance", InsufficientFunds),
    ("duplicate order", DuplicateClientOrderId),
    ("immediately match and take", PostOnlyWouldTake),
    ("unknown order sent", OrderNotFound),
    ("this action is disabled", PermissionDenied),
    ("not permitted", PermissionDenied),
    ("may not place", PermissionDenied),
)
"""Spot's -2010 covers several classes: told apart by these words of its message; any other is `InvalidOrder`."""

_REMEDIES = {
    -2015: "the key is wrong, this address is not on its IP list, or it lacks the right (Enable Futures, Enable Spot "
    "& Margin Trading): see API Management",
    -2014: "the key has not the form of a Binance key: copy it again",
    -1022: "the signature does not fit: the secret is not this key's, or the key is not an HMAC key",
    -1021: "the request's time is outside the venue's window; the clock offset is being measured anew",
    -4061: "the account is in hedge mode: switch it to one-way mode (Preferences, Position Mode)",
    -4060: "the account is in hedge mode: switch it to one-way mode (Preferences, Position Mode)",
    -2025: "too many open orders on this account: cancel some",
    -4045: "too many open stop orders on this account: cancel some",
    -1015: "too many new orders in a short time",
    -4120: "such orders go to the endpoint for conditional orders",
}
_BANNED_UNTIL = re.compile(r"banned until (\d{13})")
_UNKNOWN_503 = "unknown error, please check your request"
_FAILED_503 = ("service unavailable", "internal error; unable to process")


def error_class(kind: InstrumentKind, code: int, text: str) -> type[VenueError] | None:
    """Return the class of a code with its message; None for a code without one of its own."""
    if kind is InstrumentKind.SPOT and code in (-2010, -2021, -2022):
        lowered = text.lower()
        return next((found for words, found in _SPOT_REJECTED if words in lowered), InvalidOrder)
    return CLASSES[kind].get(code)


def refusal(kind: InstrumentKind, status: int, code: int, text: str, what: str, is_order: bool) -> VenueError:
    """Return the error for an answer with a code.

    Args:
        kind: Which of the two interfaces answered.
        status: HTTP status, or the same over a socket.
        code: The venue's code.
        text: Its message.
        what: The request, without secrets.
        is_order: Whether it places or amends an order, so that doubt must be told as such.
    """
    found: type[VenueError] = error_class(kind, code, text) or VenueError
    if kind is InstrumentKind.SPOT and status >= 500 and found is not ClockSkew and code != -1008:
        found = UnknownOutcome
    if status in (418, 429):
        found = RateLimited
    if status == 503 and kind is InstrumentKind.PERP:
        found = _of_503(text) or found
    if status == 408:
        found = UnknownOutcome
    if found is VenueError and status == 404:
        found = NotOffered
    if found is VenueError and status >= 500:
        found = UnknownOutcome
    if found is UnknownOutcome and not is_order:
        found = VenueUnavailable
    message = f"binance {kind.value}: {what}: {_REMEDIES.get(code) or _plain(found)}"
    return found(message, code=str(code), venue_text=text, request=what)


def unreadable(kind: InstrumentKind, status: int, body: bytes, what: str, is_order: bool) -> VenueError:
    """Return the error for an answer that is not the venue's JSON: a proxy's, a firewall's, a broken one."""
    shown = " ".join(body[:400].decode("utf-8", "replace").split())[:120]
    head = f"binance {kind.value}: {what}: HTTP {status}"
    if status in (418, 429):
        return RateLimited(f"{head}: too many requests", venue_text=shown, request=what)
    if status == 403:
        return RateLimited(f"{head}: the firewall refuses this address for a while", venue_text=shown, request=what)
    if status == 503 and kind is InstrumentKind.PERP and (found := _of_503(shown)) is not None:
        return found(f"{head}: {_plain(found)}", venue_text=shown, request=what)
    if status in (401, 404, 405):
        found = VenueUnavailable if status == 401 else NotOffered
        return found(f"{head}: not offered at this address; check the host", venue_text=shown, request=what)
    if is_order:
        text = f"{head}: no readable answer; whether it was carried out is not known"
        return UnknownOutcome(text, venue_text=shown, request=what)
    return VenueUnavailable(f"{head}: no readable answer", venue_text=shown, request=what)


def banned_until_ms(text: str) -> int | None:
    """Return the end of a ban (UTC, ms) that a message names."""
    found = _BANNED_UNTIL.search(text)
    return int(found[1]) if found else None


def _of_503(text: str) -> type[VenueError] | None:
    """Futures' 503 has three meanings by its message: unknown, and two that say that it failed."""
    lowered = text.lower()
    if _UNKNOWN_503 in lowered:
        return UnknownOutcome
    return VenueUnavailable if any(words in lowered for words in _FAILED_503) else None


_PLAIN: dict[type[VenueError], str] = {
    InsufficientFunds: "the free balance or margin does not cover it",
    InvalidOrder: "the order breaks a rule of the instrument",
    DuplicateClientOrderId: "an open order has this client id already",
    OrderNotFound: "no such order, or it is not open any more",
    RateLimited: "too many requests; slowing down",
    AuthError: "the key was refused",
    PermissionDenied: "the key or account may not do this",
    ClockSkew: "the request's time is outside the venue's window",
    VenueUnavailable: "the venue could not serve it; it was not carried out",
    NotOffered: "this address does not offer it; check the host",
    UnknownOutcome: "whether it was carried out is not known",
    PostOnlyWouldTake: "the post-only order would have matched at once",
    ReduceOnlyRejected: "the reduce-only order would not have reduced the position",
}


def _plain(kind: type[VenueError]) -> str:
    return _PLAIN.get(kind, "refused")
