"""A halt that the journal cannot keep outlives the program in the file KILL."""

from __future__ import annotations

import asyncio
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import msgspec
import pytest

from drivers.paper.config import MemoryStore
from engine.kernel.errors import CtosError, JournalError, StorageError, TradingHalted
from engine.kernel.orders import OrderType
from engine.runtime.events import EngineAlarm, LogLine
from engine.runtime.halt_mark import HaltMark, leave_mark, mark_path
from engine.runtime.trading_state import TradingMode
from tests.engine.floor import BUY, MANUAL, PERP, Floor, d
from tests.engine.test_execution_loop import Live


class Site:
    """A floor whose halts are kept as the program keeps them, and whose disk can be full."""

    def __init__(self, folder: Path, store: MemoryStore | None = None) -> None:
        self.folder = folder
        self.floor = Floor(folder, store, armed=False)
        self.engine = self.floor.engine
        self.floor.journal._on_error = self.engine.on_journal_error
        self.lines: list[str] = []
        self.floor.bus.subscribe(LogLine, lambda line: self.lines.append(line.text))
        self.mark = HaltMark(self.engine, self.floor.writer, folder)
        self.mark.restore()
        self.floor.print(100.0)

    @property
    def note(self) -> dict[str, Any]:
        return msgspec.json.decode(self.mark.path.read_bytes())

    def fill_disk(self) -> None:
        """Let the journal take no more pages."""
        self.floor.journal.flush()
        pages = self.floor.journal._connection.execute("PRAGMA page_count").fetchone()[0]
        self.floor.journal._connection.execute(f"PRAGMA max_page_count = {pages}")

    def write_much(self) -> None:
        """Write more than fits."""
        for number in range(400):
            self.floor.journal.put("notes", str(number), b"x" * 200)
        with pytest.raises(JournalError):
            self.floor.journal.flush()

    def free_disk(self) -> None:
        self.floor.journal._connection.execute("PRAGMA max_page_count = 100000")

    def crash(self) -> Site:
        """End as a killed program does: what is not on the disk is lost."""
        self.floor.journal._connection.close()
        return Site(self.folder, MemoryStore(self.floor.store.state))


def test_a_full_disk_leaves_the_file_and_the_next_start_is_halted(tmp_path: Path):
    site = Site(tmp_path)
    site.engine.arm("ann")
    resting = site.floor.order(BUY, 1, 99)
    site.fill_disk()
    site.write_much()
    site.floor.run()
    assert site.engine.trading.mode is TradingMode.HALTED and not resting.is_open
    assert stat.S_IMODE(site.mark.path.stat().st_mode) == 0o600
    assert site.note["who"] == "journal" and "disk is full" in site.note["why"]
    assert site.note["account"] == site.engine.account.key and site.note["when"].startswith("2023-11-14T22:13:")

    again = site.crash()
    assert again.engine.trading.mode is TradingMode.HALTED and "disk is full" in again.engine.trading.describe()
    assert any(str(again.mark.path) in line and "comes up halted" in line for line in again.lines)
    with pytest.raises(TradingHalted):
        again.engine.arm("ann")
    again.engine.rearm("ann", "space was freed")
    assert not again.mark.path.exists()
    assert again.floor.order(BUY, 1, 99).is_open

    third = again.crash()
    assert third.engine.trading.mode is TradingMode.DISARMED and "comes up halted" not in " ".join(third.lines)


def test_a_mark_that_was_looked_at_before_the_rearm_does_not_halt_after_it(tmp_path: Path):
    site = Site(tmp_path)
    site.engine.arm("ann")
    leave_mark(tmp_path, "bob", "looks odd")
    seen = site.mark._find()
    site.engine.panic("ann", "to be sure")
    site.floor.run(5)
    site.engine.rearm("ann", "checked")
    site.engine.arm("ann")
    for answer in seen or []:
        answer()
    assert seen and site.engine.trading.mode is TradingMode.ARMED


