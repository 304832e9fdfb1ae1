"""Slices of the simulation, its determinism, and proof that its invariants can fail."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from engine.kernel.orders import Fill
from engine.runtime.booking import Booking
from engine.runtime.commands import OrderCommands
from engine.runtime.trading_state import TradingState
from tests.sim.loop import NeverWakesError, SimLoop, run
from tests.sim.report import Report
from tests.sim.world import Plan, simulate

ROOT = Path(__file__).resolve().parents[2]
_SHOW = "from tests.sim.world import Plan, simulate; print(simulate(Plan(seed=3, hours=0.05)).digest)"


def explain(result: Report) -> str:
    return "\n".join([*result.violations, *result.lines])


@pytest.mark.parametrize(("venue", "seed"), [("okx", 1), ("binance", 1), ("backpack", 1)])
def test_everything_agrees_with_the_venue_after_faults_and_crashes(venue: str, seed: int) -> None:
    result = simulate(Plan(seed=seed, hours=0.15, venue=venue))
    assert not result.violations, explain(result)
    assert result.rounds >= 2
    assert result.orders > 20
    assert result.fills > 10
    assert result.counts["crashes"] + result.counts["stops"] > 0


def test_the_same_seed_gives_the_same_trace_in_any_process() -> None:
    digests = set()
    for hash_seed in ("0", "7"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", _SHOW], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        digests.add(done.stdout)
    assert len(digests) == 1
    assert digests != {simulate(Plan(seed=4, hours=0.05)).digest + "\n"}


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
    result = simulate(Plan(seed=1, hours=0.6, halt=1.0, crash_s=60.0))
    assert "I7" in result.violations[0], result.violations


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
