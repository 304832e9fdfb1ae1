"""Where own orders stand in the queue, estimated from what was shown before them and what traded since."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from engine.kernel.market import Trade
from engine.kernel.orderbook import OrderBook
from engine.kernel.orders import Order, OrderState, OrderType, Side

_EPS = 1e-9


class QueuePlaces:
    """Size ahead of each resting order at its price.

    Counted from the size that the book showed when the order came to rest, less what traded at the price, never more
    than what is shown now.

    Args:
        book: Gives the live book of a symbol.
    """

    def __init__(self, book: Callable[[str], OrderBook]) -> None:
        self._book = book
        self._ahead: dict[str, tuple[Order, Decimal | None, float]] = {}

    def on_order(self, order: Order) -> None:
        """Follow an order that came to rest; forget one that is done."""
        if order.state.is_final:
            self._ahead.pop(order.client_id, None)
            return
        if order.state not in (OrderState.OPEN, OrderState.PARTIAL) or order.type is OrderType.STOP:
            return
        known = self._ahead.get(order.client_id)
        if known is None or known[1] != order.price:
            self._ahead[order.client_id] = (order, order.price, self._shown(order))

    def on_trade(self, trade: Trade) -> None:
        """Let a print shorten the queue at its price."""
        for client_id, (order, price, ahead) in self._ahead.items():
            if order.symbol == trade.symbol and price is not None and trade.side is order.side.opposite:
                gap = (trade.price - float(price)) * order.side.sign
                if gap < _EPS:
                    self._ahead[client_id] = (order, price, max(0.0, ahead - trade.size) if gap > -_EPS else 0.0)

    def ahead(self, order: Order) -> Decimal | None:
        """Return the size ahead in base coins, None where it is not known."""
        known = self._ahead.get(order.client_id)
        if known is None:
            return None
        return Decimal(f"{min(known[2], self._shown(order)):.4g}")

    def _shown(self, order: Order) -> float:
        book = self._book(order.symbol)
        levels = book.bids if order.side is Side.BUY else book.asks
        return levels.get(float(order.price), 0.0) if order.price is not None else 0.0
