"""The venue's cancel timer when its answers are lost: an orderly end that keeps orders leaves no timer behind."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import pytest

from engine.kernel.orders import OrderState
from engine.runtime.dead_man import TIMEOUT_S, DeadMan
from tests.faults.desk import Desk, play

TIMER_CALL = {"okx": "POST /api/v5/trade/cancel-all-after", "binance": "countdownCancelAll"}
each_timer = pytest.mark.parametrize("venue", TIMER_CALL)


def keeper(desk: Desk, troubles: list[str]) -> DeadMan:
    """Keep the timer of a desk's account."""
    kept = DeadMan(desk.engine, desk.shell, troubles.append)
    kept.start()
    return kept


@each_timer
def test_orders_that_are_kept_outlive_a_timer_whose_answers_were_all_lost(venue: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        await desk.rest()
        await desk.wait(2)
        fault = desk.emulator.faults.lose_response(TIMER_CALL[venue], times=None)
        dead_man = keeper(desk, [])
        await desk.until(lambda: dead_man._failures, 60)
        fault.stop()
        assert not dead_man.is_set, "the venue has it, but nobody knows"
        await dead_man.stop()
        await desk.wait(2 * TIMEOUT_S)
        assert len(desk.resting()) == 1

    play(venue, tmp_path, story)


@each_timer
def test_a_timer_that_may_be_set_is_switched_off_once_nothing_needs_it(venue: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        first = await desk.rest()
        await desk.wait(2)
        fault = desk.emulator.faults.lose_response(TIMER_CALL[venue], times=None)
        dead_man = keeper(desk, [])
        await desk.until(lambda: dead_man._failures, 60)
        fault.stop()
        desk.engine.disarm("desk")
        desk.engine.cancel(first)
        await desk.ends(first, OrderState.CANCELED)
        await desk.wait(20)
        dead_man.leave()
        desk.engine.arm("desk")
        await desk.rest()
        await desk.wait(2 * TIMEOUT_S)
        assert len(desk.resting()) == 1

    play(venue, tmp_path, story)


def test_one_symbol_that_fails_keeps_no_other_timer_running(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        await desk.rest()
        await desk.ends(desk.give(symbol=desk.other, quantity="1", price="2900"), OrderState.OPEN)
        await desk.wait(2)
        troubles: list[str] = []
        turns = cycle((True, False))  # symbols are gone through in one order: always the first one is refused
        refusal = b'{"code":-1121,"msg":"Invalid symbol."}'
        desk.emulator.faults.answer(
            lambda method, path, body: "countdownCancelAll" in path and next(turns), 400, refusal, times=None
        )
        dead_man = keeper(desk, troubles)
        await desk.until(lambda: troubles, 60)
        assert set(desk.emulator.account.countdowns) == {desk.other}  # type: ignore[attr-defined]
        assert not dead_man.is_set
        await dead_man.stop()
        assert not desk.emulator.account.countdowns  # type: ignore[attr-defined]
        await desk.wait(2 * TIMEOUT_S)
        assert len(desk.resting()) == 2

    play("binance", tmp_path, story)
