"""One instrument's market state and subscribers."""

from __future__ import annotations

from collections.abc import Callable

from drivers.paper.bars import BarStream, MinuteBars
from drivers.paper.symbol_market import SymbolMarket
from engine.kernel.market import Trade
from engine.kernel.syscalls import BookEvent, TickEvent


class Channel:
    """What the hot path needs of one instrument, in one place.

    Attributes:
        streams: Candle streams by timeframe.
        day: Open, high, low and quote volume of the finished minutes of the last 24 h.
    """

    __slots__ = ("bars", "books", "day", "market", "streams", "ticks", "trades")

    def __init__(self, market: SymbolMarket) -> None:
        self.market = market
        self.ticks: tuple[Callable[[TickEvent], None], ...] = ()
        self.books: tuple[Callable[[BookEvent], None], ...] = ()
        self.trades: tuple[Callable[[Trade], None], ...] = ()
        self.bars = MinuteBars(market.symbol)
        self.streams: dict[str, BarStream] = {}
        self.day: tuple[float, float, float, float] | None = None
