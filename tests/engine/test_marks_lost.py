"""The connection for marks and trades is gone, that for bid and ask goes on: what is held is not priced by the past."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.kernel.errors import TradingHalted
from engine.kernel.links import LinkState, LinkStatus
from engine.kernel.market import MarkPrice, Trade
from engine.kernel.orders import OrderState, OrderType
from engine.kernel.syscalls import VenueFeatures
from engine.runtime.trading_state import TradingMode
from tests.engine.faults import FaultyDriver
from tests.engine.floor import BUY, PERP, SELL, Floor, d

NO_STOPS = VenueFeatures(stops=False)


class TwoRoads(FaultyDriver):
    """Marks and trades come over one connection, bid and ask over another, as Binance sends them."""

    def __init__(self, driver: Any) -> None:
        super().__init__(driver)
        self.is_deaf = False
        self.connections: list[LinkStatus] = []

    def lose(self) -> None:
        """Let the connection for marks and trades go."""
        self.is_deaf = True
        self.connections = [LinkStatus("market", LinkState.DOWN, 0)]

    def links(self) -> list[LinkStatus]:
        return self.connections

    def subscribe_ticks(self, symbol: str, handler: Callable[[Any], None]) -> Any:
        return self._driver.subscribe_ticks(symbol, self._heard(handler))

    def subscribe_trades(self, symbol: str, handler: Callable[[Any], None]) -> Any:
        return self._driver.subscribe_trades(symbol, self._heard(handler))

    def _heard(self, handler: Callable[[Any], None]) -> Callable[[Any], None]:
        return lambda event: None if self.is_deaf and isinstance(event, MarkPrice | Trade) else handler(event)


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path, driver_of=TwoRoads, features=NO_STOPS)
    floor.hold(1, 100.0)
    return floor


def go_on(floor: Floor, price: float, seconds: int) -> None:
    """Let time pass with a price each second, of which the bid and ask are heard."""
    for _ in range(seconds):
        floor.print(price)
        floor.run(0.98)


def test_a_stop_that_is_held_here_and_the_profit_go_by_bid_and_ask_while_marks_are_lost(floor: Floor) -> None:
    stop = floor.order(SELL, 1, type=OrderType.STOP, trigger=90, reduce_only=True)
    assert stop.held
    floor.driver.lose()
    go_on(floor, 95.0, 10)
    assert floor.engine.portfolio.profit() == 0, "a mark holds for a while"
    go_on(floor, 95.0, 8)
    assert floor.engine.portfolio.profit() == -5 and stop.state is OrderState.INTENT
    go_on(floor, 89.0, 2)
    assert floor.engine.tracker.get(stop.client_id).state is OrderState.FILLED and floor.ledger() == 0  # type: ignore[union-attr]


def test_entries_are_refused_while_marks_of_what_is_held_are_lost_and_pass_again_after(floor: Floor) -> None:
    floor.driver.lose()
    go_on(floor, 100.0, 24)
    assert floor.engine.trading.mode is TradingMode.REDUCE_ONLY
    with pytest.raises(TradingHalted, match=f"no mark prices of {PERP}, bid and ask stand in for them: market down"):
        floor.submit(BUY, 1, 99)
    go_on(floor, 100.0, 150)
    assert floor.engine.trading.mode is TradingMode.REDUCE_ONLY, "it is priced, so nothing halts"
    floor.driver.connections = []
    go_on(floor, 97.0, 15)
    assert floor.engine.trading.mode is TradingMode.REDUCE_ONLY, "a connection that is back and carries nothing"
    assert floor.engine.portfolio.mark(PERP) == d(97)
    floor.driver.is_deaf = False
    go_on(floor, 100.0, 15)
    assert floor.engine.trading.mode is TradingMode.ARMED
    assert floor.engine.portfolio.mark(PERP) == d(100)


def test_prices_that_the_venue_never_heard_are_wanted_are_asked_for_anew(floor: Floor) -> None:
    floor.driver.lose()
    go_on(floor, 100.0, 24)
    floor.driver.connections = [LinkStatus("market", LinkState.LIVE, floor.clock.now_ns())]
    subscribe, asked = floor.driver.subscribe_ticks, []

    def asked_anew(symbol: str, handler: Callable[[Any], None]) -> Any:
        asked.append(symbol)
        floor.driver.is_deaf = False
        return subscribe(symbol, handler)

    floor.driver.subscribe_ticks = asked_anew
    go_on(floor, 100.0, 50)
    assert asked.count(PERP) == 1 and floor.engine.trading.mode is TradingMode.ARMED


def test_a_mark_that_rests_on_live_connections_holds(floor: Floor) -> None:
    floor.driver.is_deaf = True
    go_on(floor, 95.0, 40)
    assert floor.engine.portfolio.profit() == 0 and floor.engine.trading.mode is TradingMode.ARMED
