"""An emulator's HTTP and WebSocket server that speaks just enough of both, at a small part of aiohttp's cost.

The client's side is the driver's own: aiohttp's connections and websockets. What this server does not know (chunked
bodies, compression, fragments) those clients never send.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from multidict import CIMultiDict
from websockets.utils import apply_mask

from engine.kernel.clock import Clock
from tests.venues.emulators.faults import Answer
from tests.venues.emulators.server import Server
from tests.venues.emulators.wire import Seen, Socket

if TYPE_CHECKING:
    from tests.venues.emulators.core import Emulator

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE_WITHIN_S = 2.0
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_BIT, _SHORT, _LONG = 0x80, 126, 127


class Request:
    """The head of a request."""

    def __init__(self, head: bytes, transport: Any) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.raw_path, _ = first.split(" ", 2)
        self.headers: CIMultiDict[str] = CIMultiDict(line.split(": ", 1) for line in lines)
        self.transport = transport


class LeanSocket(Socket):
    """A socket that writes at once, without a task and a queue of its own."""

    def __init__(self, kind: str, request: Request, server: LeanServer, connection: Connection) -> None:
        super().__init__(kind, request, server.venue.faults)  # type: ignore[arg-type]
        self._connection = connection

    def send(self, text: str) -> None:
        """Send a message that belongs to no channel."""
        self.traffic += 1
        if not self.is_deaf:
            self._connection.frame(_TEXT, text.encode())

    def ping(self, payload: bytes = b"") -> None:
        """Send a ping frame."""
        if not self.is_deaf:
            self._connection.frame(_PING, payload)

    def close(self, code: int = 1000) -> None:
        """Close in order, after what was sent before."""
        if not self.is_deaf:
            self._connection.frame(_CLOSE, code.to_bytes(2, "big"))
            self._connection.close_soon()


class LeanServer(Server):
    """Serves one emulator in memory.

    Args:
        venue: What it serves.
        clock: Time of delays and pings.
    """

    def __init__(self, venue: Emulator, clock: Clock) -> None:
        super().__init__(venue, clock)
        self.venue = venue
        self.clock = clock
        self._listener: Any = None

    async def start(self, port: int) -> None:
        """Serve on a port; 0 takes a free one."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: Connection(self), "127.0.0.1", port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop serving."""
        self._listener.close()


