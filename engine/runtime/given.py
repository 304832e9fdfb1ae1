"""What a strategy hands in, before anything is reckoned with it: a wrong value is refused by name, with a reason."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from enum import Enum
from typing import TypeVar

from engine.kernel.errors import InvalidOrder, UnknownSymbol

LARGEST = Decimal("1e15")
"""Far more than any price, quantity or amount."""

LEVELS = ("debug", "info", "warn", "error")

LONGEST_S = 1e9
"""Thirty years."""

E = TypeVar("E", bound=Enum)


def given_symbol(symbol: object) -> None:
    """Refuse what is no plain text; whether the venue lists it is asked elsewhere.

    Raises:
        UnknownSymbol: It is no text, or of a type derived from one, which no journal takes.
    """
    if type(symbol) is not str:
        raise UnknownSymbol(f"{symbol!r} is no symbol; names look like BTC-USDT-PERP")


def given_number(symbol: str, what: str, value: object, *, signed: bool = False) -> None:
    """Refuse what is no exact, finite number above zero (with `signed`, of any sign).

    Raises:
        InvalidOrder: Names the value.
    """
    if not isinstance(value, Decimal):
        raise InvalidOrder(f"{symbol}: {what} {value!r} must be a Decimal, not a {type(value).__name__}")
    if not value.is_finite() or abs(value) > LARGEST or (not signed and value <= 0):
        kind = "finite" if signed else "positive"
        raise InvalidOrder(f"{symbol}: {what} {value} must be a {kind} number of at most {LARGEST:.0e}")


def given_choice(symbol: str, what: str, value: object, kind: type[E]) -> None:
    """Refuse what is no member of an enumeration.

    Raises:
        InvalidOrder: Names the value and the choices.
    """
    if not isinstance(value, kind):
        names = ", ".join(f"{kind.__name__}.{member.name}" for member in kind)
        raise InvalidOrder(f"{symbol}: {what} {value!r} must be one of {names}")


def given_seconds(symbol: str, what: str, value: object) -> None:
    """Refuse what is no time from zero to thirty years.

    Raises:
        InvalidOrder: Names the value.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= LONGEST_S:  # type: ignore[operator]
        raise InvalidOrder(f"{symbol}: {what} {value!r} must be a number of seconds from 0 to {LONGEST_S:.0e}")


def given_text(what: str, value: object) -> str:
    """Return a text as it can be kept; refuse what is none.

    Raises:
        InvalidOrder: Names the value.
    """
    if not isinstance(value, str):
        raise InvalidOrder(f"{what} {value!r} must be a text, not a {type(value).__name__}")
    return plain_text(value)


def given_texts(what: str, values: object) -> tuple[str, ...]:
    """Return several texts, each once; refuse what is none, and a single text, which would be read sign by sign.

    Raises:
        InvalidOrder: Names the value.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InvalidOrder(f"{what} {values!r} must be a list of texts")
    return tuple(dict.fromkeys(given_text(what, value) for value in values))


def plain_text(text: str) -> str:
    """Return a text as it can be kept: half characters, which no file takes, become `?`."""
    return str(text).encode("utf-8", "replace").decode("utf-8")


def in_words(error: BaseException) -> str:
    """Return what an error of a strategy says, even when that fails, too."""
    try:
        return plain_text(str(error))
    except Exception as broken:
        return f"its text cannot be made: {type(broken).__name__}"
