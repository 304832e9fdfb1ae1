"""Between Binance's orders, fills, wallets, positions and the kernel's, futures and spot.

A venue quantity counts venue coins: where a listing bundles a thousand, a quantity is divided and a price multiplied on
the way out, and the other way round on the way in.
"""

from __future__ import annotations

from decimal import Decimal

from drivers.binance.events import ExecutionReport, FuturesOrder, OrderTradeUpdate, PositionChange
from drivers.binance.symbols import Listing
from drivers.binance.wire import ZERO, FuturesTradeRow, OrderRow, PositionRow, SpotTradeRow
from engine.kernel.account import Position
from engine.kernel.errors import InvalidOrder, PostOnlyWouldTake, Unsupported
from engine.kernel.instruments import Instrument
from engine.kernel.orders import Fill, OrderRequest, OrderState, OrderType, OrderUpdate, Side

STATES = {
    "NEW": OrderState.OPEN,
    "PENDING_NEW": OrderState.SENT,
    "PARTIALLY_FILLED": OrderState.PARTIAL,
    "PENDING_CANCEL": OrderState.OPEN,
    "FILLED": OrderState.FILLED,
    "CANCELED": OrderState.CANCELED,
    "REJECTED": OrderState.REJECTED,
    "EXPIRED": OrderState.EXPIRED,
    "EXPIRED_IN_MATCH": OrderState.EXPIRED,
}
_FORCED = ("autoclose-", "adl_autoclose", "settlement_autoclose-")
"""Client ids of orders by which the venue closes a position: liquidation, deleveraging, settlement."""
_FORCES = {OrderType.LIMIT: "GTC", OrderType.IOC: "IOC", OrderType.FOK: "FOK", OrderType.POST_ONLY: "GTX"}


Named = Instrument | Listing
"""What names a symbol and tells how many coins a venue coin bundles."""


def plain(value: Decimal) -> str:
    """Return a number without exponent or superfluous zeros."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def venue_quantity(instrument: Instrument, quantity: Decimal) -> str:
    """Return a quantity of base coins as the venue writes it."""
    return plain(quantity / instrument.multiplier)


def venue_price(instrument: Instrument, price: Decimal) -> str:
    """Return a price of one base coin as the venue writes it."""
    return plain(price * instrument.multiplier)


def our_quantity(instrument: Named, quantity: Decimal) -> Decimal:
    """Return a venue quantity in base coins."""
    return quantity if instrument.multiplier == 1 else quantity * instrument.multiplier


def our_price(instrument: Named, price: Decimal) -> Decimal:
    """Return a venue price as the price of one base coin."""
    return price if instrument.multiplier == 1 else price / instrument.multiplier


def order_params(instrument: Instrument, request: OrderRequest) -> dict[str, str | int]:
    """Return the parameters of a new order.

    The reply is asked for as a result: of an order that does not rest it tells how it ended.

    Raises:
        InvalidOrder: A limit order has no price.
        Unsupported: It is a stop: those are held by the engine.
    """
    kind = request.type
    if kind is OrderType.STOP:
        raise Unsupported("binance: stop orders are held by the engine, not sent")
    params: dict[str, str | int] = {
        "symbol": instrument.native,
        "side": request.side.value.upper(),
        "type": "MARKET" if kind is OrderType.MARKET else "LIMIT",
        "quantity": venue_quantity(instrument, request.quantity),
        "newClientOrderId": request.client_id,
        "newOrderRespType": "RESULT",
    }
    if kind is not OrderType.MARKET:
        if request.price is None:
            raise InvalidOrder(f"{request.symbol}: a {kind.value} order needs a price")
        params["price"] = venue_price(instrument, request.price)
        if kind is OrderType.POST_ONLY and not instrument.is_perp:
            params["type"] = "LIMIT_MAKER"
        else:
            params["timeInForce"] = _FORCES[kind]
    if request.reduce_only and instrument.is_perp:
        params["reduceOnly"] = "true"
    return params


def order_type(wire_type: str, force: str, price: Decimal) -> OrderType:
    """Return the order type that a venue's type and time in force mean together."""
    if wire_type == "LIMIT_MAKER" or force == "GTX":
        return OrderType.POST_ONLY
    if wire_type == "MARKET":
        return OrderType.MARKET
    if "STOP" in wire_type or "TAKE_PROFIT" in wire_type:
        return OrderType.STOP
    if force in ("IOC", "FOK"):
        return OrderType(force.lower())
    return OrderType.LIMIT if price else OrderType.MARKET


def order_update(instrument: Named, row: OrderRow) -> OrderUpdate:
    """Return what a row says about an order."""
    average = row.avgPrice
    if not average and row.cummulativeQuoteQty and row.executedQty:
        average = row.cummulativeQuoteQty / row.executedQty
    kind = order_type(row.type, row.timeInForce, row.price)
    state = STATES.get(row.status, OrderState.SENT)
    reason, error = ending(kind, state, row.executedQty)
    return OrderUpdate(
        client_id=row.origClientOrderId or row.clientOrderId,
        venue_order_id=str(row.orderId),
        symbol=instrument.symbol,
        side=Side(row.side.lower()),
        type=kind,
        state=state,
        quantity=our_quantity(instrument, row.origQty),
        price=our_price(instrument, row.price) if row.price else None,
        filled=our_quantity(instrument, row.executedQty),
        ts=row.updateTime or row.transactTime or row.time,
        trigger_price=our_price(instrument, row.stopPrice) if row.stopPrice else None,
        reduce_only=row.reduceOnly,
        average_price=our_price(instrument, average) if average else None,
        reason=reason,
        error=error,
    )


