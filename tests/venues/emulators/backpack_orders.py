"""Backpack's orders: what a request asks for, what the venue remembers of it, and how it shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from drivers.paper.state import PaperOrder
from engine.kernel.orders import Fill, OrderRequest, OrderState, OrderType, OrderUpdate, Side
from tests.venues.emulators.backpack_auth import is_number
from tests.venues.emulators.backpack_errors import Refusal, bad_request, not_found
from tests.venues.emulators.backpack_listings import Listing, Listings, naive_utc, plain

ZERO = Decimal(0)
LARGEST_CLIENT_ID = 2**32 - 1
SIDES = {"Bid": Side.BUY, "Ask": Side.SELL}
SIDE_NAMES = {side: name for name, side in SIDES.items()}
_FORCES = ("GTC", "IOC", "FOK")
_TRADE_PREVENTIONS = ("RejectTaker", "RejectMaker", "RejectBoth")
_STATUS = {
    OrderState.OPEN: "New",
    OrderState.PARTIAL: "PartiallyFilled",
    OrderState.FILLED: "Filled",
    OrderState.CANCELED: "Cancelled",
    OrderState.EXPIRED: "Expired",
}
_KNOWN = {
    *("symbol", "side", "orderType", "quantity", "quoteQuantity", "price", "timeInForce", "postOnly", "reduceOnly"),
    *("clientId", "selfTradePrevention", "brokerId", "slippageTolerance", "slippageToleranceType"),
    *("autoLend", "autoLendRedeem", "autoBorrow", "autoBorrowRepay", "triggerPrice", "triggerQuantity", "triggerBy"),
}


@dataclass(slots=True)
class Ticket:
    """What the venue keeps of an order beside the matching engine.

    Attributes:
        number: The venue's id.
        inner_id: Client id under which the matching engine knows it.
        accepted: Whether its acceptance was announced.
        executed: Quantity announced so far, in coins.
        quote: Notional announced so far.
        refused: Expiry reason of an order that expired before it reached the book.
    """

    number: int
    inner_id: str
    listing: Listing
    side: Side
    kind: OrderType
    quantity: Decimal
    price: Decimal | None
    trigger: Decimal | None
    reduce_only: bool
    client_id: int | None
    prevention: str
    created_ms: int
    origin: str = "USER"
    accepted: bool = False
    executed: Decimal = ZERO
    quote: Decimal = ZERO
    refused: str = ""

    @property
    def id(self) -> str:
        """Return the venue's id as it is written."""
        return str(self.number)

    @property
    def is_market(self) -> bool:
        """Return whether it has no limit price."""
        return self.kind in (OrderType.MARKET, OrderType.STOP)

    @property
    def force(self) -> str:
        """Return the time in force."""
        named = {OrderType.IOC: "IOC", OrderType.FOK: "FOK"}
        return named.get(self.kind, "GTC")

    def request(self) -> OrderRequest:
        """Return the order as the matching engine takes it."""
        return OrderRequest(
            self.inner_id,
            "",
            self.listing.symbol,
            self.side,
            self.kind,
            self.quantity,
            self.price,
            self.trigger,
            self.reduce_only,
        )


def read_order(body: Mapping[str, Any], listings: Listings) -> tuple[Listing, dict[str, Any]]:
    """Return the listing and the fields of a ticket that a body asks for; `quote` holds a quoteQuantity.

    Raises:
        Refusal: The body breaks a rule of the venue.
    """
    unknown = sorted(body.keys() - _KNOWN)
    if unknown:
        raise bad_request(f"unknown field `{unknown[0]}`")
    listing = listings.find(body.get("symbol"))
    if body.get("side") not in SIDES:
        raise bad_request("Failed to parse side: expected Bid or Ask")
    fields: dict[str, Any] = {
        "side": SIDES[body["side"]],
        "client_id": _client_id(body.get("clientId")),
        "reduce_only": _flag(body, "reduceOnly"),
        "prevention": _choice(body, "selfTradePrevention", _TRADE_PREVENTIONS),
        "price": None,
        "trigger": None,
        "quantity": ZERO,
        "quote": None,
    }
    if fields["reduce_only"] and not listing.instrument.is_perp:
        raise Refusal(400, "INVALID_ORDER", "Reduce only is not supported on spot")
    fields["kind"] = _kind(body)
    if fields["kind"].has_price:
        fields["price"] = listing.price_in(body.get("price"))
    elif "price" in body:
        raise Refusal(400, "INVALID_ORDER", "Market orders take no price")
    _read_sizes(body, listing, fields)
    return listing, fields


