"""Stops that the engine keeps: changed as asked, sent when met, and tried again when the venue did not take them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine.io.settings import MonitorConfig
from engine.kernel.errors import ClockSkew, CtosError, InsufficientFunds, RateLimited, UnknownOutcome, VenueUnavailable
from engine.kernel.orders import Order, OrderRequest, OrderState, OrderType, OrderUpdate
from engine.kernel.strategy import Purpose
from engine.kernel.syscalls import VenueFeatures
from engine.runtime.client_ids import purpose_of
from engine.runtime.events import EngineAlarm, OrderChanged
from engine.runtime.reject_watch import RejectWatch
from tests.engine.faults import FaultyDriver
from tests.engine.floor import MANUAL, PERP, SELL, Floor, d

STOP = OrderType.STOP


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path, driver_of=FaultyDriver, features=VenueFeatures(stops=False))
    floor.print(100.0)
    floor.admit("grid")
    return floor


@pytest.mark.parametrize("instance", [MANUAL, "grid"])
def test_a_held_stop_is_made_larger_and_smaller_and_fires_its_new_size(floor: Floor, instance: str):
    floor.hold(3, instance=instance)
    stop = floor.order(SELL, 1, None, STOP, instance, trigger=95)
    floor.engine.amend(stop.client_id, quantity=d(3))
    assert stop.held and stop.quantity == 3
    floor.engine.amend(stop.client_id, quantity=d(1))
    assert stop.quantity == 1
    floor.engine.amend(stop.client_id, quantity=d(2))
    floor.print(94)
    assert stop.state is OrderState.FILLED and stop.filled == 2 and floor.ledger(instance) == 1
    floor.check_books()


def met(floor: Floor, instance: str = MANUAL, *refusals: CtosError, answers_lost: int = 0) -> Order:
    """Return a stop of all that an instance holds which has just been met, and refused so often."""
    floor.hold(2, instance=instance)
    stop = floor.order(SELL, 2, None, STOP, instance, trigger=95)
    floor.driver.gateway.placed.clear()
    floor.driver.gateway.refuse_places += refusals
    floor.driver.gateway.lose_answers = answers_lost
    floor.print(94)
    assert stop.fired and stop.client_id == floor.driver.gateway.placed[0].client_id
    return stop


def sent(floor: Floor) -> list[str]:
    return [request.client_id for request in floor.driver.gateway.placed]


@pytest.mark.parametrize("instance", [MANUAL, "grid"])
@pytest.mark.parametrize(
    "error",
    [RateLimited("slow down"), VenueUnavailable("busy"), ClockSkew("late"), VenueUnavailable("down", unsent=True)],
)
def test_a_stop_that_the_venue_did_not_take_is_sent_anew_until_it_does(floor: Floor, error: CtosError, instance: str):
    stop = met(floor, instance, error, error, error)
    (again,) = floor.engine.tracker.working()
    assert not stop.is_open and (again.held, again.type, again.quantity, again.trigger_price) == (True, STOP, 2, 95)
    assert again.instance == instance and purpose_of(again.client_id) is Purpose.STOP
    floor.run(10)
    assert floor.ledger(instance) == 0 and floor.engine.tracker.working() == []
    assert len(sent(floor)) == len(set(sent(floor))) == 4 and "stop_lost" not in floor.alarms()
    floor.check_books()


def test_n01_a_stop_that_never_arrived_is_sent_anew_only_when_that_is_proved(floor: Floor):
    stop = met(floor, MANUAL, UnknownOutcome("no answer"))
    floor.run(15)
    assert stop.state is OrderState.UNKNOWN and len(sent(floor)) == 1
    floor.run(15)
    assert stop.state is OrderState.NEVER_ACCEPTED and len(sent(floor)) == 2 and floor.ledger() == 0


def test_n02_a_stop_whose_answer_is_lost_is_not_sent_anew(floor: Floor):
    stop = met(floor, MANUAL, answers_lost=1)
    floor.run(60)
    assert stop.state is OrderState.FILLED and len(sent(floor)) == 1 and floor.ledger() == 0


def test_a_stop_that_is_taken_back_on_its_way_is_not_sent_anew(floor: Floor):
    floor.hold(2)
    stop = floor.order(SELL, 2, None, STOP, trigger=95)
    floor.driver.gateway.lose_requests = 1
    floor.print(94)
    floor.engine.cancel(stop.client_id)
    floor.run(60)
    assert stop.state is OrderState.NEVER_ACCEPTED and floor.ledger() == 2 and floor.engine.tracker.working() == []


def test_a_stop_that_waits_to_be_sent_anew_can_be_cancelled_or_moved(floor: Floor):
    met(floor, MANUAL, RateLimited("slow down"))
    (again,) = floor.engine.tracker.working()
    floor.engine.amend(again.client_id, price=d(90))
    floor.run(60)
    assert again.held and again.is_open and floor.ledger() == 2
    floor.driver.gateway.refuse_places.append(RateLimited("slow down"))
    floor.print(90)
    (third,) = floor.engine.tracker.working()
    floor.engine.cancel(third.client_id)
    floor.run(60)
    assert floor.ledger() == 2 and floor.engine.tracker.working() == []


def test_a_stop_is_not_sent_anew_beside_a_close_nor_when_nothing_is_left(floor: Floor):
    met(floor, MANUAL, RateLimited("slow down"))
    (again,) = floor.engine.tracker.working()
    floor.driver.gateway.lose_answers = 1
    floor.driver.deaf = True
    close = floor.order(SELL, 2, type=OrderType.MARKET, reduce_only=True)
    assert close.state is OrderState.UNKNOWN and floor.ledger() == 2
    floor.run(0.9)
    assert again.held and again.is_open
    floor.driver.deaf = False
    floor.run(10)
    assert close.state is OrderState.FILLED and not again.is_open and not again.fired and floor.ledger() == 0
    assert len(sent(floor)) == 2


@pytest.mark.parametrize("instance", [MANUAL, "grid"])
def test_a_stop_that_is_refused_for_good_leaves_an_alarm(floor: Floor, instance: str):
    met(floor, instance, InsufficientFunds("no margin"))
    floor.run(10)
    (alarm,) = [event for event in floor.events if isinstance(event, EngineAlarm)]
    assert (alarm.kind, alarm.symbol, alarm.severity) == ("stop_lost", PERP, "CRIT")
    assert f"{PERP}: 2" in alarm.text and "UNPROTECTED" in alarm.text and "no margin" in alarm.text
    assert len(sent(floor)) == 1


def test_a_person_is_called_when_a_stop_does_not_leave_and_it_is_tried_on(floor: Floor):
    met(floor, MANUAL, *[VenueUnavailable("busy")] * 8)
    floor.run(5)
    assert floor.alarms() == ["stop_lost"]
    floor.run(40)
    assert floor.alarms() == ["stop_lost"] and floor.ledger() == 0 and len(sent(floor)) == 9


def test_a_busy_venue_does_not_halt_the_strategies_whose_stops_it_did_not_take(floor: Floor):
    floor.admit("other")
    halted: list[str] = []
    floor.engine.risk.on_instance_halt = lambda instance, reason: halted.append(instance)
    for name in ("grid", "other"):
        floor.hold(1, instance=name)
        floor.order(SELL, 1, None, STOP, name, trigger=95)
    watch = RejectWatch(floor.clock, MonitorConfig())
    floor.bus.subscribe(OrderChanged, lambda event: watch.on_order(event.order))
    floor.driver.gateway.refuse_places += [VenueUnavailable("busy")] * 24
    floor.print(94)
    floor.run(90)
    assert len(sent(floor)) == 28 and floor.ledger("grid") == floor.ledger("other") == 0
    assert halted == [] and not floor.engine.risk.is_halted and list(watch.evaluate()) == []


@pytest.mark.parametrize("at", ["on its way", "while it waits"])
def test_a_stop_that_was_not_taken_outlives_a_crash(floor: Floor, tmp_path: Path, at: str):
    error = UnknownOutcome("no answer") if at == "on its way" else RateLimited("slow down")
    stop = met(floor, MANUAL, error)
    second = floor.restart(tmp_path, driver_of=FaultyDriver, features=VenueFeatures(stops=False), armed=False)
    second.print(94)
    second.run(60)
    assert second.ledger() == 0 and second.engine.tracker.working() == []
    assert stop.client_id not in sent(second) and len(sent(second)) == 1
    second.check_books()


def crash_before(floor: Floor, folder: Path, client_id: str) -> None:
    """Leave on the disk what a crash right before the intent of an order leaves there."""
    floor.journal.flush()
    with closing(sqlite3.connect(folder / "ctos.db")) as database, database:
        intent = "SELECT MIN(seq) FROM journal WHERE kind = 'INTENT' AND CAST(body AS TEXT) LIKE ?"
        (seq,) = database.execute(intent, (f"%{client_id}%",)).fetchone()
        assert database.execute("DELETE FROM journal WHERE seq >= ?", (seq,)).rowcount > 0


@pytest.mark.parametrize("instance", [MANUAL, "grid"])
@pytest.mark.parametrize("error", [RateLimited("slow down"), VenueUnavailable("down", unsent=True)])
def test_a_crash_before_a_lost_stop_has_its_successor_leaves_one_stop(
    floor: Floor, tmp_path: Path, instance: str, error: CtosError
):
    lost = met(floor, instance, error)
    (again,) = floor.engine.tracker.working()
    crash_before(floor, tmp_path, again.client_id)
    options: dict[str, Any] = {"driver_of": FaultyDriver, "features": VenueFeatures(stops=False), "armed": False}
    second = floor.restart(tmp_path, **options)
    (held,) = second.engine.tracker.working()
    assert (held.held, held.instance, held.quantity, held.trigger_price) == (True, instance, 2, 95)
    third = second.restart(tmp_path, **options)
    assert [order.client_id for order in third.engine.tracker.working()] == [held.client_id], "once is enough"
    third.print(94)
    third.run(60)
    assert third.ledger(instance) == 0 and third.engine.tracker.working() == [] and lost.client_id not in sent(third)
    third.check_books()


def test_a_lost_stop_that_was_held_anew_and_cancelled_is_not_held_a_third_time(floor: Floor, tmp_path: Path):
    met(floor, MANUAL, RateLimited("slow down"))
    (again,) = floor.engine.tracker.working()
    crash_before(floor, tmp_path, again.client_id)
    options: dict[str, Any] = {"driver_of": FaultyDriver, "features": VenueFeatures(stops=False), "armed": False}
    second = floor.restart(tmp_path, **options)
    (held,) = second.engine.tracker.working()
    second.engine.cancel(held.client_id)
    third = second.restart(tmp_path, **options)
    assert third.engine.tracker.working() == [] and third.ledger() == 2


@pytest.mark.parametrize("then", ["its successor is cancelled", "the position is closed and made anew"])
def test_a_lost_stop_is_not_held_anew_at_a_start_long_after(floor: Floor, tmp_path: Path, then: str):
    met(floor, MANUAL, RateLimited("slow down"))
    if then == "its successor is cancelled":
        (again,) = floor.engine.tracker.working()
        floor.engine.cancel(again.client_id)
    else:
        floor.order(SELL, 2, type=OrderType.MARKET, reduce_only=True)
        floor.run(10)
        floor.hold(2)
    options: dict[str, Any] = {"driver_of": FaultyDriver, "features": VenueFeatures(stops=False), "armed": False}
    second = floor.restart(tmp_path, **options)
    second.print(90)
    second.run(60)
    assert second.ledger() == 2 and sent(second) == [] and second.engine.tracker.working() == []


def test_a_stop_does_not_leave_after_the_end_of_the_program(floor: Floor):
    met(floor, MANUAL, RateLimited("slow down"))
    floor.engine.stop()
    floor.run(60)
    assert len(sent(floor)) == 1


@pytest.mark.parametrize("is_stop", [True, False])
def test_an_order_that_takes_is_not_amended_when_less_is_held(floor: Floor, is_stop: bool):
    floor.hold(3)
    floor.driver.gateway.lose_requests = 1
    if is_stop:
        order = floor.order(SELL, 3, None, STOP, trigger=95)
        floor.print(94)
    else:
        order = floor.order(SELL, 3, type=OrderType.MARKET, reduce_only=True)
    terms = (order.client_id, "v1", PERP, SELL, OrderType.MARKET, OrderState.OPEN)
    floor.engine.booking.on_update(OrderUpdate(*terms, d(3), None, d(0), ts=order.venue_ts + 1))
    assert order.state is OrderState.OPEN
    floor.venue.gateway.place(OrderRequest("app1", "", PERP, SELL, OrderType.MARKET, d(1)), lambda reply: None)
    floor.run(2)
    assert floor.ledger() == 2 and order.quantity == 3 and "reduction" not in floor.alarms()
