"""Lines as data: spans of text with a semantic role, laid out in columns, cut and padded to terminal cells.

A span is a pair `(text, role)`; the roles are those of `ctos_tui.theme`. Nothing here knows Textual, so what
a pane shows can be built, compared and tested without an app.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ctos_tui.text import ellipsis, width

Span = tuple[str, str]
Spans = tuple[Span, ...]

OVERFLOW = "#"


class Row(NamedTuple):
    """One row of a pane.

    Args:
        key: What the row is about (an order id, a price); the selection follows it when rows move.
        spans: Text and roles from left to right.
        fill: Fill role behind the row; empty takes the pane's.
    """

    key: Hashable
    spans: Spans
    fill: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Args:
        title: Its label in the header line.
        width: Cells it takes.
        align: `right` for numbers (same digits after the point, so points align), `left` for words.
        priority: 0 is always shown; of the others the highest number goes first when the pane is narrow.
        grow: Share of the cells left over that this column takes.
    """

    title: str
    width: int
    align: Literal["left", "right"] = "right"
    priority: int = 0
    grow: int = 0


class Placed(NamedTuple):
    """A shown column: which of the given cells it shows, the cell where it starts, and its width."""

    source: int
    start: int
    width: int
    column: Column


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns fitted to a width."""

    width: int
    placed: tuple[Placed, ...]

    def labels(self) -> list[tuple[int, str]]:
        """Give the header labels with the cell where each starts."""
        found = []
        for _, start, cells, column in self.placed:
            label = ellipsis(column.title, cells)
            found.append((start + (cells - width(label) if column.align == "right" else 0), label))
        return found

    def line(self, cells: Sequence[Span | Spans]) -> Spans:
        """Lay out one row of cells, one for each column (hidden ones included).

        A right-aligned cell that does not fit is shown as `###`, as a cut number would be a wrong one; a
        left-aligned one is cut with an ellipsis.
        """
        spans: list[Span] = []
        at = 0
        for source, start, room, column in self.placed:
            parts = _as_spans(cells[source])
            used = sum(width(text) for text, _ in parts)
            if used > room:
                parts = ((OVERFLOW * room, parts[0][1]),) if column.align == "right" else fit(parts, room)
                used = room
            blank = start - at + (room - used if column.align == "right" else 0)
            if blank:
                spans.append((" " * blank, "text"))
            spans.extend(parts)
            at = start + room
            if column.align == "left" and used < room:
                spans.append((" " * (room - used), "text"))
        return tuple(spans)


@dataclass(slots=True)
class Columns:
    """A table's columns; `fit` chooses those that a width has room for.

    Args:
        columns: From left to right.
        gap: Blank cells between columns.
    """

    columns: tuple[Column, ...]
    gap: int = 1
    _layouts: dict[int, Layout] = field(default_factory=dict, repr=False)

    def fit(self, cells: int) -> Layout:
        """Give the layout for a width, dropping columns of the highest priority until the rest fits."""
        layout = self._layouts.get(cells)
        if layout is None:
            layout = self._layouts[cells] = self._fit(cells)
        return layout

    def _fit(self, cells: int) -> Layout:
        shown = list(enumerate(self.columns))
        while self._needed(shown) > cells:
            droppable = [entry for entry in shown if entry[1].priority > 0]
            if not droppable:
                break
            shown.remove(max(droppable, key=lambda entry: (entry[1].priority, entry[0])))
        spare = max(0, cells - self._needed(shown))
        shares = sum(column.grow for _, column in shown)
        placed = []
        at = 0
        for index, column in shown:
            extra = spare * column.grow // shares if shares else 0
            room = min(column.width + extra, max(0, cells - at))
            placed.append(Placed(index, at, room, column))
            at += room + self.gap
        return Layout(cells, tuple(entry for entry in placed if entry.width > 0))

    def _needed(self, shown: Sequence[tuple[int, Column]]) -> int:
        return sum(column.width for _, column in shown) + self.gap * max(0, len(shown) - 1)


def _as_spans(cell: Span | Spans) -> Spans:
    if len(cell) == 2 and isinstance(cell[0], str) and isinstance(cell[1], str):
        return ((cell[0], cell[1]),)
    return tuple(part for part in cell if isinstance(part, tuple))


def spans_width(spans: Iterable[Span]) -> int:
    """Count the cells that spans take."""
    return sum(width(text) for text, _ in spans)


def plain(spans: Iterable[Span]) -> str:
    """Give the text of spans without their roles."""
    return "".join(text for text, _ in spans)


def fit(spans: Spans, cells: int) -> Spans:
    """Cut spans to at most so many cells, with an ellipsis where something was cut."""
    if spans_width(spans) <= cells:
        return spans
    kept: list[Span] = []
    left = cells
    for text, role in spans:
        used = width(text)
        # The last cell is kept free for the ellipsis until it is certain that the rest fits.
        if used >= left:
            kept.append((ellipsis(text + "  ", left) if used == left else ellipsis(text, left), role))
            break
        kept.append((text, role))
        left -= used
    return tuple(kept)


def golden(lines: Iterable[Iterable[Span]]) -> str:
    """Write lines for a test: the text, and below each line its roles as `role:cells` pairs."""
    written = []
    for line in lines:
        spans = [span for span in line if span[0]]
        written.append("|" + plain(spans) + "|")
        written.append("  " + " ".join(f"{role}:{width(text)}" for text, role in spans))
    return "\n".join(written)
