"""The watchdog process: a real engine beside a venue without a timer, killed, frozen, ended, restarted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from ctos_tui.__main__ import cli
from drivers.paper.markets.synthetic import SyntheticMarket
from engine.boot import watchdog, watchdog_keeper
from engine.boot.options import SystemOptions
from engine.boot.system import build_system, running
from engine.boot.winding_down import wind_down
from engine.io.lock import StateLock
from engine.io.watchdog_log import take_notes
from engine.kernel.clock import LoopClock
from engine.kernel.orders import OrderRequest, OrderType, Side
from tests.boot.guarded import known, place
from tests.boot.test_emulated_venues import configure
from tests.boot.test_real_venues import until
from tests.engine.floor import d
from tests.venues.emulators.__main__ import emulator_class
from tests.venues.emulators.core import Emulator

VENUE, SYMBOL = "backpack", "BTC-USDC-PERP"
SPOT, PERP = "BTC-USDT", "BTC-USDT-PERP"
PATIENCE_S = 2.0


class Engine:
    """An engine's process."""

    def __init__(self, process: asyncio.subprocess.Process, seen: dict[str, Any]) -> None:
        self.process = process
        self.pid: int = seen["pid"]
        self.watchdog: int = seen["watchdog"]
        self.ours: list[str] = seen["working"]

    async def tells(self, what: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Ask until something holds, and return what was told."""
        async with asyncio.timeout(20):
            while not what(seen := await self._ask()):
                pass
        return seen

    async def _ask(self) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(b"?\n")
        found: dict[str, Any] = json.loads(await asyncio.wait_for(self.process.stdout.readline(), 20))
        return found

    async def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        await asyncio.wait_for(self.process.wait(), 20)

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()


class Engines:
    """Starts engines on one home, and leaves none of their processes behind."""

    def __init__(self, home: Path, venue: str) -> None:
        self._home = home
        self._venue = venue
        self._started: list[Engine] = []

    async def start(self, symbol: str = SYMBOL) -> Engine:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.boot.guarded", str(self._home), self._venue, symbol),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        self._started.append(Engine(process, json.loads(line)))
        return self._started[-1]

    async def close(self) -> None:
        for each in self._started:
            if each.process.returncode is None:
                await each.kill()
        watchdogs = {each.watchdog for each in self._started}
        watchdogs |= {int(path.read_text()) for path in (self._home / "state").glob("watchdog_*.pid")}
        for pid in filter(is_watching, watchdogs):
            os.kill(pid, signal.SIGKILL)


def is_watching(pid: int) -> bool:
    try:
        return b"engine.boot.watchdog" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


def settle(home: Path, emulator: Emulator, **more: object) -> SystemOptions:
    options = configure(home, emulator)
    settings = {**emulator.overrides, "watchdog_s": PATIENCE_S, **more}
    (home / "ctos.yaml").write_text(yaml.safe_dump({"venues": {emulator.name: settings}}))
    return options


def watchdog_log(home: Path) -> Path:
    return home / "state" / "logs" / f"{VENUE}_Account0_watchdog.log"


@pytest.fixture
def venue() -> str:
    return VENUE


@pytest.fixture
async def emulator(venue: str) -> AsyncIterator[Emulator]:
    clock = LoopClock(asyncio.get_running_loop())
    async with emulator_class(venue)(market=SyntheticMarket(3, clock.now_ns()), clock=clock) as running_one:
        yield running_one


@pytest.fixture
async def engines(home: Path, emulator: Emulator) -> AsyncIterator[Engines]:
    settle(home, emulator)
    found = Engines(home, emulator.name)
    yield found
    await found.close()


def by_somebody_else(emulator: Emulator) -> str:
    """Place an order that is not the engine's; return its id."""
    [ours, *_] = emulator.exchange.open_orders()
    assert ours.price is not None
    before = set(emulator.exchange.registry.open)
    request = OrderRequest("", "", ours.symbol, Side.BUY, OrderType.LIMIT, d("0.01"), ours.price - 100)
    emulator.carry_out(lambda: emulator.exchange.place(request))
    [order_id] = set(emulator.exchange.registry.open) - before
    return order_id


def resting(emulator: Emulator) -> set[str]:
    return set(emulator.exchange.registry.open)


def check_is_apart(pid: int, emulator: Emulator) -> None:
    """See that a process has nothing of the engine's but its pipe, and shows no key."""
    process = Path(f"/proc/{pid}")
    assert os.getsid(pid) == pid
    assert sorted(int(path.name) for path in (process / "fd").iterdir()) == [0, 1, 2]
    shown = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    assert emulator.key.encode() not in shown and emulator.secret.encode() not in shown


async def test_what_a_killed_engine_left_is_cancelled_and_nothing_else(
    home: Path, emulator: Emulator, engines: Engines
) -> None:
    engine = await engines.start()
    others = by_somebody_else(emulator)
    await engine.tells(lambda seen: len(seen["working"]) == 3)
    check_is_apart(engine.watchdog, emulator)
    await engine.kill()
    await until(lambda: resting(emulator) == {others}, 20)
    await until(lambda: not is_watching(engine.watchdog), 20)

    path = watchdog_log(home)
    log = path.read_text()
    assert "the venue shows none of its orders, looked at twice" in log
    assert all(client_id in log for client_id in engine.ours)
    assert emulator.key not in log and emulator.secret not in log
    async with running(SystemOptions(config=str(home), exchange=VENUE)) as system:
        await until(lambda: "watchdog_acted" in known(system)["alarms"])  # type: ignore[operator]
        assert "the watchdog cancelled 2 of 2 orders" in known(system)["alarms"]["watchdog_acted"]  # type: ignore[index]
        assert "watchdog" in system.cover.describe()[0]
        await until(lambda: not set(engine.ours) & set(known(system)["working"]))  # type: ignore[call-overload]
    told = "".join(path.read_text() for path in (home / "state" / "logs").glob("*_monitor.log"))
    assert "the watchdog cancelled 2 of 2" in told and "gone while nothing ran" not in told
    assert not path.exists() and path.with_suffix(".log.1").read_text() == log


async def test_a_short_command_after_a_crash_leaves_the_watchdog_at_its_work(
    home: Path, emulator: Emulator, engines: Engines
) -> None:
    engine = await engines.start()
    others = by_somebody_else(emulator)
    await engine.kill()
    asked = ("call", "--config", str(home), "--exchange", VENUE, "get_open_orders")
    result = await asyncio.to_thread(CliRunner().invoke, cli, asked)
    assert result.exit_code == 0 and all(client_id in result.output for client_id in engine.ours)
    await until(lambda: resting(emulator) == {others}, 20)
    await until(lambda: not is_watching(engine.watchdog), 20)
    log = watchdog_log(home).read_text()
    assert "cancelled 2 of 2 orders" in log and "looked at twice" in log


async def test_while_another_account_runs_in_the_folder_the_watchdog_goes_on(
    home: Path, emulator: Emulator, engines: Engines
) -> None:
    engine = await engines.start()
    emulator.faults.answer("DELETE /api/v1/order", 503, "{}", times=None)
    await engine.kill()
    await until(lambda: any(seen.method == "DELETE" for seen in emulator.requests), 20)
    async with running(SystemOptions(config=str(home), exchange="paper", market="synthetic:1")):
        emulator.faults.clear()
        await until(lambda: not resting(emulator), 30)
        await until(lambda: not is_watching(engine.watchdog), 20)
    assert "cancelled 2 of 2 orders" in watchdog_log(home).read_text()


async def test_an_engine_whose_start_fails_leaves_the_watchdog_at_its_work(
    home: Path, emulator: Emulator, engines: Engines
) -> None:
    engine = await engines.start()
    emulator.faults.answer("DELETE /api/v1/order", 503, "{}", times=None)
    await engine.kill()
    await until(lambda: any(seen.method == "DELETE" for seen in emulator.requests), 20)
    system = build_system(SystemOptions(config=str(home), exchange=VENUE), asyncio.get_running_loop())
    await until(lambda: "waiting for it to take the orders over" in watchdog_log(home).read_text(), 20)
    emulator.faults.clear()
    system.close()
    await until(lambda: not resting(emulator), 20)
    await until(lambda: not is_watching(engine.watchdog), 20)


async def test_what_a_stop_cannot_confirm_is_left_to_the_watchdog(home: Path, emulator: Emulator) -> None:
    async with running(settle(home, emulator)) as system:
        await place(system, SYMBOL)
        await until(lambda: system.cover.watchdog.is_running)  # type: ignore[union-attr]
        others = by_somebody_else(emulator)
        emulator.faults.answer("DELETE /api/v1/order", 503, "{}", times=None)
        report = await wind_down(system, "cancel", asyncio.Event(), 0.5)
    assert len(report.unconfirmed) == 2
    assert report.lines[-1] == "  the watchdog goes on cancelling, for 10 min at most"
    emulator.faults.clear()
    await until(lambda: resting(emulator) == {others}, 20)
    path = watchdog_log(home)
    await until(lambda: "looked at twice" in path.read_text(), 20)
    assert "has ended before the venue had confirmed" in path.read_text()


async def test_a_frozen_engine_keeps_what_is_left_when_it_thaws_and_learns_what_is_gone(
    home: Path, emulator: Emulator, engines: Engines
) -> None:
    engine = await engines.start()
    ours = resting(emulator)
    emulator.faults.answer("DELETE /api/v1/order", 503, "{}", times=None)
    os.kill(engine.pid, signal.SIGSTOP)
    await until(lambda: any(seen.method == "DELETE" for seen in emulator.requests), 20)
    os.kill(engine.pid, signal.SIGCONT)
    await engine.tells(lambda seen: "lives again; cancelled 0 of 2" in seen["alarms"].get("watchdog_acted", ""))
    emulator.faults.clear()
    assert resting(emulator) == ours

    os.kill(engine.pid, signal.SIGSTOP)
    await until(lambda: not resting(emulator), 20)
    os.kill(engine.pid, signal.SIGCONT)
    seen = await engine.tells(lambda seen: not seen["working"] and "2 of 2" in seen["alarms"]["watchdog_acted"])
    assert (seen["watchdog"], seen["runs"]) == (engine.watchdog, True)
    assert "watchdog" not in seen["alarms"]
    await engine.end()
    assert not is_watching(engine.watchdog)


async def test_an_engine_that_is_back_in_time_keeps_its_orders_and_so_does_one_that_ends(
    home: Path, emulator: Emulator, engines: Engines
) -> None:
    settle(home, emulator, watchdog_s=10.0)  # longer than any start takes
    first = await engines.start()
    left = resting(emulator)
    await first.kill()
    second = await engines.start()
    assert second.ours == first.ours and second.watchdog != first.watchdog
    await until(lambda: not is_watching(first.watchdog), 20)
    assert resting(emulator) == left

    await second.end()
    assert not is_watching(second.watchdog)
    assert resting(emulator) == left
    assert not watchdog_log(home).exists()
    assert not any("was killed" in path.read_text() for path in (home / "state" / "logs").glob("*_monitor.log"))


@pytest.mark.parametrize(("venue", "covered", "not_covered"), [(VENUE, SYMBOL, ""), ("binance", SPOT, PERP)])
async def test_orders_whose_answer_never_came_are_found_and_those_that_the_venue_watches_are_left_to_it(
    home: Path, emulator: Emulator, covered: str, not_covered: str
) -> None:
    async with running(settle(home, emulator)) as system:
        await place(system, covered)
        if not_covered:
            await place(system, not_covered)
        keeper = system.cover.watchdog
        assert keeper is not None
        told = [f"order {client_id} {covered} " for client_id in keeper._told]
        assert len(told) == 2
        charge = {**system.cover._charge(), "engine": 1, "patience_s": 0}
    before = {order.symbol for order in emulator.exchange.open_orders()}
    os.unlink(charge["pid_file"])
    others = by_somebody_else(emulator)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "engine.boot.watchdog"), stdin=asyncio.subprocess.PIPE
    )
    lines = "\n".join([f"charge {json.dumps(charge)}", *told, ""])
    await asyncio.wait_for(process.communicate(lines.encode()), 20)
    after = [order.symbol for order in emulator.exchange.open_orders()]
    assert others in resting(emulator) and len(after) == (3 if not_covered else 1)
    assert len(before) == (2 if not_covered else 1)