def test_a_persons_halt_that_does_not_reach_the_disk_is_kept_under_its_own_name(tmp_path: Path):
    site = Site(tmp_path)
    site.fill_disk()
    site.engine.panic("ann", "this looks odd")
    assert not site.mark.path.exists(), "nobody knows yet that the disk is full"
    site.write_much()
    assert (site.note["who"], site.note["why"]) == ("ann", "this looks odd")
    again = site.crash()
    assert again.engine.trading.status.who == "ann" and "this looks odd" in again.engine.trading.status.reason


def test_a_halt_that_the_journal_keeps_needs_no_file(tmp_path: Path):
    site = Site(tmp_path)
    site.engine.panic("ann", "enough")
    site.floor.journal.flush()
    site.mark.close()
    assert not site.mark.path.exists()
    assert site.crash().engine.trading.status.reason == "enough"


def test_rearming_waits_until_the_journal_can_be_written(tmp_path: Path):
    site = Site(tmp_path)
    site.fill_disk()
    site.write_much()
    with pytest.raises(CtosError, match=r"cannot rearm: .*disk is full"):
        site.engine.rearm("ann", "checked")
    assert site.mark.path.exists() and site.engine.trading.mode is TradingMode.HALTED
    site.free_disk()
    site.engine.rearm("ann", "checked")
    assert not site.mark.path.exists() and site.engine.trading.mode is TradingMode.ARMED
    assert site.floor.journal.backlog == 0, "the release is on the disk before the file goes"
    assert b"checked" in (site.floor.journal.get("notes", f"{site.engine.account.key}/rearm") or b"")


def test_a_disk_that_fills_up_again_under_a_rearm_keeps_the_halt(tmp_path: Path):
    site = Site(tmp_path)
    site.fill_disk()
    site.write_much()
    site.free_disk()
    site.floor.journal.flush()
    pages = site.floor.journal._connection.execute("PRAGMA page_count").fetchone()[0]
    site.floor.journal._connection.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(400):
        site.floor.journal.put("notes", f"more {number}", b"x" * 200)
    with pytest.raises(JournalError):
        site.engine.rearm("ann", "too early")
    assert site.mark.path.exists() and site.engine.trading.mode is TradingMode.HALTED
    assert site.crash().engine.trading.mode is TradingMode.HALTED


