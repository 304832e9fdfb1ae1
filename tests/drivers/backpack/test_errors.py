"""Every refusal that the venue has a name for, and what has none."""

from __future__ import annotations

import json

import pytest

from drivers.backpack.errors import error_from, refusal_from
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

# (HTTP status, code, message, class for a query or cancel, class for a new order)
CASES = [
    (400, "INSUFFICIENT_FUNDS", "", InsufficientFunds, InsufficientFunds),
    (400, "INSUFFICIENT_MARGIN", "", InsufficientFunds, InsufficientFunds),
    (400, "INSUFFICIENT_SUPPLY", "", InsufficientFunds, InsufficientFunds),
    (400, "BORROW_LIMIT", "", InsufficientFunds, InsufficientFunds),
    (400, "MAX_LEVERAGE_REACHED", "", InsufficientFunds, InsufficientFunds),
    (400, "INVALID_ORDER", "Price decimal too long", InvalidOrder, InvalidOrder),
    (400, "INVALID_ORDER", "Order would immediately match and take", PostOnlyWouldTake, PostOnlyWouldTake),
    (400, "INVALID_ORDER", "Reduce only order not reduced", ReduceOnlyRejected, ReduceOnlyRejected),
    (400, "INVALID_PRICE", "", InvalidOrder, InvalidOrder),
    (400, "INVALID_QUANTITY", "", InvalidOrder, InvalidOrder),
    (400, "INVALID_SYMBOL", "", InvalidOrder, InvalidOrder),
    (400, "INVALID_MARKET", "", InvalidOrder, InvalidOrder),
    (400, "INVALID_CLIENT_REQUEST", "clientId must be a number", InvalidOrder, InvalidOrder),
    (400, "INVALID_CLIENT_REQUEST", "Invalid signature", AuthError, AuthError),
    (400, "INVALID_CLIENT_REQUEST", "Request has expired", ClockSkew, ClockSkew),
    (400, "INVALID_CLIENT_REQUEST", "Invalid timestamp", ClockSkew, ClockSkew),
    (400, "ORDER_LIMIT", "", InvalidOrder, InvalidOrder),
    (404, "RESOURCE_NOT_FOUND", "", OrderNotFound, OrderNotFound),
    (429, "TOO_MANY_REQUESTS", "", RateLimited, RateLimited),
    (400, "INVALID_SIGNATURE", "", AuthError, AuthError),
    (401, "UNAUTHORIZED", "", AuthError, AuthError),
    (403, "FORBIDDEN", "", PermissionDenied, PermissionDenied),
    (400, "ACCOUNT_DEACTIVATED", "", PermissionDenied, PermissionDenied),
    (400, "TRADING_PAUSED", "", PermissionDenied, PermissionDenied),
    (503, "MAINTENANCE", "", VenueUnavailable, VenueUnavailable),
    (500, "SERVER_ERROR", "", VenueUnavailable, UnknownOutcome),
    (425, "TOO_EARLY", "", VenueUnavailable, UnknownOutcome),
    (504, "TIMEOUT", "", VenueUnavailable, UnknownOutcome),
    (408, "TIMEOUT", "", VenueUnavailable, UnknownOutcome),
    (400, "NEVER_HEARD_OF", "so it is", VenueError, VenueError),
    (500, "INVALID_ORDER", "so it is", InvalidOrder, UnknownOutcome),
    (500, "NEVER_HEARD_OF", "so it is", VenueUnavailable, UnknownOutcome),
]


@pytest.mark.parametrize(("status", "code", "message", "kind", "order_kind"), CASES)
def test_a_named_refusal_has_its_class(status, code, message, kind, order_kind):
    body = json.dumps({"code": code, "message": message}).encode()
    for is_order, expected in ((False, kind), (True, order_kind)):
        error = error_from(status, body, "order x on SOL-USDC", is_order=is_order)
        assert type(error) is expected
        assert (error.code, error.venue_text, error.request) == (code, message, "order x on SOL-USDC")
        assert "order x on SOL-USDC" in str(error)
        assert "\n" not in str(error)


@pytest.mark.parametrize("body", [b"", b"<html>\n<h1>403</h1> nginx", b'"text"', b"[]", b'{"code": 7}', b"\xff\xfe"])
@pytest.mark.parametrize("status", [400, 403, 404, 408, 500, 502, 503, 504])
def test_words_of_the_edge_prove_nothing_about_an_order(status, body):
    assert type(error_from(status, body, "cancel", is_order=False)) is VenueUnavailable
    assert type(error_from(status, body, "order", is_order=True)) is UnknownOutcome
    assert "\n" not in str(error_from(status, body, "order"))


def test_too_many_requests_without_a_code_is_the_rate_limit():
    assert type(error_from(429, b"slow down", "order", is_order=True)) is RateLimited


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("PostOnlyTaker", PostOnlyWouldTake),
        ("ReduceOnlyNotReduced", ReduceOnlyRejected),
        ("InsufficientFunds", InsufficientFunds),
        ("InsufficientMargin", InsufficientFunds),
        ("PriceOutOfBounds", InvalidOrder),
        ("AccountTradingSuspended", PermissionDenied),
    ],
)
def test_an_expiry_that_amounts_to_a_refusal_has_its_class(reason, kind):
    assert type(refusal_from(reason, "order")) is kind


@pytest.mark.parametrize("reason", ["ImmediateOrCancel", "FillOrKill", "SelfTradePrevention", "Liquidation", "", "X"])
def test_any_other_expiry_is_an_end_and_no_refusal(reason):
    assert refusal_from(reason, "order") is None
