"""Chooses the market of the paper venue: invented, or played from a recording."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from drivers.paper.markets.model import MarketModel
from drivers.paper.markets.replay import Batch, ReplayMarket, decoded
from engine.boot.decoding import DEFAULT_CAPTURE_VENUE, default_instruments, make_decoder
from engine.boot.options import SystemOptions
from engine.io.inference import infer_instruments
from engine.io.instruments_file import Fees, read_instruments
from engine.io.raw_files import open_raw, raw_lines
from engine.kernel.clock import NS_PER_S, wall_time_ns
from engine.kernel.errors import ConfigError, Unsupported
from engine.kernel.instruments import Instrument
from engine.kernel.market import Unparsed

_SAMPLE_MESSAGES = 2000
FULL_SPEED_START_NS = 1_767_225_600 * NS_PER_S
"""Where an invented market begins when no wall clock may matter: 2026-01-01 00:00 UTC."""


@dataclass(slots=True, frozen=True)
class MarketSource:
    """A market and how it is called.

    Attributes:
        model: The market.
        label: Shown to people and part of the account's key: the account is kept per market.
        start_ns: Time at which it begins, None when it follows the wall clock.
        warnings: What the operator should know about the recording.
    """

    model: MarketModel
    label: str
    start_ns: int | None
    warnings: tuple[str, ...] = ()


def open_market(spec: str, options: SystemOptions) -> MarketSource:
    """Return the market that `synthetic:SEED` or `replay:FILE` names.

    Raises:
        ConfigError: The text names no market, or the file cannot be read.
        Unsupported: Live data is asked for, which needs a venue's own driver.
    """
    kind, _, detail = spec.partition(":")
    if kind == "synthetic" and detail.isdecimal():
        return _synthetic(int(detail), options)
    if kind == "replay" and detail:
        return _replay(Path(detail).expanduser(), options)
    if spec == "live":
        raise Unsupported("--market live: no venue driver offers live data yet; use synthetic:SEED or replay:FILE")
    raise ConfigError(f"--market {spec!r}: must be synthetic:SEED with a whole number, or replay:FILE")


def _synthetic(seed: int, options: SystemOptions) -> MarketSource:
    from drivers.paper.markets.synthetic import SyntheticMarket

    if options.is_full_speed:
        model = SyntheticMarket(seed, FULL_SPEED_START_NS)
        return MarketSource(model, f"synthetic:{seed}", FULL_SPEED_START_NS)
    model = SyntheticMarket(seed, wall_time_ns())
    return MarketSource(model, f"synthetic:{seed}", None)


def _replay(path: Path, options: SystemOptions) -> MarketSource:
    if not path.exists():
        raise ConfigError(f"--market replay:{path}: there is no such file; name a capture or a folder made by `record`")
    loops = not options.is_full_speed
    parquet = path.is_dir() or path.suffix == ".parquet"
    model, warnings = _recorded_parts(path, loops) if parquet else _capture(path, loops)
    return MarketSource(model, f"replay:{path.name}", model.start_ns, tuple(warnings))


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
