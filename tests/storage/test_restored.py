"""State that is older than the truth, damaged, or held by somebody else: found, told, and made good from the venue."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from ctos_tui.__main__ import cli
from engine.boot.options import SystemOptions
from engine.boot.recovering import recover
from engine.boot.system import System, build_system, running
from engine.io.database import JournalDamaged
from engine.io.journal import Journal
from engine.kernel.errors import CtosError, StorageError, TradingHalted
from engine.kernel.orders import Order, OrderState, OrderType, Side
from engine.runtime.accounts import MANUAL
from engine.runtime.events import LogLine
from engine.runtime.trading_state import TradingMode
from tests.boot.test_emulated_venues import configure
from tests.engine.floor import d
from tests.storage.mortal import quoted, until
from tests.venues.emulators.core import Emulator

VENUES = pytest.mark.parametrize("emulator", ["okx", "binance", "backpack"], indirect=True)


def order_of(system: System, client_id: str) -> Order:
    found = system.engine.tracker.get(client_id)
    assert found is not None
    return found


async def take(system: System, symbol: str, quantity: str) -> str:
    """Buy at the market; return the client id."""
    client_id = system.engine.submit(MANUAL, symbol, Side.BUY, OrderType.MARKET, d(quantity))
    await until(lambda: order_of(system, client_id).filled == d(quantity))
    return client_id


async def rest(system: System, symbol: str, share: str) -> str:
    """Place an order below the market; return the client id."""
    quote = system.engine.market.quote(symbol)
    assert quote is not None
    price = system.instruments[symbol].price_from_float(round(quote.bid * float(share)))
    client_id = system.engine.submit(MANUAL, symbol, Side.BUY, OrderType.POST_ONLY, d("0.01"), price)
    await until(lambda: order_of(system, client_id).state is OrderState.OPEN)
    return client_id


def agrees(system: System, emulator: Emulator, symbol: str) -> bool:
    """Return whether position and working orders are the venue's, exactly."""
    truth = sum((row.quantity for row in emulator.exchange.positions()), d(0))
    same_orders = len(system.engine.tracker.working()) == len(emulator.exchange.open_orders())
    return same_orders and system.engine.portfolio.quantity(symbol) == truth


def without_tail(state: Path) -> None:
    """Bring the database back as a power loss may leave it: without the write-ahead log."""
    for part in ("ctos.db-wal", "ctos.db-shm"):
        (state / part).unlink(missing_ok=True)


def of_yesterday(state: Path) -> None:
    """Bring back the backup."""
    without_tail(state)
    shutil.copy(state.parent / "backup.db", state / "ctos.db")


@VENUES
@pytest.mark.parametrize("bring_back", [without_tail, of_yesterday], ids=["p16 tail lost", "d09 old backup"])
async def test_p16_d09_what_the_state_does_not_know_is_found_at_the_venue_and_no_id_is_used_again(
    emulator: Emulator, home: Path, bring_back: Callable[[Path], None]
) -> None:
    options = configure(home, emulator)
    state = home / "state"
    async with running(options) as system:
        system.engine.arm("operator", 600.0)
        symbol = await quoted(system)
        await take(system, symbol, "0.01")
    shutil.copy(state / "ctos.db", home / "backup.db")
    async with running(options) as system:
        system.journal.flush()
        sqlite3.connect(state / "ctos.db").execute("PRAGMA wal_checkpoint(TRUNCATE)")
        system.engine.arm("operator", 600.0)
        symbol = await quoted(system)
        await take(system, symbol, "0.02")
        await rest(system, symbol, "0.99")
        system.journal.flush()
        shutil.copytree(state, home / "as it was", ignore=shutil.ignore_patterns("*.sock"))
    before = {order.client_id for order in emulator.exchange.registry._closed}
    before |= {order.client_id for order in emulator.exchange.open_orders()}
    shutil.rmtree(state)
    shutil.copytree(home / "as it was", state)
    bring_back(state)
    lines: list[str] = []
    placed = len(emulator.executions())
    system = build_system(options, asyncio.get_running_loop())
    system.bus.subscribe(LogLine, lambda line: lines.append(line.text))
    await system.start()
    try:
        assert len(emulator.executions()) == placed, "nothing is sent again"
        assert agrees(system, emulator, symbol)
        assert system.engine.portfolio.quantity(symbol) == d("0.03")
        [adopted] = system.engine.tracker.working()
        assert adopted.external
        assert any("filled while nothing ran: not ours buy 0.02" in line for line in lines), lines
        assert any("found at the start" in line and "placed by others" in line for line in lines)
        system.engine.arm("operator", 600.0)
        await quoted(system)
        mine = [await take(system, symbol, "0.01"), await rest(system, symbol, "0.985")]
        assert not before & set(mine)
        known = [int(cid[10:], 36) for cid in before if cid.startswith(mine[0][:2])]
        assert not known or int(mine[0][10:], 36) > max(known), "numbers go on behind those that the venue has seen"
        assert agrees(system, emulator, symbol)
    finally:
        await system.stop()


