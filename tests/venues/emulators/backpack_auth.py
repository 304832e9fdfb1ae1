"""Backpack's request signatures, checked from the venue's side (EXCHANGES.md §5.2)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.venues.emulators.backpack_errors import Refusal, bad_request

DEFAULT_WINDOW_MS = 5_000
LARGEST_WINDOW_MS = 60_000
_AHEAD_MS = 1_000

INSTRUCTIONS: dict[tuple[str, str], str] = {
    ("GET", "/api/v1/account"): "accountQuery",
    ("PATCH", "/api/v1/account"): "accountUpdate",
    ("GET", "/api/v1/account/limits/order"): "maxOrderQuantity",
    ("GET", "/api/v1/borrowLend/positions"): "borrowLendPositionQuery",
    ("GET", "/api/v1/capital"): "balanceQuery",
    ("GET", "/api/v1/capital/collateral"): "collateralQuery",
    ("GET", "/api/v1/position"): "positionQuery",
    ("GET", "/api/v1/order"): "orderQuery",
    ("POST", "/api/v1/order"): "orderExecute",
    ("DELETE", "/api/v1/order"): "orderCancel",
    ("GET", "/api/v1/orders"): "orderQueryAll",
    ("POST", "/api/v1/orders"): "orderExecute",
    ("DELETE", "/api/v1/orders"): "orderCancelAll",
    ("GET", "/wapi/v1/history/orders"): "orderHistoryQueryAll",
    ("GET", "/wapi/v1/history/fills"): "fillHistoryQueryAll",
    ("GET", "/wapi/v1/history/funding"): "fundingHistoryQueryAll",
}
"""Name that is signed for each private call."""


def key_pair(seed: bytes) -> tuple[str, str]:
    """Return (API key, secret) as the venue hands them out: Base64 of the public key and of the seed."""
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b64encode(public).decode(), base64.b64encode(seed).decode()


def exact_json(body: bytes) -> Any:
    """Return a JSON body whose numbers keep their text, as they are signed.

    Raises:
        Refusal: It is not JSON.
    """
    try:
        return json.loads(body, parse_float=_Plain, parse_int=_Plain) if body else {}
    except ValueError as error:
        raise bad_request(f"Invalid JSON body: {error}") from error


class _Plain(str):
    """A number of a JSON body, as it was written."""


def is_number(value: object) -> bool:
    """Return whether a value of a body was written as a JSON number."""
    return isinstance(value, _Plain)


def pre_sign(instruction: str, parts: Iterable[Mapping[str, object]], timestamp: str, window: str) -> str:
    """Return the text that is signed: each part's parameters sorted by key behind the instruction, then the time."""
    pieces = []
    for part in parts:
        pieces.append(f"instruction={instruction}")
        pieces += [f"{key}={_text(part[key])}" for key in sorted(part)]
    return "&".join([*pieces, f"timestamp={timestamp}", f"window={window}"])


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def check_signature(
    key: str,
    headers: Mapping[str, str],
    instruction: str,
    parts: Iterable[Mapping[str, object]],
    now_ms: int,
) -> None:
    """Raise the venue's `Refusal` unless a private request is signed by `key` and in time."""
    given, signature = headers.get("X-API-Key"), headers.get("X-Signature")
    timestamp, window = headers.get("X-Timestamp"), headers.get("X-Window", str(DEFAULT_WINDOW_MS))
    if given is None or signature is None or timestamp is None:
        raise Refusal(401, "UNAUTHORIZED", "Missing authentication headers")
    check_signed(key, (given, signature, timestamp, window), instruction, parts, now_ms)


def check_signed(
    key: str,
    signed: tuple[str, str, str, str],
    instruction: str,
    parts: Iterable[Mapping[str, object]],
    now_ms: int,
) -> None:
    """Raise the venue's `Refusal` unless (key, signature, timestamp, window) sign the instruction, in time."""
    given, signature, timestamp, window = signed
    if given != key:
        raise Refusal(401, "UNAUTHORIZED", "Invalid API key")
    if not timestamp.isdigit() or not window.isdigit() or not 0 < int(window) <= LARGEST_WINDOW_MS:
        raise bad_request("Invalid timestamp or window")
    if int(timestamp) > now_ms + _AHEAD_MS:
        raise bad_request("Invalid timestamp: it is ahead of the server's time")
    if now_ms > int(timestamp) + int(window):
        raise bad_request("Request has expired")
    text = pre_sign(instruction, parts, timestamp, window)
    try:
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key))
        public.verify(base64.b64decode(signature, validate=True), text.encode())
    except (InvalidSignature, binascii.Error) as error:
        raise bad_request("Invalid signature") from error
