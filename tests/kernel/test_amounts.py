"""What can be no amount, price or rate never becomes a record of the account or the market."""

from __future__ import annotations

from decimal import Decimal
from math import inf, nan

import pytest

from engine.kernel.account import Balance, FundingPayment, Position
from engine.kernel.market import FundingRate, MarkPrice, Quote, Ticker
from engine.kernel.orders import Fill, OrderState, OrderType, OrderUpdate, Side

ONE, ZERO = Decimal(1), Decimal(0)


@pytest.mark.parametrize("wrong", [Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity"), Decimal("1e30")], ids=str)
def test_e21_money_is_finite_and_within_reason(wrong: Decimal) -> None:
    with pytest.raises((ValueError, ArithmeticError)):
        Balance("USDT", wrong, ONE)
    with pytest.raises((ValueError, ArithmeticError)):
        Position("BTC-USDT-PERP", wrong, ONE, ONE, ZERO, ONE)
    with pytest.raises((ValueError, ArithmeticError)):
        Position("BTC-USDT-PERP", ONE, ONE, ONE, ZERO, ONE, liquidation_price=wrong)
    with pytest.raises((ValueError, ArithmeticError)):
        FundingPayment("BTC-USDT-PERP", 1, wrong, "USDT", ZERO, "1")
    with pytest.raises((ValueError, ArithmeticError)):
        Fill("1", "BTC-USDT-PERP", "", "", Side.BUY, ONE, ONE, wrong, "USDT", True, 1)
    with pytest.raises((ValueError, ArithmeticError)):
        OrderUpdate("a", "1", "BTC-USDT-PERP", Side.BUY, OrderType.LIMIT, OrderState.OPEN, ONE, wrong, ZERO, 1)


@pytest.mark.parametrize(("price", "quantity"), [(ONE, ZERO), (ONE, -ONE), (-ONE, ONE)])
def test_e21_nothing_less_than_something_is_filled(price: Decimal, quantity: Decimal) -> None:
    with pytest.raises(ValueError, match="nothing can be filled"):
        Fill("1", "BTC-USDT-PERP", "", "", Side.BUY, price, quantity, ZERO, "USDT", True, 1)


@pytest.mark.parametrize("wrong", [nan, inf, -1.0])
def test_e21_prices_and_rates_of_the_market_are_numbers(wrong: float) -> None:
    with pytest.raises(ValueError, match="no prices"):
        Quote("BTC-USDT", 1, wrong, 1.0, 2.0, 1.0)
    with pytest.raises(ValueError, match="no prices"):
        MarkPrice("BTC-USDT-PERP", 1, wrong, 1.0)
    with pytest.raises(ValueError, match="no funding rate"):
        FundingRate("BTC-USDT-PERP", 1, wrong, 8, 1)
    if wrong != -1.0:
        with pytest.raises(ValueError, match="ticker"):
            Ticker("BTC-USDT", 1, wrong, 1.0, 1.0, 1.0, 1.0)
