"""Raw lines of OKX's sockets to events: the decoder behind `decode`, `replay:` and recordings."""

from __future__ import annotations

from drivers.okx.feed import Feed
from drivers.okx.symbols import default_contracts
from drivers.transport.line_decoder import LineDecoder


class Decoder(LineDecoder):
    """Decodes public and private messages, one a line. Never raises on data.

    Sizes of swaps are told in coins. Their contract sizes are those of `arch.yaml` until an instruments reply among
    the lines says otherwise; a swap whose contract size nobody told is reported, never guessed.
    """

    def __init__(self) -> None:
        super().__init__(Feed(default_contracts()))
