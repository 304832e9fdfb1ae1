"""The pulse of a whole system: a strategy's blocking call is named, blocks entries, and shows in the status."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from engine.boot.control import Nothing, Status
from engine.boot.options import SystemOptions
from engine.boot.system import build_system
from engine.io.control_client import ControlClient
from engine.runtime.events import TradingStateChanged
from tests.boot.test_real_venues import until


def block_for_long() -> None:
    time.sleep(5.0)


async def test_p15_blocking_code_is_named_and_stops_new_entries_until_the_venue_agrees(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    options = SystemOptions(config=str(tmp_path), market="synthetic:3", seed=1)
    system = build_system(options, loop, "run")
    await system.start()
    try:
        await asyncio.to_thread(system.writer.wait)
        states: list[TradingStateChanged] = []
        system.bus.subscribe(TradingStateChanged, states.append)
        system.engine.arm("ann")
        loop.call_later(0.3, block_for_long)
        await until(lambda: any(one.kind == "loop_held" for one in system.monitor.anomalies), 15)
        anomaly = next(one for one in system.monitor.anomalies if one.kind == "loop_held")
        line = block_for_long.__code__.co_firstlineno + 1
        assert f"in block_for_long, {__file__}:{line}" in anomaly.text
        await until(lambda: [state.state for state in states] == ["armed", "reduce_only", "armed"], 60)
        assert "stood still" in states[1].reason
        assert not system.monitor.entry_block("manual", "BTC-USDT-PERP")
        status = await asyncio.to_thread(ask, tmp_path / "state")
        assert 4500 < status.largest_gap_ms < 20_000
    finally:
        await system.stop()


def ask(state: Path) -> Status:
    with ControlClient(state) as client:
        (status,) = client.ask("status", Nothing(), Status, 5)
        return status
