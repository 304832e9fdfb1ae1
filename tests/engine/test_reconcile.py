"""What the streams did not say is found by asking."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.kernel.errors import VenueUnavailable
from engine.kernel.orders import OrderState, OrderType
from tests.engine.faults import FaultyDriver
from tests.engine.floor import BUY, SELL, Floor, d

MARKET = OrderType.MARKET


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path, driver_of=FaultyDriver)
    floor.print(100.0)
    return floor


def test_fills_that_the_stream_lost_are_found_within_ten_seconds(floor: Floor):
    order = floor.order(BUY, 1, 99)
    floor.driver.deaf = True
    floor.print(99)
    assert floor.ledger() == 0
    floor.run(10)
    assert floor.ledger() == 1 and order.state is OrderState.FILLED and len(floor.fills()) == 1
    floor.check_books()


def test_a_cancel_by_others_is_found(floor: Floor):
    order = floor.order(BUY, 1, 99)
    floor.driver.deaf = True
    floor.venue.gateway.cancel(order.client_id, order.symbol, lambda outcome: None)
    floor.run(21)
    assert order.state is OrderState.CANCELED and floor.ledger() == 0


def test_a_failed_query_is_not_an_empty_answer(floor: Floor):
    order = floor.order(BUY, 1, 99)
    floor.driver.broken = {
        name: VenueUnavailable("maintenance") for name in ("get_open_orders", "get_fills", "get_position")
    }
    floor.run(65)
    assert order.state is OrderState.OPEN
    assert floor.alarms().count("reconcile") == 1 and "maintenance" in floor.engine.reconciler.last_error
    floor.driver.broken = {}
    floor.run(31)
    assert floor.engine.reconciler.last_error == ""


def test_an_empty_list_alone_does_not_end_an_order(floor: Floor):
    order = floor.order(BUY, 1, 99)

    async def empty(symbol: str | None = None) -> list[object]:
        return []

    floor.driver.get_open_orders = empty
    floor.run(60)
    assert order.state is OrderState.OPEN


def test_what_moved_a_moment_ago_is_left_to_the_stream(floor: Floor):
    floor.run(9.9)
    order = floor.order(BUY, 1, 99)
    queries: list[str] = []
    query = floor.driver.gateway.query
    floor.driver.gateway.query = lambda cid, *rest: (queries.append(cid), query(cid, *rest))[1]

    async def empty(symbol: str | None = None) -> list[object]:
        return []

    floor.driver.get_open_orders = empty
    floor.run(3)
    assert queries == []
    floor.run(10)
    assert set(queries) == {order.client_id}


def test_an_order_that_the_venue_forgot_ends_as_expired(floor: Floor):
    order = floor.order(BUY, 1, 99)
    registry = floor.venue.exchange.registry
    registry.open.clear()
    floor.driver.gateway.hide = 1000

    async def empty(symbol: str | None = None) -> list[object]:
        return []

    floor.driver.get_open_orders = empty
    floor.run(100)
    assert order.state is OrderState.EXPIRED and order.error == "OrderNotFound"


def test_fills_that_a_status_announced_are_fetched_after_two_seconds(floor: Floor):
    order = floor.order(BUY, 1, 99)
    floor.driver.scramble = lambda event: () if type(event).__name__ == "Fill" else (event,)
    floor.print(99)
    assert order.state is OrderState.FILLED and order.filled == 0 and order.remaining == 0
    floor.run(1)
    assert order.filled == 0
    floor.run(1.1)
    assert order.filled == 1 and floor.ledger() == 1 and len(floor.fills()) == 1


def test_balances_and_positions_follow_without_the_stream(floor: Floor):
    floor.driver.deaf = True
    floor.order(BUY, 1, type=MARKET)
    floor.print(110.0)
    floor.order(SELL, 1, type=MARKET)
    floor.run(31)
    assert floor.engine.portfolio.balance("USD").total == 100_010
    assert floor.engine.portfolio.equity() == 100_010 and floor.engine.portfolio.profit() == d(10)
