"""JSON for scripts: one object a line, prices and amounts as strings, enumerations by value."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engine.io.plain_json import to_json
from engine.kernel.errors import StorageError


def write_line(value: Any) -> None:
    """Write one line of JSON to stdout.

    Raises:
        BrokenPipeError: Nobody reads any more.
        StorageError: The file behind stdout cannot take it.
    """
    write_text(to_json(value))


def write_text(line: str) -> None:
    """Write one line to stdout.

    Raises:
        BrokenPipeError: Nobody reads any more.
        StorageError: The file behind stdout cannot take it.
    """
    with naming_stdout():
        sys.stdout.write(line + "\n")


@contextmanager
def naming_stdout() -> Iterator[None]:
    """Turn a failure of what is behind stdout into one that says so.

    Raises:
        BrokenPipeError: Nobody reads any more.
        StorageError: The file behind stdout cannot take more.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"cannot write to stdout: {error.strerror}") from error
