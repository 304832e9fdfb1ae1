"""The whole table of OKX's codes, and what a refusal proves about an order."""

from __future__ import annotations

import pytest

from drivers.okx.errors import CLASS_OF, error_from, order_error_from
from engine.kernel.errors import VenueError, VenueUnavailable

TABLE = {
    "InsufficientFunds": "51008 51119 51127 51131 51502 59200",
    "InvalidOrder": "51000 51001 51006 51005 51101 51201 51202 51203 51007 51020 51120 51121 51116 51122 51136 51137 "
    "51138 51150 51015 51102 51103 51174 51025",
    "DuplicateClientOrderId": "51016 51065 50071",
    "OrderNotFound": "51400 51401 51402 51410 51503 51509 51510 51603",
    "RateLimited": "50011 50040 50061 51113 60014 60023",
    "AuthError": "50103 50104 50105 50106 50107 50111 50113 50114 50119 50101 60005 60007 60009 60024 60032",
    "PermissionDenied": "50110 50120 50030 50035 50027 50033 50051 50052 51155",
    "ClockSkew": "50102 50112 60004 60006 50036",
    "VenueUnavailable": "50001 50013 50026 50005 64008 50037",
    "UnknownOutcome": "50004 51149 51054 51412",
    "PostOnlyWouldTake": "51511",
    "ReduceOnlyRejected": "51169 51170 51171 51205 51112 51023",
}


@pytest.mark.parametrize(("name", "code"), [(name, code) for name, codes in TABLE.items() for code in codes.split()])
def test_every_code_has_its_class(name: str, code: str):
    error = error_from(code, "the venue's words", "order x1")
    assert type(error).__name__ == name
    assert (error.code, error.venue_text, error.request) == (code, "the venue's words", "order x1")
    assert code in str(error) and "the venue's words" in str(error)


def test_the_table_holds_nothing_else():
    assert set(CLASS_OF) == {code for codes in TABLE.values() for code in codes.split()}


def test_what_is_not_listed_keeps_the_venues_words():
    error = error_from("51999", "something new", "order x1")
    assert type(error) is VenueError and "51999 something new" in str(error)
    assert type(order_error_from("51999", "something new", "order x1")) is VenueError


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("50001", 503, "VenueUnavailable"),  # turned away at the door
        ("50013", 429, "VenueUnavailable"),
        ("50037", 200, "VenueUnavailable"),  # dropped, as it came after our expiry
        ("50026", 500, "UnknownOutcome"),  # the venue's own trouble proves nothing
        ("50026", 200, "UnknownOutcome"),
        ("51008", 500, "UnknownOutcome"),
        ("51149", 500, "UnknownOutcome"),
        ("50004", 400, "UnknownOutcome"),
        ("51008", 200, "InsufficientFunds"),
        ("50011", 429, "RateLimited"),
        ("50102", 401, "ClockSkew"),
        ("51016", 200, "DuplicateClientOrderId"),
    ],
)
def test_an_order_is_refused_only_by_proof(code: str, status: int, expected: str):
    assert type(order_error_from(code, "words", "order x1", status)).__name__ == expected


def test_the_remedy_is_named():
    assert "environment: demo" in str(error_from("50101", "", "login"))
    assert "passphrase" in str(error_from("60024", "", "login"))
    assert isinstance(error_from("50026", "", "balance"), VenueUnavailable)
