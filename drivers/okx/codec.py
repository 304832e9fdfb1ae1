"""Between OKX's rows and the kernel's records: contracts and coins, signs, states, words.

Money is Decimal throughout. The venue charges with negative fees; here fees are positive when paid.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from functools import lru_cache

from drivers.okx.symbols import ONE, Contract
from drivers.okx.wire import (
    BARS,
    AccountRow,
    BillRow,
    BookRow,
    CandleRow,
    FillRow,
    FundingHistoryRow,
    FundingRow,
    Level,
    OrderRow,
    PositionRow,
    TickerRow,
    TradeRow,
)
from drivers.transport.line_decoder import Undecodable
from engine.kernel.account import Balance, CashTransfer, FundingPayment, Position
from engine.kernel.errors import InvalidOrder, PostOnlyWouldTake, Unsupported
from engine.kernel.instruments import InstrumentKind
from engine.kernel.market import Bar, FundingRate, Levels, Quote, Ticker, Trade
from engine.kernel.orders import Fill, OrderRequest, OrderState, OrderType, OrderUpdate, Side

ZERO = Decimal(0)
MS_PER_H = 3_600_000
TIMEFRAMES = {bar: name for name, bar in BARS.items()}

_ORDER_TYPES = {
    OrderType.MARKET: "market",
    OrderType.LIMIT: "limit",
    OrderType.POST_ONLY: "post_only",
    OrderType.IOC: "ioc",
    OrderType.FOK: "fok",
}
_FROM_ORDER_TYPE = {**{text: kind for kind, text in _ORDER_TYPES.items()}, "optimal_limit_ioc": OrderType.MARKET}
_STATES = {
    "live": OrderState.OPEN,
    "partially_filled": OrderState.PARTIAL,
    "filled": OrderState.FILLED,
    "canceled": OrderState.CANCELED,
    "mmp_canceled": OrderState.CANCELED,
}
_POST_ONLY_WOULD_TAKE = "31"
_EXPIRED = {"13": "fill-or-kill: not enough size within the price", "14": "no more size within the price"}
_CANCEL_REASONS = {
    "0": "cancelled by the venue",
    "2": "cancelled by the venue: reduce-only with too little margin",
    "3": "cancelled by the venue: margin too low, liquidation near",
    "6": "cancelled by the venue: auto-deleveraging",
    "9": "cancelled by the venue: balance too low after funding",
    "15": "cancelled by the venue: price outside its limits",
    "17": "cancelled by the venue: the position was closed",
    "20": "cancelled by the dead-man timer",
    "22": "cancelled by the venue: reduce-only beside a better one",
    "23": "cancelled by the venue: reduce-only beside a better one",
    "27": "cancelled by the venue: price too far from the other side's",
    "31": "cancelled by the venue: post-only, it would have matched at once",
    "32": "cancelled by the venue: it would have traded with the account's own order",
    "33": "cancelled by the venue: too many matches",
}
_NO_TRADE = ("", "0")
"""Trade ids that are none: an order's message of a liquidation or deleveraging has "0", the query's row a number."""
_FORCED = frozenset({"adl", "full_liquidation", "partial_liquidation"})
_FORCED_SUBTYPES = frozenset(str(code) for code in (*range(100, 108), *range(125, 129)))
"""Sub-types of fills by liquidation (100-107) and auto-deleveraging (125-128)."""


def decimal(text: str, what: str) -> Decimal:
    """Return a number that must be there.

    Raises:
        Undecodable: It is empty or no finite number.
    """
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise Undecodable(f"{what} {text[:30]!r} is not a number") from error
    if not value.is_finite():
        raise Undecodable(f"{what} {text[:30]!r} is not a number")
    return value


def optional(text: str, what: str) -> Decimal | None:
    """Return a number, None where the venue has none."""
    return decimal(text, what) if text else None


def plain(value: Decimal) -> str:
    """Return a number as the venue wants it: no exponent, no trailing zeros."""
    return format(value.normalize(), "f")


def _or_zero(text: str, what: str) -> Decimal:
    return decimal(text, what) if text else ZERO


def time_ms(text: str) -> int:
    """Return a time in ms, 0 where the venue has none."""
    if not text:
        return 0
    if not text.isdecimal() or len(text) > 18:
        raise Undecodable(f"time {text[:30]!r} is not in milliseconds")
    return int(text)


def _float(text: str, what: str) -> float:
    return float(decimal(text, what))


# Sizes.


def to_contracts(quantity: Decimal, contract: Contract) -> str:
    """Return a quantity of coins in the venue's unit.

    Raises:
        InvalidOrder: It is no exact number of the venue's unit.
    """
    size = quantity / contract.coins
    if size * contract.coins != quantity:
        raise InvalidOrder(f"{contract.symbol}: quantity {plain(quantity)} is no multiple of {plain(contract.coins)}")
    return plain(size)


_UNITS = 1e6
"""Market sizes are counted in millionths of a contract: no lot is finer."""
_WHOLE = 1.5 * 2**52
"""Adding and taking this away rounds a float below 2**51 to a whole number, quicker than `round`."""


@lru_cache(maxsize=4096)
def _scale(coins: Decimal) -> tuple[float, float]:
    """Return by what a number of millionths is multiplied and divided to be coins; whole numbers both."""
    numerator, denominator = (coins / int(_UNITS)).as_integer_ratio()
    return float(numerator), float(denominator)


def coins_of(size: float, contract: Contract) -> float:
    """Return a market size in coins.

    Whole numbers multiply and divide exactly, so that the float is the nearest one to the true product and prints
    without noise (sizes below 1e9 contracts; larger ones are off by no more than a float is).
    """
    if contract.coins == ONE:
        return size
    by, over = _scale(contract.coins)
    return ((size * _UNITS + _WHOLE) - _WHOLE) * by / over


def levels(rows: list[Level], contract: Contract) -> Levels:
    """Return book levels in coins (see `coins_of`)."""
    if contract.coins == ONE:
        return [(level.px, level.sz) for level in rows]
    by, over = _scale(contract.coins)
    return [(level.px, ((level.sz * _UNITS + _WHOLE) - _WHOLE) * by / over) for level in rows]


# Market data.


def quote(row: BookRow, contract: Contract) -> Quote:
    """Return the touch; an empty side has price and size 0."""
    bid, bid_size = levels(row.bids[:1], contract)[0] if row.bids else (0.0, 0.0)
    ask, ask_size = levels(row.asks[:1], contract)[0] if row.asks else (0.0, 0.0)
    return Quote(contract.symbol, row.ts, bid, bid_size, ask, ask_size)


def trade(row: TradeRow, contract: Contract) -> Trade:
    """Return a public trade."""
    return Trade(contract.symbol, row.ts, row.px, coins_of(row.sz, contract), _side(row.side), row.tradeId)


def ticker(row: TickerRow, contract: Contract) -> Ticker | None:
    """Return 24 h statistics, None before the first trade. A swap's quote volume is its coins at the last price."""
    if not row.last:
        return None
    last = _float(row.last, "last")
    volume = float(_or_zero(row.volCcy24h, "volCcy24h"))
    if contract.kind is InstrumentKind.PERP:
        volume = float(f"{volume * last:.15g}")
    opened, high, low = (_float(text or row.last, "price") for text in (row.open24h, row.high24h, row.low24h))
    return Ticker(contract.symbol, row.ts, last, opened, high, low, volume)


