"""A market that is invented, the same for the same seed: correlated prices, living books, trades, funding.

Fair prices depend on the seed and the time only, so candles of any past exist and a restarted program finds the
market where it would be. What happens in the books depends on the seed and the time at which the market was opened.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import log

from drivers.paper.markets.catalogue import Listing, listings
from drivers.paper.markets.fair import FairPrice, MarketFactor
from drivers.paper.markets.history import history
from drivers.paper.markets.ladder import Ladder
from engine.kernel.clock import NS_PER_MS, NS_PER_S, Rng
from engine.kernel.instruments import Instrument
from engine.kernel.market import (
    TIMEFRAME_MS,
    Bar,
    BookSynced,
    FundingRate,
    MarketEvent,
    MarkPrice,
    Ticker,
)

_USUAL_RATE = 300.0
_FOCUS_FACTOR = 4.0
_TRADES_A_EVENT = 0.55
_DAY_S = 86_400
_DAY_SAMPLES = 24
_DAY_REFRESH_S = 1_800
_SLOTS = 16
_SLOT_NS = NS_PER_S // _SLOTS
_FUNDING_EVERY_S = 10


class _Row:
    """One instrument while the market runs.

    Attributes:
        past: The same price function, asked about the last 24 h.
        now: The present second.
        next: One second later.
        high: Highest price of the last 24 h, as sampled at `sampled_s`.
        low: Lowest price, likewise.
    """

    __slots__ = (
        "activity",
        "fair",
        "high",
        "instrument",
        "ladder",
        "low",
        "minute_usd",
        "next",
        "now",
        "past",
        "sampled_s",
    )

    def __init__(
        self, listing: Listing, fair: FairPrice, past: FairPrice, ladder: Ladder, minute_usd: float, second: int
    ) -> None:
        self.instrument = listing.instrument
        self.activity = listing.activity
        self.fair = fair
        self.past = past
        self.ladder = ladder
        self.minute_usd = minute_usd
        self.now = fair.at(second)
        self.next = fair.at(second + 1)
        self.high = self.low = 0.0
        self.sampled_s = 0

    def price(self, part: float) -> float:
        """Return the fair price when `part` of the present second has passed."""
        return self.now.price + (self.next.price - self.now.price) * part


class SyntheticMarket:
    """The synthetic market model.

    Args:
        seed: The market's seed.
        start_ns: When it is opened.
        rate: Book and trade events in a second over all instruments.
        focus: Symbols that are busier than they would be.
    """

    def __init__(self, seed: int, start_ns: int, rate: float = _USUAL_RATE, focus: Sequence[str] = ()) -> None:
        self.seed = seed
        self.start_ns = start_ns
        self._rate = rate
        rng = Rng(f"{seed}/{start_ns}")
        self._rng = rng.fork("arrivals").random
        present, past = MarketFactor(seed), MarketFactor(seed)
        self._second = start_ns // NS_PER_S
        self._rows = []
        table = listings()
        total = sum(listing.activity for listing in table)
        for listing in table:
            symbol = listing.instrument.symbol
            perp = symbol if listing.instrument.is_perp else None
            ladder = Ladder(listing, rng.fork(symbol), size_scale=min(1.0, _USUAL_RATE / rate))
            turnover = min(rate, _USUAL_RATE) * 60 * listing.activity / total * _TRADES_A_EVENT * listing.coin.trade_usd
            fair, before = (FairPrice(seed, listing.coin, factor, perp) for factor in (present, past))
            self._rows.append(_Row(listing, fair, before, ladder, turnover, self._second))
        self._by_symbol = {row.instrument.symbol: row for row in self._rows}
        self._second_ns = self._second * NS_PER_S
        self._slot_ns = start_ns - start_ns % _SLOT_NS + _SLOT_NS
        self._opened = False
        self._next_ns = start_ns
        self._ticker_turn = 0
        self.focus(focus)

    def focus(self, symbols: Sequence[str]) -> None:
        """Make some instruments busier; the total rate stays the same."""
        weights = [row.activity * (_FOCUS_FACTOR if row.instrument.symbol in symbols else 1.0) for row in self._rows]
        self._bounds = list(accumulate(weights))

    def instruments(self) -> list[Instrument]:
        """Return what is traded."""
        return [row.instrument for row in self._rows]

    def next_event_ns(self) -> int | None:
        """Return the time of the next event."""
        return self._next_ns if self._next_ns < self._slot_ns else self._slot_ns

    def step(self) -> list[MarketEvent]:
        """Advance to the next event: the opening, what is announced by the clock, or something in one book."""
        if not self._opened:
            return self._open(self._next_ns)
        if self._next_ns >= self._slot_ns:
            return self._announce()
        now_ns = self._next_ns
        self._next_ns = now_ns + self._pause_ns()
        bounds = self._bounds
        row = self._rows[bisect_right(bounds, self._rng() * bounds[-1], 0, len(bounds) - 1)]
        part = (now_ns - self._second_ns) / NS_PER_S
        return row.ladder.event(row.price(part), row.now.vol, now_ns // NS_PER_MS)

    def skip_to(self, now_ns: int) -> None:
        """Leave out what lies before `now_ns`; the books are drawn anew there."""
        if now_ns > self._next_ns:
            self._second = now_ns // NS_PER_S
            self._second_ns = self._second * NS_PER_S
            self._slot_ns = now_ns - now_ns % _SLOT_NS + _SLOT_NS
            self._next_ns = now_ns
            self._opened = False

    def klines(self, symbol: str, timeframe: str, limit: int, start: int | None, end: int | None) -> list[Bar]:
        """Return candles of the time before the market was opened, oldest first."""
        row = self._by_symbol[symbol]
        step_ms = TIMEFRAME_MS[timeframe]
        opened_ms = self.start_ns // NS_PER_MS
        end_ms = opened_ms if end is None else min(opened_ms, end - end % step_ms + step_ms)
        if start is None:
            first_ms = (end_ms - 1) // step_ms * step_ms - (limit - 1) * step_ms
        else:
            first_ms = start + -start % step_ms
            end_ms = min(end_ms, first_ms + limit * step_ms)
        return history(self.seed, row.instrument, row.fair, row.minute_usd, timeframe, first_ms, end_ms)

    def _pause_ns(self) -> int:
        return 1 + int(-log(1.0 - self._rng()) / self._rate * NS_PER_S)

    def _open(self, now_ns: int) -> list[MarketEvent]:
        """Draw every book and announce marks and funding."""
        self._opened = True
        self._next_ns = now_ns + self._pause_ns()
        now_ms = now_ns // NS_PER_MS
        part = (now_ns - self._second_ns) / NS_PER_S
        events: list[MarketEvent] = []
        for row in self._rows:
            row.now, row.next = row.fair.at(self._second), row.fair.at(self._second + 1)
            events.append(row.ladder.snapshot(row.price(part), row.now.vol, now_ms))
            events.append(BookSynced(row.instrument.symbol, now_ms))
            if row.instrument.is_perp:
                events += [_mark(row, now_ms), _funding(row, now_ms)]
        return events

    def _announce(self) -> list[MarketEvent]:
        """Announce one ticker; at a whole second move every fair price on, with marks, and funding in turn."""
        now_ns = self._slot_ns
        self._slot_ns += _SLOT_NS
        now_ms = now_ns // NS_PER_MS
        events: list[MarketEvent] = []
        if now_ns - self._second_ns >= NS_PER_S:
            self._second += 1
            self._second_ns += NS_PER_S
            for number, row in enumerate(self._rows):
                row.now, row.next = row.next, row.fair.at(self._second + 1)
                if row.instrument.is_perp:
                    events.append(_mark(row, now_ms))
                    if (self._second + number) % _FUNDING_EVERY_S == 0:
                        events.append(_funding(row, now_ms))
        events.append(_ticker(self._rows[self._ticker_turn], self._second, now_ms))
        self._ticker_turn = (self._ticker_turn + 1) % len(self._rows)
        return events


def _mark(row: _Row, now_ms: int) -> MarkPrice:
    places = row.instrument.price_places + 1
    return MarkPrice(row.instrument.symbol, now_ms, round(row.now.price, places), round(row.now.coin, places))


def _funding(row: _Row, now_ms: int) -> FundingRate:
    hours = row.instrument.funding_period_h
    period_ms = hours * 3_600_000
    return FundingRate(row.instrument.symbol, now_ms, row.now.funding, hours, now_ms - now_ms % period_ms + period_ms)


def _ticker(row: _Row, second: int, now_ms: int) -> Ticker:
    opened, price = row.past.at(second - _DAY_S).price, row.now.price
    if second - row.sampled_s >= _DAY_REFRESH_S:
        step = _DAY_S // _DAY_SAMPLES
        past = [row.past.at(second - step * back).price for back in range(_DAY_SAMPLES - 1, 0, -1)]
        row.high, row.low = max(past), min(past)
        row.sampled_s = second
    row.high, row.low = max(row.high, opened, price), min(row.low, opened, price)
    places = row.instrument.price_places
    return Ticker(
        row.instrument.symbol,
        now_ms,
        round(price, places),
        round(opened, places),
        round(row.high, places),
        round(row.low, places),
        round(row.minute_usd * _DAY_S / 60, 2),
    )
