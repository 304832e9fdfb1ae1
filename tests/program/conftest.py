from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.program.terminal import Terminal, processes_about


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Start the program in terminals that are closed at the end; waits until the engine has started."""
    started: list[Terminal] = []

    def begin(*, ready: bool = True, config: Path = tmp_path, **options: Any) -> Terminal:
        terminal = Terminal(config, **options)
        started.append(terminal)
        if ready:
            terminal.wait_for(r"\d,\d\d\d\.\d.*bid", 20)
        return terminal

    yield begin
    for terminal in started:
        terminal.close()
    end_engine(tmp_path)


def end_engine(config: Path) -> None:
    """End what a test left running without a screen; the number in a dead engine's lock may be another's by now."""
    for pid in processes_about(str(config)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
