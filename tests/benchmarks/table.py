"""The table of a benchmark run: every figure beside its floor and its budget."""

from __future__ import annotations

from dataclasses import dataclass

_HEADINGS = ("what", "measured", "floor", "x floor", "budget", "")


@dataclass(slots=True)
class Result:
    """A line of the table: a figure beside its floor and the budget it must keep."""

    what: str
    measured: str
    budget: str
    is_kept: bool
    floor: str = ""
    ratio: float | None = None

    def cells(self) -> tuple[str, ...]:
        """The line's columns as text."""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        verdict = "" if not self.budget else "ok" if self.is_kept else "FAIL"
        return self.what, self.measured, self.floor, ratio, self.budget, verdict


class Table:
    """Collects results: `add` for each figure that has a budget, `note` for one that has none."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self._verified = 0

    def add(
        self, what: str, measured: str, budget: str, is_kept: bool, floor: str = "", ratio: float | None = None
    ) -> None:
        """Keep a figure; `verify` fails the test when it is over its budget."""
        self.results.append(Result(what, measured, budget, is_kept, floor, ratio))

    def note(self, what: str, measured: str, floor: str = "", ratio: float | None = None) -> None:
        """Keep a figure that has no budget."""
        self.results.append(Result(what, measured, "", True, floor, ratio))

    def verify(self) -> None:
        """Fail for the figures over their budgets since the last call."""
        new, self._verified = self.results[self._verified :], len(self.results)
        broken = [
            f"{result.what.strip()}: {result.measured}, budget {result.budget}" for result in new if not result.is_kept
        ]
        assert not broken, "; ".join(broken)

    def lines(self) -> list[str]:
        """The whole table, aligned."""
        rows = [_HEADINGS, *(result.cells() for result in self.results)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
        return [_aligned(row, widths) for row in rows]


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    first, *rest = zip(row, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in rest)])
