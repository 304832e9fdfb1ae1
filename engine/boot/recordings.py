"""Opens a recording as a market: raw captures of a venue, and the Parquet parts that `record` writes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import get_args

from drivers.paper.markets.model import MarketModel
from drivers.paper.markets.replay import Batch, ReplayMarket, decoded
from engine.boot.decoding import default_instruments, make_decoder
from engine.boot.venues import PAPER, venue_names
from engine.io.inference import infer_instruments
from engine.io.instruments_file import FILE_NAME, Fees, read_instruments
from engine.io.raw_files import open_raw, raw_lines
from engine.kernel.errors import ConfigError
from engine.kernel.instruments import Instrument
from engine.kernel.market import MarketEvent, Unparsed

_SAMPLE_MESSAGES = 2000
_LINES_TO_TELL_BY = 300
_PUBLIC = frozenset(get_args(MarketEvent))


def open_recording(path: Path, loops: bool, venue: str | None = None) -> tuple[MarketModel, list[str]]:
    """Return the market of a recording and what the operator should know about it.

    Args:
        path: A capture, a Parquet part, or a folder of parts.
        loops: Whether it begins again after its end.
        venue: Whose messages a capture holds; by default told by `instruments.yaml` beside it, or by themselves.

    Raises:
        ConfigError: It cannot be read, or holds no market.
    """
    parquet = path.is_dir() or path.suffix == ".parquet"
    return _recorded_parts(path, loops) if parquet else _capture(path, loops, venue)


def _recorded_parts(path: Path, loops: bool) -> tuple[MarketModel, list[str]]:
    from engine.io.market_files import MarketReader

    reader = MarketReader(path)
    warnings = [f"{part} was left half written by a crash and is not played" for part in reader.unfinished]

    def batches() -> Iterator[Batch]:
        for batch in reader.batches():
            for when_ns, event in batch:
                yield when_ns, (event,)

    return ReplayMarket(reader.instruments(), batches, loops), warnings


def _capture(path: Path, loops: bool, wanted: str | None) -> tuple[MarketModel, list[str]]:
    """Return the market of a raw capture, its instruments from the file beside it, the venue, or the data itself."""
    listed = _listed_beside(path)
    venue = listed[0].venue if listed else wanted if wanted not in (None, PAPER) else _venue_of(path)

    def batches() -> Iterator[Batch]:
        with open_raw(path) as file:
            for when_ns, events in decoded(raw_lines(file, str(path)), make_decoder(venue)):
                public = [event for event in events if type(event) in _PUBLIC]
                if public:
                    yield when_ns, public

    if listed:
        return ReplayMarket(listed, batches, loops), []
    sample = [event for _, events in islice(batches(), _SAMPLE_MESSAGES) for event in events]
    symbols = {event.symbol for event in sample if not isinstance(event, Unparsed)}
    known = [instrument for instrument in default_instruments(venue) if instrument.symbol in symbols]
    missing = symbols - {instrument.symbol for instrument in known}
    guessed = [i for i in infer_instruments(venue, sample, Fees()) if i.symbol in missing]
    if not known and not guessed:
        raise ConfigError(f"--market replay:{path}: no market data of {venue} in its first lines; is it a capture?")
    warnings = [
        f"{i.symbol}: tick {i.tick_size} and lot {i.lot_size} are guessed from the data; an instruments.yaml beside "
        f"{path.name} would tell them"
        for i in guessed
    ]
    return ReplayMarket(known + guessed, batches, loops), warnings


def _listed_beside(path: Path) -> list[Instrument]:
    """Return the instruments that `instruments.yaml` beside a capture lists for it."""
    beside = path.with_name(FILE_NAME)
    if not beside.exists():
        return []
    return [entry.instrument for entry in read_instruments(beside) if entry.is_in(path)]


def _venue_of(path: Path) -> str:
    """Return the venue whose decoder understands the most of a capture's first lines.

    Raises:
        ConfigError: None understands any, or two understand as much.
    """
    with open_raw(path) as file:
        lines = list(islice(raw_lines(file, str(path)), _LINES_TO_TELL_BY))
    understood = {venue: _understood(venue, lines) for venue in venue_names()}
    best = max(understood.values())
    found = [venue for venue, count in understood.items() if count == best]
    if not best or len(found) > 1:
        what = "no venue's" if not best else " and ".join(found)
        raise ConfigError(
            f"--market replay:{path}: its first lines are {what} market data; name the venue with --exchange, one of "
            f"{', '.join(venue_names())}"
        )
    return found[0]


def _understood(venue: str, lines: list[bytes]) -> int:
    decoder = make_decoder(venue)
    return sum(not isinstance(event, Unparsed) for line in lines for event in decoder.feed(line))
