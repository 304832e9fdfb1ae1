"""Takes every file descriptor that this process may still open."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator

MOST = 256


@contextlib.contextmanager
def no_files_left() -> Iterator[None]:
    """Leave no descriptor free inside the block."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST, limits[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for number in taken:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
