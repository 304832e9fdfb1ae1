"""Backpack's messages as they are on the wire: public and private streams, and the REST snapshots among them.

Field names are the venue's own. Market data becomes float inside the JSON decoder, money `Decimal`; negative, infinite
and not-a-number market prices are refused there. Event times are microseconds. Facts: the venue's API documentation.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from drivers.transport.line_decoder import Undecodable

Price = Annotated[float, Meta(gt=0, le=1e18)]
Size = Annotated[float, Meta(ge=0, le=1e18)]
Micros = Annotated[int, Meta(ge=0, le=1 << 62)]
WireLevels = list[tuple[Price, Size]]


class Envelope(Struct, gc=False):
    """What every stream message comes in."""

    stream: str
    data: msgspec.Raw


class Depth(Struct, gc=False):
    """Changed levels of a book; consecutive: U is the u before it plus one."""

    s: str
    E: Micros
    U: int
    u: int
    a: WireLevels
    b: WireLevels
    T: Micros | None = None


class DepthSnapshot(Struct, gc=False):
    """The reply of the REST depth request; bids ascend as well. It does not name its symbol."""

    asks: WireLevels
    bids: WireLevels
    lastUpdateId: int
    timestamp: Micros | None = None

    @property
    def ts(self) -> int | None:
        """Return its time in ms, None where it has none."""
        return self.timestamp // 1000 if self.timestamp else None


class BookTicker(Struct, gc=False):
    """Best bid and ask; null or 0 where a side is empty."""

    s: str
    E: Micros
    a: Size | None = None
    A: Size | None = None
    b: Size | None = None
    B: Size | None = None
    T: Micros | None = None


class TradePrint(Struct, gc=False):
    """A trade; `m`: the buyer rested. `t` counts within the symbol."""

    s: str
    E: Micros
    p: Price
    q: Size
    t: int
    m: bool
    T: Micros | None = None


class Kline(Struct, gc=False):
    """A candle; `t` and `T` are times without zone, UTC; prices are null while nothing was traded; `X` closed."""

    s: str
    E: Micros
    t: str
    X: bool
    o: Price | None = None
    c: Price | None = None
    h: Price | None = None
    l: Price | None = None  # noqa: E741 - the venue's name for the low
    v: Size = 0.0
    V: Size | None = None


class MarkPriceUpdate(Struct, gc=False):
    """Mark price; index, funding rate `f` and next payment `n` (ms) are missing on prediction markets."""

    s: str
    E: Micros
    p: Price
    f: Annotated[float, Meta(ge=-1, le=1)] | None = None
    i: Price | None = None
    n: Micros | None = None
    T: Micros | None = None


class DayTicker(Struct, gc=False):
    """Rolling 24 h statistics; `V` in quote; prices null or 0 where nothing was traded."""

    s: str
    E: Micros
    o: Size | None = None
    c: Size | None = None
    h: Size | None = None
    l: Size | None = None  # noqa: E741 - the venue's name for the low
    V: Size = 0.0


class OrderEvent(Struct, gc=False):
    """`account.orderUpdate`: what happened to an order; `t l L n N m` on fills, `R` on expiry, `O` who caused it."""

    e: str
    E: Micros
    s: str
    S: str
    o: str
    X: str
    i: str
    c: int | None = None
    f: str = "GTC"
    q: Decimal | None = None
    Q: Decimal | None = None
    p: Decimal | None = None
    P: Decimal | None = None
    Y: str | None = None
    y: bool = False
    r: bool = False
    z: Decimal = Decimal(0)
    Z: Decimal = Decimal(0)
    R: str = ""
    t: int | None = None
    l: Decimal | None = None  # noqa: E741 - the venue's name for the traded quantity
    L: Decimal | None = None
    n: Decimal | None = None
    N: str | None = None
    m: bool | None = None
    O: str = "USER"  # noqa: E741 - the venue's name for the origin
    T: Micros | None = None


class PositionEvent(Struct, gc=False):
    """`account.positionUpdate`: a position; the snapshot at the beginning comes without `e`."""

    s: str
    q: Decimal
    B: Decimal = Decimal(0)
    M: Decimal = Decimal(0)
    P: Decimal = Decimal(0)
    p: Decimal = Decimal(0)
    e: str = ""
    E: Micros | None = None
    T: Micros | None = None


class BalanceEvent(Struct, gc=False):
    """`account.balanceUpdate`: an asset's balance as it is now."""

    a: str
    A: Decimal
    L: Decimal
    S: Decimal = Decimal(0)
    e: str = ""
    E: Micros | None = None


