"""Client ids and their numbers: durable before use, found after a restart, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from drivers.backpack.aliases import LARGEST, SEGMENT_PAIRS, SEGMENTS, SETTLED_MS, Aliases
from drivers.transport.setup import MemoryStore
from engine.kernel.clock import NS_PER_S, Rng, VirtualClock
from engine.kernel.errors import DuplicateClientOrderId, InvalidOrder, StorageError, VenueUnavailable


class SlowStore(MemoryStore):
    """A store whose values are on the disk only when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Callable[[], object]] = []

    def save(self, key: str, value: bytes, on_durable: Callable[[], object] | None = None) -> None:
        super().save(key, value)
        if on_durable is not None:
            self.waiting.append(on_durable)


def made(store: MemoryStore, seed: int = 1) -> Aliases:
    return Aliases(store, VirtualClock(1_700_000_000 * NS_PER_S), Rng(seed))


async def test_a_pair_is_found_both_ways_and_after_a_restart():
    store = MemoryStore()
    aliases = made(store)
    pairs = [(await aliases.make(f"abcd{n:014d}")) for n in range(3 * SEGMENT_PAIRS)]
    again = made(store, seed=2)
    for alias in pairs:
        assert 1 <= alias.number <= LARGEST
        assert again.find(alias.client_id) == alias
        assert again.client_id(alias.number) == alias.client_id
    assert (again.client_id(None), again.client_id(pairs[0].number ^ 1)) == ("", "")
    assert again.find("never") is None


async def test_nothing_may_be_sent_before_the_pair_is_on_the_disk():
    store = SlowStore()
    aliases = made(store)
    task = asyncio.ensure_future(aliases.make("abcd00000000000001"))
    await asyncio.sleep(0)
    assert not task.done()
    store.waiting.pop()()
    assert made(store).find("abcd00000000000001") == await task


async def test_a_disk_that_does_not_answer_refuses_the_order_and_leaves_the_client_id_free():
    store, clock = SlowStore(), VirtualClock(0)
    aliases = Aliases(store, clock, Rng(1))
    task = asyncio.ensure_future(aliases.make("abcd00000000000001"))
    await asyncio.sleep(0)
    clock.advance(2.1)
    with pytest.raises(VenueUnavailable, match="nothing was sent"):
        await task
    assert len(aliases) == 0
    task = asyncio.ensure_future(aliases.make("abcd00000000000001"))
    await asyncio.sleep(0)
    store.waiting.pop()()
    assert (await task).client_id == "abcd00000000000001"


async def test_a_client_id_is_used_once_also_while_the_first_is_being_saved():
    store = SlowStore()
    aliases = made(store)
    first = asyncio.ensure_future(aliases.make("abcd00000000000001"))
    await asyncio.sleep(0)
    with pytest.raises(DuplicateClientOrderId):
        await aliases.make("abcd00000000000001")
    store.waiting.pop()()
    await first
    with pytest.raises(DuplicateClientOrderId):
        await made(store).make("abcd00000000000001")


@pytest.mark.parametrize("client_id", ["", "a b", "a\nb"])
async def test_what_cannot_be_a_client_id_is_refused(client_id):
    with pytest.raises(InvalidOrder):
        await made(MemoryStore()).make(client_id)


async def test_a_number_known_before_is_never_given_again():
    class Repeating(Rng):
        def __init__(self) -> None:
            super().__init__(1)
            numbers = iter([7, 7, 7, 8])
            self.randint = lambda low, high: next(numbers)

    aliases = Aliases(MemoryStore(), VirtualClock(0), Repeating())
    assert [(await aliases.make(name)).number for name in ("one", "two")] == [7, 8]


async def test_the_oldest_make_room_once_their_orders_have_ended_and_what_is_stored_stays_bounded():
    store, clock = MemoryStore(), VirtualClock(0)
    aliases = Aliases(store, clock, Rng(1))
    count = SEGMENTS * SEGMENT_PAIRS
    for n in range(count):
        await aliases.make(f"abcd{n:014d}")
    resting = [aliases.find(f"abcd{n:014d}") for n in (5, SEGMENT_PAIRS + 1)]
    clock.advance(SETTLED_MS / 1000)
    aliases.heard_resting([alias.number for alias in resting] + [None, 1])
    for n in range(count, count + 3 * SEGMENT_PAIRS // 2):
        await aliases.make(f"abcd{n:014d}")
    for kept in (aliases, made(store)):
        assert kept.find(f"abcd{0:014d}") is None
        assert kept.find(f"abcd{2 * SEGMENT_PAIRS:014d}") is not None
        assert kept.find(f"abcd{count:014d}") is not None
        assert [kept.find(alias.client_id) for alias in resting] == resting
        assert kept.dropped_until_ms == 0
        assert len(kept) <= count
    assert max(len(value) for value in store._values.values()) < 50 * SEGMENT_PAIRS
    assert len(store._values) == SEGMENTS


async def test_nothing_is_dropped_while_it_is_not_known_what_rests(monkeypatch):
    """Neither right after a restart, nor before a list of resting orders is young enough to speak of an order."""
    monkeypatch.setattr("drivers.backpack.aliases.SEGMENT_PAIRS", 3)
    monkeypatch.setattr("drivers.backpack.aliases.SEGMENTS", 2)
    store, clock = MemoryStore(), VirtualClock(0)
    aliases = Aliases(store, clock, Rng(1))
    names = [f"abcd{n:014d}" for n in range(60)]
    for name in names[:30]:
        await aliases.make(name)
    aliases.heard_resting([])
    clock.advance(SETTLED_MS / 1000 - 1)
    aliases.heard_resting([])
    again = Aliases(store, clock, Rng(2))
    for name in names[30:]:
        await aliases.make(name)
        await again.make(name)
    for kept in (aliases, again, Aliases(store, clock, Rng(3))):
        assert all(kept.find(name) is not None for name in names)


async def test_an_order_that_one_list_leaves_out_keeps_its_alias_for_a_while(monkeypatch):
    monkeypatch.setattr("drivers.backpack.aliases.SEGMENT_PAIRS", 1)
    monkeypatch.setattr("drivers.backpack.aliases.SEGMENTS", 2)
    clock = VirtualClock(0)
    aliases = Aliases(MemoryStore(), clock, Rng(1))
    alias = await aliases.make("resting")
    clock.advance(SETTLED_MS / 1000)
    aliases.heard_resting([alias.number])
    clock.advance(SETTLED_MS / 1000 - 1)
    aliases.heard_resting([])
    await aliases.make("one")
    await aliases.make("two")
    assert aliases.find("resting") == alias
    clock.advance(SETTLED_MS / 1000)
    aliases.heard_resting([])
    for name in ("three", "four", "five"):
        await aliases.make(name)
    assert aliases.find("resting") is None


def test_what_cannot_be_read_is_told():
    store = MemoryStore()
    store.save("aliases/0", b"0\n12 x abc")
    with pytest.raises(StorageError, match="aliases/0"):
        made(store)
