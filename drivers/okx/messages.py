"""Decoding of OKX's messages: pushes of the sockets, events, answers to operations, REST answers.

What a push is about stands at its beginning; the type for its channel is tried at once, and whatever does not fit is
looked at field by field, so that the reason can be told.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from drivers.okx.wire import (
    BARS,
    AccountRow,
    BookRow,
    CandleRow,
    Event,
    FundingRow,
    IndexRow,
    InstrumentRow,
    MarkRow,
    OpReply,
    OrderRow,
    PositionRow,
    Push,
    Reply,
    TickerRow,
    TradeRow,
)
from drivers.transport.line_decoder import Undecodable

Message = Push[Any] | Reply[Any] | Event | OpReply

CHANNELS: dict[str, Any] = {
    "books": BookRow,
    "books-l2-tbt": BookRow,
    "books50-l2-tbt": BookRow,
    "books5": BookRow,
    "bbo-tbt": BookRow,
    "trades": TradeRow,
    "tickers": TickerRow,
    "mark-price": MarkRow,
    "index-tickers": IndexRow,
    "funding-rate": FundingRow,
    "instruments": InstrumentRow,
    "orders": OrderRow,
    "positions": PositionRow,
    "account": AccountRow,
    **{f"candle{bar}": CandleRow for bar in BARS.values()},
}
_push_type: Any = Push
_PUSHES: dict[str, Any] = {channel: _push_type[row] for channel, row in CHANNELS.items()}
_decoders: dict[str, Callable[[bytes], Push[Any]]] = {
    channel: msgspec.json.Decoder(wire, strict=False).decode for channel, wire in _PUSHES.items()
}
_any = msgspec.json.Decoder().decode
_CHANNEL = re.compile(rb'"channel"\s*:\s*"([^"]+)"')
_HEAD_LIMIT = 240
T = TypeVar("T")


@lru_cache(maxsize=4096)
def _decoder_for(head: bytes) -> Callable[[bytes], Push[Any]] | None:
    """Return what decodes messages that begin so, up to their `"data"`; None when that takes a closer look."""
    found = _CHANNEL.search(head)
    return None if found is None else _decoders.get(found[1].decode("ascii", "replace"))


def decode(payload: bytes) -> Message:
    """Decode one message: a push, an event, the answer to an operation, or a REST answer.

    Raises:
        Undecodable: It is none of these; the reason names the field where possible.
    """
    end = payload.find(b'"data"', 0, _HEAD_LIMIT)
    if end > 0:
        decoder = _decoder_for(payload[:end])
        if decoder is not None:
            try:
                return decoder(payload)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return _decode_slowly(payload)
    return _decode_slowly(payload)


def _decode_slowly(payload: bytes) -> Message:
    try:
        loaded = _any(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(f"not JSON: {error}") from error
    if not isinstance(loaded, dict):
        raise Undecodable(f"a JSON {type(loaded).__name__}, expected an object")
    if "event" in loaded:
        return _typed(loaded, Event, "event")
    if "op" in loaded:
        return _typed(loaded, OpReply, "operation")
    if "arg" in loaded:
        return _push(loaded)
    if {"code", "data"} <= loaded.keys():
        return _reply(loaded)
    raise Undecodable(f"unknown message with the fields {', '.join(map(str, list(loaded)[:8]))[:120] or '(none)'}")


def _push(fields: dict[str, Any]) -> Push[Any]:
    arg = fields["arg"]
    channel = arg.get("channel") if isinstance(arg, dict) else None
    if not isinstance(channel, str) or channel not in CHANNELS:
        raise Undecodable(f"unknown channel {str(channel)[:40]!r}", _symbol(fields))
    push: Push[Any] = _typed(fields, _PUSHES[channel], channel)
    return push


def _reply(fields: dict[str, Any]) -> Reply[Any]:
    """Tell by its rows what a REST answer is about; it does not say."""
    if fields["code"] != "0":
        raise Undecodable(f"the venue refused a request: {fields['code']} {str(fields.get('msg'))[:120]}")
    rows = fields["data"]
    first = rows[0] if isinstance(rows, list) and rows else None
    wire: Any = Reply[Any]
    if isinstance(first, dict):
        if {"asks", "bids"} <= first.keys():
            wire = Reply[BookRow]
        elif {"instId", "tickSz"} <= first.keys():
            wire = Reply[InstrumentRow]
    reply: Reply[Any] = _typed(fields, wire, "reply")
    return reply


def _typed(fields: dict[str, Any], wire: type[T], name: str) -> T:
    try:
        return msgspec.convert(fields, wire, strict=False)
    except msgspec.ValidationError as error:
        raise Undecodable(f"{name}: {error}", _symbol(fields)) from error


def _symbol(fields: dict[str, Any]) -> str | None:
    arg = fields.get("arg")
    native = arg.get("instId") if isinstance(arg, dict) else None
    return native if isinstance(native, str) else None
