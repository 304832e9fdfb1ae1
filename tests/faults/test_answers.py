"""Requests whose answers are lost, cut, late, wrong or say nothing: no order twice, and the truth is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.kernel.orders import OrderState
from tests.faults.desk import BUY, Desk, each_venue, play


@each_venue
@pytest.mark.parametrize("how", ["reset", "silence"])
def test_n01_an_order_that_never_reached_the_venue_is_given_up_and_the_symbol_trades_again(
    venue: str, how: str, tmp_path: Path
) -> None:
    async def story(desk: Desk) -> None:
        if how == "reset":
            desk.emulator.faults.lose_request(desk.wire.place)
        else:
            desk.proxy.black_hole("rest")
        client_id, given_s = desk.give(), desk.loop.time()
        await desk.ends(client_id, OrderState.UNKNOWN)
        assert [order.client_id for order in desk.engine.tracker.working()] == [client_id], "it counts as exposure"
        desk.proxy.clear()
        await desk.ends(client_id, OrderState.NEVER_ACCEPTED, 60)
        assert desk.loop.time() - given_s >= 20
        assert desk.taken() == 0
        again = await desk.rest()
        await desk.agrees()
        assert desk.taken() == 1 and desk.order(again).state is OrderState.OPEN
        assert len(desk.placements()) == (2 if how == "reset" else 1)

    play(venue, tmp_path, story)


@each_venue
def test_n02_an_order_whose_answer_is_lost_is_found_by_its_client_id(venue: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        desk.emulator.faults.mute(desk.wire.account_channels)
        desk.emulator.faults.lose_response(desk.wire.place)
        client_id = desk.give()
        await desk.ends(client_id, OrderState.UNKNOWN)
        await desk.ends(client_id, OrderState.OPEN, 10)
        assert desk.order(client_id).client_id == client_id and desk.order(client_id).venue_order_id
        await desk.wait(30)
        await desk.agrees()
        assert desk.taken() == len(desk.placements()) == 1

    play(venue, tmp_path, story)


@each_venue
def test_n03_an_order_that_filled_and_went_before_anybody_asked_is_booked_once(venue: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        desk.emulator.faults.mute(desk.wire.account_channels)
        desk.emulator.faults.lose_response(desk.wire.place)
        client_id = desk.give(BUY, "0.02", None)
        await desk.ends(client_id, OrderState.UNKNOWN)
        assert not desk.emulator.exchange.open_orders()
        await desk.ends(client_id, OrderState.FILLED, 15)
        await desk.agrees()
        await desk.wait(40)
        assert not desk.differences()
        assert desk.taken() == len(desk.placements()) == 1

    play(venue, tmp_path, story)
