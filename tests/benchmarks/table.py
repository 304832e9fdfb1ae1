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
        return self.what, self.measured, self.floor, ratio, self.budget, "ok" if self.is_kept else "FAIL"


class Table:
    """Collects results; a test calls `add` for each figure."""

    def __init__(self) -> None:
        self.results: list[Result] = []

    def add(
        self, what: str, measured: str, budget: str, is_kept: bool, floor: str = "", ratio: float | None = None
    ) -> None:
        """Keep a figure, then fail the test when it is over its budget."""
        self.results.append(Result(what, measured, budget, is_kept, floor, ratio))
        assert is_kept, f"{what}: {measured} is over the budget {budget}"

    def note(self, what: str, measured: str) -> None:
        """Keep a figure that has no budget."""
        self.results.append(Result(what, measured, "-", True))

    def lines(self) -> list[str]:
        """The whole table, aligned."""
        rows = [_HEADINGS, *(result.cells() for result in self.results)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
        return [_aligned(row, widths) for row in rows]


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    first, *rest = zip(row, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in rest)])
