"""`ctos-tui run` in real time, with no screen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.program.terminal import ROOT

pytestmark = pytest.mark.pty


def begin(config: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ctos_tui", "run", "--config", str(config), "--market", "synthetic:3", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def test_it_runs_for_so_long_and_sums_up(tmp_path: Path) -> None:
    began = time.monotonic()
    with begin(tmp_path, "--for", "3s", "--strategy", "dyn_grid:btc:base_amount=200,max_inventory=1000") as running:
        out, err = running.communicate(timeout=20)
    assert running.returncode == 0, err.decode()
    assert 3 <= time.monotonic() - began < 9
    events = [json.loads(line) for line in out.splitlines()]
    assert events[-1]["type"] == "summary"
    assert events[-1]["adds_up"] is True
    assert {"order"} <= {event["type"] for event in events}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it_with_the_summary(tmp_path: Path, number: signal.Signals) -> None:
    with begin(tmp_path, "--strategy", "dyn_grid:btc:base_amount=200,max_inventory=1000") as running:
        assert running.stdout is not None
        first = running.stdout.readline()
        running.send_signal(number)
        out, err = running.communicate(timeout=5)
    assert running.returncode == 0, err.decode()
    events = [json.loads(line) for line in (first + out).splitlines()]
    assert events[-1]["type"] == "summary"
    assert b"Traceback" not in err


UNDEAD = """
import asyncio
from decimal import Decimal

from engine.kernel.strategy import Params, Strategy


class Undead(Strategy[Params]):
    name = "undead"
    title = "Does not end"
    params_model = Params

    def on_start(self, reason):
        self.task = asyncio.get_running_loop().create_task(self.haunt())

    async def haunt(self):
        while True:
            try:
                await asyncio.sleep(0.01)
                self.ctx.buy("BTC-USDT-PERP", amount=Decimal(50))
            except BaseException as error:
                print(f"refused: {error!r}", flush=True)
"""


def test_s06_a_task_that_swallows_its_cancellation_keeps_neither_trading_nor_the_program_alive(tmp_path: Path) -> None:
    folder = tmp_path / "strategies"
    folder.mkdir(mode=0o700)
    (folder / "undead.py").write_text(UNDEAD)
    with begin(tmp_path, "--strategy", "undead:btc") as running:
        assert running.stdout is not None
        while b'"state": "running"' not in running.stdout.readline():
            pass
        running.send_signal(signal.SIGTERM)
        try:
            out, err = running.communicate(timeout=15)
        finally:
            running.kill()
    assert running.returncode == 0, err.decode()
    assert b"Undead.haunt" in err and b"does not end when it is cancelled, and is left behind" in err
    assert b"Traceback" not in err
    after = out.partition(b'"type": "stopped"')[2]
    assert b'"type": "order"' not in after and b"refused: CancelledError()" in after
