"""The control socket `<state>/control.sock`: how another shell of the same user reaches the running process.

Server, on the event loop::

    server = ControlServer(folder, Hello(pid=..., account=..., program="console", since=...), on_refused)
    server.handle("status", Status, on_status)   # body type of the request, and who answers it
    server.start(loop)                           # the state lock is held, so nobody else serves this folder
    server.close()

    def on_status(asked: Asked[Status]) -> None:
        asked.push(Part(...))      # any number of parts, msgspec types
        asked.finish(Whole(...))   # the last one; or asked.fail(error), or raise a CtosError at once

A handler runs on the loop and must not block; for long work it starts a task and answers later. `asked.peer` is the
connection: `peer.who` (user and pid), `peer.on_end` (functions called once, when the connection is gone for whatever
reason), `peer.handle(kind, type, handler)` (handlers of later requests of this connection only; they go before the
server's) and `peer.close()`. File descriptors that came with a request are in `asked.fds`; they are closed when the
handler returns, but for those it took with `asked.take_fds()`. Answering a peer that is gone does nothing.

Client, without a loop (`engine.io.control_client`)::

    with ControlClient(folder) as client:        # NotRunning, NoAnswer
        client.hello                             # pid, account, program, since
        for body in client.ask("panic", Panic(...), Progress, timeout_s=75): ...
        number = client.send("attach", Attach(...), fds=[tty])
        reply = client.read(timeout_s)           # None when nothing came; `client.fileno()` is for select

Refused requests (X15: replayed, out of order, of another session, malformed, too large, of another user) end the
connection and are told to `on_refused`. What a client does not read waits in memory up to 8 MB, and no longer than
10 s; then the client is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from engine.io.control_wire import (
    MAX_FDS,
    MAX_REPLY,
    MAX_REQUEST,
    SOCKET_NAME,
    ControlRefused,
    Hello,
    Lines,
    PeerIdentity,
    Reply,
    Request,
    at_socket,
    close_all,
    identify,
    open_private,
    receive,
)
from engine.kernel.clock import system_random_bytes
from engine.kernel.errors import CtosError, StorageError

MAX_PEERS = 16
STALL_S = 10.0
_ACCEPT_AGAIN_S = 1.0

T = TypeVar("T")
Handler = Callable[["Asked[T]"], object]
OnRefused = Callable[[str, str], object]
"""Told who asked, and why it was refused."""

_encode = msgspec.json.Encoder().encode
_request = msgspec.json.Decoder(Request)


class Asked(Generic[T]):
    """One request and the way to answer it.

    Attributes:
        body: What was asked.
        peer: The connection it came on.
        fds: File descriptors that came along.
    """

    def __init__(self, peer: Peer, number: int, body: T, fds: list[int]) -> None:
        self.peer = peer
        self.body = body
        self.fds = fds
        self._number = number
        self._open = True

    def take_fds(self) -> list[int]:
        """Return the descriptors and leave it to the caller to close them."""
        taken, self.fds = self.fds, []
        return taken

    def push(self, body: object) -> None:
        """Send a part of the answer; others follow."""
        self._answer(Reply(self._number, more=True, body=msgspec.Raw(_encode(body))))

    def finish(self, body: object = None) -> None:
        """Send the last part of the answer."""
        self._answer(Reply(self._number, body=msgspec.Raw(b"{}" if body is None else _encode(body))))

    def fail(self, error: CtosError) -> None:
        """Answer that it failed."""
        self._answer(Reply(self._number, error=type(error).__name__, text=str(error)))

    def _answer(self, reply: Reply) -> None:
        if self._open:
            self._open = reply.more
            self.peer._send(reply)


class Peer:
    """One client's connection.

    Attributes:
        identity: The client's process and user.
        on_end: Called once, in order, when the connection is gone.
    """

    def __init__(self, server: ControlServer, connection: socket.socket, identity: PeerIdentity) -> None:
        self.identity = identity
        self.on_end: list[Callable[[], object]] = []
        self._server = server
        self._loop = server.loop
        self._connection = connection
        self._nonce = system_random_bytes(16).hex()
        self._number = 0
        self._handlers: dict[str, tuple[Any, Handler[Any]]] = {}
        self._lines = Lines(MAX_REQUEST)
        self._fds: deque[int] = deque()
        self._out = bytearray()
        self._stall: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def who(self) -> str:
        """Return the client's user and process, for people and for the audit."""
        return self.identity.who

    @property
    def is_served(self) -> bool:
        """Return whether later requests of this connection have handlers of their own."""
        return bool(self._handlers)

    def handle(self, kind: str, body: type[T], handler: Handler[T]) -> None:
        """Let a handler of this connection only answer its later requests of this kind."""
        self._handlers[kind] = (msgspec.json.Decoder(body), handler)

    def close(self) -> None:
        """End the connection; what the client has not read is lost."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._connection)
        self._loop.remove_writer(self._connection)
        if self._stall is not None:
            self._stall.cancel()
        self._connection.close()
        close_all(self._fds)
        self._fds.clear()
        self._server._forget(self)
        for function in self.on_end:
            function()

    def _open(self, hello: Hello) -> None:
        self._loop.add_reader(self._connection, self._on_readable)
        self._write(msgspec.structs.replace(hello, nonce=self._nonce))

    def _send(self, reply: Reply) -> None:
        if not self._closed:
            self._write(reply)

    def _write(self, message: object) -> None:
        line = _encode(message) + b"\n"
        if len(self._out) + len(line) > MAX_REPLY:
            self.close()
            return
        self._out += line
        if self._stall is None:
            self._flush()

    def _flush(self) -> None:
        """Send what the client takes; the rest waits for it, for a limited time."""
        try:
            sent = self._connection.send(self._out)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        del self._out[:sent]
        if sent and self._stall is not None:
            self._stall.cancel()
            self._stall = None
        if not self._out:
            self._loop.remove_writer(self._connection)
        elif self._stall is None:
            self._loop.add_writer(self._connection, self._flush)
            self._stall = self._loop.call_later(STALL_S, self.close)

    def _on_readable(self) -> None:
        try:
            data, fds = receive(self._connection)
            self._fds.extend(fds)
            if not data:
                self.close()
                return
            for line in self._lines.feed(data):
                self._on_line(line)
                if self._closed:
                    return
            if self._fds and (self._lines.is_empty or len(self._fds) > MAX_FDS):
                raise ControlRefused("file descriptors came without a request that names them")
        except (BlockingIOError, InterruptedError):
            return
        except ControlRefused as error:
            self._refuse(str(error))
        except OSError:
            self.close()

    def _on_line(self, line: bytes) -> None:
        try:
            request = _request.decode(line)
        except (ValueError, RecursionError) as error:
            raise ControlRefused(f"a request is malformed: {error}") from error
        if request.nonce != self._nonce:
            raise ControlRefused(f"a request {request.kind!r} of another session")
        if request.number != self._number + 1:
            raise ControlRefused(f"request {request.number} {request.kind!r} after request {self._number}")
        self._number = request.number
        decoder, handler = self._handlers.get(request.kind) or self._server.handlers.get(request.kind) or (None, None)
        if decoder is None or handler is None:
            raise ControlRefused(f"a request {request.kind!r} that nothing here answers")
        if not 0 <= request.fds <= len(self._fds):
            raise ControlRefused(f"a request {request.kind!r} without the file descriptors it names")
        try:
            body = decoder.decode(request.body)
        except (ValueError, RecursionError) as error:
            raise ControlRefused(f"a request {request.kind!r} is malformed: {error}") from error
        asked = Asked(self, request.number, body, [self._fds.popleft() for _ in range(request.fds)])
        try:
            handler(asked)
        except CtosError as error:
            asked.fail(error)
        except BaseException:
            self.close()
            raise
        finally:
            close_all(asked.take_fds())

    def _refuse(self, why: str) -> None:
        self._server.on_refused(self.who, why)
        self._send(Reply(self._number, error=ControlRefused.__name__, text=f"refused: {why}"))
        self.close()


class ControlServer:
    """Serves the control socket of one state folder.

    Args:
        folder: The state folder: ours, mode 0700, its lock held.
        hello: Who runs here.
        on_refused: Told of every request that was not obeyed.

    Attributes:
        handlers: Decoder and handler of each kind of request.
        loop: The loop it runs on, once started.
    """

    loop: asyncio.AbstractEventLoop

    def __init__(self, folder: Path, hello: Hello, on_refused: OnRefused) -> None:
        self.hello = hello
        self.handlers: dict[str, tuple[Any, Handler[Any]]] = {}
        self.on_refused = on_refused
        self._folder = folder
        self._folder_fd = -1
        self._listener: socket.socket | None = None
        self._spare = -1
        self._peers: list[Peer] = []

    def handle(self, kind: str, body: type[T], handler: Handler[T]) -> None:
        """Let a handler answer all requests of a kind, whose body has this type."""
        self.handlers[kind] = (msgspec.json.Decoder(body), handler)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to serve; the socket file that a dead process left is removed.

        Raises:
            StorageError: The folder is not ours alone, or the socket cannot be made.
        """
        self.loop = loop
        self._folder_fd = open_private(self._folder)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._remove_stale()
            mask = os.umask(0o177)
            try:
                at_socket(self._folder, self._folder_fd, listener.bind)
            finally:
                os.umask(mask)
            listener.listen(MAX_PEERS)
        except OSError as error:
            listener.close()
            os.close(self._folder_fd)
            raise StorageError(f"cannot make {self._folder / SOCKET_NAME}: {error.strerror}") from error
        except StorageError:
            listener.close()
            os.close(self._folder_fd)
            raise
        listener.setblocking(False)
        self._listener = listener
        self._keep_spare()
        loop.add_reader(listener, self._on_connection)

    def close(self) -> None:
        """End all connections and remove the socket file; harmless when it was not started."""
        if self._listener is None:
            return
        self.loop.remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        for peer in list(self._peers):
            peer.close()
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
        try:
            os.unlink(SOCKET_NAME, dir_fd=self._folder_fd)
        except FileNotFoundError:
            return  # somebody removed it; nothing is left to remove
        finally:
            os.close(self._folder_fd)

    def _remove_stale(self) -> None:
        try:
            mode = os.stat(SOCKET_NAME, dir_fd=self._folder_fd, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            path = self._folder / SOCKET_NAME
            raise StorageError(f"{path} is in the way of the control socket: look at it, then remove it: rm {path}")
        os.unlink(SOCKET_NAME, dir_fd=self._folder_fd)

    def _on_connection(self) -> None:
        assert self._listener is not None
        try:
            connection = self._accept(self._listener)
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            # Out of descriptors or memory: the listener stays readable, so look again later instead of spinning.
            self.loop.remove_reader(self._listener)
            self.loop.call_later(_ACCEPT_AGAIN_S, self._accept_again)
            return
        connection.setblocking(False)
        try:
            identity = identify(connection)
        except OSError as error:
            connection.close()
            self.on_refused("a client", f"the system does not tell who it is: {error.strerror}")
            return
        if identity.uid != os.geteuid():
            connection.close()
            self.on_refused(identity.who, "a connection of another user")
            return
        if len(self._peers) >= MAX_PEERS:
            # Whoever came first has had the longest time to ask; one that is being served, such as a terminal, stays.
            next((peer for peer in self._peers if not peer.is_served), self._peers[0]).close()
        peer = Peer(self, connection, identity)
        self._peers.append(peer)
        peer._open(self.hello)

    def _accept(self, listener: socket.socket) -> socket.socket:
        """Take a connection; when no descriptor is free, with the one that is kept for that."""
        try:
            return listener.accept()[0]
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or self._spare < 0:
                raise
        os.close(self._spare)
        self._spare = -1
        return listener.accept()[0]

    def _keep_spare(self) -> None:
        """Keep a descriptor for the next client when there is none left, which may be the one that halts the engine."""
        if self._spare < 0:
            with contextlib.suppress(OSError):  # none is free yet; the end of the next connection frees one
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _accept_again(self) -> None:
        if self._listener is not None:
            self.loop.add_reader(self._listener, self._on_connection)

    def _forget(self, peer: Peer) -> None:
        self._peers.remove(peer)
        if self._listener is not None:
            self._keep_spare()
