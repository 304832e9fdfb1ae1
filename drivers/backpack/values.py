"""Backpack's numbers and times."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal


def plain(value: Decimal) -> str:
    """Return a number as the venue reads it: no exponent, no trailing zeros."""
    return f"{value.normalize():f}"


def ms_of(text: str) -> int:
    """Return a time of the venue, which names no zone and means UTC, in ms; raises `ValueError`."""
    at = datetime.fromisoformat(text)
    return round((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() * 1000)
