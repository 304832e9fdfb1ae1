"""Raw wire recordings: one message a line, `<receive time ns> <json>`, plain or gzip."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from engine.kernel.errors import ConfigError, StorageError

MAX_LINE_BYTES = 16 << 20
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
