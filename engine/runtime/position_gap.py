"""Where the venue's position is not the sum of our ledgers, judged only by what the venue said after the last fill."""

from __future__ import annotations

from engine.runtime.core import EngineCore
from engine.runtime.events import FillBooked


class PositionGap:
    """Compares perpetual positions; what is older than the last fill says nothing about it.

    Args:
        core: The engine's shared parts.
    """

    def __init__(self, core: EngineCore) -> None:
        self._core = core
        self._filled_ns: dict[str, int] = {}
        self._apart: set[str] = set()
        core.bus.subscribe(FillBooked, self._on_fill)

    def symbols(self) -> list[str]:
        """Return the symbols whose position is known to differ, by name.

        What the venue lists no more is left out: it ends a position there in its own way, which is told once and must
        not stop all other trading.
        """
        portfolio, market = self._core.portfolio, self._core.market
        known = portfolio.venue_positions()
        for symbol in {*known, *(name for _, name, _ in self._core.ledgers()), *self._apart}:
            instrument = market.instruments.get(symbol)
            if instrument is None or not instrument.is_perp or not market.is_listed(symbol):
                self._apart.discard(symbol)
                continue
            there = known[symbol].quantity if symbol in known else 0
            if there == self._core.account_quantity(symbol):
                self._apart.discard(symbol)
            elif self.is_told(symbol):
                self._apart.add(symbol)
        return sorted(self._apart)

    def is_told(self, symbol: str) -> bool:
        """Return whether the venue has told its position of a symbol since the last fill."""
        return self._core.portfolio.venue_position_ns(symbol) > self._filled_ns.get(symbol, 0)

    def _on_fill(self, event: FillBooked) -> None:
        self._filled_ns[event.fill.symbol] = self._core.clock.now_ns()
