"""Binance: USD-M futures and spot in one driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.binance.decode import make_decoder
from drivers.binance.symbols import arch, default_instruments

if TYPE_CHECKING:
    from drivers.binance.driver import BinanceDriver
    from drivers.transport.setup import VenueSetup

__all__ = ["arch", "default_instruments", "make_decoder", "make_driver"]


def make_driver(setup: VenueSetup) -> BinanceDriver:
    """Return a driver, not yet started; what it needs of the network is loaded here."""
    from drivers.binance.driver import BinanceDriver

    return BinanceDriver(setup)
