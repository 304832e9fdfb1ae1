"""Signatures of OKX requests and of the WebSocket login: pure functions.

Facts: the venue's API v5 documentation ("Making requests", "WebSocket login").
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from functools import lru_cache

LOGIN_PATH = "/users/self/verify"


def timestamp(now_ms: int) -> str:
    """Return a time in the form of the header, ISO 8601 in UTC with milliseconds and `Z`."""
    seconds, ms = divmod(now_ms, 1000)
    return f"{_whole_second(seconds)}.{ms:03d}Z"


@lru_cache(maxsize=4)
def _whole_second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def sign(secret: str, when: str, method: str, path: str, body: str = "") -> str:
    """Return the signature of time + METHOD + path (with the query exactly as sent) + body, Base64 of HMAC-SHA256."""
    text = f"{when}{method}{path}{body}"
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), hashlib.sha256)).decode()


def rest_headers(
    key: str, secret: str, passphrase: str, now_ms: int, method: str, path: str, body: str = ""
) -> dict[str, str]:
    """Return the headers that sign a REST request; the venue takes times within 30 s of its own."""
    when = timestamp(now_ms)
    return {
        "OK-ACCESS-KEY": key,
        "OK-ACCESS-SIGN": sign(secret, when, method, path, body),
        "OK-ACCESS-TIMESTAMP": when,
        "OK-ACCESS-PASSPHRASE": passphrase,
    }


def login_arguments(key: str, secret: str, passphrase: str, now_ms: int) -> dict[str, str]:
    """Return the argument of the WebSocket login; its time stamp is in seconds."""
    when = str(now_ms // 1000)
    return {
        "apiKey": key,
        "passphrase": passphrase,
        "timestamp": when,
        "sign": sign(secret, when, "GET", LOGIN_PATH),
    }
