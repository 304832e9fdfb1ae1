"""Opens a recording as a market: raw captures of a venue, and the Parquet parts that `record` writes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from drivers.paper.markets.model import MarketModel
from drivers.paper.markets.replay import Batch, ReplayMarket, decoded
from engine.boot.decoding import DEFAULT_CAPTURE_VENUE, default_instruments, make_decoder
from engine.io.inference import infer_instruments
from engine.io.instruments_file import Fees, read_instruments
from engine.io.raw_files import open_raw, raw_lines
from engine.kernel.errors import ConfigError
from engine.kernel.instruments import Instrument
from engine.kernel.market import Unparsed

_SAMPLE_MESSAGES = 2000


def open_recording(path: Path, loops: bool) -> tuple[MarketModel, list[str]]:
    """Return the market of a recording and what the operator should know about it.

    Args:
        path: A capture, a Parquet part, or a folder of parts.
        loops: Whether it begins again after its end.

    Raises:
        ConfigError: It cannot be read, or holds no market.
    """
    parquet = path.is_dir() or path.suffix == ".parquet"
    return _recorded_parts(path, loops) if parquet else _capture(path, loops)


def _recorded_parts(path: Path, loops: bool) -> tuple[MarketModel, list[str]]:
    from engine.io.market_files import MarketReader

    reader = MarketReader(path)
    warnings = [f"{part} was left half written by a crash and is not played" for part in reader.unfinished]

    def batches() -> Iterator[Batch]:
        for batch in reader.batches():
            for when_ns, event in batch:
                yield when_ns, (event,)

    return ReplayMarket(reader.instruments(), batches, loops), warnings


def _capture(path: Path, loops: bool) -> tuple[MarketModel, list[str]]:
    """Return the market of a raw capture, its instruments from the file beside it, the venue, or the data itself."""
    listed, venue = _listed_beside(path)

    def batches() -> Iterator[Batch]:
        with open_raw(path) as file:
            yield from decoded(raw_lines(file, str(path)), make_decoder(venue))

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


def _listed_beside(path: Path) -> tuple[list[Instrument], str]:
    """Return the instruments that `instruments.yaml` beside a capture lists for it, and their venue."""
    beside = path.with_name("instruments.yaml")
    if not beside.exists():
        return [], DEFAULT_CAPTURE_VENUE
    listed = [entry.instrument for entry in read_instruments(beside) if entry.is_in(path)]
    return listed, listed[0].venue if listed else DEFAULT_CAPTURE_VENUE
