"""Order entry as Binance carries it out: the paper venue's matching under Binance's rules and refusals."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from engine.kernel.errors import (
    CtosError,
    InsufficientFunds,
    InvalidOrder,
    OrderNotFound,
    PostOnlyWouldTake,
    ReduceOnlyRejected,
    VenueUnavailable,
)
from engine.kernel.instruments import floor_step
from engine.kernel.orders import OrderRequest, OrderState
from tests.venues.emulators.binance_filters import (
    Wanted,
    check_band,
    check_client_id,
    check_futures_numbers,
    check_notional,
    check_spot_size,
    failure,
    read_order,
)
from tests.venues.emulators.binance_listing import MAX_ORDERS, Listing
from tests.venues.emulators.binance_orders import (
    Ticket,
    futures_order,
    spot_cancelled,
    spot_order,
    spot_reply,
)
from tests.venues.emulators.binance_wire import BinanceError, Params, Product

if TYPE_CHECKING:
    from tests.venues.emulators.binance import BinanceEmulator

T = TypeVar("T")


def place(venue: BinanceEmulator, listing: Listing, params: Params) -> Ticket:
    """Carry a new order out.

    Raises:
        BinanceError: Why it was refused.
    """
    wanted = read_order(listing, params, venue.clock.now_ms(), venue.account.dual_side)
    return carry(venue, wanted)


def carry(venue: BinanceEmulator, wanted: Wanted) -> Ticket:
    """Carry out an order whose parameters are in order."""
    listing, product = wanted.listing, wanted.listing.product
    if wanted.client_id and venue.orders.is_in_use(product, wanted.client_id):
        if listing.is_futures:
            raise BinanceError(-4116, "ClientOrderId is duplicated.")
        raise BinanceError(-2010, "Duplicate order sent.")
    market = venue.exchange.market(listing.symbol)
    mark = market.mark_price()
    if market.touch is None or mark is None:
        raise _closed(listing)
    wanted = _sized(venue, wanted)
    native_mark = mark * listing.multiplier
    check_band(wanted, native_mark)
    check_notional(listing, wanted.quantity, wanted.price or native_mark, wanted.reduce_only)
    if len(venue.orders.open(product, listing)) >= MAX_ORDERS:
        if listing.is_futures:
            raise BinanceError(-2025, "Reach max open order limit.")
        raise failure("MAX_NUM_ORDERS")
    fresh = not venue.exchange.registry.knows_client_id(wanted.client_id)
    request = OrderRequest(
        # The paper venue never takes an id twice, Binance does once the former order is final.
        client_id=wanted.client_id if fresh else "",
        instance="",
        symbol=listing.symbol,
        side=wanted.side,
        type=wanted.kind,
        quantity=listing.to_qty(wanted.quantity),
        price=None if wanted.price is None else listing.to_price(wanted.price),
        reduce_only=wanted.reduce_only,
    )

    def operation() -> Ticket:
        update = venue.exchange.place(request)
        return venue.orders.accept(venue.exchange.registry.find(update.venue_order_id, listing.symbol), wanted)

    return attempt(venue, listing, operation)


def attempt(venue: BinanceEmulator, listing: Listing, operation: Callable[[], T]) -> T:
    """Carry an operation out; a refusal is said in Binance's words."""
    try:
        return venue.carry_out(operation)
    except CtosError as error:
        raise _refusal(listing, error) from error


def _refusal(listing: Listing, error: CtosError) -> BinanceError:
    futures = listing.is_futures
    if isinstance(error, InsufficientFunds):
        if futures:
            return BinanceError(-2019, "Margin is insufficient.")
        return BinanceError(-2010, "Account has insufficient balance for requested action.")
    if isinstance(error, PostOnlyWouldTake):
        if futures:
            return BinanceError(
                -5022,
                "Due to the order could not be executed as maker, the Post Only order will be rejected. "
                "The order will not be recorded in the order history",
            )
        return BinanceError(-2010, "Order would immediately match and take.")
    if isinstance(error, ReduceOnlyRejected):
        return BinanceError(-2022, "ReduceOnly Order is rejected.")
    if isinstance(error, OrderNotFound):
        return BinanceError(-2011, "Unknown order sent.")
    if isinstance(error, VenueUnavailable):
        return _closed(listing)
    if isinstance(error, InvalidOrder):
        return BinanceError(-4003, error.message) if futures else BinanceError(-1013, error.message)
    raise error


