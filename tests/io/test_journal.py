"""The journal: durable in order, found whole after a kill, honest when the disk refuses."""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from engine.io.database import journal_error
from engine.io.journal import Journal, JournalRecord
from engine.io.writer import WriterThread
from engine.kernel.errors import JournalError

ACCOUNT = "paper:paper"


def fill(trade_id: str, price: str = "100") -> dict[str, str]:
    return {"symbol": "BTC-USDT-PERP", "trade_id": trade_id, "price": price}


def raise_error(error: Exception) -> None:
    raise error


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ctos.db"


def open_journal(path: Path, **options: object) -> Journal:
    return Journal(path, WriterThread(None, raise_error), ballast_bytes=0, **options)  # type: ignore[arg-type]


def test_records_come_back_in_order_with_decimals_as_text(path: Path) -> None:
    with_error: list[object] = []
    journal = open_journal(path, on_error=with_error.append)
    for number in range(5):
        seq = journal.append("INTENT", ACCOUNT, number, {"price": Decimal("0.10"), "number": number})
        assert seq == number + 1
    journal.append("INTENT", "paper:other", 9, {})
    journal.close()

    journal = open_journal(path)
    assert journal.last_seq == 6
    records = list(journal.records(ACCOUNT, after_seq=3))
    assert records[0] == JournalRecord(4, 3, "INTENT", ACCOUNT, {"price": "0.10", "number": 3})
    assert [record.seq for record in records] == [4, 5]
    journal.close()
    assert with_error == []


def test_an_execution_is_replayed_once_and_a_different_one_under_its_id_is_reported(path: Path) -> None:
    conflicts: list[tuple[int, str]] = []
    journal = open_journal(path, on_conflict=lambda record, first: conflicts.append((record.seq, first["price"])))
    journal.append("FILL", ACCOUNT, 1, fill("t1"))
    journal.append("FILL", ACCOUNT, 2, fill("t1"))
    journal.append("FILL", ACCOUNT, 3, fill("t2"))
    journal.flush()
    assert conflicts == []
    journal.append("FILL", ACCOUNT, 4, fill("t1", price="101"))
    journal.append("FILL", "paper:other", 5, fill("t1"))
    assert [record.seq for record in journal.records(ACCOUNT)] == [1, 3]
    assert conflicts == [(4, "100")]
    journal.close()


def test_checkpoints_and_values_replace_the_ones_before(path: Path) -> None:
    journal = open_journal(path)
    assert journal.load_checkpoint(ACCOUNT) is None
    assert journal.get("settings", "install") is None
    journal.save_checkpoint(ACCOUNT, 4, {"cash": Decimal("1.5")})
    journal.save_checkpoint(ACCOUNT, 9, {"cash": Decimal("2.5")})
    journal.put("settings", "install", b"\x00AAAA")
    journal.put("strategy_state", "g1", b"1")
    journal.put("strategy_state", "g1", b"2")
    journal.put("strategy_state", "g2", b"3")
    journal.delete("strategy_state", "g2")
    journal.close()

    journal = open_journal(path)
    assert journal.load_checkpoint(ACCOUNT) == (9, {"cash": "2.5"})
    assert journal.get("settings", "install") == b"\x00AAAA"
    assert journal.items("strategy_state") == [("g1", b"2")]
    journal.close()


def test_a_synchronous_journal_answers_at_once_and_in_order(path: Path) -> None:
    journal = open_journal(path)
    seen: list[int] = []
    for number in range(3):
        journal.append("INTENT", ACCOUNT, number, {}, lambda number=number: seen.append(number))  # type: ignore[misc]
        assert seen[-1] == number
    journal.close()


async def test_durable_calls_come_on_the_loop_after_the_commit(path: Path) -> None:
    writer = WriterThread(asyncio.get_running_loop(), raise_error)
    journal = Journal(path, writer, ballast_bytes=0)
    done = asyncio.Event()
    seen: list[int] = []

    def durable(number: int) -> None:
        rows = sqlite3.connect(path).execute("SELECT count(*) FROM journal").fetchone()[0]
        assert rows >= number
        seen.append(number)
        if number == 200:
            done.set()

    for number in range(1, 201):
        journal.append("INTENT", ACCOUNT, number, {}, lambda number=number: durable(number))  # type: ignore[misc]
    assert seen == []
    await asyncio.wait_for(done.wait(), 10)
    assert seen == list(range(1, 201))
    journal.close()
    writer.close()


