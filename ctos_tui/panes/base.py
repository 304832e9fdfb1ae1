"""What every pane of the desk has in common: its name, the console around it, and its actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, cast

from textual.binding import BindingType

from ctos_tui.host import Host
from ctos_tui.panes.rows import Rows
from ctos_tui.session import Session

Actions = dict[str, Callable[[], None]]


class Pane(Rows):
    """A pane of the desk.

    Attributes:
        CONTEXT: Context of its keys; the id of the widget may differ where a layout has two of a kind.
        HZ: How often it is painted in a second at the nominal pace.
    """

    CONTEXT: ClassVar[str] = ""
    HZ: ClassVar[float] = 5
    BINDINGS: ClassVar[list[BindingType]] = []

    @property
    def host(self) -> Host:
        """Return the console."""
        return cast(Host, self.app)

    @property
    def session(self) -> Session:
        """Return the operator's session."""
        return self.host.session

    def actions(self) -> Actions:
        """Return what this pane does, by action id."""
        return {}

    def row_actions(self) -> Actions:
        """Return the moves of the selection, by action id."""
        return {
            "rows.up": lambda: self.action_row_move(-1),
            "rows.down": lambda: self.action_row_move(1),
            "rows.page_up": lambda: self.action_row_page(-1),
            "rows.page_down": lambda: self.action_row_page(1),
            "rows.first": self.action_row_home,
            "rows.last": self.action_row_end,
        }

    def copy_text(self) -> str:
        """Return the selected row as plain text for the clipboard."""
        row = self.selected
        return "" if row is None else " ".join("".join(text for text, _ in row.spans).split())

    def nothing_selected(self, what: str) -> None:
        """Say that an action needs a selected row."""
        self.session.say(f"no {what} is selected: move with the arrows first", "warn", log=False)
