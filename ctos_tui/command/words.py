"""Splits a line into words that know their place, and reads the numbers in them.

A word is what stands between blanks; `@` always stands alone. Nothing cleverer: what is seen is what is read.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from typing import Final

import msgspec

from engine.kernel.errors import CtosError

MAX_LINE: Final = 400
"""Longest line that is read; a longer one is a paste gone wrong."""
MAX_DIGITS: Final = 15
"""Most digits on either side of the point; exact arithmetic needs no more."""


class GrammarError(CtosError):
    """A line that is not understood, or that is refused as written.

    Attributes:
        line: The line.
        start: Column of the first character that is wrong.
        end: Column after the last one (never before `start + 1`).
        suggestion: A line or an advice that would work; empty when there is none.
    """

    def __init__(self, message: str, line: str, start: int, end: int, suggestion: str = "") -> None:
        super().__init__(message)
        self.line = line
        self.start = start
        self.end = max(end, start + 1)
        self.suggestion = suggestion


class Word(msgspec.Struct, frozen=True):
    """One word and the columns it spans."""

    text: str
    start: int
    end: int

    @property
    def low(self) -> str:
        """Return the word in lower case."""
        return self.text.lower()


def check_characters(line: str) -> None:
    """Refuse what cannot be typed on purpose: control characters, other scripts' blanks, overlong lines.

    Raises:
        GrammarError: Names the first such character.
    """
    if len(line) > MAX_LINE:
        raise GrammarError(f"the line is longer than {MAX_LINE} characters", line, MAX_LINE, len(line))
    for column, sign in enumerate(line):
        category = unicodedata.category(sign)
        if category.startswith("C") or (category.startswith("Z") and sign != " "):
            raise GrammarError(
                f"the line holds an invisible character (U+{ord(sign):04X})",
                line,
                column,
                column + 1,
                "type the line again",
            )


def split(line: str) -> list[Word]:
    """Split a line into words.

    Raises:
        GrammarError: The line holds a character that is never accepted.
    """
    check_characters(line)
    return [Word(match.group(), match.start(), match.end()) for match in re.finditer(r"@|[^ @]+", line)]


class Number(msgspec.Struct, frozen=True):
    """A number as written: its sign (`+`, `-` or nothing), its magnitude and its unit."""

    sign: str
    magnitude: Decimal
    unit: str

    @property
    def value(self) -> Decimal:
        """Return the signed value."""
        return -self.magnitude if self.sign == "-" else self.magnitude


UNITS: Final = ("%pos", "%bal", "k$", "m$", "%", "$", "t", "c", "k", "m", "s", "h")
_NUMBER: Final = re.compile(
    r"^(?P<sign>[+-]?)(?P<digits>[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]+)(?P<fraction>\.[0-9]+)?"
    rf"(?P<unit>{'|'.join(re.escape(unit) for unit in UNITS)})?$"
)
_NUMBER_LIKE: Final = re.compile(r"^[+\-−]?[$]?[.,]?\d")
_DECIMAL_COMMA: Final = re.compile(r"^([+-]?\d+),(\d+)([^\d,][^,]*)?$")
_EXPONENT: Final = re.compile(r"^[+-]?[\d.,]+e[+-]?\d+", re.IGNORECASE)


def read_number(text: str) -> Number | None:
    """Return the number that a word is, or None when it is not one in the accepted form.

    ASCII digits, a point for decimals, commas only between thousands, no exponent.
    """
    match = _NUMBER.match(text.lower()) if text.isascii() else None
    if match is None:
        return None
    digits = match["digits"].replace(",", "")
    fraction = match["fraction"] or ""
    if len(digits) > MAX_DIGITS or len(fraction) > MAX_DIGITS + 1:
        return None
    return Number(match["sign"], Decimal(digits + fraction), match["unit"] or "")


def looks_like_number(text: str) -> bool:
    """Return whether a word was meant as a number, well written or not."""
    return _NUMBER_LIKE.match(text) is not None


def number_fault(text: str) -> tuple[str, str]:
    """Say why a word that was meant as a number is not one.

    Returns:
        The message, and how the word should be written (empty when that cannot be guessed).
    """
    if not text.isascii():
        if text[0] == "−" and read_number("-" + text[1:]) is not None:
            return f"{text!r} begins with a typographic minus", "-" + text[1:]
        return f"{text!r} holds characters that are not plain digits", ""
    if text.startswith("$") and read_number(text[1:] + "$") is not None:
        return "the $ stands after the number", text[1:] + "$"
    if _EXPONENT.match(text):
        return f"{text!r}: exponents are not accepted, write the number out", ""
    comma = _DECIMAL_COMMA.match(text)
    if comma is not None:
        better = f"{comma[1]}.{comma[2]}{comma[3] or ''}"
        return f"{text!r}: a comma only separates thousands, the decimal sign is a point", better
    if "," in text:
        return f"{text!r}: commas only separate groups of three digits", text.replace(",", "")
    stripped = text.lstrip("+-")
    if stripped.startswith(".") and read_number("0" + stripped) is not None:
        return f"{text!r}: write a digit before the point", text[: len(text) - len(stripped)] + "0" + stripped
    if sum(sign.isdigit() for sign in text) > MAX_DIGITS:
        return f"{text!r} has more than {MAX_DIGITS} digits on one side of the point", ""
    return f"{text!r} is not a number", ""


def plain(value: Decimal) -> str:
    """Return a decimal as the grammar reads it: no exponent, no trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
