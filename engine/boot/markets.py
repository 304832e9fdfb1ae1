"""Chooses the market of a paper account: invented, played from a recording, or the live data of a venue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drivers.paper.markets.model import MarketModel
from engine.boot.options import SystemOptions
from engine.boot.venues import PAPER, venue_config, venue_names, venue_package
from engine.io.config import Config
from engine.io.journal import recorded_accounts
from engine.kernel.clock import NS_PER_S, wall_time_ns
from engine.kernel.errors import ConfigError

LIVE = "live"

FULL_SPEED_START_NS = 1_767_225_600 * NS_PER_S
"""Where an invented market begins when no wall clock may matter: 2026-01-01 00:00 UTC."""


@dataclass(slots=True, frozen=True)
class MarketSource:
    """A market and how it is called.

    Attributes:
        model: The market; None where a venue's live data is the market.
        label: Shown to people and part of the account's key: the account is kept per market.
        start_ns: Time at which it begins, None when it follows the wall clock.
        warnings: What the operator should know about the recording.
        venue: Whose live data it is; empty when it is no live data.
    """

    model: MarketModel | None
    label: str
    start_ns: int | None = None
    warnings: tuple[str, ...] = ()
    venue: str = ""


def market_spec(options: SystemOptions, config: Config, venue: str) -> str:
    """Return which market an account on paper has: an account of a real venue has that venue's."""
    return options.market or (config.market if venue == PAPER else LIVE)


def market_label(spec: str, config: Config, venue: str) -> str:
    """Return the name under which the account of a market is kept: a recording is known by its file's name.

    Raises:
        UnknownVenue: Live data of a venue that has no driver.
        ConfigError: Live data, and the venue is missing or is not the account's.
    """
    kind, _, detail = spec.partition(":")
    if kind == "replay":
        return f"replay:{Path(detail).name}"
    if kind != LIVE:
        return spec
    source = live_venue(spec, venue)
    environment = venue_config(config, source).environment
    name = LIVE if environment == LIVE else f"{LIVE}-{environment}"
    return name if source == venue else f"{name}:{source}"


def is_paper_market(label: str) -> bool:
    """Return whether a label is of a market of paper accounts; that of a live account names an environment."""
    kind = label.partition(":")[0]
    return kind in ("synthetic", "replay", LIVE) or kind.startswith(f"{LIVE}-")


def money_accounts(database: Path) -> list[str]:
    """Return the keys of the accounts in a journal that trade at a real venue; those on paper cost nobody anything.

    Raises:
        JournalError: It cannot be read.
    """
    return [key for key in recorded_accounts(database) if not is_paper_market(key.partition("@")[2])]


def live_venue(spec: str, venue: str) -> str:
    """Return whose data `live` or `live:VENUE` means for an account of a venue.

    Raises:
        UnknownVenue: That venue has no driver.
        ConfigError: The venue is missing or is not the account's.
    """
    named = spec.partition(":")[2]
    if not named and venue == PAPER:
        examples = " or ".join(f"live:{name}" for name in venue_names())
        raise ConfigError(f"--market live: of which venue? write {examples}, or name the venue with --exchange")
    if named and venue not in (PAPER, named):
        raise ConfigError(f"--market {spec}: the account is of {venue}; write live, or choose another with --exchange")
    source = named or venue
    venue_package(source)
    return source


def open_market(spec: str, options: SystemOptions, config: Config, venue: str) -> MarketSource:
    """Return the market that `synthetic:SEED`, `replay:FILE`, `live` or `live:VENUE` names.

    Raises:
        ConfigError: The text names no market, the file cannot be read, or live data is asked for at another speed.
        UnknownVenue: Live data of a venue that has no driver.
    """
    kind, _, detail = spec.partition(":")
    if kind == "synthetic" and detail.isdecimal():
        return _synthetic(int(detail), options)
    if kind == "replay" and detail:
        return _replay(Path(detail).expanduser(), options)
    if kind == LIVE and spec != f"{LIVE}:":
        refuse_speed(options)
        return MarketSource(None, market_label(spec, config, venue), venue=live_venue(spec, venue))
    raise ConfigError(f"--market {spec!r}: must be synthetic:SEED with a whole number, replay:FILE, live or live:VENUE")


def refuse_speed(options: SystemOptions) -> None:
    """Refuse to change the pace of what goes at its own.

    Raises:
        ConfigError: A speed other than 1 was given.
    """
    if options.is_full_speed or options.speed_factor != 1.0:
        raise ConfigError(f"--speed {options.speed}: live data goes at its own pace; give --market synthetic or replay")


def _synthetic(seed: int, options: SystemOptions) -> MarketSource:
    from drivers.paper.markets.synthetic import SyntheticMarket

    if options.is_full_speed:
        model = SyntheticMarket(seed, FULL_SPEED_START_NS)
        return MarketSource(model, f"synthetic:{seed}", FULL_SPEED_START_NS)
    model = SyntheticMarket(seed, wall_time_ns())
    return MarketSource(model, f"synthetic:{seed}", None)


def _replay(path: Path, options: SystemOptions) -> MarketSource:
    from engine.boot.recordings import open_recording

    if not path.exists():
        raise ConfigError(f"--market replay:{path}: there is no such file; name a capture or a folder made by `record`")
    model, warnings = open_recording(path, loops=not options.is_full_speed, venue=options.exchange)
    return MarketSource(model, f"replay:{path.name}", model.start_ns, tuple(warnings))
