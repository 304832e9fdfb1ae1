"""Binance's REST and account messages, typed. Field names are the venue's own; money is `Decimal`.

Facts: EXCHANGES 2.4, 2.6, 3.4, 3.6. What is not needed is not listed; the decoder skips it.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Raw, Struct

ZERO = Decimal(0)


class Refusal(Struct):
    """What the venue answers instead of a result."""

    code: int
    msg: str = ""


class ServerTime(Struct):
    """The venue's time, ms."""

    serverTime: int


class LimitRow(Struct):
    """One budget of `exchangeInfo.rateLimits`."""

    rateLimitType: str
    interval: str
    intervalNum: int
    limit: int


class FilterRow(Struct):
    """One filter of a symbol; each type has some of the fields."""

    filterType: str
    tickSize: Decimal = ZERO
    stepSize: Decimal = ZERO
    minQty: Decimal = ZERO
    notional: Decimal = ZERO
    minNotional: Decimal = ZERO


class SymbolRow(Struct):
    """A listed symbol; only futures have a contract type and a margin asset."""

    symbol: str
    status: str
    baseAsset: str
    quoteAsset: str
    filters: list[FilterRow]
    contractType: str = ""
    marginAsset: str = ""


class ExchangeInfo(Struct):
    """What is listed, and the request budgets."""

    symbols: list[SymbolRow]
    rateLimits: list[LimitRow] = []


class FundingInfoRow(Struct):
    """A symbol with another funding period than eight hours."""

    symbol: str
    fundingIntervalHours: int = 8


class PremiumIndex(Struct):
    """Mark and index price, and the funding rate now."""

    symbol: str
    markPrice: Decimal
    indexPrice: Decimal
    time: int
    lastFundingRate: str = ""
    nextFundingTime: int = 0


class BookTickerRow(Struct):
    """Best bid and ask; only futures name a time."""

    symbol: str
    bidPrice: Decimal
    askPrice: Decimal
    time: int = 0


class LastPrice(Struct):
    """Last price; only futures name a time."""

    symbol: str
    price: Decimal
    time: int = 0


class DepthLevels(Struct):
    """The best levels of a book, exact."""

    bids: list[tuple[Decimal, Decimal]]
    asks: list[tuple[Decimal, Decimal]]
    T: int = 0


class CommissionRate(Struct):
    """Fees of the account for a futures symbol."""

    makerCommissionRate: Decimal
    takerCommissionRate: Decimal


class OrderRow(Struct):
    """An order in the reply to placing, amending, cancelling or asking, futures and spot.

    Spot's reply to a cancel names the order in `origClientOrderId`, and the cancel itself in `clientOrderId`.
    """

    symbol: str
    orderId: int
    clientOrderId: str = ""
    origClientOrderId: str = ""
    status: str = ""
    side: str = ""
    type: str = ""
    timeInForce: str = ""
    price: Decimal = ZERO
    origQty: Decimal = ZERO
    executedQty: Decimal = ZERO
    avgPrice: Decimal = ZERO
    cummulativeQuoteQty: Decimal = ZERO
    stopPrice: Decimal = ZERO
    reduceOnly: bool = False
    time: int = 0
    updateTime: int = 0
    transactTime: int = 0


class AmendedOrder(Struct):
    """A spot order after it was made smaller; it names quantities by other words than other replies."""

    symbol: str
    orderId: int
    clientOrderId: str
    status: str
    side: str
    type: str
    timeInForce: str
    price: Decimal
    qty: Decimal
    executedQty: Decimal


class AmendReply(Struct):
    """The reply to making a spot order smaller."""

    amendedOrder: AmendedOrder
    transactTime: int = 0


class FuturesTradeRow(Struct):
    """An execution of ours on futures."""

    symbol: str
    id: int
    orderId: int
    side: str
    price: Decimal
    qty: Decimal
    time: int
    maker: bool
    commission: Decimal = ZERO
    commissionAsset: str = ""


class SpotTradeRow(Struct):
    """An execution of ours on spot."""

    symbol: str
    id: int
    orderId: int
    isBuyer: bool
    price: Decimal
    qty: Decimal
    time: int
    isMaker: bool
    commission: Decimal = ZERO
    commissionAsset: str = ""


class FuturesBalanceRow(Struct):
    """One asset of the futures wallet."""

    asset: str
    balance: Decimal
    availableBalance: Decimal = ZERO


class PositionRow(Struct):
    """A futures position; `positionSide` is BOTH in one-way mode."""

    symbol: str
    positionAmt: Decimal
    entryPrice: Decimal
    markPrice: Decimal
    unRealizedProfit: Decimal
    liquidationPrice: Decimal = ZERO
    positionSide: str = "BOTH"


class SymbolConfigRow(Struct):
    """Leverage and margin type of a futures symbol."""

    symbol: str
    leverage: Decimal
    marginType: str = ""


class LeverageReply(Struct):
    """Leverage as it was set."""

    leverage: Decimal


