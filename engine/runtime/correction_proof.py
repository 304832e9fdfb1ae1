"""What must be known before a difference between the venue and our ledgers may be acted on. Plain functions."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.kernel.clock import NS_PER_S
from engine.kernel.orders import Order, OrderState, Pending
from engine.runtime.execution import ExecutionEngine
from engine.runtime.risk.checks import STALE_MS

APART_NS = 5 * NS_PER_S
ZERO = Decimal(0)
_IN_DOUBT = (OrderState.INTENT, OrderState.SENT, OrderState.UNKNOWN)


class Look(msgspec.Struct, frozen=True):
    """One look at the venue: its position, and whether every execution that it lists is booked."""

    ns: int
    quantity: Decimal
    complete: bool


def missing_proof(engine: ExecutionEngine, symbol: str, looks: list[Look]) -> str:
    """Return what is not proved yet, in words; empty when everything is.

    Streams are fresh (but of what does not trade: it may be silent for good); two looks at least 5 s apart show the
    same position; all executions up to then are booked; no order of the symbol is in flight or in doubt.
    """
    trouble = engine.stream.trouble()
    if trouble:
        return trouble
    age_ms = engine.market.age_ms(symbol)
    if engine.market.is_trading(symbol) and (age_ms is None or age_ms > STALE_MS):
        return f"no fresh market data of {symbol}"
    waiting = next((order for order in engine.tracker.working(symbol) if is_unsettled(order)), None)
    if waiting is not None:
        return f"#{waiting.label} is in flight or in doubt"
    if any(order.symbol == symbol for order in engine.tracker.unbooked()):
        return "executions are reported and not booked yet"
    if len(looks) < 2 or looks[-1].ns - looks[0].ns < APART_NS:
        return "the venue is being asked twice"
    first, last = looks[0], looks[-1]
    if first.quantity != last.quantity:
        return f"the venue's position moves: {first.quantity} became {last.quantity}"
    now = engine.portfolio.position(symbol).venue_quantity
    if now is not None and now != last.quantity:
        return f"the venue's position has moved on to {now}"
    if not last.complete:
        return "executions of the venue wait to be booked"
    return ""


def is_unsettled(order: Order) -> bool:
    """Return whether an order may change the position without our knowing how."""
    if order.held:
        return False
    return order.state in _IN_DOUBT or order.pending is not Pending.NONE or order.reported_filled > order.filled
