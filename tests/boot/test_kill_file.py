"""The file KILL in a whole system: a halt that the journal could not keep holds at the next start."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import pytest

from engine.boot.options import SystemOptions
from engine.boot.system import build_system, running
from engine.kernel.errors import JournalError, TradingHalted
from engine.runtime.events import LogLine
from engine.runtime.trading_state import TradingMode
from tests.boot.conftest import write_accounts
from tests.boot.fake_venue import Behaviour
from tests.boot.test_real_venues import until


async def test_a_disk_that_takes_nothing_halts_this_run_and_the_next(venue: Behaviour, home: Path) -> None:
    write_accounts(home)
    options = SystemOptions(config=str(home), exchange="okx")
    kill = home / "state" / "KILL"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    system = build_system(options, asyncio.get_running_loop())
    await system.start()
    system.engine.arm("ann")
    system.journal.flush()
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        system.journal.put("notes", "a", b"x" * 10_000)
        await until(lambda: system.engine.trading.mode is TradingMode.HALTED)
        await until(kill.exists)
        with pytest.raises(JournalError):
            await system.stop()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    system.writer.close()

    lines: list[str] = []
    again = build_system(options, asyncio.get_running_loop())
    again.bus.subscribe(LogLine, lambda line: lines.append(line.text))
    await again.start()
    assert again.engine.trading.mode is TradingMode.HALTED
    assert any(f"{kill} was left by somebody" in line for line in lines)
    with pytest.raises(TradingHalted, match="rearm"):
        again.engine.arm("ann")
    again.engine.rearm("ann", "the disk has room again")
    await until(lambda: not kill.exists())
    await again.stop()

    async with running(options) as third:
        assert third.engine.trading.mode is TradingMode.DISARMED


async def test_a_halt_whose_record_fails_in_the_last_moment_is_kept_on_the_way_out(
    venue: Behaviour, home: Path
) -> None:
    write_accounts(home)
    system = build_system(SystemOptions(config=str(home), exchange="okx"), asyncio.get_running_loop())
    await system.start()
    system.journal.flush()
    pages = system.journal._connection.execute("PRAGMA page_count").fetchone()[0]
    system.journal._ballast.give_up()
    system.journal._connection.execute(f"PRAGMA max_page_count = {pages}")
    await system.driver.stop()
    system.engine.panic("ann", "this looks odd")
    system.journal.put("notes", "a", b"x" * 100_000)
    with pytest.raises(JournalError, match="disk is full"):
        system.close()
    assert b'"this looks odd"' in (home / "state" / "KILL").read_bytes()
    system.writer.close()
