"""The venue's orders and executions: open ones by id, recent final ones, and ids that never repeat."""

from __future__ import annotations

from collections import deque

import msgspec

from drivers.paper.state import PaperOrder, pack
from engine.kernel.errors import OrderNotFound
from engine.kernel.orders import Fill, OrderRequest, OrderState

_CLOSED_KEPT = 2_000
_FILLS_KEPT = 10_000
_SAVED = 250
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_decode_order = msgspec.json.Decoder(PaperOrder)
_decode_fill = msgspec.json.Decoder(Fill)


def base36(number: int) -> str:
    """Return a non-negative integer in base 36."""
    digits = ""
    while True:
        number, rest = divmod(number, 36)
        digits = _DIGITS[rest] + digits
        if not number:
            return digits


class Registry:
    """Orders and executions of one account.

    Args:
        epoch: Prefix of every id given out, so that ids of different accounts differ.
        next_order: Number of the next order.
        next_trade: Number of the next execution.
    """

    def __init__(self, epoch: str, next_order: int = 1, next_trade: int = 1) -> None:
        self.epoch = epoch
        self.next_order = next_order
        self.next_trade = next_trade
        self.open: dict[str, PaperOrder] = {}
        self.fills: deque[Fill] = deque(maxlen=_FILLS_KEPT)
        self._closed: deque[PaperOrder] = deque(maxlen=_CLOSED_KEPT)
        self._by_client: dict[str, PaperOrder] = {}
        self._saved_closed: deque[msgspec.Raw] = deque(maxlen=_SAVED)
        self._saved_fills: deque[msgspec.Raw] = deque(maxlen=_SAVED)

    def restore(self, orders: list[PaperOrder], closed: list[msgspec.Raw], fills: list[msgspec.Raw]) -> None:
        """Take back what an earlier run saved."""
        for raw in closed:
            order = _decode_order.decode(raw)
            self._closed.append(order)
            self._by_client[order.client_id] = order
        for order in orders:
            self.open[order.id] = order
            self._by_client[order.client_id] = order
        self.fills.extend(_decode_fill.decode(raw) for raw in fills)
        self._saved_closed.extend(closed)
        self._saved_fills.extend(fills)

    def saved(self) -> tuple[list[PaperOrder], list[msgspec.Raw], list[msgspec.Raw]]:
        """Return open orders, recent final orders and recent executions for saving."""
        return list(self.open.values()), list(self._saved_closed), list(self._saved_fills)

    def new_order(self, request: OrderRequest, ts: int) -> PaperOrder:
        """Return an order for a request; it gets its number when it is accepted by `add`."""
        return PaperOrder(
            id="",
            client_id=request.client_id,
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            quantity=request.quantity,
            price=request.price,
            trigger_price=request.trigger_price,
            reduce_only=request.reduce_only,
            priority=0,
            ts=ts,
        )

    def new_priority(self) -> int:
        """Return a place in time behind every order so far."""
        number = self.next_order
        self.next_order += 1
        return number

    def new_trade_id(self) -> str:
        """Return the id of the next execution."""
        number = self.next_trade
        self.next_trade += 1
        return f"{self.epoch}t{number}"

    def add(self, order: PaperOrder) -> None:
        """Accept a new order: number it and register it as working."""
        order.priority = self.new_priority()
        order.id = f"{self.epoch}-{order.priority}"
        order.client_id = order.client_id or f"{self.epoch}c{order.priority}"
        self.open[order.id] = order
        self._by_client[order.client_id] = order

    def close(self, order: PaperOrder, state: OrderState, reason: str = "") -> None:
        """Move an order to a final state."""
        order.state = state
        order.reason = reason or order.reason
        del self.open[order.id]
        if len(self._closed) == _CLOSED_KEPT:
            oldest = self._closed.popleft()
            if self._by_client.get(oldest.client_id) is oldest:
                del self._by_client[oldest.client_id]
        self._closed.append(order)
        self._saved_closed.append(pack(order))

    def record_fill(self, fill: Fill) -> None:
        """Remember an execution."""
        self.fills.append(fill)
        self._saved_fills.append(pack(fill))

    def knows_client_id(self, client_id: str) -> bool:
        """Return whether a client id is in use or was used recently."""
        return client_id in self._by_client

    def find(self, order_id: str, symbol: str) -> PaperOrder:
        """Return an order, open or recent, by client id or venue id.

        Raises:
            OrderNotFound: No such order of this symbol is known.
        """
        order = self._by_client.get(order_id) or self.open.get(order_id)
        if order is None:
            order = next((o for o in reversed(self._closed) if o.id == order_id), None)
        if order is None or order.symbol != symbol:
            raise OrderNotFound(f"order {order_id!r} of {symbol} is not known to the paper venue", request=order_id)
        return order

    def find_open(self, order_id: str, symbol: str) -> PaperOrder:
        """Return a working order by client id or venue id.

        Raises:
            OrderNotFound: It is not known or no longer open; the message says which.
        """
        order = self.find(order_id, symbol)
        if not order.is_open:
            raise OrderNotFound(
                f"order {order_id!r} of {symbol} is {order.state} already ({order.filled} filled)", request=order_id
            )
        return order
