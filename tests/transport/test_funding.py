"""Funding payments out of a history: each once, none missed while we were away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from drivers.transport.funding import FundingWatch
from drivers.transport.setup import MemoryStore, VenueSetup
from engine.kernel.account import FundingPayment
from engine.kernel.clock import NS_PER_MS, Rng, VirtualClock
from engine.kernel.errors import StorageError, VenueUnavailable

START_MS = 1_700_000_000_000
DAY_MS = 86_400_000


def payment(ts: int) -> FundingPayment:
    return FundingPayment("BTC-USDT-PERP", ts, Decimal("-1"), "USDT", None, str(ts))


class Bench:
    """A watch over a history that tests write, and its restarts."""

    def __init__(self) -> None:
        self.clock = VirtualClock(START_MS * NS_PER_MS)
        self.store = MemoryStore()
        self.history: list[int] = []
        self.told: list[int] = []
        self.lines: list[str] = []
        self.asked: list[int] = []
        self.heard, self.failing = True, False
        self.task: asyncio.Task[None] | None = None

    async def _ask(self, since: int) -> list[FundingPayment]:
        self.asked.append(since)
        if self.failing:
            raise VenueUnavailable("no connection")
        return [payment(ts) for ts in self.history if ts >= since]

    def start(self) -> None:
        setup = VenueSetup(self.clock, Rng(1), self.store, {}, log=lambda level, text: self.lines.append(text))
        watch = FundingWatch(
            "venue",
            self._ask,
            setup,
            self.clock.now_ms,
            lambda paid: self.told.append(paid.ts),
            lambda: self.heard,
            lambda now_ms: 60.0,
            reach_days=7,
        )
        self.task = asyncio.get_running_loop().create_task(watch.run())

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])

    async def wind(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.clock.advance(1.0)
            for _ in range(5):
                await asyncio.sleep(0)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    bench.start()
    await asyncio.sleep(0)
    yield bench
    await bench.stop()


async def test_a_payment_is_told_once_however_late_it_is_listed(bench: Bench):
    bench.history = [START_MS - 1]
    await bench.wind(130)
    assert bench.told == [], "what was paid before the first start is not ours to book"
    bench.history += [START_MS + 1, START_MS + 100_000]
    await bench.wind(900)
    assert bench.told == [START_MS + 1, START_MS + 100_000]


async def test_payments_wait_for_a_listener(bench: Bench):
    bench.heard, bench.history = False, [START_MS + 1]
    await bench.wind(1200)
    assert (bench.asked, bench.told) == ([], [])
    bench.heard = True
    await bench.wind(60)
    assert bench.told == [START_MS + 1]


async def test_payments_of_a_time_without_us_come_after_the_restart(bench: Bench):
    await bench.wind(10)
    await bench.stop()
    bench.clock.advance(DAY_MS / 1000)
    bench.history = [START_MS + DAY_MS // 2]
    bench.start()
    await bench.wind(10)
    assert bench.told == bench.history
    assert bench.lines == []
    await bench.stop()
    bench.clock.advance(8 * DAY_MS / 1000)
    bench.start()
    await bench.wind(10)
    assert "more than 7 days ago cannot be asked for" in bench.lines[0]
    assert bench.asked[-1] > bench.clock.now_ms() - 7 * DAY_MS


async def test_a_failure_is_told_once_and_misses_nothing(bench: Bench):
    bench.failing, bench.history = True, [START_MS + 1]
    await bench.wind(1800)
    assert len(bench.lines) == 1 and "venue: funding payments could not be asked for" in bench.lines[0]
    bench.failing = False
    await bench.wind(60)
    assert bench.told == [START_MS + 1]


async def test_a_broken_store_is_told_with_the_remedy(bench: Bench):
    bench.store.save("funding_since", b"yesterday")
    with pytest.raises(StorageError, match=r"venue: the saved time funding_since cannot be read.*restore"):
        bench.start()
