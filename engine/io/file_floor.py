"""File descriptors that are left: without them no connection comes back and no file can be opened."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path

from engine.io.writer import WriterThread
from engine.kernel.clock import Clock, TimerHandle

LOW_FILES = 16
"""What all connections of a venue need when they are opened anew, with some to spare."""
CHECK_EVERY_S = 5.0
OPEN_FILES = Path("/dev/fd")


def files_left(folder: Path = OPEN_FILES) -> tuple[int, int]:
    """Return how many descriptors this process may still open, and how many in all.

    Raises:
        OSError: The folder of open descriptors cannot be read, for another reason than that none is left.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        return most - (len(os.listdir(folder)) - 1), most
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return 0, most
        raise


class FileFloor:
    """Looks at the descriptors that are left every 5 s, in the writer thread.

    Args:
        clock: Whose timers are used.
        writer: Does the looking.
        on_low: Called with what is wrong, in words, when too few are left, and with nothing when enough are again.
        folder: Where the system lists them; a system that does not is not watched.
    """

    def __init__(
        self, clock: Clock, writer: WriterThread, on_low: Callable[[str], object], folder: Path = OPEN_FILES
    ) -> None:
        self._clock = clock
        self._writer = writer
        self._on_low = on_low
        self._folder = folder
        self._timer: TimerHandle | None = None
        self._is_low = False

    def start(self) -> None:
        """Begin looking, at once and then regularly."""
        if not self._folder.exists():
            return
        found: tuple[int, int] | None = None

        def look() -> None:
            nonlocal found
            found = files_left(self._folder)

        self._timer = self._clock.call_later(CHECK_EVERY_S, self.start)
        self._writer.submit(look, lambda: self._judge(found))

    def stop(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _judge(self, found: tuple[int, int] | None) -> None:
        if self._timer is None or found is None:
            return
        left, most = found
        was_low, self._is_low = self._is_low, left < LOW_FILES
        if self._is_low and not was_low:
            self._on_low(
                f"only {max(left, 0)} of {most} file descriptors are left; start it with more: ulimit -n {4 * most}"
            )
        elif was_low and not self._is_low:
            self._on_low("")
