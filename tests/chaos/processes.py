"""Processes that are made cheaply and looked at from outside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

CONTEXT = get_context("forkserver")
"""Children are forks of a process that has imported everything and runs nothing."""
CONTEXT.set_forkserver_preload(["tests.chaos.trader", "tests.chaos.venue"])


def processes_about(text: str) -> Iterator[int]:
    """Yield the living processes of others whose command line names a text."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            if text in (entry / "cmdline").read_bytes().decode(errors="replace"):
                yield int(entry.name)
        except (FileNotFoundError, ProcessLookupError):
            continue


def open_files(pid: int) -> int:
    """Return how many descriptors a process holds."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
