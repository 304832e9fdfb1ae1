from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernel.errors import BelowMinimum, CtosError, InsufficientFunds, InvalidOrder, RiskReject, TradingHalted
from engine.kernel.orders import OrderState, OrderType, Side
from engine.kernel.strategy import DeadlinePolicy, DoneStatus
from engine.runtime.work import Basis, TargetPlan
from tests.engine.scripted_desk import NO_OFFSET, SPOT, SYMBOL, ScriptedDesk, d, instrument


def holding(quantity: object, price: object = 100, **terms: Any) -> ScriptedDesk:
    desk = ScriptedDesk(params=NO_OFFSET, **terms)
    desk.ledgers["grid", SYMBOL] = d(quantity)
    desk.market(price)
    return desk


def aim(desk: ScriptedDesk, amount: object, handle: str = "t1", **terms: Any) -> None:
    terms.setdefault("soft", False)
    desk.book.target(handle, TargetPlan("grid", terms.pop("symbol", SYMBOL), amount=d(amount), **terms))


def test_crossing_zero_closes_reduce_only_before_it_opens() -> None:
    desk = holding("0.5")
    aim(desk, -30)
    assert desk.log == ["ioc reduce-only sell 0.5 @ 99.70"]
    desk.run(0.005)
    assert len(desk.orders) == 1, "the second leg waits for the first"
    desk.run()
    assert [(o.side, o.quantity, o.reduce_only) for o in desk.orders.values()] == [
        (Side.SELL, d("0.5"), True),
        (Side.SELL, d("0.3"), False),
    ]
    assert desk.ledgers["grid", SYMBOL] == d("-0.3")
    assert (desk.done.status, desk.done.quantity) == (DoneStatus.FILLED, d("0.8"))


def test_the_second_leg_opens_only_when_the_fills_of_the_first_are_booked() -> None:
    desk = holding("0.5")
    aim(desk, -30, soft=True)
    desk.run()
    order = desk.last
    order.reported_filled = d("0.5")
    order.advance(OrderState.FILLED, desk.clock.now_ns())
    desk.book.on_order(order)
    desk.run()
    assert len(desk.orders) == 1
    desk.fill(order, "0.5")
    desk.run()
    assert desk.last.quantity == d("0.3") and not desk.last.reduce_only


def test_a_market_leg_ends_when_its_fills_are_booked() -> None:
    desk = holding("0.5")
    aim(desk, -30)
    order = desk.last
    order.reported_filled = d("0.5")
    order.advance(OrderState.FILLED, desk.clock.now_ns())
    desk.book.on_order(order)
    assert len(desk.orders) == 1 and not desk.dones
    desk.fill(order, "0.5")
    assert len(desk.orders) == 2


def test_a_change_below_the_minimum_is_skipped() -> None:
    desk = holding("0.5")
    aim(desk, 54)
    assert desk.done.status is DoneStatus.SKIPPED
    assert desk.done.reason == "the change of 4 is below the minimum 5 USD"
    assert not desk.orders and not desk.saved


def test_a_target_that_is_there_already_is_skipped() -> None:
    desk = holding("0.5")
    aim(desk, 50)
    assert desk.done.status is DoneStatus.SKIPPED and not desk.orders


def test_target_zero_tries_the_exact_quantity() -> None:
    desk = holding("0.03")
    aim(desk, 0)
    desk.run()
    assert (desk.last.quantity, desk.last.reduce_only) == (d("0.03"), True)
    assert desk.done.status is DoneStatus.FILLED


@pytest.mark.parametrize("by", ["engine", "venue"])
def test_target_zero_that_is_refused_for_its_size_is_dust(by: str) -> None:
    desk = holding("0.03")
    if by == "engine":
        desk.refusals = [BelowMinimum(d(3), d(5))]
    else:
        desk.rejects = [InvalidOrder("notional too small", code="-4164")]
    aim(desk, 0)
    desk.run()
    assert desk.done.status is DoneStatus.DUST and desk.done.reason.startswith("0.03 TST is too small to be closed")


def test_what_is_smaller_than_a_lot_is_dust_without_an_order() -> None:
    desk = holding("0.0004")
    aim(desk, 0)
    assert desk.done.status is DoneStatus.DUST and not desk.orders


