"""Market data on the hot path. Prices and sizes are float here; `ts` is the venue's time in ms, UTC.

They become money only through the rounding of an `Instrument`.
"""

from __future__ import annotations

from math import inf

import msgspec

from engine.kernel.orders import Side

Levels = list[tuple[float, float]]
"""Price levels as (price, absolute size); size 0 removes the level."""


class Trade(msgspec.Struct, gc=False):
    """A public trade; `side` is the aggressor's."""

    symbol: str
    ts: int
    price: float
    size: float
    side: Side
    id: str


class Quote(msgspec.Struct, gc=False):
    """Best bid and ask."""

    symbol: str
    ts: int
    bid: float
    bid_size: float
    ask: float
    ask_size: float

    def __post_init__(self) -> None:
        """Refuse what is no price, with `ValueError`."""
        if not (0.0 <= self.bid < inf and 0.0 <= self.ask < inf):
            raise ValueError(f"bid {self.bid} and ask {self.ask} are no prices")

    @property
    def mid(self) -> float:
        """Return the middle of the touch."""
        return (self.bid + self.ask) / 2

    @property
    def is_whole(self) -> bool:
        """Return whether there are a bid and an ask; without one of them the middle is no price."""
        return self.bid > 0.0 and self.ask > 0.0


class BookUpdate(msgspec.Struct, gc=False):
    """A change of the order book, or a whole book when `snapshot`."""

    symbol: str
    ts: int
    bids: Levels
    asks: Levels
    snapshot: bool = False


class BookSynced(msgspec.Struct, gc=False):
    """The book of a symbol is complete and continuous from here on."""

    symbol: str
    ts: int | None


class BookInvalid(msgspec.Struct, gc=False):
    """The book of a symbol cannot be trusted until the next `BookSynced`."""

    symbol: str
    ts: int | None
    reason: str


class MarkPrice(msgspec.Struct, gc=False):
    """Mark and index price of a perpetual."""

    symbol: str
    ts: int
    mark: float
    index: float

    def __post_init__(self) -> None:
        """Refuse what is no price, with `ValueError`: money is reckoned with it."""
        if not (0.0 <= self.mark < inf and 0.0 <= self.index < inf):
            raise ValueError(f"mark {self.mark} and index {self.index} are no prices")


class FundingRate(msgspec.Struct, gc=False):
    """Predicted funding rate per period and the time (ms) at which it is paid."""

    symbol: str
    ts: int
    rate: float
    period_h: int
    next_time: int

    def __post_init__(self) -> None:
        """Refuse what is no rate, with `ValueError`."""
        if not -1.0 < self.rate < 1.0:
            raise ValueError(f"{self.rate} is no funding rate")


class Ticker(msgspec.Struct, gc=False):
    """Last price and 24 h statistics; volume in quote."""

    symbol: str
    ts: int
    last: float
    open_24h: float
    high_24h: float
    low_24h: float
    quote_volume_24h: float

    def __post_init__(self) -> None:
        """Refuse what is no price or volume, with `ValueError`."""
        if not abs(self.last + self.open_24h + self.high_24h + self.low_24h + self.quote_volume_24h) < inf:
            raise ValueError(f"{self.symbol}: a ticker with numbers that are none")


class Bar(msgspec.Struct, gc=False):
    """One candle. `open_time` in ms; `missing` marks a hole that was not filled with invented data.

    `ts` is the time of the message that brought it, 0 for candles from history.
    """

    symbol: str
    timeframe: str
    open_time: int
    open: float
    high: float
    low: float
    close: float
    base_volume: float
    quote_volume: float
    closed: bool = True
    missing: bool = False
    ts: int = 0


class Unparsed(msgspec.Struct):
    """A raw message that could not be understood; `raw` is cut to a readable length."""

    reason: str
    raw: str
    ts: int | None = None
    symbol: str | None = None


MarketEvent = Trade | Quote | BookUpdate | BookSynced | BookInvalid | MarkPrice | FundingRate | Ticker | Bar | Unparsed

TIMEFRAME_MS: dict[str, int] = {
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "4h": 14_400_000,
    "1d": 86_400_000,
}
"""Supported candle lengths in ms."""
