"""Watches the event loop: a pulse that comes late is told, with the line of code that held the loop.

While the loop is held nothing of it can run, so a thread that hears of every pulse writes all stacks to a file after
one second. The line is read back from there when the loop runs again.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import re
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path

from engine.io.files import PRIVATE_FILE, make_private_dir
from engine.io.writer import Call, WriterThread
from engine.kernel.clock import monotonic_ns
from engine.kernel.errors import CtosError, StorageError

PULSE_S = 0.25
DUMP_AFTER_S = 1.0
LATE_S = 1.0
"""From which delay on a late pulse is told."""

MOST_BYTES = 1 << 20
IDLE = "outside this program's code: the process was stopped, or the machine slept or had no time for it"
UNKNOWN = "at a place that was not written down"

_MARK = "Timeout ("
_STOPPED = "the process stood still"
_FRAME = re.compile(r'^  File "(?P<path>.+)", line (?P<line>\d+) in (?P<name>.+)$')
_LIBRARY = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")})


class StackWriter:
    """Writes the stacks of all threads when it has not heard of a pulse for a second; a thread of its own.

    It does so while it holds the interpreter. Python's own `dump_traceback_later` does not wait for that: it reads
    frames while they run, and that can bring the process down.

    Args:
        file: The open file.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._pulse = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._watch, name="ctos-stacks", daemon=True)
        self._thread.start()

    def hear(self) -> None:
        """Hear that the loop runs."""
        self._pulse.set()

    def stop(self) -> None:
        """End the thread and close the file."""
        self._stopped = True
        self._pulse.set()
        self._thread.join()
        os.close(self._file)

    def _watch(self) -> None:
        while not self._stopped:
            before_ns, before_cpu = monotonic_ns(), os.times()
            if not self._pulse.wait(DUMP_AFTER_S):
                os.write(self._file, f"{_MARK}{DUMP_AFTER_S} s)\n".encode())
                if self._was_stopped(before_ns, before_cpu):
                    os.write(self._file, f"{_STOPPED}\n".encode())
                else:
                    faulthandler.dump_traceback(file=self._file)
                self._pulse.wait()
            self._pulse.clear()

    @staticmethod
    def _was_stopped(before_ns: int, before_cpu: os.times_result) -> bool:
        """Return whether this thread woke late, too, and nothing was computed: the process stood still as a whole."""
        now = os.times()
        cpu_s = now.user + now.system - before_cpu.user - before_cpu.system
        return (monotonic_ns() - before_ns) / 1e9 > DUMP_AFTER_S + PULSE_S and cpu_s < PULSE_S


class LoopWatch:
    """Measures how late the loop runs what is due, and names what held it.

    Args:
        path: Where stacks are written.
        writer: Opens and reads that file.
        on_late: Called with the delay in seconds and the place in words, when the loop runs again.
        on_error: Called when the file cannot be opened or read; delays are told without a place then.

    Attributes:
        largest_s: The largest delay so far.
    """

    def __init__(
        self,
        path: Path,
        writer: WriterThread,
        on_late: Callable[[float, str], object],
        on_error: Callable[[CtosError], object],
    ) -> None:
        self.largest_s = 0.0
        self._path = path
        self._writer = writer
        self._on_late = on_late
        self._on_error = on_error
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due_ns = 0
        self._stacks: StackWriter | None = None
        self._thread = 0
        self._read_to = 0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch a loop, which must run in the calling thread."""
        self._loop = loop
        self._thread = threading.get_ident()
        self._writer.submit(self._open, on_error=self._on_error)
        self._arm()

    def stop(self) -> None:
        """Watch no more."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        if self._stacks is not None:
            self._stacks.stop()
            self._stacks = None

    def _arm(self) -> None:
        assert self._loop is not None
        self._due_ns = monotonic_ns() + round(PULSE_S * 1e9)
        self._timer = self._loop.call_later(PULSE_S, self._pulse)
        if self._stacks is not None:
            self._stacks.hear()

    def _pulse(self) -> None:
        late_s = (monotonic_ns() - self._due_ns) / 1e9
        self.largest_s = max(self.largest_s, late_s)
        if late_s >= LATE_S:
            self._writer.submit(lambda: self._look_up(late_s), on_error=lambda error: self._not_found(late_s, error))
        self._arm()

    def _open(self) -> list[Call]:
        """Open the file in the writer thread; a large one makes room first."""
        make_private_dir(self._path.parent)
        try:
            if self._path.exists() and self._path.stat().st_size > MOST_BYTES:
                os.replace(self._path, self._path.with_name(f"{self._path.name}.1"))
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(self._path, flags, PRIVATE_FILE)
            self._read_to = os.fstat(file).st_size
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error.strerror}") from error
        return [lambda: self._opened(file)]

    def _opened(self, file: int) -> None:
        if self._timer is None:
            os.close(file)
        else:
            self._stacks = StackWriter(file)

    def _look_up(self, late_s: float) -> list[Call]:
        """Read the stacks that were written since the last time, in the writer thread."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read_to)
                text = file.read().decode("utf-8", "replace")
                self._read_to = file.tell()
        except OSError as error:
            raise StorageError(f"cannot read {self._path}: {error.strerror}") from error
        place = place_of(text, self._thread)
        return [lambda: self._on_late(late_s, place)]

    def _not_found(self, late_s: float, error: CtosError) -> None:
        self._on_error(error)
        self._on_late(late_s, UNKNOWN)


def place_of(dump: str, thread: int) -> str:
    """Return where a thread was in the newest of the dumps of `faulthandler`: its own code before the library's."""
    newest = dump.rpartition(_MARK)[2]
    if _STOPPED in newest:
        return IDLE
    frames = []
    is_inside = False
    for line in newest.splitlines():
        if line.startswith(("Thread 0x", "Current thread 0x")):
            is_inside = int(line.split("0x", 1)[1].split()[0].rstrip(":"), 16) == thread
        elif is_inside and (found := _FRAME.match(line)):
            frames.append(found)
    if not frames:
        return UNKNOWN
    if os.path.basename(frames[0]["path"]) == "selectors.py":
        return IDLE
    own = next((frame for frame in frames if not frame["path"].startswith(_LIBRARY)), frames[0])
    text = f"in {own['name']}, {own['path']}:{own['line']}"
    inner = frames[0]
    return text if inner is own else f"{text} (in {inner['name']}, {inner['path']}:{inner['line']})"
