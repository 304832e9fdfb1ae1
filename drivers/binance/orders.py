"""One order at a time: place, amend, cancel, ask; over the order socket where that is wanted and live, else by REST."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal

from drivers.binance.convert import order_params, order_update, venue_price, venue_quantity
from drivers.binance.errors import ALREADY_SO
from drivers.binance.rest import Rest
from drivers.binance.signer import Params
from drivers.binance.trade_socket import TradeSocket
from drivers.binance.wire import AmendReply, OrderRow
from drivers.transport.gateway import is_venue_id
from drivers.transport.rate_limits import Urgency
from drivers.transport.websocket import WsClient
from engine.kernel.errors import PostOnlyWouldTake, Unsupported, VenueError
from engine.kernel.instruments import Instrument
from engine.kernel.links import LinkState
from engine.kernel.orders import OrderRequest, OrderUpdate

REMEMBERED = 10_000
_METHODS = {"POST": "order.place", "PUT": "order.modify", "DELETE": "order.cancel"}


class OrderNotes:
    """The newest word on recent orders, by client id and by venue id.

    It completes amendments, and names the client id of executions, which the venue's trade list leaves out.
    """

    def __init__(self) -> None:
        self._by_id: OrderedDict[tuple[str, str], OrderUpdate] = OrderedDict()

    def note(self, update: OrderUpdate) -> None:
        """Keep an update, unless a newer one is known: streams and replies overtake each other."""
        known = self._by_id.get((update.symbol, update.venue_order_id))
        if known is not None and known.ts > update.ts:
            return
        for order_id in (update.client_id, update.venue_order_id):
            if order_id:
                key = (update.symbol, order_id)
                self._by_id[key] = update
                self._by_id.move_to_end(key)
        while len(self._by_id) > REMEMBERED:
            self._by_id.popitem(last=False)

    def get(self, symbol: str, order_id: str) -> OrderUpdate | None:
        """Return the newest word on an order, None when there is none."""
        return self._by_id.get((symbol, order_id))

    def working_symbols(self) -> set[str]:
        """Return the symbols of orders that may still work."""
        return {update.symbol for update in self._by_id.values() if update.state.is_working}


class Orders:
    """Carries out requests about orders of one interface.

    Args:
        rest: The interface.
        notes: What is known of orders.
        listed: Returns the instrument of a native symbol, None for one that is not listed.
        socket: The order socket with its client; None when orders go by REST only.
    """

    def __init__(
        self,
        rest: Rest,
        notes: OrderNotes,
        listed: Callable[[str], Instrument | None],
        socket: tuple[TradeSocket, WsClient] | None = None,
    ) -> None:
        self._rest = rest
        self._notes = notes
        self._listed = listed
        self._socket = socket

    async def submit(self, instrument: Instrument, request: OrderRequest) -> OrderUpdate:
        """Send a new order; see `OrderCalls`."""
        row = await self._send(
            "POST", order_params(instrument, request), self._rest.product.place, Urgency.ORDER, counts=True
        )
        return self._told(instrument, row)

    async def change(
        self, instrument: Instrument, order_id: str, price: Decimal | None, quantity: Decimal | None
    ) -> OrderUpdate:
        """Change a working order. A futures order loses its place in the queue; a spot order can be made smaller only.

        Futures want side, price and quantity every time: what is not changed is taken from the newest word on the
        order. A post-only order that would match at its new price is cancelled by the venue.

        Raises:
            Unsupported: Spot has no other change under the same client id.
            CtosError: It was refused; the order works on unchanged.
        """
        known = self._notes.get(instrument.symbol, order_id)
        if known is None or known.price is None:
            known = await self.look_up(instrument, order_id)
        if known.price is None:
            raise Unsupported(f"{instrument.symbol}: only limit orders can be amended")
        if not instrument.is_perp:
            return await self._make_smaller(instrument, known, price, quantity)
        params = {
            "symbol": instrument.native,
            "side": known.side.value.upper(),
            "quantity": venue_quantity(instrument, known.quantity if quantity is None else quantity),
            "price": venue_price(instrument, known.price if price is None else price),
            **_named_by(order_id),
        }
        try:
            row = await self._send("PUT", params, 0, Urgency.ORDER, counts=True)
        except PostOnlyWouldTake:
            found = await self.look_up(instrument, order_id)
            if found.state.is_final:
                return found
            raise
        except VenueError as error:
            if error.code.lstrip("-").isdigit() and int(error.code) in ALREADY_SO:
                return await self.look_up(instrument, order_id)
            raise
        return self._told(instrument, row)

    async def _make_smaller(
        self, instrument: Instrument, known: OrderUpdate, price: Decimal | None, quantity: Decimal | None
    ) -> OrderUpdate:
        """Make a spot order smaller; it keeps its place in the queue, and its client id because that is asked for."""
        if price not in (None, known.price) or quantity is None or quantity >= known.quantity:
            raise Unsupported("binance spot can only make an order smaller: cancel it and place another")
        params: Params = {
            "symbol": instrument.native,
            "orderId": known.venue_order_id,
            "newQty": venue_quantity(instrument, quantity),
            "newClientOrderId": known.client_id,
        }
        path = "/api/v3/order/amend/keepPriority"
        reply = await self._rest.signed("PUT", path, params, AmendReply, weight=4, urgency=Urgency.ORDER)
        told = reply.amendedOrder
        row = OrderRow(
            symbol=told.symbol,
            orderId=told.orderId,
            clientOrderId=told.clientOrderId,
            status=told.status,
            side=told.side,
            type=told.type,
            timeInForce=told.timeInForce,
            price=told.price,
            origQty=told.qty,
            executedQty=told.executedQty,
            transactTime=reply.transactTime,
        )
        return self._told(instrument, row)

    async def withdraw(self, instrument: Instrument, order_id: str) -> OrderUpdate:
        """Cancel a working order; the answer says how it ended."""
        params = {"symbol": instrument.native, **_named_by(order_id)}
        return self._told(instrument, await self._send("DELETE", params, 1, Urgency.CANCEL))

    async def look_up(self, instrument: Instrument, order_id: str) -> OrderUpdate:
        """Return what became of an order, open or closed.

        The venue forgets an order that ended without a fill after three days, others after ninety.
        """
        params = {"symbol": instrument.native, **_named_by(order_id)}
        row = await self._rest.signed("GET", "order", params, OrderRow, weight=self._rest.product.query)
        return self._told(instrument, row)

    async def open_orders(self, instrument: Instrument | None) -> list[OrderUpdate]:
        """Return the working orders of an instrument, or of the whole interface, oldest first."""
        product = self._rest.product
        params = {} if instrument is None else {"symbol": instrument.native}
        weight = product.open_all if instrument is None else product.open_one
        rows = await self._rest.signed("GET", "openOrders", params, list[OrderRow], weight=weight)
        rows.sort(key=lambda row: (row.time, row.orderId))
        listed = [(self._listed(row.symbol), row) for row in rows]
        return [self._told(found, row) for found, row in listed if found is not None]

    def _told(self, instrument: Instrument, row: OrderRow) -> OrderUpdate:
        update = order_update(instrument, row)
        self._notes.note(update)
        return update

    async def _send(self, method: str, params: Params, weight: int, urgency: Urgency, counts: bool = False) -> OrderRow:
        if self._socket is not None and self._socket[1].status.state is LinkState.LIVE:
            handler, client = self._socket
            name = _METHODS[method]
            return await handler.calls.call(
                client.send, name, params, OrderRow, weight=weight, urgency=urgency, counts_as_order=counts
            )
        return await self._rest.signed(
            method, "order", params, OrderRow, weight=weight, urgency=urgency, counts_as_order=counts
        )


def _named_by(order_id: str) -> dict[str, str | int]:
    return {"orderId": order_id} if is_venue_id(order_id) else {"origClientOrderId": order_id}