def _closed(listing: Listing) -> BinanceError:
    if listing.is_futures:
        return BinanceError(-4140, "Invalid symbol status for opening position.")
    return BinanceError(-2010, "Market is closed.")


def _sized(venue: BinanceEmulator, wanted: Wanted) -> Wanted:
    """Turn a spot market order by quote amount into one by quantity."""
    if wanted.quote_quantity is None:
        return wanted
    listing, left, quantity = wanted.listing, wanted.quote_quantity, Decimal(0)
    for price, size in venue.exchange.market(listing.symbol).opposite_levels(wanted.side, None):
        exact = listing.instrument.price_from_float(price)
        taken = min(Decimal(repr(size)), left / exact)
        quantity += taken
        left -= taken * exact
        if left <= 0:
            break
    quantity = floor_step(quantity, listing.step)
    check_spot_size(listing, "MARKET", quantity)
    return Wanted(listing, wanted.side, wanted.type, wanted.force, quantity, None, wanted.reduce_only, wanted.client_id)


def expire_due(venue: BinanceEmulator) -> None:
    """End the orders whose goodTillDate has come."""
    now_ms = venue.clock.now_ms()
    for ticket in venue.orders.open(Product.FUTURES):
        if ticket.good_till and now_ms >= ticket.good_till:
            venue.carry_out(partial(venue.exchange.clearing.end, ticket.order, OrderState.EXPIRED, "good till date"))


def find_open(venue: BinanceEmulator, listing: Listing, params: Params, prefix: str = "") -> Ticket:
    """Return the working order that the parameters name; -2011 when there is none."""
    ticket = venue.orders.find(listing, params, prefix)
    if ticket is None or not ticket.is_open:
        raise BinanceError(-2011, "Unknown order sent.")
    return ticket


def cancel(venue: BinanceEmulator, ticket: Ticket, cancel_id: str = "") -> Ticket:
    """Cancel a working order."""
    ticket.cancel_id = cancel_id or f"x-cancel{ticket.number}"
    attempt(venue, ticket.listing, lambda: venue.exchange.cancel(ticket.order.id, ticket.order.symbol))
    return ticket


def cancel_all(venue: BinanceEmulator, listing: Listing) -> list[Ticket]:
    """Cancel every working order of a symbol."""
    venue.carry_out(lambda: None)
    return [cancel(venue, t) for t in venue.orders.open(listing.product, listing) if t.is_open]


def modify(venue: BinanceEmulator, listing: Listing, params: Params) -> Ticket:
    """Carry PUT /fapi/v1/order out: a LIMIT order gets another price and quantity and a new place in the queue.

    A total that is filled already, or a post-only order whose new price would take, cancels the order.
    """
    for name in ("side", "quantity", "price"):
        params.need(name)
    quantity, price = params.need_decimal("quantity"), params.need_decimal("price")
    ticket = venue.orders.find(listing, params)
    if ticket is None or not ticket.is_open:
        raise BinanceError(-2013, "Order does not exist.")
    if params.need("side") != ticket.side:
        raise BinanceError(-1117, "Invalid side.")
    check_futures_numbers(listing, "LIMIT", quantity, price)
    order = ticket.order
    market = venue.exchange.market(listing.symbol)
    check_band(
        Wanted(listing, order.side, ticket.type, ticket.force, quantity, price, order.reduce_only, ""),
        (market.mark_price() or Decimal(0)) * listing.multiplier,
    )
    check_notional(listing, quantity, price, order.reduce_only)
    new_price, new_quantity = listing.to_price(price), listing.to_qty(quantity)
    if new_price == order.price and new_quantity == order.quantity:
        raise BinanceError(-5027, "No need to modify the order.")

    def operation() -> None:
        try:
            venue.exchange.amend(order.id, order.symbol, new_price, new_quantity)
        except PostOnlyWouldTake:
            venue.exchange.cancel(order.id, order.symbol)
            raise

    attempt(venue, listing, operation)
    return ticket


