"""The door through which the command line reaches the drivers' decoders."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from engine.boot.venues import venue_package
from engine.io.event_lines import LineDecoder, decode_lines
from engine.kernel.instruments import Instrument


@dataclass(slots=True)
class DecodeStream:
    """Events of raw lines, as dictionaries for JSON, and what was counted on the way."""

    events: Iterator[dict[str, Any]]
    decoder: LineDecoder

    def summary(self) -> str:
        """Return the counts by message type and the state of each book, as one line of JSON."""
        return json.dumps(self.decoder.summary())


def make_decoder(venue: str) -> LineDecoder:
    """Return a decoder of a venue's raw messages.

    Raises:
        UnknownVenue: There is no driver of that name.
    """
    decoder: LineDecoder = venue_package(venue).make_decoder()
    return decoder


def default_instruments(venue: str) -> list[Instrument]:
    """Return the instruments whose filters a venue's `arch.yaml` holds."""
    instruments: list[Instrument] = venue_package(venue).default_instruments()
    return instruments


def decode_stream(venue: str, lines: Iterable[bytes]) -> DecodeStream:
    """Return the normalised events of raw lines.

    Raises:
        UnknownVenue: There is no driver of that name.
    """
    decoder = make_decoder(venue)
    return DecodeStream(decode_lines(decoder, lines), decoder)