def funding(row: FundingRow, contract: Contract, default_period_h: int) -> FundingRate:
    """Return the rate paid next; its period is the time between the next two payments."""
    paid, following = time_ms(row.fundingTime), time_ms(row.nextFundingTime)
    period_h = round((following - paid) / MS_PER_H) if following > paid else default_period_h
    rate = _float(row.fundingRate, "fundingRate")
    if not -1 <= rate <= 1:
        raise Undecodable(f"funding rate {row.fundingRate[:20]!r} is out of range", row.instId)
    return FundingRate(contract.symbol, time_ms(row.ts), rate, max(1, period_h), paid)


def bar(row: CandleRow, timeframe: str, contract: Contract, ts: int = 0) -> Bar:
    """Return a candle: base volume is the first volume on spot, the second on swaps."""
    opened, o, h, low, c, volume, in_coin, in_quote, confirm = row
    base = volume if contract.kind is InstrumentKind.SPOT else in_coin
    return Bar(contract.symbol, timeframe, opened, o, h, low, c, base, in_quote, closed=confirm == "1", ts=ts)


# Orders.


def order_body(request: OrderRequest, contract: Contract, spot_mode: str) -> dict[str, str | bool]:
    """Return the terms of a new order.

    Args:
        request: What is asked, in coins.
        contract: The instrument's contract.
        spot_mode: Trade mode of spot orders: `cash`, or `cross` in the margin account modes.

    Raises:
        InvalidOrder: The quantity is no exact number of the venue's unit.
        Unsupported: The venue does not keep such orders for this driver.
    """
    if request.type not in _ORDER_TYPES:
        raise Unsupported(f"okx: a {request.type.value} order is held by the engine, not by the venue")
    perp = contract.kind is InstrumentKind.PERP
    body: dict[str, str | bool] = {
        "instId": contract.native,
        "tdMode": "cross" if perp else spot_mode,
        "clOrdId": request.client_id,
        "side": request.side.value,
        "ordType": _ORDER_TYPES[request.type],
        "sz": to_contracts(request.quantity, contract),
    }
    if request.type.has_price:
        if request.price is None:
            raise InvalidOrder(f"{request.symbol}: a {request.type.value} order needs a price")
        body["px"] = plain(request.price)
    if perp:
        body["posSide"] = "net"
        if request.reduce_only:
            body["reduceOnly"] = True
    elif request.type is OrderType.MARKET:
        body["tgtCcy"] = "base_ccy"  # else the size of a market buy would be an amount of quote
    return body


