"""Signatures against vectors that two other projects published for their own clients."""

from __future__ import annotations

import pytest

from drivers.okx.signer import login_arguments, rest_headers, sign, timestamp

KEY, SECRET, PHRASE = (
    "gYmX9fr0kqqxptUlDKESxetg",
    "YUJHBdFNrbz7atmV3f261ZhdRffTo4S9KZKC7C7qdqcHbRR4",
    "MyPassphrase123",
)
NOW_MS = 2_085_848_896_000
BODY = '{"instId":"BTC-USDT","tdMode":"cash","clOrdId":"b15","side":"buy","ordType":"limit","px":"2.15","sz":"2"}'


def test_a_query_is_signed_with_its_comma_as_sent():
    path = "/api/v5/account/balance?ccy=BTC,ETH"
    assert rest_headers(KEY, SECRET, PHRASE, NOW_MS, "GET", path) == {
        "OK-ACCESS-KEY": KEY,
        "OK-ACCESS-SIGN": "fWIucRPbzCxgeO2g9g0nV+FJyX1tr5/LKSypAyiVpQI=",
        "OK-ACCESS-TIMESTAMP": "2036-02-05T18:28:16.000Z",
        "OK-ACCESS-PASSPHRASE": PHRASE,
    }


@pytest.mark.parametrize("body", [BODY, BODY.replace('":"', '": "').replace('","', '", "')], ids=["compact", "spaced"])
def test_a_body_is_signed_as_text(body: str):
    signed = rest_headers(KEY, SECRET, PHRASE, NOW_MS, "POST", "/api/v5/trade/order", body)["OK-ACCESS-SIGN"]
    # The published vector is of Python's json.dumps, which puts spaces between the fields.
    assert (signed == "iIYMZ8i1gUDjJ2RNinu6VGMIuJwbdSFFVe6OYjzlh0Q=") is (body != BODY)


@pytest.mark.parametrize(
    ("method", "path", "body", "signature"),
    [
        ("GET", "/api/v5/asset/deposit-address?ccy=USDT", "", "a1ObyIVoGTHtaErXdiAeCvGhn4v864g/If8b0BXyPic="),
        ("POST", "/api/v5/asset/withdrawal", '{"ccy":"USDT"}', "OyltEoRw6uvQMP6y2YNmF+TS+NJZdpHRseRA7y6Bbe0="),
    ],
)
def test_the_second_projects_vectors(method: str, path: str, body: str, signature: str):
    assert sign("okx-secret", "2020-12-08T09:08:57.715Z", method, path, body) == signature


def test_login_is_signed_with_seconds():
    assert login_arguments(KEY, SECRET, PHRASE, NOW_MS + 999) == {
        "apiKey": KEY,
        "passphrase": PHRASE,
        "timestamp": "2085848896",
        "sign": "6QVd7Mgd70We2/oDJr0+KnqxXZ+Gf1zIIl3qJk/Pqx8=",
    }


def test_time_stamps_have_milliseconds_and_z():
    assert timestamp(1_607_418_537_715) == "2020-12-08T09:08:57.715Z"
    assert timestamp(1_607_418_537_005) == "2020-12-08T09:08:57.005Z"
