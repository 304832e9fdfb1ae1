"""Requests whose answers are lost, cut, late, wrong or say nothing: no order twice, and the truth is found."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from engine.kernel.errors import CtosError, UnknownOutcome
from engine.kernel.orders import OrderRequest, OrderState, OrderType, OrderUpdate
from tests.faults.desk import BUY, Desk, bodies, each_venue, play
from tests.venues.conformance.wire import Trouble

MUTE = (
    Trouble(200, "<html>log in</html>", {"Content-Type": "text/html"}),
    Trouble(200, ""),
    Trouble(200, "{"),
    Trouble(200, "null"),
    Trouble(500, ""),
    Trouble(504, "<html>gateway timeout</html>"),
    Trouble(408, ""),
)
"""Answers of a proxy, a broken server or nobody, which say nothing about the order."""


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


@each_venue
def test_n04_an_answer_that_is_cut_at_any_byte_leaves_the_outcome_open(venue: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        replies: list[OrderUpdate | CtosError] = []
        gone: list[OrderUpdate | CtosError] = []
        cut, offset = 0, 0
        while True:
            desk.proxy.reset_answer(desk.wire.place.encode(), offset)
            client_id = f"cut{offset:015d}"
            price = Decimal(58_000 + offset)
            order = OrderRequest(client_id, "cut", desk.perp, BUY, OrderType.LIMIT, Decimal("0.01"), price)
            desk.driver.gateway.place(order, replies.append)
            await desk.until(lambda: len(replies) == offset + 1)  # noqa: B023
            if isinstance(replies[-1], OrderUpdate):
                break  # the whole answer came through
            assert isinstance(replies[-1], UnknownOutcome), f"{replies[-1]!r} after {offset} bytes"
            cut += 1
            offset += 1
            desk.driver.gateway.cancel(client_id, desk.perp, gone.append)
            await desk.wait(0.3)
        assert cut > 100, "headers and body were cut at every byte"
        asked = bodies(desk.placements())
        assert desk.taken() == len(asked) == len(set(asked)) == cut + 1
        assert len(desk.resting()) == 1, "each could be cancelled by the id that we gave it"

    play(venue, tmp_path, story)


@each_venue
@pytest.mark.parametrize("after", [0, 100, 150])
def test_n04_an_order_whose_answer_is_cut_is_found_and_booked_once(venue: str, after: int, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        desk.proxy.reset_answer(desk.wire.place.encode(), after)
        client_id = desk.give(BUY, "0.02", None)
        await desk.ends(client_id, OrderState.FILLED)
        await desk.agrees()
        await desk.wait(30)
        assert not desk.differences() and desk.taken() == len(desk.placements()) == 1

    play(venue, tmp_path, story)


@each_venue
def test_n05_an_order_on_a_connection_that_died_unnoticed_is_not_sent_again(venue: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        await desk.rest("59000")
        await desk.driver.fetch_balance()  # so that the connections are well used and idle
        desk.proxy.kill_idle()
        asked = len(desk.placements())
        client_id = desk.give()
        await desk.ends(client_id, OrderState.UNKNOWN, 1)
        assert len(desk.placements()) == asked, "what did not arrive is not sent by itself"
        await desk.ends(client_id, OrderState.NEVER_ACCEPTED, 60)
        await desk.agrees()
        assert desk.taken() == asked == 1 and desk.resting() == [Decimal(59000)]

    play(venue, tmp_path, story)


@each_venue
@pytest.mark.parametrize("done", [True, False], ids=["taken", "not taken"])
def test_e01_e02_an_answer_that_proves_nothing_is_resolved_either_way(venue: str, done: bool, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        faults = desk.emulator.faults
        answer = faults.unknown_but_done if done else faults.answer
        troubles = [*desk.wire.unknown, *MUTE]
        for number, trouble in enumerate(troubles):
            answer(desk.wire.place, trouble.status, trouble.body, trouble.headers)
            client_id = desk.give(price=str(59_000 + number))
            await desk.until(lambda: desk.order(client_id).state not in (OrderState.INTENT, OrderState.SENT), 15)  # noqa: B023
            assert desk.order(client_id).state in (OrderState.UNKNOWN, OrderState.OPEN), (trouble, desk.situation())
            await desk.ends(client_id, OrderState.OPEN if done else OrderState.NEVER_ACCEPTED, 60)
        await desk.agrees()
        assert desk.taken() == (len(troubles) if done else 0)
        assert len(desk.placements()) == len(troubles)

    play(venue, tmp_path, story)


@each_venue
@pytest.mark.parametrize("named", [True, False], ids=["with a time", "without a time"])
def test_e03_too_many_requests_refuse_for_good_and_cancels_still_go_out(
    venue: str, named: bool, tmp_path: Path
) -> None:
    async def story(desk: Desk) -> None:
        kept = await desk.rest("59000")
        busy = desk.wire.busy
        headers = {"Retry-After": "20"} if named else {}
        desk.emulator.faults.answer(desk.wire.place, busy.status, busy.body, headers)
        refused = desk.give()
        await desk.ends(refused, OrderState.REJECTED, 5)
        assert desk.order(refused).error == "RateLimited"
        asked = len(desk.placements())
        following = desk.give(price="59100")
        desk.engine.cancel(kept)
        await desk.ends(kept, OrderState.CANCELED, 2)
        await desk.until(lambda: desk.order(following).state not in (OrderState.INTENT, OrderState.SENT), 5)
        if named:
            assert desk.order(following).state is OrderState.NEVER_SENT, "the pause is longer than an order may wait"
            assert len(desk.placements()) == asked
        await desk.wait(25)
        last = await desk.rest("59200")
        await desk.agrees()
        assert Decimal(59200) in desk.resting() and Decimal(59900) not in desk.resting()
        assert desk.order(last).state is OrderState.OPEN

    play(venue, tmp_path, story)
