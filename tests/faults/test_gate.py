"""The gate at the last line before the wire: what waits for a budget or a connection when it closes never leaves."""

from __future__ import annotations

from pathlib import Path

from engine.kernel.orders import OrderState
from tests.faults.desk import Desk, each_venue, play


def be_busy(desk: Desk) -> None:
    """Refuse the next order for too many requests, so that further ones wait for a second."""
    busy = desk.wire.busy
    desk.emulator.faults.answer(desk.wire.place, busy.status, busy.body, {"Retry-After": "1"})


@each_venue
def test_o01_an_order_that_waits_for_the_budget_when_trading_is_halted_never_leaves(venue: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        resting = await desk.rest("59000")
        be_busy(desk)
        refused = desk.give(price="59100")
        await desk.until(lambda: not desk.order(refused).is_open)
        sent = len(desk.placements())
        waiting = desk.give(price="59200")
        await desk.wait(0.3)
        assert desk.order(waiting).state is OrderState.SENT and len(desk.placements()) == sent, "it waits"
        desk.engine.panic("operator", "fire")
        await desk.ends(waiting, OrderState.NEVER_SENT, 10)
        await desk.ends(resting, OrderState.CANCELED, 10)
        await desk.wait(10)
        assert len(desk.placements()) == sent and desk.resting() == []
        await desk.agrees()

    play(venue, tmp_path, story)


@each_venue
def test_an_order_that_is_cancelled_while_it_waits_never_leaves(venue: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        be_busy(desk)
        refused = desk.give(price="59100")
        await desk.until(lambda: not desk.order(refused).is_open)
        sent = len(desk.placements())
        waiting = desk.give(price="59200")
        await desk.wait(0.3)
        desk.engine.cancel(waiting)
        await desk.ends(waiting, OrderState.NEVER_SENT, 10)
        await desk.wait(5)
        assert len(desk.placements()) == sent and desk.resting() == []

    play(venue, tmp_path, story)
