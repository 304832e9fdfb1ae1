"""Binance: USD-M futures and spot; here the codec of the public market data."""

from __future__ import annotations

from drivers.binance.decode import Decoder
from drivers.binance.symbols import default_instruments

__all__ = ["default_instruments", "make_decoder"]


def make_decoder() -> Decoder:
    """Return a decoder of raw lines from this venue's sockets."""
    return Decoder()
