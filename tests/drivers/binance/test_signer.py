"""The venue's own published signatures, and what is signed in which order."""

from __future__ import annotations

from urllib.parse import parse_qsl

from hypothesis import given
from hypothesis import strategies as st

from drivers.binance.signer import encode_params, sign, signed_params, signed_query
from engine.kernel.secret import Secret

FUTURES_SECRET = Secret("2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9")
SPOT_SECRET = Secret("NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j")


def test_the_published_futures_signature():
    params = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": 1, "price": 9000, "timeInForce": "GTC"}
    text = signed_query(params, FUTURES_SECRET, 1591702613943)
    assert text.endswith("&signature=3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9")


def test_the_published_spot_signature():
    params = {
        "symbol": "LTCBTC",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": 1,
        "price": "0.1",
    }
    text = signed_query(params, SPOT_SECRET, 1499827319559)
    assert text.endswith("&signature=c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71")


def test_a_request_over_a_socket_is_signed_sorted_and_not_encoded():
    params = signed_params({"symbol": "BTCUSDT", "newClientOrderId": "a/b:c"}, Secret("K"), SPOT_SECRET, 7)
    assert list(params)[:-1] == ["apiKey", "newClientOrderId", "recvWindow", "symbol", "timestamp"]
    text = "apiKey=K&newClientOrderId=a/b:c&recvWindow=5000&symbol=BTCUSDT&timestamp=7"
    assert params["signature"] == sign(SPOT_SECRET, text)


@given(st.dictionaries(st.from_regex(r"[a-zA-Z]{1,12}", fullmatch=True), st.text(max_size=40), max_size=6))
def test_what_is_signed_is_the_encoded_text(params: dict[str, str]):
    text, _, signature = signed_query(params, FUTURES_SECRET, 1).rpartition("&signature=")
    assert signature == sign(FUTURES_SECRET, text)
    assert text.isascii() and " " not in text
    pairs = dict(parse_qsl(text, keep_blank_values=True))
    assert {name: pairs[name] for name in params} == params
    assert encode_params(params) == "" or text.startswith(encode_params(params))
