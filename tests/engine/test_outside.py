"""What the operator hears of orders that somebody else ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.kernel.errors import RateLimited
from engine.kernel.orders import Order, OrderRequest, OrderState, OrderType
from engine.runtime.accounts import MANUAL
from engine.runtime.events import EndedOutside, EngineAlarm, LogLine
from tests.engine.faults import FaultyDriver
from tests.engine.floor import BUY, PERP, SELL, Floor, d
from tests.engine.monitor_desk import Desk

LIMIT, MARKET, STOP, POST_ONLY = OrderType.LIMIT, OrderType.MARKET, OrderType.STOP, OrderType.POST_ONLY


class Ears:
    """What a floor tells: log lines, notes, alarms of lost stops."""

    def __init__(self, floor: Floor) -> None:
        self.lines: list[tuple[str, str]] = []
        self.notes: list[str] = []
        self.alarms: list[EngineAlarm] = []
        floor.bus.subscribe(LogLine, lambda line: self.lines.append((line.level, line.text)))
        floor.bus.subscribe(EndedOutside, lambda event: self.notes.append(event.text))
        floor.bus.subscribe(EngineAlarm, lambda event: event.kind == "stop_lost" and self.alarms.append(event))

    @property
    def gone(self) -> list[str]:
        return [text for level, text in self.lines if level == "warn" and text.startswith("gone")]


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path, driver_of=FaultyDriver)
    floor.print(100.0)
    floor.admit("grid")
    return floor


def cancel_at_venue(floor: Floor, order: Order) -> None:
    floor.venue.exchange.cancel(order.venue_order_id, order.symbol)
    floor.venue._commit()


def test_an_order_cancelled_at_the_venue_is_told_once_and_nobody_here_is_blamed(floor: Floor):
    ears = Ears(floor)
    ours, of_grid = floor.order(BUY, 2, 99), floor.order(BUY, 1, 98, instance="grid")
    cancel_at_venue(floor, ours)
    cancel_at_venue(floor, of_grid)
    floor.run(60)
    assert ours.state is of_grid.state is OrderState.CANCELED
    assert [text for text in ears.gone if f"#{ours.label} buy 2 {PERP} at 99: cancelled at the venue" in text]
    assert [text for text in ears.gone if f"#{of_grid.label} grid buy 1" in text] and len(ears.gone) == 2
    assert len(ears.notes) == 1 and f"#{ours.label} " in ears.notes[0] and not ears.alarms
    ends = [fields for op, fields in floor.operations if op == "OrderCanceled"]
    assert [fields["actor"] for fields in ends] == ["outside", "outside"]


def test_a_trade_that_nobody_here_ordered_is_marked_so(floor: Floor):
    floor.hold(1)
    floor.venue.exchange.place(OrderRequest("", "", PERP, SELL, OrderType.IOC, d("0.4"), d(99)))
    floor.venue._commit()
    floor.run(1)
    told = [(event.fill.quantity, event.instance, event.outside) for event in floor.fills()]
    assert told == [(d(1), MANUAL, False), (d("0.4"), MANUAL, True)]
    actors = [fields.get("actor") for op, fields in floor.operations if op in ("OrderFilled", "OrderPartFilled")]
    assert actors == [None, "outside"]


def test_what_was_asked_for_or_lies_in_the_order_itself_is_not_told(floor: Floor):
    ears = Ears(floor)
    first, second, third = (floor.order(BUY, 1, price) for price in (99, 98, 97))
    floor.engine.cancel(first.client_id)
    floor.driver.gateway.refuse_cancels = [RateLimited("slow down")]
    floor.engine.cancel(second.client_id)
    floor.run(0.01)
    cancel_at_venue(floor, second)
    crossing = floor.order(BUY, 1, 101, POST_ONLY)
    at_once = floor.order(BUY, 1, 90, OrderType.IOC)
    assert crossing.state is OrderState.REJECTED and at_once.state.is_final
    floor.engine.panic("operator")
    floor.run(60)
    assert first.state is second.state is third.state is OrderState.CANCELED
    assert not ears.gone and not ears.notes and not ears.alarms
    assert all(fields.get("actor") is None for _, fields in floor.operations)


@pytest.mark.parametrize("owner", [MANUAL, "grid"])
def test_a_stop_that_vanishes_while_the_position_is_held_is_an_alarm(floor: Floor, owner: str):
    ears = Ears(floor)
    floor.hold(2, instance=owner)
    stop = floor.order(SELL, 2, None, STOP, owner, trigger=95)
    assert stop.state is OrderState.OPEN and not stop.held
    cancel_at_venue(floor, stop)
    floor.run(1.2)
    [alarm] = ears.alarms
    assert (alarm.severity, alarm.symbol, alarm.instance) == ("CRIT", PERP, owner)
    for part in (f"{PERP}: 2", "is UNPROTECTED now", f"the stop #{stop.label}, sell 2 at the trigger 95"):
        assert part in alarm.text
    assert len(ears.gone) == 1


def test_a_stop_that_is_replaced_or_has_nothing_left_to_protect_is_no_alarm(floor: Floor):
    ears = Ears(floor)
    floor.hold(2)
    stop = floor.order(SELL, 2, None, STOP, trigger=95)
    cancel_at_venue(floor, stop)
    floor.run(0.2)
    assert not stop.is_open
    again = floor.order(SELL, 1, None, STOP, trigger=94)
    floor.run(2)
    assert "1 is UNPROTECTED" in ears.alarms.pop().text and len(ears.gone) == 1
    floor.driver.gateway.refuse_cancels = [RateLimited("slow down")] * 100
    cancel_at_venue(floor, again)
    floor.order(SELL, 2, type=MARKET)
    floor.run(3)
    assert not ears.alarms and len(ears.gone) == 1
    assert any(level == "info" and "nothing is left to reduce" in text for level, text in ears.lines)


def test_each_lost_stop_is_told_although_the_anomaly_is_open_still(tmp_path: Path):
    desk = Desk(tmp_path)
    ears = Ears(desk.floor)
    desk.floor.hold(2)
    for _ in range(2):
        cancel_at_venue(desk.floor, desk.floor.order(SELL, 2, None, STOP, trigger=95))
        desk.wait(2, 100.0)
    assert len(ears.alarms) == 2 and len(ears.gone) == 2
    [anomaly] = [each for each in desk.all() if each.kind == "stop_lost"]
    assert anomaly.is_active and anomaly.count == 2
    assert [change for change in desk.changes if change[0] == "stop_lost" and change[2]] == [
        ("stop_lost", "CRIT", True)
    ]


def test_what_ended_while_nothing_ran_is_told_at_the_start_but_not_what_the_watchdog_did(tmp_path: Path):
    floor = Floor(tmp_path, driver_of=FaultyDriver)
    floor.hold(1)
    lost, watched = floor.order(BUY, 1, 99), floor.order(BUY, 1, 98)
    stop = floor.order(SELL, 1, None, STOP, trigger=95)
    floor.driver.deaf = True
    for order in (lost, watched, stop):
        cancel_at_venue(floor, order)
        assert order.is_open
    again = floor.restart(tmp_path, started=False, armed=False)
    ears = Ears(again)
    again.start()
    again.engine.outside.explain([watched.client_id])
    again.run(10)
    assert len(ears.gone) == 2 and all(text.startswith("gone while nothing ran: ") for text in ears.gone)
    assert any(f"#{lost.label} buy 1" in text for text in ears.gone)
    assert [f"the stop #{stop.label}" in alarm.text for alarm in ears.alarms] == [True]


def test_many_at_once_are_summed_up_and_quotes_of_strategies_come_seldom(floor: Floor):
    ears = Ears(floor)
    orders = [floor.order(BUY, 1, 99 - d("0.1") * step) for step in range(12)]
    for order in orders:
        cancel_at_venue(floor, order)
    floor.run(3)
    assert len(ears.notes) == 1 and ears.gone == [
        f"gone: 12 orders ended at the venue: {PERP} 12; see the operation log"
    ]
    ears.lines.clear()
    for _ in range(20):
        floor.print(100.0)
        cancel_at_venue(floor, floor.order(BUY, 1, 98, instance="grid"))
        floor.run(1)
    assert 1 <= len(ears.gone) <= 2
    floor.engine.stop()
    assert sum("grid" in text or " orders ended" in text for text in ears.gone) >= 2


def test_under_a_halt_nobody_is_ruled_out(floor: Floor):
    told: list[str] = []
    for is_halted in (False, True):
        ears = Ears(floor)
        floor.print(100.0)
        order = floor.order(BUY, 1, 99)
        if is_halted:
            floor.engine.panic("operator")
            floor.run(0.001)
        floor.engine.core.on_ended_outside(order, "")
        floor.run(3)
        told += ears.gone[:1]
    assert "nobody here asked for it" in told[0] and "nobody here asked for it" not in told[1]
