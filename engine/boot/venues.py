"""Finds venue drivers by name and gives each its setup: hosts, keys, store, time.

Keys are resolved once a process, and every key is masked in logs from then on.
"""

from __future__ import annotations

import importlib
import ssl
from collections.abc import Callable, Collection, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from engine.io.config import AccountEntry, Config, Paths
from engine.io.journal import Journal
from engine.io.model_errors import nearest
from engine.io.secrets import clean_addresses, process_environment, process_redactor, take_password
from engine.io.settings import VenueConfig
from engine.kernel.clock import Clock, Rng
from engine.kernel.errors import ConfigError, UnknownVenue
from engine.kernel.secret import Secret

if TYPE_CHECKING:
    from drivers.transport.arch import Arch
    from drivers.transport.setup import Credentials, VenueSetup, VenueStore
    from drivers.transport.venue_driver import VenueDriver

PACKAGES = {"okx": "drivers.okx", "binance": "drivers.binance", "backpack": "drivers.backpack"}
"""Packages of the venues' drivers by name; each offers `make_driver`, `make_decoder`, `default_instruments`, `arch`."""

PAPER = "paper"
STATE_TABLE = "venue_state"
_SECURE = ("https", "wss")


class JournalVenueStore:
    """Keeps what a driver must not forget in the state database.

    Args:
        journal: The state database.
        owner: Venue and account that the values belong to, paper or live alike.
    """

    def __init__(self, journal: Journal, owner: str) -> None:
        self._journal = journal
        self._owner = owner

    def load(self, key: str) -> bytes | None:
        """Return what was saved last under a name, None when nothing was."""
        return self._journal.get(STATE_TABLE, f"{self._owner}/{key}")

    def save(self, key: str, value: bytes, on_durable: Callable[[], object] | None = None) -> None:
        """Keep a value; `on_durable` is called once it is on the disk."""
        self._journal.put(STATE_TABLE, f"{self._owner}/{key}", value, on_durable)


class KeyRing:
    """The secrets of this process's accounts, each resolved once."""

    def __init__(self) -> None:
        self._opened: dict[tuple[str, ...], dict[str, Secret]] = {}

    def secrets(self, entry: AccountEntry) -> dict[str, Secret]:
        """Return an account's secrets by name; they are masked in every log from now on.

        Raises:
            ConfigError: A variable or key ring entry is missing, or an encrypted value cannot be opened.
        """
        written = (entry.where, *(value.reveal() for value in entry.written.values()))
        found = self._opened.get(written)
        if found is None:
            found = entry.secrets(process_environment, take_password())
            for secret in found.values():
                process_redactor.add(secret)
            self._opened[written] = found
        return found


_keys = KeyRing()


def venue_names() -> list[str]:
    """Return the venues that have a driver."""
    return list(PACKAGES)


def venue_package(venue: str) -> Any:
    """Return the package of a venue's driver.

    Raises:
        UnknownVenue: There is no driver of that name; the message lists what there is.
    """
    if venue not in PACKAGES:
        raise unknown_venue(venue, PACKAGES)
    return importlib.import_module(PACKAGES[venue])


def unknown_venue(venue: str, known: Collection[str]) -> UnknownVenue:
    """Return the error that a venue has no driver; it lists those that have."""
    return UnknownVenue(f"no driver for venue {venue!r}{nearest(venue, known)}; there are: {', '.join(known)}")


def venue_arch(venue: str) -> Arch:
    """Return a venue's `arch.yaml`; raises `UnknownVenue`."""
    arch: Arch = venue_package(venue).arch()
    return arch


def venue_config(config: Config, venue: str) -> VenueConfig:
    """Return what `ctos.yaml` says about a venue.

    Raises:
        ConfigError: It speaks of a venue that has no driver: a mistyped name must not send keys to the live hosts.
    """
    for name in config.venues:
        if name not in PACKAGES:
            raise ConfigError(f"ctos.yaml: venues.{name}: {unknown_venue(name, PACKAGES)}")
    return config.venues.get(venue) or VenueConfig()


