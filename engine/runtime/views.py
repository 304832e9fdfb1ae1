"""What lists show of strategy instances."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.kernel.scheduler import InstanceState
from engine.runtime.execution import ExecutionEngine
from engine.runtime.instance import StrategyInstance


class InstanceView(msgspec.Struct, frozen=True):
    """One instance; `why` says why it is not trading, empty when it is. Money in USD."""

    name: str
    strategy: str
    symbols: tuple[str, ...]
    state: InstanceState
    reason: str
    why: str
    profit: Decimal
    notional: Decimal
    open_orders: int
    last_word: str
    last_event_ms: int


def view_of(engine: ExecutionEngine, instance: StrategyInstance) -> InstanceView:
    """Return what lists show of an instance now."""
    return InstanceView(
        name=instance.name,
        strategy=instance.strategy_class.name,
        symbols=instance.symbols,
        state=instance.life.state,
        reason=instance.life.reason,
        why=instance.why,
        profit=instance.profit(),
        notional=engine.portfolio.instance_notional(instance.name),
        open_orders=len(engine.tracker.working(instance=instance.name)),
        last_word=instance.last_word,
        last_event_ms=instance.last_event_ms,
    )
