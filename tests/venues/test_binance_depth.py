"""The venue's sequence rules, at their edges."""

from __future__ import annotations

import pytest

from drivers.binance.codec import DepthSnapshot, DepthUpdate
from drivers.binance.depth import DepthSync
from engine.kernel.market import BookInvalid, BookSynced, BookUpdate

SYMBOL = "BTC-USDT-PERP"


def update(first: int, last: int, previous: int | None, bids: list[tuple[float, float]] | None = None) -> DepthUpdate:
    return DepthUpdate(s="BTCUSDT", E=last, U=first, u=last, pu=previous, b=bids or [], a=[])


def snapshot(last_id: int) -> DepthSnapshot:
    return DepthSnapshot(last_id, [(100.0, 1.0), (99.0, 1.0)], [(101.0, 1.0)])


def synced(futures: bool) -> DepthSync:
    sync = DepthSync(SYMBOL, futures)
    sync.update(update(1, 10, 0 if futures else None))
    assert sync.snapshot(snapshot(10 if futures else 9))
    assert sync.synced
    return sync


# Futures: pu <= L <= u. Spot: U <= L + 1 <= u. The update is 10..20 each time, after one that ended with 5.
@pytest.mark.parametrize(
    ("futures", "last_id", "becomes"),
    [
        (True, 4, "invalid"),
        (True, 5, "synced"),
        (True, 10, "synced"),
        (True, 20, "synced"),
        (True, 21, "waiting"),
        (False, 8, "invalid"),
        (False, 9, "synced"),
        (False, 19, "synced"),
        (False, 20, "waiting"),
    ],
)
@pytest.mark.parametrize("snapshot_first", [False, True])
def test_which_snapshot_an_update_can_follow(futures: bool, last_id: int, becomes: str, snapshot_first: bool):
    sync = DepthSync(SYMBOL, futures)
    message = update(10, 20, 5 if futures else None, [(100.0, 0.0)])
    calls = [lambda: sync.update(message), lambda: sync.snapshot(snapshot(last_id))]
    events = [event for call in (calls[::-1] if snapshot_first else calls) for event in call()]
    if becomes == "waiting":
        assert (events, sync.synced) == ([], False)
    elif becomes == "invalid":
        (event,) = events
        assert isinstance(event, BookInvalid)
        assert "too old" in event.reason
        assert not sync.synced
    else:
        assert events[0] == BookSynced(SYMBOL, 20)
        assert events[1:] == [BookUpdate(SYMBOL, 20, [(99.0, 1.0)], [(101.0, 1.0)], snapshot=True)]


def test_a_snapshot_ahead_of_the_stream_is_used_when_the_stream_reaches_it():
    sync = DepthSync(SYMBOL, futures=True)
    assert sync.update(update(10, 20, 5)) == []
    assert sync.snapshot(snapshot(25)) == []
    assert [type(e) for e in sync.update(update(21, 30, 20, [(98.0, 3.0)]))] == [BookSynced, BookUpdate]


@pytest.mark.parametrize("futures", [True, False])
def test_updates_kept_before_the_snapshot_are_in_the_first_book(futures: bool):
    sync = DepthSync(SYMBOL, futures)
    chain = [(1, 5, 0), (6, 10, 5), (11, 15, 10), (16, 20, 15)]
    for first, last, previous in chain:
        assert sync.update(update(first, last, previous if futures else None, [(float(last), 1.0)])) == []
    _, book = sync.snapshot(snapshot(12))
    assert isinstance(book, BookUpdate)
    assert book.bids == [(100.0, 1.0), (99.0, 1.0), (20.0, 1.0), (15.0, 1.0)]
    assert sync.update(update(21, 25, 20 if futures else None)) == [BookUpdate(SYMBOL, 25, [], [])]


@pytest.mark.parametrize(("futures", "lost"), [(True, update(21, 30, 20)), (False, update(22, 30, None))])
def test_a_gap_is_told_in_its_own_message_and_lasts_until_a_usable_snapshot(futures: bool, lost: DepthUpdate):
    sync = synced(futures)
    (event,) = sync.update(lost)
    assert isinstance(event, BookInvalid)
    assert "gap" in event.reason
    assert sync.update(update(31, 40, 30 if futures else None)) == []
    (old,) = sync.snapshot(snapshot(15))
    assert isinstance(old, BookInvalid)
    assert not sync.synced
    assert [type(e) for e in sync.snapshot(snapshot(35))] == [BookSynced, BookUpdate]
    assert sync.gaps == 1


def test_a_gap_before_the_snapshot_makes_what_was_before_it_worthless():
    sync = DepthSync(SYMBOL, futures=False)
    sync.update(update(1, 10, None))
    sync.update(update(15, 20, None))
    (event,) = sync.snapshot(snapshot(9))
    assert isinstance(event, BookInvalid)
    assert not sync.synced


def test_the_same_message_twice_changes_nothing_and_an_older_one_breaks_the_chain():
    sync = synced(futures=True)
    message = update(11, 20, 10, [(98.0, 1.0)])
    assert len(sync.update(message)) == 1
    assert (sync.update(message), sync.synced) == ([], True)
    assert isinstance(sync.update(update(5, 8, 4))[0], BookInvalid)


def test_a_snapshot_held_while_in_step_heals_the_gap_after_it():
    sync = synced(futures=True)
    assert sync.snapshot(snapshot(50)) == []
    assert [type(e) for e in sync.update(update(45, 60, 44))] == [BookInvalid, BookSynced, BookUpdate]
    assert sync.snapshot(snapshot(30)) == []
    assert [type(e) for e in sync.update(update(71, 80, 70))] == [BookInvalid]
