"""What waits for the disk, and how it is written: many records and values in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from engine.io.writer import Call

ROWS_A_STATEMENT = 100


class Row(msgspec.Struct, frozen=True):
    """A journal record on its way to the disk; `fill` is its key among executions."""

    values: tuple[int, int, str, str, bytes]
    fill: tuple[str, str, str, str, int] | None
    on_durable: Call | None


class Statement(msgspec.Struct, frozen=True):
    """A change of one value, in order with the records; in one transaction the last change of a slot is enough."""

    slot: tuple[str, str]
    sql: str
    values: tuple[object, ...]
    on_durable: Call | None


class Conflict(msgspec.Struct, frozen=True):
    """An execution that came again under its id with other content than the first."""

    row: Row
    first_body: bytes


def write_batch(connection: sqlite3.Connection, batch: Sequence[Row | Statement]) -> list[Conflict]:
    """Write everything in one transaction, or nothing; return executions that contradict earlier ones.

    Raises:
        sqlite3.Error: Nothing was written.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        rows = [change for change in batch if isinstance(change, Row)]
        _write_rows(connection, rows)
        conflicts = _write_fills(connection, [row for row in rows if row.fill is not None])
        latest = {change.slot: change for change in batch if isinstance(change, Statement)}
        for change in latest.values():
            connection.execute(change.sql, change.values)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return conflicts


def _write_rows(connection: sqlite3.Connection, rows: list[Row]) -> None:
    """Insert records, many in one statement: SQLite hands the interpreter back once a statement, not once a row."""
    for start in range(0, len(rows), ROWS_A_STATEMENT):
        chunk = rows[start : start + ROWS_A_STATEMENT]
        places = ",".join(["(?,?,?,?,?)"] * len(chunk))
        values = [value for row in chunk for value in row.values]
        connection.execute(f"INSERT INTO journal VALUES {places}", values)


def _write_fills(connection: sqlite3.Connection, rows: list[Row]) -> list[Conflict]:
    if not rows:
        return []
    sql = "INSERT OR IGNORE INTO fills (venue, account, symbol, trade_id, seq) VALUES (?, ?, ?, ?, ?)"
    cursor = connection.executemany(sql, [row.fill or () for row in rows])
    if cursor.rowcount == len(rows):
        return []
    sql = (
        "SELECT journal.seq, journal.body FROM fills JOIN journal ON journal.seq = fills.seq "
        "WHERE fills.venue = ? AND fills.account = ? AND fills.symbol = ? AND fills.trade_id = ?"
    )
    conflicts = []
    for row in rows:
        first_seq, first_body = connection.execute(sql, (row.fill or ())[:4]).fetchone()
        if first_seq != row.values[0] and first_body != row.values[4]:
            conflicts.append(Conflict(row, first_body))
    return conflicts
