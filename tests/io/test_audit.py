"""The audit chain: goes on over restarts, shows every edit, keeps a broken file aside, and holds no secret."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from engine.io.audit import AuditLog, BrokenChain, Record, verify
from engine.io.secrets import Redactor
from engine.io.writer import WriterThread
from engine.kernel.clock import VirtualClock
from engine.kernel.errors import CtosError, StorageError
from engine.kernel.secret import Secret

START_NS = 1_704_067_200_000_000_000


class Keeper:
    """An audit, with what it told."""

    def __init__(self, path: Path, anchor: Record | None = None) -> None:
        self.written: list[Record] = []
        self.broken: list[str] = []
        self.errors: list[CtosError] = []
        self.redactor = Redactor()
        writer = WriterThread(None, self.errors.append)
        self.log = AuditLog(
            path,
            VirtualClock(START_NS),
            writer,
            self.redactor,
            self.written.append,
            self.broken.append,
            self.errors.append,
        )
        self.log.open(anchor)


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An audit of three records of one run and two of the next."""
    path = tmp_path / "logs" / "okx_Account0_audit.log"
    first = Keeper(path)
    for number in range(3):
        first.log.write("ann", "arm", {"number": number, "symbols": ["BTC", "ETH"]})
    second = Keeper(path, first.written[-1])
    second.log.write("ann pid 7", "panic", {"reason": 'a "quoted" line\nand another \u202e'})
    second.log.write("ann", "rearm", {"reason": "fixed"})
    assert not (first.errors or second.errors or second.broken)
    return path


def test_the_chain_goes_on_over_restarts(path: Path) -> None:
    assert verify(path) == Record(5, records(path)[4]["hash"])
    assert [record["seq"] for record in records(path)] == [1, 2, 3, 4, 5]
    assert records(path)[0]["details"] == {"number": "0", "symbols": '["BTC","ETH"]'}
    assert records(path)[3]["details"] == {"reason": 'a "quoted" line\nand another \u202e'}
    assert "\u202e" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("edit", "line", "fault"),
    [
        (lambda lines: [*lines[:2], lines[2].replace(b"ann", b"bob"), *lines[3:]], 3, "it was changed"),
        (lambda lines: [*lines[:1], *lines[2:]], 2, "does not follow record 1"),
        (lambda lines: lines[1:], 1, "does not follow record 0"),
        (lambda lines: [lines[0], lines[0], *lines[1:]], 2, "does not follow record 1"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], 1, "does not follow record 0"),
        (lambda lines: [*lines[:4], lines[4][:-30]], 5, "cut off"),
        (lambda lines: [*lines[:3], b"\n", *lines[3:]], 4, "no record"),
        (lambda lines: [*lines[:3], b"\x00" * 50 + b"\n", *lines[3:]], 4, "no record"),
        (lambda lines: lines[:3], 4, "up to 5, which the journal remembers, are missing"),
        (lambda lines: [], 1, "up to 5, which the journal remembers, are missing"),
    ],
)
def test_x15_every_edit_is_found_and_the_new_chain_names_it(path: Path, edit, line: int, fault: str) -> None:
    anchor = verify(path)
    damaged = b"".join(edit(path.read_bytes().splitlines(keepends=True)))
    path.write_bytes(damaged)
    with pytest.raises(BrokenChain, match=fault) as caught:
        verify(path, anchor)
    assert caught.value.line == line
    again = Keeper(path, anchor)
    again.log.write("ann", "arm", {})
    aside = path.with_name(path.name + ".broken")
    assert aside.read_bytes() == damaged
    (told,) = again.broken
    assert f"{path}, line {line}" in told and aside.name in told
    begun, armed = records(path)
    assert (begun["act"], begun["details"]["after"], armed["act"]) == ("chain_begun", aside.name, "arm")
    assert f"line {line}" in begun["details"]["fault"]
    assert verify(path, again.written[-1]).seq == 2


def test_a_record_made_up_with_a_right_hash_does_not_fit(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    made_up = json.loads(lines[2])
    del made_up["hash"]
    made_up["who"] = "bob"
    body = json.dumps(made_up, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    made_up["hash"] = hashlib.sha256(body.encode()).hexdigest()
    lines[2] = json.dumps(made_up) + "\n"
    path.write_text("".join(lines))
    with pytest.raises(BrokenChain, match="does not follow record 3") as caught:
        verify(path)
    assert caught.value.line == 4


def test_a_chain_written_anew_does_not_pass_for_the_one_remembered(path: Path, tmp_path: Path) -> None:
    anchor = verify(path)
    path.unlink()
    forged = Keeper(path)
    for _ in range(6):
        forged.log.write("nobody", "arm", {})
    verify(path)
    with pytest.raises(BrokenChain, match="not the record that the journal remembers"):
        verify(path, anchor)


def test_an_older_memory_of_the_journal_is_no_fault(path: Path) -> None:
    third = Record(3, records(path)[2]["hash"])
    assert verify(path, third).seq == 5


def test_secrets_are_masked(path: Path) -> None:
    keeper = Keeper(path)
    keeper.redactor.add(Secret("canary-7f3a9b"))
    keeper.log.write("ann", "panic", {"reason": "canary-7f3a9b", "list": ["canary-7f3a9b"]})
    assert b"canary" not in path.read_bytes()
    assert verify(path).seq == 6


def test_what_the_disk_refused_is_written_later_in_order(path: Path) -> None:
    keeper = Keeper(path)
    folder = path.parent
    moved = folder.with_name("elsewhere")
    folder.rename(moved)
    folder.write_text("in the way")
    keeper.log.write("ann", "arm", {"number": 1})
    keeper.log.write("ann", "arm", {"number": 2})
    assert len(keeper.errors) == 1 and isinstance(keeper.errors[0], StorageError)
    folder.unlink()
    moved.rename(folder)
    keeper.log.write("ann", "arm", {"number": 3})
    assert [record["details"]["number"] for record in records(path)[5:]] == ["1", "2", "3"]
    assert verify(path).seq == 8
