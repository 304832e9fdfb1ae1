"""OKX: linear swaps and spot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.okx.symbols import arch, default_instruments

if TYPE_CHECKING:
    from drivers.okx.decode import Decoder
    from drivers.okx.driver import OkxDriver
    from drivers.transport.setup import VenueSetup

__all__ = ["arch", "default_instruments", "make_decoder", "make_driver"]


def make_driver(setup: VenueSetup) -> OkxDriver:
    """Return a driver of this venue; nothing is connected before its `start`."""
    from drivers.okx.driver import OkxDriver

    return OkxDriver(setup)


def make_decoder() -> Decoder:
    """Return a decoder of raw lines from this venue's sockets."""
    from drivers.okx.decode import Decoder

    return Decoder()
