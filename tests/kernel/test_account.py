"""The ledger is exact to the last digit."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernel.account import Ledger
from engine.kernel.orders import Fill, Side


def fill(signed: object, price: object, fee: object = 0) -> Fill:
    quantity = Decimal(str(signed))
    side = Side.BUY if quantity > 0 else Side.SELL
    return Fill("t", "X", "c", "v", side, Decimal(str(price)), abs(quantity), Decimal(str(fee)), "USDT", True, 0)


quantities = st.integers(-(10**9), 10**9).filter(bool).map(lambda number: Decimal(number) / 10**6)
prices = st.integers(1, 10**10).map(lambda number: Decimal(number) / 10**4)
fees = st.integers(-(10**6), 10**6).map(lambda number: Decimal(number) / 10**6)
fills = st.lists(st.builds(fill, quantities, prices, fees), max_size=40)


@given(fills)
def test_cash_position_and_profit_add_up_exactly(executions: list[Fill]):
    ledger = Ledger()
    for execution in executions:
        realised = ledger.realised
        gained = ledger.apply_fill(execution)
        assert ledger.realised == realised + gained
        assert (ledger.quantity == 0) <= (ledger.cost == 0)
    with localcontext(prec=100):
        paid = sum((one.signed_quantity * one.price for one in executions), Decimal(0))
        assert ledger.quantity == sum((one.signed_quantity for one in executions), Decimal(0))
        assert ledger.realised - ledger.cost == -paid
        assert ledger.fees == sum((one.fee for one in executions), Decimal(0))
        assert ledger.traded == sum((one.notional for one in executions), Decimal(0))


@given(fills, prices)
def test_profit_is_what_a_sale_at_the_mark_would_bring(executions: list[Fill], mark: Decimal):
    ledger = Ledger()
    for execution in executions:
        ledger.apply_fill(execution)
    expected = ledger.realised + ledger.unrealised(mark)
    if ledger.quantity:
        ledger.apply_fill(fill(-ledger.quantity, mark))
    assert (ledger.quantity, ledger.cost) == (0, 0)
    assert ledger.realised == expected and ledger.net_profit(mark) == expected - ledger.fees


@given(fills)
def test_the_entry_price_is_the_average_of_what_opened_the_position(executions: list[Fill]):
    ledger = Ledger()
    quantity, cost = Fraction(0), Fraction(0)
    for execution in executions:
        ledger.apply_fill(execution)
        signed, price = Fraction(execution.signed_quantity), Fraction(execution.price)
        if quantity and (quantity > 0) != (signed > 0):
            closing = min(abs(signed), abs(quantity))
            cost -= cost * closing / abs(quantity)
            rest = signed + closing if signed < 0 else signed - closing
            quantity += signed - rest
            quantity, cost = quantity + rest, cost + rest * price
        else:
            quantity, cost = quantity + signed, cost + signed * price
        assert Fraction(ledger.quantity) == quantity
        assert abs(Fraction(ledger.cost) - cost) < Fraction(1, 10**9)


@pytest.mark.parametrize(
    ("trades", "quantity", "entry", "realised"),
    [
        ([(1, 100), (1, 110)], 2, 105, 0),
        ([(2, 105), (-1, 115)], 1, 105, 10),
        ([(2, 105), (-3, 115)], -1, 115, 20),
        ([(-1, 100), (-1, 110), (1, 90)], -1, 105, 15),
        ([(-2, 105), (5, 95)], 3, 95, 20),
        ([(1, 100), (-1, 100)], 0, 0, 0),
    ],
)
def test_average_cost(trades: list[tuple[int, int]], quantity: int, entry: int, realised: int):
    ledger = Ledger()
    for signed, price in trades:
        ledger.apply_fill(fill(signed, price))
    assert (ledger.quantity, ledger.entry_price, ledger.realised) == (quantity, entry, realised)


def test_funding_and_fees_count_in_the_net_profit():
    ledger = Ledger()
    ledger.apply_fill(fill(2, 100, "0.1"))
    ledger.funding -= Decimal("0.03")
    assert ledger.net_profit(Decimal(101)) == Decimal("1.87")
