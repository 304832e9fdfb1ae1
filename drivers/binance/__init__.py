"""Binance: USD-M futures and spot in one driver."""

from __future__ import annotations

from drivers.binance.decode import RecordedMessages
from drivers.binance.symbols import arch, default_instruments
from drivers.transport.line_decoder import LineDecoder

__all__ = ["arch", "default_instruments", "make_decoder"]


def make_decoder() -> LineDecoder:
    """Return a decoder of raw lines from this venue's sockets."""
    return LineDecoder(RecordedMessages())
