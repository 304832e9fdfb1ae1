"""Ledgers, their value, and the split of what the account pays."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernel.account import FundingPayment
from engine.kernel.clock import NS_PER_MS, NS_PER_S
from engine.kernel.event_bus import EventBus
from engine.kernel.market import FundingRate
from engine.kernel.orders import Fill, OrderType, Side
from engine.runtime.accounts import MANUAL
from engine.runtime.ledgers import LedgerBook
from engine.runtime.market import MarketData
from engine.runtime.portfolio import Portfolio
from engine.runtime.records import Adjustment, Execution, Funding, Transfer
from tests.engine.floor import BUY, PERP, SELL, SPOT, Floor, d

MARKET = OrderType.MARKET
DAY_S = 86_400


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path)
    floor.print(100.0)
    floor.admit("grid", "trend")
    return floor


def fill(number: int, side: Side, quantity: Decimal, price: Decimal, fee: Decimal = Decimal(0)) -> Fill:
    return Fill(f"t{number}", PERP, "", "", side, price, quantity, fee, "USD", False, number)


def test_each_instance_has_its_ledger_and_the_account_their_sum(floor: Floor):
    floor.hold(2, 100.0, "grid")
    floor.hold(-1, 110.0, "trend")
    row = floor.engine.portfolio.position(PERP)
    assert row.quantity == 1 and row.holders == (("grid", d(2)), ("trend", d(-1)))
    assert row.venue_quantity == 1 and row.mark_price == 110
    portfolio = floor.engine.portfolio
    assert portfolio.instance_profit("grid") == 20 and portfolio.instance_profit("trend") == 0
    assert portfolio.instance_notional("trend") == 110 and portfolio.gross_notional() == 110
    assert portfolio.profit() == 20 and portfolio.equity() == 100_020
    assert portfolio.leverage() == Decimal(110) / Decimal(100_020)


def test_fees_lower_profit_and_equity_alike(tmp_path: Path):
    floor = Floor(tmp_path, perp_taker=d("0.0005"))
    floor.hold(10)
    portfolio = floor.engine.portfolio
    assert portfolio.ledger(MANUAL, PERP).fees == d("0.5") and portfolio.fees_paid() == {"USD": d("0.5")}
    assert portfolio.profit() == d("-0.5") and portfolio.equity() == d("99999.5")


def test_a_fee_in_coins_or_another_currency_counts_in_quote(floor: Floor):
    floor.hold(1)
    booked = floor.fills()[0].fill
    instrument = floor.engine.instrument(PERP)
    in_quote = floor.engine.portfolio.fee_in_quote
    assert in_quote(replace(booked, fee=d("0.01"), fee_currency="TST"), instrument) == 1
    assert in_quote(replace(booked, fee=d("0.5"), fee_currency="USDT"), instrument) == d("0.5")
    floor.engine.booking.on_fill(replace(booked, trade_id="x", fee=d(1), fee_currency="BNB"))
    assert "fee_unpriced" in floor.alarms() and floor.engine.portfolio.fees_paid()["BNB"] == 1


def test_funding_is_split_by_signed_quantity_and_booked_once(floor: Floor):
    floor.hold(3, 100.0, "grid")
    floor.hold(-1, 100.0, "trend")
    floor.events.clear()
    due = floor.clock.now_ns() // NS_PER_MS + 5_000
    floor.play(FundingRate(PERP, due - 5_000, 0.001, 8, due))
    floor.run(3)
    floor.print(100.0)
    floor.run(3)
    floor.print(100.0)
    portfolio = floor.engine.portfolio
    grid, trend = portfolio.ledger("grid", PERP).funding, portfolio.ledger("trend", PERP).funding
    assert (grid, trend) == (d("-0.3"), d("0.1"))
    assert portfolio.position(PERP).funding == d("-0.2") and portfolio.equity() == d("99999.8")
    shares = [(e.instance, e.payment.amount) for e in floor.events if type(e).__name__ == "FundingShared"]
    assert shares == [("grid", d("-0.3")), ("trend", d("0.1"))]


def test_a_funding_payment_that_is_told_again_is_booked_once(floor: Floor):
    floor.hold(3, 100.0, "grid")
    payment = FundingPayment(PERP, 1, d("-0.3"), "USD", d("0.001"), "bill 7")
    for _ in range(2):
        floor.engine.booking.on_funding(payment)
    portfolio = floor.engine.portfolio
    assert portfolio.position(PERP).funding == portfolio.ledger("grid", PERP).funding == d("-0.3")


@given(
    held=st.lists(st.integers(-1000, 1000).filter(bool), min_size=1, max_size=5),
    amount=st.decimals(-1000, 1000, places=8, allow_nan=False),
)
def test_shares_of_funding_add_up_exactly(held: list[int], amount: Decimal):
    books = LedgerBook()
    for number, quantity in enumerate(held):
        side = Side.BUY if quantity > 0 else Side.SELL
        done = fill(number, side, Decimal(abs(quantity)) / 1000, d(100))
        books.apply(Execution(done, f"i{number}", d(0)))
    payment = FundingPayment(PERP, 1, amount, "USD", d("0.0001"), "f1")
    assert sum(share for _, share in books.funding_shares(payment)) == amount
    books.apply(Funding(payment))
    assert books.funding_known(payment)
    assert sum(book[PERP].funding for book in books.by_instance.values()) == amount == books.totals[PERP].funding


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", MANUAL]),
            st.sampled_from(["buy", "sell", "move", "adjust", "buy, fee in coins"]),
            st.decimals("0.001", "10", places=3),
            st.decimals("1", "1000", places=2),
        ),
        max_size=30,
    )
)
def test_the_account_is_always_the_sum_of_its_ledgers(steps: list[tuple[str, str, Decimal, Decimal]]):
    books = LedgerBook()
    cash = Decimal(0)
    for number, (instance, what, quantity, price) in enumerate(steps):
        if what == "move":
            books.apply(Transfer(instance, MANUAL, PERP, quantity, price, "test"))
        elif what == "adjust":
            books.apply(Adjustment(instance, PERP, -quantity, price, "test"))
            cash += quantity * price
        elif what not in list(Side):
            paid = replace(fill(number, Side.BUY, quantity, price), fee=quantity / 1000, fee_currency="TST")
            books.apply(Execution(paid, instance, paid.fee * price, paid.fee))
            cash -= quantity * price
        else:
            done = fill(number, Side(what), quantity, price, d("0.01"))
            books.apply(Execution(done, instance, d("0.01")))
            cash -= done.signed_quantity * price + d("0.01")
    ledgers = [book[PERP] for book in books.by_instance.values() if PERP in book]
    total = books.totals.get(PERP)
    assert sum((ledger.quantity for ledger in ledgers), Decimal(0)) == (total.quantity if total else 0)
    for mark in (Decimal(50), Decimal("123.45")):
        worth = cash + (total.quantity * mark if total else 0)
        assert sum((ledger.net_profit(mark) for ledger in ledgers), Decimal(0)) == worth
        assert (total.net_profit(mark) if total else 0) == worth


def test_the_day_begins_at_midnight_utc_and_survives_a_restart(tmp_path: Path):
    floor = Floor(tmp_path)
    floor.hold(1, 100.0)
    floor.print(130.0)
    portfolio = floor.engine.portfolio
    assert portfolio.day_profit() == 30
    midnight = (floor.clock.now_ns() // (DAY_S * NS_PER_S) + 1) * DAY_S * NS_PER_S
    floor.run_to(midnight - NS_PER_S)
    floor.print(140.0)
    floor.run(2)
    assert portfolio.day_profit() == 0
    floor.print(150.0)
    assert portfolio.day_profit() == 10 and portfolio.anchor is not None and portfolio.anchor.equity == 100_040
    after = floor.restart(tmp_path)
    after.print(150.0)
    assert after.engine.portfolio.day_profit() == 10


def test_what_has_no_price_is_not_guessed(tmp_path: Path):
    floor = Floor(tmp_path)
    floor.hold(1)
    silent = MarketData(floor.driver, floor.clock, EventBus())
    silent.set_instruments(list(floor.engine.instruments.values()))
    portfolio = Portfolio(floor.engine.core.state.books, silent)
    portfolio.set_balance(floor.engine.portfolio.balance("USD"))
    assert portfolio.unpriced() == {PERP: f"{PERP} has no price"} and not portfolio.is_priced("manual")
    assert portfolio.equity() is None and portfolio.profit() is None and portfolio.unrealised() is None
    row = portfolio.position(PERP)
    assert row.mark_price is None and row.notional == 100 and row.unrealised == 0
    silent.watch(PERP)
    floor.run()
    floor.print(101.0)
    assert portfolio.equity() == 100_001


def test_spot_coins_count_once(floor: Floor):
    floor.print(50.0, symbol=SPOT)
    floor.order(BUY, 2, type=MARKET, symbol=SPOT)
    floor.print(60.0, symbol=SPOT)
    portfolio = floor.engine.portfolio
    assert portfolio.equity() == 100_020 and portfolio.profit() == 20
    assert portfolio.balance("TST").total == 2 and portfolio.position(SPOT).unrealised == 20
    floor.order(SELL, 2, type=MARKET, symbol=SPOT)
    assert portfolio.equity() == 100_020 and portfolio.position(SPOT).realised == 20


def test_a_list_of_positions_takes_back_nothing_that_was_told_after_it_was_asked_for(floor: Floor):
    floor.hold(1)
    portfolio, asked_ns = floor.engine.portfolio, floor.clock.now_ns()
    listed = portfolio.venue_positions()[PERP]
    portfolio.set_venue_position(replace(listed, quantity=d(3)), asked_ns + 1)
    for stale in ([], [listed]):
        portfolio.set_venue_positions(stale, asked_ns)
        assert portfolio.position(PERP).venue_quantity == 3 and portfolio.venue_position_ns(PERP) == asked_ns + 1
    portfolio.set_venue_positions([listed], asked_ns + 2)
    assert portfolio.position(PERP).venue_quantity == 1 and portfolio.venue_position_ns(PERP) == asked_ns + 2
    portfolio.set_venue_positions([], asked_ns + 3)
    assert portfolio.position(PERP).venue_quantity == 0
