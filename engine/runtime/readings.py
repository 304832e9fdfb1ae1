"""Makes readings of the system monitor out of values and levels, and figures out of values."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from engine.kernel.anomaly import UNITS, AnomalyKind, Levels, Severity
from engine.runtime.anomalies import Reading

CENT = Decimal("0.01")


def reading(
    kind: AnomalyKind,
    value: Decimal,
    levels: Levels,
    text: str,
    symbol: str = "",
    data: dict[str, str] | None = None,
    instance: str = "",
    is_clear: bool | None = None,
) -> Reading:
    """Return the reading of a value by its levels; `is_clear` where something else than the level decides that."""
    severity = levels.severity(value)
    threshold = levels.crit if severity is Severity.CRIT and levels.crit is not None else levels.warn
    return Reading(
        kind,
        value,
        severity,
        levels.is_clear(value) if is_clear is None else is_clear,
        threshold,
        levels.clear,
        text,
        symbol,
        instance,
        is_falling=levels.falling,
        data=data or {},
    )


def figure(kind: str, text: str) -> str:
    """Return a value of an anomaly's record as a person reads it: `48.3%`, `36.48 USD`; other text as it is."""
    unit = UNITS.get(kind)
    if unit is None or not text:
        return text
    try:
        value = Decimal(text)
    except InvalidOperation:
        return text
    scale = {"%": 100, "bp": 10_000}.get(unit, 1)
    shown = (value * scale).quantize(CENT).normalize()
    return f"{shown:f}{unit}" if unit in ("%", "x") else f"{shown:f} {unit}"


def percent(value: Decimal, signed: bool = False) -> str:
    """Return a share in percent."""
    return f"{value * 100:+.2f}%" if signed else f"{value * 100:.1f}%"


def usd(value: Decimal, signed: bool = False) -> str:
    """Return an amount in USD, to the cent."""
    rounded = value.quantize(CENT)
    return f"{rounded:+f} USD" if signed else f"{rounded:f} USD"
