"""Binance on the wire: error replies, parameters, signatures, numbers as text (EXCHANGES §2.2, §3.2, §0.5)."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from urllib.parse import parse_qsl

DEFAULT_WINDOW_MS = 5_000
LARGEST_WINDOW_MS = 60_000
AHEAD_MS = 1_000

_ENCODED = re.compile(r"(?:[A-Za-z0-9\-._~+*=&]|%[0-9A-Fa-f]{2})*")
_SIGNED = re.compile(r"(?:^|&)signature=([^&]*)$")


class Product(StrEnum):
    """The two venues in one: USD-M futures and spot."""

    FUTURES = "fapi"
    SPOT = "api"


class BinanceError(Exception):
    """A refusal: HTTP status, Binance's code and words; `data` is added by cancelReplace."""

    def __init__(
        self, code: int, msg: str, status: int = 400, headers: Mapping[str, str] | None = None, data: object = None
    ) -> None:
        super().__init__(f"{code} {msg}")
        self.code, self.msg, self.status, self.headers, self.data = code, msg, status, dict(headers or {}), data

    @property
    def body(self) -> dict[str, object]:
        answer: dict[str, object] = {"code": self.code, "msg": self.msg}
        if self.data is not None:
            answer["data"] = self.data
        return answer


def missing(name: str) -> BinanceError:
    return BinanceError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def unneeded(name: str) -> BinanceError:
    return BinanceError(-1106, f"Parameter '{name}' sent when not required.")


class Params:
    """The parameters of one call, as text; typed access raises what Binance answers."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = dict(values)

    def __contains__(self, name: str) -> bool:
        return bool(self.values.get(name))

    def text(self, name: str, default: str = "") -> str:
        return self.values.get(name) or default

    def need(self, name: str) -> str:
        if name not in self:
            raise missing(name)
        return self.values[name]

    def decimal(self, name: str) -> Decimal | None:
        if name not in self:
            return None
        text = self.values[name]
        if not re.fullmatch(r"-?\d{1,20}(\.\d{1,20})?", text):
            legal = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
            raise BinanceError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")
        return Decimal(text)

    def need_decimal(self, name: str) -> Decimal:
        self.need(name)
        value = self.decimal(name)
        assert value is not None
        return value

    def integer(self, name: str) -> int | None:
        if name not in self:
            return None
        try:
            return int(self.values[name])
        except ValueError:
            raise missing(name) from None

    def flag(self, name: str) -> bool | None:
        if name not in self:
            return None
        text = self.values[name].lower()
        if text not in ("true", "false"):
            raise missing(name)
        return text == "true"


def parse_params(query: str, body: str) -> Params:
    """Return the parameters of query and form body together; a name may come once."""
    values: dict[str, str] = {}
    for text in (query, body):
        for name, value in parse_qsl(text, keep_blank_values=True):
            if name in values:
                raise BinanceError(-1101, "Too many parameters; expected '1' and received '2'.")
            values[name] = value
    return Params(values)


def hmac_hex(secret: str, text: str) -> str:
    """Return the lower hex HMAC-SHA256."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def check_request_signature(secret: str, query: str, body: str) -> None:
    """Check a REST signature: over query and body as sent, joined without `&`, without the trailing signature.

    Raises:
        BinanceError: It is missing (-1102), not last, wrong, or over text that was not percent-encoded (-1022).
    """
    at_body = _SIGNED.search(body)
    at_query = _SIGNED.search(query)
    if at_body is not None:
        given, signed = at_body[1], query + body[: at_body.start()]
    elif at_query is not None:
        given, signed = at_query[1], query[: at_query.start()] + body
    elif "signature=" in query or "signature=" in body:
        raise bad_signature()
    else:
        raise missing("signature")
    if not _ENCODED.fullmatch(query) or not _ENCODED.fullmatch(body):
        raise bad_signature()
    if not hmac.compare_digest(hmac_hex(secret, signed), given):
        raise bad_signature()


def ws_signing_text(values: Mapping[str, str]) -> str:
    """Return what a WS API call signs: every parameter but the signature, sorted by name, raw."""
    return "&".join(f"{name}={values[name]}" for name in sorted(values) if name != "signature")


def check_ws_signature(secret: str, values: Mapping[str, str]) -> None:
    """Check the signature of a WS API call."""
    if not values.get("signature"):
        raise missing("signature")
    if not hmac.compare_digest(hmac_hex(secret, ws_signing_text(values)), values["signature"]):
        raise bad_signature()


def bad_signature() -> BinanceError:
    return BinanceError(-1022, "Signature for this request is not valid.")


def check_time(params: Params, now_ms: int) -> None:
    """Check timestamp and recvWindow: timestamp < now + 1000 and now - timestamp <= recvWindow."""
    params.need("timestamp")
    stamp = params.integer("timestamp")
    assert stamp is not None
    window = Decimal(DEFAULT_WINDOW_MS)
    if "recvWindow" in params:
        try:
            window = Decimal(params.text("recvWindow"))
        except InvalidOperation:
            raise missing("recvWindow") from None
    if not 0 < window <= LARGEST_WINDOW_MS:
        raise BinanceError(-1131, "recvWindow must be less than 60000.")
    if stamp >= now_ms + AHEAD_MS:
        raise BinanceError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - stamp > window:
        raise BinanceError(-1021, "Timestamp for this request is outside of the recvWindow.")


def ws_params(values: Mapping[str, object]) -> Params:
    """Return JSON parameters as text, as they are signed."""
    return Params({name: _as_text(value) for name, value in values.items() if value is not None})


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def fixed(value: Decimal, places: int) -> str:
    """Return a number with exactly so many decimals."""
    return f"{value:.{places}f}"


def plain(value: Decimal) -> str:
    """Return a number without exponent and without trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
