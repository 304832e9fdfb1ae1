"""Books: a gap, a duplicate or a wrong order is noticed at once, and only that book is asked for anew."""

from __future__ import annotations

from typing import Any

import pytest

from engine.kernel.market import BookInvalid, BookSynced, BookUpdate
from tests.venues.conformance.rig import Rig


class Follower:
    """Follows a book and notes with every event whether the book was valid then."""

    def __init__(self, rig: Rig, symbol: str) -> None:
        self.rig = rig
        self.symbol = symbol
        self.notes: list[tuple[type, bool]] = []
        rig.driver.subscribe_orderbook(symbol, self._take)

    def _take(self, event: Any) -> None:
        self.notes.append((type(event), self.rig.driver.book(self.symbol).valid))

    @property
    def book(self) -> Any:
        """Return the live book."""
        return self.rig.driver.book(self.symbol)

    def count(self, kind: type) -> int:
        """Return how many events of a type came."""
        return sum(noted is kind for noted, _ in self.notes)

    def is_true(self) -> bool:
        """Return whether the book is valid and the venue's."""
        truth = self.rig.exchange.market(self.symbol).book
        pairs = [(self.book.top_bids(9), truth.top_bids(9)), (self.book.top_asks(9), truth.top_asks(9))]
        return self.book.valid and all(
            [price for price, _ in mine] == pytest.approx([price for price, _ in theirs])
            and [size for _, size in mine] == pytest.approx([size for _, size in theirs])
            for mine, theirs in pairs
        )


async def follow_two(rig: Rig) -> tuple[Follower, Follower]:
    """Return the followed books of the perpetual and another one, both true."""
    ours, other = Follower(rig, rig.perp), Follower(rig, rig.other)
    await rig.until(lambda: ours.is_true() and other.is_true())
    return ours, other


def channel(rig: Rig, symbol: str) -> str:
    """Return the pattern of a book's channel."""
    assert rig.wire is not None
    return rig.wire.book(rig.exchange.instruments[symbol])


async def test_e18_a_gap_invalidates_that_book_alone_until_it_is_whole_again(wired: Rig):
    ours, other = await follow_two(wired)
    synced, others = other.count(BookSynced), other.count(BookInvalid)
    before = len(ours.notes)
    assert wired.emulator is not None
    wired.emulator.faults.drop_message(channel(wired, wired.perp))
    wired.stage.book(wired.perp, [(60_001.0, 3.0)], [], snapshot=False)
    await wired.wind(0.5, alive=False)
    assert len(ours.notes) == before, "the lost change was not seen"
    wired.stage.book(wired.perp, [(60_002.0, 4.0)], [], snapshot=False)
    wired.stage.book(wired.other, [(3_000.5, 4.0)], [], snapshot=False)
    await wired.until(lambda: len(ours.notes) > before)
    assert ours.notes[before] == (BookInvalid, False), "invalid in the tick in which the gap is seen"
    await wired.until(ours.is_true)
    after = ours.notes[before:]
    first_synced = next(index for index, (kind, _) in enumerate(after) if kind is BookSynced)
    assert all(kind is not BookUpdate or valid for kind, valid in after[:first_synced])
    await wired.until(other.is_true)
    assert (other.count(BookSynced), other.count(BookInvalid)) == (synced, others), "the other book was not touched"


@pytest.mark.parametrize("fault", ["duplicate", "reorder"])
async def test_e18_doubled_and_swapped_changes_never_make_a_false_book(wired: Rig, fault: str):
    ours, _ = await follow_two(wired)
    assert wired.emulator is not None
    getattr(wired.emulator.faults, fault)(channel(wired, wired.perp))
    for number in range(1, 5):
        wired.stage.book(wired.perp, [(60_000.0 + number, 1.0 + number)], [], snapshot=False)
        await wired.wind(0.2, alive=False)
    await wired.until(ours.is_true)
    assert ours.book.best_bid == 60_004.0


async def test_a_lost_snapshot_is_asked_for_again(wired: Rig):
    assert wired.wire is not None and wired.emulator is not None
    if not wired.wire.snapshot:
        pytest.skip("the book comes whole over the socket")
    faults = wired.emulator.faults
    faults.answer(wired.wire.snapshot, 502, "<html>", times=2)
    ours = Follower(wired, wired.perp)
    await wired.until(ours.is_true, within_s=60, alive=True)
    assert sum(wired.wire.snapshot.split()[1] in seen.path for seen in wired.emulator.requests) >= 3


async def test_e18_gaps_without_end_do_not_hammer_the_venue(wired: Rig):
    ours, _ = await follow_two(wired)
    assert wired.emulator is not None
    already = len(wired.emulator.requests)
    for number in range(60):
        wired.emulator.faults.drop_message(channel(wired, wired.perp))
        wired.stage.book(wired.perp, [(60_001.0, 1.0 + number)], [], snapshot=False)
        wired.stage.book(wired.perp, [(60_001.0, 2.0 + number)], [], snapshot=False)
        await wired.wind(0.5, alive=False)
    assert len(wired.emulator.requests) - already <= 40
    wired.emulator.faults.clear()
    await wired.until(ours.is_true, within_s=60, alive=True)


async def test_e18_a_book_that_stays_crossed_is_asked_for_anew(wired: Rig):
    ours, other = await follow_two(wired)
    stage = wired.stage
    stage.book(wired.perp, [(60_500.0, 1.0)], [], snapshot=False)
    await wired.until(lambda: ours.count(BookInvalid), within_s=10)
    assert other.count(BookInvalid) == 0
    stage.book(wired.perp, [(60_500.0, 0.0)], [], snapshot=False)
    await wired.until(ours.is_true, within_s=60, alive=True)


async def test_a_cut_public_socket_invalidates_every_book_and_heals(wired: Rig):
    ours, other = await follow_two(wired)
    assert wired.emulator is not None and wired.wire is not None
    before = (ours.count(BookInvalid), other.count(BookInvalid))
    assert wired.emulator.faults.cut_sockets(wired.wire.market)
    await wired.until(lambda: (ours.count(BookInvalid), other.count(BookInvalid)) == (before[0] + 1, before[1] + 1))
    assert not ours.book.valid and not other.book.valid
    wired.stage.book(wired.perp, [(60_001.0, 3.0)], [], snapshot=False)
    await wired.until(lambda: ours.is_true() and other.is_true(), within_s=60, alive=True)
    await wired.until(wired.is_live, within_s=60, alive=True)


async def test_e18_changes_and_a_gap_while_the_snapshot_is_on_its_way(wired: Rig):
    assert wired.wire is not None and wired.emulator is not None
    if not wired.wire.snapshot:
        pytest.skip("the book comes whole over the socket")
    ours, _ = await follow_two(wired)
    faults = wired.emulator.faults

    async def change(number: int) -> None:
        wired.stage.book(wired.perp, [(60_000.0 + number, 1.0 + number)], [], snapshot=False)
        await wired.wind(0.3, alive=False)

    faults.delay(wired.wire.snapshot, 3.0, times=1)
    faults.drop_message(channel(wired, wired.perp))
    for number in (1, 2, 3):
        await change(number)
    faults.drop_message(channel(wired, wired.perp))
    for number in (4, 5, 6):
        await change(number)
    await wired.until(lambda: ours.book.valid, within_s=60, alive=True)
    assert ours.is_true(), "a book that is announced as complete is complete"
