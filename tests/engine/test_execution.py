"""Order entry on the real paper exchange."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from drivers.paper.config import QueueModel
from drivers.paper.markets.scripted import trial_instrument
from engine.kernel.errors import (
    BelowMinimum,
    InvalidOrder,
    OrderNotFound,
    RateLimited,
    ReduceOnlyRejected,
    RiskReject,
    TradingHalted,
    UnknownOutcome,
    UnknownSymbol,
    VenueUnavailable,
)
from engine.kernel.instruments import Instrument
from engine.kernel.market import BookUpdate, Quote
from engine.kernel.orders import Fill, OrderState, OrderType, OrderUpdate, Pending
from engine.kernel.strategy import DoneStatus
from engine.kernel.syscalls import VenueFeatures
from engine.runtime.events import CommandRefused, FillBooked, OrderChanged, WorkDone
from engine.runtime.records import Reconciled
from engine.runtime.sizing import market_cap, size_for_amount
from engine.runtime.state import EngineState
from engine.runtime.state_digest import state_digest
from tests.engine.faults import FaultyDriver
from tests.engine.floor import BUY, MANUAL, PERP, SELL, SPOT, Floor, d

LIMIT, MARKET, IOC, STOP, POST = (
    OrderType.LIMIT, OrderType.MARKET, OrderType.IOC, OrderType.STOP, OrderType.POST_ONLY,
)  # fmt: skip


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path, driver_of=FaultyDriver)
    floor.print(100.0)
    floor.admit("grid", "trend")
    return floor


def coin(base: str, lot: str, min_quantity: str, min_notional: str) -> Instrument:
    return replace(
        trial_instrument(), base=base, lot_size=d(lot), min_quantity=d(min_quantity), min_notional=d(min_notional)
    )


def test_a_limit_order_rests_fills_and_is_booked(floor: Floor):
    order = floor.order(BUY, 2, 99.5)
    assert order.state is OrderState.OPEN and order.venue_order_id and order.label == 1
    assert len(order.client_id) == 18 and order.client_id.isalnum()
    floor.print(99.5)
    assert order.state is OrderState.FILLED and floor.ledger() == 2
    assert [event.fill.price for event in floor.fills()] == [d("99.5")]
    states = [event.order.state for event in floor.events if isinstance(event, OrderChanged)]
    assert states[-1] is OrderState.FILLED
    floor.check_books()


def test_an_intent_is_in_the_journal_before_the_venue_hears_of_it(floor: Floor):
    order = floor.submit(BUY, 1, 99)
    kinds = [entry.kind for entry in floor.journal.records(floor.account.key)]
    assert kinds[-2:] == ["INTENT", "SENT"] and floor.venue_orders() == []
    floor.run()
    assert floor.venue_orders() == [order.client_id]


def test_each_request_names_who_asked_and_how_long_the_answer_took(tmp_path: Path):
    floor = Floor(tmp_path, driver_of=FaultyDriver, latency_ms=40)
    floor.print(100.0)
    floor.admit("grid")
    engine = floor.engine
    first = floor.order(BUY, 1, 99, instance="grid")
    second = floor.order(BUY, 1, 98)
    floor.run(0.1)
    engine.amend(first.client_id, d("98.5"), by="grid")
    engine.cancel(second.client_id)
    floor.run(0.1)
    handle = engine.soft(MANUAL, PERP, SELL, d(1))
    floor.run(0.1)
    engine.end(handle)
    floor.run(0.1)
    engine.panic("ann", "enough")
    floor.run(0.1)
    asked = [e.body for e in floor.journal.records(floor.account.key) if e.kind == "ASKED"]
    by = [(body["request"], body["by"]) for body in asked]
    assert by == [("amend", "grid"), ("cancel", MANUAL), ("cancel", handle), ("cancel", "halt: enough")]
    assert (first.asked_by, second.asked_by) == ("halt: enough", MANUAL)
    told = [(op, fields.get("by"), fields["latency_ms"]) for op, fields in floor.operations if "latency_ms" in fields]
    assert [(op, by) for op, by, _ in told] == [
        ("OrderAck", None),
        ("OrderAck", None),
        ("OrderAmended", "grid"),
        ("OrderCanceled", MANUAL),
        ("OrderAck", None),
        ("OrderCanceled", handle),
        ("OrderCanceled", "halt: enough"),
    ]
    assert all(40 <= latency <= 60 for *_, latency in told)


@pytest.mark.parametrize(
    ("quantity", "price", "error", "words"),
    [
        ("1.0005", "99", InvalidOrder, "no multiple of the lot 0.001; 1.000 would do"),
        ("1", "99.001", InvalidOrder, "no multiple of the tick 0.01; 99.00 would do"),
        ("0.01", "99", BelowMinimum, "amount 0.99 USD is below the minimum 5.049 USD"),
        ("-1", "99", InvalidOrder, "positive"),
        ("NaN", "99", InvalidOrder, "positive"),
        ("1", None, InvalidOrder, "needs a price"),
        ("1", "0", InvalidOrder, "positive"),
    ],
)
def test_bad_terms_are_refused_by_name_value_and_remedy(floor: Floor, quantity, price, error, words):
    before = floor.journal.last_seq
    with pytest.raises(error, match=words.replace("(", r"\(")):
        floor.submit(BUY, quantity, price)
    assert floor.journal.last_seq == before and floor.driver.gateway.placed == []
    assert isinstance(floor.events[-1], CommandRefused) and floor.events[-1].error == error.__name__


def test_unknown_symbols_and_orders_are_named(floor: Floor):
    with pytest.raises(UnknownSymbol, match="DOGE"):
        floor.submit(BUY, 1, 99, symbol="DOGE-USD-PERP")
    with pytest.raises(OrderNotFound, match="nope"):
        floor.engine.cancel("nope")


def test_sizing_by_amount_never_exceeds_what_was_asked():
    btc, eth = coin("BTC", "0.0001", "0.0001", "5"), coin("ETH", "0.001", "0.001", "5")
    with pytest.raises(BelowMinimum) as refused:
        size_for_amount(btc, d(5), d(100_000))
    assert (refused.value.asked, refused.value.minimum) == (5, 10)
    assert size_for_amount(btc, d(25), d(100_000)) == (d("0.0002"), d(5))
    quantity, unspent = size_for_amount(eth, d(10), d(4000))
    assert (quantity, unspent) == (d("0.002"), d(2))


def test_amounts_are_sized_by_limit_cap_or_bid(floor: Floor):
    size = floor.engine.size_for_amount
    assert size(PERP, BUY, d(1000), d(50), LIMIT) == (20, 0)
    quantity, unspent = size(PERP, BUY, d(1000))
    assert quantity == d("9.970") and unspent == 1000 - quantity * d("100.30")
    assert size(PERP, SELL, d(1000)) == (10, 0)


def test_a_market_order_is_an_ioc_limit_within_30_bp_of_the_touch(floor: Floor):
    order = floor.order(BUY, 1, type=MARKET)
    request = floor.driver.gateway.placed[-1]
    assert (request.type, request.price) == (IOC, d("100.30"))
    assert order.type is MARKET and order.state is OrderState.FILLED and order.average_price == 100
    instrument = floor.engine.instrument(PERP)
    quote = Quote(PERP, 0, 99.99, 1, 100.01, 1)
    assert market_cap(instrument, BUY, quote) == d("100.31")
    assert market_cap(instrument, SELL, quote) == d("99.70")


def test_a_refusal_of_the_venue_is_definite(floor: Floor):
    order = floor.order(BUY, 1, 100.5, type=POST)
    assert order.state is OrderState.REJECTED and order.error == "PostOnlyWouldTake"
    assert "OrderPlaceFail" in floor.ops()
    assert floor.order(BUY, 1, 99).state is OrderState.OPEN


def test_cancel_is_idempotent_and_final_orders_take_no_more(floor: Floor):
    order = floor.order(BUY, 1, 99)
    floor.engine.cancel(order.client_id)
    floor.engine.cancel(order.client_id)
    assert order.pending is Pending.CANCEL
    floor.run()
    assert order.state is OrderState.CANCELED and len(floor.driver.gateway.cancels) == 1
    floor.engine.cancel(order.client_id)
    assert len(floor.driver.gateway.cancels) == 1
    with pytest.raises(InvalidOrder, match="nothing to amend"):
        floor.engine.amend(order.client_id, price=d(98))


def test_e09_a_cancel_is_tried_again_until_it_is_through(floor: Floor):
    order = floor.order(BUY, 1, 99)
    floor.driver.gateway.refuse_cancels = [RateLimited("slow down"), UnknownOutcome("no answer")]
    floor.engine.cancel(order.client_id)
    floor.run(2)
    assert order.state is OrderState.CANCELED and len(floor.driver.gateway.cancels) == 3


def test_e09_not_found_is_asked_about_and_never_taken_for_cancelled(floor: Floor):
    order = floor.order(BUY, 1, 99)
    floor.driver.gateway.refuse_cancels = [OrderNotFound("not here")]
    floor.driver.deaf = True
    floor.engine.cancel(order.client_id)
    floor.run(0.015)
    assert order.state is OrderState.OPEN
    floor.run(1)
    assert order.state is OrderState.CANCELED and len(floor.driver.gateway.cancels) == 2


def test_e08_e09_a_cancel_that_meets_a_fill_ends_as_the_fill(floor: Floor):
    order = floor.order(BUY, 1, 99)
    floor.driver.deaf = True
    floor.print(99)
    floor.driver.deaf = False
    floor.engine.cancel(order.client_id)
    floor.run(0.1)
    assert order.state is OrderState.FILLED and order.filled == 0 and order.reported_filled == 1
    floor.run(3)
    assert order.filled == 1 and floor.ledger() == 1
    floor.check_books()


def test_what_is_reported_filled_is_not_reduced_a_second_time(floor: Floor):
    floor.hold(2, instance="grid")
    floor.hold(-2)  # so that the venue cannot know the reduction as one
    floor.driver.scramble = lambda event: () if isinstance(event, Fill) else (event,)
    closing = floor.order(SELL, 2, type=OrderType.MARKET, instance="grid", reduce_only=True)
    assert closing.state is OrderState.FILLED and floor.ledger("grid") == 2, "its execution is not known yet"
    with pytest.raises(ReduceOnlyRejected, match="holds 2, and fills are on their way"):
        floor.submit(SELL, 2, type=OrderType.MARKET, instance="grid", reduce_only=True)
    floor.driver.scramble = lambda event: (event,)
    floor.run(60)
    assert floor.ledger("grid") == 0


def test_amend_changes_price_and_total(floor: Floor):
    order = floor.order(BUY, 1, 99)
    floor.engine.amend(order.client_id, price=d("98.5"), quantity=d(2))
    assert order.pending is Pending.AMEND and order.price == 99
    floor.run()
    assert (order.price, order.quantity, order.pending) == (d("98.5"), 2, Pending.NONE)
    assert floor.venue.exchange.open_orders()[0].price == d("98.5")


def test_a_refused_amend_leaves_the_order_as_it_was(floor: Floor):
    order = floor.order(BUY, 1, 99, type=POST)
    floor.engine.amend(order.client_id, price=d("100.5"))
    floor.run()
    assert (order.price, order.state, order.pending) == (99, OrderState.OPEN, Pending.NONE)
    assert order.error == "PostOnlyWouldTake" and order.reason.startswith("not amended")
    with pytest.raises(InvalidOrder, match="tick"):
        floor.engine.amend(order.client_id, price=d("98.001"))


def test_e10_an_amended_total_that_is_filled_already_cancels_the_rest(tmp_path: Path):
    floor = Floor(tmp_path, queue=QueueModel.FIFO, driver_of=FaultyDriver)
    floor.play(BookUpdate(PERP, 0, [(99.0, 5.0)], [(100.0, 0.4)], True))
    order = floor.order(BUY, 1, 100)
    assert order.state is OrderState.PARTIAL and order.filled == d("0.4")
    floor.engine.amend(order.client_id, quantity=d("0.7"))
    floor.run()
    assert order.quantity == d("0.7") and order.remaining == d("0.3")
    floor.engine.amend(order.client_id, quantity=d("0.4"))
    assert order.pending is Pending.CANCEL
    floor.run()
    assert order.state is OrderState.CANCELED and order.filled == d("0.4") == floor.ledger()
    floor.check_books()


def test_the_newest_of_several_amendments_wins(floor: Floor):
    order = floor.order(BUY, 1, 99)
    for price in ("98.9", "98.8", "98.7"):
        floor.engine.amend(order.client_id, price=d(price))
    floor.run(0.1)
    assert order.price == d("98.7") and order.pending is Pending.NONE
    assert [op for op in floor.ops() if op == "OrderAmended"] == ["OrderAmended"] * 2


def test_n02_an_amendment_without_an_answer_is_settled_by_the_order_as_it_is(floor: Floor):
    order = floor.order(BUY, 1, 99)
    floor.driver.gateway.refuse_amends = [UnknownOutcome("no answer")]
    floor.engine.amend(order.client_id, price=d(98))
    floor.run(2)
    assert order.price == 99 and order.pending is Pending.NONE and order.state is OrderState.OPEN


def test_a_refused_amendment_does_not_end_the_cancel_that_came_after_it(floor: Floor):
    order = floor.order(BUY, 1, 99)
    floor.driver.gateway.refuse_amends = [InvalidOrder("no")]
    floor.driver.gateway.refuse_cancels = [VenueUnavailable("no answer")]
    floor.engine.amend(order.client_id, price=d(98))
    floor.engine.cancel(order.client_id)
    floor.run(2)
    assert order.state is OrderState.CANCELED and not floor.venue_orders()


def test_a_fill_without_a_name_waits_for_the_order_whose_outcome_is_not_known(floor: Floor):
    inner = floor.venue.get_fills

    async def nameless(*args: Any, **kwargs: Any) -> list[Fill]:
        return [replace(fill, client_id="") for fill in await inner(*args, **kwargs)]

    floor.driver.get_fills = nameless
    gateway = floor.driver.gateway
    gateway.lose_answers, gateway.hide = 1, 5
    floor.driver.deaf = True
    order = floor.order(BUY, 1, 100, OrderType.IOC, instance="grid")
    floor.run(12)
    assert order.state is OrderState.UNKNOWN and not floor.fills()
    floor.run(60)
    assert order.state is OrderState.FILLED and order.filled == 1
    assert floor.ledger("grid") == 1 and floor.ledger() == 0 and floor.alarms() == []


def test_a_venue_without_amendments_gets_a_replacement(tmp_path: Path):
    floor = Floor(tmp_path, features=VenueFeatures(amends=False))
    floor.print(100.0)
    order = floor.order(BUY, 1, 99)
    floor.engine.amend(order.client_id, price=d(98))
    floor.run(0.1)
    working = floor.engine.tracker.working()
    assert order.state is OrderState.CANCELED and [o.price for o in working] == [98]
    floor.check_books()


@pytest.mark.parametrize("answer", ["comes", "is lost", "is a refusal", "comes after a crash"])
@pytest.mark.parametrize("what", ["order", "work"])
def test_a_cancel_while_the_new_order_is_on_its_way_takes_that_back_too(tmp_path: Path, what: str, answer: str):
    options: dict[str, Any] = {"features": VenueFeatures(amends=False), "driver_of": FaultyDriver}
    floor = Floor(tmp_path, **options)
    floor.print(100.0)
    order = floor.order(BUY, 1, 99)
    handle = floor.engine.amend(order.client_id, price=d(98))
    assert handle is not None
    floor.driver.gateway.lose_answers = int(answer == "is lost")
    floor.driver.gateway.refuse_places = [InvalidOrder("no")] if answer == "is a refusal" else []
    while not order.replaced_by:
        floor.run(0.001)
    new = floor.engine.tracker.get(order.replaced_by)
    assert new is not None and new.state is OrderState.SENT
    if what == "order":
        floor.engine.cancel(order.client_id)
    else:
        assert floor.engine.end(handle)
    assert floor.engine.work_of() == [handle], "it is over when the venue has answered"
    if answer == "comes after a crash":
        floor = floor.restart(tmp_path, **options)
        floor.print(100.0)
    floor.run(60)
    (done,) = [event.done for event in floor.events if isinstance(event, WorkDone)]
    assert (done.status, done.children) == (DoneStatus.CANCELED, (order.client_id, new.client_id))
    assert floor.engine.tracker.working() == [] and floor.venue_orders() == []
    assert new.asked_by == (MANUAL if what == "order" else handle)
    floor.check_books()


def test_a_new_order_that_is_filled_before_its_cancel_arrives_counts(tmp_path: Path):
    floor = Floor(tmp_path, features=VenueFeatures(amends=False))
    floor.print(100.0)
    order = floor.order(BUY, 1, 99)
    floor.engine.amend(order.client_id, price=d(101))
    while not order.replaced_by:
        floor.run(0.001)
    floor.engine.cancel(order.client_id)
    floor.run(1)
    (done,) = [event.done for event in floor.events if isinstance(event, WorkDone)]
    assert (done.status, done.quantity, floor.ledger()) == (DoneStatus.FILLED, 1, 1)


def test_a_reduction_is_capped_by_the_ledger_less_working_reductions(floor: Floor):
    floor.hold(1, instance="grid")
    first = floor.order(SELL, "0.6", 101, instance="grid", reduce_only=True)
    second = floor.order(SELL, "0.6", 102, instance="grid", reduce_only=True)
    assert (first.quantity, second.quantity) == (d("0.6"), d("0.4"))
    with pytest.raises(ReduceOnlyRejected, match="grid holds 1"):
        floor.submit(SELL, "0.1", 103, instance="grid", reduce_only=True)
    with pytest.raises(ReduceOnlyRejected, match="trend holds 0"):
        floor.submit(SELL, "0.1", 103, instance="trend", reduce_only=True)
    stop = floor.order(SELL, 1, None, STOP, "grid", trigger=95)
    assert stop.quantity == 1 and stop.state is OrderState.OPEN


def test_a_fill_of_the_target_resizes_and_then_cancels_the_stop(floor: Floor):
    floor.hold(1, instance="grid")
    near = floor.order(SELL, "0.4", 101, instance="grid", reduce_only=True)
    far = floor.order(SELL, "0.6", 102, instance="grid", reduce_only=True)
    stop = floor.order(SELL, 1, None, STOP, "grid", trigger=95)
    floor.print(101)
    assert near.state is OrderState.FILLED
    floor.run(0.1)
    assert stop.quantity == d("0.6") and far.quantity == d("0.6")
    floor.print(102)
    floor.run(0.1)
    assert far.state is OrderState.FILLED and not stop.is_open and floor.ledger("grid") == 0
    floor.check_books()


def test_reductions_that_the_venue_does_not_watch_are_fitted_by_the_engine(floor: Floor):
    floor.hold(1, instance="grid")
    floor.order(SELL, 5, type=MARKET, instance="trend")
    target = floor.order(SELL, 1, 101, instance="grid", reduce_only=True)
    stop = floor.order(SELL, 1, None, STOP, "grid", trigger=95)
    assert stop.held and not floor.driver.gateway.placed[-1].reduce_only
    floor.order(SELL, "0.3", type=MARKET, instance="grid", reduce_only=False)
    floor.run(0.1)
    assert (floor.ledger("grid"), target.quantity, stop.quantity) == (d("0.7"), d("0.7"), d("0.7"))
    floor.print(101)
    assert target.state is OrderState.FILLED and floor.ledger("grid") == 0 and not stop.is_open


def test_a_stop_that_fires_takes_the_target_away(floor: Floor):
    floor.hold(1, instance="grid")
    target = floor.order(SELL, 1, 105, instance="grid", reduce_only=True)
    stop = floor.order(SELL, 1, None, STOP, "grid", trigger=95)
    floor.print(94)
    floor.run(0.1)
    assert stop.state is OrderState.FILLED and not target.is_open
    assert floor.ledger("grid") == 0
    floor.check_books()


def test_the_venue_flag_is_set_only_when_the_account_is_reduced_by_the_full_size(floor: Floor):
    floor.hold(1, instance="grid")
    floor.order(SELL, "0.5", 101, instance="grid", reduce_only=True)
    assert floor.driver.gateway.placed[-1].reduce_only
    floor.order(SELL, "2", type=MARKET, instance="trend")
    assert floor.engine.portfolio.quantity(PERP) == -1
    sold = floor.order(SELL, "0.5", type=MARKET, instance="grid", reduce_only=True)
    assert not floor.driver.gateway.placed[-1].reduce_only
    assert sold.state is OrderState.FILLED and floor.ledger("grid") == d("0.5")
    floor.check_books()


@pytest.mark.parametrize("reason", ["the venue keeps no stops", "the account is not reduced"])
def test_a_stop_that_the_venue_cannot_keep_is_held_by_the_engine(tmp_path: Path, reason: str):
    features = VenueFeatures(stops=reason != "the venue keeps no stops")
    floor = Floor(tmp_path, features=features)
    floor.print(100.0)
    floor.admit("grid", "trend")
    floor.hold(1, instance="grid")
    if features.stops:
        floor.order(SELL, 1, type=MARKET, instance="trend")
    stop = floor.order(SELL, 1, None, STOP, "grid", trigger=95)
    assert stop.held and stop.state is OrderState.INTENT and stop.is_open and floor.venue_orders() == []
    floor.engine.amend(stop.client_id, price=d(97))
    assert stop.trigger_price == 97
    floor.print(97.01)
    assert floor.ledger("grid") == 1
    floor.print(97)
    assert stop.state is OrderState.FILLED and not stop.held and floor.ledger("grid") == 0
    floor.check_books()


def test_a_held_stop_can_be_cancelled(tmp_path: Path):
    floor = Floor(tmp_path, features=VenueFeatures(stops=False))
    floor.hold(1)
    stop = floor.order(SELL, 1, None, STOP, trigger=95)
    floor.engine.cancel(stop.client_id)
    assert stop.state is OrderState.CANCELED
    floor.print(90)
    assert floor.ledger() == 1


def test_a_held_stop_fires_after_the_last_stop_of_another_symbol_fired(tmp_path: Path):
    floor = Floor(tmp_path, features=VenueFeatures(stops=False))
    floor.print(100.0)
    floor.print(100.0, symbol=SPOT)
    floor.hold(1)
    floor.order(BUY, 1, type=MARKET, symbol=SPOT)
    perp = floor.order(SELL, 1, None, STOP, trigger=95)
    spot = floor.order(SELL, floor.ledger(symbol=SPOT), None, STOP, symbol=SPOT, trigger=95)
    floor.print(94)
    assert perp.state is OrderState.FILLED and spot.held
    floor.print(94, symbol=SPOT)
    assert spot.state is OrderState.FILLED


def test_by_hand_a_reduction_is_measured_by_the_account(floor: Floor):
    floor.hold(1, instance="grid")
    order = floor.order(SELL, 5, type=MARKET, reduce_only=True)
    assert order.quantity == 1 and floor.ledger() == -1 and floor.engine.portfolio.quantity(PERP) == 0


def test_a_reduction_shrinks_with_what_is_held_though_the_account_is_disarmed(floor: Floor):
    floor.hold(2, instance="grid")
    floor.order(SELL, 3, type=MARKET)  # so that the venue cannot know the reduction as one, nor shrink it
    reduction = floor.order(SELL, 2, 105, instance="grid", reduce_only=True)
    floor.order(SELL, 1, 101, instance="grid")
    floor.engine.disarm("ann", "lunch")
    floor.print(101.0)
    floor.run(2)
    assert floor.ledger("grid") == 1 and reduction.quantity == 1 and reduction.is_open


def test_an_amended_reduction_counts_what_it_has_filled(tmp_path: Path):
    floor = Floor(tmp_path, queue=QueueModel.FIFO)
    floor.play(BookUpdate(PERP, 0, [(99.0, 5.0)], [(100.0, 2.0)], True))
    floor.order(BUY, 2, 100)
    floor.play(BookUpdate(PERP, 0, [(101.0, 0.4)], [(102.0, 2.0)], True))
    reduction = floor.order(SELL, 1, 101, reduce_only=True)
    assert reduction.filled == d("0.4") and reduction.is_open
    floor.engine.amend(reduction.client_id, quantity=d("0.8"))
    floor.run(1)
    assert reduction.quantity == d("0.8") and reduction.remaining == d("0.4")


def test_a_reduction_that_turns_up_late_is_fitted_to_what_is_left(floor: Floor):
    floor.hold(2, instance="grid")
    floor.order(SELL, 3, type=MARKET)  # so that the venue cannot know the reduction as one
    floor.order(SELL, 1, 101, instance="grid")
    floor.driver.gateway.lose_answers = 1
    floor.driver.deaf = True
    reduction = floor.order(SELL, 2, 105, instance="grid", reduce_only=True)
    assert reduction.state is OrderState.UNKNOWN
    floor.driver.deaf = False
    floor.print(101.0)
    assert floor.ledger("grid") == 1
    floor.run(5)
    assert reduction.is_open and reduction.quantity == 1


def test_a_reduction_shrinks_while_a_newer_one_is_still_being_cancelled(floor: Floor):
    floor.admit("trend")
    floor.hold(12, instance="grid")
    floor.order(SELL, 20, type=MARKET, instance="trend")  # so that the venue lets reductions be as large as they are
    older = floor.order(SELL, 6, 101, instance="grid", reduce_only=True)
    newer = floor.order(SELL, 6, 102, instance="grid", reduce_only=True)
    floor.driver.gateway.refuse_cancels = [VenueUnavailable("busy")] * 2
    floor.order(SELL, 7, 100, type=MARKET, instance="grid")
    floor.run(0.1)
    assert newer.is_open and newer.pending is Pending.CANCEL and older.quantity == 5
    floor.run(2)
    assert not newer.is_open and "reduction" not in floor.alarms()
    floor.print(101)
    assert older.state is OrderState.FILLED and floor.ledger("grid") == 0
    floor.check_books()


def test_a_reduction_that_could_not_shrink_does_so_when_the_next_one_ends(floor: Floor):
    floor.admit("trend")
    floor.hold(12, instance="grid")
    floor.order(SELL, 20, type=MARKET, instance="trend")
    older = floor.order(SELL, 6, 101, instance="grid", reduce_only=True)
    newer = floor.order(SELL, 6, 102, instance="grid", reduce_only=True)
    floor.driver.gateway.refuse_amends = [VenueUnavailable("busy")]
    floor.driver.gateway.refuse_cancels = [VenueUnavailable("busy")] * 2
    floor.order(SELL, 7, 100, type=MARKET, instance="grid")
    floor.run(3)
    assert not newer.is_open and older.quantity == 5


def test_where_the_venue_cannot_amend_a_reduction_that_is_too_large_is_cancelled(tmp_path: Path):
    floor = Floor(tmp_path, features=VenueFeatures(amends=False))
    floor.print(100.0)
    floor.admit("grid")
    floor.hold(2, instance="grid")
    floor.order(SELL, 3, type=MARKET)
    reduction = floor.order(SELL, 2, 105, instance="grid", reduce_only=True)
    floor.order(SELL, 1, 101, instance="grid")
    floor.print(101.0)
    floor.run(2)
    assert reduction.state is OrderState.CANCELED and reduction.asked_by == "less is held than it reduces"


def test_n02_an_unknown_outcome_is_resolved_and_never_sent_again(floor: Floor):
    floor.driver.gateway.lose_answers = 1
    floor.driver.deaf = True
    order = floor.order(BUY, 1, 99)
    assert order.state is OrderState.UNKNOWN and order.working_quantity == 1
    with pytest.raises(RiskReject, match="no known outcome"):
        floor.submit(BUY, 1, 98)
    floor.run(2)
    assert order.state is OrderState.OPEN and len(floor.driver.gateway.placed) == 1


def test_n01_an_order_that_never_arrived_is_given_up_only_with_proof(floor: Floor):
    floor.driver.gateway.lose_requests = 1
    order = floor.order(BUY, 1, 99)
    floor.run(19)
    assert order.state is OrderState.UNKNOWN
    floor.run(45)
    assert order.state is OrderState.NEVER_ACCEPTED and len(floor.driver.gateway.placed) == 1
    floor.print(100.0)
    assert floor.order(BUY, 1, 99).state is OrderState.OPEN


def test_n01_a_stop_that_waited_here_is_as_old_as_the_moment_it_left(tmp_path: Path):
    floor = Floor(tmp_path, features=VenueFeatures(stops=False), driver_of=FaultyDriver)
    floor.print(100.0)
    floor.hold(1)
    stop = floor.order(SELL, 1, type=OrderType.STOP, trigger=95, reduce_only=True)
    floor.run(60)
    floor.driver.gateway.lose_requests = 1
    floor.print(94.0)
    floor.run(19)
    assert stop.state is OrderState.UNKNOWN
    floor.run(45)
    assert stop.state is OrderState.NEVER_ACCEPTED


def test_failed_queries_prove_nothing(floor: Floor):
    floor.driver.gateway.lose_requests = 1
    floor.driver.gateway.refuse_queries = [RateLimited("slow down") for _ in range(50)]
    order = floor.order(BUY, 1, 99)
    floor.run(61)
    assert order.state is OrderState.UNKNOWN


def test_e11_an_order_that_appears_after_it_was_given_up_is_adopted_with_an_alarm(floor: Floor):
    gateway = floor.driver.gateway
    gateway.lose_answers, gateway.hide = 1, 50
    floor.driver.deaf = True
    floor.driver.broken["get_open_orders"] = RateLimited("slow down")
    order = floor.order(BUY, 1, 99)
    floor.run(70)
    assert order.state is OrderState.NEVER_ACCEPTED
    floor.driver.broken.clear()
    assert "late_order" not in floor.alarms()
    floor.run(10)
    assert order.state is OrderState.OPEN and floor.alarms().count("late_order") == 1
    floor.driver.deaf = False
    floor.print(99)
    assert order.state is OrderState.FILLED and floor.ledger() == 1


def test_n03_lost_and_filled_is_found_with_its_fill(floor: Floor):
    floor.driver.gateway.lose_answers = 1
    floor.driver.deaf = True
    order = floor.order(BUY, 1, type=MARKET)
    assert order.state is OrderState.UNKNOWN and floor.ledger() == 0
    floor.run(5)
    assert order.state is OrderState.FILLED and order.filled == 1 and floor.ledger() == 1
    assert len(floor.fills()) == 1
    floor.driver.deaf = False
    floor.run(60)
    assert len(floor.fills()) == 1
    floor.check_books()


def test_e05_e06_fills_and_statuses_may_come_twice_late_and_in_any_order(floor: Floor):
    delivered = []

    def twice_and_backwards(event):
        delivered.append(event)
        return (*reversed(delivered), event)

    floor.driver.scramble = twice_and_backwards
    order = floor.order(BUY, 2, 99)
    floor.print(99)
    assert order.state is OrderState.FILLED and order.filled == 2
    assert len(floor.fills()) == 1 and floor.ledger() == 2
    floor.check_books()


def test_the_same_trade_with_other_content_raises_an_alarm_and_changes_nothing(floor: Floor):
    from dataclasses import replace

    floor.order(BUY, 1, type=MARKET)
    fill = floor.fills()[0].fill
    floor.engine.booking.on_fill(replace(fill, quantity=d(7)))
    assert floor.alarms() == ["fill_conflict"] and floor.ledger() == 1


def test_e15_an_overfill_is_booked_reported_and_halts_the_strategy(floor: Floor):
    from dataclasses import replace

    halted = []
    floor.engine.risk.on_instance_halt = lambda instance, reason: halted.append((instance, reason))
    floor.order(BUY, 1, type=MARKET, instance="grid")
    fill = floor.fills()[0].fill
    floor.engine.booking.on_fill(replace(fill, trade_id="more", quantity=d("0.5")))
    assert floor.ledger("grid") == d("1.5") and floor.alarms() == ["overfill"]
    assert halted[0][0] == "grid"


def test_orders_and_fills_of_others_go_to_the_manual_ledger(floor: Floor):
    from engine.kernel.orders import OrderRequest

    floor.venue.gateway.place(OrderRequest("theirs", "", PERP, BUY, LIMIT, d(1), d(99)), lambda outcome: None)
    floor.run()
    (order,) = floor.engine.tracker.working()
    assert order.external and order.instance == MANUAL and order.label == 1
    assert floor.engine.cancel_all() == []
    floor.print(99)
    assert floor.ledger() == 1 and floor.ledger("grid") == 0
    floor.check_books()


def test_e06_e16_fills_of_others_before_their_order_count_as_its_fills(floor: Floor):
    first = Fill("t1", PERP, "", "v9", BUY, d(99), d(1), d(0), "USDT", True, 1)
    booking, filled = floor.engine.booking, OrderState.FILLED
    booking.on_fill(first)
    booking.on_update(OrderUpdate("", "v9", PERP, BUY, LIMIT, OrderState.OPEN, d(3), d(99), d(0), 1))
    booking.on_fill(replace(first, trade_id="t2", quantity=d(2)))
    booking.on_update(OrderUpdate("", "v9", PERP, BUY, LIMIT, filled, d(3), d(99), d(3), 2))
    (order,) = floor.engine.tracker.recent()
    assert order.external and order.state is filled and order.filled == order.reported_filled == 3
    assert floor.ledger() == 3
    replayed = floor.engine.core.state
    again = EngineState(floor.journal, floor.engine.account.key, floor.clock)
    again.load()
    assert state_digest(again) == state_digest(replayed)


def test_e14_a_trade_id_that_is_used_again_on_another_symbol_is_another_trade(floor: Floor):
    def twin(symbol: str) -> Fill:
        ts = floor.clock.now_ms() + 1
        return Fill("7", symbol, "", f"v-{symbol}", BUY, d(100), d(1), d(0), "USD", False, ts)

    for fill in (twin(PERP), twin(SPOT), twin(PERP), twin(SPOT)):
        floor.engine.booking.on_event(fill)
    assert floor.ledger(symbol=PERP) == 1 == floor.ledger(symbol=SPOT)
    assert len(floor.fills()) == 2 and "fill_conflict" not in floor.alarms()


def test_e16_fills_of_others_before_the_first_start_are_not_waited_for(floor: Floor):
    floor.engine.core.write(Reconciled(10, 5))
    foreign = OrderUpdate("", "v8", PERP, BUY, LIMIT, OrderState.FILLED, d(2), d(99), d(2), 5)
    floor.engine.booking.on_update(foreign)
    (order,) = floor.engine.tracker.recent()
    assert order.external and order.filled == order.reported_filled == 2
    assert floor.ledger() == 0, "the position it made was taken over as a whole"


def test_an_order_without_arming_is_refused_and_reductions_by_hand_pass(floor: Floor):
    floor.hold(1)
    floor.engine.disarm("test")
    with pytest.raises(TradingHalted, match="disarmed"):
        floor.submit(BUY, 1, 99)
    assert floor.order(SELL, 1, type=MARKET, reduce_only=True).state is OrderState.FILLED


def test_spot_is_bought_and_sold(floor: Floor):
    floor.print(50.0, symbol=SPOT)
    assert floor.order(BUY, 1, type=MARKET, symbol=SPOT).state is OrderState.FILLED
    assert floor.ledger(symbol=SPOT) == 1
    equity = floor.engine.portfolio.equity()
    floor.print(60.0, symbol=SPOT)
    assert floor.engine.portfolio.equity() - equity == 10


def test_a_hundred_orders_have_a_hundred_ids(floor: Floor):
    orders = [floor.order(BUY, 1, d(99) - d(n) / 100) for n in range(100)]
    assert len({order.client_id for order in orders}) == 100
    assert [order.label for order in orders] == list(range(1, 101))
    assert floor.engine.tracker.by_label(7) is orders[6]


def test_strategy_and_operator_hear_of_fills_before_the_end_of_the_order(floor: Floor):
    order = floor.order(BUY, 1, 99)
    floor.events.clear()
    floor.print(99)
    kinds = [type(event) for event in floor.events]
    assert kinds.index(FillBooked) < kinds.index(OrderChanged)
    assert order.filled == 1 and isinstance(floor.events[0], FillBooked) and floor.events[0].realised == Decimal(0)
