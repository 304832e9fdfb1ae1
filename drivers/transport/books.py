"""The live books of a venue: applied, invalidated in the tick of a break, synced again at a bearable rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from engine.kernel.clock import NS_PER_S, Clock, TimerHandle
from engine.kernel.market import BookInvalid, BookSynced, BookUpdate, MarketEvent
from engine.kernel.orderbook import OrderBook
from engine.kernel.syscalls import BookEvent

CROSSED_S = 1.0
"""How long a book may stay crossed before it counts as broken."""
_FIRST_DELAY_S, _LONGEST_DELAY_S = 1.0, 30.0
_ANSWER_S = 10.0


class _Kept:
    """A symbol's book, and when it may be asked for again."""

    __slots__ = ("asked_ns", "book", "crossed", "delay_s", "synced_ns", "timer", "told", "waiting")

    def __init__(self, symbol: str) -> None:
        self.book = OrderBook(symbol)
        self.told: BookSynced | None = None  # announced, but its snapshot has not been applied yet
        self.crossed: TimerHandle | None = None
        self.timer: TimerHandle | None = None  # the next try, or the end of waiting for an answer
        self.waiting = False
        self.delay_s = _FIRST_DELAY_S
        self.asked_ns: int | None = None
        self.synced_ns: int | None = None

    def drop_timers(self) -> None:
        for timer in (self.crossed, self.timer):
            if timer is not None:
                timer.cancel()
        self.crossed = self.timer = None
        self.waiting = False


class BookKeeper:
    """Keeps a book for each symbol from the events of its decoder.

    Args:
        clock: Time and timers.
        resync: Called with (symbol, reason) when a symbol's book has to be asked for anew: at most once a second,
            more and more seldom, to every 30 s, while it fails; asked again when no answer syncs the book in 10 s.
        publish: Called with (symbol, event) after the event was applied.

    Attributes:
        resyncs: How often each symbol's book was asked for anew.
    """

    def __init__(
        self, clock: Clock, resync: Callable[[str, str], None], publish: Callable[[str, BookEvent], None]
    ) -> None:
        self._clock = clock
        self._resync = resync
        self._publish = publish
        self._kept: dict[str, _Kept] = {}
        self.resyncs: Counter[str] = Counter()

    def book(self, symbol: str) -> OrderBook:
        """Return a symbol's book, always the same object; empty and invalid while it is not followed."""
        return self._keep(symbol).book

    def apply(self, symbol: str, events: Iterable[MarketEvent]) -> None:
        """Apply what a decoder made of a message about `symbol`, then publish it. Other events are left alone."""
        kept = self._keep(symbol)
        book = kept.book
        for event in events:
            if type(event) is BookUpdate:
                if event.snapshot:
                    book.load(event.bids, event.asks, event.ts)
                    if kept.told is not None:
                        self._synced(kept, kept.told)
                elif book.valid:
                    book.change(event.bids, event.asks, event.ts)
                else:
                    continue
                bid, ask = book.best_bid, book.best_ask
                if bid is not None and ask is not None and bid >= ask:
                    if kept.crossed is None:
                        kept.crossed = self._clock.call_later(CROSSED_S, self._still_crossed, symbol)
                elif kept.crossed is not None:
                    kept.crossed.cancel()
                    kept.crossed = None
                self._publish(symbol, event)
            elif type(event) is BookSynced:
                if book.valid:
                    self._synced(kept, event)
                else:
                    kept.told = event
            elif type(event) is BookInvalid:
                self.lose(symbol, event.reason, event.ts)

    def lose(self, symbol: str, reason: str, ts: int | None = None) -> None:
        """Invalidate a symbol's book now and ask for it anew; also to be called when that asking failed."""
        kept = self._keep(symbol)
        self._invalidate(kept, reason, ts)
        self._plan(kept, reason)

    def asked(self, symbol: str) -> None:
        """Hear that a book was asked for without `resync`, as when a socket opened: asked again if it does not come."""
        self._await_answer(self._keep(symbol))

    def lose_all(self, reason: str) -> None:
        """Invalidate every book now; the connection broke, and who opens it again asks for the books."""
        for kept in list(self._kept.values()):
            kept.drop_timers()
            self._invalidate(kept, reason, None)

    def forget(self, symbol: str) -> None:
        """Empty a symbol's book: nobody follows it any more."""
        kept = self._kept.get(symbol)
        if kept is None:
            return
        kept.drop_timers()
        kept.told, kept.asked_ns, kept.synced_ns, kept.delay_s = None, None, None, _FIRST_DELAY_S
        kept.book.load([], [], 0)
        kept.book.invalidate()

    def _keep(self, symbol: str) -> _Kept:
        kept = self._kept.get(symbol)
        if kept is None:
            kept = self._kept[symbol] = _Kept(symbol)
        return kept

    def _invalidate(self, kept: _Kept, reason: str, ts: int | None) -> None:
        was_valid, kept.told = kept.book.valid, None
        kept.book.invalidate()
        if kept.crossed is not None:
            kept.crossed.cancel()
            kept.crossed = None
        if was_valid:
            self._publish(kept.book.symbol, BookInvalid(kept.book.symbol, ts, reason))

    def _synced(self, kept: _Kept, event: BookSynced) -> None:
        kept.told, kept.synced_ns = None, self._clock.now_ns()
        if kept.timer is not None:
            kept.timer.cancel()
            kept.timer, kept.waiting = None, False
        self._publish(kept.book.symbol, event)

    def _plan(self, kept: _Kept, reason: str) -> None:
        """Ask anew, now or when the delay since the last time has passed."""
        if kept.timer is not None and not kept.waiting:
            return  # the next try is due already
        now_ns = self._clock.now_ns()
        if kept.timer is not None:
            kept.timer.cancel()
            kept.timer = None
        due_ns = now_ns
        if kept.synced_ns is not None and now_ns - kept.synced_ns >= kept.delay_s * NS_PER_S:
            kept.delay_s = _FIRST_DELAY_S  # it held for long enough: the trouble before is over
        elif kept.asked_ns is not None:
            due_ns = kept.asked_ns + int(kept.delay_s * NS_PER_S)
            kept.delay_s = min(2 * kept.delay_s, _LONGEST_DELAY_S)
        if due_ns <= now_ns:
            self._ask(kept, reason)
        else:
            kept.waiting = False
            kept.timer = self._clock.call_at(due_ns, self._ask, kept, reason)

    def _ask(self, kept: _Kept, reason: str) -> None:
        kept.asked_ns, kept.synced_ns = self._clock.now_ns(), None
        self.resyncs[kept.book.symbol] += 1
        self._await_answer(kept)
        self._resync(kept.book.symbol, reason)

    def _await_answer(self, kept: _Kept) -> None:
        if kept.timer is not None:
            kept.timer.cancel()
        kept.waiting = True
        kept.timer = self._clock.call_later(_ANSWER_S, self._unanswered, kept)

    def _unanswered(self, kept: _Kept) -> None:
        kept.timer, kept.waiting = None, False
        if not kept.book.valid:
            self._plan(kept, f"the book did not come within {_ANSWER_S:.0f} s")

    def _still_crossed(self, symbol: str) -> None:
        kept = self._keep(symbol)
        kept.crossed = None
        book = kept.book
        if book.valid and book.best_bid is not None and book.best_ask is not None:
            self.lose(symbol, f"crossed for more than {CROSSED_S:.0f} s: bid {book.best_bid} >= ask {book.best_ask}")
