"""Every code of the venue's two columns in the table of error classes, and answers without a code."""

from __future__ import annotations

import pytest

from drivers.binance.errors import NotOffered, banned_until_ms, refusal, unreadable
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

PERP, SPOT = InstrumentKind.PERP, InstrumentKind.SPOT
FUTURES = {
    InsufficientFunds: (-2018, -2019, -2027, -2028, -4050, -4051),
    InvalidOrder: (-1111, *range(-4005, -4000), -4013, -4014, -4016, -4023, -4024, -4131, -4164, -5029, -1121, -1116,
                   -4120, -4061, -4060, -2025, -4045),
    DuplicateClientOrderId: (-4116,),
    OrderNotFound: (-2011, -2013),
    RateLimited: (-1003, -1015),
    AuthError: (-2014, -1022, -1002, -2015),
    PermissionDenied: (-4400, -4401, -4402, -4403),
    ClockSkew: (-1021, -5028),
    VenueUnavailable: (-1001, -1008, -1016),
    UnknownOutcome: (-1006, -1007),
    PostOnlyWouldTake: (-5022,),
    ReduceOnlyRejected: (-2022, -4118, -2026, -4062),
}  # fmt: skip
SPOT_CODES = {
    InvalidOrder: (-1013, -1111, -1121),
    OrderNotFound: (-2011, -2013, -2026),
    RateLimited: (-1003, -1015),
    AuthError: (-2014, -1022, -1002, -2015),
    ClockSkew: (-1021,),
    VenueUnavailable: (-1001, -1008, -1016),
    UnknownOutcome: (-1006, -1007),
}
SPOT_2010 = {
    "Account has insufficient balance for requested action.": InsufficientFunds,
    "Duplicate order sent.": DuplicateClientOrderId,
    "Order would immediately match and take.": PostOnlyWouldTake,
    "Market is closed.": InvalidOrder,
    "This action is disabled on this account.": PermissionDenied,
}


@pytest.mark.parametrize(
    ("kind", "code", "wanted"),
    [(PERP, code, wanted) for wanted, codes in FUTURES.items() for code in codes]
    + [(SPOT, code, wanted) for wanted, codes in SPOT_CODES.items() for code in codes],
)
def test_every_code_has_its_class(kind: InstrumentKind, code: int, wanted: type[VenueError]):
    error = refusal(kind, 400, code, "text of the venue", "POST order", is_order=True)
    assert type(error) is wanted
    assert (error.code, error.venue_text) == (str(code), "text of the venue")


@pytest.mark.parametrize(("text", "wanted"), SPOT_2010.items())
def test_spots_rejections_are_told_apart_by_their_words(text: str, wanted: type[VenueError]):
    assert type(refusal(SPOT, 400, -2010, text, "POST order", is_order=True)) is wanted


@pytest.mark.parametrize(
    ("kind", "status", "body", "wanted"),
    [
        (PERP, 503, "Unknown error, please check your request or try again later.", UnknownOutcome),
        (PERP, 503, "Service Unavailable.", VenueUnavailable),
        (PERP, 503, "Internal error; unable to process your request. Please try again.", VenueUnavailable),
        (SPOT, 503, "Service Unavailable.", UnknownOutcome),
    ],
)
def test_the_meanings_of_503(kind: InstrumentKind, status: int, body: str, wanted: type[VenueError]):
    assert type(refusal(kind, status, -1001, body, "POST order", is_order=True)) is wanted
    assert type(unreadable(kind, status, body.encode(), "POST order", is_order=True)) is wanted


@pytest.mark.parametrize("kind", [PERP, SPOT])
@pytest.mark.parametrize(
    ("status", "wanted"),
    [(200, UnknownOutcome), (301, UnknownOutcome), (400, UnknownOutcome), (408, UnknownOutcome), (500, UnknownOutcome),
     (502, UnknownOutcome), (504, UnknownOutcome), (403, RateLimited), (418, RateLimited), (429, RateLimited),
     (404, NotOffered)],
)  # fmt: skip
def test_what_does_not_prove_that_an_order_was_refused_is_unknown(
    kind: InstrumentKind, status: int, wanted: type[VenueError]
):
    assert type(unreadable(kind, status, b"<html>proxy</html>", "POST order", is_order=True)) is wanted
    if wanted is UnknownOutcome:
        assert type(unreadable(kind, status, b"", "GET order", is_order=False)) is VenueUnavailable


@pytest.mark.parametrize("kind", [PERP, SPOT])
def test_a_code_without_a_class_is_a_refusal_unless_the_server_failed(kind: InstrumentKind):
    assert type(refusal(kind, 400, -9999, "?", "POST order", is_order=True)) is VenueError
    assert type(refusal(kind, 500, -9999, "?", "POST order", is_order=True)) is UnknownOutcome
    assert type(refusal(kind, 408, -1007, "?", "POST order", is_order=True)) is UnknownOutcome
    assert type(refusal(kind, 504, -1007, "?", "GET order", is_order=False)) is VenueUnavailable
    assert type(refusal(kind, 429, -1003, "?", "POST order", is_order=True)) is RateLimited


def test_a_ban_names_its_end():
    text = "Way too much request weight used; IP banned until 1789999999999. Please use WebSocket Streams."
    assert banned_until_ms(text) == 1789999999999
    assert banned_until_ms("Too many requests.") is None


def test_a_key_that_is_refused_says_all_that_may_be_wrong():
    error = refusal(PERP, 401, -2015, "Invalid API-key, IP, or permissions for action.", "GET balance", is_order=False)
    assert isinstance(error, AuthError)
    assert all(word in str(error) for word in ("key", "IP list", "right"))
