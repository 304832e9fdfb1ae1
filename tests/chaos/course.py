"""What all of it is done with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Course:
    """One run of chaos.

    Attributes:
        folder: Where state folders are made; those of violations are kept.
        seed: Of the moments and the markets.
        say: Takes the progress.
        until_s: Monotonic time after which no round begins.
    """

    folder: Path
    seed: int
    say: Callable[[str], object]
    until_s: float = float("inf")

    @property
    def is_over(self) -> bool:
        """Return whether the time is over."""
        return time.monotonic() >= self.until_s

    def home(self, name: str) -> Path:
        """Make a folder for configuration and state."""
        home = self.folder / name
        home.mkdir()
        return home
