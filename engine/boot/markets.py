"""Chooses the market of the paper venue: invented, or played from a recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drivers.paper.markets.model import MarketModel
from engine.boot.options import SystemOptions
from engine.kernel.clock import NS_PER_S, wall_time_ns
from engine.kernel.errors import ConfigError, Unsupported

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


def market_label(spec: str) -> str:
    """Return the name under which the account of a market is kept: a recording is known by its file's name."""
    kind, _, detail = spec.partition(":")
    return f"replay:{Path(detail).name}" if kind == "replay" else spec


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
    from engine.boot.recordings import open_recording

    if not path.exists():
        raise ConfigError(f"--market replay:{path}: there is no such file; name a capture or a folder made by `record`")
    model, warnings = open_recording(path, loops=not options.is_full_speed)
    return MarketSource(model, market_label(f"replay:{path}"), model.start_ns, tuple(warnings))
