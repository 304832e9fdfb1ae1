"""Slices of the simulation, its determinism, and proof that its invariants can fail."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from drivers.transport.rate_limits import RateLimiter
from engine.boot.venues import JournalVenueStore
from engine.io.journal import Journal
from engine.kernel.orders import Fill
from engine.runtime.booking import Booking
from engine.runtime.commands import OrderCommands
from engine.runtime.records import Reconciled, Record
from engine.runtime.state import Effect, EngineState
from engine.runtime.trading_state import TradingState
from tests.sim.loop import NeverWakesError, SimLoop, run
from tests.sim.report import Report
from tests.sim.world import Plan, simulate

ROOT = Path(__file__).resolve().parents[2]
_SHOW = """
from tests.sim.life import Beside
from tests.sim.world import Plan, simulate
all_of_it = Beside(strategy=True, monitor=True, correction="on", spot=True, stranger=True)
for venue in ("okx", "binance", "backpack"):
    print(simulate(Plan(seed={seed}, hours=0.04, venue=venue, crash_s=30.0, halt=1.0, beside=all_of_it)).digest)
"""


def explain(result: Report) -> str:
    return "\n".join([*result.violations, *result.lines])


@pytest.mark.parametrize(("venue", "seed"), [("okx", 1), ("binance", 1), ("backpack", 1)])
def test_everything_agrees_with_the_venue_after_faults_and_crashes(venue: str, seed: int) -> None:
    files = len(os.listdir("/dev/fd"))
    result = simulate(Plan(seed=seed, hours=0.15, venue=venue))
    assert not result.violations, explain(result)
    gc.collect()
    assert len(os.listdir("/dev/fd")) <= files, "a soak would run out of them"
    assert result.rounds >= 2
    assert result.orders > 20
    assert result.fills > 10
    assert result.counts["crashes"] + result.counts["stops"] > 0


def digests(seed: int, hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", _SHOW.format(seed=seed)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def test_the_same_seed_gives_the_same_trace_in_any_process() -> None:
    with ThreadPoolExecutor(2) as pool:
        first, *others, different = pool.map(digests, (3, 3, 3, 4), ("0", "1", "random", "0"))
    assert others == [first, first]
    assert not set(first.split()) & set(different.split())


def test_fills_that_are_booked_twice_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Booking, "_is_booked", lambda self, fill: False)
    result = simulate(Plan(seed=1, hours=0.5))
    assert "overfill" in result.violations[0] or "I2" in result.violations[0]


def test_fills_that_are_lost_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    book = Booking.on_fill

    def forgetful(self: Booking, fill: Fill) -> None:
        if int(fill.trade_id) % 5:
            book(self, fill)

    monkeypatch.setattr(Booking, "on_fill", forgetful)
    result = simulate(Plan(seed=1, hours=0.5))
    assert result.violations


def test_an_order_that_is_sent_before_it_is_durable_and_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    send = OrderCommands._send

    def twice(self: OrderCommands, order: object, *args: object) -> None:
        send(self, order, *args)  # type: ignore[arg-type]
        send(self, order, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(OrderCommands, "_send", twice)
    result = simulate(Plan(seed=1, hours=0.2))
    assert "I1" in result.violations[0]


def test_a_halt_that_a_restart_forgets_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TradingState, "restore", lambda self, body: None)
    result = simulate(Plan(seed=2, hours=0.8, halt=1.0, crash_s=60.0))
    assert "I7" in result.violations[0], result.violations


def test_a_record_that_is_called_durable_before_it_is_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    append = Journal.append

    def hasty(self: Journal, kind: str, account: str, ts_ns: int, body: object, on_durable: Any = None) -> int:
        seq = append(self, kind, account, ts_ns, body)
        if on_durable is not None:
            asyncio.get_running_loop().call_soon(on_durable)
        return seq

    monkeypatch.setattr(Journal, "append", hasty)
    result = simulate(Plan(seed=1, hours=0.5, crash_s=20.0))
    assert "I12" in result.violations[0], result.violations


def test_requests_during_a_ban_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RateLimiter, "ban_until", lambda self, until_ms, reason: None)
    result = simulate(Plan(seed=1, hours=0.5, venue="binance", only=("ban",), fault_s=20.0))
    assert "I14" in result.violations[0], result.violations


def test_a_ban_that_a_restart_forgets_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JournalVenueStore, "load", lambda self, key: None)
    result = simulate(Plan(seed=1, hours=0.5, venue="binance", only=("ban",), fault_s=20.0, crash_s=30.0))
    assert "I14" in result.violations[0], result.violations


@pytest.mark.parametrize("checkpoint_every", [20_000, 50], ids=["all replayed", "meets what was stored"])
def test_a_change_without_a_record_is_found(monkeypatch: pytest.MonkeyPatch, checkpoint_every: int) -> None:
    monkeypatch.setattr("engine.runtime.state.CHECKPOINT_EVERY", checkpoint_every)
    write = EngineState.write

    def silent(self: EngineState, record: Record, on_durable: Any = None) -> Effect:
        if isinstance(record, Reconciled) and self.fills_until is not None:
            return self._apply(record, 0, 0)
        return write(self, record, on_durable)

    monkeypatch.setattr(EngineState, "write", silent)
    result = simulate(Plan(seed=1, hours=0.2))
    assert "I16" in result.violations[0], result.violations


def test_an_hour_passes_in_no_time_and_a_dead_end_is_an_error() -> None:
    async def main(loop: SimLoop) -> float:
        await asyncio.sleep(3600)
        return loop.time()

    assert run(main) == 3600

    async def for_ever(loop: SimLoop) -> None:
        await loop.create_future()

    with pytest.raises(NeverWakesError):
        run(for_ever)


def test_aiohttp_talks_over_the_network_in_memory() -> None:
    async def main(loop: SimLoop) -> tuple[str, float]:
        async def answer(request: web.Request) -> web.Response:
            await asyncio.sleep(5)
            return web.Response(text=f"hello {request.path}")

        app = web.Application()
        app.router.add_get("/{name}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/you") as reply:
            text = await reply.text()
        await runner.cleanup()
        return text, loop.time()

    text, took_s = run(main)
    assert text == "hello /you"
    assert 5 < took_s < 6
