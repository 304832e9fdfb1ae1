"""What a driver is given: clock, storage, hosts, keys, and where its lines for the operator go."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from engine.kernel.clock import Clock, Rng
from engine.kernel.errors import ConfigError
from engine.kernel.secret import Secret

if TYPE_CHECKING:
    import ssl

    from drivers.transport.arch import Arch

Log = Callable[[str, str], None]
"""Takes a level (`debug`, `info`, `warning`, `error`) and one line for the operator."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key; its repr shows nothing of it."""

    key: Secret
    secret: Secret
    passphrase: Secret | None = None


class VenueStore(Protocol):
    """Small durable values of one venue and account: bans, client id aliases, traded symbols."""

    def load(self, key: str) -> bytes | None:
        """Return the value last saved under this key, None when there is none."""

    def save(self, key: str, value: bytes, on_durable: Callable[[], object] | None = None) -> None:
        """Keep a value; `on_durable` is called, on the loop's thread, once a crash cannot lose it any more."""


class MemoryStore:
    """A store that forgets when the program ends: for probing a venue, and for public data."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    def load(self, key: str) -> bytes | None:
        """Return the value last saved under this key."""
        return self._values.get(key)

    def save(self, key: str, value: bytes, on_durable: Callable[[], object] | None = None) -> None:
        """Keep a value in memory; it counts as durable at once."""
        self._values[key] = value
        if on_durable is not None:
            on_durable()


def log_to_python(level: str, text: str) -> None:
    """Hand a line to Python's logging, under the name `drivers`."""
    logging.getLogger("drivers").log(logging.getLevelNamesMapping().get(level.upper(), logging.INFO), "%s", text)


@dataclass(frozen=True, slots=True)
class VenueSetup:
    """Everything a driver needs from outside.

    Attributes:
        clock: Time and timers; a venue's requests are signed with it, corrected by the venue's own time.
        rng: Randomness of back-off and of client ids that nobody chose.
        store: Small values that outlive the program.
        hosts: Address by name (`rest_url`, `ws_public_url` ...), complete, overrides put in (see `choose_hosts`).
        environment: Name of the set of hosts: `live`, `demo`, `testnet`.
        credentials: The key; None for public data only: private calls then raise `AuthError`.
        log: Takes (level, line) for the operator.
        trade_over_ws: Whether orders go over the venue's trading socket, with REST as fall-back.
        ssl: TLS settings with a certificate authority of one's own; None for the system's trust.
    """

    clock: Clock
    rng: Rng
    store: VenueStore
    hosts: Mapping[str, str]
    environment: str = "live"
    credentials: Credentials | None = None
    log: Log = log_to_python
    trade_over_ws: bool = False
    ssl: ssl.SSLContext | None = None


def join_ws(base: str, default_path: str) -> str:
    """Return a WebSocket address: one that names a path stays as it is, one without gets `default_path`."""
    return base if urlsplit(base).path.strip("/") else base.rstrip("/") + default_path


def choose_hosts(arch: Arch, environment: str, overrides: Mapping[str, str]) -> dict[str, str]:
    """Return the addresses of an environment with the operator's overrides put in.

    An address that belongs to an overridden one follows it unless it is overridden itself, so that nothing goes to
    the real venue by oversight: `spot_rest_url` follows `rest_url`, `ws_business_url` follows `ws_public_url`.

    Raises:
        ConfigError: The venue has no such environment.
    """
    if environment not in arch.hosts:
        known = ", ".join(sorted(arch.hosts))
        raise ConfigError(f"venues.{arch.venue}.environment: {environment!r} does not exist; {arch.venue} has {known}")
    given = {name: url.rstrip("/") for name, url in overrides.items() if url}
    hosts = {**arch.hosts[environment], **given}
    for name in hosts:
        leader = "ws_public_url" if name == "ws_business_url" else name.partition("_")[2]
        if name in given or leader not in given:
            continue
        url = given[leader]
        if name == "ws_business_url" and url.endswith("/public"):
            url = url.removesuffix("/public") + "/business"
        hosts[name] = url
    return hosts