CHILD = """
import asyncio, sys
from pathlib import Path
from engine.io.database import journal_error
from engine.io.journal import Journal
from engine.io.writer import WriterThread

async def main():
    writer = WriterThread(asyncio.get_running_loop(), print)
    journal = Journal(Path(sys.argv[1]), writer, ballast_bytes=0)
    number = 0
    while True:
        number += 1
        body = {"symbol": "BTC-USDT-PERP", "trade_id": str(number)}
        journal.append("FILL", "paper:paper", number, body, lambda n=number: sys.stdout.write(f"{n}\\n"))
        if number % 7 == 0:
            sys.stdout.flush()
            await asyncio.sleep(0.001)
asyncio.run(main())
"""


@pytest.mark.parametrize("after", [1, 40, 400, 1500])
def test_no_acknowledged_record_is_lost_by_kill_9(path: Path, after: int) -> None:
    root = Path(__file__).resolve().parents[2]
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, cwd=root, text=True)
    assert child.stdout is not None
    acknowledged = 0
    while acknowledged < after:
        acknowledged = int(child.stdout.readline())
    child.send_signal(signal.SIGKILL)
    rest = [line for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    child.wait()
    acknowledged = int(rest[-1]) if rest else acknowledged

    journal = open_journal(path)
    found = [int(record.body["trade_id"]) for record in journal.records(ACCOUNT)]
    journal.close()
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= acknowledged


def test_d01_a_full_disk_is_reported_once_and_heals(path: Path) -> None:
    errors: list[JournalError] = []
    journal = open_journal(path, on_error=errors.append)
    journal.flush()
    pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
    journal._connection.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(400):
        journal.append("STATUS", ACCOUNT, number, {"text": "x" * 100})
    with pytest.raises(JournalError, match="disk is full"):
        journal.flush()
    with pytest.raises(JournalError, match="disk is full"):
        journal.append("INTENT", ACCOUNT, 1, {}, lambda: None)
    journal.append("STATUS", ACCOUNT, 500, {"text": "a cancel passes"})
    journal.put("notes", "order", b"first")
    journal.put("notes", "order", b"second")
    with pytest.raises(JournalError):
        journal.flush()
    assert len(errors) == 1

    journal._connection.execute("PRAGMA max_page_count = 100000")
    journal.flush()
    assert journal.failed is None
    assert len(list(journal.records(ACCOUNT))) == 401
    assert journal.get("notes", "order") == b"second"
    journal.close()


def test_the_ballast_lets_the_last_records_fit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[JournalError] = []
    journal = Journal(path, WriterThread(None, raise_error), errors.append, ballast_bytes=4096)
    journal.flush()
    assert (path.parent / "ballast").stat().st_size == 4096
    real = journal._transaction

    def refuse_while_ballast(batch: list[object]) -> list[object]:
        if (path.parent / "ballast").exists():
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorname = "SQLITE_FULL"
            raise error
        return real(batch)  # type: ignore[arg-type, return-value]

    monkeypatch.setattr(journal, "_transaction", refuse_while_ballast)
    journal.append("INTENT", ACCOUNT, 1, {})
    journal.flush()
    assert [error.code for error in errors] == ["SQLITE_FULL"]
    assert journal.failed is None
    assert len(list(journal.records(ACCOUNT))) == 1
    journal.close()


def test_d04_a_damaged_file_is_refused_and_kept(path: Path) -> None:
    journal = open_journal(path)
    for number in range(2000):
        journal.append("STATUS", ACCOUNT, number, {"text": "x" * 50})
    journal.close()
    content = bytearray(path.read_bytes())
    for offset in range(8192, len(content), 4096):
        content[offset : offset + 64] = b"\xff" * 64
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"damaged: .*Page.*ctos-tui recover"):
        open_journal(path)
    assert path.read_bytes() == bytes(content)