def test_dust_does_not_keep_the_other_side_from_opening() -> None:
    desk = holding("0.03")
    desk.rejects = [InvalidOrder("notional too small")]
    aim(desk, -30)
    desk.run()
    assert desk.ledgers["grid", SYMBOL] == d("-0.3")
    assert desk.done.status is DoneStatus.FILLED


def test_a_rejected_first_leg_opens_no_second() -> None:
    desk = holding("0.5")
    desk.rejects = [InsufficientFunds("no margin", code="51008")]
    aim(desk, -30)
    desk.run(1)
    assert (desk.done.status, desk.done.reason) == (DoneStatus.ERROR, "InsufficientFunds: no margin [51008]")
    assert len(desk.orders) == 1


def test_a_first_leg_that_is_filled_in_part_opens_no_second() -> None:
    desk = holding("0.5")
    desk.taker_share = d("0.5")
    aim(desk, -30)
    desk.run(1)
    assert desk.done.status is DoneStatus.PARTIAL and len(desk.orders) == 1


def test_a_smaller_target_of_the_same_side_reduces_only() -> None:
    desk = holding("-0.5")
    aim(desk, -30)
    desk.run()
    assert [(o.side, o.quantity, o.reduce_only) for o in desk.orders.values()] == [(Side.BUY, d("0.2"), True)]
    assert desk.done.status is DoneStatus.FILLED


def test_a_soft_target_pegs_its_leg_and_crosses_at_the_deadline() -> None:
    desk = holding(0)
    desk.market("100.00", "100.02")
    aim(desk, 100, soft=True, deadline_s=60, policy=DeadlinePolicy.CROSS)
    desk.run()
    assert (desk.last.type, desk.last.price, desk.last.quantity) == (OrderType.POST_ONLY, d("100.00"), d("0.999"))
    desk.run(60.1)
    assert desk.last.type is OrderType.IOC and desk.done.status is DoneStatus.FILLED


def test_a_short_target_on_spot_is_refused() -> None:
    desk = holding(0)
    desk.market(100, symbol=SPOT)
    with pytest.raises(RiskReject, match="no_short: TST-USD is spot: a target of -30 would be short"):
        aim(desk, -30, symbol=SPOT)


def test_an_error_is_reported_and_nothing_else_is_tried() -> None:
    desk = holding(0)
    desk.refusals = [TradingHalted("trading is halted")]
    with pytest.raises(TradingHalted):
        aim(desk, 30)
    assert not desk.orders and not desk.saved and not desk.dones


def test_a_new_target_takes_over_after_the_old_ones_final_fills() -> None:
    desk = holding(0)
    aim(desk, 100, "t1", soft=True)
    desk.run()
    old = desk.last
    desk.fill(old, "0.4")
    aim(desk, -50, "t2")
    assert len(desk.orders) == 1 and not desk.dones
    old.reported_filled = d("0.6")
    desk.run()
    assert old.state is OrderState.CANCELED and len(desk.orders) == 1, "a fill is still to come"
    desk.fill(old, "0.2")
    desk.run(0.1)
    assert [(done.handle, done.status, done.reason) for done in desk.dones] == [
        ("t1", DoneStatus.PARTIAL, "superseded"),
        ("t2", DoneStatus.FILLED, ""),
    ]
    assert desk.ledgers["grid", SYMBOL] == d("-0.5")
    assert [o.quantity for o in desk.orders.values()][1:] == [d("0.6"), d("0.5")]


def test_the_newest_of_several_targets_wins() -> None:
    desk = holding(0)
    aim(desk, 100, "t1", soft=True)
    desk.run()
    aim(desk, 200, "t2")
    aim(desk, 300, "t3")
    aim(desk, 50, "t4")
    desk.run(1)
    assert [(done.handle, done.status) for done in desk.dones] == [
        ("t2", DoneStatus.CANCELED),
        ("t3", DoneStatus.CANCELED),
        ("t1", DoneStatus.CANCELED),
        ("t4", DoneStatus.FILLED),
    ]
    assert desk.ledgers["grid", SYMBOL] == d("0.5")


def test_targets_of_other_instances_and_symbols_go_their_own_way() -> None:
    desk = holding(0)
    desk.market(100, symbol=SPOT)
    aim(desk, 100, "t1", soft=True)
    aim(desk, 100, "t2", symbol=SPOT, soft=True)
    desk.book.target("t3", TargetPlan("trend", SYMBOL, amount=d(100)))
    desk.run()
    assert len(desk.working()) == 3


