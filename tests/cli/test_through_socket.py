"""`call` and `panic` beside a running engine, in one process: the command's thread meets the engine's loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ctos_tui.__main__ import cli
from engine.boot.options import SystemOptions
from engine.boot.system import System, build_system
from engine.io.control_wire import SOCKET_NAME
from engine.kernel.errors import RiskReject, StateLocked

BTC = "BTC-USDT-PERP"


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    options = SystemOptions(config=str(tmp_path), market="synthetic:3", seed=1)
    running = build_system(options, asyncio.get_running_loop(), "run")
    await running.start()
    yield running
    await running.stop()
    assert not (tmp_path / "state" / SOCKET_NAME).exists()


async def command(system: System, name: str, *arguments: str) -> Result:
    line = [name, *arguments, "--config", str(system.paths.config)]
    return await asyncio.to_thread(CliRunner().invoke, cli, line)


async def test_call_goes_through_the_process_that_holds_the_state(system: System) -> None:
    order = ("call", "place_order", "symbol=btc", "side=buy", "order_type=limit")
    placed = await command(system, *order, "size=100", "price=20000")
    assert isinstance(placed.exception, RiskReject), "the running engine's own limits apply"
    price = f"{system.engine.market.quote(BTC).bid * 0.99:.0f}"
    placed = await command(system, *order, "size=0.01", f"price={price}")
    assert placed.exit_code == 0, placed.exception
    (working,) = system.engine.tracker.working()
    assert json.loads(placed.stdout)["client_id"] == working.client_id
    shown = await command(system, "call", "get_open_orders")
    assert [row["client_id"] for row in json.loads(shown.stdout)] == [working.client_id]
    other = await command(system, "call", "get_open_orders", "--exchange", "okx")
    assert isinstance(other.exception, StateLocked)
    assert "paper:paper" in str(other.exception) and "pid" in str(other.exception)
    await command(system, "call", "cancel_all")
    assert not system.engine.tracker.working()
