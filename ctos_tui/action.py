"""What an action of the console is, and the contexts in which its keys work."""

from __future__ import annotations

from typing import Final

import msgspec

from ctos_tui.guard.levels import Level

EVERYWHERE: Final = "everywhere"
"""Keys that work on every screen, also while text is being typed."""
DESK: Final = "desk"
"""Keys that work in every pane of the desk, but not while text is being typed."""
STAGED: Final = "staged"
"""Keys while an order is staged; they go before the pane's own keys."""
PROMPT: Final = "prompt"
DIALOG: Final = "dialog"

ROW_PANES: Final = (
    "markets",
    "trades",
    "positions",
    "orders",
    "fills",
    "history",
    "strategies",
    "anomalies",
    "log",
    "account",
)
PANES: Final = ("ladder", "chart", *ROW_PANES)
TYPING: Final = (PROMPT, DIALOG)
CONTEXTS: Final = (EVERYWHERE, DESK, STAGED, *PANES, *TYPING)


class Action(msgspec.Struct, frozen=True):
    """One thing the operator can do.

    Attributes:
        id: Stable name, used in `keys:` of the configuration.
        title: Two or three words for the footer.
        help: One sentence for the help screen.
        keys: Default chords in Textual's key names.
        contexts: Where the keys work (see `CONTEXTS`).
        level: The least care the action asks for; None when it neither trades nor changes what trades.
        palette: Text in the command palette; empty for moves that only make sense as a key.
        urgent: Must work at once from anywhere; it is never dropped and never left without a key.
        needs_guard: Its keys pass the key guard (age, burst, dialog, backlog).
    """

    id: str
    title: str
    help: str
    keys: tuple[str, ...]
    contexts: tuple[str, ...]
    level: Level | None = None
    palette: str = ""
    urgent: bool = False
    needs_guard: bool = False
