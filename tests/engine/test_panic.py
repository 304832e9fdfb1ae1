"""The halt: gate, strategies, orders, report, release."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.kernel.errors import CtosError, RateLimited, TradingHalted
from engine.kernel.orders import OrderRequest, OrderState, OrderType
from engine.runtime.events import PanicProgress
from engine.runtime.trading_state import TradingMode
from tests.engine.faults import FaultyDriver
from tests.engine.floor import BUY, PERP, SELL, Floor, d

LIMIT, MARKET, STOP = OrderType.LIMIT, OrderType.MARKET, OrderType.STOP


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path, driver_of=FaultyDriver)
    floor.print(100.0)
    floor.admit("grid")
    return floor


def test_panic_closes_the_gate_and_cancels_all_but_protective_stops(floor: Floor):
    floor.hold(1, instance="grid")
    stop = floor.order(SELL, 1, None, STOP, "grid", trigger=95)
    target = floor.order(SELL, 1, 105, instance="grid", reduce_only=True)
    entry = floor.order(BUY, 1, 99)
    halted: list[str] = []
    floor.engine.on_halt.append(lambda reason: halted.append(floor.engine.trading.mode.value))
    report = floor.engine.panic("operator", "fire")
    assert halted == [TradingMode.HALTED.value]
    assert sorted(report.asked) == [target.label, entry.label] and report.kept == [stop.label]
    assert len(report.unconfirmed) == 2 and not report.confirmed
    with pytest.raises(TradingHalted):
        floor.submit(BUY, 1, 98)
    floor.run(1)
    with pytest.raises(TradingHalted):
        floor.submit(SELL, 1, 106, instance="grid", reduce_only=True)
    assert entry.state is target.state is OrderState.CANCELED and stop.state is OrderState.OPEN
    assert report.unconfirmed == [] and not report.confirmed
    by_hand = floor.order(SELL, 1, 106)
    floor.run(5)
    assert by_hand.state is OrderState.OPEN and by_hand.label not in report.asked
    assert report.confirmed and "none rests (confirmed)" in report.text and f"#{stop.label}" in report.text
    assert [event.confirmed for event in floor.events if isinstance(event, PanicProgress)][-1]
    floor.check_books()


def test_orders_that_turn_up_late_are_cancelled_too(floor: Floor):
    floor.driver.gateway.lose_answers = 1
    floor.driver.deaf = True
    late = floor.order(BUY, 1, 99)
    assert late.state is OrderState.UNKNOWN
    report = floor.engine.panic("operator")
    assert report.unconfirmed == [late.label]
    floor.driver.deaf = False
    floor.run(10)
    assert late.state is OrderState.CANCELED and report.confirmed


def test_a_silent_venue_is_unknown_not_none(floor: Floor):
    order = floor.order(BUY, 1, 99)
    floor.driver.gateway.refuse_cancels = [RateLimited("slow down") for _ in range(100)]
    floor.driver.broken["get_open_orders"] = RateLimited("slow down")
    report = floor.engine.panic("operator")
    floor.run(30)
    assert not report.confirmed and f"unknown: #{order.label}" in report.text and "last look failed" in report.text
    floor.driver.gateway.refuse_cancels.clear()
    floor.driver.broken.clear()
    floor.run(15)
    assert report.confirmed


def test_orders_of_others_are_named_and_left_alone(floor: Floor):
    floor.venue.gateway.place(OrderRequest("theirs", "", PERP, BUY, LIMIT, d(1), d(99)), lambda outcome: None)
    floor.run()
    report = floor.engine.panic("operator")
    floor.run(10)
    assert report.external == [1] and floor.venue_orders() == ["theirs"] and report.confirmed


def test_by_hand_everything_can_be_flattened_under_the_halt(floor: Floor):
    floor.hold(2, instance="grid")
    floor.order(SELL, 2, None, STOP, "grid", trigger=95)
    floor.order(SELL, "0.5", type=MARKET)
    floor.engine.panic("operator")
    floor.run(1)
    floor.engine.flatten_all("operator")
    floor.run(1)
    assert floor.engine.portfolio.quantity(PERP) == 0 and floor.engine.portfolio.ledgers() == []
    assert floor.venue_orders() == [] and floor.engine.risk.is_halted
    assert "LedgerTransfer" in floor.ops()
    floor.check_books()


def test_flattening_takes_over_the_ledger_of_every_strategy(floor: Floor):
    floor.admit("trend")
    floor.hold(2, instance="grid")
    floor.hold(1, instance="trend")
    floor.engine.flatten_all("operator")
    floor.run(5)
    assert floor.ledger("grid") == floor.ledger("trend") == floor.ledger() == 0


def test_only_a_person_with_a_reason_releases_it(floor: Floor):
    floor.engine.panic("operator")
    with pytest.raises(TradingHalted, match="rearm"):
        floor.engine.arm("operator")
    with pytest.raises(CtosError, match="reason"):
        floor.engine.rearm("operator", " ")
    floor.engine.rearm("operator", "checked")
    floor.run(10)
    floor.print(100.0)
    assert floor.order(BUY, 1, 99).state is OrderState.OPEN


def test_a_look_that_is_answered_after_the_release_tells_nothing(floor: Floor):
    floor.engine.panic("operator")
    ask = floor.driver.get_open_orders
    told: list[PanicProgress] = []

    async def released_meanwhile() -> object:
        if floor.engine.risk.is_halted:
            floor.engine.rearm("operator", "looked")
            floor.engine.bus.subscribe(PanicProgress, told.append)
        return await ask()

    floor.driver.get_open_orders = released_meanwhile
    floor.run(10)
    assert floor.engine.trading.mode is TradingMode.ARMED
    assert told == []


def test_release_waits_until_every_order_is_known(floor: Floor):
    floor.driver.gateway.lose_requests = 1
    order = floor.order(BUY, 1, 99)
    floor.engine.panic("operator")
    with pytest.raises(CtosError, match=f"#{order.label} has no known outcome"):
        floor.engine.rearm("operator", "checked")
    floor.run(60)
    floor.engine.rearm("operator", "checked")


def test_a_liquidation_halts_and_empties_the_ledgers_that_held_it(tmp_path: Path):
    floor = Floor(tmp_path, balances={"USD": d(1000)})
    floor.print(100.0)
    floor.admit("grid", "trend")
    floor.order(BUY, 70, type=MARKET, instance="grid")
    floor.order(BUY, 40, type=MARKET, instance="trend")
    floor.order(SELL, 10, type=MARKET)
    floor.print(90.4)
    floor.run(1)
    assert floor.venue_quantity() == 0 and floor.engine.risk.is_halted and "liquidation" in floor.alarms()
    assert floor.engine.portfolio.ledgers() == []
    floor.check_books()


def test_an_account_that_is_not_fit_for_trading_is_not_rearmed(tmp_path: Path):
    floor = Floor(tmp_path)
    floor.engine.panic("ann")
    floor.run(10)
    floor.engine.core.obstacles = ["the account is in hedge mode"]
    with pytest.raises(CtosError, match="cannot rearm: the account is in hedge mode"):
        floor.engine.rearm("ann", "all well")
    assert floor.engine.risk.is_halted
    floor.engine.core.obstacles = []
    floor.engine.rearm("ann", "all well")
    assert not floor.engine.risk.is_halted


def test_a_second_halt_goes_on_counting_and_the_first_reason_stays(floor: Floor):
    floor.hold(1)
    stop = floor.order(SELL, 1, None, STOP, trigger=95)
    quick, slow = floor.order(BUY, 1, 99), floor.order(BUY, 1, 98)
    floor.driver.gateway.refuse_cancels = [RateLimited("slow down")]
    floor.engine.panic("operator", "fire")
    floor.run(0.1)
    assert [quick.state, slow.state].count(OrderState.CANCELED) == 1
    report = floor.engine.panic("journal", "no space left")
    assert sorted(report.asked) == [quick.label, slow.label] and report.kept == [stop.label]
    assert "cancelling 2 orders, 1 gone" in report.text
    assert (report.who, report.reason) == ("operator", "fire") and slow.asked_by == "halt: fire"
    floor.run(10)
    again = floor.engine.panic("operator", "once more")
    assert not again.confirmed and "2 cancelled, being confirmed" in again.text
    floor.run(10)
    assert again.confirmed and "none rests (confirmed), 2 cancelled" in again.text and "kept stops" in again.text
    floor.engine.rearm("operator", "done")
    assert floor.engine.panic("operator", "anew").asked == []
