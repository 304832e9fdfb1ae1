"""The palette: any action by part of its name, and the key it has."""

from __future__ import annotations

from ctos_tui.action import Action
from ctos_tui.panes.cells import Row
from ctos_tui.screens.field_card import SearchCard


class PaletteCard(SearchCard):
    """Actions whose words hold what is typed."""

    TITLE = "PALETTE"
    EMPTY = "no action has this in its name"

    def __init__(self) -> None:
        super().__init__("PALETTE")

    def pull(self) -> None:
        """Show the actions that match."""
        rows = []
        for action in found_actions(list(self.host.keymap.actions.values()), self.edit.text):
            key = self.host.keymap.label(action.id)
            rows.append(
                Row(action.id, ((action.palette.ljust(34), "bright"), (key.ljust(10), "key"), (action.help, "dim")))
            )
        fresh = self.view.key is None
        self.set_rows(rows, self.query_spans())
        if fresh and rows:
            self.view.go(0)
            self.repaint_changed()

    def accept(self) -> None:
        """Do the marked action, in the pane that owns it."""
        row = self.selected
        self.host.close_card()
        if row is not None:
            self.host.run_anywhere(str(row.key))


def found_actions(actions: list[Action], typed: str) -> list[Action]:
    """Return the actions of the palette that hold every typed word, those that begin with it first."""
    words = typed.lower().split()
    matching = [
        action
        for action in actions
        if action.palette and all(word in f"{action.palette} {action.title} {action.id}".lower() for word in words)
    ]
    return sorted(matching, key=lambda action: not action.palette.lower().startswith(typed.lower().strip()))
