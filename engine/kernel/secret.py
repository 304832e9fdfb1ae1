"""A text that must not be shown: keys, passwords, tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

MASK = "***"


class Secret:
    """A text that shows as `***` and cannot be pickled or compared by accident; `reveal` gives it out."""

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """Return the text; only to sign or to send."""
        return self.__text

    def __bool__(self) -> bool:
        return bool(self.__text)

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")


_mask: Callable[[str], str] = str


def mask_with(mask: Callable[[str], str]) -> None:
    """Have `masked` pass text through this function from now on; called by what knows every secret of the process."""
    global _mask
    _mask = mask


def masked(text: str) -> str:
    """Return text from outside with every secret of this process masked: a venue may echo what it was sent."""
    return _mask(text)
