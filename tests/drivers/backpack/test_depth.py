"""The venue's sequence rules of a book."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.backpack.depth import DepthSync
from drivers.backpack.wire import Depth, DepthSnapshot
from engine.kernel.market import BookInvalid, BookSynced, BookUpdate
from engine.kernel.orderbook import OrderBook


def update(first: int, last: int, bid: float = 99.0, size: float = 1.0) -> Depth:
    return Depth(s="SOL_USDC", E=1_700_000_000_000_000 + last * 1000, U=first, u=last, a=[], b=[(bid, size)])


def snapshot(last: int) -> DepthSnapshot:
    # Bids ascend, as the venue sends them.
    return DepthSnapshot(asks=[(101.0, 1.0), (102.0, 2.0)], bids=[(97.0, 3.0), (98.0, 2.0)], lastUpdateId=last)


def kinds(events: list) -> list[type]:
    return [type(event) for event in events]


def test_updates_up_to_the_snapshot_are_dropped_and_the_rest_is_applied():
    sync = DepthSync("SOL-USDC")
    assert [sync.update(update(*ids)) for ids in ((1, 5), (6, 10), (11, 12))] == [[], [], []]
    synced, whole = sync.snapshot(snapshot(8))
    assert kinds([synced, whole]) == [BookSynced, BookUpdate]
    assert whole.snapshot and whole.bids == [(99.0, 1.0), (98.0, 2.0), (97.0, 3.0)]
    assert whole.asks == [(101.0, 1.0), (102.0, 2.0)]
    assert whole.ts == 1_700_000_000_012
    assert kinds(sync.update(update(13, 14))) == [BookUpdate]


def test_a_snapshot_older_than_what_was_kept_is_of_no_use():
    sync = DepthSync("SOL-USDC")
    sync.update(update(10, 12))
    (invalid,) = sync.snapshot(snapshot(8))
    assert type(invalid) is BookInvalid and "too old" in invalid.reason
    assert not sync.synced
    assert kinds(sync.snapshot(snapshot(9))) == [BookSynced, BookUpdate]


@pytest.mark.parametrize("first", [5, 9])
def test_in_a_quiet_market_the_snapshot_is_the_book_and_the_next_update_may_overlap_it(first):
    sync = DepthSync("SOL-USDC")
    assert kinds(sync.snapshot(snapshot(8))) == [BookSynced, BookUpdate]
    assert sync.update(update(3, 8)) == []
    assert kinds(sync.update(update(first, 12))) == [BookUpdate]
    assert kinds(sync.update(update(13, 13))) == [BookUpdate]


def test_a_gap_right_after_the_snapshot_is_a_gap():
    sync = DepthSync("SOL-USDC")
    sync.snapshot(snapshot(8))
    assert kinds(sync.update(update(10, 12))) == [BookInvalid]
    assert kinds(sync.snapshot(snapshot(11))) == [BookSynced, BookUpdate]
    assert (sync.gaps, sync.last_id) == (1, 12)


def test_in_step_only_the_very_next_id_follows():
    sync = DepthSync("SOL-USDC")
    sync.update(update(1, 5))
    sync.snapshot(snapshot(5))
    sync.update(update(6, 7))
    assert sync.update(update(6, 7)) == [], "a message told twice changes nothing"
    (invalid,) = sync.update(update(7, 9))
    assert type(invalid) is BookInvalid and invalid.reason.startswith("gap: U 7, expected 8")
    assert sync.update(update(10, 11)) == []
    assert kinds(sync.snapshot(snapshot(9))) == [BookSynced, BookUpdate]


def test_after_a_break_of_the_stream_old_updates_count_no_more():
    sync = DepthSync("SOL-USDC")
    sync.update(update(1, 5))
    sync.lose()
    sync.update(update(20, 21))
    assert kinds(sync.snapshot(snapshot(4))) == [BookInvalid]
    assert kinds(sync.snapshot(snapshot(21))) == [BookSynced, BookUpdate]


@given(
    sizes=st.lists(st.tuples(st.integers(90, 99), st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=40),
    at=st.integers(0, 40),
    late=st.integers(0, 10),
    drop=st.one_of(st.none(), st.integers(0, 39)),
)
def test_whenever_the_book_says_it_is_valid_it_is_the_venues(sizes, at, late, drop):
    truth: dict[float, float] = {}
    history, messages, last = [dict(truth)], [], 0
    for price, size, span in sizes:
        messages.append(update(last + 1, last + span, float(price), float(size)))
        last += span
        truth[float(price)] = float(size)
        truth = {level: amount for level, amount in truth.items() if amount}
        history.append(dict(truth))
    at, taken = min(at, len(messages)), min(max(0, at - late), len(messages))
    sync, book = DepthSync("SOL-USDC"), OrderBook("SOL-USDC")
    book.invalidate()
    for position in range(len(messages) + 1):
        events = []
        if position == at:
            last_id = messages[taken - 1].u if taken else 0
            whole = DepthSnapshot(asks=[], bids=sorted(history[taken].items()), lastUpdateId=last_id)
            events += sync.snapshot(whole)
        if position < len(messages) and position != drop:
            events += sync.update(messages[position])
        for event in events:
            if isinstance(event, BookUpdate):
                book.apply(event)
            elif isinstance(event, BookInvalid):
                book.invalidate()
        if position < len(messages) and position != drop and book.valid:
            assert book.bids == history[position + 1]
