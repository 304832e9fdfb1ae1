"""Near liquidation a quarter of the position goes every minute, where the operator has asked for that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.kernel.anomaly import Severity
from engine.kernel.orders import OrderType
from engine.runtime.shell import run_to_end
from tests.engine.floor import MANUAL, PERP, ROOMY, SELL, d
from tests.engine.monitor_desk import CALM, QUIET, Desk

STEADY = {**QUIET, **CALM, "pnl_swing": {"warn": 1_000_000, "crit": 1_000_000}}


def near_liquidation(folder: Path, *, armed: bool = True, **options: Any) -> Desk:
    """Hold 40 coins, 30 by a strategy and 10 by hand, with a liquidation price less than 7 % away."""
    desk = Desk(folder, balance=250, levels=STEADY, **options)
    run_to_end(desk.floor.venue.set_leverage(PERP, d(20)))
    desk.floor.hold(30, 100.0, "g1")
    desk.floor.hold(10, 100.0)
    if not armed:
        desk.floor.engine.disarm("ann")
    return desk


def closed(desk: Desk) -> list[tuple[str, str]]:
    """Return (instance, quantity) of every fill that reduced."""
    return [(b.instance, f"{b.fill.quantity.normalize():f}") for b in desk.floor.fills() if b.fill.side is SELL]


def test_every_ledger_gives_a_quarter_a_minute_while_it_is_critical(tmp_path: Path):
    limits = replace(ROOMY, daily_loss_pct=d("0.9"), max_drawdown_pct=d("0.9"))
    desk = near_liquidation(tmp_path, auto_reduce=True, floor={"limits": limits})
    row = desk.floor.engine.portfolio.position(PERP)
    assert row.liquidation_price is not None
    desk.wait(12, 100.0)
    (near,) = [one for one in desk.all() if one.kind == "liq_distance"]
    assert near.severity is Severity.CRIT
    assert closed(desk) == [("g1", "7.5"), (MANUAL, "2.5")]
    assert "a quarter of 40" in near.action and "time 1" in near.action and "new entries blocked" in near.action
    desk.wait(40, 100.0)
    assert len(closed(desk)) == 2, "a minute has not passed"
    for _ in range(10):
        desk.wait(61, 96.0)
    assert len(closed(desk)) == 6, "it goes on while it is critical"
    row = desk.floor.engine.portfolio.position(PERP)
    assert row.liquidation_price is None or abs(1 - row.liquidation_price / d(96)) > d("0.07"), "far enough"
    assert desk.floor.ledger("g1") > 0 and desk.floor.engine.portfolio.quantity(PERP) == desk.floor.venue_quantity()
    fired = [fields for op, fields in desk.floor.operations if op == "ClosePosition"]
    assert fired and all(fields["actor"] == "monitor" for fields in fired)


def test_what_is_critical_no_more_reduces_no_more_though_its_anomaly_is_not_clear(tmp_path: Path):
    desk = near_liquidation(tmp_path, auto_reduce=True)
    desk.wait(12, 100.0)
    reduced = len(closed(desk))
    for _ in range(5):
        desk.wait(61, 104.0)
    (near,) = [one for one in desk.all() if one.kind == "liq_distance"]
    assert near.is_active and near.severity is Severity.CRIT and d(near.value) > d("0.07")
    assert len(closed(desk)) == reduced == 2


def test_what_an_earlier_run_remembers_reduces_nothing_before_it_is_read_again(tmp_path: Path):
    desk = near_liquidation(tmp_path)
    desk.wait(12, 100.0)
    desk.monitor.stop_position_monitoring()
    desk.floor = desk.floor.restart(tmp_path)
    desk.config = desk.config.model_copy(update={"auto_reduce": True})
    desk.watch(desk.floor)
    near = [one for one in desk.monitor.anomalies.active() if one.kind == "liq_distance"]
    assert near and near[0].severity is Severity.CRIT
    desk.mark(104.0)
    for _ in range(3):
        desk.wait(30, 104.0)
    assert closed(desk) == []


def test_unless_it_is_asked_for_nothing_is_reduced(tmp_path: Path):
    desk = near_liquidation(tmp_path)
    desk.wait(200, 100.0)
    assert "liq_distance" in desk.active() and closed(desk) == []


def test_a_disarmed_account_is_left_alone_and_says_so(tmp_path: Path):
    desk = near_liquidation(tmp_path, armed=False, auto_reduce=True)
    desk.wait(100, 100.0)
    (near,) = [one for one in desk.all() if one.kind == "liq_distance"]
    assert closed(desk) == [] and "is not reduced: trading is disarmed by ann" in near.action
    assert not any(order.type is OrderType.MARKET for order in desk.floor.engine.tracker.working())
