"""One order at OKX: new, changed, cancelled, looked up; over REST or the private socket.

An acknowledgement only says that the venue took the request: whether an order rests, was amended or is cancelled is
told by the account's stream, or by a query.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from drivers.okx import codec
from drivers.okx.errors import error_from, order_error_from
from drivers.okx.history import History
from drivers.okx.private import PrivateSocket
from drivers.okx.rest import OkxRest
from drivers.okx.symbols import Contract
from drivers.okx.wire import Ack, OrderRow
from drivers.transport.gateway import is_venue_id
from drivers.transport.line_decoder import understanding
from drivers.transport.rate_limits import Cost, Urgency
from engine.kernel.clock import Clock
from engine.kernel.errors import ClockSkew, CtosError, OrderNotFound, UnknownOutcome, VenueError, VenueUnavailable
from engine.kernel.orders import OrderRequest, OrderState, OrderUpdate

ZERO = Decimal(0)
AMEND_WAIT_S = 1.0
AMEND_LOOKS = 3
KEPT_ORDERS = 5_000
CANCEL_BATCH = 20
_SOCKET_REFUSES = frozenset({"60012", "60018", "51001"})
"""The socket did not understand the request or the instrument's code: nothing was done, REST may know better."""


class Orders:
    """Carries out orders.

    Args:
        rest: The REST interface.
        history: Finds orders that are done.
        contract: Returns the contract of a canonical symbol.
        clock: Timers.
        spot_mode: Returns the trade mode of spot orders in this account.
        socket: Returns the private socket, for orders over it; None for REST only.
        new_id: Returns an id that nobody used yet, for an amendment.
    """

    def __init__(
        self,
        rest: OkxRest,
        history: History,
        contract: Callable[[str], Contract],
        clock: Clock,
        spot_mode: Callable[[], str],
        socket: Callable[[], PrivateSocket | None],
        new_id: Callable[[], str],
    ) -> None:
        self._rest = rest
        self._history = history
        self._contract = contract
        self._clock = clock
        self._spot_mode = spot_mode
        self._socket = socket
        self._new_id = new_id
        self._known: OrderedDict[str, OrderUpdate] = OrderedDict()
        self._amendments: dict[str, asyncio.Future[OrderRow]] = {}

    def note(self, row: OrderRow, update: OrderUpdate) -> None:
        """Take in what the account's stream says about an order."""
        self._remember(update)
        waiting = self._amendments.get(row.reqId) if row.amendResult else None
        if waiting is not None and not waiting.done():
            waiting.set_result(row)

    async def submit(self, request: OrderRequest) -> OrderUpdate:
        """Send a new order; the answer is an acknowledgement, state SENT."""
        contract = self._contract(request.symbol)
        body = codec.order_body(request, contract, self._spot_mode())
        cost: Cost = ((f"order/{contract.native}", 1), ("order_changes", 1))
        what = f"order {request.client_id} {request.side.value} {request.symbol}"
        ack = await self._send_order("order", "/trade/order", body, contract, cost, what)
        update = OrderUpdate(
            client_id=request.client_id,
            venue_order_id=ack.ordId,
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            state=OrderState.SENT,
            quantity=request.quantity,
            price=request.price if request.type.has_price else None,
            filled=ZERO,
            ts=int(ack.ts) if ack.ts.isdecimal() else 0,
            reduce_only=request.reduce_only,
        )
        if request.client_id not in self._known:  # the stream may have been faster
            self._remember(update)
        return update

    async def change(self, order_id: str, symbol: str, price: Decimal | None, quantity: Decimal | None) -> OrderUpdate:
        """Change price and total quantity; returns when the stream or a query shows the result."""
        contract = self._contract(symbol)
        number = self._new_id()
        body: dict[str, Any] = {"instId": contract.native, **_order_id(order_id), "reqId": number}
        if price is not None:
            body["newPx"] = codec.plain(price)
        if quantity is not None:
            body["newSz"] = codec.to_contracts(quantity, contract)
        cost: Cost = ((f"amend/{contract.native}", 1), ("order_changes", 1))
        waiting: asyncio.Future[OrderRow] = asyncio.get_running_loop().create_future()
        self._amendments[number] = waiting
        what = f"amendment of {order_id} {symbol}"
        trouble = ""
        try:
            await self._send_order("amend-order", "/trade/amend-order", body, contract, cost, what)
            for _ in range(AMEND_LOOKS):
                row = await self._stream_says(waiting)
                if row is not None:
                    return _amended(row, contract, what)
                try:
                    update = await self.look_up(order_id, symbol)
                except CtosError as error:
                    # The venue took the amendment: no failure to look says that it was not carried out.
                    trouble = f"; {error}"
                    continue
                if update.state.is_final or _has_terms(update, price, quantity):
                    return update
        finally:
            del self._amendments[number]
        raise UnknownOutcome(f"okx: {what}: taken, but not done within {AMEND_WAIT_S * AMEND_LOOKS:.0f} s{trouble}")

    async def withdraw(self, order_id: str, symbol: str) -> OrderUpdate:
        """Cancel an order; the acknowledgement does not say that it is cancelled."""
        contract = self._contract(symbol)
        what = f"cancellation of {order_id} {symbol}"
        ids = _order_id(order_id)
        await self._rest.admit(((f"cancel/{contract.native}", 1),), Urgency.CANCEL)
        socket = self._socket()
        if socket is not None and socket.is_live and contract.code is not None:
            try:
                args = {"instIdCode": contract.code, **ids}
                ack = await socket.operate("cancel-order", args, what, urgent=False)
                return await self._canceling(order_id, symbol, ack)
            except VenueError as error:
                if error.code not in _SOCKET_REFUSES:
                    raise
        body = {"instId": contract.native, **ids}
        acks = await self._rest.cancel_requests("/trade/cancel-order", body)
        self._check_cancel(acks[0], what)
        return await self._canceling(order_id, symbol, acks[0])

    async def withdraw_all(self, orders: list[OrderUpdate]) -> list[OrderUpdate]:
        """Cancel orders in batches; one that is done meanwhile is left out.

        Raises:
            CtosError: Some could not be cancelled; all were tried.
        """
        canceled: list[OrderUpdate] = []
        failures: list[CtosError] = []
        for begin in range(0, len(orders), CANCEL_BATCH):
            batch = orders[begin : begin + CANCEL_BATCH]
            body = [{"instId": self._contract(o.symbol).native, "ordId": o.venue_order_id} for o in batch]
            try:
                await self._rest.admit((("cancel_batch", len(batch)),), Urgency.CANCEL)
                acks = await self._rest.cancel_requests("/trade/cancel-batch-orders", body)
            except CtosError as error:
                failures.append(error)
                continue
            told = {ack.ordId: ack for ack in acks}
            for order in batch:
                what = f"cancellation of {order.client_id or order.venue_order_id} {order.symbol}"
                try:
                    self._check_cancel(told.get(order.venue_order_id, Ack()), what)
                except OrderNotFound:
                    continue
                except CtosError as error:
                    failures.append(error)
                else:
                    canceled.append(replace(order, state=OrderState.SENT, ts=0))
        if failures:
            raise failures[0]
        return canceled

    async def look_up(self, order_id: str, symbol: str) -> OrderUpdate:
        """Return what became of an order, wherever the venue keeps it."""
        update = await self._history.find_order(order_id, self._contract(symbol))
        self._remember(update)
        return update

    async def _send_order(
        self, operation: str, path: str, body: dict[str, Any], contract: Contract, cost: Cost, what: str
    ) -> Ack:
        """Send over the socket when it is live and the instrument has a code there, else over REST."""
        await self._rest.admit(cost, Urgency.ORDER)
        socket = self._socket()
        if socket is not None and socket.is_live and contract.code is not None:
            args = {"instIdCode": contract.code, **{name: value for name, value in body.items() if name != "instId"}}
            try:
                return await socket.operate(operation, args, what, urgent=True)
            except ClockSkew:
                await self._rest.resync()  # the venue did not look at it: REST signs it anew
            except VenueError as error:
                self._rest.learned(error)
                if error.code not in _SOCKET_REFUSES:
                    raise
        return await self._rest.order_request(path, body, what)

    def _check_cancel(self, ack: Ack, what: str) -> None:
        if not ack.sCode:
            raise VenueUnavailable(f"okx: {what}: the answer does not tell its result")
        if ack.sCode != "0":
            raise self._rest.learned(error_from(ack.sCode, ack.sMsg, what))

    async def _canceling(self, order_id: str, symbol: str, ack: Ack) -> OrderUpdate:
        """Return the order as last heard of, being cancelled; one that was never heard of is looked up."""
        known = self._known.get(order_id)
        if known is None:
            return await self.look_up(order_id, symbol)
        return replace(known, venue_order_id=ack.ordId or known.venue_order_id, state=OrderState.SENT, ts=0, reason="")

    async def _stream_says(self, waiting: asyncio.Future[OrderRow]) -> OrderRow | None:
        """Return what the stream tells of an amendment, None when it tells nothing in time."""
        late: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self._clock.call_later(AMEND_WAIT_S, late.set_result, None)
        try:
            await asyncio.wait((waiting, late), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
        return waiting.result() if waiting.done() else None

    def _remember(self, update: OrderUpdate) -> None:
        known = self._known
        for order_id in (update.client_id, update.venue_order_id):
            if order_id:
                known[order_id] = update
                known.move_to_end(order_id)
        while len(known) > KEPT_ORDERS:
            known.popitem(last=False)


def _order_id(order_id: str) -> dict[str, str]:
    return {"ordId" if is_venue_id(order_id) else "clOrdId": order_id}


def _has_terms(update: OrderUpdate, price: Decimal | None, quantity: Decimal | None) -> bool:
    return (price is None or update.price == price) and (quantity is None or update.quantity == quantity)


def _amended(row: OrderRow, contract: Contract, what: str) -> OrderUpdate:
    """Return the order after an amendment; -1 says that it failed and the order stands as it was."""
    if row.amendResult == "-1":
        raise order_error_from(row.code, row.msg, what)
    with understanding(f"okx: {what}"):
        return codec.order_update(row, contract)
