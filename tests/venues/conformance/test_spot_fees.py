"""A real engine on the wire of the venues that take the fee of a spot buy from the coins that are bought.

Whatever then sells the position sends what the wallet has: nothing is refused, and less than a lot is left.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from engine.kernel.orders import Order, OrderState, OrderType, Side
from engine.kernel.strategy import Done, DoneStatus, RiskParams
from engine.runtime.events import WorkDone
from tests.venues.conformance.engine_rig import EngineRig
from tests.venues.conformance.rig import Rig

GRID = "grid"
BOUGHT = Decimal("0.01234")
LIMIT = Decimal(100_000)


@pytest.fixture(params=["okx", "binance"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EngineRig]:
    """Gives an armed engine on a venue's wire whose instance has bought coins; the account had dollars only."""
    rig = await Rig.open(request.param, balances={"USDT": Decimal(100_000)})
    opened = await EngineRig(rig, tmp_path).start()
    engine = opened.engine
    engine.market.watch(rig.spot)
    await rig.until(lambda: engine.market.quote(rig.spot) is not None)
    engine.register_instance(GRID)
    limits = RiskParams(max_notional_usd=LIMIT, max_order_usd=LIMIT, max_cmds_per_min=600)
    engine.risk.admit(GRID, limits, LIMIT)
    engine.submit(GRID, rig.spot, Side.BUY, OrderType.MARKET, BOUGHT)
    await rig.until(lambda: held(opened), alive=True)
    yield opened
    await opened.close()
    await rig.close()


def held(desk: EngineRig) -> Decimal:
    return desk.engine.portfolio.ledger(GRID, desk.rig.spot).quantity


def wallet(desk: EngineRig) -> Decimal:
    coin = desk.rig.listed[desk.rig.spot].base
    return next((each.total for each in desk.rig.balances() if each.currency == coin), Decimal(0))


def check_dust(desk: EngineRig) -> None:
    """Hold that nothing was refused, and that ledgers and wallet agree on what no order can sell."""
    engine, spot = desk.engine, desk.rig.spot
    assert [order.reason for order in engine.tracker.recent() if order.state is OrderState.REJECTED] == []
    assert engine.portfolio.quantity(spot) == wallet(desk) < engine.instrument(spot).lot_size


async def test_a_close_after_a_buy_is_not_refused(desk: EngineRig):
    rig, engine = desk.rig, desk.engine
    assert held(desk) == wallet(desk) == BOUGHT - desk.booked[0].fill.fee < BOUGHT
    done: list[Done] = []
    engine.bus.subscribe(WorkDone, lambda event: done.append(event.done))
    engine.close(GRID, rig.spot, soft=False)
    await rig.until(lambda: done, alive=True)
    assert done[0].status is DoneStatus.FILLED
    check_dust(desk)


async def test_a_held_stop_sells_what_there_is(desk: EngineRig):
    rig, engine = desk.rig, desk.engine
    trigger = Decimal(50_000)
    client_id = engine.submit(
        GRID, rig.spot, Side.SELL, OrderType.STOP, BOUGHT, trigger_price=trigger, reduce_only=True
    )
    stop = engine.tracker.get(client_id)
    assert isinstance(stop, Order)
    await rig.until(lambda: engine.commands.stops.is_watched(stop), alive=True)
    rig.stage.print(rig.spot, 49_000.0, 0.001)
    await rig.until(lambda: stop.state.is_final, alive=True)
    assert stop.state is OrderState.FILLED
    check_dust(desk)


async def test_closing_everything_by_hand_leaves_dust_and_no_alarm(desk: EngineRig):
    rig, engine = desk.rig, desk.engine
    engine.panic("operator")
    engine.flatten_all("operator")
    await rig.until(lambda: engine.portfolio.quantity(rig.spot) < engine.instrument(rig.spot).lot_size, alive=True)
    await rig.wind(3.0)
    assert "flatten" not in desk.alarms
    check_dust(desk)