@contextmanager
def no_content() -> Iterator[None]:
    """Let the disk take the names of files, and nothing in them."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_where_no_content_fits_the_name_of_the_file_is_enough(tmp_path: Path):
    site = Site(tmp_path)
    site.engine.arm("ann")
    with no_content():
        site.floor.journal.put("notes", "a", b"x" * 10_000)
        with pytest.raises(JournalError):
            site.floor.journal.flush()
    assert site.mark.path.read_bytes() == b"" and stat.S_IMODE(site.mark.path.stat().st_mode) == 0o600
    again = site.crash()
    assert again.engine.trading.mode is TradingMode.HALTED
    assert "the file was there at the start" in again.engine.trading.describe()
    again.engine.rearm("ann", "checked")
    assert not again.mark.path.exists()


def test_a_halt_that_can_be_kept_nowhere_is_shouted(tmp_path: Path):
    site = Site(tmp_path)
    site.mark.path = tmp_path / "gone" / site.mark.path.name
    site.fill_disk()
    site.write_much()
    shouts = [event for event in site.floor.events if isinstance(event, EngineAlarm) and event.kind == "halt_not_kept"]
    assert [shout.severity for shout in shouts] == ["CRIT"] and "the next start may not be" in shouts[0].text
    assert site.engine.trading.mode is TradingMode.HALTED
    with pytest.raises(StorageError, match="cannot be made"):
        site.mark.close()
    (tmp_path / "gone").mkdir()
    site.mark.close()
    assert site.note["who"] == "journal"


def test_the_file_of_another_account_is_not_ours(tmp_path: Path):
    theirs = leave_mark(tmp_path, "ann", "odd", "okx:main")
    site = Site(tmp_path)
    assert site.engine.trading.mode is TradingMode.DISARMED
    leave_mark(tmp_path, "ann", "odd as well", site.engine.account.key)
    site.mark.restore()
    assert site.engine.trading.mode is TradingMode.HALTED
    site.engine.rearm("bob", "this one is fine")
    assert theirs.exists() and not site.mark.path.exists()


def test_a_file_for_every_account_stays_for_the_others_when_one_is_rearmed(tmp_path: Path):
    common = leave_mark(tmp_path, "ann", "odd")
    site = Site(tmp_path)
    site.mark._known = lambda: ("okx:main", site.engine.account.key, "okx:second")
    own = leave_mark(tmp_path, "bob", "worse", "okx:second").read_bytes()
    site.engine.rearm("bob", "this one is fine")
    assert not common.exists() and not site.mark.path.exists()
    assert b'"odd"' in mark_path(tmp_path, "okx:main").read_bytes()
    assert mark_path(tmp_path, "okx:second").read_bytes() == own
    assert any("okx:main, okx:second" in line for line in site.lines)


def test_the_name_of_any_account_fits_into_a_folder(tmp_path: Path):
    names = {leave_mark(tmp_path, "ann", "odd", f"paper:main@replay:/{'long/' * 200}{n}").name for n in range(2)}
    assert len(names) == 2 == len(list(tmp_path.glob("KILL.paper:main@replay:_long_*")))


def test_a_person_may_make_the_file_by_hand(tmp_path: Path):
    (tmp_path / "KILL").touch()
    site = Site(tmp_path)
    site.floor.print(100.0)
    with pytest.raises(TradingHalted):
        site.engine.submit(MANUAL, PERP, BUY, OrderType.LIMIT, d(1), d(99))
    site.engine.rearm("ann", "meant as a test")
    assert not site.mark.common.exists()


async def test_the_file_goes_when_the_writer_has_the_release_on_the_disk(tmp_path: Path):
    (tmp_path / "KILL").touch()
    live = Live(tmp_path, MemoryStore())
    mark = HaltMark(live.engine, live.writer, tmp_path)
    await live.engine.start()
    mark.restore()
    slow = Event()

    def block() -> None:
        slow.wait()

    live.writer.submit(block)
    live.engine.rearm("ann", "checked")
    await asyncio.sleep(0)
    assert mark.common.exists()
    slow.set()
    live.writer.wait()
    live.engine.stop()
    live.journal.close()
    live.writer.close()
    assert not mark.common.exists() and live.errors == []


def test_a_mark_left_while_the_program_runs_halts_it_within_a_second(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.mark.watch()
    site.engine.arm("ann")
    site.floor.clock.advance(3)
    assert site.engine.trading.mode is TradingMode.ARMED
    leave_mark(tmp_path, "bob pid 7", "it does not answer")
    site.floor.clock.advance(1)
    status = site.engine.trading.status
    assert (status.mode, status.who) == (TradingMode.HALTED, "bob pid 7")
    assert "it does not answer" in status.reason
    site.engine.rearm("ann", "looked at it")
    assert not site.mark.common.exists()
    site.floor.clock.advance(3)
    assert site.engine.trading.mode is not TradingMode.HALTED
    leave_mark(tmp_path, "bob pid 8", "again")
    site.floor.clock.advance(1)
    assert site.engine.trading.status.who == "bob pid 8"


def test_a_mark_that_appears_while_a_halt_is_released_stays(tmp_path: Path) -> None:
    site = Site(tmp_path)
    leave_mark(tmp_path, "bob pid 7", "first")
    site.mark.restore()
    assert site.engine.trading.mode is TradingMode.HALTED
    flush, journal = site.floor.journal.flush, site.floor.journal

    def flush_and_leave_another() -> None:
        leave_mark(tmp_path, "bob pid 8", "second")
        flush()

    journal.flush = flush_and_leave_another  # type: ignore[method-assign]
    site.engine.rearm("ann", "the first is dealt with")
    journal.flush = flush  # type: ignore[method-assign]
    assert b"bob pid 8" in site.mark.common.read_bytes()
    site.mark.watch()
    site.floor.clock.advance(1)
    assert site.engine.trading.status.who == "bob pid 8"
