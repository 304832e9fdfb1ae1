"""Request budgets on a virtual clock, against a count of what a venue would have seen."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.transport.arch import BucketSpec
from drivers.transport.rate_limits import RateLimiter, Urgency
from drivers.transport.setup import MemoryStore
from engine.kernel.clock import NS_PER_S, VirtualClock
from engine.kernel.errors import ConfigError, RateLimited

ONE = (("w", 1),)
START_MS = 1_700_000_000_000


def made(limit: int = 10, window_s: float = 1.0, *more: BucketSpec, store=None, clock=None):
    clock = clock or VirtualClock(START_MS * 1_000_000)
    return clock, RateLimiter("okx", [BucketSpec("w", limit, window_s), *more], clock, store or MemoryStore())


def passed(limits: RateLimiter, urgency: Urgency, cost=ONE, tries: int = 100) -> int:
    return sum(limits.try_acquire(cost, urgency) for _ in range(tries))


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def in_seconds(clock: VirtualClock, seconds: float) -> int:
    return clock.now_ns() + int(seconds * NS_PER_S)


def test_a_fifth_is_kept_for_cancels_and_reconciliation():
    _, limits = made(10)
    assert passed(limits, Urgency.ORDER) == 8
    assert passed(limits, Urgency.QUERY) == 0
    assert passed(limits, Urgency.RECONCILE, tries=1) == 1
    assert passed(limits, Urgency.CANCEL) == 1


@given(
    limit=st.integers(1, 30),
    steps=st.lists(st.tuples(st.integers(0, 900), st.integers(1, 8), st.sampled_from(list(Urgency)))),
)
def test_no_window_of_the_venue_ever_sees_more_than_the_limit(limit, steps):
    clock, limits = made(limit)
    sent: list[tuple[int, int]] = []
    for wait_ms, weight, urgency in steps:
        clock.advance(wait_ms / 1000)
        if limits.try_acquire((("w", weight),), urgency):
            sent.append((clock.now_ns(), weight))
    for began, first in sent:
        within = sum(weight for at, weight in sent if began <= at < began + NS_PER_S)
        assert within <= max(limit, first)


async def test_who_waits_is_served_in_order_and_cancels_first():
    clock, limits = made(5)
    assert passed(limits, Urgency.CANCEL) == 5
    served: list[str] = []

    async def wait(name: str, urgency: Urgency) -> None:
        await limits.acquire(ONE, urgency, in_seconds(clock, 60))
        served.append(name)

    names = [
        ("order 1", Urgency.ORDER),
        ("query", Urgency.QUERY),
        ("order 2", Urgency.ORDER),
        ("cancel", Urgency.CANCEL),
    ]
    tasks = [asyncio.create_task(wait(*name)) for name in names]
    await settle()
    assert served == []
    for _ in range(5):
        clock.advance(0.25)
        await settle()
    assert served == ["cancel", "order 1", "order 2", "query"]
    await asyncio.gather(*tasks)


async def test_one_that_waits_is_not_overtaken_but_another_budget_is_free():
    clock, limits = made(2, 1.0, BucketSpec("x", 5, 1.0))
    assert passed(limits, Urgency.CANCEL) == 2
    waiting = asyncio.create_task(limits.acquire((("w", 2),), Urgency.ORDER, in_seconds(clock, 5)))
    await settle()
    assert not limits.try_acquire(ONE, Urgency.QUERY)
    assert limits.try_acquire((("x", 1),), Urgency.QUERY)
    clock.advance(1.1)
    await waiting
    assert not limits.try_acquire(ONE, Urgency.QUERY)


async def test_what_would_come_too_late_is_refused_at_once():
    clock, limits = made(5, 10.0)
    assert passed(limits, Urgency.CANCEL) == 5
    with pytest.raises(RateLimited, match=r"budget w \(5 of 5 used\).*hold it for 10\.\d s, 3\.0 s are left"):
        await limits.acquire(ONE, Urgency.ORDER, in_seconds(clock, 3))
    first = asyncio.create_task(limits.acquire((("w", 4),), Urgency.ORDER, in_seconds(clock, 60)))
    await settle()
    with pytest.raises(RateLimited):  # the one ahead takes the first window
        await limits.acquire(ONE, Urgency.ORDER, in_seconds(clock, 15))
    second = asyncio.create_task(limits.acquire(ONE, Urgency.ORDER, in_seconds(clock, 25)))
    clock.advance(10.5)
    await first
    clock.advance(10.5)
    await second


async def test_waiting_ends_at_the_deadline_when_the_venue_turns_out_slower():
    clock, limits = made(5, 10.0)
    assert passed(limits, Urgency.CANCEL) == 5
    waiting = asyncio.create_task(limits.acquire(ONE, Urgency.ORDER, in_seconds(clock, 12)))
    await settle()
    clock.advance(9.0)
    limits.slow_down(30.0)
    clock.advance(3.1)
    with pytest.raises(RateLimited, match="waited too long"):
        await waiting
    assert clock.next_timer_ns() is None or clock.next_timer_ns() > clock.now_ns()


async def test_who_gives_up_lets_the_next_pass():
    clock, limits = made(2, 1.0)
    assert passed(limits, Urgency.CANCEL) == 2
    heavy = asyncio.create_task(limits.acquire((("w", 2),), Urgency.CANCEL, in_seconds(clock, 5)))
    light = asyncio.create_task(limits.acquire(ONE, Urgency.QUERY, in_seconds(clock, 5)))
    await settle()
    heavy.cancel()
    await settle()
    clock.advance(1.1)
    await light


def test_the_venue_may_count_more_but_not_less():
    clock, limits = made(100, 60.0)
    assert passed(limits, Urgency.ORDER, tries=10) == 10
    limits.learn("w", 5)
    assert passed(limits, Urgency.ORDER) == 70
    limits.learn("w", 100)
    assert passed(limits, Urgency.CANCEL) == 0
    clock.advance(62)
    assert passed(limits, Urgency.CANCEL) == 100
    clock.advance(62)
    limits.learn("w", 0, limit=50)
    assert passed(limits, Urgency.CANCEL) == 50


def test_e03_429_pauses_and_halves_the_rate_for_a_minute():
    clock, limits = made(10)
    limits.slow_down(2.0)
    assert passed(limits, Urgency.ORDER) == 0
    clock.advance(2.1)
    assert passed(limits, Urgency.ORDER) == 4
    clock.advance(60)
    assert passed(limits, Urgency.ORDER) == 8


def test_e03_429_without_a_time_doubles_the_pause():
    clock, limits = made(10)
    for pause_s in (1, 2, 4, 8, 16, 32, 60, 60):
        limits.slow_down(None)
        limits.slow_down(None)  # of another request that was on its way
        clock.advance(pause_s - 0.1)
        assert passed(limits, Urgency.ORDER) == 0
        clock.advance(0.2)
        assert passed(limits, Urgency.ORDER, tries=1) == 1


def test_e03_cancels_pass_in_a_pause_until_one_is_refused_too():
    clock, limits = made(10)
    limits.slow_down(30.0)
    assert passed(limits, Urgency.CANCEL, tries=1) == 1
    clock.advance(2)
    limits.slow_down(20.0)
    assert passed(limits, Urgency.CANCEL, tries=1) == 0
    clock.advance(20.1)
    assert passed(limits, Urgency.CANCEL, tries=1) == 1


def test_e03_cancels_are_not_held_by_the_halved_rate_when_more_was_sent_before_it():
    clock, limits = made(10, 60.0)
    assert passed(limits, Urgency.ORDER) == 8
    limits.slow_down(2.0)
    clock.advance(2.1)
    assert passed(limits, Urgency.ORDER) == passed(limits, Urgency.RECONCILE) == 0
    assert passed(limits, Urgency.CANCEL) == 2


async def test_e04_a_ban_stops_everything_and_outlives_the_program():
    store = MemoryStore()
    clock, limits = made(5, 10.0, store=store)
    assert passed(limits, Urgency.CANCEL) == 5
    waiting = asyncio.create_task(limits.acquire(ONE, Urgency.CANCEL, in_seconds(clock, 600)))
    await settle()
    limits.ban_until(START_MS + 60_000, "too many requests")
    limits.ban_until(START_MS + 30_000, "a shorter one changes nothing")
    with pytest.raises(RateLimited, match=r"nothing until 22:14:20 UTC: too many requests; nothing was sent"):
        await waiting
    _, again = made(5, 10.0, store=store, clock=clock)
    for each in (limits, again):
        assert each.banned_until_ms == START_MS + 60_000
        assert passed(each, Urgency.CANCEL) == 0
        with pytest.raises(RateLimited, match="serves us nothing"):
            await each.acquire(ONE, Urgency.CANCEL, in_seconds(clock, 600))
    clock.advance(60)
    assert again.banned_until_ms is None and passed(again, Urgency.CANCEL) == 5


def test_symbols_have_budgets_of_their_own_and_unknown_ones_are_an_error():
    _, limits = made(10, 1.0, BucketSpec("place", 2, 2.0, "symbol"))
    btc, eth = (("w", 1), ("place/BTC-USDT", 1)), (("w", 1), ("place/ETH-USDT", 1))
    assert passed(limits, Urgency.CANCEL, btc) == 2
    assert passed(limits, Urgency.CANCEL, eth) == 2
    limits.define(BucketSpec("place", 3, 2.0, "symbol"))
    assert passed(limits, Urgency.CANCEL, btc) == 1
    with pytest.raises(ConfigError, match="no 'other'"):
        limits.try_acquire((("other", 1),), Urgency.CANCEL)


def test_a_request_heavier_than_its_share_passes_alone():
    clock, limits = made(10)
    assert limits.try_acquire((("w", 9),), Urgency.QUERY)
    assert not limits.try_acquire((("w", 9),), Urgency.QUERY)
    clock.advance(1.1)
    assert limits.try_acquire((("w", 9),), Urgency.QUERY)
