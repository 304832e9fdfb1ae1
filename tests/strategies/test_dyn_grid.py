"""The grid on the real paper venue: test lines of its specification, prices as prints that touch everything."""

from __future__ import annotations

from decimal import Decimal

import pytest

from drivers.paper.config import QueueModel
from engine.kernel.orders import Side
from tests.engine.floor import d
from tests.paper.venue import PERP
from tests.rig import Rig


@pytest.fixture
def rig(tmp_path) -> Rig:
    return Rig(tmp_path)


def grid_of(rig: Rig, name: str = "dg1", symbol: str = PERP):
    return rig.manager.get(name).strategy._grids[symbol]


def start(rig: Rig, **params):
    return rig.launch("dyn_grid", **{"preset": "388_long", **params})


def test_starts_with_both_orders_and_follows_each_fill(rig):
    start(rig)
    assert rig.resting("dg1") == {"buy": ("0.092", "96.12"), "sell": ("0.087", "101.88")}
    rig.path(96.12)
    assert grid_of(rig).baseline == 99
    assert rig.resting("dg1") == {"buy": ("0.093", "95.15"), "sell": ("0.088", "100.87")}
    assert rig.order_of(Side.SELL).reduce_only
    rig.path(100.87)
    ledger = rig.ledger_of("dg1")
    assert (ledger.realised, ledger.quantity) == (d("0.418"), d("0.004"))
    assert grid_of(rig).baseline == d("99.99")
    assert rig.resting("dg1") == {"buy": ("0.092", "96.11"), "sell": ("0.087", "101.87")}
    rig.check_books()


def test_a_gap_moves_the_baseline_until_the_buy_is_passive(rig):
    start(rig)
    rig.path(90)
    assert [(f.fill.quantity, f.fill.price) for f in rig.fills()] == [(d("0.092"), d("96.12"))]
    assert round(grid_of(rig).baseline, 4) == d("93.2065")
    assert rig.resting("dg1") == {"buy": ("0.099", "89.59"), "sell": ("0.092", "96.12")}


def test_a_part_fill_stays_until_the_other_side_is_final(tmp_path):
    rig = Rig(tmp_path, queue=QueueModel.FIFO, first_price=None)
    rig.book(100)
    start(rig)
    rig.trade(96.12, 0.05)
    assert rig.resting("dg1") == {"buy": ("0.042", "96.12"), "sell": ("0.087", "101.88")}
    assert grid_of(rig).baseline == 100
    rig.trade(101.88, 10, Side.BUY)
    assert grid_of(rig).baseline == 101
    assert rig.resting("dg1")["buy"] == ("0.091", "97.08")
    assert rig.ledger_of("dg1").quantity == d("-0.037")
    rig.trade(97.08, 10)
    assert grid_of(rig).baseline == d("99.99")
    rig.check_books()


def test_a_fill_while_down_moves_the_baseline_once(rig):
    start(rig)
    second = rig.restart(prices=[96.12])
    assert grid_of(second).baseline == 99
    assert second.resting("dg1") == {"buy": ("0.093", "95.15"), "sell": ("0.088", "100.87")}
    third = second.restart()
    assert grid_of(third).baseline == 99
    assert third.resting("dg1") == {"buy": ("0.093", "95.15"), "sell": ("0.088", "100.87")}
    third.check_books()


def test_an_order_cancelled_outside_comes_back_after_30_s(rig):
    start(rig)
    rig.cancel_outside(rig.order_of(Side.BUY))
    rig.run(28)
    assert "buy" not in rig.resting("dg1") and grid_of(rig).baseline == 100
    rig.path(100, seconds=4)
    assert rig.resting("dg1") == {"buy": ("0.092", "96.12"), "sell": ("0.087", "101.88")}


def test_never_fights_a_person(rig):
    start(rig)
    for _ in range(3):
        rig.cancel_outside(rig.order_of(Side.BUY))
        rig.run(25)
        rig.path(100, seconds=10)
    rig.cancel_outside(rig.order_of(Side.BUY))
    rig.path(100, seconds=100)
    assert list(rig.resting("dg1")) == ["sell"]
    assert [kind for kind, *_ in rig.anomalies] == ["external_cancel"]
    assert "PAUSED" in rig.manager.get("dg1").why
    rig.path(100, seconds=1)
    rig.manager.act("dg1", "rebase", {"symbol": "tst"})
    rig.run()
    assert set(rig.resting("dg1")) == {"buy", "sell"}


def test_freezes_outside_the_guard_until_rebased(rig):
    start(rig)
    rig.path(79.9, seconds=5)
    assert rig.working("dg1") == []
    assert [(kind, symbol) for kind, symbol, *_ in rig.anomalies] == [("grid_guard", PERP)]
    assert grid_of(rig).phase == "FROZEN" and "rebase" in rig.manager.get("dg1").why
    rig.path(100, seconds=5)
    assert rig.working("dg1") == [] and len(rig.anomalies) == 1
    rig.manager.act("dg1", "rebase", {})
    rig.run()
    assert grid_of(rig).init == 100 and rig.resting("dg1")["buy"] == ("0.092", "96.12")


def test_flattens_at_the_guard_when_told(rig):
    start(rig, guard_action="flatten")
    rig.path(96.12)
    assert rig.ledger_of("dg1").quantity
    rig.path(79.9, seconds=10)
    assert rig.ledger_of("dg1").quantity == 0 and rig.working("dg1") == []
    assert Decimal(grid_of(rig).init) == 100
