"""A real engine with a real journal on the driver of a rig, to hold its books against the venue's truth."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from pathlib import Path

from engine.io.journal import Journal
from engine.io.writer import WriterThread
from engine.kernel.clock import Rng
from engine.kernel.event_bus import EventBus
from engine.kernel.orders import Order, OrderType, Side
from engine.runtime.accounts import MANUAL, Account, AccountLimits
from engine.runtime.events import EngineAlarm, FillBooked
from engine.runtime.execution import ExecutionEngine
from engine.runtime.shell import LoopShell
from tests.venues.conformance.rig import Rig

LIMITS = AccountLimits(max_notional_usd=Decimal(1_000_000), max_order_usd=Decimal(100_000), max_leverage=Decimal(20))


class EngineRig:
    """An engine on a rig's driver.

    Attributes:
        booked: Fills that were delivered.
        alarms: Kinds of the alarms that were raised.
    """

    def __init__(self, rig: Rig, folder: Path) -> None:
        self.rig = rig
        loop = asyncio.get_running_loop()
        self._writer = WriterThread(loop, rig.failures.append)  # type: ignore[arg-type]
        self._journal = Journal(folder / "ctos.db", self._writer, ballast_bytes=0)
        self._shell = LoopShell(loop)
        bus = EventBus(lambda handler, event, error: rig.failures.append(f"{handler!r}: {error!r}"))
        account = Account(0, "conform", rig.venue, default_quote=rig.quote, limits=LIMITS)
        self.engine = ExecutionEngine(
            account, rig.driver, rig.clock, Rng(f"engine of {rig.venue}"), bus, self._journal, self._shell
        )
        self.booked: list[FillBooked] = []
        self.alarms: list[str] = []
        bus.subscribe(FillBooked, self.booked.append)
        bus.subscribe(EngineAlarm, lambda alarm: self.alarms.append(alarm.kind))

    async def start(self) -> EngineRig:
        """Start the engine and arm it."""
        await self.rig.patiently(self.engine.start())
        self.engine.market.watch(self.rig.perp)
        await self.rig.until(lambda: self.engine.market.quote(self.rig.perp) is not None)
        self.engine.arm("test", 1e6)
        return self

    async def close(self) -> None:
        """Stop the engine and close its journal."""
        self.engine.stop()
        self._shell.close()
        self._journal.close()
        self._writer.close()

    def submit(self, side: Side, quantity: str, price: str | None = None) -> Order:
        """Send a limit order, or a market order without a price."""
        kind = OrderType.MARKET if price is None else OrderType.LIMIT
        limit = None if price is None else Decimal(price)
        client_id = self.engine.submit(MANUAL, self.rig.perp, side, kind, Decimal(quantity), limit)
        order = self.engine.tracker.get(client_id)
        assert order is not None
        return order

    @property
    def held(self) -> Decimal:
        """Return what the engine says the account holds."""
        return self.engine.portfolio.quantity(self.rig.perp)

    def agrees(self) -> bool:
        """Return whether fills, position and working orders are the venue's."""
        rig, engine = self.rig, self.engine
        truth = Counter((fill.price, fill.quantity, fill.ts) for fill in rig.executions())
        booked = Counter((event.fill.price, event.fill.quantity, event.fill.ts) for event in self.booked)
        position = next((row.quantity for row in rig.exchange.positions() if row.quantity), Decimal(0))
        same_orders = len(engine.tracker.working()) == len(rig.exchange.open_orders())
        return booked == truth and same_orders and self.held == position and not engine.tracker.unknown()
