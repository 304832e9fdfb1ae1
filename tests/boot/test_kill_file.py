"""The file KILL in a whole system: a halt that the journal could not keep holds at the next start."""

from __future__ import annotations

import asyncio
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ctos_tui.__main__ import cli
from engine.boot import recovering
from engine.boot.options import SystemOptions
from engine.boot.system import System, build_system, running
from engine.kernel.errors import JournalError, TradingHalted
from engine.runtime.events import LogLine
from engine.runtime.halt_mark import leave_mark, mark_path
from engine.runtime.trading_state import TradingMode
from tests.boot.conftest import LIVE, write_accounts
from tests.boot.fake_venue import Behaviour
from tests.boot.test_real_venues import until


async def test_a_disk_that_takes_nothing_halts_this_run_and_the_next(venue: Behaviour, home: Path) -> None:
    write_accounts(home)
    options = SystemOptions(config=str(home), exchange="okx")
    kill = mark_path(home / "state", "okx:main")
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
    assert b'"this looks odd"' in mark_path(home / "state", "okx:main").read_bytes()
    system.writer.close()


TWO = LIVE + LIVE.replace("okx:\n", "").replace("  main:", "  second:")


async def mode_of(options: SystemOptions) -> TradingMode:
    async with running(options) as system:
        return system.engine.trading.mode


async def rearm(options: SystemOptions) -> None:
    async with running(options) as system:
        system.engine.rearm("ann", "this one is fine")


async def test_a_panic_about_one_account_leaves_what_halts_another(venue: Behaviour, home: Path) -> None:
    write_accounts(home, TWO)
    main = SystemOptions(config=str(home), exchange="okx", account="main")
    second = replace(main, account="second")
    assert await mode_of(main) is TradingMode.DISARMED
    leave_mark(home / "state", "journal", "the disk is full", "okx:main")
    asked = ("panic", "--config", str(home), "--exchange", "okx", "--account", "second")
    done = await asyncio.to_thread(CliRunner().invoke, cli, asked)
    assert done.exit_code == 0, done.output
    assert not mark_path(home / "state", "okx:second").exists()
    assert await mode_of(second) is TradingMode.HALTED
    async with running(main) as system:
        assert "the disk is full" in system.engine.trading.describe()


async def test_a_file_for_every_account_halts_each_until_it_is_rearmed(venue: Behaviour, home: Path) -> None:
    write_accounts(home, TWO)
    main = SystemOptions(config=str(home), exchange="okx", account="main")
    second = replace(main, account="second")
    for options in (main, second):
        assert await mode_of(options) is TradingMode.DISARMED
    leave_mark(home / "state", "bob", "it does not answer")
    await rearm(main)
    assert await mode_of(main) is TradingMode.DISARMED
    async with running(second) as system:
        assert "it does not answer" in system.engine.trading.describe()
        system.engine.rearm("ann", "fine as well")
    assert list((home / "state").glob("KILL*")) == []


async def test_panic_goes_on_with_the_next_account_when_one_cannot_be_stored(
    venue: Behaviour, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_accounts(home, TWO)
    main = SystemOptions(config=str(home), exchange="okx", account="main")
    for options in (main, replace(main, account="second")):
        await mode_of(options)
    stop = System.stop

    async def fail(system: System) -> None:
        await stop(system)
        if system.account.name == "second":
            raise JournalError("the disk is full")

    monkeypatch.setattr(System, "stop", fail)
    done = await asyncio.to_thread(CliRunner().invoke, cli, ("panic", "--config", str(home)))
    assert done.exit_code == 1
    assert "okx:second is not confirmed: the disk is full" in done.output and "starting one of okx:main" in done.output
    assert [path.name[:16] for path in (home / "state").glob("KILL*")] == ["KILL.okx:second."]


async def test_after_recover_every_live_account_comes_up_halted_whenever_it_is_interrupted(
    venue: Behaviour, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_accounts(home, TWO)
    main = SystemOptions(config=str(home), exchange="okx", account="main")
    assert await mode_of(main) is TradingMode.DISARMED
    begin_anew = recovering.begin_anew

    def begin_and_die(*arguments: Any) -> None:
        begin_anew(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(recovering, "begin_anew", begin_and_die)
    with pytest.raises(KeyboardInterrupt):
        await recovering.recover(SystemOptions(config=str(home)), force=True)
    assert await mode_of(main) is TradingMode.HALTED
    await rearm(main)
    assert await mode_of(main) is TradingMode.DISARMED
    assert await mode_of(replace(main, account="second")) is TradingMode.HALTED
