"""The market side of an emulator: the venue's clock, its listing, and books as chains of numbered changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from drivers.paper.markets.model import MarketModel
from engine.kernel.clock import NS_PER_MS, NS_PER_S, Clock, TimerHandle
from engine.kernel.instruments import Instrument
from engine.kernel.market import Bar, BookUpdate, Levels, MarketEvent


class VenueClock:
    """The venue's clock: another one, wrong by `skew_ms`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.skew_ms = 0

    def now_ns(self) -> int:
        """Return the venue's time."""
        return self._clock.now_ns() + self.skew_ms * NS_PER_MS

    def now_ms(self) -> int:
        """Return the venue's time in ms."""
        return self.now_ns() // NS_PER_MS

    def wall_ns(self) -> int:
        """Return the system's wall clock as this clock shows it."""
        return self._clock.wall_ns() + self.skew_ms * NS_PER_MS

    def call_at(self, when_ns: int, function: Callable[..., object], *args: Any) -> TimerHandle:
        """Call a function at a time of this clock."""
        return self._clock.call_at(when_ns - self.skew_ms * NS_PER_MS, function, *args)

    def call_later(self, seconds: float, function: Callable[..., object], *args: Any) -> TimerHandle:
        """Call a function after a time."""
        return self._clock.call_later(seconds, function, *args)

    def stopwatch_ns(self) -> int:
        """Return a monotonic reading."""
        return self._clock.stopwatch_ns()


class Listed:
    """A market model under a venue's listing: only these instruments, with the venue's names and contracts."""

    def __init__(self, model: MarketModel, instruments: Sequence[Instrument]) -> None:
        self._model = model
        self._instruments = list(instruments)
        self.start_ns = model.start_ns
        self.next_event_ns = model.next_event_ns
        self.skip_to = model.skip_to

    def instruments(self) -> list[Instrument]:
        """Return what the venue lists."""
        return self._instruments

    def step(self) -> Sequence[MarketEvent]:
        """Advance to the next event time; events of what is not listed are ignored by the venue."""
        return self._model.step()

    def klines(self, symbol: str, timeframe: str, limit: int, start: int | None, end: int | None) -> list[Bar]:
        """Return history."""
        return self._model.klines(symbol, timeframe, limit, start, end)


@dataclass(frozen=True, slots=True)
class BookChange:
    """One numbered change of a public book: absolute sizes in coins, 0 removes the level.

    Attributes:
        previous: Number of the change before it.
        first: Its first number, `previous + 1`.
        last: Its last number.
    """

    symbol: str
    ts: int
    bids: Levels
    asks: Levels
    previous: int
    first: int
    last: int


class BookChain:
    """A public book as the venue numbers it; goes on whether or not anybody listens.

    Attributes:
        bids: Price -> size in coins.
        asks: Price -> size in coins.
        last: Number of the newest change.
        changed_ns: When it changed last.
    """

    def __init__(self, symbol: str, first: int) -> None:
        self.symbol = symbol
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self.last = first
        self.ts = 0

    def apply(self, update: BookUpdate) -> BookChange | None:
        """Take an update in; a whole book becomes the change that leads to it. None when nothing changed."""
        bids = _difference(self.bids, update.bids, update.snapshot)
        asks = _difference(self.asks, update.asks, update.snapshot)
        self.ts = update.ts
        if not bids and not asks:
            return None
        for book, changes in ((self.bids, bids), (self.asks, asks)):
            for price, size in changes:
                if size:
                    book[price] = size
                else:
                    del book[price]
        previous, self.last = self.last, self.last + len(bids) + len(asks)
        return BookChange(self.symbol, update.ts, bids, asks, previous, previous + 1, self.last)

    def best_bids(self, count: int) -> Levels:
        """Return the best bids, highest first."""
        return [(price, self.bids[price]) for price in sorted(self.bids, reverse=True)[:count]]

    def best_asks(self, count: int) -> Levels:
        """Return the best asks, lowest first."""
        return [(price, self.asks[price]) for price in sorted(self.asks)[:count]]


class Windows:
    """How much of a limit was used in the present window of time; windows begin at whole multiples.

    Args:
        clock: Venue time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._used: dict[tuple[str, float], tuple[int, int]] = {}

    def add(self, key: str, window_s: float, weight: int = 1) -> int:
        """Count a use and return the sum in the present window."""
        number = self._clock.now_ns() // int(window_s * NS_PER_S)
        window, used = self._used.get((key, window_s), (number, 0))
        used = weight + (used if window == number else 0)
        self._used[key, window_s] = number, used
        return used

    def used(self, key: str, window_s: float) -> int:
        """Return the sum in the present window."""
        return self.add(key, window_s, 0)

    def forget(self) -> None:
        """Count from zero again."""
        self._used.clear()

    def left_s(self, window_s: float) -> float:
        """Return how long the present window still lasts."""
        step = int(window_s * NS_PER_S)
        return (step - self._clock.now_ns() % step) / NS_PER_S


def _difference(book: dict[float, float], levels: Levels, whole: bool) -> Levels:
    wanted = dict(levels)
    changes = [(price, size) for price, size in wanted.items() if book.get(price, 0.0) != size]
    if whole:
        changes += [(price, 0.0) for price in book if price not in wanted]
    return changes
