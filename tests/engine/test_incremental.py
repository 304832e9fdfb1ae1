from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernel.errors import BelowMinimum, InsufficientFunds, RiskReject
from engine.kernel.orders import OrderState, OrderType, Side
from engine.kernel.strategy import DoneStatus
from engine.runtime.work import IncrementalPlan
from tests.engine.scripted_desk import NO_OFFSET, SYMBOL, ScriptedDesk, d


def begin(desk: ScriptedDesk, amount: object, side: Side = Side.BUY, **terms: Any) -> None:
    desk.book.incremental("p1", IncrementalPlan("grid", SYMBOL, side, d(amount), **terms))
    desk.run()


def test_children_are_sized_from_what_is_left() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market(4000)
    begin(desk, 1000, n_children=3)
    sizes = []
    for _ in range(3):
        order = desk.working()[0]
        sizes.append(order.quantity)
        assert (len(desk.working()), order.type) == (1, OrderType.POST_ONLY)
        desk.fill(order, order.quantity)
        desk.run()
    assert sizes == [d("0.083"), d("0.083"), d("0.084")]
    done = desk.done
    assert (done.status, done.notional, done.unspent, len(done.children)) == (DoneStatus.FILLED, d(1000), d(0), 3)
    assert not desk.saved


def test_the_number_of_children_is_lowered_to_what_the_minimum_allows() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market(100)
    begin(desk, 12, n_children=5, soft=False)
    desk.run(1)
    assert [order.quantity for order in desk.orders.values()] == [d("0.059"), d("0.06")]
    assert desk.done.status is DoneStatus.FILLED


def test_an_amount_below_the_minimum_is_refused() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market(100)
    with pytest.raises(BelowMinimum, match="amount 4 USD is below the minimum 5 USD"):
        begin(desk, 4)
    assert not desk.saved and not desk.orders and not desk.book.active()


def test_max_child_makes_more_children() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market(100)
    begin(desk, 100, max_child=d(30), soft=False)
    desk.run(1)
    assert next(iter(desk.orders.values())).quantity == d("0.249")
    assert len(desk.orders) == 4


def test_with_an_interval_the_rest_of_a_child_is_rolled_into_the_next() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market(100)
    begin(desk, 300, n_children=3, interval_s=60)
    first = desk.last
    desk.fill(first, "0.4")
    desk.run(59)
    assert len(desk.orders) == 1
    desk.run(1)
    assert first.state is OrderState.CANCELED
    second = desk.last
    assert second.quantity == d("1.3"), "half of the 260 that are left"
    desk.fill(second, "1.3")
    desk.run(1)
    assert len(desk.orders) == 2, "the third waits for its time"
    desk.run(59)
    assert desk.last.quantity == d("1.3")
    desk.fill(desk.last, "1.3")
    assert (desk.done.status, desk.done.notional) == (DoneStatus.FILLED, d(300))


def test_the_next_child_waits_for_the_final_fills_of_the_last() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market(100)
    begin(desk, 200, n_children=2, interval_s=60)
    first = desk.last
    first.reported_filled = d("0.5")
    desk.run(61)
    assert first.state is OrderState.CANCELED and len(desk.orders) == 1
    desk.fill(first, "0.5")
    desk.run()
    assert desk.last.quantity == d("1.5")


def test_two_rejects_in_a_row_end_it_with_the_venues_words() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market(100)
    desk.rejects = [InsufficientFunds("no margin", code="51008") for _ in range(5)]
    begin(desk, 300, n_children=5)
    desk.run(1)
    assert len(desk.orders) == 2
    assert (desk.done.status, desk.done.reason) == (DoneStatus.FAILED, "InsufficientFunds: no margin [51008]")
    assert desk.done.unspent == d(300)


def test_one_reject_is_made_up_for_by_the_others() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market(100)
    desk.rejects = [None, InsufficientFunds("no margin"), None]
    begin(desk, 300, n_children=3, soft=False)
    desk.run(1)
    assert [order.state for order in desk.orders.values()] == [
        OrderState.FILLED,
        OrderState.REJECTED,
        OrderState.FILLED,
    ]
    assert desk.done.status is DoneStatus.FILLED and desk.done.unspent < 5


def test_children_refused_by_a_limit_count_as_rejects() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market(100)
    begin(desk, 300, n_children=4)
    desk.refusals = [RiskReject("max_notional_usd", "75 USD", "150 USD") for _ in range(2)]
    desk.fill(desk.last, desk.last.quantity)
    assert desk.done.status is DoneStatus.PARTIAL
    assert desk.done.reason == "RiskReject: max_notional_usd: 150 USD exceeds the limit 75 USD"


def test_a_refused_first_child_goes_to_the_caller() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market(100)
    desk.refusals = [RiskReject("max_notional_usd", "75 USD", "150 USD")]
    with pytest.raises(RiskReject):
        begin(desk, 300, n_children=4, interval_s=10)
    desk.run(100)
    assert not desk.orders and not desk.dones and not desk.saved


