"""The client of a control socket: plain blocking calls with deadlines, for a command in another shell."""

from __future__ import annotations

import os
import select
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import msgspec

from engine.io.control_wire import (
    MAX_REPLY,
    PROTOCOL,
    SOCKET_NAME,
    ControlRefused,
    Hello,
    Lines,
    NoAnswer,
    NotRunning,
    PeerLeft,
    Reply,
    Request,
    at_socket,
    close_all,
    identify,
    open_private,
    receive,
)
from engine.kernel import errors
from engine.kernel.clock import monotonic_ns
from engine.kernel.errors import CtosError

ANSWER_S = 2.0

T = TypeVar("T")
_reply = msgspec.json.Decoder(Reply)
_hello = msgspec.json.Decoder(Hello)


class ControlClient:
    """A connection to the process that serves a state folder.

    Args:
        folder: The state folder.
        timeout_s: How long to wait for the greeting.

    Attributes:
        hello: Who runs there.

    Raises:
        NotRunning: Nobody serves the folder.
        NoAnswer: The process is there and does not greet in time.
        ControlRefused: It is of another user, or speaks another protocol.
        StorageError: The folder is not ours alone.
    """

    def __init__(self, folder: Path, timeout_s: float = ANSWER_S) -> None:
        self.hello = Hello()
        self._lines = Lines(MAX_REPLY)
        self._waiting: deque[bytes] = deque()
        self._number = 0
        self._socket = _connect(folder, timeout_s)
        try:
            identity = identify(self._socket)
            self._name = f"process {identity.pid or ''}".strip()
            if identity.uid != os.geteuid():
                raise ControlRefused(f"the control socket of {folder} is served by {identity.who}")
            line = self._line(timeout_s)
            if line is None:
                raise NoAnswer(f"{self._name} holds {folder} and does not answer within {timeout_s:g} s")
            self.hello = _decode(_hello, line)
            if self.hello.protocol != PROTOCOL:
                raise ControlRefused(
                    f"{self.hello.text} speaks control protocol {self.hello.protocol}, this command {PROTOCOL}: "
                    "use the same version of ctos-tui for both"
                )
        except BaseException:
            self._socket.close()
            raise

    def send(self, kind: str, body: object = None, fds: Sequence[int] = ()) -> int:
        """Send a request and return its number; replies are read with `read`.

        Raises:
            NoAnswer: The process has left, or takes nothing.
        """
        self._number += 1
        raw = msgspec.Raw(b"{}" if body is None else msgspec.json.encode(body))
        request = Request(self.hello.nonce, self._number, kind, len(fds), raw)
        line = msgspec.json.encode(request) + b"\n"
        self._socket.settimeout(ANSWER_S)
        try:
            sent = socket.send_fds(self._socket, [line], list(fds)) if fds else 0
            self._socket.sendall(line[sent:])
        except OSError as error:
            if not self._waiting and not self._readable(0):
                raise NoAnswer(f"{self._name} takes no request: {error}") from error
        return self._number

    def read(self, timeout_s: float) -> Reply | None:
        """Return the next reply, None when none comes in time; a reply that failed is raised.

        Raises:
            PeerLeft: The process ended the connection.
            CtosError: The request failed, with the error's own class.
        """
        line = self._line(timeout_s)
        if line is None:
            return None
        reply = _decode(_reply, line)
        if reply.error:
            raise remote_error(reply.error, reply.text)
        return reply

    def ask(self, kind: str, body: object, answer: type[T], timeout_s: float, fds: Sequence[int] = ()) -> Iterator[T]:
        """Send a request and yield each part of its answer, each within `timeout_s` after the one before.

        Raises:
            NoAnswer: A part does not come in time.
            CtosError: The request failed, with the error's own class.
        """
        number = self.send(kind, body, fds)
        more = True
        while more:
            reply = self.read(timeout_s)
            if reply is None:
                raise NoAnswer(f"{self.hello.text} has not answered {kind} within {timeout_s:g} s")
            if reply.number == number:
                more = reply.more
                yield reply.decode(answer)

    def fileno(self) -> int:
        """Return the descriptor to wait on with select; `read(0)` until None takes all that came."""
        return self._socket.fileno()

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _line(self, timeout_s: float) -> bytes | None:
        """Return the next line, None when it does not come in time."""
        deadline_ns = monotonic_ns() + round(timeout_s * 1e9)
        while not self._waiting:
            if not self._readable(max(0.0, (deadline_ns - monotonic_ns()) / 1e9)):
                return None
            try:
                data, fds = receive(self._socket)
            except OSError as error:
                raise PeerLeft(f"{self._name} ended the connection: {error.strerror}") from error
            close_all(fds)
            if not data:
                raise PeerLeft(f"{self._name} ended the connection")
            self._waiting.extend(self._lines.feed(data))
        return self._waiting.popleft()

    def _readable(self, timeout_s: float) -> bool:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))


def remote_error(name: str, text: str) -> CtosError:
    """Return an error of the other process with its class and its words."""
    kind: object = ControlRefused if name == ControlRefused.__name__ else getattr(errors, name, CtosError)
    if not (isinstance(kind, type) and issubclass(kind, CtosError)):
        kind = CtosError
    error = kind.__new__(kind)  # classes take their own arguments, of which only the text came over
    CtosError.__init__(error, text)
    return error


def _decode(decoder: msgspec.json.Decoder[T], line: bytes) -> T:
    try:
        return decoder.decode(line)
    except ValueError as error:
        raise ControlRefused(f"the control socket says what this version does not know: {error}") from error


def _connect(folder: Path, timeout_s: float) -> socket.socket:
    if not folder.exists():
        raise NotRunning(f"nothing runs on {folder}")
    folder_fd = open_private(folder)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    try:
        at_socket(folder, folder_fd, connection.connect)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        connection.close()
        raise NotRunning(f"nothing runs on {folder}") from error
    except OSError as error:
        connection.close()
        raise NoAnswer(f"{folder / SOCKET_NAME} takes no connection: {error}") from error
    finally:
        os.close(folder_fd)
    return connection
