"""Looks at the way to one address step by step: name, connection, certificate, request, socket.

Each look says in plain words what failed and what to do about it; nothing here raises for a network that does not work.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl as tls
from urllib.parse import urlsplit

import aiohttp
import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException

from engine.kernel.clock import NS_PER_MS, Clock

STEP_TIMEOUT_S = 8.0
_REFUSED_REGION = frozenset({403, 451})
_BLOCK_WORDS = ("restricted location", "region", "cloudfront", "not available in your", "eligibility")
_SHOWN_BODY = 120


class Step(msgspec.Struct, frozen=True):
    """One look.

    Attributes:
        name: `dns`, `tcp`, `tls`, `http`, `ws` or `clock`.
        ok: Whether it went well.
        ms: How long it took: for `http` and `ws` one round trip, for `clock` the offset (ours ahead is positive).
        detail: What was seen.
        advice: What to do when it went wrong.
    """

    name: str
    ok: bool
    ms: float | None
    detail: str
    advice: str = ""


class Address(msgspec.Struct, frozen=True):
    """A URL taken apart."""

    url: str
    host: str
    port: int
    is_encrypted: bool


def parse_address(url: str) -> Address:
    """Return host, port and encryption of an http(s) or ws(s) URL."""
    parts = urlsplit(url)
    is_encrypted = parts.scheme in ("https", "wss")
    return Address(url, parts.hostname or "", parts.port or (443 if is_encrypted else 80), is_encrypted)


async def look_up(address: Address, clock: Clock) -> Step:
    """Resolve the host's name."""
    began = clock.stopwatch_ns()
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(STEP_TIMEOUT_S):
            found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError) as error:
        advice = "check the network and the name server (/etc/resolv.conf), or the host in ctos.yaml under venues"
        return Step("dns", False, None, f"{address.host} has no address: {_reason(error)}", advice)
    addresses = sorted({str(entry[4][0]) for entry in found})
    return Step("dns", True, _since(began, clock), ", ".join(addresses[:3]))


async def reach(address: Address, clock: Clock) -> Step:
    """Open a TCP connection."""
    began = clock.stopwatch_ns()
    try:
        async with asyncio.timeout(STEP_TIMEOUT_S):
            _, writer = await asyncio.open_connection(address.host, address.port)
    except (OSError, TimeoutError) as error:
        return Step("tcp", False, None, f"{address.host}:{address.port} {_reason(error)}", _tcp_advice(error))
    took = _since(began, clock)
    writer.close()
    return Step("tcp", True, took, f"port {address.port} open")


async def shake_hands(address: Address, context: tls.SSLContext, clock: Clock) -> Step:
    """Agree on encryption and check the certificate."""
    began = clock.stopwatch_ns()
    try:
        async with asyncio.timeout(STEP_TIMEOUT_S):
            _, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    except tls.SSLCertVerificationError as error:
        advice = (
            "somebody stands between this machine and the venue, the clock is wrong, or its certificates are old; "
            "do not trade over this network before it is clear which"
        )
        return Step("tls", False, None, f"the certificate is not trusted: {error.verify_message}", advice)
    except (OSError, TimeoutError) as error:
        advice = "a firewall or proxy may cut encrypted connections"
        return Step("tls", False, None, f"no encryption: {_reason(error)}", advice)
    took = _since(began, clock)
    session = writer.get_extra_info("ssl_object")
    version = session.version() if session is not None else ""
    writer.close()
    return Step("tls", True, took, f"{version}, certificate trusted")


class HttpLook(msgspec.Struct, frozen=True):
    """A request's step, and the answer of the fastest of its tries with the time around it."""

    step: Step
    body: bytes = b""
    wall_ms: float = 0.0
    rtt_ms: float = 0.0


