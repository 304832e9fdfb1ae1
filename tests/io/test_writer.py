"""The writer thread, replaced files and the state lock."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from engine.io.files import json_bytes, keep_generations, make_private_dir, read_checked, with_checksum, write_atomic
from engine.io.lock import StateLock
from engine.io.space import CHECK_EVERY_S, Space, SpaceGuard
from engine.io.writer import WriterThread
from engine.kernel.clock import VirtualClock
from engine.kernel.errors import CtosError, StateLocked, StorageError


def fail(error: Exception) -> None:
    raise error


async def test_work_is_done_in_order_elsewhere_and_reported_here() -> None:
    here = threading.get_ident()
    there: list[int] = []
    done: list[tuple[int, int]] = []
    finished = asyncio.Event()
    writer = WriterThread(asyncio.get_running_loop(), fail)
    for number in range(50):
        writer.submit(
            lambda number=number: there.append(threading.get_ident()),
            lambda number=number: done.append((number, threading.get_ident())),
        )
    writer.submit(lambda: [finished.set])
    await asyncio.wait_for(finished.wait(), 10)
    assert set(there) != {here} and len(set(there)) == 1
    assert done == [(number, here) for number in range(50)]
    writer.close()


async def test_closing_finishes_and_reports_everything() -> None:
    done: list[int] = []
    writer = WriterThread(asyncio.get_running_loop(), fail)
    for number in range(20):
        writer.submit(lambda: None, lambda number=number: done.append(number))
    writer.close()
    assert done == list(range(20))
    with pytest.raises(StorageError, match="closed"):
        writer.submit(lambda: None)


async def test_outcomes_go_on_under_a_caller_that_never_rests() -> None:
    done: list[int] = []
    writer = WriterThread(asyncio.get_running_loop(), fail)
    while len(done) < 100:
        writer.submit(lambda: None, lambda: done.append(1))
        await asyncio.sleep(0)
    writer.close()


def test_failures_are_typed_and_reach_the_nearest_handler() -> None:
    general: list[CtosError] = []
    special: list[CtosError] = []
    writer = WriterThread(None, general.append)
    writer.submit(lambda: Path("/nowhere/at/all").write_text(""), lambda: fail(AssertionError()), special.append)
    writer.submit(lambda: [][1])
    assert [type(error) for error in special + general] == [StorageError, StorageError]
    assert "/nowhere/at/all" in str(special[0]) and "IndexError" in str(general[0])


async def test_a_raising_outcome_does_not_hold_up_the_others() -> None:
    loop = asyncio.get_running_loop()
    seen: list[str] = []
    loop.set_exception_handler(lambda _, context: seen.append(str(context["exception"])))
    done = asyncio.Event()
    writer = WriterThread(loop, fail)
    writer.submit(lambda: [lambda: fail(ValueError("one")), lambda: seen.append("two"), done.set])
    await asyncio.wait_for(done.wait(), 10)
    assert seen == ["one", "two"]
    writer.close()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda _: fail(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_five_generations_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for number in range(8):
        keep_generations(path, 5)
        write_atomic(path, str(number).encode())
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {
        "a.json": "7", "a.json.1": "6", "a.json.2": "5", "a.json.3": "4", "a.json.4": "3",
    }  # fmt: skip


def test_an_edited_file_does_not_pass_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, json_bytes(with_checksum({"equity": "10.5", "positions": [{"qty": "1"}]})))
    assert read_checked(path) == {"equity": "10.5", "positions": [{"qty": "1"}]}
    path.write_text(path.read_text().replace("10.5", "99.5"))
    with pytest.raises(StorageError, match="checksum"):
        read_checked(path)
    path.write_text("{")
    with pytest.raises(StorageError, match="not valid JSON"):
        read_checked(path)
    with pytest.raises(StorageError, match="cannot read"):
        read_checked(tmp_path / "none")


def test_p10_a_second_process_is_told_who_holds_the_state(tmp_path: Path) -> None:
    with StateLock(tmp_path / "state"):
        code = (
            "import sys; from pathlib import Path; from engine.io.lock import StateLock\n"
            "from engine.kernel.errors import StateLocked\n"
            "try: StateLock(Path(sys.argv[1]))\n"
            "except StateLocked as error: print(error)"
        )
        root = Path(__file__).resolve().parents[2]
        child = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "state")], cwd=root, capture_output=True, text=True
        )
    assert f"in use by process {os.getpid()}" in child.stdout, child.stderr


def test_a_lock_is_free_again_after_release_and_after_a_dead_process(tmp_path: Path) -> None:
    lock = StateLock(tmp_path)
    with pytest.raises(StateLocked):
        StateLock(tmp_path)
    lock.release()
    lock.release()
    (tmp_path / "ctos.lock").write_text("999999\n")
    StateLock(tmp_path).release()


def test_a_lock_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "ctos.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(StorageError, match="lock file"):
        StateLock(tmp_path)
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot make the folder"):
        make_private_dir(tmp_path / "file" / "state")


def test_little_room_is_told_until_there_is_enough_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [900 << 20]
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free[0]}))
    clock = VirtualClock()
    seen: list[tuple[Space, int]] = []
    guard = SpaceGuard(tmp_path, clock, WriterThread(None, fail), lambda *change: seen.append(change))
    guard.start()
    for megabytes in (900, 150, 150, 20, 900):
        free[0] = megabytes << 20
        clock.advance(CHECK_EVERY_S)
    guard.stop()
    free[0] = 0
    clock.advance(60)
    low = (Space.LOW, 150 << 20)
    assert seen == [low, low, (Space.CRITICAL, 20 << 20), (Space.ENOUGH, 900 << 20)]


async def test_what_an_outcome_asks_for_is_written_before_the_writer_closes() -> None:
    done: list[str] = []
    writer = WriterThread(asyncio.get_running_loop(), done.append)
    writer.submit(lambda: None, lambda: writer.submit(lambda: done.append("second"), lambda: done.append("told")))
    writer.close()
    assert done == ["second", "told"]
