"""Orders as Binance names them: integer ids, client ids that are unique among open orders, statuses, replies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from drivers.paper.state import PaperOrder
from engine.kernel.account import Ledger
from engine.kernel.orders import Fill, OrderState, OrderType
from tests.venues.emulators.binance_filters import Wanted
from tests.venues.emulators.binance_listing import Listing, asset_of
from tests.venues.emulators.binance_wire import BinanceError, Params, Product, fixed
from tests.venues.emulators.core import number_of

ZERO = Decimal(0)
_FIRST_ORDER = {Product.FUTURES: 8_389_765_000_000, Product.SPOT: 28_457_000_000}
_FIRST_TRADE = {Product.FUTURES: 5_266_000_000, Product.SPOT: 3_731_000_000}

STATUS = {
    OrderState.OPEN: "NEW",
    OrderState.PARTIAL: "PARTIALLY_FILLED",
    OrderState.FILLED: "FILLED",
    OrderState.CANCELED: "CANCELED",
    OrderState.EXPIRED: "EXPIRED",
}
_FORCE = {OrderType.POST_ONLY: "GTX", OrderType.IOC: "IOC", OrderType.FOK: "FOK"}


@dataclass(slots=True)
class Ticket:
    """One order as Binance keeps it, over the paper venue's order, which holds price, quantity and state.

    Attributes:
        cancel_id: Client id of the request that cancelled it (spot).
        seen: Status, price and quantity as last reported to the user stream.
        forced: Whether it is a liquidation.
    """

    number: int
    client_id: str
    listing: Listing
    order: PaperOrder
    type: str
    force: str
    placed_ms: int
    updated_ms: int
    good_till: int = 0
    cancel_id: str = ""
    forced: bool = False
    seen: tuple[Decimal | None, Decimal] | None = None
    fills: list[Fill] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return self.order.is_open

    @property
    def status(self) -> str:
        return STATUS[self.order.state]

    @property
    def side(self) -> str:
        return self.order.side.value.upper()

    def average(self) -> str:
        """Return avgPrice."""
        order = self.order
        return self.listing.mark_text(order.notional / order.filled if order.filled else None)


class Orders:
    """All orders of the account.

    Args:
        now_ms: The venue's time.
        listing_of: Listing by canonical symbol.
    """

    def __init__(self, now_ms: Callable[[], int], listing_of: Callable[[str], Listing]) -> None:
        self._now_ms = now_ms
        self._listing_of = listing_of
        self._by_paper: dict[str, Ticket] = {}
        self._by_client: dict[tuple[Product, str], Ticket] = {}
        self._by_number: dict[int, Ticket] = {}
        self._unsettled: list[Ticket] = []
        self.ledgers: dict[str, Ledger] = {}
        self.realised: dict[str, Decimal] = {}

    def accept(self, order: PaperOrder, wanted: Wanted) -> Ticket:
        """Register a new order."""
        product = wanted.listing.product
        number = _FIRST_ORDER[product] + number_of(order.id)
        now = self._now_ms()
        client_id = wanted.client_id or f"x-auto{number}"
        ticket = Ticket(number, client_id, wanted.listing, order, wanted.type, wanted.force, now, now, wanted.good_till)
        self._register(ticket)
        return ticket

    def _register(self, ticket: Ticket) -> None:
        self._by_paper[ticket.order.id] = self._by_number[ticket.number] = ticket
        self._by_client[ticket.listing.product, ticket.client_id] = ticket
        self._unsettled.append(ticket)

    def of(self, order_id: str, find: Callable[[], PaperOrder]) -> Ticket:
        """Return the ticket of a paper order; one that came about without a request (a liquidation) gets one now."""
        ticket = self._by_paper.get(order_id)
        if ticket is None:
            order = find()
            listing = self._listing_of(order.symbol)
            number = _FIRST_ORDER[listing.product] + number_of(order.id)
            forced = order.reason == "liquidation"
            kind = "MARKET" if order.type is OrderType.MARKET else "LIMIT"
            force = _FORCE.get(order.type, "GTC")
            if order.type is OrderType.POST_ONLY and not listing.is_futures:
                kind, force = "LIMIT_MAKER", "GTC"
            client_id = f"autoclose-{number}" if forced else order.client_id
            ticket = Ticket(number, client_id, listing, order, kind, force, order.ts, order.ts, forced=forced)
            self._register(ticket)
        return ticket

    def rename(self, ticket: Ticket, client_id: str) -> None:
        """Give an order another client id."""
        ticket.client_id = client_id
        self._by_client[ticket.listing.product, client_id] = ticket

    def is_in_use(self, product: Product, client_id: str) -> bool:
        """Return whether an open order has a client id."""
        ticket = self._by_client.get((product, client_id))
        return ticket is not None and ticket.is_open

    def find(self, listing: Listing, params: Params, prefix: str = "") -> Ticket | None:
        """Return the order that `orderId` or `origClientOrderId` names; None when there is none.

        Raises:
            BinanceError: Neither was sent.
        """
        id_name = f"{prefix}OrderId" if prefix else "orderId"
        client_name = f"{prefix}OrigClientOrderId" if prefix else "origClientOrderId"
        number, client_id = params.integer(id_name), params.text(client_name)
        if number is None and not client_id:
            raise BinanceError(-1102, f"Param '{client_name}' or '{id_name}' must be sent, but both were empty/null!")
        by_client = self._by_client.get((listing.product, client_id))
        found = by_client if number is None else self._by_number.get(number)
        return found if found is not None and found.listing is listing else None

    def all(self, product: Product, listing: Listing | None = None) -> Iterator[Ticket]:
        """Return the orders of a product, oldest first."""
        for ticket in self._by_paper.values():
            if ticket.listing.product is product and (listing is None or ticket.listing is listing):
                yield ticket

    def open(self, product: Product, listing: Listing | None = None) -> list[Ticket]:
        """Return the working orders, oldest first; one that is final never works again."""
        self._unsettled = [ticket for ticket in self._unsettled if ticket.is_open]
        return [
            ticket
            for ticket in self._unsettled
            if ticket.listing.product is product and (listing is None or ticket.listing is listing)
        ]

    def book_fill(self, ticket: Ticket, fill: Fill) -> None:
        """Note an execution and the profit that it realised."""
        ticket.fills.append(fill)
        ledger = self.ledgers.setdefault(fill.symbol, Ledger())
        self.realised[fill.trade_id] = ledger.apply_fill(fill)


def trade_number(listing: Listing, trade_id: str) -> int:
    """Return Binance's id of an execution."""
    return _FIRST_TRADE[listing.product] + number_of(trade_id)


