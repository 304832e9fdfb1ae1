"""`check` on an account that the last run left halted."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner

from ctos_tui.__main__ import cli
from engine.boot.options import SystemOptions
from engine.boot.system import running
from engine.io.logs import iso_time
from engine.kernel.scheduler import InstanceState


async def test_a_halted_account_is_told_with_who_when_and_why_and_gets_no_trial_order(home: Path) -> None:
    async with running(SystemOptions(config=str(home), market="synthetic:3", seed=1)) as system:
        system.engine.panic("ann", "looks odd")
        since = iso_time(system.engine.trading.status.since_ns)

    line = ["check", "--config", str(home), "--market", "synthetic:3"]
    done = await asyncio.to_thread(CliRunner().invoke, cli, line)
    assert done.exit_code == 0, done.output
    (trading,) = [row for row in done.stdout.splitlines() if " trading " in row and "halted" in row]
    assert trading.startswith("–") and f"trading is halted by ann: looks odd, since {since}" in trading
    assert "rearm paper REASON" in done.stdout
    assert "no trial order was sent: a person has to release the account first" in done.stdout


async def test_an_account_that_is_not_halted_gets_its_trial_order(home: Path) -> None:
    line = ["check", "--config", str(home), "--market", "synthetic:3"]
    done = await asyncio.to_thread(CliRunner().invoke, cli, line)
    assert done.exit_code == 0, done.output
    assert "✓ trading" in done.stdout and "✓ order: gone" in done.stdout


async def test_saved_strategies_sleep_through_a_check_and_stay_what_they_were(home: Path) -> None:
    options = SystemOptions(config=str(home), market="synthetic:3", seed=1)
    async with running(options) as system:
        for name in ("g1", "g2"):
            system.manager.launch("dyn_grid", {"base_amount": "200", "max_inventory": "1000"}, "btc", name)
        system.manager.pause("g2", reason="the operator had a look")

    async with running(replace(options, guards=False)) as system:
        system.engine.arm("check", 60)
        assert all(one.is_asleep for one in system.manager.instances.values())

    async with running(options) as system:
        states = {name: one.life.state for name, one in system.manager.instances.items()}
        assert states["g1"] in (InstanceState.WARMUP, InstanceState.RUNNING) and states["g2"] is InstanceState.PAUSED
        assert system.manager.get("g2").life.reason == "the operator had a look"
