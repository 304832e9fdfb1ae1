"""One editable line of text: a string, a cursor, and what keys do to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MAX_LENGTH = 400


@dataclass(slots=True)
class LineEdit:
    """Text and the cursor's place in it."""

    text: str = ""
    at: int = 0

    def set(self, text: str) -> None:
        """Replace the text; the cursor goes to its end."""
        self.text = text[:MAX_LENGTH]
        self.at = len(self.text)

    def insert(self, text: str) -> None:
        """Put text at the cursor; what cannot be printed is left out."""
        room = MAX_LENGTH - len(self.text)
        added = "".join(sign for sign in text if sign.isprintable())[:room]
        self.text = self.text[: self.at] + added + self.text[self.at :]
        self.at += len(added)

    def press(self, key: str, character: str | None) -> bool:
        """Edit with one key; returns whether the key means anything here."""
        edit = _EDITS.get(key)
        if edit is not None:
            self.text, self.at = edit(self.text, self.at)
            return True
        if character is not None and character.isprintable():
            self.insert(character)
            return True
        return False


def _word_start(text: str, at: int) -> int:
    kept = text[:at].rstrip()
    return kept.rfind(" ") + 1


_EDITS: dict[str, Callable[[str, int], tuple[str, int]]] = {
    "left": lambda text, at: (text, max(0, at - 1)),
    "right": lambda text, at: (text, min(len(text), at + 1)),
    "home": lambda text, at: (text, 0),
    "end": lambda text, at: (text, len(text)),
    "backspace": lambda text, at: (text[: max(0, at - 1)] + text[at:], max(0, at - 1)),
    "delete": lambda text, at: (text[:at] + text[at + 1 :], at),
    "ctrl+u": lambda text, at: (text[at:], 0),
    "ctrl+k": lambda text, at: (text[:at], at),
    "ctrl+w": lambda text, at: (text[: _word_start(text, at)] + text[at:], _word_start(text, at)),
    "ctrl+e": lambda text, at: (text, len(text)),
}
