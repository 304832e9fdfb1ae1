"""Opening the state database: checked, current, durable."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from engine.io.files import PRIVATE_FILE, make_private_dir
from engine.kernel.errors import JournalError

SCHEMA_VERSION = 3
BUSY_TIMEOUT_S = 2.0


class JournalDamaged(JournalError):
    """The file is not what it should be; only `ctos-tui recover` helps."""


def open_database(path: Path) -> sqlite3.Connection:
    """Open or create the state database for writing.

    Every commit reaches the disk before it returns (write-ahead log, synchronous FULL).

    Raises:
        JournalError: The file is damaged, of a newer version, locked, or cannot be written; the message says what to
            do. The file is left as it is.
    """
    make_private_dir(path.parent)
    new = _create(path)
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=128
        )
        if not new:
            _check_version(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        _bring_up_to_date(connection, path)
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise journal_error(path, error) from error
    except BaseException:
        if connection is not None:
            connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a second, read-only connection to the database; one thread at a time may use it."""
    try:
        return sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise journal_error(path, error) from error


def journal_error(path: Path, error: sqlite3.Error | MemoryError) -> JournalError:
    """Return SQLite's error, or that it found no memory, as ours with the remedy."""
    if isinstance(error, MemoryError):
        return JournalError(f"journal {path}: out of memory: end other programs, then re-arm", code="SQLITE_NOMEM")
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        remedy = "the disk is full; free space, then re-arm"
    elif name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        remedy = f"it cannot be written; run: chmod u+rw {path} {path.parent}"
    elif name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        remedy = "another program holds it; close that program (a backup, a database shell) and try again"
    elif name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return damaged(path, str(error))
    elif name.startswith("SQLITE_IOERR"):
        remedy = "the disk reports an error; check the disk, then start again"
    else:
        remedy = "start again; keep the file if it happens twice"
    return JournalError(f"journal {path}: {error}: {remedy}", code=name)


def _create(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE))
    except FileExistsError:
        if not path.is_file():
            raise JournalError(f"journal {path} is not a file; move it away and start again") from None
        if path.stat().st_size == 0:
            raise damaged(path, "the file is empty") from None
        return False
    except OSError as error:
        raise JournalError(
            f"journal {path} cannot be made: {error.strerror}; choose another folder with --config"
        ) from error
    return True


def check_pages(connection: sqlite3.Connection, path: Path) -> None:
    """Look at every page of the file: a second for each gigabyte, more when the disk is slow.

    Raises:
        JournalError: A page is damaged, or cannot be read.
    """
    try:
        verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        raise journal_error(path, error) from error
    if verdict != "ok":
        raise damaged(path, " ".join(verdict.split("\n")[-1:]))


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise JournalError(
            f"journal {path} was written by a newer version (schema {version}, this program knows {SCHEMA_VERSION}); "
            "install the newer version, or choose another folder with --config"
        )


def _bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version == SCHEMA_VERSION:
        return
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if version == 0 and tables and "_sqlite_migrations" not in tables:
        raise JournalError(
            f"{path} is a database of another program; move it away, or choose another folder with --config"
        )
    check_pages(connection, path)  # before anything in an older file is changed
    from engine.io.schema import migrate

    migrate(connection, SCHEMA_VERSION)


def damaged(path: Path, detail: str) -> JournalDamaged:
    """Return the error of a file that is not what it should be, with the remedy."""
    return JournalDamaged(
        f"journal {path} is damaged: {detail.splitlines()[0]}; it is left as it is. Begin a new one with: ctos-tui "
        "recover (it keeps this file, and says what is fetched from the venue again and what is lost)"
    )
