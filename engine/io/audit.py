"""The audit of one account: who did what that only a person may do, each record bound to the one before by its hash.

One JSON line is one record. `hash` is the SHA-256 of the record without it, as compact JSON with sorted keys; `prev`
is the hash of the record before, zeros in the first. A line that is changed, removed or inserted breaks the chain;
lines cut off at the end show against the last record that the journal remembers.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from engine.io.files import make_private_dir, sync_dir
from engine.io.line_file import append_durably, free_name
from engine.io.logs import escape_unseen, iso_time
from engine.io.secrets import Redactor
from engine.io.writer import Call, WriterThread
from engine.kernel.clock import Clock
from engine.kernel.errors import CtosError, StorageError

FIRST_PREV = "0" * 64
MOST_WAITING = 5000
MOST_TEXT = 4000

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Record(NamedTuple):
    """Where a chain ends: the number and hash of a record."""

    seq: int = 0
    hash: str = FIRST_PREV


class BrokenChain(StorageError):
    """An audit file is not what was written; the message names file and line.

    Args:
        path: The file.
        line: The first bad line, counted from 1.
        fault: What is wrong with it.
    """

    def __init__(self, path: Path, line: int, fault: str) -> None:
        super().__init__(f"{path}, line {line}: {fault}")
        self.line = line
        self.fault = fault


def audit_path(logs: Path, exchange: str, account_id: int) -> Path:
    """Return where the audit of an account is."""
    return logs / f"{exchange}_Account{account_id}_audit.log"


def audit_note(path: Path) -> str:
    """Return the name under which the journal's notes remember the last record of an audit file."""
    return f"audit/{path.name}"


def verify(path: Path, anchor: Record | None = None) -> Record:
    """Check a whole audit file and return its last record; no file is a chain without records.

    Args:
        path: The file.
        anchor: A record that was certainly written.

    Raises:
        BrokenChain: It was changed, or is not complete.
        StorageError: It cannot be read.
    """
    last, number = Record(), 0
    reached = anchor is None or anchor.seq == 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                last = _next(path, number, line, last)
                reached = reached or last == anchor
    except FileNotFoundError:
        number = 0
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    if not reached and anchor is not None:
        if anchor.seq <= last.seq:
            raise BrokenChain(path, anchor.seq, "it is not the record that the journal remembers")
        raise BrokenChain(path, number + 1, f"the records up to {anchor.seq}, which the journal remembers, are missing")
    return last


def _next(path: Path, number: int, line: bytes, last: Record) -> Record:
    """Return the record of a line that goes on from the one before."""
    if not line.endswith(b"\n"):
        raise BrokenChain(path, number, "the line is cut off")
    try:
        body = _decode(line)
        found = body.pop("hash")
        seq, prev = body["seq"], body["prev"]
        expected = hashlib.sha256(_encode(body)).hexdigest()
    except (ValueError, KeyError, RecursionError) as error:
        raise BrokenChain(path, number, f"it is no record of the audit: {error}") from error
    if found != expected:
        raise BrokenChain(path, number, "it was changed: its hash does not match")
    if prev != last.hash or seq != last.seq + 1:
        raise BrokenChain(path, number, f"it does not follow record {last.seq}: lines were removed, added or moved")
    return Record(seq, found)


class AuditLog:
    """Appends to the audit of one account; every record is on the disk before the next one is written.

    A broken chain is kept aside under another name, and a new one begins whose first record names it.

    Args:
        path: The file.
        clock: Gives the times: real ones.
        writer: Does the writing.
        redactor: Masks secrets.
        on_written: Told of each record that is on the disk, so that it can be remembered elsewhere.
        on_broken: Told in words when the file is not what was written.
        on_error: Called once when the file cannot be written; the records wait for the next attempt.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        writer: WriterThread,
        redactor: Redactor,
        on_written: Callable[[Record], object],
        on_broken: Callable[[str], object],
        on_error: Callable[[CtosError], object],
    ) -> None:
        self.path = path
        self._clock = clock
        self._writer = writer
        self._redactor = redactor
        self._on_written = on_written
        self._on_broken = on_broken
        self._on_error = on_error
        self._anchor: Record | None = None
        self._is_open = False
        self._last = Record()
        self._waiting: deque[dict[str, Any]] = deque(maxlen=MOST_WAITING)
        self._failing = False

    def open(self, anchor: Record | None) -> None:
        """Check what earlier runs wrote; to be called before the first `write`.

        Args:
            anchor: The last record that is remembered elsewhere; None for none.
        """
        self._anchor = anchor
        self._writer.submit(self._flush, self._succeeded, self._failed)

    def write(self, who: str, act: str, details: Mapping[str, Any]) -> None:
        """Append a record.

        Args:
            who: The person, process or part of the engine.
            act: What was done.
            details: More about it; everything but text is written as JSON in text.
        """
        body = {
            "ts": iso_time(self._clock.wall_ns()),
            "who": self._clean(who),
            "act": act,
            "details": {key: self._clean(value) for key, value in details.items() if value not in (None, "")},
        }
        self._writer.submit(lambda: self._append(body), self._succeeded, self._failed)

    def _clean(self, value: Any) -> str:
        text = value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=str).decode()
        return self._redactor.clean(text.encode("utf-8", "backslashreplace").decode())[:MOST_TEXT]

    def _append(self, body: dict[str, Any]) -> list[Call]:
        self._waiting.append(body)
        return self._flush()

    def _flush(self) -> list[Call]:
        """Write what waits, in the writer thread; the first time, check what is there before."""
        told: list[Call] = []
        if not self._is_open:
            make_private_dir(self.path.parent)
            try:
                self._last = verify(self.path, self._anchor)
            except BrokenChain as error:
                told.append(self._begin_anew(str(error)))
            self._is_open = True
        while self._waiting:
            record = {**self._waiting[0], "seq": self._last.seq + 1, "prev": self._last.hash}
            digest = hashlib.sha256(_encode(record)).hexdigest()
            line = escape_unseen(_encode({**record, "hash": digest}).decode())
            append_durably(self.path, line.encode() + b"\n")
            self._waiting.popleft()
            self._last = Record(self._last.seq + 1, digest)
            told.append(partial(self._on_written, self._last))
        return told

    def _begin_anew(self, fault: str) -> Call:
        """Put a broken file aside and let the new one name it."""
        aside, kept = "", ""
        if self.path.exists():
            old = free_name(self.path, "broken")
            os.replace(self.path, old)
            sync_dir(self.path.parent)
            aside, kept = old.name, f"; it is kept as {old.name}"
        details = {"after": aside, "fault": fault}
        ts = iso_time(self._clock.wall_ns())
        self._waiting.appendleft({"ts": ts, "who": "engine", "act": "chain_begun", "details": details})
        return lambda: self._on_broken(f"the audit is broken: {fault}{kept}; a new chain has begun")

    def _succeeded(self) -> None:
        self._failing = False

    def _failed(self, error: CtosError) -> None:
        first, self._failing = not self._failing, True
        if first:
            self._on_error(error)