@pytest.mark.parametrize("content", [b"", b"this is not a database at all" * 100])
def test_d04_a_wrong_or_empty_file_is_refused_and_kept(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(JournalError, match="damaged"):
        open_journal(path)
    assert path.read_bytes() == content


def test_p18_d04_other_programs_and_newer_versions_are_refused(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (a)")
    connection.commit()
    with pytest.raises(JournalError, match="another program"):
        open_journal(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(JournalError, match="newer version"):
        open_journal(path)


def test_a_folder_in_place_of_the_file_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(JournalError, match="not a file"):
        open_journal(path)


def test_another_writer_delays_but_loses_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.io.database.BUSY_TIMEOUT_S", 0.01)
    errors: list[JournalError] = []
    journal = open_journal(path, on_error=errors.append)
    journal.flush()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    journal.append("INTENT", ACCOUNT, 1, {})
    with pytest.raises(JournalError, match="another program holds it"):
        journal.flush()
    other.execute("COMMIT")
    other.close()
    journal.flush()
    assert len(errors) == 1
    assert [record.seq for record in journal.records(ACCOUNT)] == [1]
    journal.close()


def test_the_files_are_private(path: Path) -> None:
    journal = open_journal(path)
    journal.append("INTENT", ACCOUNT, 1, {})
    journal.flush()
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    assert path.parent.stat().st_mode & 0o077 == 0
    journal.close()


def test_a_closed_journal_says_so(path: Path) -> None:
    journal = open_journal(path)
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        journal.append("INTENT", ACCOUNT, 1, {})


def test_p18_an_older_schema_is_brought_up_to_date(path: Path) -> None:
    from sqlite_utils import Database

    from engine.io.schema import migrations

    path.parent.mkdir()
    connection = sqlite3.connect(path)
    migrations.apply(Database(connection), stop_before="m002_values")
    connection.execute("INSERT INTO journal VALUES (7, 1, 'INTENT', 'paper:paper', '{}')")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    journal = open_journal(path)
    assert journal.last_seq == 7
    journal.put("notes", "a", b"b")
    assert journal.get("notes", "a") == b"b"
    journal.close()


async def test_a_failing_thread_is_told_once_and_no_order_goes_out(path: Path) -> None:
    loop = asyncio.get_running_loop()
    told: asyncio.Queue[JournalError] = asyncio.Queue()
    writer = WriterThread(loop, raise_error)
    journal = Journal(path, writer, told.put_nowait, ballast_bytes=0)
    pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
    journal._connection.execute(f"PRAGMA max_page_count = {pages}")
    sent: list[int] = []
    for number in range(300):
        journal.append("INTENT", ACCOUNT, number, {"text": "x" * 200}, lambda: sent.append(1))
    error = await asyncio.wait_for(told.get(), 10)
    assert "disk is full" in str(error) and journal.failed is error and sent == []
    for number in range(5):
        journal.append("STATUS", ACCOUNT, number, {})
        writer.wait()
    await asyncio.sleep(0)
    assert told.empty()
    with pytest.raises(JournalError, match="disk is full"):
        journal.close()
    writer.close()


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("SQLITE_FULL", "free space"),
        ("SQLITE_READONLY_DIRECTORY", "chmod u\\+rw"),
        ("SQLITE_CANTOPEN", "chmod u\\+rw"),
        ("SQLITE_BUSY", "close that program"),
        ("SQLITE_IOERR_FSYNC", "check the disk"),
        ("SQLITE_CORRUPT", "ctos-tui recover"),
        ("SQLITE_MISUSE", "start again"),
    ],
)
def test_every_error_of_the_database_names_a_remedy(path: Path, name: str, remedy: str) -> None:
    error = sqlite3.OperationalError("words of sqlite")
    error.sqlite_errorname = name
    typed = journal_error(path, error)
    assert str(path) in str(typed) and "words of sqlite" in str(typed)
    assert re.search(remedy, str(typed))
