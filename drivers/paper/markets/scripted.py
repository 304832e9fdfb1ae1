"""A market that plays a given list of events: for tests and measurements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from engine.kernel.instruments import Instrument, InstrumentKind
from engine.kernel.market import Bar, MarketEvent, Trade
from engine.kernel.orders import Side


def trial_instrument() -> Instrument:
    """Return `TST-USD-PERP`: tick 0.01, lot 0.001, minimum 5 USD."""
    return Instrument(
        symbol="TST-USD-PERP",
        venue="paper",
        base="TST",
        quote="USD",
        settle="USD",
        kind=InstrumentKind.PERP,
        tick_size=Decimal("0.01"),
        lot_size=Decimal("0.001"),
        min_quantity=Decimal("0.001"),
        min_notional=Decimal(5),
        max_leverage=Decimal(100),
    )


class ScriptedMarket:
    """Plays events at given times.

    Args:
        instruments: What is traded.
        events: (time in ns, event), in order of time.
        history: Candles of the time before the start, by (symbol, timeframe).
        start_ns: Beginning of the market; the first event's time when None.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        events: Iterable[tuple[int, MarketEvent]] = (),
        history: dict[tuple[str, str], list[Bar]] | None = None,
        start_ns: int | None = None,
    ) -> None:
        self._instruments = list(instruments)
        self._events = list(events)
        self._history = history or {}
        self._next = 0
        first = self._events[0][0] if self._events else 0
        self.start_ns = first if start_ns is None else start_ns

    def add(self, time_ns: int, event: MarketEvent) -> None:
        """Append an event that is not earlier than the last one."""
        self._events.append((time_ns, event))

    def add_print(self, time_ns: int, price: float, size: float = 1.0, side: Side = Side.SELL) -> None:
        """Append a public trade of the first instrument."""
        symbol = self._instruments[0].symbol
        self.add(time_ns, Trade(symbol, time_ns // 1_000_000, price, size, side, str(len(self._events) + 1)))

    def instruments(self) -> list[Instrument]:
        """Return what is traded."""
        return self._instruments

    def next_event_ns(self) -> int | None:
        """Return the time of the next event, None at the end of the list."""
        return self._events[self._next][0] if self._next < len(self._events) else None

    def step(self) -> list[MarketEvent]:
        """Return the next event."""
        event = self._events[self._next][1]
        self._next += 1
        return [event]

    def skip_to(self, now_ns: int) -> None:
        """Play everything: a script has no part that may be left out."""

    def klines(self, symbol: str, timeframe: str, limit: int, start: int | None, end: int | None) -> list[Bar]:
        """Return the history that was given: with a start the first `limit` of it, else the last."""
        bars = self._history.get((symbol, timeframe), [])
        within = [
            bar for bar in bars if (start is None or bar.open_time >= start) and (end is None or bar.open_time <= end)
        ]
        return within[:limit] if start is not None else within[-limit:]
