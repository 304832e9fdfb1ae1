"""Listings that bundle a thousand or a million coins into one of the venue's: a price is divided, a size multiplied."""

from __future__ import annotations

from decimal import Decimal

from engine.kernel.market import Levels


def coins(price: float, size: float, multiplier: Decimal | int) -> tuple[float, float]:
    """Turn venue coins into coins; 15 digits, so that the division leaves no trace of binary fractions."""
    if multiplier == 1:
        return price, size
    by = int(multiplier)
    return float(f"{price / by:.15g}"), float(f"{size * by:.15g}")


def coin_levels(levels: Levels, multiplier: Decimal | int) -> Levels:
    """Turn levels of venue coins into levels of coins."""
    return levels if multiplier == 1 else [coins(price, size, multiplier) for price, size in levels]
