"""A seeded market of two perpetuals that walks within one per cent: books, prints and marks, every four seconds."""

from __future__ import annotations

from engine.kernel.clock import Clock, Rng, sleep
from engine.kernel.instruments import Instrument
from engine.kernel.market import Levels
from engine.kernel.orders import Side
from tests.venues.emulators.core import Emulator

BASE_PRICES = {"BTC": 60_000.0, "ETH": 3_000.0}
RANGE = 0.01
"""How far a price strays from its base, as a share."""
STEP_S = 4.0
_MOST_UNMARKED = 5
"""After so many steps the mark price is told again: a venue keeps nobody waiting for it."""
_LEVELS = 3
_GAP_TICKS = 5
_CLIP_USD = 3_000.0


class SimMarket:
    """Moves an emulator's prices.

    Args:
        emulator: The venue.
        clock: Time.
        rng: Chooses steps and sizes.
        instruments: What moves.
    """

    def __init__(self, emulator: Emulator, clock: Clock, rng: Rng, instruments: list[Instrument]) -> None:
        self._emulator = emulator
        self._clock = clock
        self._rng = rng
        self._instruments = instruments
        self._unmarked = dict.fromkeys((instrument.symbol for instrument in instruments), 0)
        self._middle = {instrument.symbol: BASE_PRICES[instrument.base] for instrument in instruments}

    async def play(self) -> None:
        """Move for ever."""
        for instrument in self._instruments:
            # Tickers only when something happens: one a second of every market is most of the traffic otherwise.
            self._emulator.exchange.market(instrument.symbol).native_ticker = True
            self._emulator.funding(instrument.symbol, 0.0001, period_h=instrument.funding_period_h or 8)
        while True:
            for instrument in self._instruments:
                self._step(instrument)
            await sleep(self._clock, STEP_S)

    def _step(self, instrument: Instrument) -> None:
        rng, symbol = self._rng, instrument.symbol
        base, middle = BASE_PRICES[instrument.base], self._middle[symbol]
        middle += rng.gauss(0.0, 0.00035) * base + (base - middle) * 0.01
        middle = self._middle[symbol] = min(max(middle, base * (1 - RANGE)), base * (1 + RANGE))
        tick = float(instrument.tick_size)
        bid = int(middle / tick)
        bids: Levels = [(round((bid - depth * _GAP_TICKS) * tick, 8), self._size(middle)) for depth in range(_LEVELS)]
        asks: Levels = [
            (round((bid + 1 + depth * _GAP_TICKS) * tick, 8), self._size(middle)) for depth in range(_LEVELS)
        ]
        self._emulator.book(symbol, bids, asks)
        if rng.random() < 0.65:
            side = rng.choice((Side.BUY, Side.SELL))
            self._emulator.print(symbol, (asks if side is Side.BUY else bids)[0][0], self._size(middle), side)
        self._unmarked[symbol] += 1
        if rng.random() < 0.3 or self._unmarked[symbol] >= _MOST_UNMARKED:
            self._unmarked[symbol] = 0
            self._emulator.mark(symbol, round(middle, 8))

    def _size(self, price: float) -> float:
        return round(self._rng.uniform(0.1, 2.0) * _CLIP_USD / price, 3)
