"""Numbers as fixed-width text: digits fixed by tick and lot, never scientific, `—` for what is not known.

Every function takes `Decimal`, `int`, `float` or `None`. Signs are `+` and the typographic minus `−`; a value
that rounds to zero has no sign.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache

UNKNOWN = "—"
MINUS = "−"

Number = Decimal | int | float

_WIDEST = Context(prec=80, rounding=ROUND_HALF_EVEN)
_GROUPED_LIMIT = 10**15
_SUFFIXES = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))


@lru_cache(maxsize=1024)
def places(step: Number) -> int:
    """Count the digits after the point that a tick or lot needs: 0.10 gives 1, 5 gives 0."""
    exponent = Decimal(str(step)).normalize().as_tuple().exponent
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0


def is_known(value: Number | None) -> bool:
    """Say whether a value is a finite number."""
    if value is None:
        return False
    return value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)


def fixed(value: Number | None, digits: int, *, sign: bool = False, group: bool = True) -> str:
    """Write a number with a fixed count of digits after the point.

    Args:
        value: The number; `None`, NaN and infinities are unknown.
        digits: Digits after the point.
        sign: Show `+` before positive values.
        group: Separate thousands with commas.

    Returns:
        The text, or `—` when the value is unknown. Values from 10^15 on are shown compact.
    """
    if value is None or not is_known(value):
        return UNKNOWN
    if abs(float(value)) >= _GROUPED_LIMIT:
        return compact(value, sign=sign)
    exact = value if isinstance(value, Decimal | float) else Decimal(value)
    if isinstance(exact, Decimal):
        exact = exact.quantize(Decimal(1).scaleb(-digits), context=_WIDEST)
    body = f"{abs(exact):,.{digits}f}" if group else f"{abs(exact):.{digits}f}"
    if not body.strip("0.,"):
        return body
    if exact < 0:
        return MINUS + body
    return "+" + body if sign else body


def by_step(value: Number | None, step: Number, *, sign: bool = False, extra: int = 0) -> str:
    """Write a price or quantity with the digits of its tick or lot.

    Args:
        value: Price or quantity.
        step: Tick or lot of the instrument.
        sign: Show `+` before positive values.
        extra: More digits than the step has, for averages.
    """
    return fixed(value, places(step) + extra, sign=sign)


def money(value: Number | None, unit: str = "", *, sign: bool = False, digits: int = 2) -> str:
    """Write an amount of money: `10,234.55` or `32,120.00 $`."""
    text = fixed(value, digits, sign=sign)
    return f"{text} {unit}" if unit and text != UNKNOWN else text


def pnl(value: Number | None, digits: int = 2) -> str:
    """Write a profit or loss, always with its sign: `+34.20`, `−0.40`."""
    return fixed(value, digits, sign=True)


def percent(fraction: Number | None, digits: int = 2, *, sign: bool = True) -> str:
    """Write a fraction as per cent: 0.0033 gives `+0.33%`."""
    text = fixed(None if fraction is None else fraction * 100, digits, sign=sign)
    return text if text == UNKNOWN else text + "%"


def basis_points(fraction: Number | None, digits: int = 1) -> str:
    """Write a fraction in basis points: -0.00016 gives `−1.6 bp`."""
    text = fixed(None if fraction is None else fraction * 10_000, digits, sign=True)
    return text if text == UNKNOWN else text + " bp"


def compact(value: Number | None, *, sign: bool = False) -> str:
    """Write a large number in at most six cells: `1.2B`, `345M`, `12.3k`, `950`.

    Values from 10^15 on are shown as `>999T`.
    """
    if value is None or not is_known(value):
        return UNKNOWN
    size = abs(float(value))
    mark = MINUS if value < 0 else "+" if sign else ""
    if size >= _GROUPED_LIMIT:
        return f"{mark}>999T"
    for scale, suffix in _SUFFIXES:
        if size >= scale * 0.9995:
            return f"{mark}{_short(size / scale)}{suffix}"
    body = _short(size)
    return body if not body.strip("0.") else mark + body


def _short(size: float) -> str:
    """Write a number below 1000 with at most one digit after the point."""
    text = f"{size:.1f}" if size < 99.95 else f"{size:.0f}"
    return text.removesuffix(".0")


def _whole_seconds(seconds: Number) -> int:
    """Cut a span of time to whole seconds between 0 and 999 days, so that its text stays narrow."""
    return int(min(max(0.0, float(seconds)), 999 * 86_400))


def age(seconds: Number | None) -> str:
    """Write how old something is, in one unit: `12s`, `3m`, `5h`, `2d`."""
    if seconds is None or not is_known(seconds):
        return UNKNOWN
    whole = _whole_seconds(seconds)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if whole >= size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def duration(seconds: Number | None) -> str:
    """Write a span of time in two units: `2d 03h`, `1h 05m`, `3m 20s`, `12s`."""
    if seconds is None or not is_known(seconds):
        return UNKNOWN
    whole = _whole_seconds(seconds)
    for big, small, names in ((86_400, 3_600, "dh"), (3_600, 60, "hm"), (60, 1, "ms")):
        if whole >= big:
            return f"{whole // big}{names[0]} {whole % big // small:02d}{names[1]}"
    return f"{whole}s"


def latency(milliseconds: Number | None) -> str:
    """Write a delay: `12ms`, `1.2s`."""
    if milliseconds is None or not is_known(milliseconds):
        return UNKNOWN
    if milliseconds < 999.5:
        return f"{max(0.0, float(milliseconds)):.0f}ms"
    return f"{float(milliseconds) / 1000:.1f}s"


def utc_time(milliseconds: int | None) -> str:
    """Write the time of day of a UTC timestamp in milliseconds: `12:34:56`."""
    if milliseconds is None:
        return UNKNOWN
    seconds = milliseconds // 1000 % 86_400
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
