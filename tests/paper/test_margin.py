"""Margin, leverage, funding, liquidation: money is exact and never below zero."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.kernel.account import Balance, FundingPayment, Position
from engine.kernel.errors import InsufficientFunds, InvalidOrder
from engine.kernel.orders import OrderState, OrderType
from tests.paper.venue import BUY, OTHER, PERP, SELL, SPOT, Venue, opened

MARKET, LIMIT = OrderType.MARKET, OrderType.LIMIT


def deep(**config) -> Venue:
    """Return a venue with very deep books around 100."""
    venue = opened(**config)
    for symbol in (PERP, OTHER, SPOT):
        venue.book([(99.9, 1000.0), (80, 5000.0)], [(100.1, 1000.0), (120, 5000.0)], symbol)
        if symbol != SPOT:
            venue.mark(100, symbol)
    return venue


def move(venue: Venue, price: float, symbol: str = PERP) -> None:
    """Move book and mark to another price."""
    venue.book([(price - 0.1, 1000.0)], [(price + 0.1, 1000.0)], symbol)
    venue.mark(price, symbol)


def test_initial_margin_is_required_for_what_opens_and_not_for_what_closes():
    venue = deep(leverage=Decimal(10))
    with pytest.raises(InsufficientFunds, match="at leverage 10"):
        venue.order(BUY, LIMIT, "102", "99")
    venue.order(BUY, MARKET, "90")
    with pytest.raises(InsufficientFunds):
        venue.order(BUY, LIMIT, "20", "99")
    venue.order(SELL, LIMIT, "90", "101")
    venue.order(SELL, MARKET, "90")
    assert venue.held() == 0
    venue.check_money()


def test_working_orders_use_margin_by_the_worse_side():
    venue = deep(leverage=Decimal(10))
    venue.order(BUY, LIMIT, "50", "99")
    assert venue.exchange.margin.balance("USD").locked == 495
    venue.order(SELL, LIMIT, "40", "101")
    assert venue.exchange.margin.balance("USD").locked == 495, "only one of the two sides can become the position"
    venue.order(SELL, LIMIT, "30", "101")
    assert venue.exchange.margin.balance("USD").locked == 707


def test_leverage_is_set_within_its_bounds():
    venue = deep()
    with pytest.raises(InvalidOrder, match="between 1 and 100"):
        venue.exchange.set_leverage(PERP, Decimal(101))
    venue.order(BUY, MARKET, "50")
    with pytest.raises(InvalidOrder, match="more margin"):
        venue.exchange.set_leverage(PERP, Decimal(2))
    assert venue.exchange.positions()[0].leverage == 20
    assert venue.exchange.set_leverage(PERP, Decimal(10)) == 10
    assert venue.exchange.margin.balance("USD").locked == 505, "500 of margin and 5 of open loss"


def test_funding_moves_money_between_longs_and_shorts():
    venue = deep()
    venue.order(BUY, MARKET, "2")
    venue.order(SELL, MARKET, "1", symbol=OTHER)
    due = venue.clock.now_ms() + 60_000
    for symbol in (PERP, OTHER):
        venue.funding(0.0005, due, symbol)
    venue.wait(59_000)
    assert not venue.of(FundingPayment)
    before = venue.cash()
    venue.wait(120_000)
    paid = {payment.symbol: payment.amount for payment in venue.of(FundingPayment)}
    assert paid == {PERP: Decimal("-0.1"), OTHER: Decimal("0.05")}
    assert venue.cash() - before == Decimal("-0.05")
    assert venue.exchange.positions()[1].funding == Decimal("-0.1")
    venue.check_money()


def test_funding_is_paid_once_for_each_period():
    venue = deep()
    venue.order(BUY, MARKET, "2")
    due = venue.clock.now_ms() + 1_000
    venue.funding(0.0005, due)
    venue.wait(5_000)
    venue.funding(0.0005, due)
    venue.wait(5_000)
    venue.funding(0.0001, due + 28_800_000)
    venue.wait(28_800_000)
    assert [payment.amount for payment in venue.of(FundingPayment)] == [Decimal("-0.1"), Decimal("-0.02")]


def test_liquidation_cancels_orders_closes_at_market_and_says_so():
    venue = deep(leverage=Decimal(50))
    venue.order(BUY, MARKET, "100")
    resting = venue.order(BUY, LIMIT, "1", "50")
    price = venue.exchange.positions()[0].liquidation_price
    assert price is not None and 90 < price < 92
    move(venue, float(price) + 0.1)
    assert venue.held() == 100
    move(venue, float(price) - 0.1)
    assert venue.held() == 0
    assert venue.query(resting).state is OrderState.CANCELED
    assert venue.query(resting).reason == "liquidation"
    forced = [fill for fill in venue.fills() if fill.liquidation]
    assert forced and all(fill.side is SELL for fill in forced)
    assert venue.of(Position)[-1].quantity == 0
    venue.check_money()


def test_a_loss_beyond_the_money_is_covered_by_an_explicit_adjustment():
    venue = deep(leverage=Decimal(50))
    venue.order(BUY, MARKET, "100")
    move(venue, 60)
    assert venue.held() == 0
    assert venue.cash() == 0
    line = next(line for line in venue.driver.audit() if line.currency == "USD")
    assert line.insurance == Decimal("3020"), "bought at 100.1, closed at 59.9, with 1000 to lose"
    assert venue.of(Balance)[-1].total == 0
    venue.check_money()


def test_a_thin_book_cannot_keep_a_position_alive():
    venue = deep(leverage=Decimal(50))
    venue.order(BUY, MARKET, "100")
    venue.book([(85, 1.0)], [(86, 1.0)])
    venue.mark(85)
    assert venue.held() == 0
    assert sum(fill.quantity for fill in venue.fills() if fill.liquidation) == 100
    venue.check_money()


def test_profits_and_losses_of_one_currency_stand_behind_each_other():
    venue = deep(leverage=Decimal(50))
    venue.order(BUY, MARKET, "100")
    venue.order(SELL, MARKET, "100", symbol=OTHER)
    move(venue, 80, OTHER)
    move(venue, 80)
    assert venue.held() == 100 and venue.held(OTHER) == -100, "hedged: equity is whole"
    venue.order(SELL, MARKET, "100")
    assert venue.held(OTHER) == -100
    assert venue.cash() >= 0, "the loss is paid from the other position's open profit"
    before = venue.exchange.margin.equity("USD")
    venue.order(BUY, MARKET, "100", symbol=OTHER)
    assert venue.cash() == before - 100 * Decimal("0.1")
    assert next(line for line in venue.driver.audit() if line.currency == "USD").insurance == 0
    venue.check_money()


def test_spot_orders_give_way_when_losses_use_up_their_money():
    venue = deep(leverage=Decimal(50))
    venue.order(BUY, MARKET, "20")
    older = venue.order(BUY, LIMIT, "4", "99", symbol=SPOT)
    newer = venue.order(BUY, LIMIT, "5", "99", symbol=SPOT)
    venue.book([(90, 1000.0)], [(96.1, 1000.0)])
    venue.mark(96)
    venue.order(SELL, MARKET, "20")
    assert venue.cash() == 1000 - 202
    assert venue.query(newer, SPOT).state is OrderState.CANCELED
    assert venue.query(newer, SPOT).reason == "not enough USD left"
    assert venue.query(older, SPOT).state is OrderState.OPEN
    venue.check_money()


def test_a_position_never_costs_more_than_its_account_has_in_any_order_of_closing():
    venue = deep(leverage=Decimal(100), perp_taker=Decimal("0.0005"))
    for side in (BUY, SELL, SELL, BUY):
        venue.order(side, MARKET, "150")
        move(venue, 100.5 if side is BUY else 99.5)
        move(venue, 100)
        venue.check_money()
