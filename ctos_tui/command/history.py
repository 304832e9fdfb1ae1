"""The prompt's history: the last lines, kept in a private file, never with anything that looks like a secret.

Walking through it and changing it is done in memory; the writer thread replaces the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from engine.io.files import write_atomic
from engine.io.writer import WriterThread

MAX_LINES: Final = 500
MAX_LENGTH: Final = 400

_SECRET_WORD: Final = re.compile(r"secret|passw|passphrase|token|api_?key|private_?key", re.IGNORECASE)
_LONG_RUN: Final = re.compile(r"[A-Za-z0-9+/_]{32,}")


def is_secret(line: str) -> bool:
    """Return whether a line may hold a key or password: such words, or 32 letters and digits in a row."""
    return _SECRET_WORD.search(line) is not None or _LONG_RUN.search(line) is not None


def is_storable(line: str) -> bool:
    """Return whether a line is worth keeping: printable, not too long, no secret."""
    return bool(line) and len(line) <= MAX_LENGTH and line.isprintable() and not is_secret(line)


@dataclass(slots=True)
class History:
    """Lines, oldest first, and the place of the operator who walks through them.

    Attributes:
        lines: What was entered, without neighbours that repeat.
        limit: How many lines are kept.
    """

    lines: list[str] = field(default_factory=list)
    limit: int = MAX_LINES
    _at: int | None = None
    _typed: str = ""

    def add(self, line: str) -> bool:
        """Keep an entered line; returns whether the file must be written."""
        self.reset()
        text = line.strip()
        if not is_storable(text) or (self.lines and self.lines[-1] == text):
            return False
        self.lines.append(text)
        del self.lines[: -self.limit]
        return True

    def older(self, typed: str) -> str | None:
        """Return the next older line that begins with what was typed when walking began; None at the end."""
        if self._at is None:
            self._typed, self._at = typed, len(self.lines)
        for index in range(self._at - 1, -1, -1):
            if self.lines[index].startswith(self._typed) and self.lines[index] != typed:
                self._at = index
                return self.lines[index]
        return None

    def newer(self, typed: str) -> str | None:
        """Return the next newer line, at last what was typed; None when the operator is not walking."""
        if self._at is None:
            return None
        for index in range(self._at + 1, len(self.lines)):
            if self.lines[index].startswith(self._typed) and self.lines[index] != typed:
                self._at = index
                return self.lines[index]
        typed_first = self._typed
        self.reset()
        return typed_first

    def reset(self) -> None:
        """Stop walking: the next `older` begins at the newest line."""
        self._at, self._typed = None, ""

    def text(self) -> str:
        """Return what the file should hold."""
        return "".join(f"{line}\n" for line in self.lines)


def load(path: Path, limit: int = MAX_LINES) -> tuple[History, str]:
    """Read a history file.

    Returns:
        The history, and one message when the file could not be used whole (empty when all is well). A missing file
        is an empty history.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return History(limit=limit), ""
    except OSError as error:
        return History(limit=limit), f"history {path.name} cannot be read ({error.strerror}); it starts empty"
    lines = raw.decode("utf-8", "replace").splitlines()
    good = [line for line in lines if is_storable(line)]
    bad = len(lines) - len(good)
    message = ""
    if bad:
        message = f"history {path.name}: {bad} unreadable line{'s' if bad > 1 else ''} left out"
    return History(_without_repeats(good)[-limit:], limit), message


def _without_repeats(lines: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for line in lines:
        if not kept or kept[-1] != line:
            kept.append(line)
    return kept


def save(history: History, path: Path, writer: WriterThread) -> None:
    """Queue the history to be written by the writer thread: replaced in one step, readable by its owner only.

    A failure reaches the writer's error handler as a typed error.
    """
    content = history.text().encode()
    writer.submit(lambda: write_atomic(path, content))