def _read_sizes(body: Mapping[str, Any], listing: Listing, fields: dict[str, Any]) -> None:
    if fields["kind"] is OrderType.STOP:
        if "quantity" in body or "quoteQuantity" in body:
            raise Refusal(400, "INVALID_ORDER", "Conditional orders take triggerQuantity, not quantity")
        if not fields["reduce_only"]:
            raise Refusal(400, "INVALID_ORDER", "Conditional orders must be reduce only here")
        fields["trigger"] = listing.price_in(body["triggerPrice"])
        fields["quantity"] = listing.size_in(body["triggerQuantity"])
        return
    if ("quantity" in body) == ("quoteQuantity" in body):
        raise Refusal(400, "INVALID_ORDER", "Exactly one of quantity and quoteQuantity must be given")
    if "quantity" in body:
        fields["quantity"] = listing.size_in(body["quantity"])
        return
    if fields["kind"] is not OrderType.MARKET:
        raise Refusal(400, "INVALID_ORDER", "quoteQuantity is for market orders")
    try:
        fields["quote"] = Decimal(body["quoteQuantity"])
    except (ArithmeticError, TypeError, ValueError) as error:
        raise bad_request("Failed to parse quoteQuantity") from error


def _kind(body: Mapping[str, Any]) -> OrderType:
    """Return the order type that orderType, timeInForce, postOnly and triggers mean together."""
    name, post_only = body.get("orderType"), _flag(body, "postOnly")
    force = _choice(body, "timeInForce", _FORCES)
    if name not in ("Limit", "Market"):
        raise bad_request("Failed to parse orderType: expected Limit or Market")
    if ("triggerPrice" in body) != ("triggerQuantity" in body):
        raise Refusal(400, "INVALID_ORDER", "triggerPrice and triggerQuantity go together")
    if "triggerPrice" in body:
        if name != "Market":
            raise Refusal(400, "INVALID_ORDER", "Conditional limit orders are not listed here")
        return OrderType.STOP
    if name == "Market":
        if post_only:
            raise Refusal(400, "INVALID_ORDER", "Market orders cannot be post only")
        return OrderType.MARKET
    if post_only and force != "GTC":
        raise Refusal(400, "INVALID_ORDER", "Post only orders must be GTC")
    if post_only:
        return OrderType.POST_ONLY
    return {"GTC": OrderType.LIMIT, "IOC": OrderType.IOC, "FOK": OrderType.FOK}[force]


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise bad_request(f"Failed to parse {name}: expected a boolean")
    return bool(value)


def _choice(body: Mapping[str, Any], name: str, allowed: tuple[str, ...]) -> str:
    value = body.get(name, allowed[0])
    if value not in allowed:
        raise bad_request(f"Failed to parse {name}: expected one of {', '.join(allowed)}")
    return str(value)


def _client_id(value: object) -> int | None:
    if value is None:
        return None
    if not is_number(value) or not str(value).isdigit() or int(str(value)) > LARGEST_CLIENT_ID:
        raise bad_request("Failed to parse clientId: expected an unsigned 32-bit integer")
    return int(str(value))


class Tickets:
    """Every order that the venue has seen."""

    def __init__(self) -> None:
        self._by_inner: dict[str, Ticket] = {}
        self._by_id: dict[str, Ticket] = {}
        self._unsettled: list[Ticket] = []
        # Nothing is published about a client id used twice: the venue takes both orders, and shows the newest.
        self._by_client: dict[tuple[str, int], Ticket] = {}

    def __iter__(self) -> Iterator[Ticket]:
        """Run over the orders, oldest first."""
        return iter(self._by_id.values())

    def new(self, listing: Listing, fields: Mapping[str, Any], now_ms: int, inner_id: str = "") -> Ticket:
        """Return a new order's ticket."""
        number = 5_004_110_000 + 37 * (len(self._by_id) + 1)
        wanted = {name: value for name, value in fields.items() if name != "quote"}
        ticket = Ticket(number, inner_id or f"bp{number}", listing, created_ms=now_ms, **wanted)
        self._by_inner[ticket.inner_id] = self._by_id[ticket.id] = ticket
        self._unsettled.append(ticket)
        if ticket.client_id is not None:
            self._by_client[listing.native, ticket.client_id] = ticket
        return ticket

    def forget(self, ticket: Ticket) -> None:
        """Take back the ticket of an order that was refused."""
        del self._by_inner[ticket.inner_id], self._by_id[ticket.id]
        self._unsettled = [other for other in self._unsettled if other is not ticket]
        if ticket.client_id is not None:
            self._by_client.pop((ticket.listing.native, ticket.client_id), None)

    def working(self, is_open: Callable[[Ticket], bool]) -> list[Ticket]:
        """Return the orders that are open, oldest first; one that is not never becomes open again."""
        self._unsettled = [ticket for ticket in self._unsettled if is_open(ticket)]
        return self._unsettled

    def of(self, listing: Listing, order: PaperOrder | OrderUpdate) -> Ticket:
        """Return the ticket of an order of the matching engine; one that the engine made itself gets one."""
        known = self._by_inner.get(order.client_id)
        if known is not None:
            return known
        fields = {
            "side": order.side,
            "kind": order.type,
            "quantity": order.quantity,
            "price": order.price,
            "trigger": order.trigger_price,
            "reduce_only": order.reduce_only,
            "client_id": None,
            "prevention": "RejectTaker",
            "origin": "LIQUIDATION_AUTOCLOSE" if "liquidation" in order.reason else "USER",
        }
        return self.new(listing, fields, order.ts, order.client_id)

    def of_fill(self, fill: Fill) -> Ticket:
        """Return the ticket of an execution."""
        return self._by_inner[fill.client_id]

    def find(self, asked: Mapping[str, Any], listing: Listing) -> Ticket:
        """Return the order that a request names by orderId or clientId.

        Raises:
            Refusal: Both or neither are given, or there is no such order.
        """
        order_id, client_id = asked.get("orderId"), asked.get("clientId")
        if (order_id is None) == (client_id is None):
            raise bad_request("Exactly one of orderId and clientId must be given")
        if order_id is not None:
            ticket = self._by_id.get(str(order_id))
        else:
            if not str(client_id).isdigit():
                raise bad_request("Failed to parse clientId: expected an unsigned 32-bit integer")
            ticket = self._by_client.get((listing.native, int(str(client_id))))
        if ticket is None or ticket.listing.native != listing.native:
            raise not_found()
        return ticket