COINS = ("AAA-USD-PERP", "BBB-USD-PERP", "CCC-USD-PERP", "DDD-USD-PERP")


def basket(**held: int) -> ScriptedDesk:
    desk = ScriptedDesk(*[instrument(symbol) for symbol in COINS], params=NO_OFFSET)
    for symbol in COINS:
        desk.ledgers["rank", symbol] = d(held.get(symbol[0].lower(), 0))
        desk.market(100, symbol=symbol)
    return desk


def aim_all(desk: ScriptedDesk, *amounts: int, soft: bool = False) -> None:
    plans = zip(COINS, amounts, strict=True)
    desk.book.targets({symbol: TargetPlan("rank", symbol, amount=d(usd), soft=soft) for symbol, usd in plans})


def test_a_basket_reduces_everywhere_before_it_increases_anywhere() -> None:
    desk = basket(b=3, c=-1)
    aim_all(desk, 100, 100, 200, -100, soft=True)
    desk.run()
    assert [(o.symbol[0], o.side, o.quantity, o.reduce_only) for o in desk.orders.values()] == [
        ("B", Side.SELL, d(2), True),
        ("C", Side.BUY, d(1), True),
    ]
    for order in desk.working():
        desk.fill(order, order.quantity)
    desk.run()
    assert [(o.symbol[0], o.side, o.quantity, o.reduce_only) for o in desk.orders.values()][2:] == [
        ("A", Side.BUY, d(1), False),
        ("C", Side.BUY, d(2), False),
        ("D", Side.SELL, d(1), False),
    ]
    for order in desk.working():
        desk.fill(order, order.quantity)
    assert {done.handle: done.status for done in desk.dones} == dict.fromkeys(COINS, DoneStatus.FILLED)


def test_a_failing_coin_of_a_basket_does_not_stop_the_others() -> None:
    desk = basket(b=3, c=-1)
    desk.rejects = [InsufficientFunds("no margin"), None]
    aim_all(desk, 100, 100, 0, 0)
    desk.run(1)
    assert {done.handle[0]: done.status for done in desk.dones} == {
        "A": DoneStatus.FILLED,
        "B": DoneStatus.ERROR,
        "C": DoneStatus.FILLED,
        "D": DoneStatus.SKIPPED,
    }


def test_a_basket_over_a_working_basket_waits_for_it_coin_by_coin() -> None:
    desk = basket(b=3)
    aim_all(desk, 100, 0, 0, 0, soft=True)
    desk.run()
    plans = {f"n-{symbol}": TargetPlan("rank", symbol, amount=d(100), soft=False) for symbol in COINS}
    desk.book.targets(plans)
    desk.run(1)
    assert {symbol: desk.ledgers["rank", symbol] for symbol in COINS} == dict.fromkeys(COINS, d(1))
    assert [order.symbol[0] for order in desk.orders.values()] == ["B", "B", "A", "C", "D"], "A waits for B again"
    assert not desk.saved


def test_a_basket_goes_on_after_a_restart() -> None:
    desk = basket(b=3, c=-1)
    aim_all(desk, 100, 100, 200, -100, soft=True)
    desk.run()
    desk.restart()
    desk.run()
    assert len(desk.orders) == 2
    for order in desk.working():
        desk.fill(order, order.quantity)
    desk.run()
    for order in desk.working():
        desk.fill(order, order.quantity)
    assert {done.handle: done.status for done in desk.dones} == dict.fromkeys(COINS, DoneStatus.FILLED)


@pytest.mark.parametrize("fraction, closed", [("1", "0.537"), ("0.5", "0.268"), ("0.25", "0.134")])
def test_a_close_sends_exact_reduce_only_quantities(fraction: str, closed: str) -> None:
    desk = holding("-0.537")
    desk.book.target("c1", TargetPlan("grid", SYMBOL, fraction=d(fraction), soft=False))
    desk.run()
    assert (desk.last.side, desk.last.quantity, desk.last.reduce_only) == (Side.BUY, d(closed), True)
    assert desk.done.status is DoneStatus.FILLED


