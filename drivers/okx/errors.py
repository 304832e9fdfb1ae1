"""OKX's error codes as typed errors.

Facts: the venue's error code pages, REST and WebSocket. What is not listed is a `VenueError` with the venue's words.
"""

from __future__ import annotations

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

_CODES: dict[type[VenueError], tuple[int, ...]] = {
    InsufficientFunds: (51008, 51119, 51127, 51131, 51502, 59200),
    # Wrong terms, unknown symbol, out of the price band, too big, too small; then: too many open orders.
    InvalidOrder: (
        *(51000, 51001, 51005, 51006, 51007, 51015, 51020, 51101, 51116, 51120, 51121, 51122, 51136, 51137, 51138),
        *(51150, 51201, 51202, 51203),
        *(51025, 51102, 51103, 51174),
    ),
    DuplicateClientOrderId: (50071, 51016, 51065),
    OrderNotFound: (51400, 51401, 51402, 51410, 51503, 51509, 51510, 51603),
    RateLimited: (50011, 50040, 50061, 51113, 60014, 60023),
    AuthError: (
        *(50101, 50103, 50104, 50105, 50106, 50107, 50111, 50113, 50114, 50119),
        *(60005, 60007, 60009, 60024, 60032),
    ),
    PermissionDenied: (50027, 50030, 50033, 50035, 50051, 50052, 50110, 50120, 51155),
    # 50036: our expiry was before the venue's present time.
    ClockSkew: (50036, 50102, 50112, 60004, 60006),
    # 50037: it arrived after the expiry that we had set, and was dropped.
    VenueUnavailable: (50001, 50005, 50013, 50026, 50037, 64008),
    UnknownOutcome: (50004, 51054, 51149, 51412),
    PostOnlyWouldTake: (51511,),
    ReduceOnlyRejected: (51023, 51112, 51169, 51170, 51171, 51205),
}
CLASS_OF: dict[str, type[VenueError]] = {str(code): kind for kind, codes in _CODES.items() for code in codes}

NOT_CARRIED_OUT = frozenset({"50001", "50005", "50013", "50037"})
"""Codes which say that the request was turned away before anything was done, whatever the HTTP status."""

_ELSEWHERE = (
    "the key does not exist here: check it, and the region: accounts of my.okx.com and app.okx.com have hosts of their "
    "own (in drivers/okx/arch.yaml) for rest_url and the ws urls in ctos.yaml"
)
_REMEDIES = {
    "50101": "the key belongs to the other environment: live keys need environment: live, demo keys environment: demo",
    "50119": _ELSEWHERE,
    "60032": _ELSEWHERE,
    "50105": "the passphrase is wrong: it is the one chosen when the key was made, not the account's password",
    "60024": "the passphrase is wrong: it is the one chosen when the key was made, not the account's password",
    "50111": "the key is wrong",
    "60005": "the key is wrong",
    "50113": "the signature is wrong: check the secret",
    "60007": "the signature is wrong: check the secret",
    "50110": "the key is bound to other IP addresses: add this host's address to it, or use another key",
    "50120": "the key lacks the right to do this: give it the right to trade, never to withdraw",
    "50102": "the time stamp is too far from the venue's time",
    "60006": "the time stamp is too far from the venue's time",
    "51010": "the account mode does not allow this: choose futures mode or higher in the account's settings",
}


def error_from(code: str, text: str, request: str) -> VenueError:
    """Return the typed error for a venue code; `request` names what failed, without secrets."""
    kind = CLASS_OF.get(code, VenueError)
    said = _REMEDIES.get(code, "the venue refused it" if kind is not UnknownOutcome else "its outcome is not known")
    return kind(f"okx: {request}: {said}", code=code, venue_text=text, request=request)


def order_error_from(code: str, text: str, request: str, http_status: int = 200) -> VenueError:
    """Return the typed error for a refused submit or amendment.

    What the venue answers from its own trouble (HTTP 5xx, or a code that says no more than that) does not prove
    that the order was not taken: that is `UnknownOutcome`.
    """
    error = error_from(code, text, request)
    troubled = http_status >= 500 or http_status == 408 or type(error) is VenueUnavailable
    if troubled and code not in NOT_CARRIED_OUT:
        return UnknownOutcome(
            f"okx: {request}: the venue had trouble, the outcome is not known",
            code=code,
            venue_text=text,
            request=request,
        )
    return error
