"""`Rows`: the Line API base of every live pane.

A pane overrides `pull`, which reads its view model and calls `set_rows`; the frame clock calls `pull` at the
pane's rate. Only lines whose content changed are refreshed, once a pull, and strips are cached by content.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import RenderResult
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from ctos_tui.panes.cells import Columns, Layout, Row, Spans, fit, spans_width
from ctos_tui.panes.view import Line, RowView
from ctos_tui.text import clean
from ctos_tui.theme import DEFAULT_DARK, Palette, load_theme

_CACHED_STRIPS = 1024


class Rows(Widget, can_focus=True):
    """A pane of rows with a title line, a selection that follows its row, and its own scrolling.

    Subclasses set `TITLE`, `EMPTY` and `COLUMNS` and override `pull`.

    Args:
        title: Name in the header line; the class's own when not given.
        name: Name of the widget.
        id: Id of the widget.
        classes: Style sheet classes.
    """

    TITLE: ClassVar[str] = ""
    EMPTY: ClassVar[str] = "nothing yet"
    COLUMNS: ClassVar[Columns | None] = None
    FILL: ClassVar[str] = "background"
    MARGIN: ClassVar[int] = 1
    TAIL: ClassVar[bool] = False
    SELECTS: ClassVar[bool] = True
    ALLOW_SELECT = False
    DEFAULT_CSS = "Rows { height: 1fr; width: 1fr; background: $background; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "row_move(-1)", show=False),
        Binding("down", "row_move(1)", show=False),
        Binding("pageup", "row_page(-1)", show=False),
        Binding("pagedown", "row_page(1)", show=False),
        Binding("home", "row_home", show=False),
        Binding("end", "row_end", show=False),
    ]

    def __init__(
        self,
        *,
        title: str | None = None,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.view = RowView(
            title=self.TITLE if title is None else title,
            empty=self.EMPTY,
            fill=self.FILL,
            tail=self.TAIL,
            find=self.find_row,
        )
        self._shown = False
        self._painted_with: Palette | None = None
        self._strips: dict[tuple[Line, int], Strip] = {}

    def pull(self) -> None:
        """Read the view model and call `set_rows`; called by the frame clock, on resize and when shown."""

    def find_row(self, rows: Sequence[Row], key: Hashable) -> int | None:
        """Find the place of a key; override it where rows are many and their order is known."""
        return next((index for index, row in enumerate(rows) if row.key == key), None)

    @property
    def showing(self) -> bool:
        """Whether the pane is on the screen that the operator sees; the frame clock asks before it pulls."""
        return self._shown and self.is_attached and self.screen.is_current

    @property
    def row_width(self) -> int:
        """Cells that a row may take."""
        return self.view.width

    @property
    def body_height(self) -> int:
        """Rows that are visible at once."""
        return self.view.body

    def layout_columns(self, columns: Columns | None = None) -> Layout:
        """Give columns, `COLUMNS` unless others are given, fitted to the present width; the header shows their labels.

        Raises:
            TypeError: The class has no `COLUMNS`.
        """
        chosen = columns or self.COLUMNS
        if chosen is None:
            raise TypeError(f"{type(self).__name__} has no COLUMNS")
        layout = chosen.fit(self.view.width)
        self.view.columns = layout
        return layout

    def set_rows(self, rows: Sequence[Row], info: Spans = ()) -> None:
        """Show these rows and repaint the lines that differ.

        Args:
            rows: All rows in order; only visible ones are looked at, so it may be a lazy sequence.
            info: What follows the title in the header line.
        """
        self.view.info = info
        self.view.set_rows(rows)
        self.repaint_changed()

    def repaint_changed(self) -> None:
        """Refresh the lines that changed since the last call, in as few regions as possible."""
        if not self.is_attached or self.view.height == 0:
            return
        changed = self.view.changed()
        if changed:
            self.refresh(*_regions(changed, self.size.width))

    @property
    def selected(self) -> Row | None:
        """The selected row, if any."""
        return self.view.selected

    def select(self, key: Hashable) -> bool:
        """Select the row with a key; say whether there is one."""
        found = self.view.select(key)
        self.repaint_changed()
        return found

    def action_row_move(self, delta: int) -> None:
        """Move the selection by rows."""
        self.view.move(delta)
        self.repaint_changed()

    def action_row_page(self, pages: int) -> None:
        """Move the selection by whole windows."""
        self.action_row_move(pages * max(1, self.view.body - 1))

    def action_row_home(self) -> None:
        """Select the first row."""
        self.view.go(0)
        self.repaint_changed()

    def action_row_end(self) -> None:
        """Select the last row, and follow new ones where the pane follows its end."""
        self.view.go(len(self.view.rows) - 1)
        self.repaint_changed()

    def draw(self, cells: int, lines: int) -> list[Spans]:
        """Draw the pane as data, without an app; each line begins with its margin mark, its fill as the role.

        Args:
            cells: Width of the pane, margins included.
            lines: Height of the pane.
        """
        self.view.resize(max(0, cells - 2 * self.MARGIN), lines)
        self.pull()
        width, margin = self.view.width, self.MARGIN
        return [((line.mark.ljust(margin)[:margin], line.fill), *fit(line.spans, width)) for line in self.view.lines()]

    def on_resize(self) -> None:
        """Fit the rows to the new size."""
        self.view.resize(max(0, self.size.width - 2 * self.MARGIN), self.size.height)
        self._strips.clear()
        self.pull()
        self.view.changed()
        self.refresh()

    def on_show(self) -> None:
        """Catch up with what changed while hidden."""
        self._shown = True
        self.pull()

    def on_hide(self) -> None:
        """Stop working until shown again."""
        self._shown = False

    def on_focus(self) -> None:
        """Mark the title, and select a row when none is."""
        self.view.focused = True
        if self.SELECTS and self.view.key is None:
            self.view.move(0)
        self.repaint_changed()

    def on_blur(self) -> None:
        """Dim the title and the selection."""
        self.view.focused = False
        self.repaint_changed()

    def on_click(self, event: events.Click) -> None:
        """Select the row under the pointer."""
        row = self.view.row_at(event.get_content_offset_capture(self).y)
        if row is not None:
            self.select(row.key)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll towards the first row."""
        self._scroll_rows(-3, event)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll towards the last row."""
        self._scroll_rows(3, event)

    def _scroll_rows(self, delta: int, event: events.Event) -> None:
        event.stop()
        self.view.scroll(delta)
        self.repaint_changed()

    @property
    def palette(self) -> Palette:
        """The app's palette, or the default one in an app that has none."""
        found: Any = getattr(self.app, "palette", None)
        return found if isinstance(found, Palette) else _default_palette()

    def render(self) -> RenderResult:
        """Unused: `render_line` paints."""
        return ""

    def render_line(self, y: int) -> Strip:
        """Paint one line, from the cache when its content has been painted before."""
        palette = self.palette
        if palette is not self._painted_with:
            self._painted_with = palette
            self._strips.clear()
        line = self.view.line(y)
        cells = self.size.width
        strip = self._strips.get((line, cells))
        if strip is None:
            if len(self._strips) >= _CACHED_STRIPS:
                self._strips.clear()
            strip = self._strips[line, cells] = paint(line, cells, self.MARGIN, palette)
        return strip


