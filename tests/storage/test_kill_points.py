"""Killed at every boundary of the way of an order: nothing is lost, nothing is sent or counted twice."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from engine.boot.system import running
from engine.kernel.clock import NS_PER_S
from tests.boot.test_emulated_venues import configure
from tests.storage.mortal import until
from tests.venues.emulators.core import Emulator

ROOT = Path(__file__).resolve().parents[2]
EVERY_ONE = os.environ.get("TEST_BOUNDARIES") == "all"
STRIDES = [(venue, 1 if EVERY_ONE else stride) for venue, stride in (("okx", 10), ("binance", 10), ("backpack", 6))]
"""The venues, and every which of their boundaries is tried."""


@pytest.fixture(autouse=True)
def quick_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator shows orders at once: an order that is not there needs no 20 s of looking to be called absent."""
    monkeypatch.setattr("engine.runtime.resolver.SETTLED_AFTER_NS", NS_PER_S // 2)
    monkeypatch.setattr("engine.runtime.resolver.LOOK_GAP_NS", NS_PER_S // 10)
    monkeypatch.setattr("engine.runtime.resolver.WAITS_S", (0.1, 0.1, 0.2))


class Lives:
    """Programs that live and die on one state folder and one venue."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._turn = 0

    async def lead(self, kill_at: int) -> str:
        """Lead a life; return how it ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._turn += 1
        side = "buy" if self._turn % 2 else "sell"
        self._process.stdin.write(f"{kill_at} {side}\n".encode())
        return (await self._process.stdout.readline()).decode().strip()

    def passed(self) -> list[str]:
        """Return the boundaries that the last life came by."""
        return (self._folder / "passed").read_text().splitlines()

    def durable(self) -> set[int]:
        """Return the numbers of the records that any life was told to be on the disk."""
        return {int(line) for line in (self._folder / "durable").read_text().split("\n")[:-1]}


async def check(emulator: Emulator, folder: Path, lives: Lives) -> None:
    """Start anew, let everything settle, and hold it against the venue."""
    async with running(configure(folder, emulator)) as system:
        engine = system.engine

        def agrees() -> bool:
            truth = {row.symbol: row.quantity for row in emulator.exchange.positions() if row.quantity}
            ours = {row.symbol: row.quantity for row in engine.portfolio.positions() if row.quantity}
            resting = len(emulator.exchange.open_orders())
            return ours == truth and len(engine.tracker.working()) == resting and not engine.tracker.unknown()

        await until(agrees)
        kept = {record.seq for record in system.journal.records(system.account.key)}
        assert lives.durable() <= kept, "what was reported durable is there"
        booked = {booked.fill.trade_id for booked in engine.portfolio.fills.recent()}
        assert len(booked) == len(engine.portfolio.fills.recent()) == len(emulator.executions())
        names = [order.client_id for order in [*emulator.exchange.registry._closed, *emulator.exchange.open_orders()]]
        assert len(names) == len(set(names)), "nothing was sent twice"
        intents = {
            record.body["client_id"] for record in system.journal.records(system.account.key) if record.kind == "INTENT"
        }
        orders = [order for order in engine.tracker.recent() if order.external]
        assert orders == [], "every order at the venue has its intent in the journal"
        assert len(emulator.executions()) <= len(intents)
        for order in engine.tracker.working():
            engine.cancel(order.client_id)
        await until(lambda: not emulator.exchange.open_orders())


@pytest.mark.parametrize(("emulator", "stride"), STRIDES, indirect=["emulator"])
async def test_p01_killed_at_every_boundary_of_the_way_of_an_order(
    emulator: Emulator,
    stride: int,
    home: Path,
) -> None:
    configure(home, emulator)
    emulator.limits_on = False  # start follows start: waiting for the venue would be most of the time
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.storage.mortal",
        str(home),
        emulator.name,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    lives = Lives(process, home)
    try:
        assert await lives.lead(0) == "ended 0"
        await check(emulator, home, lives)
        whole = lives.passed()
        assert {"before INTENT", "after INTENT", "durable INTENT", "before request", "answered", "after fill"} <= set(
            whole
        )
        for kill_at in range(1, len(whole) + 1, stride):
            how = await lives.lead(kill_at)
            assert how == "killed" or kill_at > len(lives.passed()), (how, kill_at, lives.passed()[-3:])
            await check(emulator, home, lives)
    finally:
        process.kill()
        await process.wait()
