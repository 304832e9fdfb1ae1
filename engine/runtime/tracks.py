"""How far orders have come, as a strategy asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from engine.kernel.orders import Order, OrderTrack
from engine.runtime.execution import ExecutionEngine
from engine.runtime.given import given_texts

ZERO = Decimal(0)


def track_orders(engine: ExecutionEngine, instance: str, coins: Sequence[str], cids: Sequence[str]) -> list[OrderTrack]:
    """Return a row for each soft order of an instance at work, then for each order that belongs to none.

    Args:
        engine: The account's engine.
        instance: Whose orders.
        coins: Coins or symbols; empty for all.
        cids: Client ids or handles; empty for all that works. An order that is named may be final.

    Raises:
        InvalidOrder: Coins or ids are no list of texts.
        UnknownSymbol: A coin is not listed.
    """
    symbols = {engine.resolve(coin).symbol for coin in given_texts("track_orders: coins", coins)}
    named = given_texts("track_orders: cids", cids)
    soft = [row for row in (item.track() for item in engine.active_work(instance)) if row is not None]
    at_work = {row.order for row in soft}
    known = (engine.tracker.get(client_id) for client_id in named)
    final = [order for order in known if order is not None and order.instance == instance and order.state.is_final]
    plain = [order for order in engine.tracker.working(instance=instance) if order.client_id not in at_work]
    rows = soft + [_row(order) for order in (*plain, *final)]
    return [
        row
        for row in rows
        if (not symbols or row.symbol in symbols) and (not named or row.id in named or row.order in named)
    ]


def _row(order: Order) -> OrderTrack:
    is_final = order.state.is_final
    return OrderTrack(
        id=order.client_id,
        symbol=order.symbol,
        side=order.side,
        filled=order.filled,
        remaining=ZERO if is_final else order.remaining,
        order="" if is_final else order.client_id,
    )
