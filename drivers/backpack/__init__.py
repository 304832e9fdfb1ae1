"""Backpack: perpetuals and spot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.backpack.symbols import arch, default_instruments

if TYPE_CHECKING:
    from drivers.transport.line_decoder import LineDecoder
    from drivers.transport.setup import VenueSetup
    from drivers.transport.venue_driver import VenueDriver

__all__ = ["arch", "default_instruments", "make_decoder", "make_driver"]


def make_decoder() -> LineDecoder:
    """Return a decoder of raw lines from this venue's sockets."""
    from drivers.backpack.decode import make_decoder

    return make_decoder()


def make_driver(setup: VenueSetup) -> VenueDriver:
    """Return a driver of one account, or of public data when there are no keys."""
    from drivers.backpack.driver import BackpackDriver

    return BackpackDriver(setup)
