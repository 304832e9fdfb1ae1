"""Raw wire recordings: one message a line, `<receive time ns> <json>`, plain or gzip."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from engine.io.writer import WriterThread
from engine.kernel.clock import Clock, TimerHandle
from engine.kernel.errors import ConfigError, CtosError, StorageError

MAX_LINE_BYTES = 16 << 20
FLUSH_SECONDS = 1.0
_GZIP_MAGIC = b"\x1f\x8b"


def open_raw(path: Path) -> BinaryIO:
    """Open a recording, compressed or not (told by its first bytes, not by its name).

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        file = path.open("rb")
        packed = file.peek(2)[:2] == _GZIP_MAGIC
    except OSError as error:
        raise ConfigError(f"cannot read the recording {path}: {error.strerror}; give the path of a file") from error
    return gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[return-value]


def raw_lines(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield the lines of a recording; of a line longer than 16 MB only its beginning.

    Args:
        file: From `open_raw`, or standard input.
        name: What messages call it.

    Raises:
        StorageError: A compressed file is cut off or damaged; what was readable has been yielded.
    """
    count = 0
    try:
        while line := file.readline(MAX_LINE_BYTES):
            count += 1
            yield line
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE_BYTES)
    except (EOFError, zlib.error, OSError) as error:
        reason = "it is cut off" if isinstance(error, EOFError) else str(error)
        raise StorageError(
            f"{name} ends early, after line {count}: {reason}; the lines before are good, fetch it anew for the rest"
        ) from error


class RawRecorder:
    """Writes wire messages as they come, compressed; each second's lines are safe on the disk as one whole.

    Args:
        path: The new file, by custom `.gz`.
        clock: Gives the receive times.
        writer: Does the disk work.
        on_error: Called once when the disk refuses; recording has ended then.

    Raises:
        ConfigError: The file is there already, or cannot be made.
    """

    def __init__(self, path: Path, clock: Clock, writer: WriterThread, on_error: Callable[[CtosError], object]) -> None:
        try:
            self._file = path.open("xb")
        except OSError as error:
            remedy = "name a new file in a folder that can be written"
            raise ConfigError(f"cannot record to {path}: {error.strerror}; {remedy}") from error
        self._path = path
        self._clock = clock
        self._writer = writer
        self._on_error = on_error
        self._lines: list[bytes] = []
        self._closed = False
        self._timer: TimerHandle = clock.call_later(FLUSH_SECONDS, self._tick)
        self.count = 0

    def write(self, payload: bytes) -> None:
        """Take one message, now."""
        if not self._closed:
            self._lines.append(b"%d %b\n" % (self._clock.now_ns(), payload.replace(b"\n", b" ")))
            self.count += 1

    def close(self) -> None:
        """End the recording; the file is whole when the writer has closed."""
        if not self._closed:
            self._stop()
            self._flush()
            self._writer.submit(self._file.close)

    def _tick(self) -> None:
        self._timer = self._clock.call_later(FLUSH_SECONDS, self._tick)
        self._flush()

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            self._writer.submit(lambda: self._append(lines), on_error=self._fail)

    def _append(self, lines: list[bytes]) -> None:
        try:
            self._file.write(gzip.compress(b"".join(lines), compresslevel=6, mtime=0))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error.strerror}; free space, then record anew") from error

    def _stop(self) -> None:
        self._closed = True
        self._timer.cancel()

    def _fail(self, error: CtosError) -> None:
        if not self._closed:
            self._stop()
            self._on_error(error)
