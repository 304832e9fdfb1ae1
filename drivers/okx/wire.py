"""OKX's rows and envelopes as types.

Public numbers become floats inside the JSON decoder, which refuses what is negative or no number. Private ones stay
text, as money never passes through float; the venue writes "" where it has no value. Names are the venue's own.
"""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from msgspec import Meta, Struct

from engine.kernel.market import TIMEFRAME_MS

Price = Annotated[float, Meta(gt=0, le=1e18)]
Size = Annotated[float, Meta(ge=0, le=1e18)]
Time = Annotated[int, Meta(ge=0, le=1 << 62)]

BARS = {"1h": "1H", "4h": "4H", "1d": "1Dutc", **{name: name for name in TIMEFRAME_MS if name.endswith("m")}}
"""The venue's word for each candle length. A day begins at 0:00 UTC only with the suffix: `1D` begins at 16:00."""


class Arg(Struct, frozen=True):
    """What a push is about."""

    channel: str
    instId: str = ""
    instType: str = ""


class Level(Struct, array_like=True, gc=False):
    """A price and its size; what follows in the row (an empty field, the number of orders) is not read."""

    px: Price
    sz: Size


class BookRow(Struct, gc=False):
    """A book or its changes; `seqId` and `prevSeqId` only in the channels that are followed level by level."""

    asks: list[Level]
    bids: list[Level]
    ts: Time
    seqId: int = -1
    prevSeqId: int | None = None


class ExactBookRow(Struct):
    """A book whose numbers stay text."""

    asks: list[tuple[str, str, str, str]]
    bids: list[tuple[str, str, str, str]]
    ts: str


class TradeRow(Struct, gc=False):
    """Trades of one taker order at one price."""

    instId: str
    tradeId: str
    px: Price
    sz: Size
    side: str
    ts: Time


class TickerRow(Struct, gc=False):
    """Rolling 24 h statistics; `volCcy24h` is quote on spot and base coins on swaps."""

    instId: str
    ts: Time
    last: str = ""
    open24h: str = ""
    high24h: str = ""
    low24h: str = ""
    volCcy24h: str = ""
    bidPx: str = ""
    askPx: str = ""


class MarkRow(Struct, gc=False):
    """Mark price."""

    instId: str
    markPx: Price
    ts: Time


class IndexRow(Struct, gc=False):
    """Index price; `instId` is the pair, such as BTC-USDT."""

    instId: str
    idxPx: Price
    ts: Time


class FundingRow(Struct, gc=False):
    """Funding: `fundingRate` is paid at `fundingTime`, the one after that at `nextFundingTime`."""

    instId: str
    fundingRate: str
    fundingTime: str
    nextFundingTime: str = ""
    ts: str = ""


CandleRow = tuple[Time, Price, Price, Price, Price, Size, Size, Size, str]
"""Opening time, open, high, low, close, volume, volume in coin, volume in quote, "1" when closed."""


class InstrumentRow(Struct):
    """An instrument; sizes in contracts for swaps. `instIdCode` names it in WebSocket orders."""

    instId: str
    instType: str = ""
    tickSz: str = ""
    lotSz: str = ""
    minSz: str = ""
    maxLmtSz: str = ""
    ctVal: str = ""
    ctMult: str = ""
    ctValCcy: str = ""
    ctType: str = ""
    settleCcy: str = ""
    lever: str = ""
    state: str = ""
    groupId: str = ""
    instIdCode: int | None = None


class OrderRow(Struct):
    """An order, from the stream or a query. `fill...`, `amendResult`, `code` and `msg` only mean something there."""

    instId: str
    ordId: str
    side: str
    ordType: str
    state: str
    sz: str
    instType: str = ""
    clOrdId: str = ""
    px: str = ""
    accFillSz: str = ""
    avgPx: str = ""
    tgtCcy: str = ""
    reduceOnly: str = ""
    cancelSource: str = ""
    category: str = ""
    uTime: str = ""
    cTime: str = ""
    tradeId: str = ""
    fillPx: str = ""
    fillSz: str = ""
    fillTime: str = ""
    fillFee: str = ""
    fillFeeCcy: str = ""
    execType: str = ""
    amendResult: str = ""
    reqId: str = ""
    code: str = ""
    msg: str = ""


class FillRow(Struct):
    """An execution from a query; `fee` is negative when charged."""

    instId: str
    tradeId: str
    ordId: str
    side: str
    fillPx: str
    fillSz: str
    billId: str = ""
    clOrdId: str = ""
    subType: str = ""
    fee: str = ""
    feeCcy: str = ""
    execType: str = ""
    fillTime: str = ""
    ts: str = ""


class PositionRow(Struct):
    """A position; `pos` is signed in net mode and positive beside `posSide` long or short."""

    instId: str
    pos: str
    instType: str = ""
    posSide: str = ""
    mgnMode: str = ""
    avgPx: str = ""
    markPx: str = ""
    upl: str = ""
    lever: str = ""
    liqPx: str = ""
    pnl: str = ""
    fee: str = ""
    fundingFee: str = ""


class BalanceRow(Struct):
    """One currency of the account."""

    ccy: str
    cashBal: str = ""
    eq: str = ""
    availBal: str = ""
    availEq: str = ""
    frozenBal: str = ""


class AccountRow(Struct):
    """The account's currencies."""

    details: list[BalanceRow] = []
    uTime: str = ""


class BillRow(Struct):
    """A change of a balance; type 8 is funding."""

    billId: str
    ts: str
    instId: str = ""
    ccy: str = ""
    type: str = ""
    subType: str = ""
    pnl: str = ""
    balChg: str = ""


class FundingHistoryRow(Struct):
    """A settled funding rate."""

    fundingTime: str
    fundingRate: str = ""
    realizedRate: str = ""


class Ack(Struct):
    """What the venue says about one order of a request."""

    sCode: str = ""
    sMsg: str = ""
    ordId: str = ""
    clOrdId: str = ""
    reqId: str = ""
    ts: str = ""


class ConfigRow(Struct):
    """The account's settings; `perm` are the key's rights, joined by commas."""

    acctLv: str = ""
    posMode: str = ""
    perm: str = ""
    uid: str = ""
    ip: str = ""


class LeverageRow(Struct):
    """Leverage of an instrument."""

    instId: str = ""
    lever: str = ""
    posSide: str = ""
    mgnMode: str = ""


class FeeGroup(Struct):
    """Rates of a group of instruments; negative when charged."""

    maker: str = ""
    taker: str = ""
    groupId: str = ""


class FeeRow(Struct):
    """The account's rates: by group, and in older fields by the currency in which a swap is settled."""

    feeGroup: list[FeeGroup] = []
    maker: str = ""
    taker: str = ""
    makerU: str = ""
    takerU: str = ""
    makerUSDC: str = ""
    takerUSDC: str = ""


class TimeRow(Struct):
    """The venue's time."""

    ts: str


RowT = TypeVar("RowT")


class Push(Struct, Generic[RowT]):
    """A message of a channel."""

    arg: Arg
    data: list[RowT]
    action: str = ""


class Reply(Struct, Generic[RowT]):
    """The envelope of every REST answer; an answer without `data` is not an empty list."""

    code: str
    data: list[RowT] | None = None
    msg: str = ""


class Event(Struct):
    """What the venue says about a request on a socket, or about the socket."""

    event: str
    code: str = ""
    msg: str = ""
    arg: Arg | None = None
    channel: str = ""
    id: str = ""


class OpReply(Struct):
    """The answer to an order operation on the socket."""

    id: str
    op: str
    code: str
    msg: str = ""
    data: list[Ack] = []