class Connection(asyncio.Protocol):
    """One connection: requests one after the other, or a socket.

    Args:
        server: Whose.
    """

    def __init__(self, server: LeanServer) -> None:
        self._server = server
        self._transport: Any = None
        self._buffer = b""
        self._busy = False
        self._socket: LeanSocket | None = None
        self._messages: asyncio.Queue[str | None] = asyncio.Queue()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        """End a socket; an answer that is being made goes nowhere."""
        if self._socket is not None:
            self._messages.put_nowait(None)

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        self._buffer += data
        if self._socket is not None:
            self._read_frames()
        elif not self._busy:
            self._read_request()

    # Requests.

    def _read_request(self) -> None:
        head, gap, rest = self._buffer.partition(b"\r\n\r\n")
        if not gap:
            return
        request = Request(head, self._transport)
        length = int(request.headers.get("Content-Length", "0"))
        if len(rest) < length:
            return
        body, self._buffer = rest[:length], rest[length:]
        if request.headers.get("Upgrade", "").lower() == "websocket":
            self._open_socket(request)
            return
        self._busy = True
        task = asyncio.get_running_loop().create_task(self._serve(request, body))
        task.add_done_callback(self._served)

    async def _serve(self, request: Request, body: bytes) -> None:
        venue = self._server.venue
        path, _, query = request.raw_path.partition("?")
        seen = Seen(request.method, path, query, body, request.headers, venue.clock.now_ms())
        venue.requests.append(seen)
        answer = await self._server.carry(seen)
        if answer is None:
            self._transport.abort()
        else:
            self._answer(answer)

    def _served(self, task: asyncio.Task[None]) -> None:
        """Go on with the next request; an error of the emulator itself is remembered."""
        self._busy = False
        if not task.cancelled() and (error := task.exception()) is not None:
            self._server.venue.bugs.append(error)
            self._transport.abort()
        elif self._buffer:
            self._read_request()

    def _answer(self, answer: Answer) -> None:
        lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        lines += [f"Content-Length: {len(answer.body)}", "", ""]
        self._transport.write("\r\n".join(lines).encode("latin-1") + answer.body)

    # Sockets.

    def _open_socket(self, request: Request) -> None:
        server = self._server
        path = request.raw_path.partition("?")[0]
        kind = server.venue.socket_kind(path)
        if kind is None:
            self._answer(Answer(404))
            return
        server.venue.requests.append(Seen("OPEN", path, "", b"", request.headers, server.venue.clock.now_ms()))
        opens, refusal = server.admit(kind, path)
        if refusal is not None:
            self._answer(refusal)
        elif not opens:
            self._transport.abort()
        else:
            accepted = base64.b64encode(hashlib.sha1(request.headers["Sec-WebSocket-Key"].encode() + _GUID).digest())
            head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            self._transport.write(f"{head}Sec-WebSocket-Accept: {accepted.decode()}\r\n\r\n".encode())
            self._socket = LeanSocket(kind, request, server, self)
            self._socket.last_pong_ns = server.clock.now_ns()
            server.venue.sockets.append(self._socket)
            task = asyncio.get_running_loop().create_task(self._listen(self._socket))
            task.add_done_callback(self._listened)

    async def _listen(self, socket: LeanSocket) -> None:
        venue = self._server.venue
        try:
            await venue.on_open(socket)
            while (text := await self._messages.get()) is not None:
                if not socket.is_deaf:
                    socket.traffic += 1
                    await venue.on_text(socket, text)
        finally:
            venue.sockets.remove(socket)
            venue.on_close(socket)

    def _listened(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._server.venue.bugs.append(error)
            self._transport.abort()

    def frame(self, kind: int, payload: bytes) -> None:
        """Send a frame."""
        size = len(payload)
        if size < _SHORT:
            head = bytes((_BIT | kind, size))
        elif size < 1 << 16:
            head = bytes((_BIT | kind, _SHORT)) + size.to_bytes(2, "big")
        else:
            head = bytes((_BIT | kind, _LONG)) + size.to_bytes(8, "big")
        self._transport.write(head + payload)

    def close_soon(self) -> None:
        """Cut the connection unless the other side ends it soon."""
        asyncio.get_running_loop().call_later(_CLOSE_WITHIN_S, self._transport.abort)

    def _read_frames(self) -> None:
        while (found := self._next_frame()) is not None:
            self._take(*found)

    def _next_frame(self) -> tuple[int, bytes] | None:
        """Return the next frame of a client: never a fragment, always masked."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1] & ~_BIT, 2
        if size == _SHORT:
            size, start = int.from_bytes(buffer[2:4], "big"), 4
        elif size == _LONG:
            size, start = int.from_bytes(buffer[2:10], "big"), 10
        end = start + 4 + size
        if len(buffer) < max(end, start + 4):
            return None
        self._buffer = buffer[end:]
        return buffer[0] & 0x0F, apply_mask(buffer[start + 4 : end], buffer[start : start + 4])

    def _take(self, kind: int, payload: bytes) -> None:
        socket = self._socket
        assert socket is not None
        if socket.is_deaf:
            return
        if kind == _TEXT:
            self._messages.put_nowait(payload.decode())
        elif kind == _PING:
            self.frame(_PONG, payload)
        elif kind == _PONG:
            socket.last_pong_ns = self._server.clock.now_ns()
        elif kind == _CLOSE:
            self.frame(_CLOSE, payload[:2])
            self._transport.close()
