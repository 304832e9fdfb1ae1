"""The one table of what the operator can do: bindings, footer, palette and help are all made from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ctos_tui.action import (
    CONTEXTS,
    DESK,
    DIALOG,
    EVERYWHERE,
    PANES,
    PROMPT,
    ROW_PANES,
    STAGED,
    TYPING,
    Action,
)
from ctos_tui.guard.levels import Level
from ctos_tui.pane_actions import PANE_ACTIONS

__all__ = [
    "ACTIONS",
    "CONTEXTS",
    "DESK",
    "DIALOG",
    "EVERYWHERE",
    "PANES",
    "PROMPT",
    "ROW_PANES",
    "STAGED",
    "TYPING",
    "Action",
    "by_id",
]


def _pane(pane: str, key: str, shows: str) -> Action:
    return Action(
        f"pane.{pane}",
        pane,
        f"Go to the {pane} pane: {shows}.",
        (key,),
        (DESK,),
        palette=f"Go to {pane}",
    )


_GLOBAL: Final = (
    Action(
        "panic",
        "panic",
        "Close the gate, halt all strategies and cancel resting orders at once; "
        "press again within 3 s to stage flatten all.",
        ("f9", "ctrl+backslash"),
        (EVERYWHERE,),
        level=Level.L0,
        palette="Panic: halt and cancel everything",
        urgent=True,
    ),
    Action(
        "quit",
        "quit",
        "Leave; says first what rests on the venue and what will happen to it.",
        ("q", "ctrl+c"),
        (EVERYWHERE,),
        palette="Quit",
    ),
    Action(
        "detach",
        "detach",
        "Leave the screen; engine and strategies go on, and `ctos-tui attach` brings the screen back.",
        ("ctrl+d",),
        (EVERYWHERE,),
        palette="Detach: the engine goes on without a screen",
    ),
    Action(
        "palette",
        "palette",
        "Find any action by typing part of its name.",
        ("ctrl+p",),
        (EVERYWHERE,),
    ),
    Action(
        "help",
        "help",
        "Show the keys of this pane, the prompt's words and what they do.",
        ("question_mark", "f1"),
        (EVERYWHERE,),
        palette="Help",
    ),
    Action(
        "prompt.open",
        "prompt",
        "Open the command prompt.",
        ("colon",),
        (DESK,),
        palette="Open the prompt",
    ),
    Action(
        "arm.toggle",
        "arm/disarm",
        "Arm or disarm order entry; a live account asks for its name.",
        ("A",),
        (DESK,),
        level=Level.L1,
        palette="Arm or disarm",
    ),
    Action("focus.next", "next pane", "Move to the next pane.", ("tab",), (DESK,)),
    Action("focus.previous", "previous pane", "Move to the previous pane.", ("shift+tab",), (DESK,)),
    Action("jump", "jump", "Show a letter on each pane; press it to go there.", ("o",), (DESK,), palette="Jump"),
    Action("zoom", "zoom", "Give the pane the whole screen, or back.", ("z",), (DESK,), palette="Zoom the pane"),
    Action(
        "copy",
        "copy row",
        "Copy the selected row to the terminal's clipboard.",
        ("y",),
        (DESK,),
        palette="Copy the row",
    ),
    _pane("ladder", "1", "prices, sizes, own orders, order entry"),
    _pane("chart", "2", "candles, volume, indicators, own fills"),
    _pane("markets", "3", "the watch list"),
    _pane("trades", "4", "the tape"),
    _pane("positions", "5", "what is held, at which profit"),
    _pane("orders", "6", "what rests"),
    _pane("fills", "7", "what was filled"),
    _pane("strategies", "8", "what runs, and why something does not trade"),
    _pane("anomalies", "9", "what is wrong, and what was done about it"),
    _pane("log", "0", "what was said"),
    _pane("history", "h", "orders that are done"),
    _pane("account", "w", "balances, equity, limits, health"),
)

_STAGED: Final = (
    Action(
        "ticket.send",
        "send",
        "Send the staged order as the preview shows it.",
        ("enter",),
        (STAGED,),
        level=Level.L1,
        needs_guard=True,
    ),
    Action("ticket.drop", "drop", "Drop the staged order; nothing is sent.", ("backspace",), (STAGED,)),
)

_PROMPT: Final = (
    Action(
        "prompt.submit",
        "stage/send",
        "Stage the line; once it is staged, send it.",
        ("enter",),
        (PROMPT,),
        level=Level.L1,
        needs_guard=True,
    ),
    Action("prompt.complete", "complete", "Take the completion shown.", ("tab",), (PROMPT,)),
    Action("prompt.next", "next", "Next completion.", ("shift+tab",), (PROMPT,)),
    Action("prompt.older", "older", "Older line that begins with what is typed.", ("up",), (PROMPT,)),
    Action("prompt.newer", "newer", "Newer line that begins with what is typed.", ("down",), (PROMPT,)),
    Action("prompt.close", "close", "Close the prompt; nothing is sent.", ("escape",), (PROMPT,)),
)

_DIALOG: Final = (
    Action("dialog.close", "close", "Close without doing anything.", ("escape",), (DIALOG,)),
    Action(
        "dialog.accept",
        "choose",
        "Do what the focused button says.",
        ("enter",),
        (DIALOG,),
        level=Level.L1,
        needs_guard=True,
    ),
    Action("dialog.next", "next", "Next field or button.", ("tab",), (DIALOG,)),
    Action("dialog.previous", "previous", "Previous field or button.", ("shift+tab",), (DIALOG,)),
)

ACTIONS: Final[tuple[Action, ...]] = (*_GLOBAL, *_STAGED, *PANE_ACTIONS, *_PROMPT, *_DIALOG)


def by_id(actions: Iterable[Action] = ACTIONS) -> dict[str, Action]:
    """Index the table by action id."""
    return {action.id: action for action in actions}
