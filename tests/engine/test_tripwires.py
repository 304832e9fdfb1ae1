"""What stops trading by itself, and what is refreshed by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.kernel.errors import InvalidOrder, VenueUnavailable
from engine.kernel.instruments import InstrumentStatus
from engine.kernel.orders import OrderState, OrderType, OrderUpdate
from tests.engine.faults import FaultyDriver
from tests.engine.floor import BUY, MANUAL, PERP, SELL, SPOT, Floor, d


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path, driver_of=FaultyDriver)
    floor.print(100.0)
    floor.admit("grid")
    return floor


def refuse_placements(floor: Floor, error: Exception) -> None:
    floor.driver.gateway.place = lambda request, reply: floor.clock.call_later(0.005, reply, error)


def test_a_strategy_whose_orders_are_refused_again_and_again_is_halted(floor: Floor):
    halted: list[str] = []
    floor.engine.risk.on_instance_halt = lambda instance, reason: halted.append(f"{instance}: {reason}")
    refuse_placements(floor, VenueUnavailable("maintenance"))
    for number in range(5):
        assert halted == []
        floor.order(BUY, 1, 99 - number, instance="grid")
    assert len(halted) == 1 and halted[0].startswith("grid: 5 orders were refused") and not floor.engine.risk.is_halted


@pytest.mark.parametrize(("apart_s", "is_halted"), [(50, True), (70, False)])
def test_two_strategies_whose_orders_are_refused_halt_the_account(floor: Floor, apart_s: float, is_halted: bool):
    floor.admit("grid", "other")
    refuse_placements(floor, VenueUnavailable("maintenance"))
    for number in range(5):
        floor.order(BUY, 1, 99 - number, instance="grid")
    floor.run(apart_s)
    floor.print(100.0)
    for number in range(5):
        assert not floor.engine.risk.is_halted
        floor.order(BUY, 1, 99 - number, instance="other")
    assert floor.engine.risk.is_halted is is_halted
    if is_halted:
        assert "5 orders each of grid, other were refused, the last: maintenance" in floor.engine.trading.describe()


def test_refusals_of_quoting_and_of_the_operator_do_not_count(floor: Floor):
    halted: list[str] = []
    floor.engine.risk.on_instance_halt = lambda instance, reason: halted.append(instance)
    for number in range(8):
        order = floor.order(BUY, 1, d("100.5") + d(number) / 100, OrderType.POST_ONLY, "grid")
        assert order.error == "PostOnlyWouldTake"
    refuse_placements(floor, VenueUnavailable("maintenance"))
    for number in range(8):
        floor.order(BUY, 1, 99 - number)
    assert halted == []


def test_orders_that_stay_unknown_halt_the_account(floor: Floor):
    floor.driver.gateway.lose_requests = 1
    floor.driver.gateway.refuse_queries = [VenueUnavailable("maintenance") for _ in range(99)]
    floor.order(BUY, 1, 99)
    floor.run(59)
    assert not floor.engine.risk.is_halted
    floor.run(10)
    assert floor.engine.risk.is_halted and "no known outcome for 60 s" in floor.engine.trading.describe()


def test_many_unknown_orders_halt_the_account_at_once(floor: Floor):
    floor.driver.gateway.lose_requests = 9
    floor.admit("a", "b", "c", "d")
    for name in ("a", "b", "c"):
        floor.order(BUY, 1, 99, instance=name)
    assert not floor.engine.risk.is_halted
    floor.order(BUY, 1, 98, instance="d")
    assert floor.engine.risk.is_halted


@pytest.mark.parametrize("instance", [MANUAL, "grid"])
def test_an_unknown_order_that_proves_refused_is_unknown_no_more(floor: Floor, instance: str):
    floor.driver.gateway.lose_requests = 1
    floor.driver.gateway.refuse_queries = [VenueUnavailable("maintenance") for _ in range(99)]
    order = floor.order(BUY, 1, 99, instance=instance)
    assert order.state is OrderState.UNKNOWN
    terms = (order.client_id, "", PERP, BUY, OrderType.LIMIT, OrderState.REJECTED)
    floor.engine.booking.on_update(
        OrderUpdate(*terms, d(1), d(99), d(0), ts=floor.clock.now_ms(), error="InvalidOrder")
    )
    assert order.state is OrderState.REJECTED
    floor.run(90)
    assert not floor.engine.risk.is_halted


def test_unknown_orders_of_the_last_run_count_too(floor: Floor):
    floor.driver.gateway.lose_requests = 9
    floor.admit("a", "b", "c", "d")
    for name in ("a", "b", "c"):
        floor.order(BUY, 1, 99, instance=name)
    floor.engine._tripwires._unknown_since.clear()  # as after a restart, which publishes nothing about them
    floor.order(BUY, 1, 98, instance="d")
    assert floor.engine.risk.is_halted


def test_a_refused_price_step_fetches_the_instruments_anew(floor: Floor):
    venue = floor.venue.exchange
    coarse = replace(venue.instruments[PERP], tick_size=d("0.5"))
    venue.instruments[PERP] = coarse
    del venue.instruments[SPOT]
    floor.run(61)
    floor.print(100.0)
    refuse_placements(floor, InvalidOrder("price step"))
    assert floor.order(BUY, 1, "99.3").state is OrderState.REJECTED
    assert floor.engine.instrument(PERP).tick_size == d("0.5")
    assert floor.engine.instrument(SPOT).status is InstrumentStatus.DELISTED
    with pytest.raises(InvalidOrder, match=r"tick 0\.5"):
        floor.submit(BUY, 1, "99.3")
    with pytest.raises(InvalidOrder, match="delisted"):
        floor.submit(SELL, 1, 100, symbol=SPOT)