def paint(line: Line, cells: int, margin: int, palette: Palette) -> Strip:
    """Turn a line into a strip that covers a width exactly, neighbours of one style joined."""
    mark = line.mark if palette.glyphs == "unicode" or line.mark == " " else ">"
    shown = fit(_inert(line.spans), max(0, cells - 2 * margin))
    used = margin + spans_width(shown)
    rest = " " * max(0, cells - used)
    spans = ((mark.ljust(margin)[:margin], "text" if mark == " " else "focus"), *shown, (rest, "text"))
    segments: list[Segment] = []
    text = ""
    style: Style | None = None
    for piece, role in spans:
        if not piece:
            continue
        wanted = palette.style(role, line.fill)
        if style is not None and wanted is not style:
            if piece.isspace() and _blanks_alike(style, wanted):
                wanted = style
            else:
                segments.append(Segment(text, style))
                text = ""
        text += piece
        style = wanted
    if text:
        segments.append(Segment(text, style))
    strip = Strip(segments, max(used, cells))
    return strip if used <= cells else strip.crop(0, cells)


def _inert(spans: Spans) -> Spans:
    """Return spans without anything that a terminal would obey: the last guard, whoever made the text."""
    if all(text.isprintable() for text, _ in spans):
        return spans
    return tuple((text if text.isprintable() else clean(text), role) for text, role in spans)


def _blanks_alike(first: Style, second: Style) -> bool:
    """Say whether blanks look the same in both styles, so that a change of style, and its bytes, can be saved."""
    lines = first.underline or second.underline or first.reverse or second.reverse
    return not lines and first.bgcolor == second.bgcolor


def _regions(lines: Iterable[int], cells: int) -> list[Region]:
    """Join neighbouring lines into regions."""
    regions: list[Region] = []
    for y in lines:
        if regions and regions[-1].bottom == y:
            last = regions[-1]
            regions[-1] = Region(0, last.y, cells, last.height + 1)
        else:
            regions.append(Region(0, y, cells, 1))
    return regions


_fallback: list[Palette] = []


def _default_palette() -> Palette:
    if not _fallback:
        _fallback.append(load_theme(DEFAULT_DARK))
    return _fallback[0]
