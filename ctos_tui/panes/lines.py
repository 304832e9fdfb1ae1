"""The lines that never scroll away: status, preview, prompt, and the list of completions over them."""

from __future__ import annotations

from typing import ClassVar, Protocol, cast

from ctos_tui.command.desk import Desk
from ctos_tui.command.preview import SEPARATOR
from ctos_tui.command.words import GrammarError
from ctos_tui.host import Host
from ctos_tui.keymap import display
from ctos_tui.numbers import UNKNOWN, fixed, money, percent, pnl, utc_time
from ctos_tui.panes.base import Pane
from ctos_tui.panes.cells import Row, Span, Spans, fit, spans_width
from ctos_tui.panes.describe import short_symbol, signed_role
from ctos_tui.panes.wrap import wrapped
from ctos_tui.prompt import Prompt, PromptMode, Reading
from ctos_tui.session import Note
from ctos_tui.text import ellipsis, width
from engine.kernel.anomaly import Severity
from engine.kernel.clock import NS_PER_MS
from engine.kernel.errors import CtosError
from engine.runtime.trading_state import TradingMode

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


_TROUBLE_CELLS = (1000, 24, 0)
_GAP = 2
_MARK, _LINK = 3, 7
_LINK_CELLS = 3
_LEAST_REASON, _REASON = 12, 28
_STATE_ROLES = {"HALTED": "halted", "ARMED": "armed", "REDUCE-ONLY": "reduce_only"}


class StatusLine(FixedLine):
    """Who, where, armed or not, what it is worth, how it does."""

    HZ = 2

    def pull(self) -> None:
        """Show the status of now."""
        clock: Span = (utc_time(self.host.port.now_ns() // NS_PER_MS) + "Z", "label")
        room = self.row_width - spans_width((clock,)) - 2
        for words in _TROUBLE_CELLS:
            parts = self._parts(words, room)
            if sum(spans_width(spans) + _GAP for _, spans in parts) <= room + _GAP:
                break
        parts = _chosen(parts, room)
        if not any(priority in (_MARK, _LINK) for priority, _ in parts):
            # How old the newest price is goes before the mark that all is well.
            parts = _chosen(self._parts(words, room, with_age=False), room)
        line: list[Span] = []
        for _, spans in parts:
            if line:
                line.append(("  ", "text"))
            line.extend(spans)
        shown = fit(tuple(line), max(0, room)) if room > 8 else fit(tuple(line), self.row_width)
        gap = self.row_width - spans_width(shown) - spans_width((clock,))
        self.show_line((*shown, (" " * gap, "text"), clock) if gap > 0 else shown)

    def _parts(self, trouble_cells: int, room: int, with_age: bool = True) -> list[tuple[int, Spans]]:
        """Return pieces of the line, each with its priority: 0 stays, the highest goes first.

        Args:
            trouble_cells: Room for the words of each trouble; with none its name alone stays, whatever else goes.
            room: Cells of the whole line.
            with_age: Whether the age of the newest price stands beside the mark of a good link.
        """
        port, session = self.host.port, self.session
        account, figures = port.account, port.figures()
        mode: Span = (f" {session.mode_word} ", "live" if session.is_live else "paper")
        label = session.state_word()
        role = _STATE_ROLES.get(label.partition(" ")[0], "disarmed")
        quote = port.account.default_quote
        leverage = UNKNOWN if figures.leverage is None else f"{fixed(figures.leverage, 1)}×"
        day = figures.day_profit
        share = day / (figures.equity - day) if day is not None and figures.equity and figures.equity != day else None
        # Whether trading is armed is the second word of the line already.
        trouble = [part for part in port.health() if part.level != "good" and part.name != "trading"]
        name = account.name if account.name == account.venue else f"{account.venue}·{account.name}"
        active = [row for row in port.anomalies() if row.active]
        # What blocks entries stays in sight until it is over, seen or not.
        grave = sum(1 for row in active if row.severity == Severity.CRIT)
        fresh = sum(1 for row in active if row.severity != Severity.CRIT and not row.acknowledged)
        lag = self.lines_host.lag_ms
        age_ms = port.age_ms(session.focus) if session.focus else None
        parts: list[tuple[int, Spans]] = [
            (0, (mode, (f" {label} ", role))),
            (0, ((f"{name}#{account.index}", "text"),)),
            (4, ((short_symbol(session.focus, quote) if session.focus else "starting …", "bright"),)),
            (5, (("eq ", "label"), (money(figures.equity), "bright"))),
            (8, (("day ", "label"), (pnl(day), signed_role(day)))),
            (9, ((percent(share), signed_role(share)),)),
            (10, (("lev ", "label"), (leverage, "text"))),
        ]
        if not session.is_live:
            # Whose market a paper account trades on is part of what it is; an invented one is not.
            parts.insert(2, (6 if port.market_label.startswith("live") else 12, ((port.market_label, "dim"),)))
        if trouble and trouble_cells:
            told = ((f"● {part.name} {ellipsis(part.text, trouble_cells)} ", part.level) for part in trouble[:2])
            parts.append((1, tuple(told)))
        elif trouble:
            parts += [(min(at, 1), ((f"●{part.name}", part.level),)) for at, part in enumerate(trouble[:3])]
        else:
            age = "" if age_ms is None or not with_age else f" {min(age_ms, 9999)}ms"
            parts.append((_LINK if age else _MARK, (("●", "good"), (age, "dim"))))
        parts.append((11, ((f"lag {lag:.0f}ms {self.lines_host.link_status}", "dim"),)))
        if grave:
            parts.append((0, ((f"✗{grave} CRIT", "danger"),)))
        if fresh:
            parts.append((1, ((f"▲{fresh}", "warn"),)))
        # Why not everything passes, shortened to what the marks leave; the market may go for it.
        status = port.trading()
        reason, role = session.arming.halted, "danger"
        if not reason and status.mode is TradingMode.REDUCE_ONLY:
            reason, role = status.cause, "warn"
        beside = sum(spans_width(spans) + _GAP for priority, spans in parts if priority <= 1)
        cells = min(room - beside - _LINK_CELLS, max(room // 3, _REASON))
        if reason and cells >= min(_LEAST_REASON, width(reason)):
            parts.insert(1, (2, ((ellipsis(reason, cells), role),)))
        return parts


def _chosen(parts: list[tuple[int, Spans]], room: int) -> list[tuple[int, Spans]]:
    """Return the pieces that fit, the lowest priorities first, in their order on the line."""
    kept: set[int] = set()
    room += _GAP
    for index in sorted(range(len(parts)), key=lambda index: (parts[index][0], index)):
        priority, spans = parts[index]
        cells = spans_width(spans) + _GAP
        if priority and cells > room:
            break
        room -= cells
        kept.add(index)
    return [part for index, part in enumerate(parts) if index in kept]


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
