"""Exact rounding, and what a person means by a symbol."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernel.errors import UnknownSymbol
from engine.kernel.instruments import (
    Instrument,
    InstrumentKind,
    canonical_symbol,
    ceil_step,
    decimal_places,
    floor_step,
    is_canonical,
    resolve_symbol,
)
from engine.kernel.orders import Side

PERP, SPOT = InstrumentKind.PERP, InstrumentKind.SPOT

steps = st.sampled_from(
    [Decimal(text) for text in ("0.00000001", "0.0001", "0.001", "0.0025", "0.1", "0.5", "1", "5", "100")]
)
amounts = st.decimals(min_value=Decimal("0"), max_value=Decimal("1e12"), places=8)
signed = st.decimals(min_value=Decimal("-1e9"), max_value=Decimal("1e9"), places=10)
prices = st.decimals(min_value=Decimal("0.00000001"), max_value=Decimal("1e7"), places=8)


def instrument(tick: object = "0.1", lot: object = "0.001", **fields: object) -> Instrument:
    values = {"symbol": "BTC-USDT-PERP", "base": "BTC", "quote": "USDT", "kind": PERP, **fields}
    return Instrument(
        venue="paper",
        settle="USDT",
        tick_size=Decimal(str(tick)),
        lot_size=Decimal(str(lot)),
        **values,  # type: ignore[arg-type]
    )


@given(value=signed, step=steps)
def test_rounding_gives_the_nearest_multiple_on_its_side(value: Decimal, step: Decimal):
    low, high = floor_step(value, step), ceil_step(value, step)
    assert low <= value <= high
    assert value - low < step and high - value < step
    assert low % step == 0 and high % step == 0
    assert (low == high) == (value % step == 0)


@given(value=signed, step=steps)
def test_rounding_a_rounded_value_changes_nothing(value: Decimal, step: Decimal):
    low = floor_step(value, step)
    assert floor_step(low, step) == ceil_step(low, step) == low


@given(price=prices, tick=steps)
def test_a_limit_is_never_more_aggressive_and_a_trigger_never_later(price: Decimal, tick: Decimal):
    one = instrument(tick=tick)
    assert one.round_price(Side.BUY, price) <= price <= one.round_price(Side.SELL, price)
    assert one.round_trigger(Side.SELL, price) >= price >= one.round_trigger(Side.BUY, price)


@given(amount=amounts, price=prices, lot=steps)
def test_a_quantity_by_amount_never_costs_more_and_wastes_less_than_a_lot(
    amount: Decimal, price: Decimal, lot: Decimal
):
    quantity = instrument(lot=lot).quantity_for(amount, price)
    assert quantity * price <= amount < (quantity + lot) * price
    assert quantity % lot == 0


@given(price=prices, lot=steps, minimum=amounts, notional=st.decimals(min_value=0, max_value=1000, places=2))
def test_the_minimum_satisfies_every_rule_and_one_lot_less_does_not(
    price: Decimal, lot: Decimal, minimum: Decimal, notional: Decimal
):
    one = instrument(lot=lot, min_quantity=minimum, min_notional=notional)
    quantity = one.minimum_order_quantity(price)
    assert quantity >= minimum and quantity > 0 and quantity % lot == 0
    assert quantity * price >= notional * (1 - Decimal("1e-20"))
    less = quantity - lot
    assert less < lot or less < minimum or less * price < notional


@given(ticks=st.integers(1, 10**9), tick=steps)
def test_a_market_price_comes_back_as_its_exact_tick(ticks: int, tick: Decimal):
    exact = ticks * tick
    assert instrument(tick=tick).price_from_float(float(exact)) == exact


@given(size=st.floats(0, 1e9), lot=steps)
def test_a_market_size_is_rounded_down(size: float, lot: Decimal):
    quantity = instrument(lot=lot).quantity_from_float(size)
    assert quantity <= Decimal(repr(size)) < quantity + lot


@pytest.mark.parametrize(
    ("step", "places"), [("0.10", 1), ("0.001", 3), ("1", 0), ("100", 0), ("1E+2", 0), ("0.25", 2), ("1E-8", 8)]
)
def test_decimal_places(step: str, places: int):
    assert decimal_places(Decimal(step)) == places


LISTED = {
    name: instrument(
        symbol=name, base=name.split("-")[0], quote=name.split("-")[1], kind=PERP if "PERP" in name else SPOT
    )
    for name in (
        "BTC-USDT-PERP",
        "BTC-USDT",
        "BTC-USDC-PERP",
        "ETH-USDC",
        "SOL-USDT",
        "1000PEPE-USDT-PERP",
        "USDC-USDT",
    )
}


@pytest.mark.parametrize(
    ("typed", "kind", "means"),
    [
        ("btc", PERP, "BTC-USDT-PERP"),
        (" BTC ", SPOT, "BTC-USDT"),
        ("btc-perp", SPOT, "BTC-USDT-PERP"),
        ("btc-spot", PERP, "BTC-USDT"),
        ("btcusdt", PERP, "BTC-USDT-PERP"),
        ("btcusdt", SPOT, "BTC-USDT"),
        ("btcusdc", PERP, "BTC-USDC-PERP"),
        ("btc/usdt", SPOT, "BTC-USDT"),
        ("btc_usdc", PERP, "BTC-USDC-PERP"),
        ("btc-usdt-perp", SPOT, "BTC-USDT-PERP"),
        ("sol", PERP, "SOL-USDT"),
        ("eth", PERP, "ETH-USDC"),
        ("1000pepe", PERP, "1000PEPE-USDT-PERP"),
        ("usdc", SPOT, "USDC-USDT"),
    ],
)
def test_what_a_person_types_is_found(typed: str, kind: InstrumentKind, means: str):
    assert resolve_symbol(typed, LISTED, "USDT", kind).symbol == means


@pytest.mark.parametrize(
    "typed", ["", "-", "xyz", "btcc", "eth-usdt-perp", "btc-eur", "PERP", "-PERP", "b t c", "é", "x" * 500]
)
def test_what_is_not_listed_is_refused(typed: str):
    with pytest.raises(UnknownSymbol, match="unknown symbol"):
        resolve_symbol(typed, LISTED)


def test_near_names_are_suggested():
    with pytest.raises(UnknownSymbol, match="did you mean BTC-USDC-PERP, BTC-USDT, BTC-USDT-PERP"):
        resolve_symbol("btcc", LISTED)


@given(typed=st.text(max_size=30))
def test_whatever_is_typed_is_found_or_refused(typed: str):
    try:
        found = resolve_symbol(typed, LISTED)
    except UnknownSymbol:
        return
    assert found.symbol in LISTED


def test_canonical_names():
    assert (
        canonical_symbol("btc", "usdt", PERP) == "BTC-USDT-PERP" and canonical_symbol("btc", "usdt", SPOT) == "BTC-USDT"
    )
    assert all(is_canonical(name) for name in LISTED)
    assert not any(
        is_canonical(name) for name in ("btc-usdt", "BTC", "BTC-USDT-FUT", "BTC-USDT-PERP-X", "BTC-USDT\n", "")
    )
