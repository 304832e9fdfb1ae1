from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctos_tui import numbers
from ctos_tui.numbers import MINUS, UNKNOWN

decimals = st.decimals(min_value=-(10**14), max_value=10**14, places=8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (numbers.fixed(Decimal("10234.55"), 2), "10,234.55"),
        (numbers.fixed(Decimal("1E+3"), 2), "1,000.00"),
        (numbers.fixed(Decimal("0.00000001"), 8), "0.00000001"),
        (numbers.fixed(1234567, 0, group=False), "1234567"),
        (numbers.fixed(1e300, 2), ">999T"),
        (numbers.fixed(None, 2), UNKNOWN),
        (numbers.fixed(float("nan"), 2), UNKNOWN),
        (numbers.fixed(Decimal("Infinity"), 2), UNKNOWN),
        (numbers.by_step(Decimal("64512.3"), Decimal("0.10")), "64,512.3"),
        (numbers.by_step(Decimal("64512"), Decimal("0.05")), "64,512.00"),
        (numbers.by_step(Decimal("35"), Decimal("5")), "35"),
        (numbers.by_step(Decimal("64120.05"), Decimal("0.1"), extra=1), "64,120.05"),
        (numbers.money(Decimal("32120"), "$"), "32,120.00 $"),
        (numbers.money(None, "$"), UNKNOWN),
        (numbers.pnl(Decimal("34.2")), "+34.20"),
        (numbers.pnl(Decimal("-0.4")), "−0.40"),
        (numbers.pnl(Decimal("-0.004")), "0.00"),
        (numbers.percent(Decimal("0.0033")), "+0.33%"),
        (numbers.percent(0.031, 1, sign=False), "3.1%"),
        (numbers.basis_points(-0.00016), "−1.6 bp"),
        (numbers.compact(1_234_000_000), "1.2B"),
        (numbers.compact(999_950), "1M"),
        (numbers.compact(-12_345), "−12.3k"),
        (numbers.compact(0.04), "0"),
        (numbers.age(0.3), "0s"),
        (numbers.age(61), "1m"),
        (numbers.age(1e300), "999d"),
        (numbers.duration(200), "3m 20s"),
        (numbers.duration(3900), "1h 05m"),
        (numbers.latency(12.2), "12ms"),
        (numbers.latency(1234), "1.2s"),
        (numbers.utc_time(1_767_323_045_678), "03:04:05"),
        (numbers.utc_time(None), UNKNOWN),
    ],
)
def test_examples(text: str, expected: str) -> None:
    assert text == expected


@pytest.mark.parametrize(("step", "digits"), [("0.1", 1), ("0.10", 1), ("5", 0), ("1E+2", 0), ("1E-8", 8)])
def test_places_of_a_step(step: str, digits: int) -> None:
    assert numbers.places(Decimal(step)) == digits


@given(decimals, st.integers(0, 8))
def test_fixed_text_reads_back_as_the_rounded_number(value: Decimal, digits: int) -> None:
    text = numbers.fixed(value, digits, sign=True)
    back = Decimal(text.replace(",", "").replace(MINUS, "-"))
    assert abs(back - value) <= Decimal(1).scaleb(-digits) / 2
    assert len(text.partition(".")[2]) == digits
    assert (text[0] in "+−") == (back != 0)
    assert "e" not in text.lower()


@given(st.one_of(decimals, st.floats(), st.integers(), st.none()))
def test_nothing_is_ever_scientific_or_wider_than_its_place(value: Decimal | float | int | None) -> None:
    compact = numbers.compact(value, sign=True)
    assert len(compact) <= 6
    others = (numbers.fixed(value, 2), numbers.percent(value), numbers.age(value), numbers.duration(value))
    for text in (compact, *others):
        assert "e" not in text.lower() and "nan" not in text and "inf" not in text
