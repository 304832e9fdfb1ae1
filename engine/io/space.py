"""Room on the disk: a reserve for the last records, and an early word when it runs out."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from engine.io.files import PRIVATE_FILE
from engine.io.writer import WriterThread
from engine.kernel.clock import Clock, TimerHandle

LOW_BYTES = 200 << 20
CRITICAL_BYTES = 50 << 20
CHECK_EVERY_S = 10.0


class Ballast:
    """A file that only takes room, given up when the disk is full so that the shutdown records still fit.

    Args:
        directory: Where the file is kept.
        size: Its size in bytes; not made when the disk is low already, or for 0.
    """

    def __init__(self, directory: Path, size: int) -> None:
        self._path = directory / "ballast"
        self._path.unlink(missing_ok=True)
        if size == 0 or shutil.disk_usage(directory).free < LOW_BYTES + size:
            return
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError:
            # A file system that cannot reserve room, or has none left, goes without the reserve.
            self._path.unlink()
        finally:
            os.close(descriptor)

    def give_up(self) -> bool:
        """Delete the file; return whether that gave room: a full file system may refuse even that."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def release(self) -> None:
        """Delete the file at a normal end."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()


class Space(StrEnum):
    """How much room is left: enough, too little for new orders, too little to go on."""

    ENOUGH = "enough"
    LOW = "low"
    CRITICAL = "critical"


class SpaceGuard:
    """Looks at the free space of a folder every 10 s, in the writer thread, and tells while there is too little.

    Args:
        directory: A folder on the disk that matters.
        clock: Whose timers are used.
        writer: Does the looking.
        on_state: Called with (state, free bytes) after every look at too little room, and when there is enough again.
    """

    def __init__(
        self, directory: Path, clock: Clock, writer: WriterThread, on_state: Callable[[Space, int], object]
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._writer = writer
        self._on_state = on_state
        self._timer: TimerHandle | None = None
        self.state = Space.ENOUGH

    def start(self) -> None:
        """Begin looking, at once and then regularly."""
        free = 0

        def look() -> None:
            nonlocal free
            free = shutil.disk_usage(self._directory).free

        self._timer = self._clock.call_later(CHECK_EVERY_S, self.start)
        self._writer.submit(look, lambda: self._judge(free))

    def stop(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _judge(self, free: int) -> None:
        if self._timer is None:
            return
        state = Space.CRITICAL if free < CRITICAL_BYTES else Space.LOW if free < LOW_BYTES else Space.ENOUGH
        if state is not Space.ENOUGH or self.state is not Space.ENOUGH:
            self.state = state
            self._on_state(state, free)
