"""The screen goes and comes back; the engine never notices."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from engine.boot.control import Nothing, Status
from engine.io.control_client import ControlClient
from tests.program.terminal import Terminal

pytestmark = pytest.mark.pty
Start = Callable[..., Terminal]
DETACH = "console:\n  on_terminal_lost: detach\n"
GAP_S = 0.25
"""The longest the engine may take for something else than its own work."""


class Pulse(Thread):
    """Asks the engine for its status all the time: the longest answer is the longest gap in its loop.

    Args:
        folder: Its state folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self._folder = folder
        self._over = Event()
        self.gaps: list[float] = []
        self.last: Status | None = None

    def run(self) -> None:
        with ControlClient(self._folder) as client:
            while not self._over.wait(0.01):
                began = time.monotonic()
                (self.last,) = client.ask("status", Nothing(), Status, 10)
                self.gaps.append(time.monotonic() - began)

    def stop(self) -> float:
        """Return the longest gap."""
        self._over.set()
        self.join(15)
        assert len(self.gaps) > 20
        return max(self.gaps)


@contextmanager
def pulse(config: Path) -> Iterator[None]:
    """Hold that the engine is never held up inside the block."""
    measured = Pulse(config / "state")
    measured.start()
    yield
    longest = measured.stop()
    assert longest <= GAP_S, f"the engine stood still for {longest:.3f} s"


def attach(start: Start, config: Path, **options: object) -> Terminal:
    return start(ready=False, command=("attach", "--config", str(config)), **options)


def cpu_share(pid: int, seconds: float = 1.5) -> float:
    """Return which share of a core a process uses."""

    def used() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = used()
    Event().wait(seconds)
    return (used() - before) / seconds


def wait_until(true: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        Event().wait(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def holds_a_terminal(pid: int) -> bool:
    links = (os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir())
    return any(link.startswith(("/dev/pts", "/dev/tty")) for link in links)


def test_the_detach_key_gives_the_shell_back_and_attach_brings_the_desk_back(start: Start, tmp_path: Path) -> None:
    first = start()
    first.arm()
    first.order("buy 500$ btc @ best -0.45%")
    first.wait_for("ORDERS 1")
    first.command("go eth")
    first.wait_for("LADDER ETH-PERP")
    engine = first.engine
    assert engine != first.process.pid
    with pulse(tmp_path):
        first.press("ctrl+d")
        assert first.finish() == 0
        assert first.terminal_restored
        assert f"detached: the engine goes on as pid {engine}; bring it back with: ctos-tui attach --config" in (
            first.text.replace("\n", "")
        )
        assert is_alive(engine) and not holds_a_terminal(engine)
        again = attach(start, tmp_path, size=(80, 24))
        again.wait_for("LADDER ETH-PERP")
        again.press("6")
        again.wait_for(r"#1 +BTC-PERP B")
        again.wait_for(" ARMED")
    again.command("x #1")
    again.wait_for("ORDERS 0")
    again.command("detach")
    assert again.finish() == 0 and again.terminal_restored
    assert is_alive(engine)
    last = attach(start, tmp_path)
    last.wait_for("LADDER ETH-PERP")
    last.leave()
    wait_until(lambda: not is_alive(engine))


@pytest.mark.parametrize("nohup", [False, True], ids=["default", "nohup"])
def test_p05_a_dropped_connection_takes_the_screen_and_nothing_else(start: Start, tmp_path: Path, nohup: bool) -> None:
    (tmp_path / "ctos.yaml").write_text(DETACH)
    first = start(ignore_hangup=nohup)
    engine, front = first.engine, first.process.pid
    with pulse(tmp_path):
        first.pump(0.5)
        first.hang_up()
        wait_until(lambda: not holds_a_terminal(engine), 2)
        wait_until(lambda: not holds_a_terminal(front), 2)
        assert cpu_share(front) < 0.02
        attach(start, tmp_path).wait_for("LADDER BTC-PERP")
    assert is_alive(front), "the process that people know stays"
    os.kill(front, signal.SIGTERM)
    assert first.finish() == 0
    assert not is_alive(engine)


def test_p05_without_a_screen_the_engine_does_not_spin(start: Start, tmp_path: Path) -> None:
    (tmp_path / "ctos.yaml").write_text(DETACH)
    first = start()
    shown = cpu_share(first.engine)
    engine = first.engine
    first.hang_up()
    wait_until(lambda: not holds_a_terminal(engine), 2)
    assert cpu_share(engine) < min(0.3, shown + 0.05)


def test_p05_the_stop_policy_ends_the_program_in_good_order(start: Start, tmp_path: Path) -> None:
    (tmp_path / "ctos.yaml").write_text("console:\n  on_terminal_lost: stop\n")
    first = start()
    engine = first.engine
    first.hang_up()
    assert first.finish(5) == 0
    assert not is_alive(engine)
    assert not (tmp_path / "state" / "control.sock").exists()
