"""A real engine on each venue's wire, while orders' answers and news are lost, doubled, swapped or late.

In the end its fills, position and working orders are the venue's, and nothing was sent twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from drivers.transport.http import HttpClient
from engine.kernel.orders import Order, OrderState, OrderType, Pending, Side
from engine.runtime.trading_state import TradingMode
from tests.venues.conformance.engine_rig import EngineRig
from tests.venues.conformance.rig import Rig
from tests.venues.conformance.wire import Wire
from tests.venues.emulators.faults import Faults

BUY, SELL = Side.BUY, Side.SELL


@pytest.fixture(params=["okx", "binance", "backpack"])
async def desk(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[EngineRig]:
    """Gives an armed engine on each venue with a wire; the account holds dollars only, and patience is short."""
    defaults = HttpClient.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "timeout_s", 0.5)
    rig = await Rig.open(request.param, balances={"USDC" if request.param == "backpack" else "USDT": Decimal(100_000)})
    opened = EngineRig(rig, tmp_path)
    await opened.start()
    yield opened
    await opened.close()
    await rig.close()


def parts(desk: EngineRig) -> tuple[Rig, Wire, Faults]:
    rig = desk.rig
    assert rig.wire is not None and rig.emulator is not None
    return rig, rig.wire, rig.emulator.faults


def sent(desk: EngineRig) -> int:
    """Return how many orders arrived at the venue."""
    return len(desk.rig.orders())


async def settled(desk: EngineRig, within_s: float = 60.0) -> None:
    await desk.rig.until(desk.agrees, within_s, alive=True)


async def test_n14_an_answer_that_comes_after_our_time_limit_still_ends_in_one_order(desk: EngineRig):
    rig, wire, faults = parts(desk)
    faults.delay(wire.place, 60.0, times=1)
    faults.mute(wire.account_channels)
    order = desk.submit(BUY, "0.02", "59000")
    # Looked for because its outcome is not known, or met by the reconciliation that came first.
    await rig.until(lambda: order.state is OrderState.OPEN, 60, alive=True)
    await rig.until(lambda: not any(task.get_name().startswith("place") for task in asyncio.all_tasks()), 60)
    assert order.state is OrderState.OPEN, "the answer that came too late takes nothing back"
    await rig.wind(60.0)
    await settled(desk)
    assert sent(desk) == 1 and len(rig.exchange.open_orders()) == 1


async def test_a_liquidation_is_booked_once_and_halts(desk: EngineRig):
    rig = desk.rig
    rig.stage.book(rig.perp, [(60_000.0, 50.0)], [(60_010.0, 50.0)])
    wallet = rig.exchange.instruments[rig.perp].settle
    most = rig.exchange.margin.available(wallet) * Decimal("0.9") * rig.config.leverage / 60_010
    await rig.placed(BUY, str(round(most, 1)), None, OrderType.MARKET)
    await settled(desk)
    rig.stage.book(rig.perp, [(56_800.0, 50.0)], [(56_810.0, 50.0)])
    rig.stage.mark(rig.perp, 56_805.0)
    await rig.until(lambda: not rig.exchange.positions())
    await rig.until(lambda: desk.engine.trading.mode is TradingMode.HALTED, 8.0, alive=True)
    await settled(desk, 8.0)
    await rig.wind(30.0)
    assert desk.agrees() and [event.fill.liquidation for event in desk.booked] == [False, True]
    assert "fill_conflict" not in desk.alarms


@pytest.mark.parametrize("skew_s", [-600, 600])
async def test_an_execution_that_the_stream_lost_is_found_though_our_clock_is_wrong(desk: EngineRig, skew_s: int):
    rig, wire, faults = parts(desk)
    assert rig.emulator is not None
    rig.emulator.skew_ms = skew_s * 1000
    await rig.wind(400.0)  # the venue's time is measured anew, and an agreement is noted with ours
    order = desk.submit(BUY, "0.02", "60005")
    await rig.until(lambda: order.state is OrderState.OPEN, 30, alive=True)
    faults.mute(wire.account_channels)
    rig.stage.print(rig.perp, 60005.0, 0.02)
    await rig.until(lambda: desk.held == Decimal("0.02"), 60, alive=True)
    assert order.state is OrderState.FILLED and len(desk.booked) == 1


@pytest.mark.parametrize("fault", ["e05_duplicate", "e06_reorder", "e07_drop_message"])
async def test_e05_e06_e07_doubled_swapped_and_lost_news_are_counted_once(desk: EngineRig, fault: str):
    rig, wire, faults = parts(desk)
    for _ in range(4):
        getattr(faults, fault[4:])(wire.account_channels)
    resting = desk.submit(BUY, "0.02", "60005")
    taken = desk.submit(BUY, "0.01")
    await rig.until(lambda: sent(desk) == 2)
    rig.stage.print(rig.perp, 60005.0, 0.015)
    rig.stage.print(rig.perp, 60004.0, 1.0)
    await settled(desk, 30.0)
    assert (resting.state, taken.state) == (OrderState.FILLED, OrderState.FILLED)
    assert desk.held == Decimal("0.03") and sent(desk) == 2


async def test_e08_a_part_filled_order_whose_cancel_races_a_fill_ends_with_the_right_rest(desk: EngineRig):
    rig, _, _ = parts(desk)
    order = desk.submit(BUY, "0.02", "60005")
    await rig.until(lambda: order.state is OrderState.OPEN)
    rig.stage.print(rig.perp, 60005.0, 0.005)
    desk.engine.cancel(order.client_id)
    rig.stage.print(rig.perp, 60005.0, 0.005)
    await rig.until(lambda: order.state.is_final, 30, alive=True)
    await settled(desk)
    assert order.filled == desk.held == sum((fill.quantity for fill in rig.executions()), Decimal(0))


async def test_e09_a_cancel_whose_answer_is_lost_is_never_taken_for_done(desk: EngineRig):
    rig, wire, faults = parts(desk)
    order = desk.submit(BUY, "0.02", "60005")
    await rig.until(lambda: order.state is OrderState.OPEN)
    faults.lose_request(wire.cancel)
    desk.engine.cancel(order.client_id)
    rig.stage.print(rig.perp, 60000.0, 1.0)
    await rig.until(lambda: order.state.is_final, 60, alive=True)
    await settled(desk)
    assert order.state is OrderState.FILLED and desk.held == Decimal("0.02")


async def test_e09_a_lost_cancel_is_tried_again_until_the_order_is_gone(desk: EngineRig):
    rig, wire, faults = parts(desk)
    order = desk.submit(BUY, "0.02", "59000")
    await rig.until(lambda: order.state is OrderState.OPEN)
    faults.lose_request(wire.cancel)
    faults.lose_response(wire.cancel)
    desk.engine.cancel(order.client_id)
    await rig.until(lambda: order.state is OrderState.CANCELED, 90, alive=True)
    await settled(desk)
    assert rig.exchange.open_orders() == []


async def test_e10_an_amendment_with_a_fill_in_between_never_fills_more_than_was_asked(desk: EngineRig):
    rig, _, _ = parts(desk)
    order = desk.submit(BUY, "0.03", "60005")
    await rig.until(lambda: order.state is OrderState.OPEN)
    rig.stage.print(rig.perp, 60005.0, 0.01)
    desk.engine.amend(order.client_id, quantity=Decimal("0.02"))
    rig.stage.print(rig.perp, 60005.0, 0.005)
    await rig.until(lambda: order.pending is Pending.NONE or order.state.is_final, alive=True)
    await settled(desk)
    for _ in range(3):
        rig.stage.print(rig.perp, 60003.0, 1.0)
        await rig.wind(2.0)
    await settled(desk)
    assert Decimal("0.015") <= desk.held <= Decimal("0.02") and not rig.exchange.open_orders()
    assert "overfill" not in desk.alarms


async def test_e11_an_order_that_queries_do_not_show_for_ten_seconds_is_not_declared_dead(desk: EngineRig):
    rig, wire, faults = parts(desk)
    faults.lag(10.0)
    faults.lose_response(wire.place)
    order = desk.submit(BUY, "0.02", "59000")
    seen: set[OrderState] = set()

    def resolved(order: Order = order) -> bool:
        seen.add(order.state)
        return order.state is OrderState.OPEN

    await rig.until(resolved, 90, alive=True)
    faults.lag(0.0)
    await settled(desk)
    assert OrderState.NEVER_ACCEPTED not in seen and sent(desk) == 1
