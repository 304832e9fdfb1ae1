"""Signed requests over kept-alive HTTP connections, one pool a venue.

Nothing is ever sent twice by itself. What was certainly not sent and what may have been carried out are told apart by
the type of the error. Connections are aiohttp's, requests are written to them as bytes: its session would send a PUT or
DELETE again when a kept connection turns out to be dead, follow redirects, hide whether a request left, and cost more
than twice as much.
"""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import aiohttp
import msgspec
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from drivers.transport.line_decoder import Undecodable
from drivers.transport.rate_limits import Cost, RateLimiter, Urgency
from drivers.transport.spare_files import SpareFiles
from engine.kernel.clock import NS_PER_MS, NS_PER_S, Clock, TimerHandle
from engine.kernel.errors import ConfigError, CtosError, UnknownOutcome, VenueUnavailable
from engine.kernel.links import LinkState, LinkStatus
from engine.kernel.permit import ask_permit

MAX_ANSWER_BYTES = 32 << 20
PROVEN_S = 8.0
"""A connection that was idle for longer is not used again: it may be dead without our knowing."""
WARM_EVERY_S = 5.0
_LONGEST_WARM_S = 60.0
ORDER_START_S = 2.0
"""An order that could not leave within this time is not sent any more: the market it was meant for is gone."""
MAX_CONNECTIONS = 64
_WITHOUT_BODY = ("GET", "HEAD")

_NO_LIMIT = aiohttp.ClientTimeout()
_MAY_BE_LARGE = (Urgency.QUERY, Urgency.RECONCILE)

T = TypeVar("T")


class WireRequest(msgspec.Struct):
    """A request exactly as it is sent.

    Attributes:
        method: GET, POST ...
        path: Path and query, byte for byte as they were signed.
        headers: All headers but Host, Connection and Content-Length.
        body: Bytes of the body.
    """

    method: str
    path: str
    headers: dict[str, str] = {}
    body: bytes = b""