def test_a_close_takes_over_from_a_target() -> None:
    desk = holding("0.5")
    aim(desk, 500, "t1", soft=True)
    desk.run()
    desk.book.target("c1", TargetPlan("grid", SYMBOL, fraction=d(1), soft=False))
    desk.run(1)
    assert desk.ledgers["grid", SYMBOL] == 0
    assert [done.handle for done in desk.dones] == ["t1", "c1"]


def test_a_bad_fraction_is_refused() -> None:
    with pytest.raises(InvalidOrder, match=r"the fraction 1.5 must be above 0 and at most 1"):
        holding(1).book.target("c1", TargetPlan("grid", SYMBOL, fraction=d("1.5")))


def test_the_operator_aims_at_the_accounts_position() -> None:
    desk = holding("0.5")
    desk.book.target("t1", TargetPlan("manual", SYMBOL, amount=d(0), soft=False, basis=Basis.ACCOUNT))
    desk.run()
    assert desk.ledgers == {("grid", SYMBOL): d("0.5"), ("manual", SYMBOL): d("-0.5")}
    assert desk.done.status is DoneStatus.FILLED


def test_a_restart_between_the_legs_opens_the_second_once() -> None:
    desk = holding("0.5")
    aim(desk, -30, soft=True)
    desk.run()
    book = desk.book
    desk.book.on_order = lambda order: None  # type: ignore[method-assign]
    desk.fill(desk.last, "0.5")
    assert book.active()
    desk.restart()
    desk.run()
    assert (desk.last.quantity, len(desk.orders)) == (d("0.3"), 2)
    desk.fill(desk.last, "0.3")
    assert (desk.done.status, desk.done.quantity) == (DoneStatus.FILLED, d("0.8"))


def test_an_ended_target_stays_ended_after_a_restart() -> None:
    desk = holding("0.5")
    aim(desk, -30, soft=True)
    desk.run()
    desk.book.end("t1")
    desk.restart()
    desk.run(1)
    assert (desk.done.status, desk.done.reason, len(desk.working())) == (DoneStatus.CANCELED, "canceled", 0)


def test_a_waiting_target_begins_after_a_restart() -> None:
    desk = holding(0)
    aim(desk, 100, "t1", soft=True)
    desk.run()
    aim(desk, 50, "t2")
    desk.restart()
    desk.run(1)
    assert [(done.handle, done.status) for done in desk.dones] == [
        ("t1", DoneStatus.CANCELED),
        ("t2", DoneStatus.FILLED),
    ]
    assert desk.ledgers["grid", SYMBOL] == d("0.5")


@given(
    held=st.integers(-2000, 2000),
    target=st.integers(-200, 200),
    share=st.sampled_from(["0", "0.3", "1"]),
    soft=st.booleans(),
    reject=st.booleans(),
)
def test_a_target_never_overshoots_and_never_opens_before_it_is_flat(
    held: int, target: int, share: str, soft: bool, reject: bool
) -> None:
    start = d(held) / 1000
    desk = holding(start)
    desk.taker_share = d(share)
    desk.rejects = [InsufficientFunds("no margin")] if reject else []
    goal = d(target) / 100
    try:
        aim(desk, target, soft=soft, deadline_s=60, policy=DeadlinePolicy.CROSS)
    except CtosError as error:
        pytest.fail(f"refused: {error}")
    desk.run(200)
    done, now = desk.done, desk.ledgers["grid", SYMBOL]
    assert min(start, goal) <= now <= max(start, goal)
    if start * goal < 0 and any(not order.reduce_only for order in desk.orders.values()):
        reduced = sum((order.filled for order in desk.orders.values() if order.reduce_only), d(0))
        assert abs(start) - reduced < d("0.05"), "it opened with more than dust on the other side"
    if done.status is DoneStatus.FILLED:
        assert now == goal
    assert not desk.saved and not desk.working()


@pytest.mark.parametrize("phase", ["waiting", "ready"])
def test_a_restart_before_the_first_quote_waits_for_it(phase: str) -> None:
    desk = holding("0.5")
    aim(desk, -30)
    desk.saved["t1"].update(phase=phase, leg=None, goal="-0.3")
    desk.orders.clear()
    if phase == "ready":
        desk.ledgers["grid", SYMBOL] = d(0)
    desk.restart(quoted=False)
    desk.run(100)
    assert not desk.orders and not desk.dones
    desk.market(100)
    desk.run()
    assert desk.done.status is DoneStatus.FILLED and desk.ledgers["grid", SYMBOL] == d("-0.3")
