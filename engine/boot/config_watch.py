"""Notices that somebody changed the files which a running system has read, and says what the next start makes of them.

A running system keeps what it has read: limits and keys never change under orders that work. A file is judged when it
has stood unchanged from one look to the next, so that one that is being written is not taken for wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.boot.choosing import find_entry
from engine.boot.trading import Choice
from engine.io.writer import Call, WriterThread
from engine.kernel.clock import Clock, TimerHandle
from engine.kernel.errors import CtosError

LOOK_EVERY_S = 3.0
GOES_ON = "this program goes on with what it has read"

Stamp = tuple[int, int, int] | None


class ConfigWatch:
    """Looks at `ctos.yaml` and `accounts.yaml` every 3 s, in the writer thread.

    Args:
        choice: What was read.
        clock: Whose timers are used.
        writer: Does the looking.
        say: Takes a line for the operator and its level.
    """

    def __init__(self, choice: Choice, clock: Clock, writer: WriterThread, say: Callable[[str, str], object]) -> None:
        self._choice = choice
        self._clock = clock
        self._writer = writer
        self._say = say
        self._files = (choice.paths.config_file, choice.paths.accounts_file)
        self._known = self._newest = self._stamps()
        self._timer: TimerHandle | None = None

    def start(self) -> None:
        """Begin looking."""
        self._timer = self._clock.call_later(LOOK_EVERY_S, self._look)

    def stop(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self.start()
        self._writer.submit(self._find)

    def _stamps(self) -> dict[Path, Stamp]:
        return {path: _stamp(path) for path in self._files}

    def _find(self) -> list[Call] | None:
        """Look, in the writer thread; judge what has come to rest."""
        before, self._newest = self._newest, self._stamps()
        if self._newest == self._known or self._newest != before:
            return None
        changed = [str(path) for path in self._files if self._newest[path] != self._known[path]]
        self._known = self._newest
        text, level = self._judge(" and ".join(changed))
        return [lambda: self._say(text, level)]

    def _judge(self, changed: str) -> tuple[str, str]:
        choice = self._choice
        try:
            _, config, _, entry = find_entry(choice.options)
        except CtosError as error:
            return f"{changed} changed and cannot be used; {GOES_ON}, but it would not start again: {error}", "error"
        if config == choice.config and entry == choice.entry:
            return f"{changed} changed, and says what this program has read", "info"
        return f"{changed} changed; {GOES_ON}: start it again to use the new settings", "warn"


def _stamp(path: Path) -> Stamp:
    """Return what tells one state of a file from another; None when it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None  # it is not there, or cannot be reached: reading it says why
    return status.st_ino, status.st_size, status.st_mtime_ns