class HttpReply(msgspec.Struct):
    """A complete answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    rtt_ms: float


def reply_json(reply: HttpReply, type: type[T]) -> T:
    """Decode the body of an answer.

    Raises:
        Undecodable: It is no JSON, or not of this shape. After an order was sent, that is an unknown outcome.
    """
    try:
        return msgspec.json.decode(reply.body, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        shown = reply.body[:200].decode("utf-8", "replace")
        raise Undecodable(f"HTTP {reply.status}: {error}; the answer begins {shown!r}") from error


def retry_after_s(reply: HttpReply) -> float | None:
    """Return the seconds of the header Retry-After, None when there is none that could be read."""
    text = reply.headers.get("Retry-After", "").strip()
    return float(text) if text.replace(".", "", 1).isdigit() else None


class HttpClient:
    """Sends requests to one address.

    Args:
        venue: Name for messages.
        base_url: Scheme, host, port, and the path before every request's path, if any.
        clock: Time and timers.
        limiter: Lets requests pass; an answer 429 slows it down.
        ssl: TLS settings; None for the system's trust.
        timeout_s: How long a request may take in all.
        name: What `status` calls it.
    """

    def __init__(
        self,
        venue: str,
        base_url: str,
        clock: Clock,
        limiter: RateLimiter,
        *,
        ssl: tls.SSLContext | None = None,
        timeout_s: float = 10.0,
        name: str = "rest",
    ) -> None:
        self._venue = venue
        self._url = URL(base_url.rstrip("/"))
        self._host = self._url.authority
        self._path = self._url.raw_path.rstrip("/")
        self._fixed = f"Host: {self._url.host_port_subcomponent}\r\nUser-Agent: ctos\r\nAccept: */*\r\n"
        self._clock = clock
        self._limiter = limiter
        self._ssl = ssl
        self._timeout_s = timeout_s
        self._name = name
        self._spare = SpareFiles()
        self._connector: aiohttp.TCPConnector | None = None
        self._address: aiohttp.ClientRequest | None = None
        self._warmer: TimerHandle | None = None
        self._warming: asyncio.Task[None] | None = None
        self._cold_tries = 0
        self._answered_ns = 0
        self._status = LinkStatus(name, LinkState.CONNECTING, clock.now_ns())

    @property
    def status(self) -> LinkStatus:
        """Return whether the last request got an answer."""
        return self._status

    async def start(self) -> None:
        """Make ready to send; connections are opened when they are needed."""
        if self._connector is None:
            trust = self._ssl if self._ssl is not None else True
            self._connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=PROVEN_S, ssl=trust)
            self._address = aiohttp.ClientRequest("GET", self._url, loop=asyncio.get_running_loop())
            self._spare.hold()

    async def stop(self) -> None:
        """Close all connections; what is in flight ends as it does when a connection breaks."""
        if self._warmer is not None:
            self._warmer.cancel()
            self._warmer = None
        if self._warming is not None:
            self._warming.cancel()
        connector, self._connector = self._connector, None
        self._spare.give_up()
        if connector is not None:
            await connector.close()

    async def send(
        self, build: Callable[[], WireRequest], urgency: Urgency, cost: Cost, timeout_s: float | None = None
    ) -> HttpReply:
        """Send a request once and return its complete answer, whatever its status.

        Args:
            build: Makes and signs the request; called once the limiter let it pass and a connection is open, so that
                its time stamp is fresh.
            urgency: What it is for.
            cost: What it takes of the venue's budgets.
            timeout_s: How long it may take, waiting for the budget included; an order must have left within
                `ORDER_START_S` of it.

        Raises:
            RateLimited: Certainly not sent: no budget in time, or a ban.
            VenueUnavailable: Certainly not sent; for anything but an order also: no complete answer came.
            UnknownOutcome: An order may have been sent, and no complete answer came.
            TradingHalted: An order that may not leave any more was not sent; likewise `NotSent`.
        """
        connector, address = self._connector, self._address
        if connector is None or address is None:
            raise VenueUnavailable(
                f"{self._venue}: the connection is not started, or closed; nothing was sent", unsent=True
            )
        seconds = self._timeout_s if timeout_s is None else timeout_s
        start_s = min(seconds, ORDER_START_S) if urgency is Urgency.ORDER else seconds
        after_s = seconds - start_s
        if not self._limiter.try_acquire(cost, urgency):
            deadline_ns = self._clock.now_ns() + int(start_s * NS_PER_S)
            await self._limiter.acquire(cost, urgency, deadline_ns)
            start_s = max(0.1, (deadline_ns - self._clock.now_ns()) / NS_PER_S)
        connection: Connection | None = None
        try:
            async with asyncio.timeout(start_s) as limit:
                connection = await self._connect(connector, address, urgency)
                if after_s:
                    limit.reschedule((limit.when() or 0.0) + after_s)
                began_ns = self._clock.stopwatch_ns()
                status, headers, body = await _exchange(connection, lambda: self._wire(build(), urgency))
        except aiohttp.ClientConnectorCertificateError as error:
            raise self._unsent(f"the certificate of {self._host} is not trusted: {error.certificate_error}") from error
        except aiohttp.ClientConnectorDNSError as error:
            raise self._unsent(f"the name of {self._host} is not found: {error.os_error}") from error
        except aiohttp.ClientConnectorError as error:
            raise self._unsent(f"no connection to {self._host}: {error.os_error}") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if connection is None:
                raise self._unsent(f"no connection to {self._host}: {_words(error, start_s)}") from error
            raise self._unanswered(urgency, _words(error, seconds)) from error
        rtt_ms = (self._clock.stopwatch_ns() - began_ns) / NS_PER_MS
        reply = HttpReply(status, headers, body, rtt_ms)
        self._answered_ns = self._clock.now_ns()
        served = status < 500
        self._set_status(LinkState.LIVE if served else LinkState.STALE, "" if served else f"HTTP {status}", rtt_ms)
        if status == 429:
            self._limiter.slow_down(retry_after_s(reply))
        return reply

    async def _connect(
        self, connector: aiohttp.TCPConnector, address: aiohttp.ClientRequest, urgency: Urgency
    ) -> Connection:
        """Open a connection or take a kept one; a cancel gets one though the process has no file descriptor left."""
        try:
            return await connector.connect(address, [], _NO_LIMIT)
        except aiohttp.ClientConnectorError:
            if urgency is not Urgency.CANCEL or not self._spare.is_none_left():
                raise
        self._spare.give_up()
        try:
            return await connector.connect(address, [], _NO_LIMIT)
        finally:
            self._spare.hold()

    def _wire(self, request: WireRequest, urgency: Urgency) -> bytes:
        """Return a request as the bytes that are sent.

        Raises:
            ConfigError: A line break in it would make two headers, or two requests, of one.
            TradingHalted: An order that must not leave any more; likewise `NotSent`.
        """
        if urgency is Urgency.ORDER:
            ask_permit()
        method, body = request.method, request.body
        lines = [f"{method} {self._path}{request.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        told = "\r\n".join(lines)
        if told.count("\n") >= len(lines) or told.count("\r") >= len(lines):
            raise ConfigError(f"{self._venue}: a line break in a request: look for one in the keys of this account")
        length = f"Content-Length: {len(body)}\r\n" if body or method not in _WITHOUT_BODY else ""
        coding = "gzip" if urgency in _MAY_BE_LARGE else "identity"
        return f"{told}\r\n{self._fixed}Accept-Encoding: {coding}\r\n{length}\r\n".encode() + body

    def keep_warm(self, ask: Callable[[], Awaitable[object]], every_s: float = WARM_EVERY_S) -> None:
        """Make a cheap request whenever none was answered for `every_s`, so that an order finds an open connection.

        While such requests fail they become seldom: down to one a minute.
        """
        if self._warmer is not None:
            self._warmer.cancel()
        self._warmer = self._clock.call_later(every_s, self._warm, ask, every_s)

    def _warm(self, ask: Callable[[], Awaitable[object]], every_s: float) -> None:
        idle_ns = self._clock.now_ns() - self._answered_ns
        if idle_ns >= every_s * NS_PER_S * 0.9 and self._warming is None:
            self._warming = asyncio.get_running_loop().create_task(self._ask_once(ask), name=f"{self._venue} keep warm")
        wait_s = min(every_s * 2**self._cold_tries, _LONGEST_WARM_S)
        self._warmer = self._clock.call_later(wait_s, self._warm, ask, every_s)

    async def _ask_once(self, ask: Callable[[], Awaitable[object]]) -> None:
        try:
            await ask()
            self._cold_tries = 0
        except CtosError as error:
            self._cold_tries = min(self._cold_tries + 1, 8)
            if self._status.state is not LinkState.LIVE:
                self._set_status(self._status.state, detail=str(error))
        finally:
            self._warming = None

    def _unsent(self, text: str) -> VenueUnavailable:
        self._set_status(LinkState.DOWN, detail=text)
        return VenueUnavailable(f"{self._venue}: {text}; nothing was sent", unsent=True)

    def _unanswered(self, urgency: Urgency, text: str) -> UnknownOutcome | VenueUnavailable:
        self._set_status(LinkState.STALE, detail=text)
        if urgency is Urgency.ORDER:
            return UnknownOutcome(f"{self._venue}: {text}; whether the order was taken is not known")
        return VenueUnavailable(f"{self._venue}: {text}")

    def _set_status(self, state: LinkState, detail: str = "", rtt_ms: float | None = None) -> None:
        before = self._status
        since_ns = before.since_ns if before.state is state else self._clock.now_ns()
        self._status = LinkStatus(self._name, state, since_ns, before.rtt_ms if rtt_ms is None else rtt_ms, detail)


async def _exchange(connection: Connection, prepare: Callable[[], bytes]) -> tuple[int, Mapping[str, str], bytes]:
    """Send over a connection and read the whole answer."""
    try:
        protocol, transport = connection.protocol, connection.transport
        if protocol is None or transport is None or transport.is_closing():
            raise aiohttp.ClientConnectionResetError("it was closed before anything was sent")
        protocol.set_response_params()
        transport.write(prepare())
        message, payload = await protocol.read()
        while message.code < 200 and message.code != 101:
            message, payload = await protocol.read()
        body = await _read(message.headers, payload)
    except HttpProcessingError as error:
        connection.close()
        raise aiohttp.ClientPayloadError(f"the answer is no HTTP: {error.message}") from error
    except BaseException:
        connection.close()
        raise
    connection.release()
    return message.code, message.headers, body


async def _read(headers: Mapping[str, str], payload: aiohttp.StreamReader) -> bytes:
    length = headers.get("Content-Length", "")
    if length.isdecimal() and int(length) <= MAX_ANSWER_BYTES and "Content-Encoding" not in headers:
        return payload.read_nowait() if payload.is_eof() else await payload.read()
    parts, size = [], 0
    async for part in payload.iter_any():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise aiohttp.ClientPayloadError(f"the answer is larger than {MAX_ANSWER_BYTES >> 20} MB")
        parts.append(part)
    return b"".join(parts)


def _words(error: BaseException, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:.1f} s"
    return f"the connection broke: {str(error) or type(error).__name__}"
