"""The prompt as state: what is typed, in which mode, what it would do now, what could be typed next."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import msgspec

from ctos_tui.command import complete as completion
from ctos_tui.command.candidates import Vocabulary
from ctos_tui.command.complete import Completion
from ctos_tui.command.desk import Desk
from ctos_tui.command.explain import explain_spans
from ctos_tui.command.grammar import parse
from ctos_tui.command.intents import (
    BumpOrder,
    CancelOrders,
    Flatten,
    Intent,
    MoveOrder,
    PlaceOrder,
    Reverse,
    Target,
)
from ctos_tui.command.resolve import Staged, resolve
from ctos_tui.command.words import GrammarError
from ctos_tui.line_edit import LineEdit
from ctos_tui.panes.cells import Spans
from engine.kernel.errors import CtosError

STAGEABLE = (PlaceOrder, Target, Flatten, Reverse, MoveOrder, BumpOrder)


class PromptMode(StrEnum):
    """What the prompt line is for."""

    CLOSED = "closed"
    LINE = "line"
    CONFIRM = "confirm"
    ASK = "ask"


class Reading(msgspec.Struct, frozen=True):
    """What a line means now.

    Attributes:
        intent: What it asks, None when it is refused.
        staged: The orders it would send, for lines that trade.
        error: Why it is refused.
    """

    intent: Intent | None = None
    staged: Staged | None = None
    error: CtosError | None = None

    @property
    def sendable(self) -> bool:
        """Return whether Enter may send it."""
        return self.error is None and self.staged is not None and not self.staged.decision.refused

    @property
    def preview(self) -> Spans:
        """Return the preview line."""
        if isinstance(self.error, GrammarError):
            return tuple(explain_spans(self.error))
        if self.error is not None:
            return (("✗ ", "danger"), (str(self.error), "danger"))
        if self.staged is not None:
            return self.staged.preview
        return ()


def read_line(line: str, desk: Desk) -> Reading:
    """Return what a line means against the desk of now."""
    try:
        intent = parse(line)
    except CtosError as error:
        return Reading(error=error)
    if not isinstance(intent, (*STAGEABLE, CancelOrders)):
        return Reading(intent)
    try:
        return Reading(intent, resolve(intent, desk))
    except CtosError as error:
        return Reading(intent, error=error)


class Prompt(msgspec.Struct):
    """The prompt line.

    Attributes:
        edit: What is typed.
        label: What stands before it when it asks for something.
        chosen: Which completion is marked.
        staged_line: The line that Enter has staged; empty while it is edited.
        on_answer: Takes the answer of a question.
        dropped: Why the last Enter was not taken; empty once something else is typed.
    """

    mode: PromptMode = PromptMode.CLOSED
    edit: LineEdit = msgspec.field(default_factory=LineEdit)
    label: str = ""
    chosen: int = 0
    staged_line: str = ""
    on_answer: Callable[[str], None] | None = None
    completion: Completion | None = None
    dropped: str = ""

    @property
    def is_open(self) -> bool:
        """Return whether keys go to the prompt."""
        return self.mode is not PromptMode.CLOSED

    def open(self, text: str = "") -> None:
        """Open it for a command."""
        self._reset(PromptMode.LINE, "", text)

    def ask(self, label: str, on_answer: Callable[[str], None], text: str = "") -> None:
        """Open it for the answer to a question."""
        self._reset(PromptMode.ASK, label, text)
        self.on_answer = on_answer

    def confirm(self, label: str, on_answer: Callable[[str], None]) -> None:
        """Open it for what must be typed before an order is sent."""
        self._reset(PromptMode.CONFIRM, label, "")
        self.on_answer = on_answer

    def close(self) -> None:
        """Close it; nothing is sent."""
        self._reset(PromptMode.CLOSED, "", "")

    def _reset(self, mode: PromptMode, label: str, text: str) -> None:
        self.mode, self.label, self.chosen, self.staged_line = mode, label, 0, ""
        self.on_answer, self.completion, self.dropped = None, None, ""
        self.edit.set(text)

    def edited(self) -> None:
        """Take back what stood on the old text."""
        self.staged_line, self.chosen, self.completion, self.dropped = "", 0, None, ""

    def complete(self, desk: Desk, vocabulary: Vocabulary) -> Completion:
        """Return what could stand at the cursor; kept until the text changes."""
        if self.completion is None:
            self.completion = completion.complete(self.edit.text, self.edit.at, desk, vocabulary)
            self.chosen = min(self.chosen, max(0, len(self.completion.candidates) - 1))
        return self.completion

    def accept(self) -> bool:
        """Put the marked completion in; returns whether there was one."""
        offered = self.completion
        if offered is None or not offered.candidates:
            return False
        text = offered.accept(self.edit.text, self.chosen)
        tail = len(self.edit.text) - offered.end
        self.edit.set(text)
        self.edit.at = max(0, len(text) - tail) if tail else len(text)
        self.edited()
        return True

    def next(self) -> None:
        """Mark the next completion."""
        if self.completion is not None and self.completion.candidates:
            self.chosen = (self.chosen + 1) % len(self.completion.candidates)