def futures_order(ticket: Ticket, query: bool, ack: bool = False) -> dict[str, object]:
    """Return an order as futures answer it; avgPrice and cumQuote are in queries only, an ACK has zeros."""
    listing, order = ticket.listing, ticket.order
    filled = ZERO if ack else order.filled
    answer: dict[str, object] = {
        "orderId": ticket.number,
        "symbol": listing.native,
        "status": "NEW" if ack else ticket.status,
        "clientOrderId": ticket.client_id,
        "price": listing.price_text(order.price),
        "origQty": listing.qty_text(order.quantity),
        "executedQty": listing.qty_text(filled),
        "timeInForce": ticket.force,
        "type": ticket.type,
        "reduceOnly": order.reduce_only,
        "closePosition": False,
        "side": ticket.side,
        "positionSide": "BOTH",
        "stopPrice": listing.price_text(None),
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": ticket.type,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "goodTillDate": ticket.good_till,
        "updateTime": ticket.updated_ms,
    }
    if query:
        answer |= {"avgPrice": ticket.average(), "cumQuote": fixed(order.notional, 8), "time": ticket.placed_ms}
    else:
        answer["cumQty"] = listing.qty_text(filled)
    return answer


def futures_trade(ticket: Ticket, fill: Fill, realised: Decimal) -> dict[str, object]:
    """Return an execution as /fapi/v1/userTrades has it."""
    listing = ticket.listing
    return {
        "symbol": listing.native,
        "id": trade_number(listing, fill.trade_id),
        "orderId": ticket.number,
        "side": fill.side.value.upper(),
        "price": listing.price_text(fill.price),
        "qty": listing.qty_text(fill.quantity),
        "realizedPnl": fixed(realised, 8),
        "quoteQty": fixed(fill.notional, 8),
        "commission": fixed(fill.fee, 8),
        "commissionAsset": asset_of(fill.fee_currency),
        "time": fill.ts,
        "positionSide": "BOTH",
        "maker": fill.maker,
        "buyer": fill.side.value == "buy",
    }


