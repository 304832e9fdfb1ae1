"""What the control socket of a running process and its clients have in common: messages, framing, where the socket is.

One JSON line is one message. The server greets with `Hello`; each `Request` carries the greeting's nonce and a number
that grows by one, so that nothing seen on another connection, or twice on this one, is obeyed. Each `Reply` names the
request it belongs to; `more` says that others follow.
"""

from __future__ import annotations

import os
import pwd
import socket
import stat
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from engine.io.files import PRIVATE_DIR
from engine.kernel.errors import CtosError, StorageError

T = TypeVar("T")

PROTOCOL = 1
SOCKET_NAME = "control.sock"
MAX_REQUEST = 64 << 10
MAX_REPLY = 8 << 20
MAX_FDS = 4
READ_SIZE = 64 << 10

_IS_LINUX = sys.platform.startswith("linux")
_SOL_LOCAL, _LOCAL_PEERCRED, _LOCAL_PEERPID = 0, 1, 2  # macOS; Python has no names for them
_SUN_PATH = 103
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class NotRunning(CtosError):
    """No process serves the state directory."""


class NoAnswer(CtosError):
    """The process that serves the state directory does not answer."""


class PeerLeft(NoAnswer):
    """The process ended the connection, or itself, before it had answered."""


class ControlRefused(CtosError):
    """A control request was not obeyed: malformed, too large, out of order, of another user or session."""


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """The server's greeting: who runs here.

    Attributes:
        nonce: To be repeated in every request of this connection.
        pid: The process that runs the engine.
        account: Key of its account, as `okx:main`; behind an `@` its market, where that is not the venue's live one.
        mode: `paper` or `live`.
        program: `console` or `run`.
        since: When it started, UTC.
    """

    protocol: int = PROTOCOL
    nonce: str = ""
    pid: int = 0
    account: str = ""
    mode: str = ""
    program: str = ""
    since: str = ""

    @property
    def text(self) -> str:
        """Return who runs here, for people."""
        return f"{self.program} of {self.mode} account {self.account}, pid {self.pid}, since {self.since}"


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client asks.

    Attributes:
        number: 1, 2, 3, ... within a connection.
        kind: Which handler is meant.
        fds: How many file descriptors come with the message.
        body: The handler's own message.
    """

    nonce: str
    number: int
    kind: str
    fds: int = 0
    body: msgspec.Raw = msgspec.Raw(b"{}")


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer, or a part of it.

    Attributes:
        number: The request's.
        more: Whether others to the same request follow.
        body: The handler's own message.
        error: Class of the error when the request failed.
        text: The error's words.
    """

    number: int
    more: bool = False
    body: msgspec.Raw = msgspec.Raw(b"{}")
    error: str = ""
    text: str = ""

    def decode(self, body: type[T]) -> T:
        """Return the handler's message.

        Raises:
            ControlRefused: It is not of this type: the other process is of another version.
        """
        try:
            return msgspec.json.decode(self.body, type=body)
        except ValueError as error:
            raise ControlRefused(f"the control socket says what this version does not know: {error}") from error


class PeerIdentity(NamedTuple):
    """The process at the other end, as the system tells it; `pid` is 0 where it does not."""

    pid: int
    uid: int

    @property
    def who(self) -> str:
        """Return the user's name and the process, for people and for the audit."""
        return f"{user_name(self.uid)} pid {self.pid}"


class Lines:
    """Cuts a stream into lines, none longer than `most` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = bytearray()

    @property
    def is_empty(self) -> bool:
        """Return whether no part of a line waits for its end."""
        return not self._rest

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes.

        Raises:
            ControlRefused: A line is longer than allowed.
        """
        self._rest += data
        lines: list[bytes] = []
        if b"\n" in data:
            *lines, rest = bytes(self._rest).split(b"\n")
            self._rest = bytearray(rest)
        if len(self._rest) > self._most or any(len(line) > self._most for line in lines):
            raise ControlRefused(f"a message is larger than {self._most} bytes")
        return lines


def user_name(uid: int) -> str:
    """Return the name of a user, else the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def identify(connection: socket.socket) -> PeerIdentity:
    """Return who is at the other end of a connection.

    Raises:
        OSError: The system does not tell.
    """
    if _IS_LINUX:
        pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return PeerIdentity(pid, uid)
    _, uid = struct.unpack_from("Ii", connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 76))
    (pid,) = struct.unpack("i", connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID, 4))
    return PeerIdentity(pid, uid)


def receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """Return what can be read now, and the file descriptors that came with it: not inherited, owned by the caller.

    Raises:
        ControlRefused: More descriptors came than fit; they are closed.
        OSError: The connection fails, or nothing can be read now.
    """
    data, fds, flags, _ = socket.recv_fds(connection, READ_SIZE, MAX_FDS, _CLOEXEC)
    if flags & socket.MSG_CTRUNC:
        close_all(fds)
        raise ControlRefused(f"more than {MAX_FDS} file descriptors came with a message")
    for fd in fds:
        os.set_inheritable(fd, False)
    return data, fds


def close_all(fds: Sequence[int]) -> None:
    """Close file descriptors."""
    for fd in fds:
        os.close(fd)


def open_private(folder: Path) -> int:
    """Return a descriptor of the folder the socket is in, which must be ours alone.

    Raises:
        StorageError: It is missing, a link, of another user, or open to others.
    """
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        hint = "; name the folder itself, not a link to it" if folder.is_symlink() else ""
        raise StorageError(f"cannot open the state folder {folder}: {error.strerror}{hint}") from error
    status = os.fstat(fd)
    trouble = ""
    if status.st_uid != os.geteuid():
        trouble = f"belongs to {user_name(status.st_uid)}; run as that user, or choose another folder with --config"
    elif stat.S_IMODE(status.st_mode) & ~PRIVATE_DIR:
        trouble = f"is open to others (mode {stat.S_IMODE(status.st_mode):04o}); run: chmod 700 {folder}"
    if trouble:
        os.close(fd)
        raise StorageError(f"the state folder {folder} {trouble}")
    return fd


def at_socket(folder: Path, folder_fd: int, act: Callable[[str], Any]) -> None:
    """Bind or connect by the socket's address, also where its path is longer than an address may be.

    Raises:
        OSError: `act` fails.
        StorageError: The path is too long for this system.
    """
    if _IS_LINUX:
        act(f"/proc/self/fd/{folder_fd}/{SOCKET_NAME}")
        return
    path = str(folder / SOCKET_NAME)
    if len(os.fsencode(path)) > _SUN_PATH:
        raise StorageError(f"the path {path} is too long for a socket; choose a shorter folder with --config")
    act(path)
