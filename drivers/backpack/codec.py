"""Between Backpack's values and the kernel's records: coins, times, states, words.

Money is Decimal throughout; only market data is float. Quantities are coins at the venue, thousands of coins where its
symbol says so. Fees are positive when paid, here as there.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from drivers.backpack.errors import REFUSAL_OF
from drivers.backpack.rest_wire import LendPosition, RestBalance, RestFill, RestFunding, RestOrder, RestPosition
from drivers.backpack.signer import Value
from drivers.backpack.symbols import parse_native
from drivers.backpack.values import ms_of, plain
from drivers.backpack.wire import OrderEvent, PositionEvent
from drivers.transport.line_decoder import Undecodable
from engine.kernel.account import Balance, FundingPayment, Position
from engine.kernel.errors import InvalidOrder, Unsupported
from engine.kernel.instruments import Instrument
from engine.kernel.orders import Fill, OrderRequest, OrderState, OrderType, OrderUpdate, Side

ZERO = Decimal(0)
_SIDES = {"bid": Side.BUY, "ask": Side.SELL}
_STATES = {
    "new": OrderState.OPEN,
    "partiallyfilled": OrderState.PARTIAL,
    "filled": OrderState.FILLED,
    "cancelled": OrderState.CANCELED,
    "expired": OrderState.EXPIRED,
    "triggerpending": OrderState.OPEN,
    "triggerfailed": OrderState.REJECTED,
}
_FORCED = frozenset({"LIQUIDATION_AUTOCLOSE", "ADL_AUTOCLOSE", "BACKSTOP_LIQUIDITY_PROVIDER"})
ClientIdOf = Callable[[int | None], str]
"""Returns our client id for the venue's number; empty when the order is not ours."""


def order_body(request: OrderRequest, instrument: Instrument) -> dict[str, Value]:
    """Return the parameters of a new order, all but its client id.

    A spot order may take back what was lent automatically; it never borrows.

    Raises:
        InvalidOrder: It has no limit price where it needs one.
        Unsupported: It is a stop, which the engine holds itself.
    """
    if request.type is OrderType.STOP:
        raise Unsupported("backpack: stop orders are held by the engine, not sent")
    by = instrument.multiplier
    body: dict[str, Value] = {
        "symbol": instrument.native,
        "side": "Bid" if request.side is Side.BUY else "Ask",
        "orderType": "Market" if request.type is OrderType.MARKET else "Limit",
        "quantity": plain(request.quantity / by),
    }
    if request.type.has_price:
        if request.price is None:
            raise InvalidOrder(f"{request.symbol}: a {request.type} order needs a price")
        body["price"] = plain(request.price * by)
        if request.type is OrderType.POST_ONLY:
            body["postOnly"] = True
        body["timeInForce"] = {OrderType.IOC: "IOC", OrderType.FOK: "FOK"}.get(request.type, "GTC")
    if instrument.is_perp:
        if request.reduce_only:
            body["reduceOnly"] = True
    else:
        body["autoLendRedeem"] = True
    return body


def side_of(text: str) -> Side:
    """Return Bid as buy and Ask as sell; raises `Undecodable`."""
    side = _SIDES.get(text.lower())
    if side is None:
        raise Undecodable(f"side {text[:20]!r} is neither Bid nor Ask")
    return side


def type_of(order_type: str, time_in_force: str, post_only: bool, trigger: Decimal | None) -> OrderType:
    """Return the kernel's type of an order; the stream writes types in capitals, the other calls mixed."""
    if trigger is not None:
        return OrderType.STOP
    if order_type.lower() == "market":
        return OrderType.MARKET
    if post_only:
        return OrderType.POST_ONLY
    return {"IOC": OrderType.IOC, "FOK": OrderType.FOK}.get(time_in_force.upper(), OrderType.LIMIT)


def state_of(status: str, filled: Decimal) -> OrderState:
    """Return the kernel's state of an order; raises `Undecodable`."""
    state = _STATES.get(status.lower())
    if state is None:
        raise Undecodable(f"order status {status[:30]!r} is unknown")
    return OrderState.PARTIAL if state is OrderState.OPEN and filled else state