def test_a_soft_buy_that_chases_the_touch_never_costs_more_than_asked() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market("100.00", "100.10")
    begin(desk, 100)
    order = desk.last
    desk.fill(order, "0.4")
    desk.run(1)
    desk.market("100.90", "101.00")
    desk.run(1)
    assert order.price == d("100.90") and order.quantity == d("0.994")
    assert order.filled_notional + order.remaining * order.price <= 100
    desk.fill(order, order.remaining)
    desk.run()
    assert (desk.done.status, desk.done.notional) == (DoneStatus.FILLED, d("99.9346"))


def test_the_deadline_cancels_and_reports_the_part() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market(100)
    begin(desk, 100, deadline_s=30)
    desk.fill(desk.last, "0.25")
    desk.run(31)
    assert (desk.done.status, desk.done.reason, desk.done.unspent) == (DoneStatus.PARTIAL, "deadline", d(75))
    assert not desk.working()


def test_a_child_cancelled_outside_ends_the_parent() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market(100)
    begin(desk, 100, n_children=4)
    desk.canceled_by_somebody(desk.last)
    desk.run(1)
    assert (desk.done.status, desk.done.reason) == (DoneStatus.CANCELED, "canceled outside")
    assert len(desk.orders) == 1


def test_ending_it_between_children_stops_the_timer() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market(100)
    begin(desk, 100, n_children=4, interval_s=60)
    desk.fill(desk.last, desk.last.quantity)
    desk.book.end_all("halted", instance="grid")
    desk.run(600)
    assert (desk.done.status, desk.done.reason, len(desk.orders)) == (DoneStatus.PARTIAL, "halted", 1)


def test_a_sell_at_the_market_is_sized_at_the_bid() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market("100.00", "100.10")
    begin(desk, 50, Side.SELL, soft=False)
    assert (desk.last.quantity, desk.last.type) == (d("0.5"), OrderType.IOC)


@pytest.mark.parametrize("when", ["working", "between", "rolling", "before the answer"])
def test_it_goes_on_after_a_restart(when: str) -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market(100)
    desk.book.incremental("p1", IncrementalPlan("grid", SYMBOL, Side.BUY, d(300), n_children=3, interval_s=60))
    if when != "before the answer":
        desk.run(0.05)
        desk.fill(desk.last, "0.4" if when != "between" else "1")
    if when == "rolling":
        desk.run(59.955)
    desk.restart()
    for _ in range(4):
        desk.run(30)
        for order in desk.working():
            desk.fill(order, order.remaining)
        desk.run(30)
    assert (desk.done.status, desk.done.notional) == (DoneStatus.FILLED, d(300))
    assert len(desk.done.children) == 3 and not desk.saved


@given(
    amount=st.integers(20, 2000),
    n_children=st.integers(1, 8),
    interval_s=st.sampled_from([0, 30]),
    side=st.sampled_from(list(Side)),
    soft=st.booleans(),
    moves=st.lists(st.tuples(st.integers(-60, 60), st.floats(0, 1), st.booleans()), min_size=1, max_size=25),
)
def test_fills_and_working_orders_never_exceed_the_amount(
    amount: int,
    n_children: int,
    interval_s: int,
    side: Side,
    soft: bool,
    moves: list[tuple[int, float, bool]],
) -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    bid = d(100)
    desk.market(bid, bid + d("0.05"))
    begin(desk, amount, side, n_children=n_children, interval_s=interval_s, soft=soft, deadline_s=300)
    for ticks, share, away in moves:
        bid = max(d(50), bid + ticks * d("0.01"))
        desk.market(bid, bid + d("0.05"))
        for order in desk.working():
            part = desk.instruments[SYMBOL].floor_quantity(order.remaining * d(round(share, 3)))
            if part and order.state is not OrderState.SENT:
                desk.fill(order, part)
            if away and order.is_open:
                desk.canceled_by_somebody(order)
        desk.run(20)
        spent = sum((o.filled_notional + o.working_quantity * (o.price or d(0)) for o in desk.orders.values()), d(0))
        if soft or side is Side.BUY:
            assert spent <= amount
        assert len(desk.working()) <= 1
    desk.run(400)
    done = desk.done
    assert done.notional == sum((order.filled_notional for order in desk.orders.values()), Decimal(0))
    assert set(done.children) == set(desk.orders)
    assert not desk.saved and not desk.working()


@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("at", ["saved", "between", "due"])
def test_a_restart_before_the_first_quote_waits_for_it(at: str, soft: bool) -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market(100)
    begin(desk, 200, n_children=2, interval_s=60, soft=soft)
    if at == "saved":
        desk.orders.clear()
        desk.saved["p1"]["started_ns"] = 0
        desk.saved["p1"]["child"] = None
    elif soft:
        desk.fill(desk.last, "1")
    desk.restart(quoted=False)
    desk.run(200 if at == "due" else 10)
    assert not desk.dones
    desk.market(100)
    for _ in range(2):
        desk.run(70)
        for order in desk.working():
            desk.fill(order, order.remaining)
    assert desk.done.status is DoneStatus.FILLED and desk.done.quantity >= d("1.99")
