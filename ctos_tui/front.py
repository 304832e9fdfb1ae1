"""The thin process in front of the console: it keeps the shell's foreground and its terminal's signals.

The program runs behind it in a session of its own and draws straight on the terminal, so that losing the terminal, or
giving it back, is an event for the program and not its death. Killing the front with SIGKILL kills the program too.
Loaded before anything heavy: the fork must cost nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import sys
import termios
from types import FrameType
from typing import Final, NoReturn

LEAVE: Final = b"leave "
"""The program goes on without this terminal: the shell gets it back, and an exit code."""
STAY: Final = b"stay"
"""The terminal is gone and the program goes on: the front stays as the process that people know."""
SAY: Final = b"say "
RESTORE: Final = b"restore"
"""The terminal did not take what gives it back as it was."""

_PASSED = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGWINCH, signal.SIGCONT)
_OF_TERMINAL = (signal.SIGHUP, signal.SIGWINCH, signal.SIGCONT)
_STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_PR_SET_PDEATHSIG = 1
_AS_IT_WAS = (
    b"\x1b[?2004l\x1b[?7h\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?2048l\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l"
)
"""Ends whatever the console may have asked of the terminal."""


def stand_in_front() -> socket.socket:
    """Fork; the child goes on behind and gets the link to the front, which never returns from here."""
    ours, theirs = socket.socketpair()
    front = os.getpid()
    numbers = {*_PASSED, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    child = os.fork()
    if child:
        theirs.close()
        from engine.io.secrets import forget_environment  # the child goes on meanwhile

        forget_environment()
        raise SystemExit(Front(child, ours).watch(numbers))
    ours.close()
    os.setsid()
    die_with_parent(True)
    if os.getppid() != front:
        os._exit(1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    return theirs


def die_with_parent(wanted: bool) -> None:
    """Let the system kill this process when its parent dies, or no longer; where it cannot, the link's end tells."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL if wanted else 0, 0, 0, 0)


def drop_terminal() -> None:
    """Let standard input, output and error lead nowhere, so that the terminal can close."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    os.close(nowhere)


class TerminalKeeper:
    """Remembers how a terminal was, and can put it back whatever the program behind it has done.

    Args:
        fd: The terminal.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._attributes = termios.tcgetattr(fd)

    def restore(self) -> None:
        """Put settings and screen back; a terminal that is gone or takes nothing is left alone."""
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(self._fd, termios.TCSANOW, self._attributes)
            termios.tcflush(self._fd, termios.TCOFLUSH)
            say(self._fd, _AS_IT_WAS)

    @property
    def is_in_foreground(self) -> bool:
        """Return whether this process has the terminal: not in the background, and the terminal not gone."""
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return False


def say(fd: int, text: bytes) -> None:
    """Write to a terminal, for half a second at most: it may be stalled.

    Raises:
        OSError: The terminal is gone.
    """
    if select.select([], [fd], [], 0.5)[1]:
        os.write(fd, text)


class WakeUp:
    """Turns signals into bytes that select can wait for."""

    def __init__(self) -> None:
        self._reading, writing = os.pipe()
        os.set_blocking(writing, False)
        for end in (self._reading, writing):
            fcntl.fcntl(end, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def fileno(self) -> int:
        """Return what select waits on."""
        return self._reading

    def watch(self, number: signal.Signals) -> None:
        """Take a signal, unless whoever started this process wanted it ignored."""
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _noted)

    def taken(self) -> bytes:
        """Return the signals that came, after select said that there are some."""
        return os.read(self._reading, 256)


def _noted(number: int, frame: FrameType | None) -> None:
    """The byte in the pipe tells."""


class Front:
    """Waits for the program behind it.

    Args:
        child: The program.
        link: What it tells.
    """

    def __init__(self, child: int, link: socket.socket) -> None:
        self._child = child
        self._link = link
        self._rest = b""
        self._keeper = TerminalKeeper(0)
        self._has_terminal = True
        self._let_go_with: int | None = None

    def watch(self, numbers: set[signal.Signals]) -> int:
        """Pass signals on until the program has ended or goes on alone; returns the exit code."""
        wake = WakeUp()
        for number in numbers:
            wake.watch(number)
        for number in _STOPS:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
        sources: list[WakeUp | socket.socket] = [wake, self._link]
        while True:
            ready = select.select(sources, [], [])[0]
            if self._link in ready and not self._read():
                sources.remove(self._link)
            if self._let_go_with is not None:
                return self._let_go_with
            if wake in ready:
                for signalled in wake.taken():
                    self._pass_on(signalled)
                ended, status = os.waitpid(self._child, os.WNOHANG)
                if ended:
                    return self._farewell(status)

    def _pass_on(self, number: int) -> None:
        if number not in _PASSED or (number in _OF_TERMINAL and not self._has_terminal):
            return
        # A hang-up comes with a SIGCONT, and a background job has no screen to paint.
        if number == signal.SIGCONT and not self._keeper.is_in_foreground:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._child, number)

    def _read(self) -> bool:
        """Take what the program tells; returns whether there can be more."""
        try:
            data = self._link.recv(65536)
        except ConnectionResetError:
            data = b""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._obey(line)
        return bool(data)

    def _obey(self, line: bytes) -> None:
        if line.startswith(SAY) and self._has_terminal:
            with contextlib.suppress(OSError):
                say(2, line.removeprefix(SAY).decode("unicode_escape").encode() + b"\n")
        elif line == RESTORE:
            self._keeper.restore()
        elif line.startswith(LEAVE):
            self._let_go_with = int(line.removeprefix(LEAVE))
        elif line == STAY:
            self._has_terminal = False
            drop_terminal()

    def _farewell(self, status: int) -> int:
        """Take the last words of a program that has ended; returns the exit code."""
        self._link.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self._read():
                continue
        if not os.WIFSIGNALED(status):
            return os.waitstatus_to_exitcode(status)
        number = os.WTERMSIG(status)
        if self._has_terminal:
            self._keeper.restore()
            with contextlib.suppress(OSError):
                say(2, f"ctos-tui: the program was ended by {signal.Signals(number).name}\n".encode())
        return 128 + number


class Link:
    """The program's end of the link to its front.

    Args:
        connection: What `stand_in_front` returned.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.front = os.getppid()

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when the front is gone."""
        return self._connection.fileno()

    def tell(self, line: bytes) -> None:
        """Tell the front something; harmless when it is gone."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.sendall(line + b"\n")

    def say(self, text: str) -> None:
        """Let the front write a text on the terminal."""
        self.tell(SAY + text.encode("unicode_escape"))

    def let_go(self, code: int) -> None:
        """Give the shell its terminal back, and an exit code: this process goes on alone."""
        die_with_parent(False)
        self.tell(LEAVE + str(code).encode())
        self._connection.close()

    def die(self) -> NoReturn:
        """End as the front did: it was killed."""
        os.kill(os.getpid(), signal.SIGKILL)
        os._exit(1)
