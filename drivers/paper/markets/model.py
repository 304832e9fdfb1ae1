"""What the paper venue needs of a source of market data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from engine.kernel.instruments import Instrument
from engine.kernel.market import Bar, MarketEvent


class MarketModel(Protocol):
    """A market that can be stepped through in time.

    Attributes:
        start_ns: Time of the first event; candles before it are history.
    """

    start_ns: int

    def instruments(self) -> list[Instrument]:
        """Return what is traded."""

    def next_event_ns(self) -> int | None:
        """Return the time of the next event, None when the market has ended."""

    def step(self) -> Sequence[MarketEvent]:
        """Advance to the next event time and return its events, in order."""

    def skip_to(self, now_ns: int) -> None:
        """Leave out what lies before `now_ns` where the model can; called after a long pause of the program."""

    def klines(self, symbol: str, timeframe: str, limit: int, start: int | None, end: int | None) -> list[Bar]:
        """Return up to `limit` candles of the time before `start_ns`, oldest first.

        `start` and `end` bound the opening times (ms, inclusive). The candle that `start_ns` falls into ends there and
        is unclosed.
        """