class StreamProblem(Struct):
    """What is wrong with a subscription."""

    code: int
    message: str = ""


class StreamReply(Struct, forbid_unknown_fields=True):
    """An answer to a subscription; the venue answers only what it refuses."""

    id: int | str | None = None
    error: StreamProblem | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")


PublicMessage = Depth | BookTicker | TradePrint | Kline | MarkPriceUpdate | DayTicker
PrivateMessage = OrderEvent | PositionEvent | BalanceEvent
Message = PublicMessage | PrivateMessage | DepthSnapshot | StreamReply | None

_STREAMS: dict[str, type] = {
    "depth": Depth,
    "bookTicker": BookTicker,
    "trade": TradePrint,
    "kline": Kline,
    "markPrice": MarkPriceUpdate,
    "ticker": DayTicker,
    "account.orderUpdate": OrderEvent,
    "account.positionUpdate": PositionEvent,
    "account.balanceUpdate": BalanceEvent,
}
_DECODERS: dict[str, Callable[[msgspec.Raw], Any]] = {
    name: msgspec.json.Decoder(shape, strict=False).decode for name, shape in _STREAMS.items()
}
_WITHOUT_EVENTS = frozenset({"openInterest", "liquidation", "account.rfqUpdate"})
_envelope = msgspec.json.Decoder(Envelope).decode
_snapshot = msgspec.json.Decoder(DepthSnapshot, strict=False).decode
_reply = msgspec.json.Decoder(StreamReply, strict=False).decode
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Named(Struct):
    s: str


@lru_cache(maxsize=4096)
def stream_kind(stream: str) -> str:
    """Return what a stream carries: its name without symbol and interval."""
    head, _, tail = stream.partition(".")
    return f"{head}.{tail.partition('.')[0]}" if head == "account" else head


def decode(payload: bytes) -> tuple[str, Message]:
    """Return the stream that a message came under (or `snapshot`, `reply`) and the message.

    The message is None where there is nothing in it that anybody is told (open interest, liquidations of others).

    Raises:
        Undecodable: It is no message of this venue; the reason names the field where possible.
    """
    try:
        envelope = _envelope(payload)
    except _BROKEN:
        return _without_stream(payload)
    stream = envelope.stream
    kind = stream_kind(stream)
    decoder = _DECODERS.get(kind)
    if decoder is None:
        if kind in _WITHOUT_EVENTS:
            return stream, None
        raise Undecodable(f"unknown stream {stream[:60]!r}")
    try:
        message: Message = decoder(envelope.data)
    except _BROKEN as error:
        raise Undecodable(f"{stream[:60]}: {error}", _symbol(envelope.data)) from error
    if isinstance(message, PrivateMessage) and not is_finite(message):
        raise Undecodable(f"{stream[:60]}: an amount is not a number", _symbol(envelope.data))
    return stream, message


def is_finite(value: object) -> bool:
    """Return whether every amount in a message or answer is a number; the JSON decoder lets NaN and infinity pass."""
    if isinstance(value, Decimal):
        return value.is_finite()
    if isinstance(value, Struct):
        return all(is_finite(getattr(value, name)) for name in value.__struct_fields__)
    if isinstance(value, list):
        return all(map(is_finite, value))
    return not isinstance(value, dict) or all(map(is_finite, value.values()))


def _without_stream(payload: bytes) -> tuple[str, Message]:
    try:
        fields = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
    except _BROKEN as error:
        raise Undecodable(f"not a JSON object: {error}") from error
    try:
        if "lastUpdateId" in fields:
            return "snapshot", _snapshot(payload)
        if fields.keys() & {"error", "result"} and fields.keys() <= {"id", "error", "result"}:
            return "reply", _reply(payload)
    except _BROKEN as error:
        raise Undecodable(str(error)) from error
    names = ", ".join(list(fields)[:8])[:120]
    raise Undecodable(f"unknown message with the fields {names or '(none)'}")


def _symbol(data: msgspec.Raw) -> str | None:
    try:
        return msgspec.json.decode(data, type=_Named).s
    except _BROKEN:
        return None
