"""Backpack's numbers and times."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from drivers.backpack.wire import WireLevels


def plain(value: Decimal) -> str:
    """Return a number as the venue reads it: no exponent, no trailing zeros."""
    return f"{value.normalize():f}"


def ms_of(text: str) -> int:
    """Return a time of the venue, which names no zone and means UTC, in ms; raises `ValueError`."""
    at = datetime.fromisoformat(text)
    return round((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() * 1000)


def coins(price: float, size: float, multiplier: Decimal) -> tuple[float, float]:
    """Turn venue coins into coins; 15 digits, so that the division leaves no trace of binary fractions."""
    if multiplier == 1:
        return price, size
    by = int(multiplier)
    return float(f"{price / by:.15g}"), float(f"{size * by:.15g}")


def coin_levels(levels: WireLevels, multiplier: Decimal) -> WireLevels:
    """Turn levels of venue coins into levels of coins."""
    return levels if multiplier == 1 else [coins(price, size, multiplier) for price, size in levels]
