"""File descriptors that are held back for what must work when the process has no other left: a cancel's connection."""

from __future__ import annotations

import os

HELD = 4
"""Enough to look up a name and to try two addresses at once."""


class SpareFiles:
    """Holds descriptors on nothing, to be given up when they are wanted."""

    def __init__(self) -> None:
        self._held: list[int] = []

    def hold(self) -> bool:
        """Take as many as are missing; returns whether all are held."""
        try:
            while len(self._held) < HELD:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return False  # none is free now; the next call tries again
        return True

    def give_up(self) -> None:
        """Free all of them."""
        while self._held:
            os.close(self._held.pop())

    @staticmethod
    def is_none_left() -> bool:
        """Return whether the process cannot open anything more."""
        try:
            os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return True
        return False
