"""What a mutant is, and what may kill it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("engine", "drivers", "strategies", "themes", "ctos_tui", "tests")
"""What a mutated tree consists of, beside its `pyproject.toml`."""


class TextChanged(Exception):
    """A text that a mutant replaces does not occur exactly once any more."""


@dataclass(frozen=True, slots=True)
class Seed:
    """Simulated trading: killed by a violation. `only`: names of the faults that happen; all when empty.

    `limit_usd`: the account's limit of worst-case exposure.
    """

    venue: str
    seed: int
    hours: float = 0.5
    only: tuple[str, ...] = ()
    limit_usd: int = 13_000

    def __str__(self) -> str:
        return f"{self.venue}:{self.seed}:{self.hours:g}:{','.join(self.only)}:{self.limit_usd}"

    @staticmethod
    def parse(text: str) -> Seed:
        """Return what `str` gave."""
        venue, seed, hours, only, limit = text.split(":")
        return Seed(venue, int(seed), float(hours), tuple(filter(None, only.split(","))), int(limit))


@dataclass(frozen=True, slots=True)
class Mutant:
    """One small bug.

    Attributes:
        id: Its name.
        loses: What a user would lose by it.
        path: The file, from the root of the repository.
        edits: (old text, new text); each old text occurs exactly once in the file.
        seeds: Simulated trading that looks for it beside what looks for every mutant.
        tests: Tests of the suite that look for it instead, where no simulated trading gets.
    """

    id: str
    loses: str
    path: str
    edits: tuple[tuple[str, str], ...]
    seeds: tuple[Seed, ...] = ()
    tests: tuple[str, ...] = ()

    def text(self, root: Path) -> str:
        """Return the file's text with the bug in it.

        Raises:
            TextChanged: The file is not what it was when the mutant was written.
        """
        text = (root / self.path).read_text("utf-8")
        for old, new in self.edits:
            if (count := text.count(old)) != 1:
                raise TextChanged(f"{self.id}: {self.path} has {count} times, not once: {old.strip()!r}")
            text = text.replace(old, new)
        return text


def bug(
    id: str,
    loses: str,
    path: str,
    *edits: tuple[str, str],
    seeds: tuple[Seed, ...] = (),
    tests: tuple[str, ...] = (),
) -> Mutant:
    """Return a mutant."""
    return Mutant(id, loses, path, edits, seeds, tests)
