"""Every order type against the public book."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.kernel.account import Balance, Position
from engine.kernel.errors import (
    BelowMinimum,
    DuplicateClientOrderId,
    InsufficientFunds,
    InvalidOrder,
    OrderNotFound,
    PostOnlyWouldTake,
    ReduceOnlyRejected,
    UnknownSymbol,
    VenueUnavailable,
)
from engine.kernel.market import BookUpdate, Quote
from engine.kernel.orders import Fill, OrderRequest, OrderState, OrderType, OrderUpdate
from tests.paper.venue import BUY, FREE, PERP, SELL, SPOT, Venue, opened

MARKET, LIMIT, POST, IOC, FOK, STOP = (
    OrderType.MARKET, OrderType.LIMIT, OrderType.POST_ONLY, OrderType.IOC, OrderType.FOK, OrderType.STOP,
)  # fmt: skip


def test_market_order_walks_the_book_and_what_it_took_stays_taken_until_the_level_changes():
    venue = opened()
    first = venue.order(BUY, MARKET, "1.5")
    assert venue.traded(first) == [(100.1, 1.0), (100.2, 0.5)]
    second = venue.order(BUY, MARKET, "1")
    assert venue.traded(second) == [(100.2, 1.0)]
    venue.book([], [(100.1, 0.7)], snapshot=False)
    third = venue.order(BUY, MARKET, "1")
    assert venue.traded(third) == [(100.1, 0.7), (100.2, 0.3)]
    assert venue.held() == Decimal("3.5")
    venue.check_money()


def test_market_order_expires_what_the_book_cannot_take():
    venue = opened()
    order = venue.order(SELL, MARKET, "5")
    assert venue.traded(order) == [(99.9, 1.0), (99.8, 2.0)]
    final = venue.query(order)
    assert (final.state, final.filled, final.average_price) == (OrderState.EXPIRED, 3, Decimal("299.5") / 3)
    nothing = venue.order(SELL, MARKET, "1")
    assert venue.query(nothing).state is OrderState.EXPIRED and not venue.fills(nothing)


def test_consumption_is_public():
    venue = opened()
    seen: list = []
    venue.driver.subscribe_orderbook(PERP, seen.append)
    venue.driver.subscribe_ticks(PERP, seen.append)
    venue.wait(0)
    seen.clear()
    venue.order(BUY, MARKET, "1.25")
    update, quote = seen
    assert isinstance(update, BookUpdate) and update.asks == [(100.1, 0.0), (100.2, 1.75)]
    assert isinstance(quote, Quote) and (quote.bid, quote.ask, quote.ask_size) == (99.9, 100.2, 1.75)
    assert venue.driver.book(PERP).best_ask == 100.2


def test_crossing_limit_takes_within_its_price_and_rests_with_the_remainder():
    venue = opened()
    order = venue.order(BUY, LIMIT, "2", "100.1")
    assert venue.traded(order) == [(100.1, 1.0)]
    assert venue.query(order).state is OrderState.PARTIAL
    venue.book([], [(100.1, 4.0)], snapshot=False)
    assert venue.traded(order) == [(100.1, 1.0), (100.1, 1.0)]
    assert [fill.maker for fill in venue.fills(order)] == [False, True]


def test_ioc_takes_what_it_can_and_expires():
    venue = opened()
    order = venue.order(BUY, IOC, "2", "100.1")
    assert venue.traded(order) == [(100.1, 1.0)]
    assert venue.query(order).state is OrderState.EXPIRED
    passive = venue.order(BUY, IOC, "1", "100")
    assert venue.query(passive).state is OrderState.EXPIRED and not venue.fills(passive)


def test_fok_is_all_or_nothing():
    venue = opened()
    too_much = venue.order(BUY, FOK, "3.001", "100.2")
    assert venue.query(too_much).state is OrderState.EXPIRED and not venue.fills(too_much)
    fits = venue.order(BUY, FOK, "3", "100.2")
    assert venue.traded(fits) == [(100.1, 1.0), (100.2, 2.0)]


def test_post_only_is_refused_when_it_would_take():
    venue = opened()
    with pytest.raises(PostOnlyWouldTake, match=r"would take \(bid 99.9, ask 100.1\)"):
        venue.order(BUY, POST, "1", "100.1")
    assert not venue.events
    order = venue.order(BUY, POST, "1", "100.09")
    assert venue.query(order).state is OrderState.OPEN


def test_stop_fires_at_the_last_price_and_only_reduces():
    venue = opened()
    venue.order(BUY, MARKET, "1")
    stop = venue.order(SELL, STOP, "2", trigger="99", reduce_only=True)
    assert venue.query(stop).quantity == 1
    venue.print(99.01)
    assert venue.query(stop).state is OrderState.OPEN
    venue.print(99.0)
    assert venue.traded(stop) == [(99.9, 1.0)]
    assert venue.held() == 0


def test_stop_can_fire_at_the_mark():
    venue = opened(stop_trigger="mark")
    venue.order(SELL, MARKET, "1")
    stop = venue.order(BUY, STOP, "1", trigger="101")
    venue.print(102)
    assert venue.query(stop).state is OrderState.OPEN
    venue.mark(101)
    assert venue.traded(stop) == [(100.1, 1.0)]


def test_stop_without_a_position_expires_when_it_fires():
    venue = opened()
    stop = venue.order(SELL, STOP, "1", trigger="99")
    venue.print(98)
    assert venue.query(stop).state is OrderState.EXPIRED and not venue.fills(stop)


def test_stop_placed_beyond_its_trigger_fires_at_once():
    venue = opened()
    venue.order(BUY, MARKET, "1")
    venue.mark(100)
    stop = venue.order(SELL, STOP, "1", trigger="100.5")
    assert venue.traded(stop) == [(99.9, 1.0)]


def test_reduce_only_is_capped_shrinks_with_the_position_and_expires_with_it():
    venue = opened()
    with pytest.raises(ReduceOnlyRejected):
        venue.order(SELL, LIMIT, "1", "101", reduce_only=True)
    venue.order(BUY, MARKET, "2")
    with pytest.raises(ReduceOnlyRejected):
        venue.order(BUY, LIMIT, "1", "99", reduce_only=True)
    first = venue.order(SELL, LIMIT, "5", "101", reduce_only=True)
    second = venue.order(SELL, LIMIT, "2", "102", reduce_only=True)
    assert venue.query(first).quantity == 2
    venue.order(SELL, MARKET, "0.5")
    assert [venue.query(order).quantity for order in (first, second)] == [Decimal("1.5"), Decimal("1.5")]
    venue.print(103, side=BUY)
    assert venue.held() == 0
    assert venue.query(first).state is OrderState.FILLED
    assert venue.query(second).state is OrderState.EXPIRED
    venue.check_money()


def test_own_resting_order_expires_instead_of_trading_with_its_owner():
    venue = opened()
    inside = venue.order(SELL, POST, "1", "100")
    behind = venue.order(SELL, POST, "1", "100.1")
    taker = venue.order(BUY, MARKET, "1")
    assert venue.query(inside).state is OrderState.EXPIRED
    assert venue.query(behind).state is OrderState.OPEN, "the public size stood before it"
    assert venue.traded(taker) == [(100.1, 1.0)]
    bigger = venue.order(BUY, MARKET, "1")
    assert venue.query(behind).state is OrderState.EXPIRED
    assert venue.traded(bigger) == [(100.2, 1.0)]


def test_own_order_at_a_level_is_reached_after_the_size_before_it():
    venue = opened()
    behind = venue.order(SELL, POST, "1", "100.1")
    taker = venue.order(BUY, MARKET, "1.001")
    assert venue.query(behind).state is OrderState.EXPIRED
    assert venue.traded(taker) == [(100.1, 1.0), (100.2, 0.001)]


def test_client_ids_are_used_once():
    venue = opened()
    venue.order(BUY, MARKET, "1", id="same")
    with pytest.raises(DuplicateClientOrderId):
        venue.order(BUY, MARKET, "1", id="same")
    assert venue.held() == 1


@pytest.mark.parametrize(
    ("args", "flags", "error", "text"),
    [
        ((BUY, LIMIT, "1", "100.005"), {}, InvalidOrder, "price 100.005 is not a multiple of the tick 0.01"),
        ((BUY, LIMIT, "0.0005", "100"), {}, InvalidOrder, "quantity 0.0005 is not a multiple of the lot 0.001"),
        ((BUY, LIMIT, "0.01", "100"), {}, BelowMinimum, "amount 1 USD is below the minimum 5 USD"),
        ((BUY, LIMIT, "-1", "100"), {}, InvalidOrder, "above 0"),
        ((BUY, LIMIT, "1e40", "100"), {}, InvalidOrder, "below 1e[+]12"),
        ((BUY, LIMIT, "1", "1e40"), {}, InvalidOrder, "below 1e[+]12"),
        ((BUY, LIMIT, "NaN", "100"), {}, InvalidOrder, "above 0"),
        ((BUY, LIMIT, "1", "0"), {}, InvalidOrder, "price 0 must be above 0"),
        ((BUY, LIMIT, "1"), {}, InvalidOrder, "needs a price"),
        ((BUY, MARKET, "1", "100"), {}, InvalidOrder, "takes no price"),
        ((BUY, STOP, "1"), {}, InvalidOrder, "needs a trigger price"),
        ((BUY, LIMIT, "1", "100"), {"trigger": "99"}, InvalidOrder, "takes no trigger price"),
        ((BUY, LIMIT, "1", "100"), {"id": "x" * 37}, InvalidOrder, "at most 36"),
        ((BUY, LIMIT, "1", "100"), {"symbol": "NO-USD"}, UnknownSymbol, "NO-USD"),
        ((BUY, LIMIT, "10000", "100"), {}, InsufficientFunds, "1000.00 is free"),
    ],
)
def test_refusals_name_what_is_wrong(args, flags, error, text):
    venue = opened()
    with pytest.raises(error, match=text):
        venue.order(*args, **flags)
    assert not venue.events and not venue.exchange.open_orders()


def test_orders_before_the_first_price_are_refused():
    venue = Venue(**FREE)
    with pytest.raises(VenueUnavailable, match="no market yet"):
        venue.order(BUY, LIMIT, "1", "100")
    venue.quote(99.9, 1, 100.1, 1)
    assert venue.traded(venue.order(BUY, MARKET, "2")) == [(100.1, 1.0)], "only the touch is known"


def test_amend_keeps_the_place_when_smaller_and_loses_it_otherwise():
    venue = opened()
    order = venue.order(BUY, LIMIT, "2", "99.9")
    venue.print(99.9, 0.4)
    assert venue.amend(order, quantity="1.5").quantity == Decimal("1.5")
    venue.print(99.9, 0.7)
    assert venue.traded(order) == [(99.9, 0.1)], "0.6 of the 1.0 ahead was left"
    venue.amend(order, quantity="1.8")
    venue.print(99.9, 0.5)
    assert len(venue.fills(order)) == 1, "behind the public size again"
    venue.amend(order, price="99.95")
    venue.print(99.95, 0.5)
    assert venue.traded(order)[-1] == (99.95, 0.5)


def test_amend_below_filled_cancels_and_a_refused_amend_changes_nothing():
    venue = opened()
    order = venue.order(BUY, LIMIT, "2", "100.1")
    with pytest.raises(InvalidOrder):
        venue.amend(order, price="100.001")
    assert venue.query(order).price == Decimal("100.1")
    post = venue.order(BUY, POST, "1", "99")
    with pytest.raises(PostOnlyWouldTake):
        venue.amend(post, price="100.2")
    with pytest.raises(InsufficientFunds):
        venue.amend(post, quantity="900")
    assert (venue.query(post).price, venue.query(post).quantity) == (99, 1)
    assert venue.amend(order, quantity="1").state is OrderState.CANCELED
    with pytest.raises(OrderNotFound, match="canceled already"):
        venue.amend(order, quantity="3")


def test_amended_price_may_take():
    venue = opened()
    order = venue.order(BUY, LIMIT, "2", "99")
    venue.amend(order, price="100.1")
    assert venue.traded(order) == [(100.1, 1.0)]
    assert venue.query(order).state is OrderState.PARTIAL


def test_cancel_answers_once_and_says_when_it_is_too_late():
    venue = opened()
    order = venue.order(BUY, LIMIT, "1", "99")
    assert venue.cancel(order).state is OrderState.CANCELED
    with pytest.raises(OrderNotFound, match="canceled already"):
        venue.cancel(order)
    with pytest.raises(OrderNotFound, match="not known"):
        venue.cancel("never")
    assert len(venue.replies[order]) == 3


def test_replies_come_later_once_and_before_their_consequences():
    venue = opened()
    trail: list = []
    venue.driver.subscribe_account(trail.append)
    request = OrderRequest("r", "test", PERP, BUY, MARKET, Decimal(1))
    venue.driver.gateway.place(request, lambda answer: trail.append(("reply", answer.state)))
    assert not trail, "not on the caller's stack"
    venue.wait(4)
    assert not trail, "not before the latency has passed"
    venue.wait(1)
    assert trail[0] == ("reply", OrderState.OPEN)
    assert [type(event) for event in trail[1:]] == [OrderUpdate, Fill, OrderUpdate, Position, Balance]
    assert (trail[1].state, trail[3].state) == (OrderState.OPEN, OrderState.FILLED)


def test_requests_arrive_in_the_order_they_were_sent_whatever_the_jitter():
    venue = opened(jitter_ms=50)
    orders = [venue.send(BUY, LIMIT, "0.1", "99") for _ in range(30)]
    venue.wait(100)
    assert [update.client_id for update in venue.exchange.open_orders()] == orders


def test_spot_moves_both_legs_and_takes_its_fee_in_quote():
    venue = opened(spot_taker=Decimal("0.001"), spot_maker=Decimal("0.001"))
    venue.order(BUY, MARKET, "1", symbol=SPOT)
    assert venue.cash("TST") == 1
    assert venue.cash() == Decimal("1000") - Decimal("100.1") * Decimal("1.001")
    sale = venue.order(SELL, LIMIT, "1", "101", symbol=SPOT)
    assert [(b.currency, b.free) for b in venue.exchange.balances() if b.currency == "TST"] == [("TST", 0)]
    with pytest.raises(InsufficientFunds):
        venue.order(SELL, LIMIT, "0.1", "101", symbol=SPOT)
    venue.print(101.5, side=BUY, symbol=SPOT)
    assert venue.query(sale, SPOT).state is OrderState.FILLED
    assert venue.cash("TST") == 0
    venue.check_money()
    with pytest.raises(InsufficientFunds):
        venue.order(BUY, LIMIT, "10", "100", symbol=SPOT)


def test_a_spot_buy_may_pay_its_fee_in_what_it_buys():
    venue = opened(spot_taker=Decimal("0.001"), spot_maker=Decimal("0.001"), coin_fees=True)
    resting = venue.order(BUY, LIMIT, "5", "99", symbol=SPOT)
    assert venue.exchange.margin.balance("USD").locked == 495, "the fee takes no money"
    venue.cancel(resting, SPOT)
    venue.order(BUY, MARKET, "1", symbol=SPOT)
    assert (venue.cash("TST"), venue.cash()) == (Decimal("0.999"), Decimal("899.9"))
    with pytest.raises(InsufficientFunds):
        venue.order(SELL, MARKET, "1", symbol=SPOT)
    venue.order(SELL, MARKET, "0.999", symbol=SPOT)
    assert (venue.cash("TST"), venue.cash()) == (0, Decimal("899.9") + Decimal("99.9") * Decimal("0.999") ** 2)
    venue.check_money()


def test_spot_orders_lock_money_and_release_it():
    venue = opened()
    order = venue.order(BUY, LIMIT, "5", "99", symbol=SPOT)
    assert venue.exchange.margin.balance("USD").locked == 495
    with pytest.raises(InsufficientFunds):
        venue.order(BUY, LIMIT, "6", "99", symbol=SPOT)
    venue.cancel(order, SPOT)
    assert venue.exchange.margin.balance("USD").free == 1000