def order_update(row: OrderRow, contract: Contract) -> OrderUpdate:
    """Return what a row says about an order."""
    filled = _or_zero(row.accFillSz, "accFillSz") * contract.coins
    quantity = decimal(row.sz, "sz") * contract.coins
    if row.tgtCcy == "quote_ccy":
        quantity = filled  # the size is an amount of quote; such orders never rest
    state, reason, error = _state(row, filled)
    average = optional(row.avgPx, "avgPx")
    kind = _FROM_ORDER_TYPE.get(row.ordType, OrderType.LIMIT)
    return OrderUpdate(
        client_id=row.clOrdId,
        venue_order_id=row.ordId,
        symbol=contract.symbol,
        side=_side(row.side),
        type=kind,
        state=state,
        quantity=quantity,
        price=optional(row.px, "px") if kind.has_price else None,
        filled=filled,
        ts=time_ms(row.uTime or row.cTime),
        reduce_only=row.reduceOnly == "true",
        average_price=average or None,
        reason=reason,
        error=error,
    )


def _state(row: OrderRow, filled: Decimal) -> tuple[OrderState, str, str]:
    state = _STATES.get(row.state)
    if state is None:
        raise Undecodable(f"order {row.ordId}: unknown state {row.state[:20]!r}", row.instId)
    if state is OrderState.OPEN and filled:
        return OrderState.PARTIAL, "", ""
    if state is not OrderState.CANCELED:
        return state, "", ""
    if row.cancelSource == _POST_ONLY_WOULD_TAKE and not filled:
        return OrderState.REJECTED, "post-only: it would have matched at once", PostOnlyWouldTake.__name__
    if row.cancelSource in _EXPIRED:
        return OrderState.EXPIRED, _EXPIRED[row.cancelSource], ""
    return state, _CANCEL_REASONS.get(row.cancelSource, ""), ""


