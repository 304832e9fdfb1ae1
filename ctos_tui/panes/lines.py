"""The lines that never scroll away: preview, prompt, tabs, and the list of completions over them."""

from __future__ import annotations

from typing import ClassVar, Protocol, cast

from ctos_tui.command.desk import Desk
from ctos_tui.command.preview import SEPARATOR
from ctos_tui.command.words import GrammarError
from ctos_tui.host import Host
from ctos_tui.keymap import display
from ctos_tui.panes.base import Pane
from ctos_tui.panes.cells import Row, Span, Spans, fit, spans_width
from ctos_tui.panes.wrap import wrapped
from ctos_tui.prompt import Prompt, PromptMode, Reading
from ctos_tui.session import Note
from ctos_tui.text import width
from engine.kernel.errors import CtosError

CARET = "▏"


class LineHost(Host, Protocol):
    """What the fixed lines read of the console."""

    prompt: Prompt
    link_status: str
    lag_ms: float

    @property
    def context(self) -> str:
        """Return the context of keys now."""

    def reading(self) -> Reading | None:
        """Return what the typed line means now."""

    def desk(self) -> Desk:
        """Return the desk of this moment."""

    def ticket_preview(self) -> Spans:
        """Return the preview of the staged order."""

    def card_hint(self) -> Spans:
        """Return what the open card says, nothing when none is open."""

    def tab_names(self) -> tuple[tuple[str, ...], str]:
        """Return the panes that share the largest place, and the one in front."""

    def preview_needs(self, lines: int) -> None:
        """Make room for so many lines of preview."""


class FixedLine(Pane):
    """One line that is always there."""

    FILL = "status_bg"
    EMPTY = ""
    can_focus = False

    @property
    def lines_host(self) -> LineHost:
        """Return the console."""
        return cast(LineHost, self.app)

    def show_line(self, spans: Spans) -> None:
        """Show one line, cut to the width."""
        self.set_rows((Row("line", fit(spans, self.row_width)),))


class PreviewLine(FixedLine):
    """What Enter would do; while nothing is staged, the keys of the pane.

    A long preview grows upwards over the panes, so that its verdict is never cut off; so does a note that is too long
    for the prompt's line.
    """

    HZ = 10
    FILL = "panel"
    MOST: ClassVar[int] = 5

    def pull(self) -> None:
        """Show the preview of now."""
        host = self.lines_host
        prompt, note = host.prompt, self.session.current_note()
        if prompt.is_open and prompt.mode is PromptMode.LINE:
            self._show_wrapped(self._of_line(host.reading(), prompt))
        elif hint := host.card_hint():
            self._show_wrapped((*hint, SEPARATOR, *self._keys()))
        elif host.ticket is not None:
            self._show_wrapped((*host.ticket_preview(), *self._staged_keys()))
        elif not prompt.is_open and note is not None and _is_long(note, self.row_width):
            self._show_wrapped(((note.text, note.level),))
        else:
            self._show_wrapped(self._keys())

    def _show_wrapped(self, spans: Spans) -> None:
        lines = wrapped(spans, self.row_width, self.MOST)
        self.lines_host.preview_needs(len(lines))
        self.set_rows([Row(f"line {number}", line) for number, line in enumerate(lines)])

    def _staged_keys(self) -> Spans:
        host = self.lines_host
        if host.prompt.is_open or host.ticket is None:
            return ()
        keymap = self.host.keymap
        send, drop = keymap.label("ticket.send"), keymap.label("ticket.drop")
        drops: Spans = ((drop, "key"), (" drops", "dim"))
        staged = host.ticket.staged(host.desk())
        if isinstance(staged, CtosError) or staged.decision.refused:
            return (SEPARATOR, *drops)
        goes_on = " asks  " if staged.confirm else " sends  "
        return (SEPARATOR, (send, "key"), (goes_on, "dim"), *drops)

    def _of_line(self, reading: Reading | None, prompt: Prompt) -> Spans:
        note = self.session.current_note()
        if reading is None or not prompt.edit.text.strip():
            return (("type a command: buy 500$ btc @ best · flat btc · run dyn_grid · help", "dim"),)
        if prompt.dropped:
            return ((f"{prompt.dropped}: press Enter again", "warn"), SEPARATOR, *reading.preview)
        if reading.sendable and prompt.staged_line and prompt.staged_line == prompt.edit.text:
            send = self.host.keymap.label("prompt.submit")
            return (*reading.preview, SEPARATOR, (send, "key"), (" sends", "dim"))
        if reading.error is None and not reading.preview:
            return (("⏎ ", "key"), (str(reading.intent), "text"))
        if note is not None and note.level == "danger":
            return ((note.text, note.level),)
        # What is still being typed is not yet wrong.
        unfinished = isinstance(reading.error, GrammarError) and reading.error.end >= len(prompt.edit.text.rstrip())
        if unfinished:
            return tuple((text, "label" if role == "danger" else role) for text, role in reading.preview)
        return reading.preview

    def _keys(self) -> Spans:
        """Return the keys of the pane, from the action table."""
        host = self.host
        spans: list[Span] = []
        context = self.lines_host.context
        for chord, action in host.keymap.bindings(context).items():
            if context not in action.contexts or action.id.startswith("rows.") or action.id in _PLAIN:
                continue
            if chord != host.keymap.keys[action.id][0]:
                continue
            piece: list[Span] = [(display(chord), "key"), (f" {action.title}  ", "dim")]
            if spans_width((*spans, *piece)) > self.row_width:
                break
            spans += piece
        return tuple(spans)