@VENUES
async def test_d04_a_damaged_journal_of_a_live_account_is_begun_anew_from_the_venue_and_comes_up_halted(
    emulator: Emulator, home: Path
) -> None:
    options = configure(home, emulator)
    path = home / "state" / "ctos.db"
    async with running(options) as system:
        system.engine.arm("operator", 600.0)
        symbol = await quoted(system)
        await take(system, symbol, "0.02")
        await rest(system, symbol, "0.99")
        ids = system.engine.new_client_id(MANUAL)
    connection = sqlite3.connect(path)
    [root] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'journal'").fetchone()
    connection.close()
    content = bytearray(path.read_bytes())
    content[(root - 1) * 4096 : (root - 1) * 4096 + 64] = b"\xff" * 64
    path.write_bytes(content)
    with pytest.raises(JournalDamaged, match="ctos-tui recover"):
        async with running(options):
            pytest.fail("it must not start")
    assert path.read_bytes() == bytes(content), "left as it is"
    done = await recover(options, force=False)
    assert "damaged" in done.trouble and done.halted
    assert (done.recovery.aside / "ctos.db").read_bytes() == bytes(content), "kept"
    async with running(options) as system:
        engine = system.engine
        assert engine.trading.mode is TradingMode.HALTED and "begun anew" in engine.trading.describe()
        assert agrees(system, emulator, symbol)
        assert engine.portfolio.adjusted(symbol) == engine.portfolio.ledger(MANUAL, symbol).quantity == d("0.02")
        [adopted] = engine.tracker.working()
        assert adopted.external
        with pytest.raises(TradingHalted):
            engine.arm("operator", 600.0)
        engine.rearm("operator", "positions are the venue's")
        engine.arm("operator", 600.0)
        await quoted(system)
        new = await take(system, symbol, "0.01")
        assert new[:2] == ids[:2], "the same installation"
        assert int(new[10:], 36) > int(ids[10:], 36) + 100_000, "far from any number that was given out"
        assert agrees(system, emulator, symbol)
    with pytest.raises(StorageError, match=r"is whole.*--force"):
        await recover(options, force=False)


async def paper_life(options: SystemOptions) -> None:
    async with running(options) as system:
        symbol = "BTC-USDT-PERP"
        system.engine.market.watch(symbol)
        await until(lambda: system.engine.market.quote(symbol))
        system.engine.arm("operator", 600.0)
        await take(system, symbol, "0.01")


@pytest.mark.parametrize("damage", ["flip", "truncate", "zero", "text", "folder"])
def test_d04_every_damage_is_one_clear_line_and_recover_helps(home: Path, damage: str) -> None:
    options = SystemOptions(config=str(home), market="synthetic:3", seed=1)
    asyncio.run(paper_life(options))
    path = home / "state" / "ctos.db"
    content = path.read_bytes()
    if damage == "flip":
        path.write_bytes(content[:8192] + b"\x7f" * 512 + content[8704:])
    elif damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "zero":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_bytes(b"my shopping list\n" * 1000)
    else:
        path.unlink()
        path.mkdir()
    runner = CliRunner()
    run = ["run", "--config", str(home), "--market", "synthetic:3", "--for", "50ms"]
    refused = runner.invoke(cli, run)
    assert isinstance(refused.exception, CtosError), refused.output
    assert str(path) in str(refused.exception) and "\n" not in str(refused.exception)
    if damage == "folder":
        assert "not a file" in str(refused.exception)
        return
    assert "ctos-tui recover" in str(refused.exception)
    checked = runner.invoke(cli, ["check", "--config", str(home), "--market", "synthetic:3"])
    assert checked.exit_code == 1 and "✗ journal" in checked.output
    helped = runner.invoke(cli, ["recover", "--config", str(home), "--yes"])
    assert helped.exit_code == 0 and "it is kept in" in helped.output, (helped.output, helped.exception)
    again = runner.invoke(cli, run)
    assert again.exit_code == 0, again.exception
    assert (
        runner.invoke(cli, ["check", "--config", str(home), "--market", "synthetic:3"]).output.count("✓ journal") == 1
    )


