"""`call` and `panic` beside a running engine, in one process: the command's thread meets the engine's loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import engine.boot.panicking as panicking
from ctos_tui.__main__ import cli
from engine.boot.options import SystemOptions
from engine.boot.panicking import PanicOrder
from engine.boot.system import System, build_system
from engine.io.control_client import ControlClient
from engine.io.control_wire import SOCKET_NAME
from engine.kernel.errors import ConfigError, RiskReject, VenueUnavailable
from engine.kernel.syscalls import Reply
from engine.runtime.halt_mark import mark_path
from engine.runtime.trading_state import TradingMode
from tests.boot.test_real_venues import until

BTC = "BTC-USDT-PERP"


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    options = SystemOptions(config=str(tmp_path), market="synthetic:3", seed=1)
    running = build_system(options, asyncio.get_running_loop(), "run")
    await running.start()
    running.engine.market.watch(BTC)
    await until(lambda: running.engine.market.quote(BTC) is not None)
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
    assert isinstance(other.exception, ConfigError)
    assert "paper:paper" in str(other.exception) and "pid" in str(other.exception)
    await command(system, "call", "cancel_all")
    assert not system.engine.tracker.working()


async def test_panic_with_flatten_ends_without_orders_and_positions(system: System) -> None:
    order = ("call", "place_order", "symbol=btc", "side=buy")
    assert (await command(system, *order, "order_type=market", "size=0.01")).exit_code == 0
    low = f"{system.engine.market.quote(BTC).bid * 0.99:.0f}"
    assert (await command(system, *order, "order_type=limit", "size=0.01", f"price={low}")).exit_code == 0
    stop = ("call", "place_order", "symbol=btc", "side=sell", "order_type=stop", "size=0.01", "reduce_only=true")
    assert (await command(system, *stop, f"trigger_price={low}")).exit_code == 0

    halted = await command(system, "panic", "--reason", "first without")
    assert halted.exit_code == 0, halted.output
    assert "kept, a reduce-only stop: #" in halted.stdout
    assert f"! position left: {BTC} +0.01" in halted.stdout
    assert len(system.engine.tracker.working()) == 1
    flat = await command(system, "panic", "--flatten")
    assert flat.exit_code == 0, flat.output
    assert "flattening 1 position," in flat.stdout
    assert not system.engine.tracker.working()
    assert not system.engine.portfolio.quantity(BTC)
    assert system.engine.trading.mode is TradingMode.HALTED


async def test_panic_names_each_order_that_could_not_be_confirmed(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    price = f"{system.engine.market.quote(BTC).bid * 0.99:.0f}"
    order = ("call", "place_order", "symbol=btc", "side=buy", "order_type=limit", f"price={price}")
    for size in ("0.01", "0.02"):
        assert (await command(system, *order, f"size={size}")).exit_code == 0
    stuck, _ = system.engine.tracker.working()
    gateway = system.driver.gateway
    cancel = gateway.cancel

    def fail(client_id: str, symbol: str, reply: Reply) -> None:
        if client_id == stuck.client_id:
            reply(VenueUnavailable("the venue is down for maintenance"))
        else:
            cancel(client_id, symbol, reply)

    monkeypatch.setattr(gateway, "cancel", fail)
    monkeypatch.setattr(panicking, "LIMIT_S", 4.0)
    done = await command(system, "panic")
    assert done.exit_code == 1
    (named,) = [line for line in done.stdout.splitlines() if "NOT CONFIRMED" in line]
    for part in (BTC, "buy 0.01", f"at {price}", f"client id {stuck.client_id}", f"venue id {stuck.venue_order_id}"):
        assert part in named
    assert "1 of 2 orders may still rest at paper" in done.stdout.splitlines()[-1]


async def test_a_panic_whose_shell_goes_away_goes_on(system: System) -> None:
    price = f"{system.engine.market.quote(BTC).bid * 0.99:.0f}"
    order = ("call", "place_order", "symbol=btc", "side=buy", "order_type=limit", "size=0.01", f"price={price}")
    await command(system, *order)
    client = await asyncio.to_thread(ControlClient, system.paths.state)
    client.send("panic", PanicOrder("gone"))
    client.close()
    await until(lambda: system.engine.trading.mode is TradingMode.HALTED and not system.engine.tracker.working())
    assert not system.control.server._peers


async def test_a_panic_before_the_start_is_over_halts_as_soon_as_it_is(tmp_path: Path) -> None:
    options = SystemOptions(config=str(tmp_path), market="synthetic:3", seed=1)
    system = build_system(options, asyncio.get_running_loop(), "run")
    begin, gate = system.begin, asyncio.Event()

    async def slowly() -> None:
        await gate.wait()
        await begin()

    system.begin = slowly  # type: ignore[method-assign]
    starting = asyncio.create_task(system.start())
    await until(lambda: (tmp_path / "state" / SOCKET_NAME).exists())
    asked = asyncio.create_task(command(system, "panic", "--reason", "early"))
    await until(mark_path(tmp_path / "state", system.account.key).exists)
    gate.set()
    done = await asked
    await starting
    assert done.exit_code == 0, done.output
    assert "still starting and sends nothing" in done.stdout
    assert "early" in system.engine.trading.status.reason
    await system.stop()


@pytest.mark.parametrize("name", ["ctos.yaml", "accounts.yaml"])
async def test_panic_halts_what_runs_though_the_files_do_not_tell_which_account_is_meant(
    system: System, tmp_path: Path, name: str
) -> None:
    wrong = tmp_path / name
    wrong.write_text("accounts: [\n")
    wrong.chmod(0o600)
    other = await command(system, "panic", "--exchange", "okx", "--account", "main")
    assert other.exit_code != 0 and system.engine.trading.mode is not TradingMode.HALTED
    done = await command(system, "panic", "--account", "0", "--reason", "looks odd")
    assert done.exit_code == 0, done.output
    assert system.engine.trading.mode is TradingMode.HALTED
    assert str(wrong) in done.output.replace("\n", "") and "halting what runs" in done.output.replace("\n", " ")


@pytest.mark.parametrize("name", ["ctos.yaml", "accounts.yaml"])
def test_panic_with_an_unreadable_file_and_no_engine_leaves_the_mark(tmp_path: Path, name: str) -> None:
    wrong = tmp_path / name
    wrong.write_text("accounts: [\n")
    wrong.chmod(0o600)
    done = CliRunner().invoke(cli, ["panic", "--config", str(tmp_path), "--reason", "looks odd"])
    mark = tmp_path / "state" / "KILL"
    assert done.exit_code == 1, done.output
    assert "looks odd" in mark.read_text()
    for part in (
        str(wrong),
        "none can be started",
        "nothing was cancelled",
        f"{mark} lets the next start come up halted",
    ):
        assert part in done.output.replace("\n", " ")
