from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import InsufficientFunds, PostOnlyWouldTake, RiskReject, TooManyCommands
from engine.kernel.orders import Order, OrderState, OrderType, Side
from engine.kernel.strategy import DeadlinePolicy, DoneStatus
from engine.runtime.work import SoftParams, Ticket
from engine.runtime.work.pricing import peg
from tests.engine.scripted_desk import NO_OFFSET, SYMBOL, ScriptedDesk, d, instrument

STEP_S = 6.66


def start(
    desk: ScriptedDesk,
    side: Side = Side.BUY,
    quantity: object = "1.000",
    deadline_s: float = 10_800,
    policy: DeadlinePolicy = DeadlinePolicy.CANCEL,
    reduce_only: bool = False,
) -> Order:
    desk.book.soft(Ticket("h1", "grid", SYMBOL, side, d(quantity), reduce_only), deadline_s, policy)
    desk.run()
    return desk.last


def test_the_peg_starts_behind_the_touch_and_closes_up() -> None:
    desk = ScriptedDesk()
    desk.market("100.00", "100.05")
    order = start(desk)
    assert (order.type, order.price) == (OrderType.POST_ONLY, d("99.99"))
    desk.market("100.50", "100.60")
    desk.run(50 * STEP_S - desk.clock.now_ns() / NS_PER_S + 1_000_000 + 0.05)
    assert order.price == d("100.49")
    desk.run(150 * STEP_S)
    assert order.price == d("100.50")
    assert len(desk.orders) == 1


def test_a_sell_mirrors_the_peg() -> None:
    assert peg(instrument(), Side.SELL, d("100.00"), 0, SoftParams()) == d("100.01")
    assert peg(instrument(), Side.SELL, d("99.50"), 50, SoftParams()) == d("99.51")
    assert peg(instrument(), Side.SELL, d("99.50"), 500, SoftParams()) == d("99.50")


def test_a_buy_never_falls_and_a_sell_never_rises() -> None:
    desk = ScriptedDesk()
    desk.market("100.00", "100.10")
    buy = start(desk)
    desk.run(2)
    desk.market("99.00", "99.10")
    desk.run(60)
    assert buy.price == d("99.99")
    assert not [line for line in desk.log if line.startswith("amend")]
    desk.book.end("h1")
    desk.run()
    desk.market("99.00", "99.10")
    sell = start(desk, Side.SELL)
    desk.market("100.00", "100.10")
    desk.run(60)
    assert sell.price == d("99.11")


def test_a_move_of_more_than_5_bp_is_followed_at_most_once_a_second() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market("100.00", "100.02")
    order = start(desk)
    desk.run(1)
    desk.market("100.05", "100.07")
    desk.run(0.1)
    assert order.price == d("100.00"), "5 bp is not more than 5 bp"
    desk.market("100.06", "100.08")
    desk.run(0.1)
    assert order.price == d("100.06")
    desk.market("100.20", "100.22")
    desk.run(0.5)
    assert order.price == d("100.06"), "too soon"
    desk.run(0.6)
    assert order.price == d("100.20"), "looked again when the second was over, with no further quote"


def test_no_amend_when_the_target_is_the_working_price() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market("100.00", "100.02")
    start(desk)
    desk.run(20 * STEP_S)
    assert desk.log == ["post_only buy 1.000 @ 100.00"]


def test_the_chase_stops_at_1_percent_from_the_first_touch_and_rests() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market("100.00", "100.02")
    order = start(desk)
    for bid in ("100.80", "101.00", "101.50", "103.00"):
        desk.market(bid, d(bid) + 1)
        desk.run(10)
    assert order.price == d("101.00")
    assert order.is_open


def test_a_post_only_reject_is_priced_one_tick_behind_with_a_new_id_five_times() -> None:
    desk = ScriptedDesk()
    desk.market("100.00", "100.01")
    desk.rejects = [PostOnlyWouldTake("would take") for _ in range(7)]
    start(desk, quantity="2")
    first_s = desk.clock.now_ns() / NS_PER_S
    desk.run(2.5)
    assert [order.price for order in desk.orders.values()] == [d("99.99")] * 6
    times = [order.created_ns for order in desk.orders.values()]
    assert all(b - a == 260_000_000 for a, b in pairwise(times)), "250 ms after each reject"
    assert not desk.working() and not desk.dones
    desk.market("100.00", "100.01")
    desk.run(first_s + STEP_S - desk.clock.now_ns() / NS_PER_S + 0.1)
    assert len(desk.orders) == 7, "the next evaluation tries again"
    desk.run(0.5)
    assert len(desk.orders) == 7, "five retries in ten seconds are used up"
    desk.run(10)
    assert desk.last.state is OrderState.OPEN


