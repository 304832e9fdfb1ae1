"""OKX's words: numbers as text, envelopes, error codes with their texts and HTTP statuses."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from tests.venues.emulators.faults import Answer
from tests.venues.emulators.wire import json_answer

Row = dict[str, Any]
ZERO = Decimal(0)
_DIGITS = 16

_UNAUTHORISED = {
    "50101": "APIKey does not match current environment.",
    "50102": "Timestamp request expired",
    "50103": 'Request header "OK-ACCESS-KEY" can not be empty.',
    "50104": 'Request header "OK-ACCESS-PASSPHRASE" can not be empty.',
    "50105": "OK-ACCESS-PASSPHRASE incorrect",
    "50106": 'Request header "OK-ACCESS-SIGN" can not be empty.',
    "50107": 'Request header "OK-ACCESS-TIMESTAMP" can not be empty.',
    "50110": "Your IP {0} is not included in your API key's IP whitelist.",
    "50111": "Invalid OK-ACCESS-KEY",
    "50112": "Invalid OK-ACCESS-TIMESTAMP",
    "50113": "Invalid Sign",
    "50114": "Invalid Authority",
    "50119": "API key doesn't exist",
    "50120": "This API key doesn't have permission to use this function",
}
_BAD_REQUEST = {
    "50000": "Body for POST request cannot be empty.",
    "50002": "JSON syntax error",
    "50004": "API endpoint request timeout (does not mean that the request was successful or failed, please check).",
    "50006": "Invalid Content-Type, please use 'application/json' format",
    "50014": "Parameter {0} can not be empty.",
    "50015": "Either parameter {0} or {1} is required",
}
_OTHER = {
    "50001": (503, "Service temporarily unavailable. Please try again later"),
    "50011": (429, "Too Many Requests"),
    "50013": (429, "Systems are busy. Please try again later."),
    "50026": (500, "System error. Try again later"),
}
_BUSINESS = {
    "50036": "The expTime can't be earlier than the current system time. Please adjust the expTime and try again.",
    "50061": "You've reached the maximum order rate limit for this account.",
    "51000": "Parameter {0} error",
    "51001": "Instrument ID, Instrument ID code, or Spread ID doesn't exist.",
    "51005": "Your order amount exceeds the max order amount.",
    "51006": "Order price is not within the price limit (max buy price: {0}, min sell price: {1})",
    "51008": "Order failed. Insufficient {0} {1} in account.",
    "51010": "You can't complete this request under your current account mode.",
    "51016": "Client order ID already exists.",
    "51020": "Your order should meet or exceed the minimum order amount.",
    "51022": "Contract suspended",
    "51023": "Position doesn't exist.",
    "51101": "Entered amount exceeds the max pending order amount (Cont) per transaction.",
    "51103": "The number of pending orders in this instrument exceeds the upper limit of {0}.",
    "51115": "Cancel all pending close-orders before liquidation.",
    "51121": "Order quantity must be a multiple of the lot size.",
    "51169": "Order failed because you don't have any positions in this direction to reduce or close.",
    "51202": "Market order amount exceeds the maximum amount.",
    "51400": "Cancellation failed as the order has been filled, canceled or does not exist.",
    "51401": "Cancellation failed as the order is already canceled.",
    "51402": "Cancellation failed as the order is already completed.",
    "51503": "Your order has already been filled or canceled.",
    "51509": "Failed to modify the order as the order has already been canceled",
    "51510": "Failed to modify the order as the order has already been completed",
    "51511": "Operation failed as the order price doesn't meet the requirement for Post Only.",
    "51603": "Order does not exist",
    "59000": "Setting failed. Cancel any open orders, close positions, and stop trading bots first.",
    "59102": "Leverage exceeds the maximum limit. Please lower the leverage.",
    "59108": "Low leverage and insufficient margin, please adjust the leverage.",
}
SOCKET_TEXTS = {
    "60004": "Invalid timestamp",
    "60005": "Invalid apiKey",
    "60006": "Timestamp request expired",
    "60007": "Invalid sign",
    "60009": "Login failed.",
    "60011": "Please log in",
    "60012": "Invalid request: {0}",
    "60013": "Invalid args",
    "60014": "Requests too frequent",
    "60018": "Wrong URL or {0} doesn't exist. Please use the correct URL, channel and parameters referring to API "
    "document.",
    "60024": "Wrong passphrase",
}


class OkxError(Exception):
    """A refusal in the venue's words.

    Args:
        code: The venue's code.
        values: What stands for `{0}`, `{1}` in its text.
    """

    def __init__(self, code: str, *values: object) -> None:
        if code in _UNAUTHORISED:
            self.status, text = 401, _UNAUTHORISED[code]
        elif code in _BAD_REQUEST:
            self.status, text = 400, _BAD_REQUEST[code]
        elif code in _OTHER:
            self.status, text = _OTHER[code]
        else:
            self.status, text = 200, _BUSINESS.get(code) or SOCKET_TEXTS[code]
        self.code = code
        self.text = text.format(*values)
        super().__init__(f"{code} {self.text}")

    def answer(self) -> Answer:
        """Return it as the answer to a whole request."""
        return json_answer({"msg": self.text, "code": self.code, "data": []}, self.status)


@lru_cache(maxsize=16_384)
def fmt(value: Decimal) -> str:
    """Return a number as OKX writes it: plain digits, no exponent, no trailing zeros."""
    if not value:
        return "0"
    if len(value.as_tuple().digits) > _DIGITS:
        value = Decimal(f"{value:.{_DIGITS}g}")
    return f"{value.normalize():f}"


def data(rows: list[Any]) -> Answer:
    """Return the envelope of a query."""
    return json_answer({"code": "0", "msg": "", "data": rows})


def acted(items: list[Row], now_us: int, singly: bool = False) -> Row:
    """Return the envelope of trade requests from their items, each with its `sCode`."""
    failed = sum(item["sCode"] != "0" for item in items)
    code = "0" if not failed else "1" if failed == len(items) else "2"
    words = {"0": "", "1": "All operations failed", "2": "Bulk operation partially succeeded"}
    text = "Operation failed." if singly and failed else words[code]
    return {"code": code, "data": items, "msg": text, "inTime": str(now_us), "outTime": str(now_us + 417)}


def number(parameters: Mapping[str, Any], name: str, zero: bool = False) -> Decimal | None:
    """Return a number parameter that is above 0 (or 0 where that is allowed), None when it is absent or empty.

    Raises:
        OkxError: 51000, it is not such a number in text.
    """
    value = parameters.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not value.replace(".", "", 1).isdecimal():
        raise OkxError("51000", name)
    if not Decimal(value) and not zero:
        raise OkxError("51000", name)
    return Decimal(value)


def required(parameters: Mapping[str, Any], *names: str) -> None:
    """Raise 50014 unless every parameter is given."""
    for name in names:
        if parameters.get(name) in (None, ""):
            raise OkxError("50014", name)
