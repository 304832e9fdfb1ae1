"""A card: a list laid over the desk that takes the keys until it is closed. The panic key passes it by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from textual.binding import BindingType

from ctos_tui.host import Host
from ctos_tui.panes.cells import Row, Spans
from ctos_tui.panes.rows import Rows
from ctos_tui.text import ellipsis, width


class Card(Rows):
    """Rows over the desk.

    Attributes:
        TRADES: Its Enter starts or sends something, so the key guard watches it.
    """

    FILL = "panel"
    MARGIN = 2
    TRADES: ClassVar[bool] = False
    BINDINGS: ClassVar[list[BindingType]] = []
    DEFAULT_CSS = "Card { border: round $role-focus; background: $panel; }"

    @property
    def host(self) -> Host:
        """Return the console."""
        return cast(Host, self.app)

    def hint(self) -> Spans:
        """Return what the line below the desk says while the card is open."""
        return ()

    def set_rows(self, rows: Sequence[Row], info: Spans = ()) -> None:
        """Show these rows, and take as much room as they need."""
        super().set_rows(rows, info)
        self.host.card_needs(len(rows))

    def press(self, key: str, character: str | None) -> bool:
        """Take a key; returns whether it meant anything."""
        moves = {
            "up": lambda: self.action_row_move(-1),
            "down": lambda: self.action_row_move(1),
            "pageup": lambda: self.action_row_page(-1),
            "pagedown": lambda: self.action_row_page(1),
            "home": self.action_row_home,
            "end": self.action_row_end,
        }
        if key in moves:
            moves[key]()
            return True
        if key in ("q", "backspace"):
            self.host.close_card()
            return True
        return False

    def paste(self, text: str) -> None:
        """Take pasted text; a card without a field ignores it."""

    def accept(self) -> None:
        """Do what Enter does here; a card that only shows closes."""
        self.host.close_card()

    def step(self, delta: int) -> None:
        """Go to the next or previous field."""
        self.action_row_move(delta)


def paragraph(key: str, text: str, cells: int, role: str = "text", indent: int = 0) -> list[Row]:
    """Return a text as rows, broken between words."""
    rows: list[Row] = []
    line = ""
    for word in text.split():
        if line and width(line) + 1 + width(word) > cells - indent:
            rows.append(Row(f"{key}{len(rows)}", ((" " * indent + line, role),)))
            line = ""
        line = f"{line} {word}" if line else word
    rows.append(Row(f"{key}{len(rows)}", ((" " * indent + ellipsis(line, max(1, cells - indent)), role),)))
    return rows


def pair(key: str, label: str, *spans: tuple[str, str], cells: int = 16) -> Row:
    """Return a row of a label and what it names."""
    line: Spans = ((label.ljust(cells), "label"), *spans)
    return Row(key, line)


BLANK: Spans = (("", "text"),)