def status_of(ticket: Ticket, order: PaperOrder) -> str:
    """Return the venue's word for an order's state."""
    if ticket.refused:
        return "Expired"
    if order.state is OrderState.OPEN and ticket.kind is OrderType.STOP:
        return "TriggerPending"
    return _STATUS[order.state]


def expiry_reason(ticket: Ticket, reason: str) -> str | None:
    """Return the venue's expiry reason for the matching engine's words."""
    if ticket.refused:
        return ticket.refused
    if "own order" in reason:
        return "SelfTradePrevention"
    if "reduce-only" in reason or "no position" in reason:
        return "ReduceOnlyNotReduced"
    by_kind = {
        OrderType.FOK: "FillOrKill",
        OrderType.IOC: "ImmediateOrCancel",
        OrderType.MARKET: "InsufficientLiquidity",
        OrderType.STOP: "InsufficientLiquidity",
    }
    return by_kind.get(ticket.kind, "Unknown")


def order_row(ticket: Ticket, order: PaperOrder) -> dict[str, Any]:
    """Return an order as /order and /orders show it."""
    listing, stop = ticket.listing, ticket.kind is OrderType.STOP
    row: dict[str, Any] = {
        "orderType": "Market" if ticket.is_market else "Limit",
        "id": ticket.id,
        "clientId": ticket.client_id,
        "createdAt": ticket.created_ms,
        "executedQuantity": listing.size(order.filled),
        "executedQuoteQuantity": plain(order.notional),
        "postOnly": ticket.kind is OrderType.POST_ONLY,
        "quantity": None if stop and not order.filled else listing.size(order.quantity),
        "quoteQuantity": None,
        "reduceOnly": order.reduce_only or None,
        "selfTradePrevention": ticket.prevention,
        "side": SIDE_NAMES[ticket.side],
        "status": status_of(ticket, order),
        "symbol": listing.native,
        "timeInForce": ticket.force,
        "triggerBy": "LastPrice" if stop else None,
        "triggerPrice": listing.price(ticket.trigger) if ticket.trigger is not None else None,
        "triggerQuantity": listing.size(ticket.quantity) if stop else None,
        "relatedOrderId": None,
        "strategyId": None,
    }
    if order.price is not None:
        row["price"] = listing.price(order.price)
    return row


def history_row(ticket: Ticket, order: PaperOrder) -> dict[str, Any]:
    """Return an order as the order history shows it."""
    row = order_row(ticket, order)
    row["createdAt"] = naive_utc(ticket.created_ms)
    row["orderType"] = "Market" if ticket.is_market else "Limit"
    row["expiryReason"] = expiry_reason(ticket, order.reason) if row["status"] == "Expired" else None
    row["systemOrderType"] = "LiquidatePositionOnBook" if ticket.origin != "USER" else None
    return row


def fill_row(ticket: Ticket, fill: Fill) -> dict[str, Any]:
    """Return an execution as the fill history shows it."""
    listing = ticket.listing
    return {
        "clientId": None if ticket.client_id is None else str(ticket.client_id),
        "fee": plain(fill.fee),
        "feeSymbol": fill.fee_currency,
        "isMaker": fill.maker,
        "orderId": ticket.id,
        "price": listing.price(fill.price),
        "quantity": listing.size(fill.quantity),
        "side": SIDE_NAMES[fill.side],
        "symbol": listing.native,
        "systemOrderType": "LiquidatePositionOnBook" if fill.liquidation else None,
        "timestamp": naive_utc(fill.ts),
        "tradeId": trade_number(fill),
    }


def trade_number(fill: Fill) -> int:
    """Return the venue's number of an execution."""
    return 340_000_000 + int(fill.trade_id.rpartition("t")[2])
