"""Signatures: the venue's published texts, a published vector of the primitive, and every way a key can be wrong."""

from __future__ import annotations

import base64

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from drivers.backpack.signer import Signer, instruction_text, signing_text
from drivers.transport.setup import Credentials
from engine.kernel.errors import AuthError
from engine.kernel.secret import Secret

# RFC 8032, 7.1, test 3.
SEED = bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
PUBLIC = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
MESSAGE = bytes.fromhex("af82")
SIGNATURE = (
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
)


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def keys(key: bytes = PUBLIC, secret: bytes = SEED) -> Credentials:
    return Credentials(Secret(b64(key)), Secret(b64(secret)))


def test_the_primitive_gives_the_published_signature():
    signer = Signer(keys())
    assert signer.key == b64(PUBLIC)
    assert signer._private.sign(MESSAGE).hex() == SIGNATURE


@pytest.mark.parametrize(
    ("parts", "timestamp", "expected"),
    [
        (
            [("orderCancel", {"symbol": "BTC_USDT", "orderId": "28"})],
            1614550000000,
            "instruction=orderCancel&orderId=28&symbol=BTC_USDT&timestamp=1614550000000&window=5000",
        ),
        (
            [
                (
                    "orderExecute",
                    {"symbol": "SOL_USDC_PERP", "side": "Bid", "orderType": "Limit", "price": price, "quantity": size},
                )
                for price, size in (("141", "12"), ("140", "11"))
            ],
            1750793021519,
            "instruction=orderExecute&orderType=Limit&price=141&quantity=12&side=Bid&symbol=SOL_USDC_PERP"
            "&instruction=orderExecute&orderType=Limit&price=140&quantity=11&side=Bid&symbol=SOL_USDC_PERP"
            "&timestamp=1750793021519&window=5000",
        ),
        ([("subscribe", {})], 1614550000000, "instruction=subscribe&timestamp=1614550000000&window=5000"),
    ],
)
def test_what_is_signed_is_what_the_venue_publishes(parts, timestamp, expected):
    assert signing_text([instruction_text(*part) for part in parts], timestamp, 5000) == expected


def test_values_are_signed_raw_and_booleans_in_lower_case():
    params = {"postOnly": True, "reduceOnly": False, "clientId": 4294967295, "note": "50%/a b&c"}
    text = instruction_text("orderExecute", params)
    assert text == "instruction=orderExecute&clientId=4294967295&note=50%/a b&c&postOnly=true&reduceOnly=false"


def test_headers_and_subscription_verify_with_the_public_key():
    signer, public = Signer(keys()), Ed25519PublicKey.from_public_bytes(PUBLIC)
    headers = signer.headers(["instruction=balanceQuery"], 1_700_000_000_123, 5000)
    text = b"instruction=balanceQuery&timestamp=1700000000123&window=5000"
    public.verify(base64.b64decode(headers["X-Signature"]), text)
    assert (headers["X-Timestamp"], headers["X-Window"], headers["X-API-Key"]) == ("1700000000123", "5000", b64(PUBLIC))
    with pytest.raises(InvalidSignature):
        public.verify(base64.b64decode(headers["X-Signature"]), text.replace(b"5000", b"5001"))
    key, signature, timestamp, window = signer.subscription(1_700_000_000_123, 5000)
    public.verify(base64.b64decode(signature), b"instruction=subscribe&timestamp=1700000000123&window=5000")
    assert (key, timestamp, window) == (b64(PUBLIC), "1700000000123", "5000")


def test_a_secret_of_64_bytes_is_seed_then_public_key():
    assert Signer(keys(secret=SEED + PUBLIC)).sign("text") == Signer(keys()).sign("text")


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        (keys(secret=SEED[:31]), "secret has 31 bytes, not 32 or 64"),
        (keys(key=PUBLIC + b"x"), "key has 33 bytes, not 32"),
        (Credentials(Secret(b64(PUBLIC)), Secret("not base64!")), "secret is not Base64"),
        (Credentials(Secret("ключ"), Secret(b64(SEED))), "key is not Base64"),
        (keys(key=SEED), "do not belong together"),
    ],
)
def test_a_wrong_key_is_told_with_the_remedy_and_never_shown(credentials, words):
    with pytest.raises(AuthError, match=words) as refused:
        Signer(credentials)
    chain = f"{refused.value!r} {refused.value.__cause__!r}"
    assert credentials.secret.reveal() not in chain
    assert "copy" in chain or "cut" in chain


def test_the_vector_is_of_one_key_pair():
    assert Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw() == PUBLIC