def test_after_the_retries_the_price_may_fall_with_the_touch_too() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market("100.00", "100.01")
    desk.rejects = [PostOnlyWouldTake("would take") for _ in range(6)]
    start(desk)
    desk.run(2.5)
    desk.market("99.00", "99.01")
    desk.run(5)
    assert (desk.last.price, desk.last.state) == (d("99.00"), OrderState.OPEN)


def test_after_a_post_only_reject_the_price_may_fall_with_the_touch() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market("100.00", "100.01")
    desk.book.soft(Ticket("h1", "grid", SYMBOL, Side.BUY, d(1)), 100, DeadlinePolicy.CANCEL)
    desk.market("99.90", "99.91")
    desk.run(0.5)
    assert [(order.price, order.state) for order in desk.orders.values()] == [
        (d("100.00"), OrderState.REJECTED),
        (d("99.89"), OrderState.OPEN),
    ]


def test_deadline_cancel_reports_the_part() -> None:
    desk = ScriptedDesk()
    desk.market("100.00", "100.02")
    order = start(desk, deadline_s=60)
    desk.fill(order, "0.4")
    desk.run(60)
    assert (desk.done.status, desk.done.quantity, desk.done.reason) == (DoneStatus.PARTIAL, d("0.4"), "deadline")
    assert desk.done.average_price == d("99.99")
    assert not desk.working() and not desk.saved


def test_deadline_cross_waits_for_the_final_fills_and_takes_the_rest() -> None:
    desk = ScriptedDesk()
    desk.market("100.00", "100.02")
    order = start(desk, deadline_s=60, policy=DeadlinePolicy.CROSS)
    desk.fill(order, "0.4")
    desk.run(60 - 0.05 + 0.001)
    assert len(desk.orders) == 1, "the cancel is not answered yet"
    order.reported_filled = d("0.5")
    desk.run(0.05)
    assert order.state is OrderState.CANCELED and len(desk.orders) == 1, "a fill of 0.1 is still to come"
    desk.fill(order, "0.1")
    desk.run()
    cross = desk.last
    assert (cross.type, cross.quantity, cross.price) == (OrderType.IOC, d("0.5"), d("100.32"))
    assert (desk.done.status, desk.done.quantity) == (DoneStatus.FILLED, d("1.0"))


def test_deadline_cross_of_the_spec() -> None:
    desk = ScriptedDesk()
    desk.market("100.00", "100.02")
    order = start(desk, deadline_s=60, policy=DeadlinePolicy.CROSS)
    desk.fill(order, "0.400")
    desk.taker_share = d("0.5")
    desk.run(61)
    assert (desk.last.type, desk.last.quantity) == (OrderType.IOC, d("0.600"))
    assert (desk.done.status, desk.done.quantity) == (DoneStatus.PARTIAL, d("0.700"))
    assert len(desk.orders) == 2, "one IOC, not two"


def test_deadline_leave_lets_the_order_rest() -> None:
    desk = ScriptedDesk()
    desk.market("100.00", "100.02")
    order = start(desk, deadline_s=60, policy=DeadlinePolicy.LEAVE)
    desk.fill(order, "0.4")
    desk.run(61)
    assert order.is_open and (desk.done.status, desk.done.quantity) == (DoneStatus.PARTIAL, d("0.4"))
    desk.market("101.00", "101.02")
    desk.run(60)
    assert order.price == d("99.99"), "nobody follows the touch any more"


