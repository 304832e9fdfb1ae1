"""Strategies of the operator's own file in a whole system, over restarts: halted, broken, careless with words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.boot.options import SystemOptions
from engine.boot.system import System, build_system
from engine.kernel.errors import UnknownStrategy
from engine.kernel.scheduler import InstanceState
from engine.runtime.halt_mark import mark_path
from tests.boot.test_real_venues import until

PERP = "BTC-USDT-PERP"
KEEPER = '''
from decimal import Decimal

from engine.kernel.strategy import Params, Strategy


class Keeper(Strategy[Params]):
    """Keeps one bid far below the market and counts the seconds."""

    name = "keeper"
    params_model = Params

    def on_start(self, reason):
        self.ctx.timer.every("look", 1)

    def on_timer(self, name, payload):
        self.ctx.state["looks"] = self.ctx.state.get("looks", 0) + 1
        self.ctx.log("a look", "warning")
        if self.ctx.entries_allowed and not self.ctx.orders(PERP):
            price = self.ctx.price(PERP) * Decimal("0.9")
            self.ctx.buy(PERP, amount=Decimal(100), price=price)


PERP = "BTC-USDT-PERP"
'''


@asynccontextmanager
async def system_at(home: Path) -> AsyncIterator[System]:
    options = SystemOptions(config=str(home), market="synthetic:3", speed="30")
    system = build_system(options, asyncio.get_running_loop())
    await system.start()
    try:
        system.engine.market.watch(PERP)
        await until(lambda: system.engine.market.quote(PERP), 10)
        yield system
    finally:
        await system.stop()


async def keeps(system: System) -> None:
    await until(lambda: system.engine.tracker.working(instance="k1"), 20)


async def test_a_strategy_goes_on_after_a_start_that_the_file_kill_halts(home: Path) -> None:
    (home / "strategies").mkdir()
    (home / "strategies" / "keeper.py").write_text(KEEPER)
    async with system_at(home) as system:
        system.manager.launch("keeper", {}, PERP, "k1")
        system.engine.arm("ann")
        await keeps(system)
        key = system.engine.account.key
        assert [one for one in system.monitor.anomalies.active() if one.kind == "engine_fault"] == []
    mark_path(home / "state", key).write_text("odd\n")
    async with system_at(home) as system:
        keeper = system.manager.get("k1")
        assert system.engine.risk.is_halted and keeper.life.state is InstanceState.HALTED
        await until(lambda: not system.engine.tracker.working(instance="k1"), 20)
        system.engine.rearm("ann", "looked into it")
        system.engine.arm("ann")
        looks = keeper.context.state["looks"]
        system.manager.resume("k1")
        await keeps(system)
        assert keeper.context.state["looks"] > looks


async def test_a_strategy_whose_file_is_broken_leaves_no_entries_and_is_told(home: Path) -> None:
    (home / "strategies").mkdir()
    file = home / "strategies" / "keeper.py"
    file.write_text(KEEPER)
    async with system_at(home) as system:
        system.manager.launch("keeper", {}, PERP, "k1")
        system.engine.arm("ann")
        await keeps(system)
    file.write_text("def broken(:\n")
    async with system_at(home) as system:
        (told,) = [one for one in system.monitor.anomalies.active() if one.kind == "strategy_fault"]
        assert told.instance == "k1" and "was not restored" in told.text and told.severity.value == "CRIT"
        await until(lambda: not system.engine.tracker.working(instance="k1"), 20)
        with pytest.raises(UnknownStrategy, match="k1 was not restored"):
            system.manager.pause("k1")
    file.write_text(KEEPER)
    async with system_at(home) as system:
        system.engine.arm("ann")
        await keeps(system)
        assert [one for one in system.monitor.anomalies.active() if one.kind == "strategy_fault"] == []
