"""A state database that is damaged is put aside, and a new one takes over what must not be forgotten.

Orders, ledgers and strategies begin anew: their truth is at the venue. What a venue cannot tell is carried over as far
as it can be read: the installation's name and the numbers of client ids, bans, ids that stand for ours, the operator's
notes, and the paper venue, which is its own truth.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import msgspec

from engine.io.database import journal_error, open_database, open_reader
from engine.io.files import make_private_dir, sync_dir
from engine.kernel.errors import StorageError

CARRIED = ("settings", "venue_state", "notes", "paper_state")
_PARTS = ("", "-wal", "-shm")
_INSTALLATION = "installation"
_SEQUENCE = "client_sequence:"
_LEAP = 1_000_000
"""Numbers of client ids that are left out: the damaged file may have given out more than it could tell."""


class Recovery(msgspec.Struct, frozen=True):
    """What was done: where the damaged file is now, and how much of it could be carried over and how much not."""

    aside: Path
    carried: int
    unreadable: tuple[str, ...]


def begin_anew(path: Path, stamp: str) -> Recovery:
    """Put a state database aside and begin a new one; the caller holds the lock of its folder.

    Args:
        path: The database.
        stamp: Names the folder below `damaged/` beside it that takes the old file.

    Raises:
        StorageError: There is no database, or its folder cannot be written.
    """
    if not path.exists():
        raise StorageError(f"there is no journal at {path}: nothing to recover")
    aside = path.parent / "damaged" / stamp
    make_private_dir(aside)
    try:
        for part in _PARTS:
            old = path.with_name(path.name + part)
            if old.exists():
                os.replace(old, aside / old.name)
        sync_dir(aside)
        sync_dir(path.parent)
    except OSError as error:
        raise StorageError(f"{path} cannot be moved to {aside}: {error.strerror}") from error
    values, unreadable = _read_values(aside / path.name)
    connection = open_database(path)
    try:
        connection.execute("BEGIN IMMEDIATE")
        for table, key, value in values:
            kept = _leap(value) if key.startswith(_SEQUENCE) else value
            connection.execute(f"INSERT OR REPLACE INTO {table} (key, value) VALUES (?, ?)", (key, kept))
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise journal_error(path, error) from error
    finally:
        connection.close()
    return Recovery(aside, len(values), unreadable)


def _read_values(path: Path) -> tuple[list[tuple[str, str, bytes]], tuple[str, ...]]:
    """Return what can be read of the carried tables, and the names of those that broke off."""
    values: list[tuple[str, str, bytes]] = []
    broken = []
    reader = open_reader(path)
    try:
        for table in CARRIED:
            try:
                for key, value in reader.execute(f"SELECT key, value FROM {table}"):
                    if isinstance(key, str) and isinstance(value, bytes) and _is_sound(table, key, value):
                        values.append((table, key, value))
            except sqlite3.Error:
                broken.append(table)  # told to the operator
    finally:
        reader.close()
    return values, tuple(broken)


def _is_sound(table: str, key: str, value: bytes) -> bool:
    """Return whether a value can be what the program wrote; one that is not would only stop the next start."""
    if table == "settings":
        return value.isalnum() and (key != _INSTALLATION or len(value) == 2)
    try:
        msgspec.json.decode(value)
    except msgspec.DecodeError:
        return table == "notes"
    return True


def _leap(value: bytes) -> bytes:
    """Return the next free number of client ids, far beyond what was saved; anew when it is no number."""
    return str((int(value) if value.isdigit() else 0) + _LEAP).encode()
