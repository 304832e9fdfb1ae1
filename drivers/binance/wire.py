"""Binance's REST answers, typed. Field names are the venue's own; money is `Decimal`.

Facts: EXCHANGES 2.4, 3.4. What is not needed is not listed; the decoder skips it.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

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
    maxQty: Decimal = ZERO
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
    bidQty: Decimal
    askPrice: Decimal
    askQty: Decimal
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


class IncomeRow(Struct):
    """Money that came in or left on the futures account by something else than a trade."""

    income: Decimal
    asset: str
    time: int
    tranId: int
    symbol: str = ""


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
