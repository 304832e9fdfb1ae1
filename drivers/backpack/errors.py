"""Backpack's error codes as typed errors.

Facts: `ApiErrorCode` and `OrderExpiryReason` of the venue's API documentation. The body of an error is
`{"code": ..., "message": ...}`; the edge in front of the venue may answer with other text.
"""

from __future__ import annotations

import msgspec

from engine.kernel.errors import (
    AuthError,
    ClockSkew,
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

_CODES: dict[type[VenueError], tuple[str, ...]] = {
    InsufficientFunds: (
        *("INSUFFICIENT_FUNDS", "INSUFFICIENT_MARGIN", "INSUFFICIENT_SUPPLY", "BORROW_LIMIT"),
        "MAX_LEVERAGE_REACHED",
    ),
    # ORDER_LIMIT: too many open orders.
    InvalidOrder: (
        *("INVALID_ORDER", "INVALID_PRICE", "INVALID_QUANTITY", "INVALID_SYMBOL", "INVALID_MARKET"),
        *("INVALID_CLIENT_REQUEST", "ORDER_LIMIT"),
    ),
    OrderNotFound: ("RESOURCE_NOT_FOUND",),
    RateLimited: ("TOO_MANY_REQUESTS",),
    AuthError: ("INVALID_SIGNATURE", "UNAUTHORIZED"),
    PermissionDenied: ("FORBIDDEN", "ACCOUNT_DEACTIVATED", "TRADING_PAUSED"),
    VenueUnavailable: ("MAINTENANCE", "SERVER_ERROR", "TOO_EARLY"),
    UnknownOutcome: ("TIMEOUT",),
}
CLASS_OF: dict[str, type[VenueError]] = {code: kind for kind, codes in _CODES.items() for code in codes}

_EXPIRY: dict[type[VenueError], tuple[str, ...]] = {
    PostOnlyWouldTake: ("PostOnlyTaker",),
    ReduceOnlyRejected: ("ReduceOnlyNotReduced",),
    InsufficientFunds: (
        *("InsufficientFunds", "InsufficientMargin", "InsufficientBorrowableQuantity", "BorrowRequiresLendRedeem"),
        "NegativeEquity",
    ),
    InvalidOrder: (
        *("InvalidPrice", "InvalidQuantity", "MaxStopOrdersPerPosition", "PositionLimit", "PostOnlyMode"),
        *("PriceImpact", "PriceOutOfBounds", "SlippageToleranceExceeded", "StopWithoutPosition"),
    ),
    PermissionDenied: ("AccountTradingSuspended", "UserPermissions"),
}
REFUSAL_OF: dict[str, type[VenueError]] = {reason: kind for kind, reasons in _EXPIRY.items() for reason in reasons}
"""Why an order expired although nothing of it was traded, where that amounts to a refusal."""

_CLOCK_WORDS = ("timestamp", "expired", "time window", "request window")
_REMEDIES: dict[type[VenueError], str] = {
    AuthError: "the key or signature was refused: check key and secret, and that the key was not deleted",
    ClockSkew: "the time stamp is outside the venue's window",
    PermissionDenied: "the account or key may not do this: look at it on the venue's site",
    RateLimited: "too many requests",
    UnknownOutcome: "its outcome is not known",
    VenueUnavailable: "the venue does not serve requests now",
}


class ErrorBody(msgspec.Struct):
    """The body of a refused request."""

    code: str
    message: str = ""


def class_of(code: str, message: str) -> type[VenueError]:
    """Return the class of a venue code; some codes cover several classes, which the message tells apart."""
    words = message.lower()
    if code == "INVALID_CLIENT_REQUEST":
        if "signature" in words:
            return AuthError
        if any(word in words for word in _CLOCK_WORDS):
            return ClockSkew
    if code == "INVALID_ORDER":
        if "immediately match" in words:
            return PostOnlyWouldTake
        if "reduce" in words:
            return ReduceOnlyRejected
    return CLASS_OF.get(code, VenueError)


def error_from(status: int, body: bytes, request: str, *, is_order: bool = False) -> VenueError:
    """Return the typed error for an answer that is no success.

    Args:
        status: HTTP status.
        body: The answer.
        request: What failed, in words.
        is_order: Whether it was a new order. Then everything that does not prove that the venue turned it away, such
            as an error of its own or words of the edge in front of it, is `UnknownOutcome`.
    """
    try:
        said = msgspec.json.decode(body, type=ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _without_code(status, body, request, is_order)
    kind = class_of(said.code, said.message)
    if kind is VenueError:
        kind = {404: OrderNotFound, 429: RateLimited, 401: AuthError, 403: PermissionDenied}.get(status, kind)
    if kind is VenueError and status >= 500:
        kind = VenueUnavailable
    if is_order and (status >= 500 or kind is VenueUnavailable) and said.code != "MAINTENANCE":
        kind = UnknownOutcome
    if not is_order and kind is UnknownOutcome:
        kind = VenueUnavailable
    return _error(kind, request, said.code, said.message)


def refusal_from(reason: str, request: str) -> VenueError | None:
    """Return the typed error for an expiry reason that amounts to a refusal, None for any other."""
    kind = REFUSAL_OF.get(reason)
    return None if kind is None else _error(kind, request, reason, "")


def _without_code(status: int, body: bytes, request: str, is_order: bool) -> VenueError:
    """Words of a gateway or firewall: it may stand on either side of what carried the request out."""
    shown = " ".join(body[:200].decode("utf-8", "replace").split())
    code = f"HTTP {status}"
    if status == 429:
        return _error(RateLimited, request, code, shown)
    if is_order:
        return _error(UnknownOutcome, request, code, shown)
    return _error(VenueUnavailable, request, code, shown)


def _error(kind: type[VenueError], request: str, code: str, text: str) -> VenueError:
    remedy = _REMEDIES.get(kind, "the venue refused it")
    return kind(f"backpack: {request}: {remedy}", code=code, venue_text=text, request=request)
