"""Opening the state database: checked, current, durable."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from engine.io.files import PRIVATE_FILE, make_private_dir
from engine.kernel.errors import JournalError

SCHEMA_VERSION = 3
BUSY_TIMEOUT_S = 2.0

_SQLITE_NOTADB = 26


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
            _check(connection, path)
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
    """Open a second, read-only connection to the database."""
    try:
        return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)
    except sqlite3.Error as error:
        raise journal_error(path, error) from error


def journal_error(path: Path, error: sqlite3.Error) -> JournalError:
    """Return SQLite's error as ours, with the remedy."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        remedy = "the disk is full; free space, then re-arm"
    elif name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        remedy = f"it cannot be written; run: chmod u+rw {path} {path.parent}"
    elif name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        remedy = "another program holds it; close that program (a backup, a database shell) and try again"
    elif name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return _damaged(path, str(error))
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
            raise _damaged(path, "the file is empty") from None
        return False
    except OSError as error:
        raise JournalError(
            f"journal {path} cannot be made: {error.strerror}; choose another folder with --config"
        ) from error
    return True


def _check(connection: sqlite3.Connection, path: Path) -> None:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise JournalError(
            f"journal {path} was written by a newer version (schema {version}, this program knows {SCHEMA_VERSION}); "
            "install the newer version, or choose another folder with --config"
        )
    verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    if verdict != "ok":
        raise _damaged(path, verdict)


def _bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version == SCHEMA_VERSION:
        return
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if version == 0 and tables and "_sqlite_migrations" not in tables:
        raise JournalError(
            f"{path} is a database of another program; move it away, or choose another folder with --config"
        )
    from engine.io.schema import migrate

    migrate(connection, SCHEMA_VERSION)


def _damaged(path: Path, detail: str) -> JournalError:
    aside = path.parent / "damaged"
    return JournalError(
        f"journal {path} is damaged: {detail.splitlines()[0]}; it is left as it is. Keep it for inspection and start "
        f"anew with: mkdir {aside} && mv {path}* {aside} (orders, fills and positions are fetched from the venue "
        "again; the paper account begins anew)"
    )
