"""A venue's calls about orders, which answer for what the venue does not list any more as well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal

from drivers.transport.gateway import OrderCalls
from engine.kernel.errors import InvalidOrder, OrderNotFound, UnknownSymbol
from engine.kernel.orders import OrderRequest, OrderUpdate

_NOT_SPOKEN_OF = (InvalidOrder, UnknownSymbol)


class LastingOrderCalls:
    """Passes calls on, and makes sense of a venue that refuses to speak of an instrument that it does not list.

    Nothing rests in such an instrument but what the list of all working orders names: an order that is not in it is
    not found. Without that an order in it would stay in doubt for ever.

    Args:
        calls: The venue's calls.
        is_listed: Whether the venue lists a symbol.
        open_orders: Asks for the working orders of all symbols.
    """

    def __init__(
        self,
        calls: OrderCalls,
        is_listed: Callable[[str], bool],
        open_orders: Callable[[], Awaitable[list[OrderUpdate]]],
    ) -> None:
        self._calls = calls
        self._is_listed = is_listed
        self._open_orders = open_orders

    async def submit(self, request: OrderRequest) -> OrderUpdate:
        """Send a new order; see `OrderCalls`."""
        return await self._calls.submit(request)

    async def change(self, order_id: str, symbol: str, price: Decimal | None, quantity: Decimal | None) -> OrderUpdate:
        """Change a working order; see `OrderCalls`."""
        return await self._calls.change(order_id, symbol, price, quantity)

    async def withdraw(self, order_id: str, symbol: str) -> OrderUpdate:
        """Cancel a working order; see `OrderCalls`."""
        try:
            return await self._calls.withdraw(order_id, symbol)
        except _NOT_SPOKEN_OF as error:
            if self._is_listed(symbol):
                raise
            raise _not_found(order_id, symbol) from error

    async def look_up(self, order_id: str, symbol: str) -> OrderUpdate:
        """Return what became of an order; see `OrderCalls`."""
        try:
            return await self._calls.look_up(order_id, symbol)
        except _NOT_SPOKEN_OF as error:
            if self._is_listed(symbol):
                raise
            for order in await self._open_orders():
                if order.symbol == symbol and order_id in (order.client_id, order.venue_order_id):
                    return order
            raise _not_found(order_id, symbol) from error


def _not_found(order_id: str, symbol: str) -> OrderNotFound:
    return OrderNotFound(f"{symbol} is not listed any more, and the venue knows no order {order_id} in it")
