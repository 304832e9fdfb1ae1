from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from ctos_tui.frame import GAP, LEVELS, FrameClock, LagMeter, Load, Pace, link_text

GOOD = Load()
SLOW = Load(round_trip=0.400, base_round_trip=0.080)


class Time:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Desk:
    """A frame clock with panes that note when they were painted."""

    def __init__(self, pace: Pace | None = None) -> None:
        self.time = Time()
        self.errors: list[str] = []
        self.clock = FrameClock(
            on_error=lambda name, error: self.errors.append(f"{name}: {error}"),
            pace=pace or Pace(),
            now=self.time,
        )
        self.painted: dict[str, list[float]] = {}
        self.hidden: set[str] = set()

    def pane(self, name: str, hz: float, **options: bool) -> None:
        self.painted[name] = []
        self.clock.add(
            name,
            hz,
            lambda: self.painted[name].append(self.time.seconds),
            visible=lambda: name not in self.hidden,
            **options,
        )

    def run(self, seconds: float) -> None:
        for times in self.painted.values():
            times.clear()
        end = self.time.seconds + seconds
        while self.time.seconds < end:
            self.time.seconds += self.clock.tick()

    def counts(self) -> dict[str, int]:
        return {name: len(times) for name, times in self.painted.items()}


RATES = {
    "ladder": 10,
    "positions": 5,
    "orders": 5,
    "tape": 5,
    "log": 4,
    "strategies": 4,
    "chart": 1,
    "status": 2,
}


def whole_desk(pace: Pace | None = None) -> Desk:
    desk = Desk(pace)
    for name, hz in RATES.items():
        desk.pane(name, hz, large=name != "status")
    return desk


def test_each_pane_has_its_rate() -> None:
    desk = whole_desk()
    desk.run(10)
    for name, count in desk.counts().items():
        assert count == pytest.approx(10 * RATES[name], rel=0.05, abs=2), name


def test_no_two_large_panes_are_painted_in_one_frame() -> None:
    desk = whole_desk()
    desk.run(10)
    times = [at for name, painted in desk.painted.items() if name != "status" for at in painted]
    assert len(times) == len(set(times))
    assert min(later - earlier for earlier, later in pairwise(sorted(times))) >= GAP * 0.999


def test_hidden_panes_are_left_alone_and_an_unfocused_terminal_gets_half() -> None:
    desk = whole_desk()
    desk.hidden.add("log")
    desk.clock.focused = False
    desk.run(10)
    assert desk.counts()["log"] == 0
    assert desk.counts()["ladder"] == pytest.approx(50, abs=3)


def test_the_pace_scales_every_pane_but_steady_ones() -> None:
    desk = whole_desk(Pace(max_fps=1, fixed=True))
    desk.pane("link", 10, large=False, steady=True)
    desk.run(20)
    assert desk.counts()["ladder"] == pytest.approx(20, abs=2)
    assert desk.counts()["positions"] == pytest.approx(10, abs=2)
    assert desk.counts()["link"] == pytest.approx(200, rel=0.05)


def test_a_pane_that_fails_is_reported_and_the_others_go_on() -> None:
    desk = Desk()
    desk.pane("good", 10)

    def fail() -> None:
        raise ValueError("no such price")

    desk.clock.add("bad", 10, fail)
    desk.run(1)
    assert desk.errors[0] == "bad: no such price"
    assert len(desk.errors) > 5 and desk.counts()["good"] > 5


def test_a_late_tick_does_not_catch_up_with_a_burst() -> None:
    desk = Desk()
    desk.pane("ladder", 10)
    desk.run(1)
    desk.time.seconds += 5
    desk.run(1)
    assert desk.counts()["ladder"] <= 11


def test_paint_all_skips_nothing_but_hidden_panes() -> None:
    desk = whole_desk()
    desk.hidden.add("tape")
    desk.clock.paint_all()
    assert {name for name, count in desk.counts().items() if count} == set(desk.painted) - {"tape"}


def observe(pace: Pace, start: float, seconds: float, load: Load) -> float:
    now = start
    while now < start + seconds:
        pace.observe(now, load)
        now += 0.1
    return now


def test_the_pace_goes_down_a_level_a_second_and_up_one_after_five_good_seconds() -> None:
    pace = Pace()
    assert pace.fps == 10
    now = observe(pace, 0, 0.95, SLOW)
    assert pace.fps == 5
    now = observe(pace, now, 10, SLOW)
    assert pace.fps == 1 and pace.reason == "slow link"
    now = observe(pace, now, 4.5, GOOD)
    assert pace.fps == 1
    now = observe(pace, now, 1, GOOD)
    assert pace.fps == 2
    observe(pace, now, 30, GOOD)
    assert pace.fps == 10 and pace.reason == ""


def test_one_stall_costs_one_level_and_a_short_wait_none() -> None:
    pace = Pace()
    observe(pace, 10.0, 0.15, Load(behind_since=10.0))
    assert pace.fps == 10
    observe(pace, 10.2, 10, Load(behind_since=10.0))
    assert pace.fps == 5 and pace.reason == "output waits"


def test_painting_that_costs_too_much_and_lasting_lag_lower_the_pace() -> None:
    pace = Pace()
    observe(pace, 0, 0.1, Load(paint_share=0.3))
    assert pace.fps == 5
    lagging = Pace()
    observe(lagging, 0, 4.5, Load(lag=0.05))
    assert lagging.fps == 10
    observe(lagging, 4.5, 1, Load(lag=0.05))
    assert lagging.fps == 5 and lagging.reason == "loop lags"


@pytest.mark.parametrize(("highest", "first"), [(20, 20), (15, 15), (12, 10), (1, 1), (0, 1)])
def test_the_highest_level_can_be_chosen(highest: int, first: int) -> None:
    assert Pace(max_fps=highest).fps == first
    fixed = Pace(max_fps=highest, fixed=True)
    observe(fixed, 0, 10, SLOW)
    assert fixed.fps == first in LEVELS


def test_a_stall_counts_for_every_turn_that_it_swallowed() -> None:
    lag = LagMeter(period=0.005)
    for _ in range(980):
        lag.record(0.0005)
    assert lag.percentile() == pytest.approx(0.0005)
    lag.record(0.100)
    assert lag.worst == pytest.approx(0.100)
    assert lag.percentile() > 0.04
    assert lag.percentile(0.5, seconds=0.05) < lag.worst
    lag.record(0.0)
    assert lag.percentile(seconds=0.005) == 0.0


async def test_the_lag_meter_sees_a_blocked_loop() -> None:
    lag = LagMeter(period=0.001, window=1)
    loop = asyncio.get_running_loop()
    lag.start(loop)
    blocked = asyncio.Event()

    def block() -> None:
        end = loop.time() + 0.05
        while loop.time() < end:
            pass
        loop.call_later(0.01, blocked.set)

    loop.call_later(0.01, block)
    await asyncio.wait_for(blocked.wait(), 5)
    lag.stop()
    assert lag.worst >= 0.045


async def test_a_started_clock_ticks_by_itself_until_stopped() -> None:
    painted = asyncio.Event()
    clock = FrameClock(on_error=lambda name, error: None)
    clock.add("pane", 10, painted.set)
    clock.start(asyncio.get_running_loop())
    await asyncio.wait_for(painted.wait(), 5)
    clock.stop()
    clock.stop()


def test_how_the_screen_does_is_shown_in_one_word_each() -> None:
    assert link_text(10, 48_211, 0.083) == "10fps 48kB/s rtt 83ms"
    assert link_text(1, 0, None) == "1fps 0kB/s"
