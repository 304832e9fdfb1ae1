"""OKX's signatures on REST and on the private socket."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tests.venues.emulators.okx_wire import OkxError
from tests.venues.emulators.wire import Seen

_TOLERANCE_MS = 30_000
_STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


def sign(secret: str, timestamp: str, method: str, target: str, body: bytes = b"") -> str:
    """Return Base64(HMAC-SHA256(secret, timestamp + METHOD + path with query + body))."""
    text = f"{timestamp}{method.upper()}{target}".encode() + body
    return base64.b64encode(hmac.new(secret.encode(), text, hashlib.sha256).digest()).decode()


def check_request(seen: Seen, key: str, secret: str, passphrase: str, demo: bool) -> None:
    """Raise the venue's refusal of the first thing that is wrong with a signed request."""
    headers = seen.headers
    for header, code in (
        ("OK-ACCESS-KEY", "50103"),
        ("OK-ACCESS-PASSPHRASE", "50104"),
        ("OK-ACCESS-SIGN", "50106"),
        ("OK-ACCESS-TIMESTAMP", "50107"),
    ):
        if not headers.get(header):
            raise OkxError(code)
    stamp = headers["OK-ACCESS-TIMESTAMP"]
    if not _STAMP.match(stamp):
        raise OkxError("50112")
    sent_ms = round(datetime.fromisoformat(stamp).timestamp() * 1000)
    if abs(seen.time_ms - sent_ms) > _TOLERANCE_MS:
        raise OkxError("50102")
    if headers["OK-ACCESS-KEY"] != key:
        raise OkxError("50111")
    if (headers.get("x-simulated-trading") == "1") is not demo:
        raise OkxError("50101")
    if headers["OK-ACCESS-PASSPHRASE"] != passphrase:
        raise OkxError("50105")
    wanted = sign(secret, stamp, seen.method, seen.target, seen.body)
    if not hmac.compare_digest(wanted, headers["OK-ACCESS-SIGN"]):
        raise OkxError("50113")


def check_login(arguments: Mapping[str, Any], key: str, secret: str, passphrase: str, now_ms: int) -> None:
    """Raise the venue's refusal of a login on a socket; its time stamp is in seconds."""
    stamp = str(arguments.get("timestamp", ""))
    if not re.fullmatch(r"\d{10}(\.\d+)?", stamp):
        raise OkxError("60004")
    if abs(now_ms - float(stamp) * 1000) > _TOLERANCE_MS:
        raise OkxError("60006")
    if arguments.get("apiKey") != key:
        raise OkxError("60005")
    if arguments.get("passphrase") != passphrase:
        raise OkxError("60024")
    wanted = sign(secret, stamp, "GET", "/users/self/verify")
    if not hmac.compare_digest(wanted, str(arguments.get("sign", ""))):
        raise OkxError("60007")
