"""A program whose memory runs out halts or dies cleanly, and the next start knows everything."""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import pytest

from tests.program.test_run import begin

pytestmark = pytest.mark.pty

LEAK = '''
from engine.kernel.strategy import Params, Strategy


class Leak(Strategy[Params]):
    """Keeps ever more memory."""

    name = "leak"
    title = "Leaks"
    params_model = Params

    def on_start(self, reason):
        self.kept = []
        self.ctx.timer.every("more", 0.1)

    def on_timer(self, name, payload):
        self.kept.append([{number: str(number)} for number in range(20_000)])
'''
SPARE = 48 << 20
LIMIT_S = 40


@contextmanager
def at_most(running: subprocess.Popen[bytes], seconds: float) -> Iterator[None]:
    """Kill a program that does not end, so that a test which waits for its output ends, too."""
    timer = Timer(seconds, running.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def test_p12_a_program_without_memory_halts_or_dies_and_the_next_start_knows_everything(tmp_path: Path) -> None:
    folder = tmp_path / "strategies"
    folder.mkdir(mode=0o700)
    (folder / "leak.py").write_text(LEAK)
    works = ("--strategy", "dyn_grid:btc:base_amount=200,max_inventory=1000", "--strategy", "leak:eth")
    with begin(tmp_path, *works) as running, at_most(running, LIMIT_S):
        assert running.stdout is not None
        resting: set[str] = set()
        while len(resting) < 2:
            event = json.loads(running.stdout.readline())
            if event["type"] == "order" and event["state"] == "open":
                resting.add(event["id"])
        status = Path(f"/proc/{running.pid}/status").read_text()
        limit = (int(re.findall(r"VmSize:\s+(\d+) kB", status)[0]) << 10) + SPARE
        resource.prlimit(running.pid, resource.RLIMIT_AS, (limit, limit))
        said = [line for line in running.stdout if take(running, line)]
        err = running.stderr.read() if running.stderr is not None else b""
    died = running.returncode != 0
    assert died or any(b"MemoryError" in line or b"out of memory" in line for line in said), "the fault did not happen"
    if not died:
        assert b"Traceback" not in err and json.loads(said[-1])["adds_up"] is True
    with begin(tmp_path, "--for", "2s") as again, at_most(again, LIMIT_S):
        out, err = again.communicate()
    assert again.returncode == 0, err.decode()
    stopped, summary = (json.loads(line) for line in out.splitlines()[-2:])
    assert summary["adds_up"] is True
    assert set(stopped["kept"]) == resting or b'"halted"' in out, out


def take(running: subprocess.Popen[bytes], line: bytes) -> bytes:
    """Ask a program that told of the fault to end; returns its line."""
    if b"MemoryError" in line or b"out of memory" in line:
        running.send_signal(signal.SIGTERM)
    return line
