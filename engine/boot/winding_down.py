"""Brings a running system to rest before it stops: nothing new is sent, strategies sleep, resting orders as configured.

Strategies keep their memory as it is at that moment and hear at the next start what happened to their orders
meanwhile. What they hold stays: nothing is flattened because the program stops.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from engine.boot.system import System
from engine.io.settings import OnLost, OnStop
from engine.kernel.orders import Order
from engine.runtime.events import OrderChanged

CONFIRM_S = 8.0
"""So long the venue's answers to cancels are waited for; they are due within 10 s of the signal."""
_STOPPING = "the program is stopping: nothing is sent any more"


@dataclass(frozen=True, slots=True)
class StopReport:
    """What became of resting orders.

    Attributes:
        policy: What was to be done with them.
        cancelled: Those that the venue confirmed gone.
        unconfirmed: Those that had to go and may still rest.
        kept: Those that go on resting at the venue.
        cover: Who goes on cancelling those that are not confirmed, in words.
        held: Stops that only this program would have sent.
        positions: How many positions stay open.
        is_paper: Whether the market stands still for this account while the program is stopped.
        is_needed: Whether the system had started, so that there is something to tell.
    """

    policy: OnStop
    cancelled: tuple[Order, ...] = ()
    unconfirmed: tuple[Order, ...] = ()
    kept: tuple[Order, ...] = ()
    held: tuple[Order, ...] = ()
    positions: int = 0
    cover: str = ""
    is_paper: bool = False
    is_needed: bool = True

    @property
    def lines(self) -> list[str]:
        """Return the report for people, one fact a line."""
        meanwhile = "on paper, until the next start" if self.is_paper else "at the venue and can fill meanwhile"
        lines = [f"stopped with on_stop: {self.policy}"]
        for orders, what in (
            (self.cancelled, "cancelled"),
            (self.unconfirmed, "NOT CONFIRMED cancelled, may still rest: look at the venue, or start again"),
            (self.kept, f"rests {meanwhile}"),
            (self.held, "does not work while this program is stopped: the venue does not know this stop"),
        ):
            lines += [f"  {_words(order)}: {what}" for order in orders]
        if self.cover:
            lines.append(f"  {self.cover}")
        if not (self.cancelled or self.unconfirmed or self.kept or self.held):
            lines.append("  no order rests")
        if self.positions:
            some = "position stays" if self.positions == 1 else "positions stay"
            lines.append(
                f"  {self.positions} {some} open" + ("" if self.is_paper else ", and nobody watches meanwhile")
            )
        return lines


def stop_policy(system: System) -> OnStop:
    """Return what becomes of resting orders when this system stops."""
    return system.config.on_stop or ("cancel" if system.choice.is_live else "keep")


def loss_policy(system: System) -> OnLost:
    """Return what happens when the terminal is lost."""
    return system.config.console.on_terminal_lost or ("detach" if system.choice.is_live else "stop")


async def wind_down(system: System, policy: OnStop, hurry: asyncio.Event, limit_s: float = CONFIRM_S) -> StopReport:
    """Bring a system to rest and say what became of its orders.

    Args:
        system: The system; where it has not started, nothing is done.
        policy: What becomes of resting orders.
        hurry: Set when the end cannot wait for the venue any more.
        limit_s: So long confirmations are waited for.
    """
    if not system.ready:
        return StopReport(policy, is_needed=False)
    engine, tracker = system.engine, system.engine.tracker
    engine.desk.stopping = _STOPPING
    system.manager.sleep_all()
    asked: list[str] = []
    if policy == "cancel":
        engine.works.end_all(_STOPPING)
        asked = engine.cancel_all(keep_protective=True, by="the program is stopping")
        await _confirmed(system, asked, hurry, limit_s)
    engine.works.sleep()
    engine.desk.is_frozen = True
    told = [order for client_id in asked if (order := tracker.get(client_id)) is not None]
    kept = [order for order in tracker.working() if order.client_id not in set(asked) and not order.external]
    unconfirmed = tuple(order for order in told if order.is_open)
    report = StopReport(
        policy,
        tuple(order for order in told if not order.is_open),
        unconfirmed,
        tuple(order for order in kept if not order.held),
        tuple(order for order in kept if order.held),
        sum(1 for row in engine.portfolio.positions() if row.quantity),
        system.cover.leave(unconfirmed) if unconfirmed and system.choice.is_live else "",
        is_paper=not system.choice.is_live,
    )
    engine.oplog("ProgramStop", policy=policy, det="; ".join(line.strip() for line in report.lines))
    return report


async def _confirmed(system: System, asked: list[str], hurry: asyncio.Event, limit_s: float) -> None:
    """Wait until the venue has confirmed that none of the orders works, or until the time is over."""
    tracker, left, done = system.engine.tracker, set(asked), asyncio.Event()

    def look(event: OrderChanged | None = None) -> None:
        left.difference_update([name for name in left if (order := tracker.get(name)) is None or not order.is_open])
        if not left:
            done.set()

    unsubscribe = system.bus.subscribe(OrderChanged, look)
    look()
    waits = [asyncio.ensure_future(done.wait()), asyncio.ensure_future(hurry.wait())]
    try:
        await asyncio.wait(waits, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        unsubscribe()
        for wait in waits:
            wait.cancel()


def _words(order: Order) -> str:
    at = order.price if order.price is not None else order.trigger_price
    return f"#{order.label} {order.side.value} {order.remaining.normalize():f} {order.symbol} @ {at}"
