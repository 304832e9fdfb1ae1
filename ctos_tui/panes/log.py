"""The log: follows its end, or stands still while it is read."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from ctos_tui.feed import LogEntry
from ctos_tui.numbers import utc_time
from ctos_tui.panes.base import Actions, Pane
from ctos_tui.panes.cells import Row, Span

LEVELS = ("debug", "info", "warn", "error")
_ROLES = {"debug": "dim", "info": "text", "warn": "warn", "error": "danger"}
_WORDS = {"warn": "WARN ", "error": "ERROR "}


class Log(Pane):
    """Lines of the engine, the strategies and the console."""

    TITLE = "LOG"
    CONTEXT = "log"
    EMPTY = "nothing was said yet"
    TAIL = True
    HZ = 4

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._filter = ""
        self._level = 1
        self._seen: tuple[object, ...] = ()
        self._last = 0
        self._rows: list[Row] = []

    def pull(self) -> None:
        """Show new lines."""
        log = self.host.feed.log
        newest = log[-1].number if log else 0
        seen = (newest, self._filter, self._level)
        if seen != self._seen:
            if self._seen[1:] == seen[1:]:
                fresh = [entry for entry in _newer(log, self._last) if self._wanted(entry)]
                self._rows = (self._rows + [self._row(entry) for entry in fresh])[-len(log) :]
            else:
                self._rows = [self._row(entry) for entry in log if self._wanted(entry)]
            self._seen, self._last = seen, newest
        info: list[Span] = []
        if self._filter:
            info.append((f"/{self._filter}", "accent"))
        if self._level != 1:
            info.append((f"from {LEVELS[self._level]}", "accent"))
        if not self.view.following and len(self._rows) > self.view.body:
            info.append(("frozen, f follows", "warn"))
        self.set_rows(self._rows, tuple(info))

    def find_row(self, rows: Sequence[Row], key: Hashable) -> int | None:
        """Find a line by its number; the last ones are looked at first."""
        for index in range(len(rows) - 1, -1, -1):
            if rows[index].key == key:
                return index
        return None

    def _wanted(self, entry: LogEntry) -> bool:
        level = LEVELS.index(entry.level) if entry.level in LEVELS else 1
        return level >= self._level and self._filter in f"{entry.source} {entry.text}".lower()

    def _row(self, entry: LogEntry) -> Row:
        role = _ROLES.get(entry.level, "text")
        spans: list[Span] = [(utc_time(entry.ts_ms), "dim"), (" ", "text"), (entry.source, "accent"), (" ", "text")]
        if entry.level in _WORDS:
            spans.append((_WORDS[entry.level], role))
        return Row(entry.number, (*spans, (entry.text, role)))

    def actions(self) -> Actions:
        """Return what the log does."""
        return self.row_actions() | {
            "log.filter": lambda: self.host.ask("show lines that hold", self._set_filter, self._filter),
            "log.follow": self._follow,
            "log.open": self._open,
            "log.level": self._next_level,
        }

    def _set_filter(self, text: str) -> None:
        self._filter = text.strip().lower()
        self.pull()

    def _open(self) -> None:
        row = self.selected
        if row is None:
            self.nothing_selected("line")
            return
        from ctos_tui.screens.details import LogLineDetail

        entry = next((entry for entry in reversed(self.host.feed.log) if entry.number == row.key), None)
        if entry is not None:
            self.host.open_card(LogLineDetail(entry))

    def _follow(self) -> None:
        if self.view.following:
            self.view.following = False
            self.session.say("log frozen: f follows again", log=False)
        else:
            self.view.deselect()
            self.view.following = True
        self.pull()

    def _next_level(self) -> None:
        self._level = (self._level + 1) % len(LEVELS)
        self.session.say(f"log from level {LEVELS[self._level]}", log=False)
        self.pull()


def _newer(log: Sequence[LogEntry], number: int) -> list[LogEntry]:
    fresh = []
    for index in range(len(log) - 1, -1, -1):
        if log[index].number <= number:
            break
        fresh.append(log[index])
    return fresh[::-1]
