"""Work of several orders on the whole engine and the real paper exchange: prints at which bid = ask = mark."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.kernel.errors import CtosError, InvalidOrder, RiskReject, TradingHalted
from engine.kernel.market import Trade
from engine.kernel.orders import Order, OrderState, OrderType, Pending
from engine.kernel.strategy import DeadlinePolicy, Done, DoneStatus
from engine.kernel.syscalls import VenueFeatures
from engine.runtime.accounts import AccountLimits
from engine.runtime.events import OrderChanged, WorkDone
from tests.engine.faults import FaultyDriver
from tests.engine.floor import BUY, MANUAL, PERP, SELL, SPOT, Floor, d

GRID = "grid"


def open_floor(tmp_path: Path, **options: Any) -> Floor:
    floor = Floor(tmp_path, **options)
    floor.print(100.0)
    floor.admit(GRID)
    return floor


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    return open_floor(tmp_path)


def dones(floor: Floor) -> list[Done]:
    return [event.done for event in floor.events if isinstance(event, WorkDone)]


def done(floor: Floor) -> Done:
    found = dones(floor)
    assert len(found) == 1, found
    return found[0]


def sent(floor: Floor) -> list[tuple[str, str, Decimal, bool]]:
    """The orders that were sent, as type, side, quantity and reduce-only."""
    orders = sorted(floor.engine.tracker.recent() + floor.engine.tracker.working(), key=lambda order: order.label)
    return [(order.type.value, order.side.value, order.quantity, order.reduce_only) for order in orders]


def test_a_soft_buy_follows_the_market_and_fills_as_maker(floor: Floor):
    handle = floor.engine.soft(GRID, PERP, BUY, d(1))
    floor.run(1)
    order = floor.engine.tracker.working(PERP)[0]
    assert (order.type, order.price, order.parent) == (OrderType.POST_ONLY, d("99.99"), handle)
    floor.print(100.5)
    floor.run(2)
    assert order.price == d("100.48"), "a hundredth of a per cent behind"
    floor.print(100.48)
    assert floor.ledger(GRID) == 1 and order.state is OrderState.FILLED
    assert (done(floor).status, done(floor).average_price) == (DoneStatus.FILLED, d("100.48"))
    assert all(booked.fill.maker for booked in floor.fills())
    assert not floor.engine.work_of()
    floor.check_books()


def test_the_order_is_told_before_the_end_of_the_work(floor: Floor):
    floor.engine.soft(GRID, PERP, BUY, d(1))
    floor.run(1)
    floor.print(99.9)
    kinds = [type(event) for event in floor.events if isinstance(event, OrderChanged | WorkDone)]
    assert kinds[-1] is WorkDone and kinds.count(WorkDone) == 1


def test_a_soft_order_crosses_with_exactly_the_rest(floor: Floor):
    floor.engine.soft(GRID, PERP, BUY, d(1), deadline_s=60, policy=DeadlinePolicy.CROSS)
    floor.print(101.0)
    floor.run(55)
    floor.print(101.0)
    floor.run(6)
    assert [terms[:3] for terms in sent(floor)] == [("post_only", "buy", d(1)), ("market", "buy", d(1))]
    assert (done(floor).status, floor.ledger(GRID)) == (DoneStatus.FILLED, d(1))
    floor.check_books()


def test_an_incremental_order_of_three_children(floor: Floor):
    floor.engine.place_incremental_orders(GRID, d(1000), PERP, BUY, soft=False, n_children=3)
    floor.run(1)
    assert [quantity for _, _, quantity, _ in sent(floor)] == [d("3.323"), d("3.328"), d("3.338")]
    report = done(floor)
    assert report.status is DoneStatus.FILLED and report.notional + report.unspent == 1000
    assert report.unspent < 5 and report.quantity == floor.ledger(GRID)


def test_a_target_across_zero(floor: Floor):
    floor.hold("0.5", instance=GRID)
    floor.engine.set_coin_position(GRID, PERP, d(-30), soft=False)
    floor.run(1)
    assert sent(floor)[1:] == [("market", "sell", d("0.5"), True), ("market", "sell", d("0.3"), False)]
    assert (done(floor).status, floor.ledger(GRID)) == (DoneStatus.FILLED, d("-0.3"))
    floor.check_books()


def test_a_change_below_the_minimum_and_dust(floor: Floor):
    floor.hold("0.5", instance=GRID)
    floor.engine.set_coin_position(GRID, PERP, d(54), soft=False)
    assert (done(floor).status, len(sent(floor))) == (DoneStatus.SKIPPED, 1)
    floor.engine.set_coin_position(GRID, PERP, d(0), soft=False)
    floor.run(1)
    assert dones(floor)[1].status is DoneStatus.FILLED and floor.ledger(GRID) == 0


def test_target_zero_closes_what_is_below_the_minimum_or_calls_it_dust(floor: Floor):
    floor.hold("0.5", instance=GRID)
    floor.order(SELL, "0.47", type=OrderType.MARKET, instance=GRID)
    assert floor.ledger(GRID) == d("0.03")
    floor.engine.set_coin_position(GRID, PERP, d(0), soft=False)
    floor.run(1)
    assert done(floor).status in (DoneStatus.FILLED, DoneStatus.DUST)
    assert floor.ledger(GRID) == (0 if done(floor).status is DoneStatus.FILLED else d("0.03"))


def test_a_rejected_first_leg_opens_no_second(tmp_path: Path):
    floor = open_floor(tmp_path)
    floor.hold("0.5", instance=GRID)
    floor.engine.disarm("test")
    with pytest.raises(TradingHalted):
        floor.engine.set_coin_position(GRID, PERP, d(-30), soft=False)
    floor.run(1)
    assert len(sent(floor)) == 1 and not floor.engine.work_of()


def test_short_targets_on_spot_are_refused(floor: Floor):
    floor.print(100.0, symbol=SPOT)
    with pytest.raises(RiskReject, match="no_short"):
        floor.engine.set_coin_position(GRID, SPOT, d(-30))


def test_a_new_target_takes_over(floor: Floor):
    floor.engine.set_coin_position(GRID, PERP, d(100))
    floor.run(1)
    floor.engine.set_coin_position(GRID, PERP, d(-50), soft=False)
    floor.run(1)
    assert [(report.status, report.reason) for report in dones(floor)] == [
        (DoneStatus.CANCELED, "superseded"),
        (DoneStatus.FILLED, ""),
    ]
    assert floor.ledger(GRID) == d("-0.5") and not floor.engine.tracker.working()


def test_a_basket_reduces_first(floor: Floor):
    floor.print(100.0, symbol=SPOT)
    floor.hold("2", instance=GRID)
    floor.events.clear()
    handles = floor.engine.set_positions(GRID, {SPOT: d(100), PERP: d(50)}, soft=False)
    floor.run(1)
    assert sent(floor)[1:] == [("market", "sell", d("1.5"), True), ("market", "buy", d(1), False)]
    assert {report.handle for report in dones(floor)} == set(handles.values())


def test_work_refused_by_the_budget_waits_for_it(tmp_path: Path):
    floor = Floor(tmp_path)
    floor.print(100.0)
    floor.admit(GRID, max_cmds_per_min=2)
    floor.engine.place_incremental_orders(GRID, d(400), PERP, BUY, soft=False, n_children=4)
    for _ in range(11):
        floor.run(5)
        floor.print(100.0)
    assert len(sent(floor)) == 2 and not dones(floor)
    for _ in range(20):
        floor.run(5)
        floor.print(100.0)
    assert len(sent(floor)) == 4 and done(floor).status is DoneStatus.FILLED


def test_a_halt_ends_all_work(floor: Floor):
    floor.engine.soft(GRID, PERP, BUY, d(1), policy=DeadlinePolicy.CROSS)
    floor.engine.place_incremental_orders(MANUAL, d(100), PERP, BUY, n_children=3, interval_s=60)
    floor.run(1)
    floor.engine.panic("ann", "enough")
    floor.run(300)
    assert [report.reason for report in dones(floor)] == ["halted: enough"] * 2
    assert not floor.venue_orders() and floor.ledger() == 0


@pytest.mark.parametrize("moment_s", [0.0, 0.001, 1.0, 59.9995, 60.0005])
def test_work_survives_a_restart(tmp_path: Path, moment_s: float):
    floor = open_floor(tmp_path, latency_ms=1)
    floor.engine.soft(GRID, PERP, BUY, d(1), deadline_s=60, policy=DeadlinePolicy.CROSS)
    floor.run(moment_s)
    again = floor.restart(tmp_path, start_ns=floor.clock.now_ns() + 1_000_000_000, latency_ms=1)
    again.admit(GRID)
    for _ in range(10):
        again.print(100.0)
        again.run(7)
    assert len(dones(again)) == 1 and not again.engine.work_of()
    assert again.ledger(GRID) == dones(again)[0].quantity
    if moment_s != 0.0:
        assert (dones(again)[0].status, again.ledger(GRID)) == (DoneStatus.FILLED, d(1))
    again.check_books()


def test_a_soft_order_follows_the_touch_again_after_a_restart(tmp_path: Path):
    floor = open_floor(tmp_path)
    floor.engine.soft(GRID, PERP, BUY, d(1))
    floor.run(1)
    again = floor.restart(tmp_path, start_ns=floor.clock.now_ns() + 1_000_000_000)
    again.admit(GRID)
    again.print(100.5)
    again.run(2)
    assert again.engine.tracker.working(PERP)[0].price == d("100.48")
    assert not dones(again)


def test_a_venue_without_amendments_replaces(tmp_path: Path):
    floor = open_floor(tmp_path, features=VenueFeatures(amends=False))
    order = floor.order(BUY, 2, 99, instance=GRID)
    floor.engine.amend(order.client_id, price=d("99.5"), quantity=d("1.5"))
    floor.run(1)
    new = floor.engine.tracker.working(PERP)
    assert [(o.quantity, o.price, o.instance) for o in new] == [(d("1.5"), d("99.5"), GRID)]
    assert (done(floor).kind, done(floor).status) == ("amend", DoneStatus.FILLED)
    with pytest.raises(RiskReject, match="price_band_bp"):
        floor.engine.amend(new[0].client_id, price=d(150))
    floor.run(1)
    assert floor.engine.tracker.working(PERP) == new
    floor.engine.soft(GRID, PERP, SELL, d(1))
    floor.run(1)
    floor.print(99.9)
    floor.run(3)
    soft = next(o for o in floor.engine.tracker.working(PERP) if o.side is SELL)
    assert soft.price is not None and soft.price < 100 and len(dones(floor)) == 1
    floor.check_books()


def test_the_budget_of_an_amount_is_kept_under_account_limits(tmp_path: Path):
    limits = AccountLimits(max_notional_usd=d(500), max_order_usd=d(300))
    floor = Floor(tmp_path, limits=limits)
    floor.print(100.0)
    with pytest.raises(RiskReject, match=r"max_order_usd: .* exceeds the limit 300 USD"):
        floor.engine.place_incremental_orders(MANUAL, d(1000), PERP, BUY, soft=False)
    floor.engine.place_incremental_orders(MANUAL, d(1000), PERP, BUY, soft=False, n_children=4)
    floor.run(1)
    assert done(floor).status is DoneStatus.PARTIAL and done(floor).reason.startswith("RiskReject: ")
    assert floor.ledger() * 100 <= 500


def repegging(floor: Floor, *refusals: CtosError) -> Order:
    """Return the order of a soft order that is on its way back, to be placed at another price."""
    floor.engine.soft(GRID, PERP, BUY, d(1))
    floor.run(1.5)
    (order,) = floor.engine.tracker.working(PERP)
    floor.driver.gateway.refuse_cancels += refusals
    floor.play(Trade(PERP, floor.clock.now_ms(), 101.0, 1.0, SELL, "1"))
    assert order.pending is Pending.CANCEL
    return order


@pytest.mark.parametrize("crashes", [False, True])
@pytest.mark.parametrize("who", [MANUAL, GRID])
def test_an_order_that_is_cancelled_in_the_middle_of_a_repeg_is_not_placed_anew(
    tmp_path: Path, who: str, crashes: bool
):
    options: dict[str, Any] = {"features": VenueFeatures(amends=False), "driver_of": FaultyDriver}
    floor = open_floor(tmp_path, **options)
    order = repegging(floor)
    floor.engine.cancel(order.client_id, who)
    floor.engine.cancel(order.client_id, who)
    assert floor.driver.gateway.cancels == [order.client_id]
    if crashes:
        floor = floor.restart(tmp_path, **options)
        floor.print(101.0)
    floor.run(30)
    assert (done(floor).status, done(floor).reason) == (DoneStatus.CANCELED, "canceled outside")
    assert floor.engine.tracker.working() == [] and floor.venue_orders() == []


def test_a_repeg_that_was_refused_does_not_bring_back_what_is_cancelled_in_the_venues_app(tmp_path: Path):
    floor = open_floor(tmp_path, features=VenueFeatures(amends=False), driver_of=FaultyDriver)
    order = repegging(floor, InvalidOrder("no"))
    floor.run(0.02)
    assert order.is_open and order.pending is Pending.NONE and "InvalidOrder" in order.error
    floor.venue.exchange.cancel(order.venue_order_id, PERP)
    floor.venue._commit()
    floor.run(30)
    assert (done(floor).reason, floor.engine.tracker.working()) == ("canceled outside", [])


@pytest.mark.parametrize("who", [MANUAL, GRID])
@pytest.mark.parametrize("before_s", [0.001, -0.001])
def test_an_order_that_its_owner_cancels_while_the_deadline_passes_does_not_cross(
    tmp_path: Path, who: str, before_s: float
):
    floor = open_floor(tmp_path)
    floor.engine.soft(GRID, PERP, BUY, d(1), deadline_s=60, policy=DeadlinePolicy.CROSS)
    floor.run(60 - before_s)
    (order,) = floor.engine.tracker.working(PERP)
    assert (order.pending is Pending.CANCEL) is (before_s < 0)
    floor.engine.cancel(order.client_id, who)
    floor.run(30)
    assert (done(floor).status, floor.ledger(GRID), floor.engine.tracker.working()) == (DoneStatus.CANCELED, 0, [])


@pytest.mark.parametrize("at", ["the answer is not here", "the order is gone"])
def test_a_crash_in_the_middle_of_a_repeg_does_not_abandon_a_close(tmp_path: Path, at: str):
    features = VenueFeatures(amends=False)
    floor = open_floor(tmp_path, features=features)
    floor.order(BUY, 1, type=OrderType.MARKET, instance=GRID)
    floor.engine.close(GRID, PERP, soft=True, deadline_s=120, policy=DeadlinePolicy.CROSS)
    floor.run(1.5)
    (order,) = floor.engine.tracker.working(PERP)
    floor.play(Trade(PERP, floor.clock.now_ms(), 99.0, 1.0, SELL, "1"))
    assert order.pending is Pending.CANCEL
    if at == "the order is gone":
        floor.engine.works.sleep()
        floor.run(1)
        assert order.state is OrderState.CANCELED
    again = floor.restart(tmp_path, features=features)
    again.admit(GRID)
    again.print(99.0)
    again.run(10)
    assert [o.side for o in again.engine.tracker.working(PERP)] == [SELL] and not dones(again)
    again.run(120)
    assert again.ledger(GRID) == 0
    again.check_books()
