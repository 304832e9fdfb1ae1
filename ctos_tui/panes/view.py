"""What a pane shows: rows, header, scroll place and selection as plain state, with the lines that changed.

`RowView` holds no widget and no style; `ctos_tui.panes.rows.Rows` paints it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import msgspec

from ctos_tui.panes.cells import Layout, Row, Span, Spans, fit, spans_width
from ctos_tui.text import width

Find = Callable[[Sequence[Row], Hashable], "int | None"]


class Line(NamedTuple):
    """One line of a pane as it is to be painted: margin mark, spans, and the fill role behind them."""

    mark: str
    spans: Spans
    fill: str


def find_row(rows: Sequence[Row], key: Hashable) -> int | None:
    """Find the place of the row with a key by looking at each."""
    for index, row in enumerate(rows):
        if row.key == key:
            return index
    return None


class RowView(msgspec.Struct):
    """Rows in a window of so many cells and lines.

    Args:
        title: Name of the pane; empty for no header line.
        info: What follows the title.
        empty: Shown when there are no rows.
        fill: Fill role behind the pane.
        tail: Keep the last row in view until the operator scrolls up.
        aside: What stands at the right end of the header line, dim.
        badge: A letter shown before the title while the operator jumps between panes.
        find: How the place of a key is found; a long log has a faster way than looking at each row.
    """

    title: str = ""
    info: Spans = ()
    empty: str = ""
    fill: str = "background"
    tail: bool = False
    find: Find = find_row
    columns: Layout | None = None
    width: int = 0
    height: int = 0
    focused: bool = False
    rows: Sequence[Row] = ()
    top: int = 0
    cursor: int = 0
    key: Hashable | None = None
    following: bool = True
    badge: str = ""
    aside: str = ""
    _shown: list[Line] = msgspec.field(default_factory=list)

    @property
    def header(self) -> int:
        """Lines that the header takes: 1 or 0."""
        return 1 if self.title else 0

    @property
    def body(self) -> int:
        """Lines that rows can take."""
        return max(0, self.height - self.header)

    @property
    def selected(self) -> Row | None:
        """The selected row; none when its row has gone, so that no action falls on its neighbour."""
        if self.key is None or not 0 <= self.cursor < len(self.rows):
            return None
        return self.rows[self.cursor]

    def resize(self, cells: int, lines: int) -> None:
        """Set the window; every line counts as changed."""
        self.width, self.height = cells, lines
        self._shown.clear()
        self._keep_in_range()

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Replace the rows; the selection stays on its key, a scrolled view stays on its first row."""
        old, self.rows = self.rows, rows
        if self.top > 0 and not (self.tail and self.following) and self.top < len(old):
            at = self._place(old[self.top].key, self.top)
            if at is not None:
                self.top = at
        if self.key is not None:
            at = self._place(self.key, self.cursor)
            if at is None:
                self.key = None
            else:
                self.cursor = at
        self._keep_in_range()

    def _place(self, key: Hashable, near: int) -> int | None:
        if near < len(self.rows) and self.rows[near].key == key:
            return near
        return self.find(self.rows, key)

    def _keep_in_range(self) -> None:
        last_top = max(0, len(self.rows) - self.body)
        self.top = last_top if self.tail and self.following else min(max(0, self.top), last_top)
        self.cursor = min(max(0, self.cursor), max(0, len(self.rows) - 1))

    def select(self, key: Hashable) -> bool:
        """Select the row with a key and bring it into view; say whether there is one."""
        at = self.find(self.rows, key)
        if at is not None:
            self._select_at(at)
        return at is not None

    def deselect(self) -> None:
        """Leave no row selected; the next move starts where the selection was."""
        self.key = None

    def move(self, delta: int) -> None:
        """Move the selection by so many rows; without one, select the row where it was last."""
        self.go(self.cursor if self.key is None else self.cursor + delta)

    def go(self, at: int) -> None:
        """Select the row at a place, counted from 0; the last one when there are fewer."""
        if self.rows:
            self._select_at(min(max(0, at), len(self.rows) - 1))

    def _select_at(self, at: int) -> None:
        self.cursor, self.key = at, self.rows[at].key
        if at < self.top:
            self.top = at
        elif at >= self.top + self.body:
            self.top = at - self.body + 1
        self.following = self.top + self.body >= len(self.rows)

    def scroll(self, delta: int) -> None:
        """Scroll by so many rows without moving the selection."""
        self.top = min(max(0, self.top + delta), max(0, len(self.rows) - self.body))
        self.following = self.top + self.body >= len(self.rows)

    def row_at(self, y: int) -> Row | None:
        """Give the row shown on a line, if any."""
        index = self.top + y - self.header
        return self.rows[index] if y >= self.header and index < len(self.rows) else None

    def line(self, y: int) -> Line:
        """Give one line as it is to be painted."""
        if y < self.header:
            return Line(" ", self.header_spans(), self.fill)
        if not self.rows:
            first = y == self.header + (1 if self.body > 3 else 0)
            return Line(" ", ((self.empty, "dim"),) if first and self.empty else (), self.fill)
        row = self.row_at(y)
        if row is None:
            return Line(" ", (), self.fill)
        if self.key is not None and self.top + y - self.header == self.cursor:
            return Line("▌", row.spans, "selection" if self.focused else "cursor")
        return Line(" ", row.spans, row.fill or self.fill)

    def header_spans(self) -> Spans:
        """Give the header: title, info, the column labels that there is room for, scroll marks."""
        spans: list[Span] = [(self.title, "focus" if self.focused else "title")]
        if self.badge:
            spans.insert(0, (f"[{self.badge}] ", "armed"))
        for span in self.info:
            spans.append((" ", "text"))
            spans.append(span)
        at = spans_width(spans)
        marks = self._scroll_marks()
        limit = self.width - (width(marks) + 1 if marks else 0)
        for start, label in self.columns.labels() if self.columns else ():
            if start > at and start + width(label) <= limit:
                spans += [(" " * (start - at), "text"), (label, "dim")]
                at = start + width(label)
        if marks and at + 1 + width(marks) <= self.width:
            spans += [(" " * (self.width - at - width(marks)), "text"), (marks, "dim")]
        return fit(tuple(spans), self.width)

    def _scroll_marks(self) -> str:
        below = len(self.rows) - self.top - self.body
        above = f"↑{self.top}" if self.top > 0 else ""
        scroll = f"{above} ↓{below}".strip() if below > 0 else above
        return "  ".join(part for part in (self.aside, scroll) if part)

    def lines(self) -> list[Line]:
        """Give every line of the window."""
        return [self.line(y) for y in range(self.height)]

    def changed(self) -> list[int]:
        """Give the lines that differ from those of the last call, and remember the present ones."""
        now = self.lines()
        old, self._shown = self._shown, now
        if len(old) != len(now):
            return list(range(len(now)))
        return [y for y, (before, after) in enumerate(zip(old, now, strict=True)) if before != after]
