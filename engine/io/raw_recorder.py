"""Records wire messages as they arrive: one a line after its receive time, plain or gzip, as `decode` reads them.

Every piece is whole when it is written, a gzip member of its own where the file is compressed, and what a full disk cut
off is taken away again: the file can be read however the recording ends.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from io import FileIO
from pathlib import Path

from engine.io.market_files import RecordProgress
from engine.io.writer import WriterThread
from engine.kernel.clock import Clock, TimerHandle
from engine.kernel.errors import ConfigError, CtosError, StorageError

FLUSH_S = 0.5
FLUSH_BYTES = 1 << 18


class RawRecorder:
    """Writes wire messages to a new file.

    Args:
        path: The file; a name that ends in `.gz` is compressed.
        clock: Gives the receive times.
        writer: Writes.
        on_progress: Called after each piece of work.
        on_error: Called once when the disk refuses; recording has ended then.

    Raises:
        ConfigError: The file exists, or cannot be made.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        writer: WriterThread,
        on_progress: Callable[[RecordProgress], object],
        on_error: Callable[[CtosError], object],
    ) -> None:
        self._file = _create(path)
        self._path = path
        self._clock = clock
        self._writer = writer
        self._on_progress = on_progress
        self._on_error = on_error
        self._lines: list[bytes] = []
        self._bytes = 0
        self._messages = 0
        self._first_ns = 0
        self._written = 0
        self._closed = False
        self._timer: TimerHandle | None = None
        self._tick()

    def take(self, payload: bytes) -> None:
        """Record one message."""
        if self._closed:
            return
        now_ns = self._clock.now_ns()
        self._first_ns = self._first_ns or now_ns
        text = payload.replace(b"\r", b" ").replace(b"\n", b" ").strip()
        self._lines.append(b"%d %s\n" % (now_ns, text))
        self._bytes += len(text)
        self._messages += 1
        if self._bytes >= FLUSH_BYTES:
            self._flush()

    def close(self) -> None:
        """End the recording and queue what is left for the disk; it is there when the writer has closed.

        A file without any message is removed.
        """
        if self._closed:
            return
        self._stop()
        self._flush()

        def work() -> None:
            self._file.close()
            if not self._written:
                self._path.unlink()

        self._writer.submit(work, on_done=self._report if self._messages else None, on_error=self._on_error)

    def _stop(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self._timer = self._clock.call_later(FLUSH_S, self._tick)
        self._flush()

    def _flush(self) -> None:
        lines, self._lines, self._bytes = self._lines, [], 0
        if not lines:
            return

        self._writer.submit(lambda: self._append(b"".join(lines)), on_done=self._report, on_error=self._fail)

    def _append(self, text: bytes) -> None:
        """Write one piece, in the writer's thread; nothing follows on a piece that failed.

        Raises:
            StorageError: The disk refused it.
        """
        if self._file.closed:
            return
        piece = memoryview(gzip.compress(text) if self._path.suffix == ".gz" else text)
        try:
            while piece:
                piece = piece[self._file.write(piece) :]
        except OSError as error:
            self._file.truncate(self._written)
            self._file.close()
            raise StorageError(
                f"cannot record to {self._path}: {error.strerror or error}; what was recorded until then can be read: "
                "free space, then record to another file"
            ) from error
        self._written = self._file.tell()

    def _report(self) -> None:
        elapsed = self._clock.now_ns() - self._first_ns if self._first_ns else 0
        size = self._path.stat().st_size
        self._on_progress(RecordProgress(self._messages, 1, size, elapsed))

    def _fail(self, error: CtosError) -> None:
        if not self._closed:
            self._stop()
            self._on_error(error)


def _create(path: Path) -> FileIO:
    try:
        return FileIO(path, "xb")
    except FileExistsError:
        raise ConfigError(f"{path} exists already; name another file, or delete this one") from None
    except OSError as error:
        raise ConfigError(f"cannot record to {path}: {error.strerror}; name a file that can be made") from error