def more_than(found: list[Exception], count: int) -> bool:
    return len(found) > count


def hold(path: Path) -> sqlite3.Connection:
    """Hold a database as a backup or a shell does."""
    other = sqlite3.connect(path, isolation_level=None, timeout=0.05)
    for _ in range(100):
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            continue
        return other
    raise AssertionError("it could not be had")


async def test_d03_a_database_that_somebody_holds_refuses_orders_and_loses_none(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute is thirty waits of the writer. The lock is real; each wait is cut from 2 s to a tenth of one."""
    monkeypatch.setattr("engine.io.database.BUSY_TIMEOUT_S", 0.1)
    waits = 30
    failures: list[Exception] = []
    fail = Journal._fail

    def counted(self: Journal, error: sqlite3.Error | MemoryError) -> list[Callable[[], object]]:
        failures.append(error)
        return fail(self, error)

    monkeypatch.setattr(Journal, "_fail", counted)
    async with running(SystemOptions(config=str(home), market="synthetic:3", seed=1)) as system:
        symbol = "BTC-USDT-PERP"
        engine = system.engine
        assert system.paper is not None
        exchange = system.paper.exchange
        system.engine.market.watch(symbol)
        await until(lambda: engine.market.quote(symbol))
        engine.arm("operator", 600.0)
        kept = await rest(system, symbol, "0.99")
        system.journal.flush()
        other = hold(home / "state" / "ctos.db")
        try:
            client_id = engine.submit(MANUAL, symbol, Side.BUY, OrderType.MARKET, d("0.01"))
            await until(lambda: order_of(system, client_id).state is OrderState.NEVER_SENT, 10)
            await until(lambda: engine.trading.mode is TradingMode.HALTED, 10)
            with pytest.raises(TradingHalted):
                engine.submit(MANUAL, symbol, Side.BUY, OrderType.MARKET, d("0.01"))
            await until(lambda: not exchange.open_orders(), 10)
            assert "another program holds it" in str(system.journal.failed)
            assert client_id not in {order.client_id for order in exchange.registry._closed}
            while (seen := len(failures)) < waits:
                system.journal.retry()
                await until(partial(more_than, failures, seen))
                with pytest.raises(CtosError, match="another program holds it"):
                    engine.rearm("operator", "it will do")
            assert engine.trading.mode is TradingMode.HALTED and not exchange.open_orders()
        finally:
            other.close()
        system.journal.retry()
        await until(lambda: system.journal.failed is None)
        written = {
            record.body.get("client_id") or record.body.get("update", {}).get("client_id")
            for record in system.journal.records(system.account.key)
        }
        assert {kept, client_id} <= written, "what waited is there"
        engine.rearm("operator", "the backup is done")


@VENUES
async def test_a_strategy_goes_on_after_a_restart_and_hears_once_of_fills_that_it_missed(
    emulator: Emulator, home: Path
) -> None:
    options = configure(home, emulator)
    async with running(options) as system:
        system.engine.arm("operator", 600.0)
        symbol = await quoted(system)
        grid = system.manager.launch("dyn_grid", {}, symbols=symbol)
        await until(lambda: len(emulator.exchange.open_orders()) >= 2)
        name = grid.name
        held = system.engine.portfolio.ledger(name, symbol).quantity
        seen = len(system.engine.portfolio.fills.recent())
    buy = next(order for order in emulator.exchange.open_orders() if order.side is Side.BUY)
    native = emulator.exchange.instruments[buy.symbol]
    emulator.print(native.symbol, float(buy.price), 10_000.0)  # type: ignore[arg-type]
    await until(lambda: len(emulator.executions()) > seen)
    filled = sum((fill.signed_quantity for fill in emulator.executions()[seen:]), d(0))
    async with running(options) as system:
        [instance] = [row for row in system.manager.instances.values() if row.name == name]
        assert system.engine.portfolio.ledger(name, symbol).quantity == held + filled
        assert len(system.engine.portfolio.fills.recent()) == len(emulator.executions())
        system.engine.arm("operator", 600.0)
        await quoted(system)
        await until(lambda: len(system.engine.tracker.working(symbol, name)) >= 2)
        await until(lambda: agrees(system, emulator, symbol))
        assert instance.life.state.value == "running"
