"""Binance's HMAC signatures: EXCHANGES 2.2 and 3.2.

A REST request's parameters are percent-encoded first, the encoded text is signed, and the signature stands last. A
request over a socket signs its parameters sorted by name, as they are.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from urllib.parse import quote

from engine.kernel.secret import Secret

Params = Mapping[str, str | int]
RECV_WINDOW_MS = 5000


def sign(secret: Secret, text: str) -> str:
    """Return the lower-case hex HMAC-SHA256 of a text."""
    return hmac.digest(secret.reveal().encode(), text.encode(), "sha256").hex()


def encode_params(params: Params) -> str:
    """Return parameters as a query, percent-encoded, in their order."""
    return "&".join(f"{name}={quote(str(value), safe='')}" for name, value in params.items())


def signed_query(params: Params, secret: Secret, timestamp_ms: int) -> str:
    """Return parameters, receive window, time stamp and the signature over all of it, as a query."""
    text = encode_params({**params, "recvWindow": RECV_WINDOW_MS, "timestamp": timestamp_ms})
    return f"{text}&signature={sign(secret, text)}"


def signed_params(params: Params, key: Secret, secret: Secret, timestamp_ms: int) -> dict[str, str | int]:
    """Return the parameters of a request over a socket, with key, time stamp and signature."""
    complete = {**params, "apiKey": key.reveal(), "recvWindow": RECV_WINDOW_MS, "timestamp": timestamp_ms}
    ordered = dict(sorted(complete.items()))
    text = "&".join(f"{name}={value}" for name, value in ordered.items())
    return {**ordered, "signature": sign(secret, text)}
