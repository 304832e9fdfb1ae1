"""Stops that the engine keeps: changed as asked, sent when met, and tried again when the venue did not take them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.kernel.orders import OrderState, OrderType
from engine.kernel.syscalls import VenueFeatures
from tests.engine.faults import FaultyDriver
from tests.engine.floor import MANUAL, SELL, Floor, d

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
