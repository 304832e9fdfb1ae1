"""A screen that fails takes nothing along: the terminal comes back whole and the engine goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.program.terminal import Terminal
from tests.program.test_detach import DETACH, attach, is_alive, pulse, wait_until

pytestmark = pytest.mark.pty
Start = Callable[..., Terminal]
TIMES = int(os.environ.get("TEST_CRASHES", "10"))


def opened_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6


def crash(shown: Terminal) -> None:
    """Let the screen fail; a key that comes before the first frame is complete does nothing."""
    for _ in range(10):
        if shown.process.poll() is None:
            shown.press("4")
            shown.pump(0.5)
    assert shown.finish(10) == 1


def test_p08_screens_fail_one_after_the_other_and_the_engine_goes_on(start: Start, tmp_path: Path) -> None:
    (tmp_path / "ctos.yaml").write_text(DETACH)
    first = start(module="tests.program.crashing")
    first.arm()
    first.order("buy 500$ btc @ best -0.45%")
    first.wait_for("ORDERS 1")
    engine = first.engine
    sizes: list[tuple[int, float]] = []
    with pulse(tmp_path):
        shown = first
        for _ in range(TIMES):
            crash(shown)
            assert shown.terminal_restored
            said = " ".join(shown.text.split())
            assert "ctos-tui: the screen failed: ValueError: told to fail" in said and "crashing.py" in said
            assert f"the engine goes on as pid {engine}" in said
            assert b"Traceback" not in shown.output
            shown.close()
            assert is_alive(engine)
            sizes.append((opened_files(engine), resident_mb(engine)))
            shown = attach(start, tmp_path)
            shown.wait_for("ORDERS 1")
    files, memory = zip(*sizes, strict=True)

    assert files[-1] <= files[0]
    assert memory[-1] - memory[2] < 3 * (TIMES - 3), "MB"
    shown.command("x #1")
    shown.wait_for("ORDERS 0")
    os.kill(engine, signal.SIGTERM)
    assert shown.finish() == 0


def test_p08_where_the_policy_is_stop_the_program_ends_in_good_order(start: Start, tmp_path: Path) -> None:
    first = start(module="tests.program.crashing")
    engine = first.engine
    crash(first)
    assert first.terminal_restored
    assert "the screen failed: ValueError" in first.text and "stopped with on_stop: keep" in first.text
    wait_until(lambda: not is_alive(engine))
