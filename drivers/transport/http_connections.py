"""Kept-alive connections to one address; each carries one request at a time."""

from __future__ import annotations

import asyncio
import ssl as tls
from collections import deque
from functools import cache

from yarl import URL

from drivers.transport.http_answer import AnswerReader, BadAnswer
from engine.kernel.clock import NS_PER_S, Clock

_NEXT_ADDRESS_S = 0.25
"""How long the first of a name's addresses has before the next one is tried beside it."""


@cache
def _system_trust() -> tls.SSLContext:
    """Return the system's trust for HTTP/1.1; reading it takes 10 ms, so it is done once."""
    context = tls.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class BrokenConnection(Exception):
    """The connection ended, or carried no HTTP, before the answer was complete."""


class HttpConnection(asyncio.Protocol):
    """One connection.

    Args:
        largest: Bytes that the body of an answer may have.
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._transport: asyncio.Transport | None = None
        self._reader: AnswerReader | None = None
        self._answer: asyncio.Future[AnswerReader] | None = None
        self.idle_since_ns = 0
        self.usable = False

    async def ask(self, wire: bytes) -> AnswerReader:
        """Send a request and return its complete answer; the connection is closed when that does not come.

        Raises:
            BrokenConnection: Whether the venue took the request is not known.
        """
        transport = self._transport
        if transport is None or not self.usable:
            raise BrokenConnection("it was closed before anything was sent")
        self._reader = AnswerReader(self._largest)
        self._answer = answer = asyncio.get_running_loop().create_future()
        self.usable = False
        transport.write(wire)
        try:
            return await answer
        finally:
            self._answer = None
            if not self.usable:
                self.close()

    def give_up(self) -> None:
        """Wait no longer for the answer: `ask` raises `TimeoutError`."""
        self._fail(TimeoutError())

    def close(self) -> None:
        """Close it; harmless when it is closed."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.usable = True

    def data_received(self, data: bytes) -> None:
        """Take bytes of the answer; bytes that nobody asked for end the connection."""
        reader, answer = self._reader, self._answer
        if reader is None or answer is None or answer.done():
            self.close()
            return
        try:
            reader.feed(data)
        except BadAnswer as error:
            self._fail(BrokenConnection(str(error)))
            return
        if reader.done:
            self.usable = reader.reusable
            answer.set_result(reader)

    def eof_received(self) -> None:
        """Hear that the venue sends no more."""
        self._ended("the venue closed it before the answer was complete")

    def connection_lost(self, error: Exception | None) -> None:
        """Hear that the connection is gone."""
        self._ended(str(error) if error else "the venue closed it before the answer was complete")
        self._transport = None

    def _ended(self, words: str) -> None:
        self.usable = False
        reader, answer = self._reader, self._answer
        if reader is None or answer is None or answer.done():
            return
        try:
            reader.end()
        except BadAnswer:
            self._fail(BrokenConnection(words))
        else:
            answer.set_result(reader)

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self.close()


class HttpConnections:
    """Keeps connections that proved good, and opens others.

    Args:
        url: Scheme, host and port.
        clock: Tells how long one was idle.
        trust: TLS settings; None for the system's trust.
        kept_s: One that was idle for longer is not used again.
        most: How many there may be; further requests wait for one of them.
        largest: Bytes that the body of an answer may have.
    """

    def __init__(
        self, url: URL, clock: Clock, trust: tls.SSLContext | None, kept_s: float, most: int, largest: int
    ) -> None:
        assert url.raw_host is not None and url.port is not None
        self._host, self._port = url.raw_host, url.port
        self._clock = clock
        self._tls = (trust or _system_trust()) if url.scheme == "https" else None
        self._kept_ns = int(kept_s * NS_PER_S)
        self._largest = largest
        self._most = most
        self._opening = 0
        self._waiting: deque[asyncio.Future[HttpConnection | None]] = deque()
        self._idle: deque[HttpConnection] = deque()
        self._all: set[HttpConnection] = set()
        self._closed = False

    def take_kept(self) -> HttpConnection | None:
        """Return the connection that was used last, if one is free and still proven good."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            if connection.usable and self._clock.now_ns() - connection.idle_since_ns <= self._kept_ns:
                return connection
            self._drop(connection)
        return None

    async def open(self) -> HttpConnection:
        """Return a new connection, or one that became free when there are too many.

        Raises:
            OSError: It cannot be opened; a wrong certificate is `ssl.SSLCertVerificationError`, an unknown name
                `socket.gaierror`.
        """
        if len(self._all) + self._opening >= self._most:
            freed = await self._next_free()
            if freed is not None:
                return freed
        loop = asyncio.get_running_loop()
        self._opening += 1
        try:
            _, connection = await loop.create_connection(
                lambda: HttpConnection(self._largest),
                self._host,
                self._port,
                ssl=self._tls,
                server_hostname=self._host if self._tls is not None else None,
                happy_eyeballs_delay=_NEXT_ADDRESS_S,
            )
        except BaseException:
            self._make_room()
            raise
        finally:
            self._opening -= 1
        self._all.add(connection)
        if self._closed:
            self._drop(connection)
        return connection

    def give_back(self, connection: HttpConnection) -> None:
        """Keep a connection after its request when it may carry another one."""
        if not connection.usable or self._closed:
            self._drop(connection)
            return
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        now_ns = connection.idle_since_ns = self._clock.now_ns()
        self._idle.append(connection)
        while now_ns - self._idle[0].idle_since_ns > self._kept_ns:
            self._drop(self._idle.popleft())

    def close(self) -> None:
        """Close all; what is in flight ends as it does when a connection breaks."""
        self._closed = True
        self._idle.clear()
        for connection in list(self._all):
            self._drop(connection)

    async def _next_free(self) -> HttpConnection | None:
        """Wait for a connection that is given back; None when there is room for a new one."""
        waiter: asyncio.Future[HttpConnection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            given = waiter.result() if waiter.done() and not waiter.cancelled() else None
            if given is not None:
                self.give_back(given)
            elif not waiter.cancelled():
                self._make_room()
            raise

    def _make_room(self) -> None:
        """Let the next one who waits open a connection."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _drop(self, connection: HttpConnection) -> None:
        connection.close()
        self._all.discard(connection)
        self._make_room()
