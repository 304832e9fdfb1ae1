"""What a strategy is told of how far its orders have come."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from engine.kernel.errors import InvalidOrder, UnknownSymbol
from engine.kernel.orders import OrderTrack, OrderType, Side
from engine.kernel.strategy import Context, DeadlinePolicy
from tests.engine.floor import d
from tests.engine.test_strategy_manager import Probe, buy, do, launch
from tests.paper.venue import OTHER, PERP
from tests.rig import Rig


@pytest.fixture
def rig(tmp_path) -> Rig:
    rig = Rig(tmp_path, classes=(Probe,))
    rig.print(50, symbol=OTHER)
    rig.print(100)
    rig.launch("probe", f"{PERP}+{OTHER}", name="p1")
    rig.run(1)
    return rig


def tracks(rig: Rig, **wanted: object) -> list[OrderTrack]:
    return rig.manager.get("p1").context.track_orders(**wanted)  # type: ignore[arg-type]


def soft(quantity: object, **more: object) -> Callable[[Context], object]:
    return lambda ctx: ctx.soft(PERP, Side.BUY, d(quantity), **more)  # type: ignore[arg-type]


def test_a_soft_order_is_followed_over_its_price_and_its_fills(rig: Rig) -> None:
    began_ms = rig.clock.now_ms()
    do(rig, soft(2, deadline_s=600))
    rig.run(1)
    (row,) = tracks(rig)
    assert (row.symbol, row.side, row.filled, row.remaining, row.repegs) == (PERP, Side.BUY, 0, 2, 0)
    assert row.order == rig.working("p1")[0].client_id and row.id == rig.working("p1")[0].parent
    assert row.deadline_ms is not None and 0 <= row.deadline_ms - began_ms - 600_000 < 2_000
    rig.print(101)
    rig.run(2)
    assert tracks(rig)[0].repegs == 1 and rig.working("p1")[0].price > d(100)
    resting = rig.venue.exchange.registry.find(row.order, PERP)
    rig.venue.exchange.clearing.fill(resting, resting.price, d("0.5"), maker=True)
    rig.venue._commit()
    rig.run()
    (row,) = tracks(rig, cids=[row.id])
    assert (row.filled, row.remaining) == (d("0.5"), d("1.5"))
    rig.run(600)
    assert tracks(rig) == [] and [(kept.filled, kept.remaining) for kept in tracks(rig, cids=[row.order])] == [
        (d("0.5"), 0)
    ]


def test_plain_orders_and_parts_of_larger_work_are_in_the_list_once(rig: Rig) -> None:
    do(rig, buy(1, 95))
    do(rig, lambda ctx: ctx.buy(OTHER, quantity=d(1), price=d(40), type=OrderType.LIMIT))
    do(rig, lambda ctx: ctx.place_incremental_orders(Decimal(300), PERP, Side.BUY, n_children=3))
    do(rig, lambda ctx: ctx.set_position(OTHER, Decimal(-100), policy=DeadlinePolicy.LEAVE))
    rig.run(1)
    rows = tracks(rig)
    assert [(row.symbol, row.deadline_ms is not None) for row in rows] == [
        (PERP, True),
        (OTHER, True),
        (PERP, False),
        (OTHER, False),
    ]
    assert {row.order for row in rows} == {order.client_id for order in rig.working("p1")}
    assert [row.id for row in tracks(rig, coins=[PERP])] == [rows[0].id, rows[2].id]
    assert tracks(rig, coins=[PERP], cids=[rows[1].id]) == []


@pytest.mark.parametrize("wanted", [{"coins": "BTC"}, {"cids": "p1"}, {"cids": [7]}, {"coins": 3}])
def test_what_is_no_list_of_names_is_refused(rig: Rig, wanted: dict[str, object]) -> None:
    with pytest.raises(InvalidOrder, match="track_orders"):
        tracks(rig, **wanted)


def test_a_coin_that_is_not_listed_is_refused(rig: Rig) -> None:
    with pytest.raises(UnknownSymbol):
        tracks(rig, coins=["nosuch"])


def test_an_order_of_another_instance_is_not_told_of(rig: Rig) -> None:
    do(rig, buy(1, 95))
    launch(rig, name="p2")
    other = rig.manager.get("p2").context
    named = rig.working("p1")[0].client_id
    assert tracks(rig, cids=[named]) and other.track_orders(cids=[named]) == []
    do(rig, lambda ctx: ctx.cancel(named))
    assert [row.order for row in tracks(rig, cids=[named])] == [""] and other.track_orders(cids=[named]) == []
