"""`ctos-tui panic` on the real drivers over the wire: what an engine that has ended left goes, and stays away."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from ctos_tui.__main__ import cli
from drivers.paper.markets.synthetic import SyntheticMarket
from engine.boot import panicking
from engine.boot.options import SystemOptions
from engine.boot.system import running
from engine.kernel.clock import LoopClock
from engine.kernel.orders import OrderState, OrderType, Side
from engine.runtime.accounts import MANUAL
from engine.runtime.halt_mark import mark_path
from engine.runtime.trading_state import TradingMode
from tests.boot.conftest import write_accounts
from tests.boot.test_emulated_venues import configure, order, quoted
from tests.boot.test_real_venues import until
from tests.engine.floor import d
from tests.venues.emulators.__main__ import emulator_class
from tests.venues.emulators.core import Emulator


@pytest.fixture(params=["okx", "binance", "backpack"])
async def emulator(request: pytest.FixtureRequest) -> AsyncIterator[Emulator]:
    clock = LoopClock(asyncio.get_running_loop())
    async with emulator_class(request.param)(market=SyntheticMarket(3, clock.now_ns()), clock=clock) as running_one:
        yield running_one


async def panic(home: Path, emulator: Emulator, *options: str) -> Result:
    return await panic_anywhere(home, "--exchange", emulator.name, "--account", "main", *options)


async def panic_anywhere(home: Path, *options: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, cli, ["panic", "--config", str(home), *options])


async def test_panic_without_an_engine_cancels_and_flattens_at_the_venue(emulator: Emulator, home: Path) -> None:
    options = configure(home, emulator)
    async with running(options) as system:
        engine, symbol = system.engine, await quoted(system)
        engine.arm("ann", 600)
        bought = engine.submit(MANUAL, symbol, Side.BUY, OrderType.MARKET, d("0.02"))
        await until(lambda: order(system, bought).state is OrderState.FILLED, 20)
        await until(lambda: engine.portfolio.quantity(symbol) == d("0.02"), 20)
        quote = engine.market.quote(symbol)
        assert quote is not None
        price = system.instruments[symbol].price_from_float(round(quote.bid * 0.99))
        resting = engine.submit(MANUAL, symbol, Side.BUY, OrderType.POST_ONLY, d("0.01"), price)
        await until(lambda: order(system, resting).state is OrderState.OPEN, 20)
        low = system.instruments[symbol].price_from_float(round(quote.bid * 0.8))
        stop = engine.submit(MANUAL, symbol, Side.SELL, OrderType.STOP, d("0.02"), None, low)
        is_held = order(system, stop).held
    assert len(emulator.exchange.open_orders()) == 1

    done = await panic(home, emulator, "--reason", "gone mad")
    assert done.exit_code == 0, done.output
    assert "1 of 1 orders cancelled" in done.stdout
    assert f"! position left: {symbol} +0.02" in done.stdout
    assert is_held and "kept, a reduce-only stop that only the engine watches" in done.stdout
    assert "! does not work while no engine runs: the venue does not know this stop" in done.stdout
    assert emulator.exchange.open_orders() == []

    flat = await panic(home, emulator, "--flatten")
    assert flat.exit_code == 0, flat.output
    assert emulator.exchange.positions() == [] and emulator.exchange.open_orders() == []

    async with running(options) as system:
        status = system.engine.trading.status
        assert status.mode is TradingMode.HALTED
        assert "gone mad" in status.reason and "by ctos-tui panic" in status.who


async def rest_one(options: SystemOptions) -> None:
    """Leave an order at the venue as an engine does that ends."""
    async with running(options) as system:
        symbol = await quoted(system)
        system.engine.arm("ann", 600)
        quote = system.engine.market.quote(symbol)
        assert quote is not None
        price = system.instruments[symbol].price_from_float(round(quote.bid * 0.99))
        resting = system.engine.submit(MANUAL, symbol, Side.BUY, OrderType.POST_ONLY, d("0.01"), price)
        await until(lambda: order(system, resting).state is OrderState.OPEN, 20)


@pytest.mark.parametrize("emulator", ["okx"], indirect=True)
async def test_p17_panic_means_every_account_that_has_traded_with_money_when_none_is_named(
    emulator: Emulator, home: Path
) -> None:
    live = configure(home, emulator)
    await rest_one(live)
    async with running(SystemOptions(config=str(home), market="synthetic:3")):
        pass  # what is looked for must not be only what ran last
    done = await panic_anywhere(home, "--reason", "gone mad")
    assert done.exit_code == 0, done.output
    assert "starting one of paper:paper" in done.stdout and "starting one of okx:main" in done.stdout
    assert "1 of 1 orders cancelled" in done.stdout and emulator.exchange.open_orders() == []
    async with running(live) as system:
        assert system.engine.trading.mode is TradingMode.HALTED


@pytest.mark.parametrize("emulator", ["okx"], indirect=True)
async def test_the_halt_of_an_account_that_cannot_be_reached_is_left_although_another_is_halted_after_it(
    emulator: Emulator, home: Path
) -> None:
    live = configure(home, emulator)
    accounts = yaml.safe_load((home / "accounts.yaml").read_text())
    accounts["okx"]["second"] = dict(accounts["okx"]["main"])
    write_accounts(home, yaml.safe_dump(accounts, default_style='"'))
    await rest_one(live)
    async with running(replace(live, account="second")):
        pass
    accounts["okx"]["second"]["secret"] = "0" * 32
    write_accounts(home, yaml.safe_dump(accounts, default_style='"'))
    done = await panic_anywhere(home)
    assert done.exit_code == 1, done.output
    assert "nothing was cancelled" in done.stdout and "starting one of okx:main" in done.stdout, done.output
    state = home / "state"
    assert emulator.exchange.open_orders() == [] and mark_path(state, "okx:second").exists()
    assert not mark_path(state, "okx:main").exists()


@pytest.mark.parametrize("emulator", ["okx"], indirect=True)
async def test_panic_confirms_nothing_about_an_account_that_the_files_have_lost(emulator: Emulator, home: Path) -> None:
    await rest_one(configure(home, emulator))
    (home / "accounts.yaml").unlink()
    done = await panic_anywhere(home)
    assert done.exit_code == 1, done.output
    assert "okx:main" in done.stdout and "look at the venue yourself" in done.stdout, done.stdout


async def test_panic_confirms_nothing_where_nothing_has_traded(tmp_path: Path) -> None:
    done = await panic_anywhere(tmp_path / "elsewhere")
    assert done.exit_code == 1 and "NOTHING IS CONFIRMED" in done.stdout, done.output
    assert os.listdir(tmp_path) == []


async def test_panic_on_a_venue_that_cannot_be_reached_leaves_the_next_start_halted(
    emulator: Emulator, home: Path
) -> None:
    options = configure(home, emulator)
    hosts = dict(emulator.overrides)
    text = (home / "ctos.yaml").read_text()
    dead = text
    for address in hosts.values():
        if isinstance(address, str):
            dead = dead.replace(address, address.split("//")[0] + "//127.0.0.1:9")
    assert dead != text
    (home / "ctos.yaml").write_text(dead)
    done = await panic(home, emulator)
    assert done.exit_code == 1
    assert "nothing was cancelled: look at the venue yourself" in done.stdout
    assert mark_path(home / "state", f"{emulator.name}:main").exists()
    (home / "ctos.yaml").write_text(text)
    async with running(options) as system:
        assert system.engine.trading.mode is TradingMode.HALTED


@pytest.mark.parametrize("emulator", ["backpack"], indirect=True)
async def test_p17_what_panic_without_an_engine_cannot_confirm_is_left_to_its_watchdog(
    emulator: Emulator, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panicking, "LIMIT_S", 3.0)
    live = configure(home, emulator)
    await rest_one(live)
    emulator.faults.answer("DELETE /api/v1/order", 503, "{}", times=None)
    done = await panic(home, emulator)
    assert done.exit_code == 1 and "NOT CONFIRMED cancelled" in done.stdout, done.output
    assert "the watchdog goes on cancelling, for 10 min at most, look at the venue yourself" in done.stdout
    emulator.faults.clear()
    await until(lambda: emulator.exchange.open_orders() == [], 20)
    [log] = (home / "state" / "logs").glob("*_watchdog.log")
    await until(lambda: "looked at twice" in log.read_text(), 20)
