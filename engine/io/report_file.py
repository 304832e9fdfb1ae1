"""Reports that are replaced as a whole: checksummed JSON, with the generations before beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.io.files import json_bytes, keep_generations, make_private_dir, with_checksum, write_atomic
from engine.io.writer import WriterThread
from engine.kernel.errors import CtosError


class ReportFile:
    """One report, written by the writer thread; while one is being written only the newest waits.

    Args:
        path: The file.
        writer: Does the writing.
        generations: How many are kept, the present one included.
        on_error: Called with the first of a row of failures.
    """

    def __init__(
        self,
        path: Path,
        writer: WriterThread,
        generations: int = 1,
        on_error: Callable[[CtosError], object] | None = None,
    ) -> None:
        self.path = path
        self._writer = writer
        self._generations = generations
        self._on_error = on_error
        self._next: dict[str, Any] | None = None
        self._busy = False
        self._failing = False

    def write(self, body: dict[str, Any]) -> None:
        """Replace the report; `body` must not change afterwards."""
        self._next = body
        if not self._busy:
            self._start()

    def _start(self) -> None:
        body, self._next = self._next, None
        if body is None:
            return
        self._busy = True

        def work() -> None:
            content = json_bytes(with_checksum(body))
            make_private_dir(self.path.parent)
            keep_generations(self.path, self._generations)
            write_atomic(self.path, content)

        self._writer.submit(work, self._succeeded, self._failed)

    def _succeeded(self) -> None:
        self._busy = self._failing = False
        self._start()

    def _failed(self, error: CtosError) -> None:
        first, self._failing = not self._failing, True
        self._busy = False
        if first and self._on_error is not None:
            self._on_error(error)
        self._start()