async def ask(url: str, context: tls.SSLContext | None, clock: Clock, tries: int = 4) -> HttpLook:
    """Ask for a page that needs no key several times on one connection; the fastest round trip counts.

    `wall_ms` is our time in the middle of that round trip.
    """
    best: HttpLook | None = None
    connector = aiohttp.TCPConnector(ssl=context) if context is not None else aiohttp.TCPConnector()
    timeout = aiohttp.ClientTimeout(total=STEP_TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
            for _ in range(tries):
                began, wall = clock.stopwatch_ns(), clock.now_ns()
                async with session.get(url, allow_redirects=False) as reply:
                    body = await reply.content.read(1 << 20)
                rtt_ms = _since(began, clock)
                if reply.status != 200:
                    return HttpLook(_refused("http", reply.status, body))
                if best is None or rtt_ms < best.rtt_ms:
                    step = Step("http", True, rtt_ms, "answers")
                    best = HttpLook(step, body, wall / NS_PER_MS + rtt_ms / 2, rtt_ms)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        advice = "the connection opens but requests get no answer: look for a proxy or firewall, or try again"
        return HttpLook(Step("http", False, None, f"no answer: {_reason(error)}", advice))
    assert best is not None
    return best


async def open_socket(url: str, context: tls.SSLContext | None, clock: Clock) -> Step:
    """Open a WebSocket and measure one ping."""
    try:
        async with (
            asyncio.timeout(STEP_TIMEOUT_S),
            connect(url, ssl=context, open_timeout=STEP_TIMEOUT_S, proxy=None, ping_interval=None) as socket_,
        ):
            began = clock.stopwatch_ns()
            await (await socket_.ping())
            return Step("ws", True, _since(began, clock), "answers pings")
    except InvalidStatus as error:
        return _refused("ws", error.response.status_code, bytes(error.response.body or b""))
    except (InvalidHandshake, WebSocketException, OSError, TimeoutError) as error:
        advice = "a proxy or firewall may not let WebSockets through: market data and order news need them"
        return Step("ws", False, None, f"no WebSocket: {_reason(error)}", advice)


def judge_clock(offset_ms: float, uncertainty_ms: float, limit_ms: float) -> Step:
    """Compare our clock with the venue's; `offset_ms` is positive when ours is ahead."""
    side = "ahead of" if offset_ms > 0 else "behind"
    detail = f"{abs(offset_ms):,.0f} ms {side} the venue's clock, give or take {uncertainty_ms:,.0f} ms"
    if abs(offset_ms) - uncertainty_ms <= limit_ms:
        return Step("clock", True, offset_ms, detail)
    advice = "requests are signed with corrected time, but set the clock: sudo timedatectl set-ntp true"
    return Step("clock", False, offset_ms, detail, advice)


def _refused(name: str, status: int, body: bytes) -> Step:
    text = " ".join(body[: 8 * _SHOWN_BODY].decode("utf-8", "replace").split())
    detail = f"HTTP {status}: {text[:_SHOWN_BODY]}" if text else f"HTTP {status}"
    lowered = text.lower()
    if status == 451 or (status in _REFUSED_REGION and any(word in lowered for word in _BLOCK_WORDS)):
        advice = "the venue does not serve this region or address; use a host of your own region or another server"
    elif status == 403:
        advice = "the venue's firewall refuses this address; slow down, wait some minutes, or use another server"
    elif status in (418, 429):
        advice = "this address sent too many requests and is banned for a while; stop every client on it and wait"
    elif status == 404:
        advice = "the address is reachable but is not this venue's interface; check the host in ctos.yaml under venues"
    elif status >= 500:
        advice = "the venue has trouble or maintenance; look at its status page and try again later"
    else:
        advice = "check the host in ctos.yaml under venues"
    return Step(name, False, None, detail, advice)


def _tcp_advice(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there: check host and port in ctos.yaml under venues, or start the proxy or emulator"
    if isinstance(error, TimeoutError):
        return "no answer at all: a firewall drops the connection, or the venue blocks this address"
    if isinstance(error, OSError) and error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return "this machine has no route to the network: check cable, Wi-Fi or VPN"
    return "check the network, firewall and VPN"


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {STEP_TIMEOUT_S:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "refused the connection"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def _since(began_ns: int, clock: Clock) -> float:
    return (clock.stopwatch_ns() - began_ns) / NS_PER_MS
