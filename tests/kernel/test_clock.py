"""Time that stands still until it is moved, time that follows a loop, and numbers that repeat."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernel.clock import NS_PER_S, LoopClock, Rng, VirtualClock, sleep


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=40), st.lists(st.integers(0, 60), max_size=6))
def test_timers_run_once_in_order_of_time_then_of_scheduling(timers: list[tuple[int, bool]], stops: list[int]):
    clock = VirtualClock()
    ran: list[tuple[int, int, int]] = []
    handles = [
        clock.call_at(when, lambda *who: ran.append((*who, clock.now_ns())), when, n)
        for n, (when, _) in enumerate(timers)
    ]
    for handle, (_, wanted) in zip(handles, timers, strict=True):
        if not wanted:
            handle.cancel()
    for stop in [*sorted(stops), 60]:
        clock.advance_to(stop)
        assert clock.now_ns() == stop
        assert [who[:2] for who in ran] == sorted(
            (when, n) for n, (when, wanted) in enumerate(timers) if wanted and when <= stop
        )
    assert all(when == at for when, _, at in ran)


def test_a_timer_may_set_and_cancel_others():
    clock = VirtualClock(1000)
    ran: list[str] = []
    doomed = clock.call_later(2, ran.append, "never")

    def first() -> None:
        ran.append("first")
        doomed.cancel()
        clock.call_later(0.5, ran.append, "second")
        clock.call_at(0, ran.append, "past")

    clock.call_later(1, first)
    clock.advance(3)
    assert ran == ["first", "past", "second"] and clock.now_ns() == 1000 + 3 * NS_PER_S


def test_time_never_goes_back_and_a_late_timer_sees_the_present():
    clock = VirtualClock(500)
    clock.advance_to(100)
    assert clock.now_ns() == clock.stopwatch_ns() == 500 and clock.now_ms() == 0
    seen: list[int] = []
    clock.call_at(200, lambda: seen.append(clock.now_ns()))
    assert clock.next_timer_ns() == 500
    clock.advance_to(600)
    assert seen == [500]


def test_the_next_timer_is_one_that_is_still_wanted():
    clock = VirtualClock()
    handle = clock.call_at(5, print)
    clock.call_at(9, print)
    handle.cancel()
    handle.cancel()
    assert clock.next_timer_ns() == 9
    assert VirtualClock().next_timer_ns() is None


def test_a_raising_timer_is_not_run_again():
    clock = VirtualClock()
    ran: list[int] = []
    clock.call_at(1, lambda: [][0])
    clock.call_at(2, ran.append, 2)
    with pytest.raises(IndexError):
        clock.advance_to(5)
    clock.advance_to(5)
    assert ran == [2]


async def test_the_loop_clock_has_its_own_start_and_speed():
    loop = asyncio.get_running_loop()
    clock = LoopClock(loop, start_ns=7 * NS_PER_S, speed=1000.0)
    assert 0 <= clock.now_ns() - 7 * NS_PER_S < 1000 * NS_PER_S
    began = loop.time()
    await sleep(clock, 20)
    assert 0.015 <= loop.time() - began < 5
    assert clock.now_ms() == pytest.approx(clock.now_ns() / 1e6, abs=100)
    done = asyncio.Event()
    clock.call_at(clock.now_ns() + NS_PER_S, done.set)
    await asyncio.wait_for(done.wait(), 5)
    clock.call_later(3600, done.clear).cancel()


async def test_a_cancelled_sleep_leaves_no_timer():
    clock = VirtualClock()
    task = asyncio.ensure_future(sleep(clock, 10))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.next_timer_ns() is None


def test_the_same_seed_gives_the_same_numbers_and_forks_are_independent():
    def draw(rng: Rng) -> list[object]:
        return [rng.random(), rng.gauss(0, 1), rng.randint(0, 9), rng.choice("abc"), rng.shuffled(range(5))]

    assert draw(Rng(7)) == draw(Rng(7)) != draw(Rng(8))
    one, two = Rng(7), Rng(7)
    draw(one)
    assert draw(one.fork("venue")) == draw(two.fork("venue")), "a fork depends on the seed alone"
    assert draw(Rng(7).fork("venue")) != draw(Rng(7).fork("engine"))
    assert Rng.from_system().seed != Rng.from_system().seed
    items = [1, 2, 3]
    assert sorted(Rng(1).shuffled(items)) == items == [1, 2, 3]
