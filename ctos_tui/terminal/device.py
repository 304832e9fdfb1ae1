"""One terminal: own descriptors of it, and what its environment says about how to draw on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

DRAWING = ("TERM", "COLORTERM", "NO_COLOR", "LANG", "LC_ALL", "LC_CTYPE", "TERM_PROGRAM", "TERM_PROGRAM_VERSION")
"""Variables that say how to draw; they belong to a terminal, not to the process that draws on it."""


@dataclass(frozen=True, slots=True)
class TerminalDevice:
    """A terminal that may belong to another session than this process.

    The descriptors are the device's own: whoever uses one closes it when nothing can read or write by it any more.

    Attributes:
        input: Where keys are read and settings are made.
        output: Where frames are written.
    """

    input: int
    output: int

    @classmethod
    def of(cls, input: int, output: int) -> TerminalDevice:
        """Return the terminal behind two descriptors, which stay the caller's.

        Raises:
            OSError: A descriptor is not open.
        """
        own = _own(input, os.O_RDWR)
        try:
            return cls(own, _own(output, os.O_WRONLY))
        except OSError:
            os.close(own)
            raise

    @classmethod
    def standard(cls) -> TerminalDevice:
        """Return the terminal that this process was started on."""
        assert sys.__stdin__ is not None and sys.__stderr__ is not None
        return cls.of(sys.__stdin__.fileno(), sys.__stderr__.fileno())

    @property
    def is_terminal(self) -> bool:
        """Return whether both ends are terminals that still exist."""
        return os.isatty(self.input) and os.isatty(self.output)

    def close(self) -> None:
        """Close both descriptors, of a terminal that was never drawn on."""
        os.close(self.input)
        os.close(self.output)


def adopt(said: Mapping[str, str], environ: MutableMapping[str, str] = os.environ) -> None:
    """Let this process's environment say about drawing what a terminal's environment says, and nothing else."""
    for name in DRAWING:
        if name in said:
            environ[name] = said[name]
        else:
            environ.pop(name, None)


def drawing_variables(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what an environment says about drawing."""
    return {name: environ[name] for name in DRAWING if name in environ}


def _own(fd: int, access: int) -> int:
    """Open the terminal behind a descriptor anew, non-blocking; where that is not allowed, duplicate the descriptor.

    Non-blocking is a property of the open file: set on a duplicate it would reach the shell, too.
    """
    path = f"/proc/self/fd/{fd}" if sys.platform == "linux" else os.ttyname(fd)
    if os.isatty(fd):
        try:
            return os.open(path, access | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return os.dup(fd)  # another user's terminal, as after su: a write may then wait, in its own thread
    return os.dup(fd)
