"""The venue's time over slow, lopsided and failing answers."""

from __future__ import annotations

import asyncio

import pytest

from drivers.transport.server_clock import ServerClock
from engine.kernel.clock import NS_PER_MS, VirtualClock
from engine.kernel.errors import VenueUnavailable
from tests.transport.servers import until

START_MS = 1_700_000_000_000


class SteppingClock(VirtualClock):
    """A virtual clock beside a wall clock that somebody sets."""

    stepped_ms = 0

    def wall_ns(self) -> int:
        return self.now_ns() + self.stepped_ms * NS_PER_MS


class Bench:
    def __init__(self, ahead_ms: float = 1234.0, delays: list[tuple[int, int]] | None = None) -> None:
        self.clock = SteppingClock(START_MS * NS_PER_MS)
        self.ahead_ms = ahead_ms
        self.delays = delays or []
        self.asked = 0
        self.failing = False
        self.lines: list[str] = []
        self.times = ServerClock(self.clock, self._ask, lambda level, text: self.lines.append(text))

    async def _ask(self) -> int:
        there_ms, back_ms = self.delays[self.asked % len(self.delays)] if self.delays else (10, 10)
        self.asked += 1
        await asyncio.sleep(0)
        if self.failing:
            raise VenueUnavailable("no connection")
        self.clock.advance(there_ms / 1000)
        told = round(self.clock.now_ns() / NS_PER_MS + self.ahead_ms)
        self.clock.advance(back_ms / 1000)
        return told

    def error_ms(self) -> float:
        return self.times.now_ms() - self.clock.now_ns() / NS_PER_MS - self.ahead_ms


async def test_c02_a_day_of_drift_is_followed_to_a_tenth_of_a_second():
    bench = Bench(ahead_ms=0.0)
    await bench.times.sync()
    bench.times.start()
    worst = 0.0
    for _ in range(24 * 60):
        bench.clock.advance(60.0)
        bench.ahead_ms += 60_000 * 200e-6
        await until(lambda: bench.times._running is None)
        worst = max(worst, abs(bench.error_ms()))
    bench.times.stop()
    assert bench.ahead_ms > 17_000 and worst < 100
    assert bench.asked < 24 * 12 * 8 + 100


async def test_c03_the_answer_of_the_shortest_round_trip_counts():
    bench = Bench(delays=[(40, 900), (500, 10), (900, 900), (12, 8), (30, 30), (2000, 5), (5, 2000), (100, 100)])
    assert bench.times.uncertainty_ms == float("inf")
    await bench.times.sync()
    assert bench.asked == 8
    assert abs(bench.error_ms()) <= 3 and bench.times.uncertainty_ms == 10
    assert bench.lines == []


async def test_c03_a_lopsided_connection_is_told_as_unsure_and_the_error_stays_within():
    bench = Bench(delays=[(5, 995)])
    await bench.times.sync()
    assert abs(bench.error_ms()) <= bench.times.uncertainty_ms + 1 == 501
    assert "500 ms only" in bench.lines[0]


async def test_failures_among_the_answers_are_borne_but_not_a_dead_venue():
    bench = Bench()
    bench.failing = True
    with pytest.raises(VenueUnavailable):
        await bench.times.sync()
    assert bench.asked == 2
    bench.failing = False
    await bench.times.sync()
    assert abs(bench.error_ms()) <= 1


async def test_it_is_asked_every_five_minutes_and_sooner_after_a_failure():
    bench = Bench()
    await bench.times.sync()
    bench.times.start()
    bench.ahead_ms = -700.0
    bench.failing = True
    bench.clock.advance(299)
    assert bench.asked == 8
    bench.clock.advance(2)
    await until(lambda: bench.lines != [])
    assert "could not be asked: no connection" in bench.lines[0]
    bench.failing = False
    await until(lambda: bench.times._running is None)
    bench.clock.advance(31)
    await bench.times.settled()
    assert bench.times._running is not None, "the routine holds no request back"
    await until(lambda: bench.times._running is None)
    assert abs(bench.error_ms()) <= 1
    bench.times.stop()
    asked = bench.asked
    bench.clock.advance(3600)
    await asyncio.sleep(0)
    assert bench.asked == asked and bench.clock.next_timer_ns() is None


async def test_a_venue_that_does_not_tell_its_time_holds_a_request_back_for_two_seconds_only():
    bench = Bench()
    never: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def ask() -> int:
        return await never

    bench.times._ask = ask
    bench.times.suspect()
    held = asyncio.ensure_future(bench.times.settled())
    await until(lambda: bench.clock.next_timer_ns() is not None)
    bench.clock.advance(1.9)
    await asyncio.sleep(0)
    assert not held.done()
    bench.clock.advance(0.2)
    await until(held.done)
    bench.times.stop()


async def test_c01_a_refused_time_stamp_makes_it_ask_once_at_once():
    bench = Bench()
    bench.times.suspect()
    bench.times.suspect()
    await bench.times.settled()
    assert bench.asked == 8 and abs(bench.error_ms()) <= 1


@pytest.mark.parametrize("step_ms", [2000, -2000, 3_600_000])
async def test_c01_a_step_of_the_wall_clock_is_noticed_before_the_next_signature(step_ms):
    bench = Bench()
    await bench.times.sync()
    await bench.times.settled()
    bench.clock.stepped_ms = 400
    await bench.times.settled()
    assert bench.asked == 8
    bench.clock.stepped_ms = 400 + step_ms
    bench.ahead_ms += 5000
    await bench.times.settled()
    assert bench.asked == 16 and abs(bench.error_ms()) <= 1
    assert f"stepped by {(400 + step_ms) / 1000:+.1f} s" in bench.lines[0]
    await bench.times.settled()
    assert bench.asked == 16