@pytest.mark.parametrize("at", ["before it is let go", "after it is let go"])
def test_a_crash_while_an_order_is_left_does_not_place_the_rest_again(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market("100.00", "100.10")
    order = start(desk, deadline_s=60, policy=DeadlinePolicy.LEAVE)
    desk.fill(order, "0.4")
    with monkeypatch.context() as lost:
        lost.setattr(desk, "finish", lambda instance, done: None)
        if at == "before it is let go":
            lost.setattr(desk, "release", lambda client_id: None)
        desk.run(60)
    assert order.is_open and desk.saved and (order.parent == "") is (at == "after it is let go")
    desk.restart()
    desk.run(60)
    assert list(desk.orders.values()) == [order] and order.is_open and not order.parent and not desk.saved
    assert (desk.done.status, desk.done.quantity, desk.done.children) == (
        DoneStatus.PARTIAL,
        d("0.4"),
        (order.client_id,),
    )


def test_deadline_leave_between_two_orders_places_a_limit() -> None:
    desk = ScriptedDesk()
    desk.market("100.00", "100.02")
    desk.rejects = [PostOnlyWouldTake("would take") for _ in range(7)]
    start(desk, deadline_s=3, policy=DeadlinePolicy.LEAVE)
    desk.run(3)
    assert (desk.last.type, desk.last.price) == (OrderType.LIMIT, d("99.99"))
    assert desk.done.status is DoneStatus.PARTIAL


def test_a_residual_below_the_lot_ends_it() -> None:
    desk = ScriptedDesk()
    desk.market("100.00", "100.02")
    order = start(desk, quantity="1.0004")
    assert order.quantity == d("1.000")
    desk.fill(order, "1.000")
    assert (desk.done.status, desk.done.reason) == (DoneStatus.FILLED, "residual 0.0004")


def test_a_venue_reject_fails_with_its_words() -> None:
    desk = ScriptedDesk()
    desk.market("100.00", "100.02")
    desk.rejects = [InsufficientFunds("margin 12 USD is too small", code="51008")]
    start(desk)
    assert desk.done.status is DoneStatus.FAILED
    assert desk.done.reason == "InsufficientFunds: margin 12 USD is too small [51008]"


def test_a_refusal_at_the_start_goes_to_the_caller_and_leaves_nothing() -> None:
    desk = ScriptedDesk()
    desk.market("100.00", "100.02")
    desk.refusals = [RiskReject("max_order_usd", "50 USD", "100 USD")]
    with pytest.raises(RiskReject):
        start(desk)
    assert not desk.saved and not desk.dones and not desk.book.active()
    with pytest.raises(RiskReject, match="no bid and ask"):
        ScriptedDesk().book.soft(Ticket("h2", "grid", SYMBOL, Side.BUY, d(1)), 60, DeadlinePolicy.CANCEL)


def test_a_used_up_budget_is_waited_for() -> None:
    desk = ScriptedDesk()
    desk.market("100.00", "100.02")
    desk.refusals = [TooManyCommands("max_cmds_per_min", "60 in 60 s", "command 61 in 60 s", 2.0)]
    desk.book.soft(Ticket("h1", "grid", SYMBOL, Side.BUY, d(1)), 60, DeadlinePolicy.CANCEL)
    desk.run(1.9)
    assert not desk.orders
    desk.run(0.2)
    assert desk.last.state is OrderState.OPEN


def test_a_refused_amendment_leaves_the_order_and_is_asked_again() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.market("100.00", "100.02")
    order = start(desk)
    desk.run(1)
    desk.refusals = [TooManyCommands("max_cmds_per_min", "60 in 60 s", "command 61 in 60 s", 2.0)]
    desk.market("100.50", "100.52")
    desk.run(0.1)
    assert order.price == d("100.00") and not desk.refusals
    desk.run(STEP_S)
    assert order.price == d("100.50")


def test_an_order_cancelled_outside_is_not_fought_over() -> None:
    desk = ScriptedDesk()
    desk.market("100.00", "100.02")
    order = start(desk)
    desk.fill(order, "0.25")
    desk.canceled_by_somebody(order)
    desk.run(60)
    assert (desk.done.status, desk.done.reason) == (DoneStatus.PARTIAL, "canceled outside")
    assert len(desk.orders) == 1


def test_ending_it_cancels_and_reports() -> None:
    desk = ScriptedDesk()
    desk.market("100.00", "100.02")
    order = start(desk)
    assert desk.book.end("h1") and not desk.dones
    desk.run()
    assert (desk.done.status, order.state) == (DoneStatus.CANCELED, OrderState.CANCELED)
    assert not desk.book.end("h1")


def test_without_native_amend_a_repeg_cancels_awaits_and_places_the_rest() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.amends = False
    desk.market("100.00", "100.02")
    order = start(desk)
    desk.fill(order, "0.3")
    desk.run(1)
    desk.market("100.40", "100.42")
    desk.run(0.1)
    assert order.state is OrderState.CANCELED
    assert (desk.last.quantity, desk.last.price, desk.last.state) == (d("0.7"), d("100.40"), OrderState.OPEN)
    desk.fill(desk.last, "0.7")
    assert (desk.done.status, desk.done.quantity, len(desk.done.children)) == (DoneStatus.FILLED, d(1), 2)


def test_a_capped_reduction_ends_when_nothing_is_left_to_reduce() -> None:
    desk = ScriptedDesk()
    desk.ledgers["grid", SYMBOL] = d("0.6")
    desk.market("100.00", "100.02")
    order = start(desk, Side.SELL, "1.000", reduce_only=True)
    assert order.quantity == d("0.6")
    desk.fill(order, "0.6")
    assert desk.done.status is DoneStatus.PARTIAL and "nothing to reduce" in desk.done.reason


@pytest.mark.parametrize("at", ["before the answer", "resting", "after a fill", "cancelling", "crossing"])
def test_it_goes_on_after_a_restart(at: str) -> None:
    desk = ScriptedDesk()
    desk.market("100.00", "100.02")
    desk.book.soft(Ticket("h1", "grid", SYMBOL, Side.BUY, d(1)), 60, DeadlinePolicy.CROSS)
    order = desk.last
    if at != "before the answer":
        desk.run()
    if at in ("after a fill", "cancelling", "crossing"):
        desk.fill(order, "0.4")
    if at == "cancelling":
        desk.run(59.955)
    if at == "crossing":
        desk.run(59.965)
        assert desk.last.type is OrderType.IOC
    desk.restart()
    desk.run(0.2)
    if at not in ("cancelling", "crossing"):
        desk.market("100.60", "100.62")
        desk.run(7)
        assert order.price is not None and order.price > d("100.5"), "it follows the touch again"
    desk.run(60)
    assert (desk.done.status, desk.done.quantity) == (DoneStatus.FILLED, d(1))
    assert len([o for o in desk.orders.values() if o.type is OrderType.POST_ONLY]) == 1
    assert not desk.saved


def test_a_fill_missed_while_the_process_was_away_counts_once() -> None:
    desk = ScriptedDesk()
    desk.market("100.00", "100.02")
    order = start(desk)
    desk.book.on_order = lambda order: None  # type: ignore[method-assign]
    desk.fill(order, "1")
    desk.restart()
    assert (desk.done.status, desk.done.quantity, desk.done.children) == (DoneStatus.FILLED, d(1), (order.client_id,))


def test_work_saved_before_its_first_order_starts_once() -> None:
    desk = ScriptedDesk()
    desk.market("100.00", "100.02")
    start(desk)
    handle, body = next(iter(desk.saved.items()))
    body["started_ns"] = 0
    body["first_touch"] = "0"
    desk.saved = {handle: body}
    desk.restart()
    desk.run()
    assert len(desk.orders) == 1, "the order that was sent is adopted"
    desk.market("105.00", "105.02")
    desk.run(10)
    assert desk.last.price == d("100.98"), "the chase is measured from the first order"


@given(
    moves=st.lists(st.tuples(st.integers(-150, 150), st.floats(0.01, 20)), min_size=1, max_size=30),
    side=st.sampled_from(list(Side)),
    fills=st.sets(st.integers(0, 29), max_size=3),
)
def test_whatever_the_touch_does_it_never_crosses_falls_back_or_overfills(
    moves: list[tuple[int, float]], side: Side, fills: set[int]
) -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    bid = d(100)
    desk.market(bid, bid + d("0.02"))
    start(desk, side, "1", deadline_s=10_000)
    best: dict[str, Decimal] = {}
    limit = d(101) if side is Side.BUY else d("100.02") * d("0.99")
    for index, (ticks, wait_s) in enumerate(moves):
        bid = max(d(50), bid + ticks * d("0.01"))
        desk.market(bid, bid + d("0.02"))
        desk.run(wait_s)
        assert len(desk.working()) <= 1
        for order in desk.working():
            assert order.price is not None
            before = best.get(order.client_id, order.price)
            assert (order.price - before) * side.sign >= 0
            assert (limit - order.price) * side.sign >= 0
            best[order.client_id] = order.price
            if index in fills:
                desk.fill(order, min(order.remaining, d("0.3")))
        assert sum((order.filled + order.working_quantity for order in desk.orders.values()), d(0)) <= 1


@pytest.mark.parametrize("policy", [DeadlinePolicy.CANCEL, DeadlinePolicy.CROSS])
@pytest.mark.parametrize("at", ["saved", "resting", "rejected", "cancelled"])
def test_a_restart_before_the_first_quote_waits_for_it(at: str, policy: DeadlinePolicy) -> None:
    desk = ScriptedDesk()
    desk.market("100.00", "100.02")
    desk.rejects = [PostOnlyWouldTake("would take")] if at == "rejected" else []
    order = start(desk, deadline_s=30, policy=policy)
    if at == "saved":
        desk.orders.clear()
        desk.saved["h1"]["started_ns"] = 0
    if at == "cancelled":
        desk.book.on_order = lambda order: None  # type: ignore[method-assign]
        desk.run(29.98)
        assert order.state is OrderState.CANCELED
    desk.restart(quoted=False)
    desk.run(20)
    assert not desk.dones or (at == "cancelled" and policy is DeadlinePolicy.CANCEL)
    desk.market("100.00", "100.02")
    desk.run(2)
    if at == "cancelled":
        assert desk.done.status is (DoneStatus.FILLED if policy is DeadlinePolicy.CROSS else DoneStatus.CANCELED)
    else:
        assert desk.last.state is OrderState.OPEN and len(desk.working()) == 1


@pytest.mark.parametrize("total", ["1.000", "0.700"])
def test_it_goes_on_with_the_order_that_a_person_has_put_in_place_of_its_own(total: str) -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.amends = False
    desk.market("100.00", "100.10")
    old = start(desk)
    desk.fill(old, "0.4")
    desk.book.replace("r1", old.client_id, d("99.50"), d(total))
    desk.run()
    new = desk.last
    assert (new.replaces, new.parent, new.price, new.quantity) == (old.client_id, "h1", d("99.50"), d(total) - d("0.4"))
    assert [done.handle for done in desk.dones] == ["r1"] and desk.working() == [new]
    desk.fill(new, new.quantity)
    desk.run(10)
    if total != "1.000":
        assert desk.last.quantity == d("0.3") and desk.working() == [desk.last]
        desk.fill(desk.last, "0.3")
    assert (desk.dones[-1].handle, desk.dones[-1].status, desk.dones[-1].quantity) == ("h1", DoneStatus.FILLED, d(1))


@pytest.mark.parametrize("ends", ["deadline", "ended"])
def test_what_takes_the_place_of_its_order_while_it_ends_does_not_rest_beside_the_rest(ends: str) -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.amends = False
    desk.market("100.00", "100.10")
    old = start(desk, deadline_s=60, policy=DeadlinePolicy.CROSS)
    desk.run(60 - 0.055)
    desk.book.replace("r1", old.client_id, d("99.50"), None)
    if ends == "ended":
        desk.book.end("h1")
    desk.run(1)
    assert not desk.working() and sum(order.filled for order in desk.orders.values()) == d(
        1 if ends == "deadline" else 0
    )
    assert len(desk.dones) == 2 and not desk.saved


def test_a_crash_while_its_order_is_being_replaced_leaves_one_order() -> None:
    desk = ScriptedDesk(params=NO_OFFSET)
    desk.amends = False
    desk.market("100.00", "100.10")
    old = start(desk)
    desk.book.replace("r1", old.client_id, d("99.50"), None)
    desk.book.on_order = lambda order: None  # type: ignore[method-assign]
    desk.run()
    assert old.state is OrderState.CANCELED
    desk.restart()
    desk.run()
    assert desk.working() == [desk.last] and (desk.last.replaces, desk.last.parent) == (old.client_id, "h1")
    desk.fill(desk.last, 1)
    assert [(done.handle, done.status) for done in desk.dones] == [
        ("r1", DoneStatus.FILLED),
        ("h1", DoneStatus.FILLED),
    ]
    assert not desk.saved
