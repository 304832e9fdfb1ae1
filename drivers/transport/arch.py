"""A venue's `arch.yaml`, typed: hosts, features, limits, rate buckets, symbol shape, fees, default instruments."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import msgspec
import yaml

from engine.kernel.errors import ConfigError
from engine.kernel.syscalls import VenueFeatures


class BucketSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One request budget of a venue.

    Attributes:
        name: How costs refer to it.
        limit: Weight that passes in one window.
        window_s: Length of the window.
        scope: Whose budget it is: `ip`, `account`, or `symbol` (costs then name it `name/SYMBOL`).
    """

    name: str
    limit: int
    window_s: float
    scope: str = "ip"

    def __post_init__(self) -> None:
        """Refuse what cannot be a budget."""
        if self.limit < 1 or self.window_s <= 0:
            raise ValueError(f"bucket {self.name!r}: limit and window_s must be positive")
        if self.scope not in ("ip", "account", "symbol"):
            raise ValueError(f"bucket {self.name!r}: scope {self.scope!r} must be ip, account or symbol")


class ProbePoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An address that `probe` looks at.

    Attributes:
        name: What it carries, in words.
        host: Name among the hosts.
        path: Path (and query) of something that needs no key.
        time: Where the venue's time (ms) stands in the JSON answer, dotted; empty for the whole answer, None without.
    """

    name: str
    host: str
    path: str
    time: str | None = None


class CredentialShape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one part of the venue's keys looks like.

    Attributes:
        pattern: Regular expression that the whole text fits.
        form: The same in words.
    """

    pattern: str
    form: str


class Arch(msgspec.Struct, frozen=True):
    """What a venue offers and how it names things.

    Attributes:
        venue: Driver name.
        hosts: Address by name, by environment (`live`, `demo`, `testnet`).
        features: What it does by itself; see `venue_features`.
        limits: Largest pages, most subscriptions and the like.
        rate_buckets: Request budgets.
        symbols: How symbols are spelled.
        fees: `maker` and `taker` by kind (`perp`, `spot`), as fractions in text.
        coin_fees: Whether a spot buy pays its fee in the coins that it buys, not in quote.
        instruments: Steps and limits of common instruments, for decoding without a connection.
        probe: Addresses that `probe` looks at.
        credentials: Shape of `key`, `secret` and `passphrase`; what is not listed is not needed.
        extra: Every other top-level entry.
    """

    venue: str
    hosts: dict[str, dict[str, str]]
    features: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    rate_buckets: list[BucketSpec] = []
    symbols: dict[str, Any] = {}
    fees: dict[str, dict[str, str]] = {}
    coin_fees: bool = False
    instruments: list[dict[str, str]] = []
    probe: list[ProbePoint] = []
    credentials: dict[str, CredentialShape] = {}
    extra: dict[str, Any] = {}


_FIELDS = frozenset(Arch.__struct_fields__) - {"extra"}


@cache
def load_arch(package: str) -> Arch:
    """Return the description in `arch.yaml` of a package such as `drivers.okx`; read once.

    Raises:
        ConfigError: The file is missing or an entry is wrong; the message names file and entry.
    """
    file = resources.files(package).joinpath("arch.yaml")
    try:
        loaded = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"{file}: must hold names and values")
    known = {name: value for name, value in loaded.items() if name in _FIELDS}
    known["extra"] = {name: value for name, value in loaded.items() if name not in _FIELDS}
    try:
        return msgspec.convert(known, Arch)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file}: {error}") from error


def venue_features(arch: Arch) -> VenueFeatures:
    """Return what the engine asks about a venue, from the `features` of its description.

    Raises:
        ConfigError: A feature is not true or false.
    """
    names = VenueFeatures.__struct_fields__
    try:
        return msgspec.convert({name: arch.features[name] for name in names if name in arch.features}, VenueFeatures)
    except msgspec.ValidationError as error:
        raise ConfigError(f"arch.yaml of {arch.venue}: features: {error}") from error