async def test_a_watchdog_that_dies_or_does_not_answer_is_started_anew_a_few_times(
    home: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog_keeper, "BEAT_S", 0.2)
    monkeypatch.setattr(watchdog_keeper, "UNANSWERED", 3)
    async with running(settle(home, emulator)) as system:
        await place(system, SYMBOL)
        left = resting(emulator)
        keeper = system.cover.watchdog
        assert keeper is not None
        for signum in (signal.SIGKILL, signal.SIGSTOP, signal.SIGKILL):
            before = keeper.pid
            assert before is not None
            os.kill(before, signum)
            await until(lambda: keeper.pid not in (None, before), 10)  # noqa: B023
            await until(lambda: keeper.is_running and not known(system)["alarms"])
            assert not is_watching(before)
        last = keeper.pid
        assert last is not None
        os.kill(last, signal.SIGKILL)
        await until(lambda: "watchdog" in known(system)["alarms"] and keeper.pid is None)  # type: ignore[operator]
        assert system.cover.describe() == ("our orders stay: no watchdog answers", False)
        assert resting(emulator) == left


def test_orders_of_a_crashed_engine_are_left_to_another_that_runs_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "TICK_S", 0.01)
    monkeypatch.setattr(watchdog, "HANDOVER_S", 0.05)
    log = tmp_path / "watchdog.log"
    charge = {
        "engine": 1,
        "patience_s": 0.01,
        "owner": "backpack:main",
        "state": str(tmp_path),
        "pid_file": str(tmp_path / "pid"),
        "log": str(log),
    }
    ours, theirs = os.pipe()
    with StateLock(tmp_path, "backpack:main"):
        os.write(theirs, f"charge {json.dumps(charge)}\norder x1 {SYMBOL} \n".encode())
        os.close(theirs)
        watchdog.stand_guard(watchdog.Feed(ours, ours))
    os.close(ours)
    [note] = take_notes(log)
    assert note.level == "error" and "none of 1 orders" in note.text
