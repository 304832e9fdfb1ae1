"""Processes that are made cheaply and looked at from outside."""

from __future__ import annotations

from multiprocessing import get_context
from pathlib import Path

CONTEXT = get_context("forkserver")
"""Children are forks of a process that has imported everything and runs nothing."""
CONTEXT.set_forkserver_preload(["tests.chaos.trader", "tests.chaos.venue"])


def open_files(pid: int) -> int:
    """Return how many descriptors a process holds."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
