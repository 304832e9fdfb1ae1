"""The way to each venue, looked at from here: which step fails, and what to do about it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence

import msgspec

from drivers.transport.arch import ProbePoint
from drivers.transport.diagnosis import (
    Address,
    HttpLook,
    Step,
    ask,
    judge_clock,
    look_up,
    open_socket,
    parse_address,
    reach,
    shake_hands,
)
from drivers.transport.setup import join_ws
from engine.boot.venues import venue_arch, venue_config, venue_names, venue_package, venue_setup
from engine.io.config import Config, Paths
from engine.kernel.clock import Clock, Rng

CLOCK_LIMIT_MS = 1000.0
"""Binance refuses a request that is a second ahead of its clock; the other venues allow more."""
_PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


class EndpointReport(msgspec.Struct, frozen=True):
    """All steps on the way to one address, up to the first that failed."""

    name: str
    url: str
    steps: list[Step]

    @property
    def ok(self) -> bool:
        """Return whether every step went well."""
        return all(step.ok for step in self.steps)


class VenueReport(msgspec.Struct, frozen=True):
    """What was found out about one venue."""

    venue: str
    environment: str
    endpoints: list[EndpointReport]

    @property
    def ok(self) -> bool:
        """Return whether every address can be used."""
        return all(endpoint.ok for endpoint in self.endpoints)


def chosen_venues(names: Sequence[str]) -> list[str]:
    """Return the venues that are meant: all when none is named.

    Raises:
        UnknownVenue: A name is no venue's.
    """
    for name in names:
        venue_package(name)
    return list(dict.fromkeys(names)) or venue_names()


def proxy_note(environment: Mapping[str, str]) -> str | None:
    """Return a word about proxy variables, which are not followed; None when there are none."""
    found = [name for name in _PROXY_VARIABLES if environment.get(name)]
    if not found:
        return None
    return (
        f"{found[0]} is set but not used: orders go to the venue directly. To go through a proxy, name it in ctos.yaml "
        "(venues.<venue>.rest_url and ws_*_url, with trusted_hosts)"
    )


async def probe(venue: str, config: Config, paths: Paths, clock: Clock) -> VenueReport:
    """Look at every address of a venue, all at the same time.

    Raises:
        ConfigError: An address in `ctos.yaml` is not allowed.
    """
    setup = venue_setup(venue, config, paths, clock, Rng.from_system())
    points = [point for point in venue_arch(venue).probe if point.host in setup.hosts]
    looks = [_look(point, _url(setup.hosts[point.host], point.path), setup.ssl, clock) for point in points]
    return VenueReport(venue, venue_config(config, venue).environment, list(await asyncio.gather(*looks)))


async def _look(point: ProbePoint, url: str, context: ssl.SSLContext | None, clock: Clock) -> EndpointReport:
    address = parse_address(url)
    encryption = (context or ssl.create_default_context()) if address.is_encrypted else None
    steps: list[Step] = []
    for step in (look_up, reach):
        steps.append(await step(address, clock))
        if not steps[-1].ok:
            return EndpointReport(point.name, url, steps)
    if encryption is not None:
        steps.append(await shake_hands(address, encryption, clock))
        if not steps[-1].ok:
            return EndpointReport(point.name, url, steps)
    if _is_socket(address):
        steps.append(await open_socket(url, encryption, clock))
        return EndpointReport(point.name, url, steps)
    look = await ask(url, encryption, clock)
    steps.append(look.step)
    if look.step.ok and point.time is not None:
        steps.append(_clock_step(point.time, look))
    return EndpointReport(point.name, url, steps)


def _url(base: str, path: str) -> str:
    """Return the full address: requests go below the base, a socket's own path stands for itself."""
    return join_ws(base, path) if base.startswith("ws") else base.rstrip("/") + path


def _is_socket(address: Address) -> bool:
    return address.url.startswith("ws")


def _clock_step(path: str, look: HttpLook) -> Step:
    venue_ms = _time_in(look.body, path)
    if venue_ms is None:
        advice = "the address answers but is not this venue's interface; check the host in ctos.yaml under venues"
        return Step("clock", False, None, "the answer holds no time", advice)
    return judge_clock(look.wall_ms - venue_ms, look.rtt_ms / 2, CLOCK_LIMIT_MS)


def _time_in(body: bytes, path: str) -> int | None:
    """Return the time in ms that stands at a dotted path of a JSON answer; an empty path means the whole body."""
    try:
        found = msgspec.json.decode(body)
        for part in path.split(".") if path else ():
            found = found[int(part)] if isinstance(found, list) else found[part]
        return int(found)
    except (msgspec.DecodeError, KeyError, IndexError, TypeError, ValueError):
        return None