def _average(quote: Decimal | None, quantity: Decimal, multiplier: Decimal) -> Decimal | None:
    return Decimal(f"{quote / quantity / multiplier:f}") if quote and quantity else None


def order_update(order: RestOrder, client_id_of: ClientIdOf) -> OrderUpdate:
    """Return what an order call or the history says about an order.

    Raises:
        Undecodable: A value is none of the venue's.
        UnknownSymbol: Its market cannot be named.
    """
    listing = parse_native(order.symbol)
    by, filled = listing.multiplier, order.executedQuantity or ZERO
    reason = order.expiryReason or ""
    state = state_of(order.status, filled)
    try:
        ts = order.createdAt if isinstance(order.createdAt, int) else ms_of(order.createdAt)
    except ValueError as error:
        raise Undecodable(f"order: createdAt {order.createdAt!r} is not a time", order.symbol) from error
    return OrderUpdate(
        client_id=client_id_of(order.clientId),
        venue_order_id=order.id,
        symbol=listing.symbol,
        side=side_of(order.side),
        type=type_of(order.orderType, order.timeInForce, bool(order.postOnly), order.triggerPrice),
        state=state,
        quantity=(order.quantity if order.quantity is not None else filled) * by,
        price=order.price / by if order.price is not None else None,
        filled=filled * by,
        ts=ts,
        trigger_price=order.triggerPrice / by if order.triggerPrice is not None else None,
        reduce_only=bool(order.reduceOnly),
        average_price=_average(order.executedQuoteQuantity, filled, by),
        reason=reason,
        error=_refusal_name(reason, state, filled),
    )


def event_update(event: OrderEvent, client_id_of: ClientIdOf) -> OrderUpdate:
    """Return what the private stream says about an order.

    Raises:
        Undecodable: A value is none of the venue's.
        UnknownSymbol: Its market cannot be named.
    """
    listing = parse_native(event.s)
    by = listing.multiplier
    state = state_of(event.X, event.z)
    return OrderUpdate(
        client_id=_own(event, client_id_of),
        venue_order_id=event.i,
        symbol=listing.symbol,
        side=side_of(event.S),
        type=type_of(event.o, event.f, event.y, event.P),
        state=state,
        quantity=(event.q if event.q is not None else event.z) * by,
        price=event.p / by if event.p is not None else None,
        filled=event.z * by,
        ts=(event.T or event.E) // 1000,
        trigger_price=event.P / by if event.P is not None else None,
        reduce_only=event.r,
        average_price=_average(event.Z, event.z, by),
        reason=event.R,
        error=_refusal_name(event.R, state, event.z),
    )


def _refusal_name(reason: str, state: OrderState, filled: Decimal) -> str:
    kind = REFUSAL_OF.get(reason) if state is OrderState.EXPIRED and not filled else None
    return kind.__name__ if kind is not None else ""


def _own(event: OrderEvent, client_id_of: ClientIdOf) -> str:
    """Return our client id; what the venue does by itself is never ours, whatever number it carries."""
    return client_id_of(event.c) if event.O.upper() == "USER" else ""


def event_fill(event: OrderEvent, client_id_of: ClientIdOf) -> Fill | None:
    """Return the execution in a message of the private stream, None when it tells of none.

    Raises:
        Undecodable: A value of the execution is missing, or none of the venue's.
        UnknownSymbol: Its market cannot be named.
    """
    if event.e != "orderFill":
        return None
    if event.l is None or event.L is None or event.n is None or event.N is None or event.m is None:
        raise Undecodable("orderFill without one of l, L, n, N, m", event.s)
    listing, ts = parse_native(event.s), (event.T or event.E) // 1000
    return Fill(
        trade_id=_trade_id(event.t, event.i, ts, event.L, event.l),
        symbol=listing.symbol,
        client_id=_own(event, client_id_of),
        venue_order_id=event.i,
        side=side_of(event.S),
        price=event.L / listing.multiplier,
        quantity=event.l * listing.multiplier,
        fee=event.n,
        fee_currency=event.N,
        maker=event.m,
        ts=ts,
        liquidation=event.O.upper() in _FORCED,
    )


