"""Text that came from outside, made inert, and text cut and padded to terminal cells.

Anything a venue, a symbol list, a log line or a strategy says goes through `clean` before it reaches the
screen: the result holds only characters that occupy one or two cells and that no terminal takes as a command.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from rich.cells import cell_len, set_cell_size
from rich.markup import escape

ELLIPSIS = "…"
REPLACEMENT = "�"

_SPACES = frozenset("\t\n\v\f\r\x85\u2028\u2029")


def _inert_character(char: str) -> str:
    """Give what is shown instead of one character: itself, a space, a visible mark, or nothing."""
    if char in _SPACES:
        return " "
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    category = unicodedata.category(char)
    if category in ("Mn", "Me"):
        return ""
    if category == "Zs":
        return " "
    if category[0] == "C" or cell_len(char) == 0:
        return REPLACEMENT
    return char


@lru_cache(maxsize=2048)
def clean(text: str, limit: int = 2000) -> str:
    """Make foreign text safe to show on one line.

    Control characters become their visible pictures (`␛` for escape), line breaks and tabs become spaces,
    bidirectional and zero-width characters become `�`, combining marks that do not compose are dropped.

    Args:
        text: What came from outside.
        limit: Characters kept; a longer text ends with an ellipsis.

    Returns:
        Text whose every character takes one or two cells.
    """
    cut = text if len(text) <= limit else text[: limit - 1] + ELLIPSIS
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(map(_inert_character, unicodedata.normalize("NFC", cut)))


def clean_markup(text: str) -> str:
    """Make foreign text safe for widgets that read markup (notifications, palette): `[` stays a bracket."""
    return escape(clean(text))


def width(text: str) -> int:
    """Count the cells that a text takes on the terminal."""
    return len(text) if text.isascii() else cell_len(text)


def ellipsis(text: str, cells: int) -> str:
    """Cut a text to at most so many cells, its last one an ellipsis when something was cut."""
    if cells <= 0:
        return ""
    if width(text) <= cells:
        return text
    return set_cell_size(text, cells - 1).rstrip() + ELLIPSIS


def pad_left(text: str, cells: int) -> str:
    """Right-align a text in so many cells, cutting it with an ellipsis when it is longer."""
    fitting = ellipsis(text, cells)
    return " " * (cells - width(fitting)) + fitting


def pad_right(text: str, cells: int) -> str:
    """Left-align a text in so many cells, cutting it with an ellipsis when it is longer."""
    fitting = ellipsis(text, cells)
    return fitting + " " * (cells - width(fitting))
