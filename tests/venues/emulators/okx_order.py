"""One order as OKX keeps it, and its rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

import msgspec

from engine.kernel.orders import Fill, OrderState, OrderType, OrderUpdate
from tests.venues.emulators.okx_listing import Units
from tests.venues.emulators.okx_wire import Row, fmt

ZERO = Decimal(0)
USER, CLOSED, DEAD_MAN, POST_ONLY = "1", "17", "20", "31"
"""Why an order was cancelled: by the user, with its position, by the dead-man timer, because it would have taken."""

_SUB_TYPES = {("buy", False): "1", ("sell", False): "2", ("sell", True): "104", ("buy", True): "105"}
"""Kind of an execution by (side, forced): buy, sell, liquidation of a long and of a short."""

_REASONS = (
    ("fill-or-kill", "13"),
    ("no more size", "14"),
    ("no liquidity", "14"),
    ("reduce-only", "22"),
    ("own order", "32"),
)


@dataclass(slots=True)
class OkxOrder:
    """An order; sizes are coins, `asked` is the size in the words of the request.

    Attributes:
        paper_id: Its id on the inner venue, empty while it is not there.
        asked: Size as the wire has it: contracts, coins, or quote money for a market buy.
        cancel_source: Why it is or is being cancelled.
        ends_filled: Whether an amendment below what is filled ends it, which OKX calls filled.
        request_id: `reqId` of the last amendment.
        amend_result: What the next push says of an amendment.
        fill_is_news: Whether the next push shows the last execution.
        encoded_row: `row` as JSON, until it changes: queries show most orders many times.
        encoded_fills: `fill_row` of each execution as JSON, by bill id.
    """

    ord_id: int
    cl_ord_id: str
    units: Units
    side: str
    ord_type: str
    asked: Decimal
    price: Decimal | None
    td_mode: str
    reduce_only: bool
    c_time: int
    tag: str = ""
    tgt_ccy: str = ""
    pos_side: str = "net"
    lever: str = ""
    paper_id: str = ""
    state: str = "live"
    filled: Decimal = ZERO
    notional: Decimal = ZERO
    fee: Decimal = ZERO
    u_time: int = 0
    cancel_source: str = ""
    category: str = "normal"
    last_fill: Fill | None = None
    trade_number: int = 0
    ends_filled: bool = False
    request_id: str = ""
    amend_result: str = ""
    fill_is_news: bool = False
    encoded_row: msgspec.Raw | None = None
    encoded_fills: dict[int, msgspec.Raw] = field(default_factory=dict)

    @property
    def in_quote(self) -> bool:
        """Return whether `asked` is an amount of quote money."""
        return self.tgt_ccy == "quote_ccy"

    @property
    def is_open(self) -> bool:
        """Return whether it may still trade."""
        return self.state in ("live", "partially_filled")

    def take_update(self, update: OrderUpdate) -> None:
        """Take over what the inner venue says."""
        self.encoded_row = None
        self.u_time = update.ts
        if not self.in_quote:
            self.asked = (self.filled if self.ends_filled else update.quantity) / self.units.contract
        self.price = update.price
        if update.state is OrderState.PARTIAL:
            self.state = "partially_filled"
        elif update.state is OrderState.FILLED or self.ends_filled:
            self.state = "filled"
        elif update.state.is_final:
            self.state = "canceled"
            reasons = (source for words, source in _REASONS if words in update.reason)
            self.cancel_source = self.cancel_source or next(reasons, "0")

    def take_fill(self, fill: Fill, trade_number: int) -> None:
        """Take over an execution."""
        self.encoded_row = None
        self.filled += fill.quantity
        self.notional += fill.notional
        self.fee -= fill.fee
        self.last_fill = fill
        self.trade_number = trade_number
        self.fill_is_news = True
        if fill.liquidation:
            self.category = "full_liquidation"

    def row(self) -> Row:
        """Return the order as queries show it."""
        fill, units = self.last_fill, self.units
        return {
            "instType": units.inst_type,
            "instId": units.native,
            "ccy": "",
            "ordId": str(self.ord_id),
            "clOrdId": self.cl_ord_id,
            "tag": self.tag,
            "px": "" if self.price is None else fmt(self.price),
            "sz": fmt(self.asked),
            "pnl": "0",
            "ordType": self.ord_type,
            "side": self.side,
            "posSide": self.pos_side if units.instrument.is_perp else "",
            "tdMode": self.td_mode,
            "accFillSz": units.size(self.filled),
            "fillPx": fmt(fill.price) if fill else "",
            "tradeId": "" if fill is None else "0" if fill.liquidation else str(self.trade_number),
            "fillSz": units.size(fill.quantity) if fill else "0",
            "fillTime": str(fill.ts) if fill else "",
            "avgPx": fmt(self.notional / self.filled) if self.filled else "",
            "state": self.state,
            "lever": self.lever,
            "fee": fmt(self.fee),
            "feeCcy": fill.fee_currency if fill else units.instrument.settle,
            "rebate": "0",
            "rebateCcy": units.instrument.settle,
            "source": "",
            "category": self.category,
            "reduceOnly": "true" if self.reduce_only else "false",
            "cancelSource": self.cancel_source if self.state == "canceled" else "",
            "cancelSourceReason": "",
            "quickMgnType": "",
            "stpId": "",
            "stpMode": "cancel_maker",
            "tgtCcy": self.tgt_ccy,
            "isTpLimit": "false",
            "attachAlgoOrds": [],
            "algoId": "",
            "algoClOrdId": "",
            "uTime": str(self.u_time or self.c_time),
            "cTime": str(self.c_time),
        }

    def encoded(self) -> msgspec.Raw:
        """Return `row` as JSON."""
        if self.encoded_row is None:
            self.encoded_row = msgspec.Raw(msgspec.json.encode(self.row()))
        return self.encoded_row

    def push(self, with_fill: bool, result: str = "", code: str = "0", text: str = "") -> Row:
        """Return the order as the stream shows it.

        Args:
            with_fill: Whether an execution is the reason.
            result: Of an amendment: "0" done, "-1" failed.
            code: Why it failed.
            text: Why it failed, in words.
        """
        fill = self.last_fill if with_fill else None
        nothing = {"fillPx": "", "fillSz": "0", "tradeId": "", "fillTime": ""} if fill is None else {}
        return {
            **self.row(),
            **nothing,
            "fillFee": fmt(-fill.fee) if fill else "0",
            "fillFeeCcy": fill.fee_currency if fill else "",
            "fillPnl": "0",
            "execType": ("M" if fill.maker else "T") if fill else "",
            "fillNotionalUsd": fmt(fill.notional) if fill else "",
            "notionalUsd": "",
            "amendSource": "1" if result else "",
            "amendResult": result,
            "reqId": self.request_id if result else "",
            "code": code,
            "msg": text,
        }

    def fill_row(self, fill: Fill, trade_number: int, bill_id: int) -> Row:
        """Return one of its executions as queries show it."""
        units = self.units
        return {
            "instType": units.inst_type,
            "instId": units.native,
            "tradeId": str(-trade_number if fill.liquidation else trade_number),
            "ordId": str(self.ord_id),
            "clOrdId": self.cl_ord_id,
            "billId": str(bill_id),
            "subType": _SUB_TYPES[self.side, fill.liquidation],
            "tag": self.tag,
            "fillPx": fmt(fill.price),
            "fillSz": units.size(fill.quantity),
            "fillIdxPx": "",
            "fillPnl": "0",
            "fillMarkPx": "",
            "side": self.side,
            "posSide": self.pos_side if units.instrument.is_perp else "net",
            "execType": "M" if fill.maker else "T",
            "feeCcy": fill.fee_currency,
            "fee": fmt(-fill.fee),
            "feeRate": "",
            "ts": str(fill.ts),
            "fillTime": str(fill.ts),
        }

    def encoded_fill(self, fill: Fill, trade_number: int, bill_id: int) -> msgspec.Raw:
        """Return `fill_row` as JSON."""
        if bill_id not in self.encoded_fills:
            encoded = msgspec.json.encode(self.fill_row(fill, trade_number, bill_id))
            self.encoded_fills[bill_id] = msgspec.Raw(encoded)
        return self.encoded_fills[bill_id]


ORDER_TYPES = {
    "market": OrderType.MARKET,
    "limit": OrderType.LIMIT,
    "post_only": OrderType.POST_ONLY,
    "ioc": OrderType.IOC,
    "fok": OrderType.FOK,
    "optimal_limit_ioc": OrderType.MARKET,
}
