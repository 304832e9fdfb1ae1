"""Between the decision and the wire: durability, deadline, cancel and halt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.kernel.errors import (
    ClockSkew,
    CtosError,
    InvalidOrder,
    JournalError,
    RateLimited,
    RiskReject,
    TradingHalted,
    VenueUnavailable,
)
from engine.kernel.orders import Order, OrderState, OrderType, Pending
from tests.engine.faults import FaultyDriver
from tests.engine.floor import BUY, SELL, Floor, d

MARKET = OrderType.MARKET


class SlowDisk:
    """Holds back what waits for the disk until `sync`."""

    def __init__(self, floor: Floor) -> None:
        self.waiting: list[Callable[[], object]] = []
        append = floor.journal.append

        def held_back(kind: str, account: str, ts_ns: int, body: Any, on_durable: Any = None) -> int:
            seq = append(kind, account, ts_ns, body)
            if on_durable is not None:
                self.waiting.append(on_durable)
            return seq

        floor.journal.append = held_back  # type: ignore[method-assign]

    def sync(self) -> None:
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            call()


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path, driver_of=FaultyDriver)
    floor.hold(1)
    floor.driver.gateway.placed.clear()
    return floor


@pytest.fixture
def disk(floor: Floor) -> SlowDisk:
    return SlowDisk(floor)


def test_nothing_is_sent_before_the_intent_is_on_the_disk(floor: Floor, disk: SlowDisk):
    order = floor.order(BUY, 1, 99)
    assert order.state is OrderState.INTENT and floor.driver.gateway.placed == []
    disk.sync()
    assert order.state is OrderState.SENT
    floor.run()
    assert order.state is OrderState.OPEN


def test_an_order_cancelled_meanwhile_is_never_sent(floor: Floor, disk: SlowDisk):
    order = floor.order(BUY, 1, 99)
    floor.engine.cancel(order.client_id)
    assert order.state is OrderState.NEVER_SENT
    disk.sync()
    floor.run()
    assert floor.driver.gateway.placed == [] and floor.driver.gateway.cancels == []


def test_an_order_halted_meanwhile_is_never_sent(floor: Floor, disk: SlowDisk):
    order = floor.order(BUY, 1, 99)
    floor.engine.panic("test")
    disk.sync()
    floor.run()
    assert order.state is OrderState.NEVER_SENT and floor.driver.gateway.placed == []


def test_an_order_disarmed_meanwhile_is_never_sent_but_a_reduction_by_hand_is(floor: Floor, disk: SlowDisk):
    entry = floor.order(BUY, 1, 99)
    exit_ = floor.order(SELL, 1, 101, reduce_only=True)
    floor.engine.disarm("test")
    disk.sync()
    floor.run()
    assert entry.state is OrderState.NEVER_SENT and entry.error == "TradingHalted"
    assert exit_.state is OrderState.OPEN


def test_an_order_older_than_two_seconds_is_dropped(floor: Floor, disk: SlowDisk):
    order = floor.order(BUY, 1, 99)
    floor.run(2.1)
    assert order.state is OrderState.NEVER_SENT and "journal" in order.reason
    disk.sync()
    floor.run()
    assert floor.driver.gateway.placed == []


def test_an_amendment_waits_for_the_disk_and_is_dropped_when_late(floor: Floor, disk: SlowDisk):
    order = floor.order(BUY, 1, 99)
    disk.sync()
    floor.run()
    floor.engine.amend(order.client_id, price=d(98))
    floor.run()
    assert floor.venue.exchange.open_orders()[0].price == 99
    floor.run(2.5)
    disk.sync()
    floor.run()
    assert order.price == 99 and order.pending is Pending.NONE and order.state is OrderState.OPEN


def test_without_a_journal_there_are_no_orders_but_cancels_pass(floor: Floor):
    order = floor.order(BUY, 1, 99)
    append = floor.journal.append

    def failing(kind: str, account: str, ts_ns: int, body: Any, on_durable: Any = None) -> int:
        if on_durable is not None:
            raise JournalError("the disk is full")
        return append(kind, account, ts_ns, body)

    floor.journal.append = failing  # type: ignore[method-assign]
    with pytest.raises(JournalError):
        floor.submit(BUY, 1, 98)
    assert len(floor.engine.tracker.working()) == 1
    floor.engine.on_journal_error(JournalError("the disk is full"))
    floor.run()
    assert order.state is OrderState.CANCELED and floor.engine.risk.is_halted
    with pytest.raises(TradingHalted):
        floor.submit(BUY, 1, 98)


def test_the_answer_to_an_amendment_does_not_end_the_cancel_that_came_after_it(floor: Floor):
    order = floor.order(BUY, 1, 99)
    floor.driver.gateway.refuse_cancels = [VenueUnavailable("no answer")]
    floor.engine.amend(order.client_id, price=d(98))
    floor.engine.cancel(order.client_id)
    floor.run(2)
    assert order.state is OrderState.CANCELED and not floor.venue_orders()


def too_large(floor: Floor, *refusals: CtosError) -> Order:
    """Return a reduction of 2 of which only 1 is held any more, and whose amendments are refused."""
    floor.admit("grid")
    floor.hold(2, instance="grid")
    floor.order(SELL, 3, type=MARKET)  # so that the venue cannot know the reduction as one, nor shrink it
    reduction = floor.order(SELL, 2, 105, instance="grid", reduce_only=True)
    floor.order(SELL, 1, 101, instance="grid")
    floor.driver.gateway.refuse_amends += refusals
    floor.print(101.0)
    assert floor.ledger("grid") == 1 and reduction.quantity == 2
    return reduction


@pytest.mark.parametrize("error", [RateLimited("slow down"), VenueUnavailable("busy"), ClockSkew("late")])
def test_a_reduction_that_could_not_be_made_smaller_is_tried_again(floor: Floor, error: CtosError):
    reduction = too_large(floor, error, error, error)
    floor.run(5)
    assert reduction.quantity == 1 and reduction.is_open and floor.alarms() == []


def test_a_person_hears_of_a_reduction_that_stays_too_large(floor: Floor):
    reduction = too_large(floor, *[RateLimited("slow down")] * 8)
    floor.run(8)
    assert floor.alarms() == ["reduction"] and reduction.quantity == 2
    floor.run(30)
    assert floor.alarms() == ["reduction"] and reduction.quantity == 1


def test_a_reduction_that_the_venue_refuses_to_make_smaller_is_cancelled(floor: Floor):
    reduction = too_large(floor, InvalidOrder("no amendments now"))
    floor.run(2)
    assert reduction.state is OrderState.CANCELED and reduction.asked_by == "less is held than it reduces"


def test_an_order_that_is_being_cancelled_cannot_be_amended(floor: Floor):
    order = floor.order(BUY, 1, 99)
    floor.driver.gateway.refuse_cancels = [VenueUnavailable("no answer")]
    floor.engine.cancel(order.client_id)
    with pytest.raises(InvalidOrder, match="being cancelled"):
        floor.engine.amend(order.client_id, price=d(98))
    floor.run(2)
    assert order.state is OrderState.CANCELED and not floor.venue_orders()


def test_an_amendment_that_is_followed_by_a_cancel_counts_until_the_order_is_gone(floor: Floor):
    floor.admit("grid", max_notional_usd=d(900))
    order = floor.order(BUY, 1, 99, instance="grid")
    floor.driver.gateway.refuse_cancels = [VenueUnavailable("no answer")]
    floor.engine.amend(order.client_id, quantity=d(8))
    floor.engine.cancel(order.client_id)
    assert order.quantity == 1 and order.pending is Pending.CANCEL
    with pytest.raises(RiskReject, match="max_notional_usd"):
        floor.submit(BUY, 4, 99, instance="grid")
    floor.run(0.01)
    assert order.quantity == 8 and order.is_open
    floor.run(2)
    assert order.state is OrderState.CANCELED
    floor.order(BUY, 4, 99, instance="grid")
