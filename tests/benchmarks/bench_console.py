"""The whole console under load in a pseudo-terminal of 120x40: lag, keys, CPU, bytes, slow terminals, start, memory.

The market is made beforehand and played at 10,000 events a second on the engine's own loop; the floor is the same
engine under the same market with no screen. This process is the terminal: it reads, types and answers.
"""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import pty
import random
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from drivers.paper.markets.synthetic import SyntheticMarket
from tests.benchmarks.console_child import BOOKS, SEED, START_NS, WARM_S, WINDOW_S, undisturbed
from tests.benchmarks.table import Table

ROOT = Path(__file__).resolve().parents[2]
CHILD = Path(__file__).with_name("console_child.py")
COLUMNS, LINES = 120, 40
RATE = 10_000
SECONDS = int(WARM_S + WINDOW_S + 6)
STARTS = 9
KEYS = (b"\x1b[A", b"\x1b[B")
pytestmark = [pytest.mark.bench, pytest.mark.pty]


@dataclass(slots=True)
class Terminal:
    """A program in a pseudo-terminal and what was read from it.

    Attributes:
        received: (time, bytes) of each read.
        pressed: When keys were sent.
    """

    process: subprocess.Popen[bytes]
    master: int
    began: float
    received: list[tuple[float, int]] = field(default_factory=list)
    pressed: list[float] = field(default_factory=list)
    shown: bytes = b""

    def read(self, seconds: float, rate: int | None = None, until: Callable[[], bool] = lambda: False) -> None:
        """Read for so long, at most `rate` bytes a second, answering what a terminal answers."""
        began, got = time.monotonic(), 0
        while (now := time.monotonic()) < began + seconds and not until():
            if rate is not None and got > rate * (now - began):
                select.select([], [], [], 0.02)
                continue
            if not select.select([self.master], [], [], 0.02)[0]:
                continue
            try:
                data = os.read(self.master, 512 if rate else 65536)
            except OSError:
                return
            got += len(data)
            self.received.append((time.monotonic(), len(data)))
            self.shown = (self.shown + data)[-200_000:]
            if b"\x1b[6n" in data:
                os.write(self.master, b"\x1b[1;1R")

    def shows_desk(self) -> bool:
        """Tell whether the desk has been painted."""
        return b"LADDER" in self.shown

    def press(self, key: bytes) -> None:
        """Send a key."""
        self.pressed.append(time.monotonic())
        os.write(self.master, key)

    def finish(self) -> None:
        """Read on until the program has ended."""
        self.read(30, until=lambda: self.process.poll() is not None)
        os.close(self.master)
        assert self.process.wait(timeout=1) == 0, self.shown[-3000:]


def resident_kb(front: int) -> int:
    """Return the memory of a console, the process in front of it included."""
    behind = Path(f"/proc/{front}/task/{front}/children").read_text().split()
    found = [Path(f"/proc/{pid}/status").read_text() for pid in (front, *behind)]
    return sum(int(line.split()[1]) for text in found for line in text.splitlines() if line.startswith("VmRSS:"))


def take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    undisturbed()


def open_terminal(arguments: list[str]) -> Terminal:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": str(ROOT)}
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
        start_new_session=True,
        preexec_fn=take_terminal,
        cwd=ROOT,
    )
    os.close(slave)
    return Terminal(process, master, began)


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file of timed events at the wanted rate."""
    market = SyntheticMarket(SEED, START_NS, rate=RATE)
    batches = []
    while (due := market.next_event_ns()) is not None and due < START_NS + SECONDS * 1_000_000_000:
        batches.append((due, list(market.step())))
    path = tmp_path_factory.mktemp("events") / "events.pickle"
    path.write_bytes(pickle.dumps(batches))
    count = sum(len(batch) for _, batch in batches)
    assert count >= RATE * SECONDS * 0.95
    yield path


def engine_alone(events: Path, folder: Path) -> dict[str, Any]:
    """The same system and market with no screen."""
    report = folder / "engine.json"
    command = [sys.executable, str(CHILD), "engine", str(events), str(report), str(folder / "engine")]
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=120)
    result: dict[str, Any] = json.loads(report.read_text())
    return result


def console(events: Path, folder: Path, use: Callable[[Terminal], None]) -> tuple[dict[str, Any], Terminal]:
    """The console under load; `use` reads and types while the window lasts."""
    report = folder / "console.json"
    terminal = open_terminal([str(CHILD), "console", str(events), str(report), str(folder / "console")])
    began = report.with_suffix(".began")
    terminal.read(60, until=lambda: began.exists() or terminal.process.poll() is not None)
    assert began.exists(), terminal.shown[-3000:]
    terminal.received.clear()
    use(terminal)
    terminal.finish()
    return json.loads(report.read_text()), terminal


def part(values: list[float], share: float) -> float:
    """The value below which `share` of the values lie, in ms."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] * 1000