def venue_hosts(venue: str, config: VenueConfig, where: str) -> dict[str, str]:
    """Return a venue's hosts in the configured environment, with the overrides put in.

    Args:
        venue: The venue.
        config: Its block of `ctos.yaml`.
        where: File of the block, for messages.

    Raises:
        UnknownVenue: There is no such driver.
        ConfigError: The venue has no such environment.
    """
    from drivers.transport.setup import choose_hosts

    try:
        return choose_hosts(venue_arch(venue), config.environment, config.overrides())
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def check_hosts(venue: str, config: VenueConfig, hosts: Mapping[str, str], where: str) -> None:
    """Refuse to send keys where they may be read or misused: unencrypted, or to a host that nobody vouched for.

    Raises:
        ConfigError: The field, its value and the remedy.
    """
    own = {urlsplit(url).hostname for hosts_of in venue_arch(venue).hosts.values() for url in hosts_of.values()}
    trusted = own | {name.lower() for name in config.trusted_hosts}
    for name, url in hosts.items():
        parts, shown = urlsplit(url), f"{where}: venues.{venue}.{name}: {clean_addresses(url)}"
        if _is_loopback(parts.hostname or ""):
            continue
        if parts.scheme not in _SECURE:
            secure = "https" if parts.scheme == "http" else "wss"
            raise ConfigError(f"{shown}: keys must not travel in the clear; write {secure}://")
        if parts.hostname not in trusted:
            raise ConfigError(
                f"{shown}: {parts.hostname} is not a host of {venue}; if it may have your keys, add it to "
                f"venues.{venue}.trusted_hosts"
            )


def credentials_of(entry: AccountEntry) -> Credentials | None:
    """Return an account's keys, None when it has none configured.

    Raises:
        ConfigError: They are incomplete, or cannot be resolved.
    """
    from drivers.transport.setup import Credentials

    if not entry.written:
        return None
    needed = dict.fromkeys(("key", "secret", *venue_arch(entry.venue).credentials))
    missing = [name for name in needed if name not in entry.written]
    if missing:
        lines = " and ".join(f"{name}:" for name in needed)
        raise ConfigError(f"{entry.where}: {' and '.join(missing)} missing; {entry.venue} needs {lines}")
    secrets = _keys.secrets(entry)
    return Credentials(secrets["key"], secrets["secret"], secrets.get("passphrase"))


def venue_setup(
    venue: str,
    config: Config,
    paths: Paths,
    clock: Clock,
    rng: Rng,
    store: VenueStore | None = None,
    credentials: Credentials | None = None,
    log: Callable[[str, str], None] | None = None,
) -> VenueSetup:
    """Return what a driver needs; with keys, its hosts must be fit for them.

    Args:
        venue: The venue.
        config: Settings of `ctos.yaml`.
        paths: Where files are.
        clock: The engine's time.
        rng: Randomness of this driver.
        store: Keeps what the driver must not forget; without one it forgets.
        credentials: The account's keys; None for public data.
        log: Takes lines for the operator, as (level, text).

    Raises:
        UnknownVenue: There is no such driver.
        ConfigError: Environment, hosts or the file of a certificate authority are wrong.
    """
    from drivers.transport.setup import MemoryStore, VenueSetup

    block, where = venue_config(config, venue), str(paths.config_file)
    hosts = venue_hosts(venue, block, where)
    if credentials is not None:
        check_hosts(venue, block, hosts, where)
    return VenueSetup(
        clock=clock,
        rng=rng,
        store=store if store is not None else MemoryStore(),
        hosts=hosts,
        environment=block.environment,
        credentials=credentials,
        log=log if log is not None else _no_log,
        trade_over_ws=block.trade_over_ws,
        ssl=_trust(block, paths, venue),
    )


def make_driver(venue: str, setup: VenueSetup) -> VenueDriver:
    """Return a venue's driver, not yet started; raises `UnknownVenue`."""
    driver: VenueDriver = venue_package(venue).make_driver(setup)
    return driver


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _trust(config: VenueConfig, paths: Paths, venue: str) -> ssl.SSLContext | None:
    """Return the context that trusts the configured authority only; None trusts the system's."""
    if config.ca_file is None:
        return None
    path = paths.config / Path(config.ca_file).expanduser()
    try:
        return ssl.create_default_context(cafile=str(path))
    except OSError as error:
        raise ConfigError(
            f"{paths.config_file}: venues.{venue}.ca_file: cannot read {path}: {error.strerror or error}; "
            "name a PEM file"
        ) from error


def _no_log(level: str, text: str) -> None:
    """Drop what the driver says: nobody asked for it."""
