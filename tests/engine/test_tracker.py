"""The order tracker alone: late, repeated and contradictory news."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernel.orders import Fill, Order, OrderState, OrderType, OrderUpdate, Pending, Side
from engine.runtime.records import (
    Asked,
    Declined,
    Execution,
    Intent,
    Outcome,
    Record,
    Sent,
    Status,
    decode,
    journalled,
)
from engine.runtime.tracker import KEPT_ORDERS, OrderTracker

ID, SYMBOL = "c1", "BTC-USDT-PERP"
D = Decimal


def read_back(record: Record) -> Record:
    return decode(record.kind, msgspec.json.decode(msgspec.json.encode(journalled(record))))


def intent(client_id: str = ID, label: int = 1) -> Intent:
    return Intent(client_id, label, "grid", SYMBOL, Side.BUY, OrderType.LIMIT, D(10), D(100))


def update(state: OrderState, filled: int = 0, ts: int = 1, **changes: object) -> OrderUpdate:
    terms: dict[str, object] = {"quantity": D(10), "price": D(100), **changes}
    return OrderUpdate(ID, "v1", SYMBOL, Side.BUY, OrderType.LIMIT, state, filled=D(filled), ts=ts, **terms)  # type: ignore[arg-type]


def fill(number: int, quantity: int) -> Fill:
    return Fill(f"t{number}", SYMBOL, ID, "v1", Side.BUY, D(100), D(quantity), D(0), "USDT", True, number)


@pytest.fixture
def tracker() -> OrderTracker:
    tracker = OrderTracker()
    tracker.apply(intent(), 0)
    tracker.apply(Sent(ID), 1)
    return tracker


def known(tracker: OrderTracker) -> Order:
    order = tracker.get(ID)
    assert order is not None
    return order


def test_a_status_that_says_nothing_new_is_no_news(tracker: OrderTracker):
    status = Status(update(OrderState.OPEN))
    assert tracker.is_news(status)
    tracker.apply(status, 2)
    assert not tracker.is_news(status) and tracker.apply(status, 3) is None
    assert not tracker.is_news(Status(update(OrderState.OPEN, ts=9)))
    assert tracker.is_news(Status(update(OrderState.OPEN, filled=1)))


def test_terms_of_an_older_message_do_not_undo_an_amendment(tracker: OrderTracker):
    tracker.apply(Status(update(OrderState.OPEN, ts=5)), 2)
    tracker.apply(Asked(ID, Pending.AMEND, D(99), None), 3)
    tracker.apply(Status(update(OrderState.OPEN, ts=7, price=D(99)), Pending.AMEND), 4)
    tracker.apply(Status(update(OrderState.OPEN, ts=6)), 5)
    assert known(tracker).price == 99 and known(tracker).pending is Pending.NONE


def test_an_older_answer_settles_an_amendment_that_the_stream_has_shown_and_leaves_its_terms(tracker: OrderTracker):
    tracker.apply(Status(update(OrderState.OPEN, ts=5)), 2)
    tracker.apply(Asked(ID, Pending.AMEND, D(99), None), 3)
    tracker.apply(Status(update(OrderState.OPEN, ts=7, price=D(99))), 4)
    tracker.apply(Status(update(OrderState.OPEN, ts=5), Pending.AMEND), 5)
    assert known(tracker).price == 99 and known(tracker).pending is Pending.NONE


def test_an_acknowledgement_that_repeats_what_was_asked_does_not_undo_what_the_venue_made_of_it(tracker: OrderTracker):
    tracker.apply(Status(update(OrderState.OPEN, ts=5, quantity=D(8))), 2)
    late = Status(update(OrderState.SENT, ts=5))
    assert not tracker.is_news(late)
    tracker.apply(late, 3)
    assert known(tracker).quantity == 8


def test_an_answer_of_the_same_moment_does_not_undo_that_the_venue_made_a_reduction_smaller():
    tracker = OrderTracker()
    tracker.apply(msgspec.structs.replace(intent(), reduce_only=True), 0)
    tracker.apply(Sent(ID), 1)
    tracker.apply(Status(update(OrderState.OPEN, ts=5)), 2)
    tracker.apply(Asked(ID, Pending.AMEND, D(99), None), 3)
    tracker.apply(Status(update(OrderState.OPEN, ts=7, price=D(99))), 4)
    tracker.apply(Status(update(OrderState.OPEN, ts=7, price=D(99), quantity=D(8))), 5)
    tracker.apply(Status(update(OrderState.OPEN, ts=7, price=D(99)), Pending.AMEND), 6)
    order = known(tracker)
    assert (order.price, order.quantity, order.pending) == (99, 8, Pending.NONE)


def test_reported_and_booked_fills_stand_side_by_side(tracker: OrderTracker):
    tracker.apply(Status(update(OrderState.OPEN, filled=4)), 2)
    order = known(tracker)
    assert (order.state, order.filled, order.reported_filled, order.remaining) == (OrderState.PARTIAL, 0, 4, 6)
    tracker.apply(Execution(fill(1, 3), "grid", D(0)), 3)
    assert (order.filled, order.remaining) == (3, 6)
    tracker.apply(Status(update(OrderState.CANCELED, filled=5)), 4)
    tracker.apply(Execution(fill(2, 2), "grid", D(0)), 5)
    assert (order.state, order.filled, order.working_quantity) == (OrderState.CANCELED, 5, 0)


def test_a_refused_request_leaves_the_order_and_says_why(tracker: OrderTracker):
    tracker.apply(Status(update(OrderState.OPEN)), 2)
    tracker.apply(Asked(ID, Pending.CANCEL), 3)
    tracker.apply(Declined(ID, "too busy", "RateLimited"), 4)
    order = known(tracker)
    assert (order.state, order.pending, order.reason, order.error) == (
        OrderState.OPEN, Pending.NONE, "too busy", "RateLimited",
    )  # fmt: skip


def test_a_rejection_after_the_acknowledgement_keeps_its_class(tracker: OrderTracker):
    tracker.apply(Status(update(OrderState.OPEN)), 2)
    late = Status(update(OrderState.REJECTED, reason="would have matched", error="PostOnlyWouldTake"))
    tracker.apply(read_back(late), 3)
    order = known(tracker)
    assert (order.state, order.reason, order.error) == (
        OrderState.REJECTED, "would have matched", "PostOnlyWouldTake",
    )  # fmt: skip


def test_an_order_given_up_is_revived_by_evidence(tracker: OrderTracker):
    tracker.apply(Outcome(ID, OrderState.UNKNOWN, "no answer"), 2)
    tracker.apply(Outcome(ID, OrderState.NEVER_ACCEPTED, "not found"), 3)
    assert tracker.working() == []
    tracker.apply(Execution(fill(1, 10), "grid", D(0)), 4)
    assert known(tracker).state is OrderState.FILLED
    assert tracker.apply(Outcome(ID, OrderState.NEVER_ACCEPTED, "not found"), 5) is None


def test_a_foreign_order_is_known_by_the_venues_id(tracker: OrderTracker):
    theirs = OrderUpdate("", "v9", SYMBOL, Side.SELL, OrderType.LIMIT, OrderState.OPEN, D(1), D(105), D(0), 3)
    order = tracker.apply(Status(theirs), 4)
    assert order is not None and order.external and order.label == 2 and order.client_id == "v9"
    assert tracker.find("", SYMBOL, "v9") is order and tracker.find("", "ETH-USDT-PERP", "v9") is None


def test_only_the_newest_final_orders_are_kept(tracker: OrderTracker):
    for number in range(KEPT_ORDERS + 50):
        client_id = f"x{number}"
        tracker.apply(intent(client_id, number + 2), number)
        tracker.apply(Outcome(client_id, OrderState.REJECTED, "no"), number)
    assert len(tracker.recent()) == KEPT_ORDERS + 1 and tracker.working() == [known(tracker)]
    assert tracker.get("x0") is None and tracker.by_label(2) is None and tracker.get("x60") is not None


NEWS: list[Record] = [
    Status(update(OrderState.OPEN, ts=1)),
    Status(update(OrderState.PARTIAL, filled=4, ts=2)),
    Execution(fill(1, 4), "grid", D(0)),
    Status(update(OrderState.FILLED, filled=10, ts=3)),
    Execution(fill(2, 6), "grid", D(0)),
]


@given(st.permutations(NEWS), st.lists(st.sampled_from([news for news in NEWS if isinstance(news, Status)])))
def test_e05_e06_the_order_of_news_does_not_matter(order_of_news: list[Record], repeats: list[Record]):
    tracker = OrderTracker()
    tracker.apply(intent(), 0)
    rank = 0
    for number, news in enumerate([*order_of_news, *repeats]):
        tracker.apply(read_back(news), number)
        order = known(tracker)
        assert order.filled <= order.reported_filled <= 10
        assert not (rank and order.is_open)
        rank = rank or not order.is_open
    assert (order.state, order.filled, order.reported_filled) == (OrderState.FILLED, 10, 10)
    restored = OrderTracker()
    restored.restore(tracker.snapshot())
    assert restored.snapshot() == tracker.snapshot()


def test_e10_fills_of_an_amendment_without_an_answer_are_no_overfill_and_leave_its_rest_working(tracker: OrderTracker):
    tracker.apply(Status(update(OrderState.OPEN, ts=5)), 2)
    tracker.apply(Asked(ID, Pending.AMEND, None, D(15)), 3)
    order = known(tracker)
    tracker.apply(Execution(fill(1, 10), "grid", D(0)), 4)
    assert (order.state, order.quantity) == (OrderState.PARTIAL, 10)
    tracker.apply(Execution(fill(2, 2), "grid", D(0)), 5)
    assert (order.state, order.quantity, order.working_quantity) == (OrderState.PARTIAL, 15, 3)
    tracker.apply(Execution(fill(3, 3), "grid", D(0)), 6)
    assert order.state is OrderState.FILLED


def test_a_list_from_before_an_amendment_does_not_make_an_order_smaller_than_what_it_has_filled(tracker: OrderTracker):
    tracker.apply(Status(update(OrderState.OPEN, ts=5)), 2)
    tracker.apply(Asked(ID, Pending.AMEND, None, D(15)), 3)
    tracker.apply(Execution(fill(1, 12), "grid", D(0)), 4)
    tracker.apply(Status(update(OrderState.OPEN, ts=5)), 5)
    order = known(tracker)
    assert (order.state, order.quantity, order.working_quantity) == (OrderState.PARTIAL, 15, 3)


def test_a_refused_amendment_explains_no_overfill(tracker: OrderTracker):
    tracker.apply(Status(update(OrderState.OPEN, ts=5)), 2)
    tracker.apply(Asked(ID, Pending.AMEND, None, D(15)), 3)
    tracker.apply(Declined(ID, "too large", "InvalidOrder"), 4)
    tracker.apply(Execution(fill(1, 12), "grid", D(0)), 5)
    assert (known(tracker).state, known(tracker).quantity) == (OrderState.FILLED, 10)


def test_a_final_order_is_unbooked_until_all_that_was_reported_is_booked(tracker: OrderTracker):
    tracker.apply(Status(update(OrderState.FILLED, filled=10)), 2)
    order = known(tracker)
    assert tracker.unbooked() == [order] and order.exposed_quantity == 10
    assert tracker.in_flight(order.symbol) == 10 * order.side.sign and not tracker.in_flight("OTHER/USDT:USDT")
    tracker.apply(Execution(fill(1, 4), "grid", D(0)), 3)
    assert tracker.unbooked() == [order] and order.exposed_quantity == 6
    assert tracker.in_flight(order.symbol) == 6 * order.side.sign
    tracker.apply(Execution(fill(2, 6), "grid", D(0)), 4)
    assert not tracker.unbooked() and order.exposed_quantity == 0 and not tracker.in_flight(order.symbol)


def test_what_a_working_order_was_told_to_have_filled_is_in_flight_but_not_unbooked(tracker: OrderTracker):
    tracker.apply(Status(update(OrderState.PARTIAL, filled=3)), 2)
    assert tracker.in_flight(known(tracker).symbol) == 3 * known(tracker).side.sign and not tracker.unbooked()
