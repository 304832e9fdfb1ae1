"""A part of the engine that dies is noticed at once and goes on: looks, the market, queries, subscribers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from engine.boot.options import SystemOptions
from engine.boot.system import System, running
from engine.kernel.errors import RiskReject
from engine.kernel.orders import OrderType, Side
from engine.runtime.accounts import MANUAL
from engine.runtime.events import LogLine
from tests.boot.test_real_venues import until
from tests.engine.floor import d

PERP = "BTC-USDT-PERP"


@pytest.fixture
async def system(home: Path) -> AsyncIterator[System]:
    """A paper system whose clock runs thirty times as fast as ours."""
    async with running(SystemOptions(config=str(home), market="synthetic:3", speed="30")) as running_one:
        running_one.engine.market.watch(PERP)
        await until(lambda: running_one.engine.market.quote(PERP), 10)
        running_one.engine.arm("ann")
        yield running_one


class Fault(Exception):
    """What no part of the engine expects."""


class Trap:
    """Stands in for a method: raises once, then does what the method did, counting."""

    def __init__(self, owner: Any, name: str) -> None:
        self._real: Callable[..., Any] = getattr(owner, name)
        self.fired = False
        self.calls = 0
        setattr(owner, name, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.fired:
            self.fired = True
            raise Fault("broken on purpose")
        self.calls += 1
        return self._real(*args, **kwargs)


LOOKS: dict[str, Callable[[System], tuple[Any, str]]] = {
    "losses": lambda system: (system.engine.risk.losses, "evaluate"),
    "monitor": lambda system: (system.monitor, "evaluate"),
    "monitor sample": lambda system: (system.monitor._detectors, "sample"),
    "conditions": lambda system: (system.engine.conditions, "look"),
    "corrector": lambda system: (system.monitor.corrector, "evaluate"),
    "orders query": lambda system: (system.driver, "get_open_orders"),
    "account query": lambda system: (system.driver, "fetch_balance"),
    "reconciliation": lambda system: (system.engine.reconciler, "_take_orders"),
    "paper market": lambda system: (system.driver._pump, "pump_until"),
}


def faults(system: System) -> list[Any]:
    return [one for one in system.monitor.anomalies if one.kind == "engine_fault"]


@pytest.mark.parametrize("part", LOOKS)
async def test_p14_a_look_that_raises_is_noticed_at_once_blocks_entries_and_goes_on(system: System, part: str) -> None:
    trap = Trap(*LOOKS[part](system))
    await until(lambda: trap.fired, 10)
    await until(lambda: faults(system), 1)
    (fault,) = faults(system)
    assert fault.severity.value == "CRIT" and "broken on purpose" in fault.text
    with pytest.raises(RiskReject, match=f"#{fault.id}"):
        system.monitor.check_entry(MANUAL, PERP)
    await until(lambda: trap.calls >= 2, 20)
    system.monitor.acknowledge(fault.id, "ann")
    system.monitor.check_entry(MANUAL, PERP)
    system.engine.submit(MANUAL, PERP, Side.BUY, OrderType.MARKET, d("0.001"))
    assert not system.engine.risk.is_halted


@pytest.mark.parametrize("how", ["cancelled", "returned"])
async def test_p14_a_task_that_ends_without_an_error_is_noticed_and_begins_anew(
    system: System, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    playing = system.driver._playing
    if how == "returned":
        monkeypatch.setattr(playing, "_may_return", False)
        played, ends = playing._make, asyncio.Event()

        async def once() -> None:
            if ends.is_set():
                await played()
            ends.set()

        playing._make = once
    playing._task.cancel()
    await until(lambda: faults(system), 1)
    seen = system.engine.market.quote(PERP).ts
    await until(lambda: system.engine.market.quote(PERP).ts > seen + 5_000, 10)


async def test_p14_the_third_fault_in_a_minute_halts(system: System) -> None:
    for number in range(3):
        assert not system.engine.risk.is_halted, number
        Trap(system.engine.conditions, "look")
        await until(lambda done=number: sum(one.count for one in faults(system)) > done, 10)
    await until(lambda: system.engine.risk.is_halted, 1)
    assert "3 faults of the engine in a minute" in system.engine.trading.describe()


async def test_p14_a_subscriber_that_raises_is_noticed_and_one_of_the_console_only_told(system: System) -> None:
    def broken(line: LogLine) -> None:
        if line.text == "bang":
            raise Fault("broken on purpose")

    unsubscribe = system.bus.subscribe(LogLine, broken)
    system.engine.say("bang")
    assert "broken on purpose" in faults(system)[0].text
    unsubscribe()
    system.monitor.acknowledge(faults(system)[0].id, "ann")
    broken.__module__ = "ctos_tui.feed"
    system.bus.subscribe(LogLine, broken)
    system.engine.say("bang")
    assert not faults(system)[0].is_active
