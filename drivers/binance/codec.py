"""Typed decoding of Binance's public messages, USD-M futures and spot.

Prices and sizes become floats inside the JSON decoder; negative, infinite and not-a-number values are refused there.
Field names are the venue's own. Facts: the venue's public API documentation, checked against recordings.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Protocol, TypeVar

import msgspec
from msgspec import Meta, Struct

from drivers.transport.line_decoder import Undecodable

Price = Annotated[float, Meta(gt=0, le=1e18)]
Size = Annotated[float, Meta(ge=0, le=1e18)]
Time = Annotated[int, Meta(ge=0, le=1 << 62)]
WireLevels = list[tuple[Price, Size]]


class DepthUpdate(Struct, tag_field="e", tag="depthUpdate", gc=False):
    """Changed levels of a book; only futures carry `pu` (last id of the previous message) and `T`."""

    s: str
    E: Time
    U: int
    u: int
    b: WireLevels
    a: WireLevels
    T: Time | None = None
    pu: int | None = None


class DepthSnapshot(Struct, gc=False):
    """The reply of the REST depth request; only futures carry `E` and `T`. It does not name its symbol."""

    lastUpdateId: int
    bids: WireLevels
    asks: WireLevels
    E: Time | None = None
    T: Time | None = None

    @property
    def ts(self) -> int | None:
        """Return the time of its last change, ms, None where it has none."""
        return self.T or self.E or None


class BookTicker(Struct, tag_field="e", tag="bookTicker", gc=False):
    """Best bid and ask; spot sends it without event name and times."""

    s: str
    b: Price
    B: Size
    a: Price
    A: Size
    E: Time | None = None
    T: Time | None = None


class TradePrint(Struct, tag_field="e", tag="trade", gc=False):
    """A trade; `m`: the buyer rested. Spot carries `M`, futures `X` (other than MARKET: not a trade of the book)."""

    s: str
    E: Time
    T: Time
    t: int
    p: Size
    q: Size
    m: bool
    X: str = "MARKET"
    M: bool | None = None


class AggregateTrade(Struct, tag_field="e", tag="aggTrade", gc=False):
    """Trades of one taker order at one price; spot carries `M`."""

    s: str
    E: Time
    T: Time
    a: int
    p: Price
    q: Size
    m: bool
    M: bool | None = None


class MarkPriceUpdate(Struct, tag_field="e", tag="markPriceUpdate", gc=False):
    """Mark and index price; `r` is the funding rate (empty when there is none), `T` the next payment."""

    s: str
    E: Time
    p: Price
    i: Price
    r: str = ""
    T: Time = 0


class Candle(Struct, gc=False):
    """The candle inside a `kline` message; `x` closed."""

    t: Time
    i: str
    o: Price
    c: Price
    h: Price
    l: Price  # noqa: E741 - the venue's name for the low
    v: Size
    q: Size
    x: bool


class Kline(Struct, tag_field="e", tag="kline", gc=False):
    """A candle; futures and spot send the same fields, newer futures add `ps` or `st`."""

    s: str
    E: Time
    k: Candle
    ps: str | None = None
    st: int | None = None


class DayTicker(Struct, tag_field="e", tag="24hrTicker", gc=False):
    """Rolling 24 h statistics; spot carries the best bid `b`."""

    s: str
    E: Time
    c: Price
    o: Size
    h: Size
    l: Size  # noqa: E741 - the venue's name for the low
    q: Size
    b: Size | None = None


class Reply(Struct, forbid_unknown_fields=True):
    """The answer to a subscription."""

    id: int | str | None
    result: Any


Event = DepthUpdate | BookTicker | TradePrint | AggregateTrade | MarkPriceUpdate | Kline | DayTicker
Message = Event | DepthSnapshot | Reply


class _Wrapped(Struct, gc=False):
    data: Event


class _WrappedDepth(Struct, gc=False):
    data: DepthUpdate


class _WrappedBookTicker(Struct, gc=False):
    data: BookTicker


_wrapped = msgspec.json.Decoder(_Wrapped, strict=False).decode
_wrapped_depth = msgspec.json.Decoder(_WrappedDepth, strict=False).decode
_wrapped_book_ticker = msgspec.json.Decoder(_WrappedBookTicker, strict=False).decode
_bare = msgspec.json.Decoder(Event, strict=False).decode
_snapshot = msgspec.json.Decoder(DepthSnapshot, strict=False).decode
_any = msgspec.json.Decoder().decode
_EVENTS: dict[str, type[Event]] = {
    "depthUpdate": DepthUpdate,
    "bookTicker": BookTicker,
    "trade": TradePrint,
    "aggTrade": AggregateTrade,
    "markPriceUpdate": MarkPriceUpdate,
    "kline": Kline,
    "24hrTicker": DayTicker,
}
_PARTIAL_DEPTH = re.compile(r"@depth\d")


class _HasData(Protocol):
    @property
    def data(self) -> Event: ...


@lru_cache(maxsize=4096)
def _decoder_for(head: bytes) -> Callable[[bytes], _HasData] | None:
    """Return what decodes messages that begin so, up to their `"data"`; None when that takes a closer look."""
    if not head.startswith(b'{"stream"') or re.search(rb"@depth\d", head):
        return None
    if b"@depth" in head:
        return _wrapped_depth
    return _wrapped_book_ticker if b"@bookTicker" in head else _wrapped


def decode(payload: bytes) -> Message:
    """Decode one message: combined-stream wrapper, bare event, REST depth reply or subscription reply.

    The shape that the first bytes promise is tried at once; whatever does not fit is looked at field by field.

    Raises:
        Undecodable: It is none of these; the reason names the field where possible.
    """
    try:
        head = payload.find(b'"data"', 0, 96)
        if head > 0:
            decoder = _decoder_for(payload[:head])
            if decoder is not None:
                return decoder(payload).data
        elif payload.startswith(b'{"e"'):
            return _bare(payload)
        elif payload.startswith(b'{"lastUpdateId"'):
            return _snapshot(payload)
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
    stream = ""
    if "data" in loaded and "stream" in loaded:
        stream, loaded = str(loaded["stream"]), loaded["data"]
        if not isinstance(loaded, dict):
            raise Undecodable(f"data of stream {stream[:40]!r} is a {type(loaded).__name__}, expected an object")
    return _convert(loaded, stream)


def _convert(fields: dict[str, Any], stream: str) -> Message:
    if _PARTIAL_DEPTH.search(stream) or ("lastUpdateId" in fields and stream):
        raise Undecodable("partial depth stream: it cannot be followed level by level, record @depth instead")
    if "e" in fields:
        name = fields["e"]
        wire = _EVENTS.get(name) if isinstance(name, str) else None
        if wire is None:
            raise Undecodable(f"unknown event {str(name)[:40]!r}", _symbol(fields))
        return _typed(fields, wire)
    if "lastUpdateId" in fields:
        return _typed(fields, DepthSnapshot)
    if {"u", "s", "b", "a"} <= fields.keys():
        return _typed(fields, BookTicker)
    if fields.keys() == {"id", "result"}:
        return _typed(fields, Reply)
    refusal = fields.get("error", fields)
    if isinstance(refusal, dict) and {"code", "msg"} <= refusal.keys():
        raise Undecodable(f"the venue refused a request: {refusal['code']} {str(refusal['msg'])[:120]}")
    raise Undecodable(f"unknown message with the fields {', '.join(map(str, list(fields)[:8]))[:120] or '(none)'}")


M = TypeVar("M")


def _typed(fields: dict[str, Any], wire: type[M]) -> M:
    try:
        return msgspec.convert(fields, wire, strict=False)
    except msgspec.ValidationError as error:
        raise Undecodable(f"{fields.get('e', wire.__name__)}: {error}", _symbol(fields)) from error


def _symbol(fields: dict[str, Any]) -> str | None:
    symbol = fields.get("s")
    return symbol if isinstance(symbol, str) else None
