"""The order book against the plainest one there is: two dicts, searched anew each time."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.kernel.market import BookUpdate
from engine.kernel.orderbook import OrderBook

level = st.tuples(st.integers(1, 120).map(float), st.sampled_from([0.0, 1.0, 2.5]))
levels = st.lists(level, max_size=60)
update = st.builds(BookUpdate, st.just("BTC-USDT"), st.integers(1, 9), levels, levels, st.just(False))


def is_same(book: OrderBook, bids: dict[float, float], asks: dict[float, float]) -> bool:
    best = (max(bids, default=None), min(asks, default=None))
    assert (book.best_bid, book.best_ask) == best
    assert (book.bids, book.asks) == (bids, asks)
    for count in (0, 1, 5, 40, 500):
        assert book.top_bids(count) == sorted(bids.items(), reverse=True)[:count]
        assert book.top_asks(count) == sorted(asks.items())[:count]
    return True


@given(levels, levels, st.lists(st.tuples(update, st.booleans()), max_size=25))
@settings(max_examples=300)
def test_every_change_gives_the_book_of_the_plain_model(bids, asks, updates):
    book = OrderBook("BTC-USDT")
    book.apply(BookUpdate("BTC-USDT", 1, bids, asks, snapshot=True))
    plain = tuple({price: size for price, size in dict_side if size} for dict_side in (bids, asks))
    for change, look in updates:
        book.apply(change)
        for side, wanted in zip(plain, (change.bids, change.asks), strict=True):
            for price, size in wanted:
                side.pop(price, None)
                if size:
                    side[price] = size
        if look:
            assert is_same(book, *plain)
    assert is_same(book, *plain)


def test_long_life_of_a_deep_book():
    rng = random.Random(5)
    bids = {float(price): 1.0 for price in range(1, 1000)}
    asks = {float(price): 1.0 for price in range(1001, 2000)}
    book = OrderBook("BTC-USDT")
    book.load(list(bids.items()), list(asks.items()), 1)
    for _ in range(1500):
        changes: list[list[tuple[float, float]]] = []
        for side, best, sign in ((bids, max(bids), -1), (asks, min(asks), 1)):
            prices = {best + sign * rng.randint(-3, 90) for _ in range(rng.randint(0, 60))}
            changes.append([(price, rng.choice((0.0, 0.0, 1.0, 2.0))) for price in sorted(prices)])
            for price, size in changes[-1]:
                side.pop(price, None)
                if size:
                    side[price] = size
        book.change(changes[0], changes[1], 2)
        assert (book.best_bid, book.best_ask) == (max(bids), min(asks))
    assert is_same(book, bids, asks)


def test_a_side_that_empties_and_fills_again_and_a_book_that_is_loaded_again():
    book = OrderBook("BTC-USDT")
    assert (book.best_bid, book.best_ask, book.mid, book.top_bids(3)) == (None, None, None, [])
    book.load([(float(p), 1.0) for p in range(1, 200)], [(float(p), 1.0) for p in range(201, 400)], 5)
    assert (book.best_bid, book.best_ask, book.mid, book.ts, book.valid) == (199, 201, 200, 5, True)
    book.change([(float(p), 0.0) for p in range(2, 200)], [], 6)
    assert (book.best_bid, book.top_bids(2)) == (1, [(1.0, 1.0)])
    book.change([(1.0, 0.0)], [], 7)
    assert (book.best_bid, book.mid) == (None, None)
    book.change([(3.0, 2.0)], [], 8)
    assert (book.best_bid, book.ts) == (3, 8)
    book.invalidate()
    assert not book.valid
    book.load([(1.0, 0.0)], [(9.0, 1.0)], 9)
    assert (book.best_bid, book.best_ask, book.valid) == (None, 9, True)
