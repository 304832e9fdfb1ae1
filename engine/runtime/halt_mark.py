"""Sees to it that a halt outlives the program when the journal cannot keep it: a file in the state folder.

`KILL` halts every account, `KILL.` with an account's name only that one. The file says who halted when and why. Its
presence alone halts the next start; an empty one counts as well. So does one that appears while the program runs: it is
looked for every second, for whoever cannot reach the program in another way. Only `rearm` removes it, once the journal
has that on the disk; what was for every account stays for the others, each under its own name.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable
from functools import partial
from hashlib import sha256
from pathlib import Path

import msgspec

from engine.io.files import PRIVATE_FILE, json_bytes, sync_dir, write_atomic
from engine.io.logs import iso_time
from engine.io.writer import WriterThread
from engine.kernel.clock import TimerHandle, wall_time_ns
from engine.kernel.errors import CtosError, StorageError
from engine.runtime.execution import ExecutionEngine
from engine.runtime.trading_state import TradingMode

NAME = "KILL"
LOOK_S = 1.0
_NAME_CHARS = 80

Identity = tuple[int, int]
"""Tells one file of this name from a later one: inode and time of change."""


class HaltNote(msgspec.Struct, frozen=True):
    """What the file says; `account` is its key in the journal, `when` UTC."""

    account: str = ""
    who: str = ""
    when: str = ""
    why: str = ""


def mark_path(folder: Path, account: str = "") -> Path:
    """Return where the file of an account, by its key in the journal, is; without one, that of every account."""
    if not account:
        return folder / NAME
    legible = re.sub(r"[^\w@:.=-]", "_", account)[:_NAME_CHARS]
    return folder / f"{NAME}.{legible}.{sha256(account.encode()).hexdigest()[:8]}"


def leave_mark(folder: Path, who: str, why: str, account: str = "") -> Path:
    """Leave the file for the program that runs on a state folder, if it does not answer, and for the next start.

    Args:
        folder: The state folder.
        who: Who halts.
        why: In words.
        account: Key of the account that is meant; without one every account is.

    Raises:
        StorageError: The file cannot be made.
    """
    path = mark_path(folder, account)
    _write(path, HaltNote(account, who, iso_time(wall_time_ns()), why))
    return path


class HaltMark:
    """Keeps the file of one account's engine, and heeds that of every account.

    Args:
        engine: The account's engine; a halt and a rearm of it are followed from now on.
        writer: Writes and removes the file.
        folder: The state folder.
        known: Returns the keys of the accounts that a file for every account goes on halting; called in the writer.

    Attributes:
        path: The account's own file.
        common: The file for every account.
    """

    def __init__(
        self,
        engine: ExecutionEngine,
        writer: WriterThread,
        folder: Path,
        known: Callable[[], Iterable[str]] = lambda: (),
    ) -> None:
        self.path = mark_path(folder, engine.account.key)
        self.common = mark_path(folder)
        self._engine = engine
        self._writer = writer
        self._known = known
        self._written = False
        self._seen: dict[Path, Identity | None] = {}
        self._timer: TimerHandle | None = None
        engine.on_halt.insert(0, self._on_halt)
        engine.on_rearm.append(self._on_rearm)

    def restore(self) -> None:
        """Halt when an earlier run, or a person, left the file; to be called once the engine has started.

        Raises:
            StorageError: It is there and cannot be read.
        """
        engine = self._engine
        for path in (self.path, self.common):
            note = _read(path)
            if note is None:
                continue
            self._seen[path] = _identity(path)
            by = f"{note.who} at {note.when}: {note.why}" if note.who else "somebody"
            engine.say(f"{path} was left by {by}; the account comes up halted until it is rearmed", "error")
            if engine.trading.mode is not TradingMode.HALTED:
                engine.panic_switch.halt(note.who or NAME, f"{note.why or 'the file was there at the start'} ({path})")

    def watch(self) -> None:
        """Begin to look for a file that somebody else leaves, and halt when there is one."""
        self._timer = self._engine.clock.call_later(LOOK_S, self._look)

    def _look(self) -> None:
        self.watch()
        self._writer.submit(self._find)

    def _find(self) -> list[Callable[[], object]]:
        """Look in the writer thread."""
        appeared: list[Callable[[], object]] = []
        for path in (self.path, self.common):
            found = _identity(path)
            if found is None or found == self._seen.get(path):
                continue
            note = _read(path)
            if note is not None:
                appeared.append(partial(self._appeared, path, found, note))
        return appeared

    def _appeared(self, path: Path, found: Identity, note: HaltNote) -> None:
        if found == self._seen.get(path):
            return  # a person has released that halt since the file was looked at
        self._seen[path] = found
        if self._engine.trading.mode is not TradingMode.HALTED:
            self._engine.panic_switch.halt(note.who or NAME, f"{note.why or 'the file appeared'} ({path})")

    def close(self) -> None:
        """Make good at the end of the program for a halt that the journal could not take even then.

        Raises:
            StorageError: The file cannot be made.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_missing():
            _write(self.path, self._note())
            self._written = True

    def _on_halt(self, reason: str) -> None:
        if self._is_missing():
            self._written = True
            note = self._note()
            self._writer.submit(lambda: _write(self.path, note), on_error=self._not_written)

    def _is_missing(self) -> bool:
        """Return whether the journal fails under a halt, and the file does not say so yet."""
        engine = self._engine
        return engine.journal.failed is not None and engine.trading.mode is TradingMode.HALTED and not self._written

    def _note(self) -> HaltNote:
        status = self._engine.trading.status
        return HaltNote(self._engine.account.key, status.who, iso_time(status.since_ns), status.reason)

    def _not_written(self, error: CtosError) -> None:
        self._written = False
        text = f"the halt could not be kept anywhere: {error}; this program stays halted, the next start may not be"
        self._engine.core.alarm("halt_not_kept", text, severity="CRIT")

    def _on_rearm(self, who: str, reason: str) -> None:
        """Remove the files when the journal has on the disk that a person released the halt."""
        self._written = False
        engine = self._engine
        try:
            self._seen = {path: _identity(path) for path in (self.path, self.common)}
        except StorageError as error:
            self._not_removed(error)
            return
        if not any(self._seen.values()):
            return
        status = engine.trading.status
        body = msgspec.json.encode(HaltNote(engine.account.key, who, iso_time(status.since_ns), reason))
        engine.journal.put("notes", f"{engine.account.key}/rearm", body, self._remove)

    def _remove(self) -> None:
        if self._writer.is_synchronous:
            # Such a journal says that a record is durable before it is.
            self._engine.journal.flush()
        if not self._written:
            self._writer.submit(self._unlink_all, on_error=self._not_removed)

    def _unlink_all(self) -> list[Callable[[], object]]:
        """Remove, in the writer thread, the files that were there when the halt was released."""
        if self._is_as_seen(self.path):
            _unlink(self.path)
        if not self._is_as_seen(self.common):
            return []
        others = self._pass_on()
        _unlink(self.common)
        text = f"{self.common} was for every account: {', '.join(others)} comes up halted until it is rearmed as well"
        return [lambda: self._engine.say(text, "warn")] if others else []

    def _is_as_seen(self, path: Path) -> bool:
        found = _identity(path)
        return found is not None and found == self._seen.get(path)

    def _pass_on(self) -> list[str]:
        """Leave what is for every account to each of the others under its own name; return their keys."""
        note = _read(self.common) or HaltNote()
        others = sorted({*self._known(), note.account} - {"", self._engine.account.key})
        for account in others:
            path = mark_path(self.common.parent, account)
            if _identity(path) is None:
                _write(path, HaltNote(account, note.who, note.when, note.why))
        return others

    def _not_removed(self, error: CtosError) -> None:
        self._engine.core.alarm("halt_not_kept", f"{error}; the next start comes up halted while it is there")


def _read(path: Path) -> HaltNote | None:
    """Return what a file says, None when there is none; one that says nothing readable is a halt all the same."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _failure(path, "read", error) from error
    try:
        return msgspec.json.decode(content, type=HaltNote)
    except msgspec.DecodeError:
        return HaltNote()


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
        sync_dir(path.parent)
    except OSError as error:
        raise _failure(path, "removed", error) from error


def _write(path: Path, note: HaltNote) -> None:
    """Write the file; where the disk takes no content, its name alone must do."""
    try:
        write_atomic(path, json_bytes(note))
    except OSError as full:
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, PRIVATE_FILE))
            sync_dir(path.parent)
        except OSError as error:
            raise _failure(path, "made", error) from full


def _identity(path: Path) -> Identity | None:
    """Return which file of this name is there; None when there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _failure(path, "looked for", error) from error
    return status.st_ino, status.st_mtime_ns


def _failure(path: Path, done: str, error: OSError) -> StorageError:
    why = error.strerror or errno.errorcode.get(error.errno or 0, str(error))
    return StorageError(f"{path} cannot be {done}: {why}")
