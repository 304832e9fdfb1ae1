"""Files that grow by whole lines and are put aside by day or by size."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import msgspec

from engine.io.files import PRIVATE_FILE, make_private_dir, sync_dir
from engine.io.writer import WriterThread
from engine.kernel.clock import Clock, TimerHandle
from engine.kernel.errors import CtosError

FLUSH_ROWS = 200
FLUSH_S = 3.0
MOST_WAITING = 5000

_DAY_IN_LINE = re.compile(rb'"ts":"(\d{4}-\d\d-\d\d)')
_DAY_IN_NAME = re.compile(r"\.(\d{4}-\d\d-\d\d)(?:\.\d+)?$")


class DailyRotation(msgspec.Struct, frozen=True):
    """A new file for each UTC day of the lines' `ts`; the old ones get the day as suffix and are kept `days` days."""

    days: int

    def split(self, path: Path, lines: list[bytes]) -> list[list[bytes]]:
        """Return the lines in groups that belong to one file each, putting the present file aside when it is old."""
        groups: list[list[bytes]] = []
        last = ""
        for line in lines:
            day = _day(line)
            if not groups or day != last:
                groups.append([])
                last = day
            groups[-1].append(line)
        return groups

    def make_room(self, path: Path, lines: list[bytes]) -> None:
        """Put the file aside when its lines are of another day, and delete what is too old."""
        written = _first_day(path)
        day = _day(lines[0])
        if not written or not day or written == day:
            return
        os.replace(path, free_name(path, written))
        oldest = date.fromisoformat(day) - timedelta(days=self.days)
        for old in path.parent.glob(f"{path.name}.*"):
            found = _DAY_IN_NAME.search(old.name)
            if found and date.fromisoformat(found[1]) < oldest:
                old.unlink()


class SizeRotation(msgspec.Struct, frozen=True):
    """A new file when the present one would exceed `size` bytes; `files` are kept in all."""

    size: int
    files: int

    def split(self, path: Path, lines: list[bytes]) -> list[list[bytes]]:
        """Return the lines in groups of at most the size of one file."""
        groups: list[list[bytes]] = [[]]
        room = self.size
        for line in lines:
            if len(line) > room and groups[-1]:
                groups.append([])
                room = self.size
            groups[-1].append(line)
            room -= len(line)
        return groups

    def make_room(self, path: Path, lines: list[bytes]) -> None:
        """Put the file aside when these lines do not fit."""
        if not path.exists() or path.stat().st_size + sum(map(len, lines)) <= self.size:
            return
        for number in range(self.files - 1, 0, -1):
            newer = path if number == 1 else path.with_name(f"{path.name}.{number - 1}")
            if newer.exists():
                os.replace(newer, path.with_name(f"{path.name}.{number}"))


class LineFile:
    """Appends lines to a file, through the writer thread, flushed to the disk every 200 lines or 3 s.

    When the disk refuses, the error is reported once and the newest 5000 lines wait for the next attempt.

    Args:
        path: The file.
        rotation: When a new one begins.
        clock: Whose timers are used.
        writer: Does the writing.
        on_error: Called with the first of a row of failures.
    """

    def __init__(
        self,
        path: Path,
        rotation: DailyRotation | SizeRotation,
        clock: Clock,
        writer: WriterThread,
        on_error: Callable[[CtosError], object] | None = None,
    ) -> None:
        self.path = path
        self._rotation = rotation
        self._clock = clock
        self._writer = writer
        self._on_error = on_error
        self._lines: list[bytes] = []
        self._waiting: deque[bytes] = deque(maxlen=MOST_WAITING)
        self._timer: TimerHandle | None = None
        self._failing = False
        self._closed = False

    def info(self, line: str) -> None:
        """Add one line; line ends inside it are not allowed to make two of it. After `close` it goes nowhere."""
        if self._closed:
            return
        self._lines.append(line.replace("\n", " ").encode("utf-8", "backslashreplace") + b"\n")
        if len(self._lines) >= FLUSH_ROWS:
            self.flush()
        elif self._timer is None:
            self._timer = self._clock.call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Hand the collected lines to the writer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        if lines or self._failing:
            self._writer.submit(lambda: self._append(lines), self._succeeded, self._failed)

    def close(self) -> None:
        """Write what is left and take no more."""
        self.flush()
        self._closed = True

    def _append(self, lines: list[bytes]) -> None:
        """Write lines in the writer thread, those first that failed before."""
        self._waiting.extend(lines)
        make_private_dir(self.path.parent)
        for group in self._rotation.split(self.path, list(self._waiting)):
            self._rotation.make_room(self.path, group)
            append_durably(self.path, b"".join(group))
            for _ in group:
                self._waiting.popleft()

    def _succeeded(self) -> None:
        self._failing = False

    def _failed(self, error: CtosError) -> None:
        first, self._failing = not self._failing, True
        if first and self._on_error is not None:
            self._on_error(error)


def append_durably(path: Path, content: bytes) -> None:
    """Append to a file, which must be no link, and flush it to the disk; all or nothing.

    Raises:
        OSError: The disk refused.
    """
    is_new = not path.exists()
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, PRIVATE_FILE)
    try:
        before = os.fstat(descriptor).st_size
        try:
            written = os.write(descriptor, content)
            while written < len(content):
                written += os.write(descriptor, content[written:])
            os.fsync(descriptor)
        except OSError:
            # A part of a line must not stay: the whole group is written again later.
            os.ftruncate(descriptor, before)
            raise
    finally:
        os.close(descriptor)
    if is_new:
        sync_dir(path.parent)


def _day(line: bytes) -> str:
    found = _DAY_IN_LINE.search(line)
    return found[1].decode() if found else ""


def _first_day(path: Path) -> str:
    """Return the day of a file's first line, nothing when there is no such file or line."""
    try:
        with path.open("rb") as file:
            return _day(file.read(64))
    except FileNotFoundError:
        return ""


def free_name(path: Path, suffix: str) -> Path:
    """Return a name that no file has: `path.suffix`, else `path.suffix.1` and so on."""
    name = path.with_name(f"{path.name}.{suffix}")
    number = 0
    while name.exists():
        number += 1
        name = path.with_name(f"{path.name}.{suffix}.{number}")
    return name
