"""Streams the prices of everything that the account's worth hangs on, also of what turns up while it runs."""

from __future__ import annotations

from engine.kernel.clock import TimerHandle
from engine.runtime.core import EngineCore

LOOK_S = 5.0
ANEW_S = 1.0
"""Between the end of a stream and its new beginning: asked for in one moment, the venue would be told nothing."""


class PriceWatch:
    """Watches what is held or worked, and what prices wallets and quote currencies in dollars.

    Args:
        core: The engine's shared parts.
    """

    def __init__(self, core: EngineCore) -> None:
        self._core = core
        self._timer: TimerHandle | None = None

    def start(self) -> None:
        """Begin to look: a person may trade at the venue what nobody watches here."""
        self.stop()
        self._timer = self._core.clock.call_later(LOOK_S, self.start)
        self.look()

    def stop(self) -> None:
        """End looking; what streams goes on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        """Stream what is not streamed yet, and anew what fell silent."""
        market, portfolio = self._core.market, self._core.portfolio
        market.renew()
        symbols = {row.symbol for row in portfolio.positions()}
        symbols.update(order.symbol for order in self._core.tracker.working())
        symbols |= portfolio.rate_markets()
        for symbol in sorted(symbols & market.instruments.keys()):
            market.watch(symbol, depth=False)
        ended = market.end_deaf()
        for symbol in ended:
            self._core.say(f"{symbol}: no price since the connection is there: asked for anew", "info")
        if ended:
            self._core.clock.call_later(ANEW_S, self._renew)

    def _renew(self) -> None:
        if self._timer is not None:
            self._core.market.renew()
