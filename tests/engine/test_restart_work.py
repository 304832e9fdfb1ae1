"""Work in progress and its reports over a restart."""

from __future__ import annotations

from pathlib import Path

from engine.kernel.orders import OrderType, Side
from engine.kernel.strategy import DoneStatus
from engine.runtime.events import FillBooked, WorkDone
from tests.engine.floor import PERP, Floor, d


def test_a_soft_order_goes_on_and_its_end_is_reported_once(tmp_path: Path):
    floor = Floor(tmp_path)
    floor.print(100.0)
    floor.admit("grid")
    handle = floor.engine.soft("grid", PERP, Side.BUY, d(1))
    floor.run()
    seen = floor.engine.event_seq("grid")
    after = floor.restart(tmp_path)
    after.admit("grid")
    assert after.engine.work_of("grid") == [handle]
    after.print(100.0)
    after.print(99.0)
    after.run(1)
    assert after.ledger("grid") == 1 and after.engine.work_of("grid") == []
    reports = [event for event in after.events if isinstance(event, WorkDone)]
    assert [report.done.status for report in reports] == [DoneStatus.FILLED]
    missed = list(after.engine.missed("grid", seen))
    assert [type(event) for _, event in missed] == [FillBooked, WorkDone] and missed[-1][1] == reports[0]
    again = after.restart(tmp_path)
    assert again.engine.work_of("grid") == []
    assert [type(event) for _, event in again.engine.missed("grid", seen)] == [FillBooked, WorkDone]
    assert list(again.engine.missed("grid", again.engine.event_seq("grid"))) == []


def test_refused_work_leaves_nothing_behind(tmp_path: Path):
    floor = Floor(tmp_path)
    floor.print(100.0)
    floor.engine.disarm("test")
    try:
        floor.engine.soft("manual", PERP, Side.BUY, d(1))
    except Exception as error:
        assert type(error).__name__ == "TradingHalted"
    assert floor.engine.core.state.works == {} and floor.restart(tmp_path).engine.work_of() == []


def test_a_halt_before_the_strategies_are_admitted_again_is_not_lost(tmp_path: Path):
    floor = Floor(tmp_path)
    floor.print(100.0)
    floor.admit("grid")
    floor.order(Side.BUY, 1, type=OrderType.MARKET, instance="grid")
    floor.engine.panic("test", "stop")
    floor.engine.stop()
    floor.journal.close()
    after = Floor(tmp_path, floor.store, started=False, armed=False, start_ns=floor.clock.now_ns())
    after.admit("grid")
    after.start()
    assert after.engine.risk.is_halted
