"""Who stands in front of a terminal that the console may be shown on: the front of this process, or `ctos-tui attach`.

A face lends its terminal, tells of its resizes and of its end, writes what is to be said on it, and gives it back.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Protocol

import msgspec

from ctos_tui.front import RESTORE, STAY, Link, drop_terminal
from ctos_tui.terminal.device import TerminalDevice, drawing_variables
from ctos_tui.text import clean
from engine.io.control_socket import Asked
from engine.kernel.errors import CtosError

ATTACH = "attach"
RESIZE, RESUME, HANGUP, LET_GO = "resize", "resume", "hangup", "let_go"


class Attach(msgspec.Struct, frozen=True):
    """A request to show the console on the terminal whose input and output come along.

    Attributes:
        where: The terminal, for people.
        environ: What its environment says about drawing.
    """

    where: str
    environ: dict[str, str]


class Moved(msgspec.Struct, frozen=True):
    """Something happened to the terminal of an attached client; the kind of the request says what."""


class Word(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an attached client is told.

    Attributes:
        text: To be written on the terminal.
        restore: Whether the terminal did not take what gives it back as it was.
    """

    text: str = ""
    restore: bool = False


class Bye(msgspec.Struct, frozen=True):
    """The last thing an attached client is told.

    Attributes:
        code: Its exit code.
        ends: Whether the process that it was attached to ends, too.
    """

    code: int = 0
    ends: bool = False


class Watcher(Protocol):
    """Told what happens to the terminal of a face."""

    def resized(self) -> None:
        """The terminal has another size."""

    def resumed(self) -> None:
        """Whoever holds the terminal was stopped, and goes on."""

    def hung_up(self) -> None:
        """The terminal, or who held it, is gone."""

    def let_go(self) -> None:
        """Whoever holds the terminal wants it back."""


class Face(Protocol):
    """Who stands in front of a terminal.

    Attributes:
        where: The terminal, for people.
        environ: What its environment says about drawing.
        front: The process in front, if its death is this process's death.
    """

    where: str
    environ: dict[str, str]
    front: int | None

    def lend(self) -> TerminalDevice:
        """Return the terminal to draw on; whoever gets it closes it."""

    def watch(self, watcher: Watcher) -> None:
        """Tell what happens to the terminal from now on."""

    def say(self, text: str) -> None:
        """Write on the terminal, which shows no screen now."""

    def restore(self) -> None:
        """Put the terminal back by force: it did not take what the screen sent."""

    def leave(self, code: int = 0) -> None:
        """Give the terminal back for good; this process goes on without it."""

    def lost(self) -> None:
        """Forget the terminal: it is gone, and this process goes on."""

    def end(self, code: int) -> None:
        """Everything is said: this process ends, with this exit code."""


class FrontFace:
    """The front of this process, on the terminal that it was started on.

    Args:
        link: The link to it.
        loop: The loop this process runs on.
    """

    def __init__(self, link: Link, loop: asyncio.AbstractEventLoop) -> None:
        self.where = "the terminal it was started on"
        self.environ = drawing_variables()
        self.front: int | None = link.front
        self._link = link
        self._loop = loop
        loop.add_reader(link.fileno(), link.die)

    def lend(self) -> TerminalDevice:
        """Return the terminal to draw on."""
        return TerminalDevice.standard()

    def watch(self, watcher: Watcher) -> None:
        """Tell what happens to the terminal: the front passes signals on."""
        self._loop.add_signal_handler(signal.SIGWINCH, watcher.resized)
        self._loop.add_signal_handler(signal.SIGCONT, watcher.resumed)
        self._loop.add_signal_handler(signal.SIGHUP, watcher.hung_up)

    def say(self, text: str) -> None:
        """Write on the terminal."""
        self._link.say(text)

    def restore(self) -> None:
        """Put the terminal back by force."""
        self._link.tell(RESTORE)

    def leave(self, code: int = 0) -> None:
        """Give the shell its terminal back; this process goes on without it."""
        self._forget()
        self._loop.remove_reader(self._link.fileno())
        self._link.let_go(code)

    def lost(self) -> None:
        """Forget the terminal; the front stays as the process that people know."""
        self._forget()
        self._link.tell(STAY)

    def end(self, code: int) -> None:
        """Nothing is to be done: the front waits for the end of this process."""

    def _forget(self) -> None:
        drop_terminal()
        for number in (signal.SIGWINCH, signal.SIGCONT, signal.SIGHUP):
            self._loop.add_signal_handler(number, lambda: None)


class PeerFace:
    """A client that attached its terminal over the control socket.

    Args:
        asked: Its request, with the terminal's input and output.

    Raises:
        OSError: The descriptors are not open.
    """

    def __init__(self, asked: Asked[Attach]) -> None:
        self.where = f"{clean(asked.body.where)} ({asked.peer.who})"
        self.environ = asked.body.environ
        self.front: int | None = None
        self._asked = asked
        self._is_there = True
        self._on_gone: Callable[[], None] = lambda: None
        self._device = TerminalDevice.of(*asked.fds[:2])
        self._is_lent = False
        asked.peer.on_end.append(self._gone)

    @property
    def is_terminal(self) -> bool:
        """Return whether what it lends is a terminal that still exists."""
        return self._device.is_terminal and self._is_there

    def lend(self) -> TerminalDevice:
        """Return the terminal to draw on."""
        self._is_lent = True
        return self._device

    def watch(self, watcher: Watcher) -> None:
        """Tell what happens to the terminal: the client sends messages."""
        peer = self._asked.peer
        self._on_gone = watcher.hung_up
        for kind, told in (
            (RESIZE, watcher.resized),
            (RESUME, watcher.resumed),
            (HANGUP, watcher.hung_up),
            (LET_GO, watcher.let_go),
        ):
            peer.handle(kind, Moved, _calling(told))
        if not self._is_there:
            watcher.hung_up()

    def say(self, text: str) -> None:
        """Write on the terminal."""
        self._asked.push(Word(text=text))

    def restore(self) -> None:
        """Put the terminal back by force."""
        self._asked.push(Word(restore=True))

    def leave(self, code: int = 0) -> None:
        """Give the terminal back."""
        self._close()
        self._asked.finish(Bye(code))

    def end(self, code: int) -> None:
        """Give the terminal back; the client waits for the end of this process."""
        self._close()
        self._asked.finish(Bye(code, ends=True))

    def lost(self) -> None:
        """Forget the terminal."""
        self._close()
        self._asked.peer.close()

    def refuse(self, error: CtosError) -> None:
        """Answer that the console cannot be shown."""
        self._close()
        self._asked.fail(error)

    def _gone(self) -> None:
        self._is_there = False
        if not self._is_lent:
            self._close()
        self._on_gone()

    def _close(self) -> None:
        """Close a terminal that was never drawn on."""
        self._on_gone = lambda: None
        if not self._is_lent:
            self._is_lent = True
            self._device.close()


def _calling(told: Callable[[], None]) -> Callable[[Asked[Moved]], None]:
    def handle(asked: Asked[Moved]) -> None:
        told()
        asked.finish()

    return handle