def ending(kind: OrderType, state: OrderState, filled: Decimal, venue_words: str = "") -> tuple[str, str]:
    """Return why an order ended without being filled, in words and, where there is one, as the name of its error."""
    if state is not OrderState.EXPIRED:
        return venue_words, ""
    if kind is OrderType.POST_ONLY and not filled:
        return "the post-only order would have matched at once", PostOnlyWouldTake.__name__
    if kind in (OrderType.IOC, OrderType.FOK, OrderType.MARKET):
        return "what could not be filled at once expired", ""
    return venue_words, ""


def futures_news(instrument: Named, message: OrderTradeUpdate) -> list[OrderUpdate | Fill]:
    """Return the state of a futures order, and its execution when the message tells one."""
    o = message.o
    kind = order_type(o.o, o.f, o.p)
    state = STATES.get(o.X, OrderState.OPEN)
    reason, error = ending(kind, state, o.z)
    update = OrderUpdate(
        client_id=o.c,
        venue_order_id=str(o.i),
        symbol=instrument.symbol,
        side=Side(o.S.lower()),
        type=kind,
        state=state,
        quantity=our_quantity(instrument, o.q),
        price=our_price(instrument, o.p) if o.p else None,
        filled=our_quantity(instrument, o.z),
        ts=o.T,
        trigger_price=our_price(instrument, o.sp) if o.sp else None,
        reduce_only=o.R,
        average_price=our_price(instrument, o.ap) if o.ap else None,
        reason=reason,
        error=error,
    )
    is_trade = o.x in ("TRADE", "CALCULATED") and o.l and o.t > 0  # without a number only the trade list can tell it
    return [update, _futures_fill(instrument, o)] if is_trade else [update]


def _futures_fill(instrument: Named, o: FuturesOrder) -> Fill:
    return Fill(
        trade_id=str(o.t),
        symbol=instrument.symbol,
        client_id=o.c,
        venue_order_id=str(o.i),
        side=Side(o.S.lower()),
        price=our_price(instrument, o.L),
        quantity=our_quantity(instrument, o.l),
        fee=o.n,
        fee_currency=o.N or instrument.settle,
        maker=o.m,
        ts=o.T,
        liquidation=is_forced(o.c),
    )


def spot_news(instrument: Named, o: ExecutionReport) -> list[OrderUpdate | Fill]:
    """Return the state of a spot order, and its execution when the message tells one."""
    kind = order_type(o.o, o.f, o.p)
    state = STATES.get(o.X, OrderState.OPEN)
    client_id = o.C or o.c
    reason, error = ending(kind, state, o.z, "" if o.r in ("", "NONE") else o.r)
    update = OrderUpdate(
        client_id=client_id,
        venue_order_id=str(o.i),
        symbol=instrument.symbol,
        side=Side(o.S.lower()),
        type=kind,
        state=state,
        quantity=our_quantity(instrument, o.q),
        price=our_price(instrument, o.p) if o.p else None,
        filled=our_quantity(instrument, o.z),
        ts=o.T,
        trigger_price=our_price(instrument, o.P) if o.P else None,
        average_price=our_price(instrument, o.Z / o.z) if o.Z and o.z else None,
        reason=reason,
        error=error,
    )
    if o.x != "TRADE" or not o.l or o.t < 0:
        return [update]
    fill = Fill(
        trade_id=str(o.t),
        symbol=instrument.symbol,
        client_id=client_id,
        venue_order_id=str(o.i),
        side=Side(o.S.lower()),
        price=our_price(instrument, o.L),
        quantity=our_quantity(instrument, o.l),
        fee=o.n,
        fee_currency=o.N or instrument.quote,
        maker=o.m,
        ts=o.T,
    )
    return [update, fill]


def trade_fill(instrument: Named, row: FuturesTradeRow | SpotTradeRow, client_id: str) -> Fill:
    """Return an execution from the account's trade list, which does not name the client id."""
    futures = isinstance(row, FuturesTradeRow)
    return Fill(
        trade_id=str(row.id),
        symbol=instrument.symbol,
        client_id=client_id,
        venue_order_id=str(row.orderId),
        side=Side(row.side.lower()) if isinstance(row, FuturesTradeRow) else _side(row.isBuyer),
        price=our_price(instrument, row.price),
        quantity=our_quantity(instrument, row.qty),
        fee=row.commission,
        fee_currency=row.commissionAsset or (instrument.settle if futures else instrument.quote),
        maker=row.maker if isinstance(row, FuturesTradeRow) else row.isMaker,
        ts=row.time,
        liquidation=futures and is_forced(client_id),
    )


def is_forced(client_id: str) -> bool:
    """Return whether the venue placed an order to close a position by force."""
    return client_id.startswith(_FORCED)


def position(instrument: Named, row: PositionRow, leverage: Decimal) -> Position:
    """Return a position from the account's list."""
    return Position(
        symbol=instrument.symbol,
        quantity=our_quantity(instrument, row.positionAmt),
        entry_price=our_price(instrument, row.entryPrice),
        mark_price=our_price(instrument, row.markPrice),
        unrealised=row.unRealizedProfit,
        leverage=leverage,
        liquidation_price=our_price(instrument, row.liquidationPrice) if row.liquidationPrice > 0 else None,
    )


def changed_position(instrument: Named, change: PositionChange, leverage: Decimal) -> Position:
    """Return a position from the stream; its mark price follows from the open profit."""
    mark = change.ep + change.up / change.pa if change.pa else change.ep
    return Position(
        symbol=instrument.symbol,
        quantity=our_quantity(instrument, change.pa),
        entry_price=our_price(instrument, change.ep),
        mark_price=our_price(instrument, mark),
        unrealised=change.up if change.pa else ZERO,
        leverage=leverage,
    )


def _side(is_buyer: bool) -> Side:
    return Side.BUY if is_buyer else Side.SELL