_PLAIN = ("ladder.up", "ladder.down", "ladder.page_up", "ladder.page_down")
_GLOBAL_HINTS = ("prompt.open", "help", "palette", "arm.toggle", "jump", "zoom", "panic", "quit")
_DISPENSABLE_HINTS = ("zoom", "jump", "palette")


class PromptLine(FixedLine):
    """Where lines are typed; while it is closed, notes and the keys that work everywhere."""

    HZ = 10

    def pull(self) -> None:
        """Show the prompt of now."""
        prompt = self.lines_host.prompt
        if prompt.is_open:
            self.show_line(self._typing(prompt))
            return
        note = self.session.current_note()
        if note is not None and not (_is_long(note, self.row_width) and self.lines_host.ticket is None):
            self.show_line((("› ", "dim"), (note.text, note.level)))
            return
        self.show_line(self._hints())

    def _typing(self, prompt: Prompt) -> Spans:
        if prompt.mode is PromptMode.LINE:
            lead: list[Span] = [(": ", "prompt")]
        else:
            role = "warn" if prompt.mode is PromptMode.CONFIRM else "prompt"
            lead = [(f"{prompt.label}: ", role)]
        text, at = prompt.edit.text, prompt.edit.at
        room = max(4, self.row_width - spans_width(lead) - 2)
        start = max(0, at - room)
        error = None
        if prompt.mode is PromptMode.LINE:
            reading = self.lines_host.reading()
            error = reading.error if reading is not None else None
        spans = [*lead, *_marked(text, start, at, error)]
        ghost = prompt.completion.ghost if prompt.completion is not None and at == len(text) else ""
        if ghost and prompt.chosen == 0:
            spans.append((ghost, "ghost"))
        return tuple(spans)

    def _hints(self) -> Spans:
        """Return the keys that work everywhere, as many as fit; the first to go are those one can do without."""
        keymap = self.host.keymap
        hints: dict[str, Spans] = {}
        for action_id in _GLOBAL_HINTS:
            label = keymap.label(action_id)
            chord = keymap.keys[action_id][0] if label else ""
            found = keymap.lookup(chord, self.lines_host.context) if label else None
            if found is not None and found.id == action_id:
                role = "danger" if action_id == "panic" else "key"
                gap = "  " if hints else ""
                hints[action_id] = ((gap + label, role), (f" {keymap.actions[action_id].title}", "dim"))
        for action_id in _DISPENSABLE_HINTS:
            if sum(spans_width(spans) for spans in hints.values()) > self.row_width:
                hints.pop(action_id, None)
        return tuple(span for spans in hints.values() for span in spans)


def _is_long(note: Note, cells: int) -> bool:
    """Return whether a note does not fit into the prompt's line."""
    return width(note.text) + 2 > cells


def _marked(text: str, start: int, at: int, error: CtosError | None) -> list[Span]:
    """Return the typed text with the cursor, and what is wrong in it marked."""
    first = getattr(error, "start", None)
    last = getattr(error, "end", None)
    spans: list[Span] = []
    for index in range(start, len(text)):
        if index == at:
            spans.append((CARET, "accent"))
        # The word that is being typed is not yet wrong.
        wrong = first is not None and last is not None and first <= index < last < len(text.rstrip())
        role = "danger" if wrong else "bright"
        if spans and spans[-1][1] == role:
            spans[-1] = (spans[-1][0] + text[index], role)
        else:
            spans.append((text[index], role))
    if at >= len(text):
        spans.append((CARET, "accent"))
    return spans


class TabStrip(FixedLine):
    """The panes that share one place, with their keys; the one in front is bright."""

    HZ = 2

    def pull(self) -> None:
        """Show the tabs of now."""
        names, front = self.lines_host.tab_names()
        keymap = self.host.keymap
        spans: list[Span] = []
        order = list(keymap.actions)
        for name in sorted(names, key=lambda name: order.index(f"pane.{name}")):
            key = keymap.label(f"pane.{name}")
            if name == front:
                spans += [(f" {key} {name} ", "focus")]
            else:
                spans += [(f" {key}", "key"), (f" {name[:4]}" if self.row_width > 60 else "", "dim")]
        self.show_line(tuple(spans))


class CompletionList(Pane):
    """What could be typed next, over the preview line."""

    FILL = "panel"
    EMPTY = ""
    HZ = 10
    can_focus = False
    MOST: ClassVar[int] = 8

    def pull(self) -> None:
        """Show the candidates of now."""
        prompt = cast(LineHost, self.app).prompt
        offered = prompt.completion
        if not prompt.is_open or offered is None:
            self.set_rows(())
            return
        names = max((len(candidate.text) for candidate in offered.candidates), default=0)
        cells = min(max(12, names), 28)
        rows = []
        for index, candidate in enumerate(offered.candidates):
            chosen = index == prompt.chosen
            spans: Spans = (
                ("▸ " if chosen else "  ", "accent"),
                (candidate.text.ljust(cells), "bright" if chosen else "text"),
                (f"  {candidate.note}", "label"),
            )
            rows.append(Row(index, fit(spans, self.row_width), "selection" if chosen else ""))
        self.set_rows(rows)
