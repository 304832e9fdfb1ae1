"""A halt carried through: what is in flight, what the venue lists late, a restart in the middle, closing everything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import CtosError, RateLimited, TradingHalted, VenueUnavailable
from engine.kernel.orders import OrderState, OrderType, OrderUpdate, Pending
from engine.runtime.accounts import AccountLimits
from engine.runtime.events import LogLine, PanicProgress
from tests.engine.faults import FaultyDriver
from tests.engine.floor import BUY, PERP, SELL, SPOT, Floor, d

MARKET, STOP = OrderType.MARKET, OrderType.STOP


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path, driver_of=FaultyDriver)
    floor.print(100.0)
    floor.admit("grid")
    return floor


def progress(floor: Floor) -> list[PanicProgress]:
    return [event for event in floor.events if isinstance(event, PanicProgress)]


def said(floor: Floor) -> list[str]:
    lines: list[str] = []
    floor.bus.subscribe(LogLine, lambda line: lines.append(line.text))
    return lines


def test_the_first_word_is_that_orders_are_being_cancelled_not_that_something_is_wrong(floor: Floor):
    for price in (97, 98, 99):
        floor.order(BUY, 1, price)
    report = floor.engine.panic("operator")
    assert report.text == "paper: cancelling 3 orders" and not progress(floor)[-1].trouble
    floor.run(6)
    assert report.confirmed and not any(event.trouble for event in progress(floor))


def test_rearming_what_is_not_halted_changes_nothing(floor: Floor):
    floor.hold(10, 100.0)
    floor.print(110.0)
    floor.run(2)
    floor.print(105.0)
    floor.run(2)
    used = [use.used for use in floor.engine.risk.losses.account_usage() if use.rule == "max_drawdown_pct"]
    with pytest.raises(CtosError, match="there is no halt to release"):
        floor.engine.rearm("ann", "out of habit")
    floor.run(2)
    assert used == [50]
    assert [use.used for use in floor.engine.risk.losses.account_usage() if use.rule == "max_drawdown_pct"] == used


def test_the_report_of_a_limits_halt_says_nothing_of_an_earlier_one(tmp_path: Path):
    floor = Floor(tmp_path, driver_of=FaultyDriver, limits=AccountLimits(daily_loss_pct=d("0.001")))
    floor.print(100.0)
    floor.order(BUY, 1, 90)
    floor.engine.panic("ann")
    floor.run(8)
    assert floor.engine.panic_switch.report.asked
    floor.engine.rearm("ann", "seen")
    floor.hold(10, 100.0)
    floor.print(80.0)
    floor.run(2)
    report = floor.engine.panic_switch.report
    assert floor.engine.risk.is_halted and (report.who, report.asked) == ("risk", [])
    assert "daily_loss_pct" in report.reason and floor.engine.trading.status.who == "risk"


def test_o03_orders_that_cannot_be_cancelled_are_tried_on_and_listed_one_by_one(floor: Floor):
    orders = [floor.order(BUY, 1, 99 - number) for number in range(50)]
    stuck = orders[10:13]
    cancel = floor.driver.gateway.cancel
    tries: list[str] = []

    def refuse(client_id, symbol, reply):
        if client_id in {order.client_id for order in stuck}:
            tries.append(client_id)
            floor.clock.call_later(0.005, reply, RateLimited("slow down"))
        else:
            cancel(client_id, symbol, reply)

    floor.driver.gateway.cancel = refuse
    report = floor.engine.panic("operator")
    floor.run(6)
    assert report.unconfirmed == [order.label for order in stuck] and report.is_trouble
    assert all(order.client_id in line for order, line in zip(stuck, report.details.values(), strict=True))
    assert (
        f"#{stuck[0].label} {PERP} buy 1 at 89, open, client id {stuck[0].client_id}, venue id "
        in report.details[stuck[0].label]
    )
    before = len(tries)
    floor.run(600)
    assert len(tries) > before + 100 and not report.confirmed and progress(floor)[-1].trouble
    floor.driver.gateway.cancel = cancel
    floor.run(15)
    assert report.confirmed and floor.venue_orders() == []


def test_o01_a_submit_in_flight_is_waited_for_five_seconds_and_then_looked_for(floor: Floor):
    place = floor.driver.gateway.place
    floor.driver.gateway.place = lambda request, reply: place(request, lambda outcome: None)
    floor.driver.deaf = True
    silent = floor.order(BUY, 1, 99)
    assert silent.state is OrderState.SENT
    floor.driver.gateway.refuse_cancels = [VenueUnavailable("maintenance") for _ in range(99)]
    report = floor.engine.panic("operator")
    floor.run(4.9)
    assert silent.state is OrderState.SENT and not report.is_trouble
    floor.run(0.2)
    assert silent.state is OrderState.UNKNOWN and report.unconfirmed == [silent.label]
    floor.driver.gateway.refuse_cancels.clear()
    floor.run(20)
    assert silent.state is OrderState.CANCELED and report.confirmed and floor.venue_orders() == []


def test_an_order_that_rests_although_it_counts_as_gone_is_cancelled_all_the_same(floor: Floor):
    floor.driver.gateway.lose_answers = 1
    floor.driver.gateway.hide = 3
    floor.driver.deaf = True
    ghost = floor.order(BUY, 1, 99)
    floor.driver.gateway.refuse_cancels = [VenueUnavailable("maintenance") for _ in range(99)]
    report = floor.engine.panic("operator")
    floor.driver.broken["get_open_orders"] = VenueUnavailable("maintenance")
    floor.run(40)
    floor.driver.gateway.refuse_cancels.clear()
    floor.driver.broken.clear()
    floor.run(20)
    assert not ghost.is_open and floor.venue_orders() == [] and report.confirmed


def test_o03_a_cancel_that_is_acknowledged_and_not_carried_out_is_sent_again(floor: Floor):
    order = floor.order(BUY, 1, 99)
    cancel = floor.driver.gateway.cancel
    sent_ns: list[int] = []

    def acknowledge(client_id, symbol, reply):
        sent_ns.append(floor.clock.now_ns())
        acked = next(each for each in floor.venue.exchange.open_orders() if each.client_id == client_id)
        floor.clock.call_later(0.005, reply, replace(acked, state=OrderState.SENT, ts=0))

    floor.driver.gateway.cancel = acknowledge
    floor.engine.cancel(order.client_id)
    floor.run(4)
    report = floor.engine.panic("operator")
    floor.run(56)
    assert [round((each - sent_ns[0]) / NS_PER_S) for each in sent_ns] == [0, 5, 15, 35]
    assert report.unconfirmed == [order.label] and report.is_trouble and order.pending is Pending.CANCEL
    floor.driver.gateway.cancel = cancel
    floor.run(15)
    assert order.state is OrderState.CANCELED and report.confirmed and floor.venue_orders() == []
    assert floor.engine.commands.cancels._under_way == {}


def test_one_list_without_an_order_does_not_confirm_a_halt(floor: Floor):
    floor.driver.gateway.lose_answers, floor.driver.gateway.hide = 1, 99
    floor.driver.deaf = True
    floor.driver.broken["get_open_orders"] = VenueUnavailable("maintenance")
    ghost = floor.order(BUY, 1, 99)
    floor.run(40)
    assert not ghost.is_open and floor.venue_orders() == [ghost.client_id]
    shown_ns = floor.clock.now_ns() + 3 * NS_PER_S
    inner = floor.venue.get_open_orders

    async def late(symbol: str | None = None) -> list[OrderUpdate]:
        return await inner(symbol) if floor.clock.now_ns() > shown_ns else []

    floor.driver.broken.clear()
    floor.driver.get_open_orders = late
    report = floor.engine.panic("operator")
    floor.run(2.5)
    assert report.clear_looks == 1 and not report.confirmed and floor.venue_orders() == [ghost.client_id]
    floor.run(20)
    assert report.confirmed and floor.venue_orders() == []


def test_o02_a_restart_in_the_middle_of_cancelling_comes_up_halted_and_goes_on(floor: Floor, tmp_path: Path):
    floor.hold(1, instance="grid")
    stop = floor.order(SELL, 1, None, STOP, "grid", trigger=95)
    floor.order(BUY, 1, 99)
    floor.order(BUY, 1, 98)
    floor.driver.gateway.cancel = lambda *_: None
    floor.engine.panic("operator", "fire")
    floor.run(1)
    assert len(floor.venue_orders()) == 3
    again = floor.restart(tmp_path, driver_of=FaultyDriver, armed=False)
    assert again.engine.risk.is_halted and again.engine.trading.describe() == "trading is halted by operator: fire"
    again.print(100.0)
    with pytest.raises(TradingHalted):
        again.submit(BUY, 1, 99)
    again.run(10)
    report = again.engine.panic_switch.report
    assert report is not None and report.confirmed and report.who == "operator"
    assert again.venue_orders() == [stop.client_id]
    with pytest.raises(TradingHalted, match="rearm"):
        again.engine.arm("operator")


def test_orders_of_a_run_whose_clock_was_ahead_go_and_are_confirmed_gone(floor: Floor, tmp_path: Path):
    floor.order(BUY, 1, 99)
    hour_back_ns = floor.clock.now_ns() - 3600 * NS_PER_S
    again = floor.restart(tmp_path, driver_of=FaultyDriver, start_ns=hour_back_ns)
    again.engine.panic("operator", "fire")
    again.run(10)
    report = again.engine.panic_switch.report
    assert again.venue_orders() == [] and len(report.asked) == 1 and report.confirmed


def test_o02_a_halt_stamped_in_the_future_leaves_the_persons_own_reductions_after_it_alone(
    floor: Floor, tmp_path: Path
):
    floor.hold(1)
    floor.driver.gateway.cancel = lambda *_: None
    floor.order(BUY, 1, 99)
    floor.engine.panic("operator", "fire")
    floor.run(1)
    hour_back_ns = floor.clock.now_ns() - 3600 * NS_PER_S
    again = floor.restart(tmp_path, driver_of=FaultyDriver, start_ns=hour_back_ns, armed=False)
    again.print(100.0)
    by_hand = again.order(SELL, 1, 106, reduce_only=True)
    again.run(10)
    report = again.engine.panic_switch.report
    assert again.venue_orders() == [by_hand.client_id] and len(report.asked) == 1 and report.confirmed


def test_o01_another_halt_during_a_halt_keeps_the_first_reason_and_goes_on(floor: Floor):
    floor.order(BUY, 1, 99)
    floor.driver.gateway.refuse_cancels = [RateLimited("slow down") for _ in range(3)]
    floor.engine.panic("operator", "fire")
    floor.run(0.3)
    report = floor.engine.panic("ann", "me too")
    floor.run(10)
    assert floor.engine.trading.describe() == "trading is halted by operator: fire"
    assert report.confirmed and floor.venue_orders() == []


def test_o07_flattening_while_a_strategy_wants_to_trade_never_turns_the_position(floor: Floor):
    floor.hold(3, instance="grid")
    held: list[object] = []
    floor.engine.panic("operator")
    floor.engine.flatten_all("operator")
    for _ in range(40):
        for side in (BUY, SELL):
            with pytest.raises(CtosError):
                floor.submit(side, 1, type=MARKET, instance="grid")
        floor.run(0.1)
        held.append(floor.venue_quantity())
    assert min(held) == 0 and held[-1] == 0 and floor.engine.portfolio.ledgers() == []
    floor.check_books()


def test_o08_a_position_changed_by_hand_while_it_is_closed_is_never_turned(tmp_path: Path):
    limits = AccountLimits(max_notional_usd=d(100_000), max_order_usd=d(202), max_leverage=d(100))
    floor = Floor(tmp_path, driver_of=FaultyDriver, limits=limits)
    floor.print(100.0)
    for _ in range(5):
        floor.order(BUY, 2, type=MARKET)
        floor.run(1.1)
    lines = said(floor)
    floor.engine.panic("operator")
    assert floor.engine.flatten_all("operator") == [PERP]
    floor.run(0.1)
    assert floor.venue_quantity() == d("7.98"), "one slice of what one order may have"
    floor.driver.deaf = True
    floor.venue.gateway.place(
        floor.driver.gateway.placed[-1].__class__("theirs", "", PERP, SELL, MARKET, d("6.98")), lambda outcome: None
    )
    floor.run(0.1)
    assert floor.venue_quantity() == 1 and floor.engine.portfolio.quantity(PERP) == d("7.98")
    quantities = []
    for _ in range(100):
        floor.run(0.2)
        quantities.append(floor.venue_quantity())
    assert set(quantities) == {d(1), d(0)} or set(quantities) == {d(0)}
    sent = [request.quantity for request in floor.driver.gateway.placed if request.reduce_only]
    assert sent == [d("2.02"), d(1)] and any("flatten: nothing is left" in line for line in lines)


def test_flattening_says_what_it_cannot_close(floor: Floor):
    floor.print(100.0, symbol=SPOT)
    floor.order(BUY, 1, type=MARKET, symbol=SPOT)
    floor.hold(1)
    floor.driver.gateway.place = lambda request, reply: floor.clock.call_later(0.005, reply, VenueUnavailable("closed"))
    lines = said(floor)
    floor.engine.flatten_all("operator")
    floor.run(30)
    assert "flatten" in floor.alarms()
    text = next(op[1]["det"] for op in floor.operations if "is left" in op[1].get("det", ""))
    assert f"{PERP} 1: closed" in text and f"{SPOT} 1: closed" in text and "TST in the wallet" in text
    assert lines == [] or all("nothing is left" not in line for line in lines)


def test_o04_rearming_is_refused_while_an_order_may_rest_that_should_be_gone(floor: Floor):
    order = floor.order(BUY, 1, 99)
    floor.driver.gateway.refuse_cancels = [RateLimited("slow down") for _ in range(999)]
    floor.engine.panic("operator")
    with pytest.raises(CtosError, match=f"cannot rearm: .*#{order.label}"):
        floor.engine.rearm("operator", "checked")
    floor.driver.gateway.refuse_cancels.clear()
    floor.run(10)
    floor.engine.rearm("operator", "checked")