class PositionMode(Struct):
    """Whether the account is in hedge mode."""

    dualSidePosition: bool


class SpotBalanceRow(Struct):
    """One coin of the spot wallet."""

    asset: str
    free: Decimal
    locked: Decimal


class CommissionRates(Struct):
    """Fees of the spot account."""

    maker: Decimal
    taker: Decimal


class SpotAccount(Struct):
    """The spot account."""

    balances: list[SpotBalanceRow]
    canTrade: bool = True
    commissionRates: CommissionRates | None = None


class KeyRestrictions(Struct):
    """What the key may do."""

    enableReading: bool = True
    enableWithdrawals: bool | None = None
    enableInternalTransfer: bool | None = None
    enableSpotAndMarginTrading: bool | None = None
    enableFutures: bool | None = None


class ListenKey(Struct):
    """Name of a futures account stream; older replies to keeping it alive leave it out."""

    listenKey: str = ""


class FuturesOrder(Struct):
    """The order inside ORDER_TRADE_UPDATE."""

    s: str
    c: str
    S: str
    o: str
    f: str
    q: Decimal
    p: Decimal
    x: str
    X: str
    i: int
    l: Decimal  # noqa: E741 - the venue's name for the last filled quantity
    z: Decimal
    L: Decimal
    T: int
    t: int = 0
    ap: Decimal = ZERO
    sp: Decimal = ZERO
    n: Decimal = ZERO
    N: str = ""
    m: bool = False
    R: bool = False
    ot: str = ""


class OrderTradeUpdate(Struct, tag_field="e", tag="ORDER_TRADE_UPDATE"):
    """News of a futures order."""

    E: int
    T: int
    o: FuturesOrder
    st: int | None = None


class WalletChange(Struct):
    """An asset that changed in ACCOUNT_UPDATE."""

    a: str
    wb: Decimal
    cw: Decimal = ZERO


class PositionChange(Struct):
    """A position that changed in ACCOUNT_UPDATE."""

    s: str
    pa: Decimal
    ep: Decimal
    up: Decimal = ZERO
    ps: str = "BOTH"


class AccountChanges(Struct):
    """What changed, and why (`ORDER`, `FUNDING_FEE`, ...)."""

    m: str = ""
    B: list[WalletChange] = []
    P: list[PositionChange] = []


class AccountUpdate(Struct, tag_field="e", tag="ACCOUNT_UPDATE"):
    """News of the futures account: changed items only."""

    E: int
    T: int
    a: AccountChanges
    st: int | None = None


class LeverageChange(Struct):
    """The leverage of a symbol."""

    s: str
    l: Decimal  # noqa: E741 - the venue's name


class AccountConfigUpdate(Struct, tag_field="e", tag="ACCOUNT_CONFIG_UPDATE"):
    """News of the futures account's settings."""

    E: int
    ac: LeverageChange | None = None


class ListenKeyExpired(Struct, tag_field="e", tag="listenKeyExpired"):
    """The futures stream is over."""

    E: int = 0


class ExecutionReport(Struct, tag_field="e", tag="executionReport"):
    """News of a spot order. Of a cancelled order `c` names the cancel, `C` the order."""

    E: int
    s: str
    c: str
    S: str
    o: str
    f: str
    q: Decimal
    p: Decimal
    x: str
    X: str
    i: int
    l: Decimal  # noqa: E741 - the venue's name for the last filled quantity
    z: Decimal
    L: Decimal
    T: int
    P: Decimal = ZERO
    C: str = ""
    r: str = ""
    eR: int = 0
    n: Decimal = ZERO
    N: str | None = None
    t: int = -1
    m: bool = False
    Z: Decimal = ZERO


class SpotWalletChange(Struct):
    """A coin that changed."""

    a: str
    f: Decimal
    l: Decimal  # noqa: E741 - the venue's name for the locked part


class OutboundAccountPosition(Struct, tag_field="e", tag="outboundAccountPosition"):
    """News of the spot wallet: changed coins."""

    E: int
    B: list[SpotWalletChange]


class StreamTerminated(Struct, tag_field="e", tag="eventStreamTerminated"):
    """The spot account's stream is over; the socket stays."""

    E: int = 0


class ServerShutdown(Struct, tag_field="e", tag="serverShutdown"):
    """The server behind this socket goes away soon."""

    E: int = 0


AccountMessage = (
    OrderTradeUpdate
    | AccountUpdate
    | AccountConfigUpdate
    | ListenKeyExpired
    | ExecutionReport
    | OutboundAccountPosition
    | StreamTerminated
    | ServerShutdown
)


class SocketReply(Struct):
    """The answer to a request over a socket."""

    id: str | int | None
    status: int = 200
    error: Refusal | None = None


class Envelope(Struct):
    """What is around an account's event, and what tells the kinds of messages apart."""

    e: str = ""
    id: str | int | None = None
    status: int | None = None
    stream: str | None = None
    subscriptionId: int | None = None
    data: Raw = Raw()
    event: Raw = Raw()
