"""The closing summary of a run: what was traded, and on paper the proof that cash, positions and fees add up."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from engine.boot.system import System
from engine.kernel.event_bus import EventBus
from engine.runtime.events import FillBooked, OrderChanged

ZERO = Decimal(0)


class Tally:
    """Counts orders and fills of a run.

    Args:
        bus: Where they are published.
    """

    def __init__(self, bus: EventBus) -> None:
        self._orders: set[str] = set()
        self.fills = 0
        bus.subscribe(OrderChanged, lambda event: self._orders.add(event.order.client_id))
        bus.subscribe(FillBooked, self._count_fill)

    @property
    def orders(self) -> int:
        """Return how many different orders changed."""
        return len(self._orders)

    def _count_fill(self, event: FillBooked) -> None:
        self.fills += 1


def summary(system: System, tally: Tally) -> dict[str, Any]:
    """Return the account at the end of a run, with decimals exact.

    For each currency `deposits + realised + spot + funding + insurance - fees = cash`; `difference` is what is
    missing, 0 unless money was lost or made without a cause; only the paper venue can be audited so, of a real one
    the balances are told. `ledgers_agree` compares the engine's ledgers with the venue's positions.
    """
    engine = system.engine
    rows = engine.portfolio.positions()
    return {
        "type": "summary",
        "ts": system.clock.now_ms(),
        "account": f"{system.account.venue}/{system.account.name}",
        "market": system.market_label,
        "mode": system.account.mode,
        "orders": tally.orders,
        "fills": tally.fills,
        **_money(system),
        "positions": [
            {
                "symbol": row.symbol,
                "quantity": row.quantity,
                "entry_price": row.entry_price,
                "mark_price": row.mark_price,
                "notional": row.notional,
                "realised": row.realised,
                "unrealised": row.unrealised,
                "fees": row.fees,
                "funding": row.funding,
            }
            for row in rows
        ],
        "strategies": [
            {
                "instance": view.name,
                "strategy": view.strategy,
                "symbols": view.symbols,
                "state": view.state,
                "profit": view.profit,
                "open_orders": view.open_orders,
                "why": view.why or view.reason,
            }
            for view in system.manager.views()
        ],
        "open_orders": len(engine.tracker.working()),
        "equity": engine.portfolio.equity(),
        "ledgers_agree": all(row.venue_quantity in (None, row.quantity) for row in rows),
    }


def _money(system: System) -> dict[str, Any]:
    """Return the audit of a paper account, the balances of a real one."""
    if system.paper is None:
        return {"balances": system.engine.portfolio.balances()}
    audit = system.paper.audit()
    return {
        "money": [
            {
                "currency": line.currency,
                "deposits": line.deposits,
                "realised": line.realised,
                "spot": line.spot,
                "funding": line.funding,
                "insurance": line.insurance,
                "fees": line.fees,
                "cash": line.cash,
                "unrealised": line.unrealised,
                "equity": line.equity,
                "difference": line.difference,
            }
            for line in audit
        ],
        "adds_up": all(line.difference == ZERO for line in audit),
    }
