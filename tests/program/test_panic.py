"""`ctos-tui panic` from another process: on one that runs, one that is frozen, and after one that was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.program.terminal import ROOT

GRID = "dyn_grid:btc:base_amount=200,max_inventory=1000"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


class Run:
    """`ctos-tui run` with what it tells, line by line."""

    def __init__(self, config: Path, *options: str) -> None:
        self.events: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ctos_tui", "run", "--config", str(config), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.events.append(json.loads(line))
                self._news.notify_all()

    def until(self, is_so: Callable[[list[dict[str, Any]]], bool]) -> None:
        with self._news:
            assert self._news.wait_for(lambda: is_so(self.events), 20), self.events[-3:]

    def end(self, number: int = signal.SIGTERM) -> str:
        self.process.send_signal(number)
        error = self.process.stderr.read() if self.process.stderr is not None else ""
        self.process.wait(20)
        self._reader.join()
        return error


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "ctos.yaml").write_text("market: synthetic:3\n")
    return tmp_path


@pytest.fixture
def run(config: Path) -> Iterator[Callable[..., Run]]:
    started: list[Run] = []

    def begin(*options: str) -> Run:
        started.append(Run(config, *options))
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)


def ctos(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ctos_tui", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=ENVIRONMENT)


def resting(events: list[dict[str, Any]]) -> set[str]:
    """Ids of the orders that rest, by what was told of them last."""
    last = {event["id"]: event["state"] for event in events if event["type"] == "order"}
    return {name for name, state in last.items() if state in ("open", "partial")}


def is_halted(events: list[dict[str, Any]]) -> bool:
    return [event["state"] for event in events if event["type"] == "trading"][-1:] == ["halted"]


def test_panic_halts_a_running_engine_and_the_halt_outlives_it(config: Path, run: Callable[..., Run]) -> None:
    first = run("--strategy", GRID)
    first.until(lambda events: len(resting(events)) == 2)
    done = ctos("panic", "--config", str(config), "--reason", "looks odd")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert f"pid {first.process.pid}" in lines[0]
    assert "looks odd" in lines[1]
    assert lines[-1] == "confirmed: none of our orders rests at paper, looked at twice; 2 cancelled"
    first.until(is_halted)
    assert not resting(first.events)
    assert ctos("call", "--config", str(config), "get_open_orders").stdout == "[]\n"
    assert "Traceback" not in first.end()
    assert first.process.returncode == 0

    again = run("--strategy", GRID)
    again.until(lambda events: any("it runs halted until a person rearms it" in str(event) for event in events))
    text = next(event["text"] for event in again.events if "it runs halted" in event.get("text", ""))
    assert "looks odd" in text and "by ctos-tui panic" in text
    assert not [event for event in again.events if event["type"] == "order"]
    order = ("symbol=btc", "side=buy", "order_type=limit", "size=0.01", "price=60000")
    refused = ctos("call", "--config", str(config), "place_order", *order)
    assert refused.returncode == 1
    assert "TradingHalted" in refused.stderr
    again.end()


def test_a_frozen_engine_is_halted_when_it_wakes(config: Path, run: Callable[..., Run]) -> None:
    frozen = run("--strategy", GRID)
    frozen.until(lambda events: len(resting(events)) == 2)
    os.kill(frozen.process.pid, signal.SIGSTOP)
    done = ctos("panic", "--config", str(config))
    os.kill(frozen.process.pid, signal.SIGCONT)
    assert (done.returncode, done.stderr) == (1, "")
    assert f"process {frozen.process.pid} holds {config / 'state'} and does not answer within 2 s" in done.stdout
    assert "NOTHING IS CONFIRMED" in done.stdout
    frozen.until(lambda events: is_halted(events) and not resting(events))
    frozen.end()


def test_p17_after_kill_9_panic_cancels_what_the_dead_engine_left(config: Path, run: Callable[..., Run]) -> None:
    dead = run("--strategy", GRID)
    dead.until(lambda events: len(resting(events)) == 2)
    dead.end(signal.SIGKILL)
    state = config / "state"
    assert (state / "control.sock").exists() and (state / "ctos.lock").read_text()
    done = ctos("panic", "--config", str(config), "--reason", "it died")
    assert (done.returncode, done.stderr) == (0, "")
    assert "no engine runs" in done.stdout
    assert "2 of 2 orders cancelled" in done.stdout
    assert not (state / "control.sock").exists() and not list(state.glob("KILL*"))
    assert ctos("call", "--config", str(config), "get_open_orders").stdout == "[]\n"
    again = run()
    again.until(lambda events: any("it died" in str(event) and "runs halted" in str(event) for event in events))
    again.end()


def test_panic_means_the_account_that_runs_unless_another_is_named(config: Path, run: Callable[..., Run]) -> None:
    running = run()
    running.until(lambda events: any(event["type"] == "trading" for event in events))
    other = ctos("panic", "--config", str(config), "--exchange", "okx")
    assert other.returncode == 2
    assert f"pid {running.process.pid}" in other.stderr
    assert "account okx:paper does not run" in other.stderr
    assert not is_halted(running.events)
    assert not list((config / "state").glob("KILL*"))
    running.end()


def test_p17_an_engine_that_dies_in_the_middle_of_a_panic_is_replaced(config: Path, run: Callable[..., Run]) -> None:
    dying = run("--strategy", GRID)
    dying.until(lambda events: len(resting(events)) == 2)
    command = [sys.executable, "-m", "ctos_tui", "panic", "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as panic:
        assert panic.stdout is not None
        assert "halting run of" in panic.stdout.readline()
        assert "gate closed" in panic.stdout.readline()
        dying.end(signal.SIGKILL)
        out, error = panic.communicate(timeout=60)
    assert (panic.returncode, error) == (0, "")
    assert "ended the connection before the venue had confirmed; once more" in out
    assert "no engine runs" in out
    assert out.splitlines()[-1].startswith("confirmed: none of our orders rests")
    assert ctos("call", "--config", str(config), "get_open_orders").stdout == "[]\n"
