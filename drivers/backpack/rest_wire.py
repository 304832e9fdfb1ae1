"""Backpack's REST answers as they are on the wire. Field names are the venue's own; money is `Decimal`."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from drivers.backpack.wire import Price, Size


class PriceFilter(Struct):
    """Steps of a price."""

    tickSize: Decimal
    minPrice: Decimal | None = None
    maxPrice: Decimal | None = None


class QuantityFilter(Struct):
    """Steps of a quantity."""

    stepSize: Decimal
    minQuantity: Decimal = Decimal(0)
    maxQuantity: Decimal | None = None


class Filters(Struct):
    """Steps of a market."""

    price: PriceFilter
    quantity: QuantityFilter


class MarginFunction(Struct):
    """Margin fraction as a function of the position's size: at least `base`."""

    base: Decimal | None = None


class Market(Struct):
    """A row of `/markets`; `fundingInterval` in ms."""

    symbol: str
    baseSymbol: str
    quoteSymbol: str
    marketType: str
    filters: Filters
    imfFunction: MarginFunction | None = None
    mmfFunction: MarginFunction | None = None
    fundingInterval: int | None = None
    orderBookState: str = "Open"
    visible: bool = True


class RestTicker(Struct):
    """The answer of `/ticker`; there is no bid or ask in it."""

    symbol: str
    lastPrice: Decimal


class RestMark(Struct):
    """A row of `/markPrices`; `nextFundingTimestamp` in ms."""

    symbol: str
    markPrice: Decimal
    indexPrice: Decimal | None = None
    fundingRate: Decimal | None = None
    nextFundingTimestamp: int | None = None


class RestKline(Struct):
    """A row of `/klines`; times without zone, UTC; prices null while nothing was traded."""

    start: str
    open: Price | None = None
    high: Price | None = None
    low: Price | None = None
    close: Price | None = None
    end: str | None = None
    volume: Size = 0.0
    quoteVolume: Size = 0.0


class RestOrder(Struct):
    """An order as the order calls and the history tell it; `createdAt` in ms, or in the history without zone, UTC."""

    id: str
    symbol: str
    side: str
    orderType: str
    status: str
    createdAt: int | str
    clientId: int | None = None
    timeInForce: str = "GTC"
    quantity: Decimal | None = None
    quoteQuantity: Decimal | None = None
    price: Decimal | None = None
    executedQuantity: Decimal | None = None
    executedQuoteQuantity: Decimal | None = None
    postOnly: bool | None = None
    reduceOnly: bool | None = None
    triggerPrice: Decimal | None = None
    triggerQuantity: str | None = None
    expiryReason: str | None = None


class RestFill(Struct):
    """A row of the fill history; `timestamp` without zone, UTC; `clientId` as text."""

    symbol: str
    orderId: str
    side: str
    price: Decimal
    quantity: Decimal
    fee: Decimal
    feeSymbol: str
    isMaker: bool
    timestamp: str
    tradeId: int | None = None
    clientId: int | None = None
    systemOrderType: str | None = None


class RestBalance(Struct):
    """An asset in `/capital`."""

    available: Decimal
    locked: Decimal = Decimal(0)
    staked: Decimal = Decimal(0)


class LendPosition(Struct):
    """A row of `/borrowLend/positions`: lent when positive, borrowed when negative."""

    symbol: str
    netQuantity: Decimal


class RestPosition(Struct):
    """A row of `/position`."""

    symbol: str
    netQuantity: Decimal
    entryPrice: Decimal
    markPrice: Decimal
    pnlUnrealized: Decimal = Decimal(0)
    pnlRealized: Decimal = Decimal(0)
    cumulativeFundingPayment: Decimal = Decimal(0)
    estLiquidationPrice: Decimal | None = None


class RestAccount(Struct):
    """The answer of `/account`; fees in basis points."""

    leverageLimit: Decimal
    futuresMakerFee: Decimal | None = None
    futuresTakerFee: Decimal | None = None
    spotMakerFee: Decimal | None = None
    spotTakerFee: Decimal | None = None
    autoLend: bool = False
    liquidating: bool = False


class RestFunding(Struct):
    """A row of the funding history; `quantity` positive when received; the time without zone, UTC."""

    symbol: str
    quantity: Decimal
    fundingRate: Decimal
    intervalEndTimestamp: str
