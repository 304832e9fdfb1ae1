"""The journal: every intent, outcome and execution in order, durable before it is acted upon.

Records collect in memory and are committed together, many in one flush to the disk, by the writer thread. A record's
`on_durable` is called, on the loop and in order, once its transaction is on the disk. With a synchronous writer there
is no venue outside this process: `on_durable` is called at once, and the records, with the simulated venue's own
state among them, are committed together at the next barrier, so that a killed run is found consistent.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from engine.io.database import damaged, journal_error, open_database, open_reader
from engine.io.integrity import IntegrityCheck
from engine.io.journal_batch import Conflict, Row, Statement, write_batch
from engine.io.space import Ballast
from engine.io.writer import Call, WriterThread
from engine.kernel.errors import JournalError, StorageError

FILL = "FILL"
VALUE_TABLES = frozenset({"strategy_state", "paper_state", "anomalies", "notes", "settings", "venue_state"})
_NOT_OF_ONE_RUN = frozenset({"settings", "venue_state"})
BARRIER_RECORDS = 2048
CHECK_WAIT_S = 0.25
"""So long a start waits for the look at the pages of the file; of a large file it goes on in the background."""

DROPPED_AT_ONCE = 40_000
"""So many records are removed in one go: a tenth of a second for the writer thread, and twice what comes meanwhile."""

ORDER_KINDS = ("INTENT", "SENT", "OUTCOME", "STATUS", "ASKED", "DECLINED", "RELEASED", "WORK", "FINISHED", "RECONCILED")
"""Records that nobody needs once their order or work has ended long ago; what moved money is kept for good."""

_BASE = "#base"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def recorded_accounts(path: Path) -> list[str]:
    """Return the accounts in a journal that no engine need have open, the one with the newest record first.

    Raises:
        JournalError: It cannot be read.
    """
    if not path.exists():
        return []
    sql = (  # one step of the index for each account: a journal has millions of records
        "WITH RECURSIVE step(account) AS (SELECT MIN(account) FROM journal UNION ALL "
        "SELECT (SELECT MIN(account) FROM journal WHERE account > step.account) FROM step WHERE account NOT NULL), "
        "newest(account, seq) AS "
        "(SELECT account, (SELECT MAX(seq) FROM journal WHERE account = step.account) FROM step "
        "WHERE account NOT NULL UNION ALL SELECT account, seq FROM checkpoints) "
        "SELECT account FROM newest GROUP BY account ORDER BY MAX(seq) DESC"
    )
    reader = open_reader(path)
    try:
        return [account for (account,) in reader.execute(sql) if not account.endswith(_BASE)]
    except sqlite3.Error as error:
        raise journal_error(path, error) from error
    finally:
        reader.close()


class JournalRecord(msgspec.Struct, frozen=True):
    """One entry; `body` is plain JSON, decimals as text."""

    seq: int
    ts_ns: int
    kind: str
    account: str
    body: dict[str, Any]


class Journal:
    """Appends records and values to the state database.

    Args:
        path: The database file.
        writer: Does the writing; a synchronous one commits in batches.
        on_error: Called once when writing begins to fail, and when the file is found damaged after the start; trading
            must stop then. What could not be written is kept in memory and tried again with the next record.
        on_conflict: Called with (record, first body) when an execution arrives again under its id with other content;
            the first one stays.
        ballast_bytes: Size of the file that is given up when the disk is full, so that the last records fit.

    Attributes:
        failed: The error while the journal cannot be written, else None.

    Raises:
        JournalError: The file is damaged, of a newer version, locked, or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        writer: WriterThread,
        on_error: Callable[[JournalError], object] | None = None,
        on_conflict: Callable[[JournalRecord, dict[str, Any]], object] | None = None,
        ballast_bytes: int = 16 << 20,
    ) -> None:
        self.path = path
        self.failed: JournalError | None = None
        self._writer = writer
        self._on_error = on_error
        self._on_conflict = on_conflict
        self._pending: deque[Row | Statement] = deque()
        self._queued = False
        self._closed = False
        self._connection = open_database(path)
        try:
            self._integrity = IntegrityCheck(path, self._report_damage)
            self._integrity.wait(None if writer.is_synchronous else CHECK_WAIT_S)
            self._last_seq = self._newest_seq()
            self._ballast = Ballast(path.parent, ballast_bytes)
        except BaseException:
            self._connection.close()
            raise

    @property
    def is_being_checked(self) -> bool:
        """Return whether the file's pages are still being looked at: whether it is whole is not known yet."""
        return self._integrity.is_running

    def wait_checked(self, seconds: float) -> None:
        """Block so long, or until the pages of the file have been looked at.

        Raises:
            JournalError: The file is damaged.
        """
        self._integrity.wait(seconds)

    @property
    def damage(self) -> JournalError | None:
        """Return what is wrong with the file's pages, None when nothing is known to be."""
        return self._integrity.error

    @property
    def last_seq(self) -> int:
        """Return the number of the newest record, durable or not."""
        return self._last_seq

    @property
    def backlog(self) -> int:
        """Return how many changes wait for the disk."""
        return len(self._pending)

    def append(self, kind: str, account: str, ts_ns: int, body: object, on_durable: Call | None = None) -> int:
        """Add a record and return its number.

        The body is whatever msgspec encodes as a JSON object, decimals as text; it is encoded at once. That of kind
        FILL is a dictionary with `symbol` and `trade_id`; a second one with the same venue, account, symbol and trade
        id is kept but never replayed.

        Raises:
            JournalError: The journal is closed, or it is failing and somebody waits for this record: nothing that
                needs a durable record may happen now.
        """
        self._check_open()
        if on_durable is not None and self.failed is not None:
            raise self.failed
        self._last_seq = seq = self._last_seq + 1
        fill = None
        if kind == FILL:
            assert isinstance(body, dict)
            fill = (account.partition(":")[0], account, body["symbol"], body["trade_id"], seq)
        self._add(Row((seq, ts_ns, kind, account, _encode(body)), fill, on_durable))
        return seq

    def save_checkpoint(self, account: str, seq: int, body: dict[str, Any]) -> None:
        """Store the state of an account after record `seq`, so that a restart need not replay what came before."""
        sql = "INSERT OR REPLACE INTO checkpoints (account, seq, body) VALUES (?, ?, ?)"
        self._add(Statement(("checkpoints", account), sql, (account, seq, _encode(body)), None))

    def load_checkpoint(self, account: str) -> tuple[int, dict[str, Any]] | None:
        """Return (seq, body) of the newest checkpoint of an account, None without one. Waits for the disk."""
        rows = self._read("SELECT seq, body FROM checkpoints WHERE account = ?", (account,))
        return next(((int(seq), self._decoded(body)) for seq, body in rows), None)

    def save_base(self, account: str, seq: int, body: dict[str, Any]) -> None:
        """Store the state of an account after record `seq`, from which on its records stay complete."""
        self.save_checkpoint(account + _BASE, seq, body)

    def load_base(self, account: str) -> tuple[int, dict[str, Any]] | None:
        """Return (seq, body) of an account's base; None while its records are complete from the first on."""
        return self.load_checkpoint(account + _BASE)

    def drop_orders(self, account: str, until_seq: int) -> None:
        """Remove the oldest records of orders and work up to `until_seq`, so many that the file stops growing."""
        marks = ",".join("?" * len(ORDER_KINDS))
        sql = (
            f"DELETE FROM journal WHERE seq IN (SELECT seq FROM journal WHERE account = ? AND seq <= ? "
            f"AND kind IN ({marks}) ORDER BY seq LIMIT {DROPPED_AT_ONCE})"
        )
        self._add(Statement(("drop", account), sql, (account, until_seq, *ORDER_KINDS), None))

    def records(self, account: str, after_seq: int = 0) -> Iterator[JournalRecord]:
        """Yield an account's records after `after_seq`, oldest first, each execution once. Waits for the disk."""
        sql = (
            "SELECT seq, ts_ns, kind, account, body FROM journal WHERE account = ? AND seq > ? "
            "AND (kind != 'FILL' OR seq IN (SELECT seq FROM fills)) ORDER BY seq"
        )
        for seq, ts_ns, kind, name, body in self._read(sql, (account, after_seq)):
            yield JournalRecord(seq, ts_ns, kind, name, self._decoded(body, seq))

    def accounts(self) -> list[str]:
        """Return the accounts that have records or a stored state. Waits for the disk."""
        sql = "SELECT account FROM checkpoints UNION SELECT DISTINCT account FROM journal ORDER BY 1"
        return [account for (account,) in self._read(sql) if not account.endswith(_BASE)]

    def has_fill(self, account: str, symbol: str, trade_id: str) -> bool:
        """Return whether an execution was ever recorded. Waits for the disk."""
        sql = "SELECT 1 FROM fills WHERE venue = ? AND account = ? AND symbol = ? AND trade_id = ?"
        return any(True for _ in self._read(sql, (account.partition(":")[0], account, symbol, trade_id)))

    def put(self, table: str, key: str, value: bytes, on_durable: Call | None = None) -> None:
        """Store a value under a name, replacing the one before."""
        sql = f"INSERT OR REPLACE INTO {_table(table)} (key, value) VALUES (?, ?)"
        self._add(Statement((table, key), sql, (key, value), on_durable))

    def delete(self, table: str, key: str) -> None:
        """Remove a value; harmless when there is none."""
        self._add(Statement((table, key), f"DELETE FROM {_table(table)} WHERE key = ?", (key,), None))

    def forget(self, account: str) -> None:
        """Remove all records and values of an account, for a fresh start; numbers that were given out stay used.

        Values belong to an account when their name is its key, or begins with it and `/` or `#`. What a venue must not
        forget (a ban, ids that were used) stays.
        """
        for table in ("journal", "checkpoints", "fills"):
            self._add(Statement((table, account), f"DELETE FROM {table} WHERE account = ?", (account,), None))
        sql = "DELETE FROM checkpoints WHERE account = ?"
        self._add(Statement(("checkpoints", account + _BASE), sql, (account + _BASE,), None))
        for table in sorted(VALUE_TABLES - _NOT_OF_ONE_RUN):
            sql = f"DELETE FROM {table} WHERE key = ?1 OR substr(key, 1, length(?1) + 1) IN (?1 || '/', ?1 || '#')"
            self._add(Statement((table, account), sql, (account,), None))

    def get(self, table: str, key: str) -> bytes | None:
        """Return a value, None when there is none. Waits for the disk: for start and tools, not for the hot path."""
        rows = self._read(f"SELECT value FROM {_table(table)} WHERE key = ?", (key,))
        return next((bytes(value) for (value,) in rows), None)

    def items(self, table: str) -> list[tuple[str, bytes]]:
        """Return all values of a table by name. Waits for the disk."""
        rows = self._read(f"SELECT key, value FROM {_table(table)} ORDER BY key")
        return [(key, bytes(value)) for key, value in rows]

    def retry(self) -> None:
        """Try again to write what could not be written, without waiting for the next record; else do nothing."""
        if self.failed is not None and self._pending and not self._queued:
            self._submit()

    def flush(self) -> None:
        """Block until everything appended so far is on the disk; for start, shutdown and barriers.

        Raises:
            JournalError: It could not be written.
        """
        if self._pending:
            self._submit()
        self._writer.wait()
        if self._pending and self.failed is not None:
            raise self.failed

    def close(self) -> None:
        """Write what is left and close the file; harmless when it is closed already.

        Raises:
            JournalError: The last records could not be written.
        """
        if self._closed:
            return
        self._integrity.stop()
        try:
            self.flush()
        finally:
            self._closed = True
            self._connection.close()
            self._ballast.release()

    def _newest_seq(self) -> int:
        try:
            return int(self._connection.execute("SELECT max(seq) FROM journal").fetchone()[0] or 0)
        except sqlite3.Error as error:
            raise journal_error(self.path, error) from error

    def _report_damage(self, error: JournalError) -> None:
        """Tell the loop that the file is damaged; runs in the thread of the check."""
        if not self._writer.is_synchronous:
            with contextlib.suppress(StorageError):  # closed meanwhile: the next start looks again
                self._writer.submit(lambda: [lambda: self._report(error)])

    def _check_open(self) -> None:
        if self._closed:
            raise JournalError(f"journal {self.path} is closed")

    def _add(self, change: Row | Statement) -> None:
        self._check_open()
        self._pending.append(change)
        if self._writer.is_synchronous:
            if change.on_durable is not None:
                change.on_durable()
            if len(self._pending) >= BARRIER_RECORDS:
                self._submit()
        elif not self._queued:
            self._submit()

    def _submit(self) -> None:
        self._queued = True
        self._writer.submit(self._commit)

    def _commit(self) -> Iterable[Call]:
        """Write all pending changes in one transaction; runs in the writer thread."""
        self._queued = False
        pending = self._pending
        batch: list[Row | Statement] = []
        try:
            for _ in range(len(pending)):
                batch.append(pending.popleft())
            if not batch:
                return ()
            conflicts = self._write(batch)
        except (sqlite3.Error, MemoryError) as error:
            pending.extendleft(reversed(batch))
            return self._fail(error)
        self.failed = None
        calls = [] if self._writer.is_synchronous else [change.on_durable for change in batch if change.on_durable]
        return conflicts + calls

    def _write(self, batch: list[Row | Statement]) -> list[Call]:
        try:
            return self._transaction(batch)
        except sqlite3.OperationalError as error:
            full = getattr(error, "sqlite_errorname", "").startswith("SQLITE_FULL")
            if not (full and self._ballast.give_up()):
                raise
            first = journal_error(self.path, error)
        conflicts = self._transaction(batch)
        return [*conflicts, lambda: self._report(first)]

    def _transaction(self, batch: list[Row | Statement]) -> list[Call]:
        return [partial(self._tell_conflict, conflict) for conflict in write_batch(self._connection, batch)]

    def _tell_conflict(self, conflict: Conflict) -> None:
        if self._on_conflict is not None:
            seq, ts_ns, kind, account, body = conflict.row.values
            self._on_conflict(JournalRecord(seq, ts_ns, kind, account, _decode(body)), _decode(conflict.first_body))

    def _fail(self, error: sqlite3.Error | MemoryError) -> list[Call]:
        typed = journal_error(self.path, error)
        typed.__cause__ = error
        begins = self.failed is None
        self.failed = typed
        return [lambda: self._report(typed)] if begins else []

    def _report(self, error: JournalError) -> None:
        if self._on_error is None:
            raise error
        self._on_error(error)

    def _decoded(self, body: bytes, seq: int | None = None) -> dict[str, Any]:
        try:
            return _decode(body)
        except msgspec.MsgspecError as error:
            what = "a stored state" if seq is None else f"record {seq}"
            raise damaged(self.path, f"{what} cannot be read ({error})") from error

    def _read(self, sql: str, values: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        self.flush()
        reader = open_reader(self.path)
        try:
            yield from reader.execute(sql, values)
        except sqlite3.Error as error:
            raise journal_error(self.path, error) from error
        finally:
            reader.close()


def _table(name: str) -> str:
    """Return the name of a table of values, or raise: names never come from outside."""
    if name not in VALUE_TABLES:
        raise ValueError(f"no table of values is called {name!r}; there are {', '.join(sorted(VALUE_TABLES))}")
    return name
