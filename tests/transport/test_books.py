"""Live books: what is applied and published, when they are invalid, how often they are asked for."""

from __future__ import annotations

from drivers.transport.books import BookKeeper
from engine.kernel.clock import VirtualClock
from engine.kernel.market import BookInvalid, BookSynced, BookUpdate, Trade
from engine.kernel.orders import Side

BTC = "BTC-USDT-PERP"


class Bench:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.asked: list[tuple[float, str]] = []
        self.published: list[object] = []
        self.valid_when_told: list[bool] = []
        self.keeper = BookKeeper(self.clock, self._resync, self._publish)

    def _resync(self, symbol: str, reason: str) -> None:
        self.asked.append((self.clock.now_ns() / 1e9, reason))

    def _publish(self, symbol: str, event: object) -> None:
        self.published.append(event)
        self.valid_when_told.append(self.keeper.book(symbol).valid)

    def times(self) -> list[float]:
        return [at for at, _ in self.asked]

    def sync(self, bid: float = 99.0, ask: float = 101.0) -> None:
        snapshot = BookUpdate(BTC, 1, [(bid, 1.0)], [(ask, 1.0)], snapshot=True)
        self.keeper.apply(BTC, [BookSynced(BTC, 1), snapshot])

    def change(self, bid: float, size: float = 1.0) -> None:
        self.keeper.apply(BTC, [BookUpdate(BTC, 2, [(bid, size)], [])])


def test_a_book_is_announced_when_it_is_whole_whichever_comes_first():
    for order in (0, 1):
        bench = Bench()
        book = bench.keeper.book(BTC)
        assert not book.valid and book.best_bid is None
        bench.change(98.0)
        assert bench.published == [] and not book.bids
        events = [BookSynced(BTC, 1), BookUpdate(BTC, 1, [(99.0, 1.0)], [(101.0, 2.0)], snapshot=True)]
        trade = Trade(BTC, 1, 1.0, 1.0, Side.BUY, "1")
        bench.keeper.apply(BTC, [*(events if order else events[::-1]), trade])
        assert sorted(type(event).__name__ for event in bench.published) == ["BookSynced", "BookUpdate"]
        assert all(bench.valid_when_told) and bench.keeper.book(BTC) is book
        bench.change(100.0)
        assert book.best_bid == 100.0 and len(bench.published) == 3


def test_e18_a_break_invalidates_in_the_same_tick_and_is_published_once():
    bench = Bench()
    bench.sync()
    bench.keeper.apply(BTC, [BookInvalid(BTC, 5, "gap"), BookUpdate(BTC, 5, [(100.0, 1.0)], [])])
    assert not bench.keeper.book(BTC).valid
    assert bench.published[2:] == [BookInvalid(BTC, 5, "gap")]
    assert bench.asked == [(0.0, "gap")]
    bench.keeper.lose(BTC, "the snapshot was refused")
    assert len(bench.published) == 3 and len(bench.asked) == 1


def test_tries_that_fail_become_seldom_and_one_that_holds_makes_them_quick_again():
    bench = Bench()
    bench.keeper.lose(BTC, "gap")
    for _ in range(8):
        tries = len(bench.asked)
        bench.keeper.lose(BTC, "refused")
        while len(bench.asked) == tries:
            bench.clock.advance(0.5)
    gaps = [later - earlier for earlier, later in zip(bench.times(), bench.times()[1:], strict=False)]
    assert gaps == [1, 2, 4, 8, 16, 30, 30, 30]
    assert bench.keeper.resyncs[BTC] == 9
    bench.sync()
    bench.clock.advance(31.0)
    bench.keeper.lose(BTC, "gap")
    assert len(bench.asked) == 10
    bench.sync()
    bench.clock.advance(0.2)
    bench.keeper.lose(BTC, "gap")
    assert len(bench.asked) == 10
    bench.clock.advance(0.9)
    assert len(bench.asked) == 11


def test_an_answer_that_does_not_come_is_asked_for_again():
    bench = Bench()
    bench.keeper.lose(BTC, "gap")
    bench.clock.advance(9.0)
    assert bench.times() == [0.0]
    bench.clock.advance(60.0)
    assert bench.times()[:4] == [0.0, 10.0, 20.0, 30.0]
    bench.sync()
    asked = len(bench.asked)
    bench.clock.advance(60.0)
    assert len(bench.asked) == asked
    opened = Bench()
    opened.keeper.asked(BTC)
    opened.clock.advance(11.0)
    assert opened.asked == [(10.0, "the book did not come within 10 s")]


def test_an_asking_that_fails_at_once_is_not_repeated_at_once_though_the_book_held_for_long():
    bench = Bench()

    def refuse(symbol: str, reason: str) -> None:
        bench.asked.append((bench.clock.now_ns() / 1e9, reason))
        assert len(bench.asked) < 10, "it spins"
        bench.keeper.lose(symbol, "not sent: the budget of requests is used up")

    bench.keeper = BookKeeper(bench.clock, refuse, bench._publish)
    bench.sync()
    bench.clock.advance(3600.0)
    bench.keeper.lose(BTC, "gap")
    assert bench.times() == [3600.0]
    bench.clock.advance(3.5)
    assert bench.times() == [3600.0, 3601.0, 3603.0]


def test_a_lost_connection_invalidates_all_and_asks_for_none():
    bench = Bench()
    bench.sync()
    bench.keeper.lose(BTC, "gap")
    bench.sync()
    bench.keeper.lose_all("the socket broke")
    assert bench.published[-1] == BookInvalid(BTC, None, "the socket broke")
    bench.clock.advance(120.0)
    assert len(bench.asked) == 1


def test_e18_a_book_crossed_for_a_second_is_lost_a_shorter_crossing_is_not():
    bench = Bench()
    bench.sync()
    bench.change(102.0)
    bench.clock.advance(0.9)
    bench.change(102.0, 0.0)
    bench.clock.advance(5.0)
    assert bench.keeper.book(BTC).valid
    bench.change(102.0)
    bench.clock.advance(0.5)
    bench.change(103.0)
    bench.clock.advance(0.6)
    assert not bench.keeper.book(BTC).valid
    assert bench.asked[0][1] == "crossed for more than 1 s: bid 103.0 >= ask 101.0"


def test_a_forgotten_book_is_empty_and_keeps_no_timer():
    bench = Bench()
    book = bench.keeper.book(BTC)
    bench.sync()
    bench.keeper.lose(BTC, "gap")
    bench.sync()
    bench.change(102.0)
    bench.keeper.forget(BTC)
    assert not book.valid and not book.bids and book is bench.keeper.book(BTC)
    assert bench.clock.next_timer_ns() is None
