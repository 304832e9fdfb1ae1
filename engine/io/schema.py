"""Tables of the state database and how an older file becomes a current one.

Imported only when a file must be made or migrated: a current file is opened without this module's library.
"""

from __future__ import annotations

import sqlite3

from sqlite_utils import Database, Migrations

migrations = Migrations("ctos")


@migrations()
def m001_journal(db: Database) -> None:
    """Create the journal, its checkpoints and the set of booked executions."""
    db.table("journal").create(
        {"seq": int, "ts_ns": int, "kind": str, "account": str, "body": bytes},
        pk="seq",
        not_null={"ts_ns", "kind", "account", "body"},
    )
    db.table("journal").create_index(["account", "seq"])
    db.table("fills").create(
        {"venue": str, "account": str, "symbol": str, "trade_id": str, "seq": int},
        pk=("venue", "account", "symbol", "trade_id"),
        not_null={"seq"},
    )
    db.table("fills").create_index(["seq"], unique=True)
    db.table("checkpoints").create({"account": str, "seq": int, "body": bytes}, pk="account", not_null={"seq", "body"})


@migrations()
def m002_values(db: Database) -> None:
    """Create the tables of values by name."""
    for table in ("strategy_state", "paper_state", "anomalies", "notes", "settings"):
        db.table(table).create({"key": str, "value": bytes}, pk="key", not_null={"value"})


@migrations()
def m003_venue_state(db: Database) -> None:
    """Create the table of what drivers must not forget: bans, ids that were used, symbols that were traded."""
    db.table("venue_state").create({"key": str, "value": bytes}, pk="key", not_null={"value"})


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring the tables of an open database up to date and stamp it with the schema version."""
    migrations.apply(Database(connection, execute_plugins=False))
    connection.execute(f"PRAGMA user_version = {version}")