def spot_order(ticket: Ticket) -> dict[str, object]:
    """Return an order as a spot query has it."""
    listing = ticket.listing
    return {
        "symbol": listing.native,
        "orderId": ticket.number,
        "orderListId": -1,
        "clientOrderId": ticket.client_id,
        **_spot_state(ticket),
        "stopPrice": listing.price_text(None),
        "icebergQty": listing.qty_text(ZERO),
        "time": ticket.placed_ms,
        "updateTime": ticket.updated_ms,
        "isWorking": True,
        "workingTime": ticket.placed_ms,
        "origQuoteOrderQty": fixed(ZERO, 8),
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }


def _spot_state(ticket: Ticket) -> dict[str, object]:
    listing, order = ticket.listing, ticket.order
    return {
        "price": listing.price_text(order.price),
        "origQty": listing.qty_text(order.quantity),
        "executedQty": listing.qty_text(order.filled),
        "cummulativeQuoteQty": fixed(order.notional, 8),
        "status": ticket.status,
        "timeInForce": ticket.force,
        "type": ticket.type,
        "side": ticket.side,
    }


def spot_reply(ticket: Ticket, kind: str) -> dict[str, object]:
    """Return the reply to a new spot order: ACK, RESULT or FULL."""
    listing = ticket.listing
    answer: dict[str, object] = {
        "symbol": listing.native,
        "orderId": ticket.number,
        "orderListId": -1,
        "clientOrderId": ticket.client_id,
        "transactTime": ticket.updated_ms,
    }
    if kind == "ACK":
        return answer
    answer |= _spot_state(ticket)
    answer |= {
        "origQuoteOrderQty": fixed(ZERO, 8),
        "workingTime": ticket.placed_ms,
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }
    if kind == "FULL":
        answer["fills"] = [
            {
                "price": listing.price_text(fill.price),
                "qty": listing.qty_text(fill.quantity),
                "commission": fixed(fill.fee, 8),
                "commissionAsset": asset_of(fill.fee_currency),
                "tradeId": trade_number(listing, fill.trade_id),
            }
            for fill in ticket.fills
        ]
    return answer


def spot_cancelled(ticket: Ticket) -> dict[str, object]:
    """Return the reply to a spot cancellation: `clientOrderId` is the cancellation's own."""
    return {
        "symbol": ticket.listing.native,
        "origClientOrderId": ticket.client_id,
        "orderId": ticket.number,
        "orderListId": -1,
        "clientOrderId": ticket.cancel_id,
        "transactTime": ticket.updated_ms,
        **_spot_state(ticket),
        "origQuoteOrderQty": fixed(ZERO, 8),
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }


def spot_trade(ticket: Ticket, fill: Fill) -> dict[str, object]:
    """Return an execution as /api/v3/myTrades has it."""
    listing = ticket.listing
    return {
        "symbol": listing.native,
        "id": trade_number(listing, fill.trade_id),
        "orderId": ticket.number,
        "orderListId": -1,
        "price": listing.price_text(fill.price),
        "qty": listing.qty_text(fill.quantity),
        "quoteQty": fixed(fill.notional, 8),
        "commission": fixed(fill.fee, 8),
        "commissionAsset": asset_of(fill.fee_currency),
        "time": fill.ts,
        "isBuyer": fill.side.value == "buy",
        "isMaker": fill.maker,
        "isBestMatch": True,
    }