def fill_of(row: RestFill, client_id_of: ClientIdOf) -> Fill:
    """Return a row of the fill history.

    Raises:
        Undecodable: A value is none of the venue's.
        UnknownSymbol: Its market cannot be named.
    """
    listing = parse_native(row.symbol)
    try:
        ts = ms_of(row.timestamp)
    except ValueError as error:
        raise Undecodable(f"fill: timestamp {row.timestamp!r} is not a time", row.symbol) from error
    return Fill(
        trade_id=_trade_id(row.tradeId, row.orderId, ts, row.price, row.quantity),
        symbol=listing.symbol,
        client_id=client_id_of(row.clientId) if row.systemOrderType is None else "",
        venue_order_id=row.orderId,
        side=side_of(row.side),
        price=row.price / listing.multiplier,
        quantity=row.quantity * listing.multiplier,
        fee=row.fee,
        fee_currency=row.feeSymbol,
        maker=row.isMaker,
        ts=ts,
        liquidation="liquidate" in (row.systemOrderType or "").lower(),
    )


def _trade_id(number: int | None, order_id: str, ts: int, price: Decimal, quantity: Decimal) -> str:
    """Return the venue's trade id; fills of the system may have none, then their own values stand for it."""
    return str(number) if number is not None else f"{order_id}/{ts}/{plain(price)}/{plain(quantity)}"


def position_of(row: RestPosition, leverage: Decimal) -> Position:
    """Return a row of the positions; `leverage` is the account's limit."""
    listing = parse_native(row.symbol)
    by, liquidation = listing.multiplier, row.estLiquidationPrice
    return Position(
        symbol=listing.symbol,
        quantity=row.netQuantity * by,
        entry_price=row.entryPrice / by,
        mark_price=row.markPrice / by,
        unrealised=row.pnlUnrealized,
        leverage=leverage,
        liquidation_price=liquidation / by if liquidation else None,
        realised=row.pnlRealized,
        funding=row.cumulativeFundingPayment,
    )


def event_position(event: PositionEvent, leverage: Decimal) -> Position:
    """Return a position of the private stream; a closed one has quantity 0."""
    listing = parse_native(event.s)
    by = listing.multiplier
    return Position(
        symbol=listing.symbol,
        quantity=event.q * by,
        entry_price=event.B / by,
        mark_price=event.M / by,
        unrealised=event.P,
        leverage=leverage,
        realised=event.p,
    )


def funding_payment(row: RestFunding) -> FundingPayment:
    """Return a row of the funding history, whose amount is positive when received.

    Raises:
        Undecodable: Its time is none.
        UnknownSymbol: Its market cannot be named.
    """
    listing = parse_native(row.symbol)
    try:
        ts = ms_of(row.intervalEndTimestamp)
    except ValueError as error:
        raise Undecodable(f"intervalEndTimestamp {row.intervalEndTimestamp!r} is not a time", row.symbol) from error
    return FundingPayment(
        listing.symbol, ts, row.quantity, listing.quote, row.fundingRate, f"{row.symbol}/{row.intervalEndTimestamp}"
    )


def balance_of(currency: str, held: RestBalance, lent: Decimal) -> Balance:
    """Return the money in a currency.

    What is lent (positive) is not in `/capital` but stays ours: it backs perpetuals, and spot orders take it back by
    themselves, so it counts as free. What is borrowed (negative) makes the total smaller. Staked coins are locked.
    """
    locked = held.locked + held.staked
    total = held.available + locked + lent
    return Balance(currency, total, total - locked, locked)


def lent_by_currency(rows: list[LendPosition]) -> dict[str, Decimal]:
    """Return what is lent (positive) or borrowed (negative) in each currency."""
    return {row.symbol: row.netQuantity for row in rows if row.netQuantity}
