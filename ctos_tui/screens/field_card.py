"""A card with one line to type in at its top, for searching, and fields for forms."""

from __future__ import annotations

from ctos_tui.line_edit import LineEdit
from ctos_tui.panes.cells import Span, Spans
from ctos_tui.screens.card import Card

CARET = "▏"


def typed_spans(edit: LineEdit, *, active: bool, role: str = "bright") -> Spans:
    """Return what is typed, with the cursor where the field is active."""
    if not active:
        return ((edit.text, role),)
    return ((edit.text[: edit.at], role), (CARET, "accent"), (edit.text[edit.at :], role))


class SearchCard(Card):
    """Rows that are narrowed by typing."""

    def __init__(self, title: str, text: str = "") -> None:
        super().__init__(title=title)
        self.edit = LineEdit()
        self.edit.set(text)

    def query_spans(self) -> tuple[Span, ...]:
        """Return what stands behind the title: the text to search for."""
        shown: tuple[Span, ...] = (("⌕", "dim"), *typed_spans(self.edit, active=True))
        return shown

    def press(self, key: str, character: str | None) -> bool:
        """Move the selection, or change what is searched for."""
        if key in ("up", "down", "pageup", "pagedown"):
            return super().press(key, character)
        if self.edit.press(key, character):
            self.view.deselect()
            self.pull()
            self.view.go(0)
            self.repaint_changed()
            return True
        return False

    def paste(self, text: str) -> None:
        """Search for pasted text."""
        self.edit.insert(text)
        self.pull()
