"""Makes the parts that incremental orders and targets are built of: soft orders and market orders."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from engine.kernel.strategy import DeadlinePolicy
from engine.runtime.work.desk import OrderDesk
from engine.runtime.work.execution import Execution, OnChange, OnDone
from engine.runtime.work.market import MarketOrder
from engine.runtime.work.pricing import SoftParams
from engine.runtime.work.soft import SoftOrder
from engine.runtime.work.ticket import Ticket


def new_part(
    desk: OrderDesk,
    ticket: Ticket,
    soft: bool,
    deadline_s: float,
    policy: DeadlinePolicy,
    params: SoftParams,
    on_done: OnDone,
    on_change: OnChange,
    budget: Decimal | None = None,
) -> Execution:
    """Return a soft order or a market order, not started yet."""
    if soft:
        return SoftOrder(desk, ticket, deadline_s, policy, params, on_done, on_change, budget)
    return MarketOrder(desk, ticket, on_done, on_change)


def load_part(
    desk: OrderDesk, body: dict[str, Any], params: SoftParams, on_done: OnDone, on_change: OnChange
) -> Execution:
    """Return the part that `to_dict` saved; `resume` sets it going."""
    if body["kind"] == SoftOrder.kind:
        return SoftOrder.from_dict(desk, body, params, on_done, on_change)
    return MarketOrder.from_dict(desk, body, on_done, on_change)
