"""Candles of the paper venue: the market model's history joined with what was played since."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from drivers.paper.bars import BarStream, aggregated, merged
from drivers.paper.channel import Channel
from drivers.paper.markets.model import MarketModel
from engine.kernel.clock import Clock, VirtualClock
from engine.kernel.errors import InvalidOrder
from engine.kernel.market import TIMEFRAME_MS, Bar


class Candles:
    """Candle queries and streams. On a clock that runs by itself, history is computed beside the event loop.

    Args:
        channels: State of every instrument, by symbol.
        model: Where history comes from.
        clock: Venue time.
    """

    def __init__(self, channels: Mapping[str, Channel], model: MarketModel, clock: Clock) -> None:
        self._channels = channels
        self._model = model
        self._clock = clock

    async def get(self, symbol: str, timeframe: str, limit: int, start: int | None, end: int | None) -> list[Bar]:
        """Return candles, oldest first; with a start the first `limit` of them, else the last.

        Raises:
            InvalidOrder: The timeframe is unknown or the limit is below 1.
        """
        check_timeframe(timeframe)
        if limit < 1:
            raise InvalidOrder(f"limit {limit} must be at least 1")
        query = (symbol, timeframe, limit, start, end)
        if isinstance(self._clock, VirtualClock):
            history = self._model.klines(*query)
        else:
            history = await asyncio.to_thread(self._model.klines, *query)
        bars = [
            bar
            for bar in self._joined(history, symbol, timeframe, forming=True)
            if (start is None or bar.open_time >= start) and (end is None or bar.open_time <= end)
        ]
        return bars[:limit] if start is not None else bars[-limit:]

    def stream(self, symbol: str, timeframe: str) -> BarStream:
        """Return the stream of one candle length, begun with what the present candle holds already."""
        check_timeframe(timeframe)
        streams = self._channels[symbol].streams
        if timeframe not in streams:
            now_ms = self._clock.now_ms()
            history = self._model.klines(symbol, timeframe, 1, None, None)
            last = self._joined(history, symbol, timeframe, forming=False)[-1:]
            begun = last and last[0].open_time == now_ms - now_ms % TIMEFRAME_MS[timeframe]
            streams[timeframe] = BarStream(timeframe, last[0] if begun else None)
        return streams[timeframe]

    def _joined(self, history: list[Bar], symbol: str, timeframe: str, forming: bool) -> list[Bar]:
        minutes = self._channels[symbol].bars
        present = [minutes.forming] if forming and minutes.forming is not None else []
        played = aggregated([*minutes.closed, *present], timeframe)
        if history and played and history[-1].open_time == played[0].open_time:
            played[0] = merged(history.pop(), played[0], timeframe, played[0].closed)
        return history + played


def check_timeframe(timeframe: str) -> None:
    """Raise `InvalidOrder` unless candles of this length exist."""
    if timeframe not in TIMEFRAME_MS:
        raise InvalidOrder(f"timeframe {timeframe!r} is not one of {', '.join(TIMEFRAME_MS)}")