def stream_fill(row: OrderRow, contract: Contract) -> Fill | None:
    """Return the execution that an order's message tells, None when it tells none.

    Of a liquidation or deleveraging it tells no trade id; only the query's row has one, and is booked.
    """
    if row.tradeId in _NO_TRADE or not row.fillSz:
        return None
    size = decimal(row.fillSz, "fillSz")
    if not size:
        return None
    return Fill(
        trade_id=row.tradeId,
        symbol=contract.symbol,
        client_id=row.clOrdId,
        venue_order_id=row.ordId,
        side=_side(row.side),
        price=decimal(row.fillPx, "fillPx"),
        quantity=size * contract.coins,
        fee=-_or_zero(row.fillFee, "fillFee"),
        fee_currency=row.fillFeeCcy,
        maker=row.execType == "M",
        ts=time_ms(row.fillTime or row.uTime),
        liquidation=row.category in _FORCED,
    )


def fill(row: FillRow, contract: Contract) -> Fill:
    """Return the execution of a query's row; the same as the stream told of it."""
    return Fill(
        trade_id=trade_id(row),
        symbol=contract.symbol,
        client_id=row.clOrdId,
        venue_order_id=row.ordId,
        side=_side(row.side),
        price=decimal(row.fillPx, "fillPx"),
        quantity=decimal(row.fillSz, "fillSz") * contract.coins,
        fee=-_or_zero(row.fee, "fee"),
        fee_currency=row.feeCcy,
        maker=row.execType == "M",
        ts=time_ms(row.fillTime or row.ts),
        liquidation=row.subType in _FORCED_SUBTYPES,
    )


def trade_id(row: FillRow) -> str:
    """Return what tells an execution from the others of its instrument; the venue may not have numbered it."""
    is_numbered = row.tradeId not in _NO_TRADE
    return row.tradeId if is_numbered else f"{row.ordId}/{row.fillTime or row.ts}/{row.fillPx}/{row.fillSz}"


def _side(text: str) -> Side:
    try:
        return Side(text)
    except ValueError as error:
        raise Undecodable(f"side {text[:20]!r} is neither buy nor sell") from error


# Account.


def position(row: PositionRow, contract: Contract) -> Position:
    """Return a position in signed coins; hedge mode's short side is positive on the wire."""
    size = _or_zero(row.pos, "pos") * contract.coins
    if row.posSide == "short":
        size = -abs(size)
    return Position(
        symbol=contract.symbol,
        quantity=size,
        entry_price=_or_zero(row.avgPx, "avgPx"),
        mark_price=_or_zero(row.markPx, "markPx"),
        unrealised=_or_zero(row.upl, "upl"),
        leverage=_or_zero(row.lever, "lever"),
        liquidation_price=optional(row.liqPx, "liqPx"),
        realised=_or_zero(row.pnl, "pnl"),
        fees=-_or_zero(row.fee, "fee"),
        funding=_or_zero(row.fundingFee, "fundingFee"),
    )


def balances(row: AccountRow) -> list[Balance]:
    """Return the currencies of the account: the cash, of which what orders and margin hold is locked."""
    found = []
    for detail in row.details:
        total = _or_zero(detail.cashBal or detail.eq, "cashBal")
        available = _or_zero(detail.availBal or detail.availEq, "availBal")
        free = min(total, available)
        found.append(Balance(detail.ccy, total, free, total - free))
    return found


def cash_transfer(row: BillRow) -> CashTransfer:
    """Return the deposit, withdrawal or transfer of a bill."""
    note = {"11": "transfer in", "12": "transfer out"}.get(row.subType, f"bill type 1/{row.subType}")
    return CashTransfer(row.ccy, decimal(row.balChg, "balChg"), time_ms(row.ts), note, row.billId)


def funding_payment(row: BillRow, rates: list[FundingHistoryRow], contract: Contract) -> FundingPayment:
    """Return the funding payment of a bill; its rate is the one settled at that time, 0 where that is not listed."""
    when = time_ms(row.ts)
    amount = decimal(row.balChg or row.pnl, "balChg")
    settled = [rate for rate in rates if abs(time_ms(rate.fundingTime) - when) < MS_PER_H // 2]
    rate = _or_zero(settled[0].realizedRate or settled[0].fundingRate, "realizedRate") if settled else ZERO
    return FundingPayment(contract.symbol, when, amount, row.ccy, rate, row.billId)
