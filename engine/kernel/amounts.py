"""Whether a number that a venue names can be an amount at all."""

from __future__ import annotations

from decimal import Decimal

LARGEST = Decimal("1e18")
"""No price, quantity or sum of money is this large; sums of smaller ones stay exact enough to be compared and shown."""


def check_amounts(*values: Decimal | None) -> None:
    """Raise `ValueError` for NaN, infinities and numbers that are beyond any amount; None passes.

    One of these in a balance or position would make every later comparison of money fail.
    """
    for value in values:
        if value is not None and not (value.is_finite() and -LARGEST < value < LARGEST):
            raise ValueError(f"{value} is no amount")
