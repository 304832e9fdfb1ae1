"""The sequence rules of a book: what may follow what, and which snapshot joins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.transport.depth import DepthSync
from engine.kernel.market import BookInvalid, BookSynced, BookUpdate, MarketEvent
from engine.kernel.orderbook import OrderBook

SYMBOL = "BTC-USDT-PERP"


def change(sync: DepthSync, previous: int, last: int, bid: float = 99.0, size: float = 1.0) -> list[MarketEvent]:
    return sync.update(previous, last, last, [(bid, size)], [])


def snapshot(sync: DepthSync, last: int) -> list[MarketEvent]:
    # Bids ascend, as some venues send them.
    return sync.snapshot(last, 1000 + last, [(97.0, 3.0), (98.0, 2.0)], [(101.0, 1.0), (102.0, 2.0)])


def kinds(events: list[MarketEvent]) -> list[type]:
    return [type(event) for event in events]


@pytest.fixture
def sync() -> DepthSync:
    return DepthSync(SYMBOL)


@pytest.fixture
def synced(sync: DepthSync) -> DepthSync:
    change(sync, 0, 10)
    assert kinds(snapshot(sync, 5)) == [BookSynced, BookUpdate]
    return sync


# The change is 6..20 each time: it follows on 5.
@pytest.mark.parametrize(("last", "joins"), [(4, False), (5, True), (10, True), (19, True), (20, True), (25, True)])
def test_which_snapshot_joins_a_change_that_was_kept(sync: DepthSync, last: int, joins: bool):
    change(sync, 5, 20, 98.0, 0.0)
    events = snapshot(sync, last)
    if not joins:
        (event,) = events
        assert isinstance(event, BookInvalid) and "too old" in event.reason and not sync.synced
        return
    beyond = last < 20
    assert events[0] == BookSynced(SYMBOL, 20 if beyond else 1000 + last)
    bids = [(97.0, 3.0)] if beyond else [(98.0, 2.0), (97.0, 3.0)]
    assert events[1:] == [BookUpdate(SYMBOL, events[0].ts, bids, [(101.0, 1.0), (102.0, 2.0)], snapshot=True)]
    assert kinds(change(sync, max(20, last), 30)) == [BookUpdate]


def test_what_the_snapshot_covers_is_dropped_and_the_rest_is_in_the_first_book(sync: DepthSync):
    for previous, last in ((0, 5), (5, 10), (10, 15), (15, 20)):
        assert change(sync, previous, last, float(last)) == []
    _, whole = snapshot(sync, 12)
    assert whole.bids == [(98.0, 2.0), (97.0, 3.0), (20.0, 1.0), (15.0, 1.0)]
    assert kinds(change(sync, 20, 25)) == [BookUpdate]


def test_a_change_that_overlaps_those_kept_breaks_the_chain(synced: DepthSync):
    assert kinds(change(synced, 9, 12)) == [BookInvalid]


@pytest.mark.parametrize("previous", [4, 8])
def test_in_a_quiet_market_the_snapshot_is_the_book_and_the_next_change_may_overlap_it(sync: DepthSync, previous: int):
    assert kinds(snapshot(sync, 8)) == [BookSynced, BookUpdate]
    assert change(sync, 2, 7) == change(sync, 7, 8) == []
    assert kinds(change(sync, previous, 12)) == [BookUpdate]
    assert kinds(change(sync, 12, 13)) == [BookUpdate]
    assert kinds(change(sync, 11, 14)) == [BookInvalid], "only the first change may overlap"


def test_a_gap_right_after_the_snapshot_is_a_gap(sync: DepthSync):
    snapshot(sync, 8)
    assert kinds(change(sync, 9, 12)) == [BookInvalid]
    assert kinds(snapshot(sync, 11)) == [BookSynced, BookUpdate]
    assert (sync.gaps, sync.last) == (1, 12)


def test_e18_a_gap_is_told_in_its_own_message_and_lasts_until_a_usable_snapshot(synced: DepthSync):
    (lost,) = change(synced, 11, 20)
    assert isinstance(lost, BookInvalid) and lost.reason.startswith("gap: a change follows on 11, expected 10")
    assert change(synced, 20, 30) == []
    assert kinds(snapshot(synced, 10)) == [BookInvalid]
    assert kinds(snapshot(synced, 25)) == [BookSynced, BookUpdate]
    assert kinds(change(synced, 30, 31)) == [BookUpdate]
    assert synced.state() == {"state": "synced", "gaps": 1}


def test_a_gap_before_the_snapshot_makes_what_was_before_it_worthless(sync: DepthSync):
    change(sync, 0, 10)
    change(sync, 14, 20)
    assert not sync.covers(9) and sync.covers(14)
    assert kinds(snapshot(sync, 9)) == [BookInvalid]


def test_e18_the_same_message_twice_changes_nothing_and_an_older_one_breaks_the_chain(synced: DepthSync):
    assert kinds(change(synced, 10, 20)) == [BookUpdate]
    assert (change(synced, 10, 20), synced.synced) == ([], True)
    assert kinds(change(synced, 4, 8)) == [BookInvalid]


def test_a_book_in_step_needs_no_snapshot(synced: DepthSync):
    assert snapshot(synced, 50) == []
    assert synced.covers(3) and not synced.covers(50)


def test_after_a_break_of_the_stream_old_changes_count_no_more(synced: DepthSync):
    synced.lose()
    change(synced, 19, 21)
    assert kinds(snapshot(synced, 4)) == [BookInvalid]
    assert kinds(snapshot(synced, 20)) == [BookSynced, BookUpdate]


# A stream with a snapshot of its own.


def test_a_snapshot_in_the_stream_begins_the_book_anew(sync: DepthSync):
    whole = [(98.0, 2.0)], [(101.0, 1.0)]
    assert kinds(sync.restart(10, 1, *whole)) == [BookSynced, BookUpdate]
    assert kinds(change(sync, 11, 12)) == [BookInvalid]
    assert kinds(sync.restart(20, 2, *whole)) == [BookSynced, BookUpdate]
    assert sync.restart(40, 3, *whole) == [BookUpdate(SYMBOL, 3, *whole, snapshot=True)], "in step it is only replaced"
    assert kinds(change(sync, 40, 41)) == [BookUpdate]


def test_e19_numbers_that_stand_still_or_begin_anew_go_on_while_in_step(sync: DepthSync):
    sync.restart(10, 1, [], [])
    for previous, last in ((10, 15), (15, 15), (15, 3), (3, 5)):
        assert kinds(change(sync, previous, last)) == [BookUpdate]
    assert (sync.synced, sync.last, sync.gaps) == (True, 5, 0)


def test_e19_numbers_that_begin_anew_are_not_compared_with_those_before(sync: DepthSync):
    change(sync, 500, 510)
    change(sync, 510, 3)
    assert sync.covers(3) and not sync.covers(505)
    change(sync, 3, 6)
    assert kinds(snapshot(sync, 4)) == [BookSynced, BookUpdate]
    assert sync.last == 6


@given(
    sizes=st.lists(st.tuples(st.integers(90, 99), st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=40),
    at=st.integers(0, 40),
    late=st.integers(0, 10),
    drop=st.one_of(st.none(), st.integers(0, 39)),
)
def test_e18_whenever_the_book_says_it_is_valid_it_is_the_venues(sizes, at, late, drop):
    truth: dict[float, float] = {}
    history, messages, last = [dict(truth)], [], 0
    for price, size, span in sizes:
        messages.append((last, last + span, float(price), float(size)))
        last += span
        truth[float(price)] = float(size)
        truth = {level: amount for level, amount in truth.items() if amount}
        history.append(dict(truth))
    at, taken = min(at, len(messages)), min(max(0, at - late), len(messages))
    sync, book = DepthSync(SYMBOL), OrderBook(SYMBOL)
    book.invalidate()
    for position in range(len(messages) + 1):
        events = []
        if position == at:
            events += sync.snapshot(messages[taken - 1][1] if taken else 0, None, sorted(history[taken].items()), [])
        if position < len(messages) and position != drop:
            events += change(sync, *messages[position])
        for event in events:
            if isinstance(event, BookUpdate):
                book.apply(event)
            elif isinstance(event, BookInvalid):
                book.invalidate()
        if position < len(messages) and position != drop and book.valid:
            assert book.bids == history[position + 1]
