"""A text that must not be shown: keys, passwords, tokens."""

from __future__ import annotations

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
