"""When resting orders fill: queue position, touch, and the test model of single prints."""

from __future__ import annotations

from decimal import Decimal

import pytest

from drivers.paper.config import QueueModel
from engine.kernel.errors import PostOnlyWouldTake
from engine.kernel.market import MarkPrice, Quote, Trade
from engine.kernel.orders import OrderState, OrderType
from tests.paper.venue import BUY, FREE, PERP, SELL, Venue, opened

MARKET, LIMIT, POST, IOC, STOP = (
    OrderType.MARKET, OrderType.LIMIT, OrderType.POST_ONLY, OrderType.IOC, OrderType.STOP,
)  # fmt: skip


def test_prints_use_up_the_queue_ahead_before_the_order():
    venue = opened()
    order = venue.order(BUY, LIMIT, "1", "99.9")
    venue.print(99.9, 0.8)
    assert not venue.fills(order)
    venue.print(99.9, 0.8)
    assert venue.traded(order) == [(99.9, 0.6)]
    venue.print(99.9, 5)
    assert venue.traded(order) == [(99.9, 0.6), (99.9, 0.4)]


def test_a_level_that_shrinks_moves_the_order_forward_and_growth_stays_behind_it():
    venue = opened()
    order = venue.order(BUY, LIMIT, "1", "99.8")
    venue.book([(99.8, 0.5)], [], snapshot=False)
    venue.book([(99.8, 9.0)], [], snapshot=False)
    venue.print(99.8, 0.7)
    assert venue.traded(order) == [(99.8, 0.2)]


def test_a_gone_level_leaves_nothing_ahead():
    venue = opened()
    order = venue.order(BUY, LIMIT, "1", "99.8")
    venue.book([(99.8, 0.0)], [], snapshot=False)
    venue.print(99.8, 0.3)
    assert venue.traded(order) == [(99.8, 0.3)]


def test_a_print_through_the_price_fills_in_full():
    venue = opened()
    order = venue.order(BUY, LIMIT, "7", "99.8")
    venue.print(99.79, 0.001)
    assert venue.traded(order) == [(99.8, 7.0)]
    sell = venue.order(SELL, LIMIT, "7", "100.2")
    venue.print(100.3, 0.001, BUY)
    assert venue.traded(sell) == [(100.2, 7.0)]


@pytest.mark.parametrize("ask", [99.9, 99.5])
def test_an_opposite_touch_that_reaches_the_price_fills_in_full(ask):
    venue = opened()
    order = venue.order(BUY, LIMIT, "7", "99.9")
    venue.quote(99.4, 1, ask, 1)
    assert venue.traded(order) == [(99.9, 7.0)]
    assert venue.fills(order)[0].maker


def test_a_print_of_the_same_side_does_not_use_up_the_queue():
    venue = opened()
    order = venue.order(SELL, LIMIT, "1", "100.1")
    venue.print(100.1, 3, SELL)
    assert not venue.fills(order)
    venue.print(100.1, 1.5, BUY)
    assert venue.traded(order) == [(100.1, 0.5)]


def test_own_orders_trade_in_order_of_price_then_time():
    venue = opened()
    later_better = [
        venue.order(BUY, LIMIT, "1", "99.9"),
        venue.order(BUY, LIMIT, "1", "99.9"),
        venue.order(BUY, LIMIT, "1", "99.95"),
    ]
    venue.print(99.9, 2.5)
    assert [(fill.client_id, fill.price, fill.quantity) for fill in venue.fills()] == [
        (later_better[2], Decimal("99.95"), 1),
        (later_better[0], Decimal("99.9"), 1),
        (later_better[1], Decimal("99.9"), Decimal("0.5")),
    ]


def test_an_order_inside_the_spread_has_nobody_ahead():
    venue = opened()
    order = venue.order(BUY, LIMIT, "1", "100")
    venue.print(100, 0.25)
    assert venue.traded(order) == [(100.0, 0.25)]


def test_behind_an_unknown_book_the_queue_is_learned_from_the_touch():
    venue = Venue(**FREE)
    venue.quote(100, 1, 101, 1)
    order = venue.order(BUY, LIMIT, "1", "99")
    venue.print(99, 50)
    assert not venue.fills(order), "nobody knows how much stood there"
    venue.quote(99, 2, 101, 1)
    venue.print(99, 2.5)
    assert venue.traded(order) == [(99.0, 0.5)]


def test_best_quotes_are_newer_than_the_book_they_stand_before():
    venue = opened()
    venue.quote(99.95, 1, 100.15, 0.4)
    order = venue.order(BUY, MARKET, "1")
    assert venue.traded(order) == [(100.15, 0.4), (100.2, 0.6)]


def touch_venue(**config) -> Venue:
    venue = Venue(queue=QueueModel.TOUCH, latency_ms=0, **{**FREE, **config})
    venue.print(100)
    return venue


def test_touch_every_price_is_the_print():
    venue = touch_venue()
    seen: list = []
    venue.driver.subscribe_ticks(PERP, seen.append)
    venue.driver.subscribe_trades(PERP, seen.append)
    venue.wait(0)
    seen.clear()
    venue.print(101)
    assert [type(event) for event in seen] == [Quote, MarkPrice, Trade]
    assert (seen[0].bid, seen[0].ask, seen[1].mark) == (101, 101, 101)
    assert venue.driver.book(PERP).best_bid == venue.driver.book(PERP).best_ask == 101


def test_touch_fills_in_full_at_the_order_price():
    venue = touch_venue()
    reached = venue.order(BUY, POST, "5", "96.12")
    passed = venue.order(BUY, POST, "5", "97")
    venue.print(96.12, 0.001)
    assert venue.traded(reached) == [(96.12, 5.0)]
    assert venue.traded(passed) == [(97.0, 5.0)]
    assert [fill.client_id for fill in venue.fills()] == [passed, reached]


def test_touch_an_order_at_the_print_is_passive():
    venue = touch_venue()
    order = venue.order(BUY, POST, "1", "100")
    assert venue.query(order).state is OrderState.OPEN
    with pytest.raises(PostOnlyWouldTake):
        venue.order(BUY, POST, "1", "100.01")
    venue.print(100)
    assert venue.traded(order) == [(100.0, 1.0)]


def test_touch_market_orders_fill_at_the_print_that_triggered_them():
    venue = touch_venue()
    sent: list = []

    def on_trade(trade: Trade) -> None:
        if trade.price == 95:
            sent.append(venue.send(SELL, MARKET, "3"))

    venue.driver.subscribe_trades(PERP, on_trade)
    venue.print(95)
    venue.wait(0)
    assert venue.traded(sent[0]) == [(95.0, 3.0)]
    ioc = venue.order(BUY, IOC, "1", "95.1")
    assert venue.traded(ioc) == [(95.0, 1.0)]
    outside = venue.order(BUY, IOC, "1", "94.9")
    assert not venue.fills(outside)


def test_touch_stop_fills_at_the_print():
    venue = touch_venue()
    venue.order(BUY, MARKET, "1")
    stop = venue.order(SELL, STOP, "1", trigger="97")
    venue.print(96.5)
    assert venue.traded(stop) == [(96.5, 1.0)]