def keep_priority(venue: BinanceEmulator, listing: Listing, params: Params) -> dict[str, object]:
    """Carry PUT /api/v3/order/amend/keepPriority out: a smaller quantity, the same place, another client id."""
    quantity = params.need_decimal("newQty")
    ticket = venue.orders.find(listing, params)
    if ticket is None or not ticket.is_open:
        raise BinanceError(-2013, "Order does not exist.")
    check_spot_size(listing, "LIMIT", quantity)
    if quantity >= ticket.order.quantity or quantity <= ticket.order.filled:
        raise BinanceError(
            -2038, "Order amend rejected: newQty must be above the executed and below the order quantity."
        )
    check_notional(listing, quantity, ticket.order.price or Decimal(0), False)
    before = ticket.client_id
    client_id = params.text("newClientOrderId") or f"x-amend{ticket.number}"
    check_client_id(listing, client_id)
    if client_id != before and venue.orders.is_in_use(Product.SPOT, client_id):
        raise BinanceError(-2010, "Duplicate order sent.")
    ticket.cancel_id = before

    def operation() -> None:
        venue.exchange.amend(ticket.order.id, listing.symbol, None, quantity)
        venue.orders.rename(ticket, client_id)

    attempt(venue, listing, operation)
    amended = spot_order(ticket) | {"origClientOrderId": before, "qty": listing.qty_text(quantity)}
    return {"transactTime": ticket.updated_ms, "executionId": ticket.number, "amendedOrder": amended}


def cancel_replace(venue: BinanceEmulator, listing: Listing, params: Params) -> dict[str, object]:
    """Carry POST /api/v3/order/cancelReplace out: a cancellation, then a new order under its own client id."""
    mode = params.need("cancelReplaceMode")
    if mode not in ("STOP_ON_FAILURE", "ALLOW_FAILURE"):
        raise BinanceError(-1102, "Mandatory parameter 'cancelReplaceMode' was not sent, was empty/null, or malformed.")
    wanted = read_order(listing, params, venue.clock.now_ms(), dual_side=False)
    legs: dict[str, object] = {"cancelResult": "SUCCESS", "newOrderResult": "NOT_ATTEMPTED", "newOrderResponse": None}
    try:
        found = find_open(venue, listing, params, "cancel")
        cancelled = spot_cancelled(cancel(venue, found, params.text("cancelNewClientOrderId")))
        legs["cancelResponse"] = cancelled
    except BinanceError as error:
        legs |= {"cancelResult": "FAILURE", "cancelResponse": error.body}
    if legs["cancelResult"] == "SUCCESS" or mode == "ALLOW_FAILURE":
        venue.limits_of[Product.SPOT].count_orders()
        try:
            legs["newOrderResponse"] = new_spot_reply(carry(venue, wanted), params)
            legs["newOrderResult"] = "SUCCESS"
        except BinanceError as error:
            legs |= {"newOrderResult": "FAILURE", "newOrderResponse": error.body}
    if legs["cancelResult"] == legs["newOrderResult"] == "SUCCESS":
        return legs
    if "SUCCESS" in (legs["cancelResult"], legs["newOrderResult"]):
        raise BinanceError(-2021, "Order cancel-replace partially failed.", 409, data=legs)
    raise BinanceError(-2022, "Order cancel-replace failed.", 409, data=legs)


def new_futures_reply(ticket: Ticket, params: Params) -> dict[str, object]:
    """Return the reply to a new futures order: ACK (zeros) unless RESULT was asked for."""
    kind = params.text("newOrderRespType", "ACK")
    return futures_order(ticket, query=False, ack=kind == "ACK")


def new_spot_reply(ticket: Ticket, params: Params) -> dict[str, object]:
    """Return the reply to a new spot order: FULL for MARKET and LIMIT, ACK for the rest, unless another was asked."""
    usual = "FULL" if ticket.type in ("MARKET", "LIMIT") else "ACK"
    return spot_reply(ticket, params.text("newOrderRespType", usual))