def type_and_read(terminal: Terminal) -> None:
    rng = random.Random(5)
    end = time.monotonic() + WINDOW_S - 0.5
    number = 0
    while time.monotonic() < end:
        terminal.press(KEYS[number // 5 % 2])
        number += 1
        terminal.read(rng.uniform(0.05, 0.14))


def test_under_load(events: Path, tmp_path: Path, table: Table) -> None:
    floor = engine_alone(events, tmp_path)
    result, terminal = console(events, tmp_path, type_and_read)
    assert len(result["keys"]) == len(terminal.pressed)
    waits = [taken - sent for sent, taken in zip(terminal.pressed, result["keys"], strict=True)]
    assert result["played"] >= RATE * WINDOW_S * 0.95
    began = terminal.received[0][0]
    rate = sum(size for at, size in terminal.received if at <= began + WINDOW_S - 1) / (WINDOW_S - 1)
    lag, alone = result["lags"], floor["lags"]
    results = [
        ("console 120x40, 10,000 events/s: loop lag p99", part(lag, 0.99), 5.0, part(alone, 0.99)),
        ("  key to handler, p99", part(waits, 0.99), 10.0, None),
    ]
    table.note("  loop lag max", f"{max(lag) * 1000:.1f} ms", f"{max(alone) * 1000:.1f} ms")
    for what, value, most, base in results:
        table.add(what, f"{value:.1f} ms", f"<= {most:g} ms", value <= most, "" if base is None else f"{base:.1f} ms")
    beyond = result["cpu"] - floor["cpu"]
    table.add(
        "  CPU beyond the engine and its market", f"{beyond:.0%}", "<= 30 %", beyond <= 0.30, f"{floor['cpu']:.0%}"
    )
    table.add("  bytes to the terminal", f"{rate / 1000:.0f} kB/s", "<= 125 kB/s", rate <= 125_000)


def stall(terminal: Terminal) -> None:
    terminal.read(2)
    time.sleep(3)
    terminal.read(WINDOW_S - 5.5)


def test_stalled_terminal(events: Path, tmp_path: Path, table: Table) -> None:
    result, _ = console(events, tmp_path, stall)
    worst = max(result["lags"]) * 1000
    table.add("terminal unread for 3 s: loop lag max", f"{worst:.1f} ms", "<= 10 ms", worst <= 10)


def test_slow_terminal(events: Path, tmp_path: Path, table: Table) -> None:
    result, _ = console(events, tmp_path, lambda terminal: terminal.read(WINDOW_S - 0.5, rate=10_000))
    worst = max(result["lags"]) * 1000
    table.add("terminal at 10 kB/s: loop lag max", f"{worst:.1f} ms", "<= 10 ms", worst <= 10)


def configured(folder: Path) -> Path:
    """A configuration folder whose watch list holds 20 books."""
    folder.mkdir()
    symbols = [instrument.symbol for instrument in SyntheticMarket(SEED, START_NS).instruments()[:BOOKS]]
    (folder / "ctos.yaml").write_text("console:\n  watchlist: [" + ", ".join(symbols) + "]\n")
    return folder


def test_start_and_memory(tmp_path: Path, table: Table) -> None:
    """The program as it is typed, its modules compiled before: time until the desk is painted, then its memory.

    A start is the same work each time, so the quickest is the one that the machine disturbed least.
    """
    config = configured(tmp_path / "config")
    seconds, memory = [], 0
    for number in range(STARTS + 1):
        terminal = open_terminal(["-m", "ctos_tui", "--config", str(config)])
        terminal.read(30, until=terminal.shows_desk)
        if number:
            seconds.append(terminal.received[-1][0] - terminal.began)
        if number == STARTS:
            terminal.read(5)
            memory = resident_kb(terminal.process.pid)
        terminal.process.send_signal(signal.SIGTERM)
        terminal.finish()
    floor = [start_of_python() for _ in range(STARTS)]
    table.add(
        f"start to first frame, warm cache, quickest of {STARTS}, median {median(seconds) * 1000:.0f} ms",
        f"{min(seconds) * 1000:.0f} ms",
        "<= 400 ms",
        min(seconds) <= 0.4,
        f"{min(floor) * 1000:.0f} ms",
        min(seconds) / min(floor),
    )
    table.add("memory of the console with 20 books", f"{memory / 1000:.0f} MB", "<= 200 MB", memory <= 200_000)


def start_of_python() -> float:
    """How long a process takes that only imports Textual's app: the floor of every start."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import textual.app"], check=True, preexec_fn=undisturbed)
    return time.monotonic() - began
