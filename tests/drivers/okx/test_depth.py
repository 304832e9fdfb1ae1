"""The sequence rules of the books channel."""

from __future__ import annotations

import pytest

from drivers.okx.depth import DepthSync, Step
from engine.kernel.market import BookInvalid, BookSynced, BookUpdate

SYMBOL = "BTC-USDT-PERP"


def step(previous: int, sequence: int, bid: float | None = None) -> Step:
    return Step(previous, sequence, sequence, [] if bid is None else [(bid, 1.0)], [])


def kinds(events: list[object]) -> list[type]:
    return [type(event) for event in events]


@pytest.fixture
def synced() -> DepthSync:
    depth = DepthSync(SYMBOL)
    assert kinds(depth.snapshot(step(-1, 10, 1.0))) == [BookSynced, BookUpdate]
    return depth


def test_the_documented_example(synced: DepthSync):
    for each in (step(10, 15, 2.0), step(15, 15), step(15, 3, 3.0), step(3, 5, 4.0)):
        assert kinds(synced.update(each)) == [BookUpdate]
    assert synced.synced and synced.last == 5 and synced.gaps == 0


def test_a_gap_is_told_at_once_and_ends_with_the_next_snapshot(synced: DepthSync):
    lost = synced.update(step(11, 12, 2.0))
    assert kinds(lost) == [BookInvalid] and "prevSeqId 11, expected 10" in lost[0].reason
    assert synced.update(step(12, 13, 2.0)) == [] and not synced.synced
    assert kinds(synced.snapshot(step(-1, 20, 1.0))) == [BookSynced, BookUpdate]
    assert kinds(synced.update(step(20, 21, 2.0))) == [BookUpdate] and synced.gaps == 1


def test_a_repeated_message_is_no_gap(synced: DepthSync):
    synced.update(step(10, 15, 2.0))
    assert synced.update(step(10, 15, 2.0)) == [] and synced.synced


def test_a_new_snapshot_while_in_step_replaces_the_book(synced: DepthSync):
    events = synced.snapshot(step(-1, 40, 7.0))
    assert kinds(events) == [BookUpdate] and events[0].snapshot
    assert kinds(synced.update(step(40, 41, 2.0))) == [BookUpdate]


def test_a_rest_snapshot_joins_the_updates_kept():
    depth = DepthSync(SYMBOL)
    for each in (step(5, 8, 1.0), step(8, 12, 2.0), step(12, 15, 3.0)):
        assert depth.update(each) == []
    assert depth.covers(10) and not depth.covers(4) and not depth.covers(16)
    events = depth.rest_snapshot(step(-1, 10, 9.0))
    assert kinds(events) == [BookSynced, BookUpdate, BookUpdate, BookUpdate]
    assert events[1].snapshot and [e.bids for e in events[2:]] == [[(2.0, 1.0)], [(3.0, 1.0)]]
    assert kinds(depth.update(step(15, 16, 4.0))) == [BookUpdate]


@pytest.mark.parametrize("first", [step(9, 12, 2.0), step(10, 12, 2.0)])
def test_a_rest_snapshot_before_any_update_waits_for_the_first_that_joins(first: Step):
    depth = DepthSync(SYMBOL)
    assert kinds(depth.rest_snapshot(step(-1, 10, 9.0))) == [BookSynced, BookUpdate]
    assert depth.update(step(7, 9, 1.0)) == [] and depth.update(step(9, 10, 1.0)) == []
    assert kinds(depth.update(first)) == [BookUpdate]
    assert kinds(depth.update(step(11, 13, 2.0))) == [BookInvalid]


def test_a_rest_snapshot_that_the_next_update_does_not_join_is_a_gap():
    depth = DepthSync(SYMBOL)
    depth.rest_snapshot(step(-1, 10, 9.0))
    assert kinds(depth.update(step(11, 13, 2.0))) == [BookInvalid]


def test_a_rest_snapshot_older_than_the_updates_is_told():
    depth = DepthSync(SYMBOL)
    depth.update(step(20, 22, 1.0))
    events = depth.rest_snapshot(step(-1, 10, 9.0))
    assert kinds(events) == [BookInvalid] and "too old" in events[0].reason and not depth.synced


def test_only_updates_in_one_row_are_kept():
    depth = DepthSync(SYMBOL)
    depth.update(step(5, 8, 1.0))
    depth.update(step(30, 31, 2.0))
    assert not depth.covers(6) and depth.covers(30)


def test_numbers_that_begin_anew_are_not_compared_with_those_before():
    depth = DepthSync(SYMBOL)
    depth.update(step(500, 510, 1.0))
    depth.update(step(510, 3, 2.0))
    depth.update(step(3, 6, 3.0))
    assert depth.covers(4)
    assert kinds(depth.rest_snapshot(step(-1, 4, 9.0))) == [BookSynced, BookUpdate, BookUpdate]
    assert depth.last == 6
