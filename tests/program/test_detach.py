"""The screen goes and comes back; the engine never notices."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import pytest

from engine.boot.control import Nothing, Status
from engine.io.control_client import ControlClient
from tests.program.terminal import KEYS, Terminal

pytestmark = pytest.mark.pty
Start = Callable[..., Terminal]
DETACH = "console:\n  on_terminal_lost: detach\n"
GAP_S = 0.25
"""The longest the engine may take for something else than its own work."""


class Pulse(Thread):
    """Asks the engine for its status all the time: the longest answer is the longest gap in its loop.

    What the engine or this thread waited for a core does not count: other work on this machine took it.

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
                began, waited = time.monotonic(), self._waited(client.hello.pid)
                (self.last,) = client.ask("status", Nothing(), Status, 10)
                self.gaps.append(time.monotonic() - began - (self._waited(client.hello.pid) - waited))

    def _waited(self, pid: int) -> float:
        """Return for how long engine and this thread have waited for a core, seconds."""
        tasks = (Path(f"/proc/{pid}/task/{pid}/schedstat"), Path("/proc/thread-self/schedstat"))
        return sum(int(task.read_text().split()[1]) for task in tasks) / 1e9

    def stop(self) -> float:
        """Return the longest gap but for one in a thousand."""
        self._over.set()
        self.join(15)
        assert len(self.gaps) > 20
        return sorted(self.gaps)[int(len(self.gaps) * 0.999)]


@contextmanager
def pulse(config: Path) -> Iterator[None]:
    """Hold that the engine is never held up inside the block."""
    measured = Pulse(config / "state")
    measured.start()
    try:
        yield
    finally:
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
    except (FileNotFoundError, ProcessLookupError):  # the second when it ends while it is read
        return False


def holds_a_terminal(pid: int) -> bool:
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            links.append(os.readlink(entry))
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


def test_the_panic_key_counts_before_anything_shows(start: Start, tmp_path: Path) -> None:
    first = start()
    first.arm()
    first.order("buy 500$ btc @ best -0.45%")
    first.wait_for("ORDERS 1")
    first.press("ctrl+d")
    assert first.finish() == 0
    again = attach(start, tmp_path)
    again.send(KEYS["f9"].encode())
    again.wait_for("HALTED")
    again.wait_for("ORDERS 0")
    again.leave()
    afresh = start(ready=False)
    afresh.wait_for("HALTED")
    afresh.press(*"A")
    afresh.command("rearm 0 tried")
    afresh.enter()
    afresh.wait_for(" ARMED")
    afresh.leave()
    last = start(ready=False)
    last.send(KEYS["f9"].encode())
    last.wait_for("HALTED")


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


def test_attach_takes_over_and_the_other_terminal_is_restored_and_told(start: Start, tmp_path: Path) -> None:
    first = start()
    with pulse(tmp_path):
        second = attach(start, tmp_path)
        second.wait_for("LADDER BTC-PERP")
        assert first.finish() == 0
        assert first.terminal_restored
        assert "taken over by attach from /dev/pts/" in first.text
        third, fourth = attach(start, tmp_path), attach(start, tmp_path)
        second.finish()
        wait_until(
            lambda: (
                (third.pump(0.05), fourth.pump(0.05), third.process.poll(), fourth.process.poll())[2:] != (None, None)
            )
        )
    left, gone = (third, fourth) if third.process.poll() is None else (fourth, third)
    assert gone.finish() == 0 and gone.terminal_restored
    left.wait_for("LADDER BTC-PERP")
    left.resize(80, 24)
    left.wait_for(lambda: left.lines[0].strip().startswith("PAPER") and "LADDER" in left.lines[1])
    left.leave()


def test_p06_a_stalled_terminal_holds_nothing_up_and_can_be_taken_over(start: Start, tmp_path: Path) -> None:
    first = start()
    with pulse(tmp_path):
        Event().wait(8)  # nobody reads: the client is frozen
        second = attach(start, tmp_path)
        second.wait_for("LADDER BTC-PERP")
        assert first.finish() == 0 and first.terminal_restored
        assert "taken over by attach" in first.text
        Event().wait(3)
        second.wait_for("LADDER BTC-PERP")
        second.press("6")
        second.wait_for("ORDERS")


def test_p09_the_process_in_front_stops_and_the_engine_does_not(start: Start, tmp_path: Path) -> None:
    start().press("ctrl+d")
    client = attach(start, tmp_path)
    client.wait_for("LADDER BTC-PERP")
    resident = lambda: int(Path(f"/proc/{client.engine}/statm").read_text().split()[1])  # noqa: E731
    with pulse(tmp_path):
        before = resident()
        client.signal(signal.SIGSTOP)
        Event().wait(5)
        assert resident() - before < 3000, "pages"
        client.signal(signal.SIGCONT)
        client.press("6")
        client.wait_for("ORDERS")


def test_a_killed_client_is_a_lost_terminal_and_a_killed_front_is_the_end(start: Start, tmp_path: Path) -> None:
    (tmp_path / "ctos.yaml").write_text(DETACH)
    first = start()
    engine = first.engine
    client = attach(start, tmp_path)
    client.wait_for("LADDER BTC-PERP")
    client.signal(signal.SIGKILL)
    wait_until(lambda: not holds_a_terminal(engine), 5)
    assert is_alive(engine)
    again = attach(start, tmp_path)
    again.wait_for("LADDER BTC-PERP")
    again.signal(signal.SIGTERM)
    assert again.finish() == 0 and again.terminal_restored
    assert is_alive(engine)
    os.kill(engine, signal.SIGTERM)
    wait_until(lambda: not is_alive(engine))
    whole = start()
    whole.signal(signal.SIGKILL)
    wait_until(lambda: not is_alive(whole.engine), 3)


def test_a_killed_engine_leaves_the_terminal_usable(start: Start) -> None:
    first = start()
    os.kill(first.engine, signal.SIGKILL)
    assert first.finish() == 128 + signal.SIGKILL
    assert first.terminal_restored
    assert "the program was ended by SIGKILL" in first.text


def test_attach_says_why_it_cannot(start: Start, tmp_path: Path) -> None:
    nobody = attach(start, tmp_path)
    assert nobody.finish() == 1
    assert "nothing to attach to; start it with: ctos-tui" in nobody.text.replace("\n", "")
    start()
    other = start(ready=False, command=("attach", "--config", str(tmp_path), "--account", "7"))
    assert other.finish() == 2
    dumb = attach(start, tmp_path, environment={"TERM": "dumb"})
    assert dumb.finish() == 2 and "TERM='dumb'" in dumb.text


def test_attach_to_a_run_without_a_screen(start: Start, tmp_path: Path) -> None:
    run = start(ready=False, command=("run", "--config", str(tmp_path), "--market", "synthetic:3"))
    wait_until(lambda: (run.pump(0.05), (tmp_path / "state" / "control.sock").exists())[1])
    wait_until(lambda: (run.pump(0.05), '"armed"' in run.text)[1])
    with pulse(tmp_path):
        client = attach(start, tmp_path)
        client.wait_for("LADDER BTC-PERP", 20)
        client.command("run dyn_grid btc base_amount=200 max_inventory=1000 as g1")
        client.wait_for("ORDERS 2")
        client.press("ctrl+d")
        assert client.finish() == 0
    run.wait_for('"g1"')
    again = attach(start, tmp_path)
    again.wait_for("ORDERS 2")
    run.signal(signal.SIGTERM)
    assert again.finish() == 0
    assert "stopped with on_stop: keep" in again.text and again.terminal_restored
    assert run.finish() == 0
    assert '"type": "summary"' in run.text.replace("\n", "")


def test_two_attach_at_once_leave_a_working_console_and_the_engine(start: Start, tmp_path: Path) -> None:
    options = ("--exchange", "okx", "--market", "synthetic:3")
    run = start(ready=False, command=("run", "--config", str(tmp_path), *options))
    wait_until(lambda: (run.pump(0.05), '"armed"' in run.text)[1], 20)
    both = [attach(start, tmp_path), attach(start, tmp_path)]  # neither names the account: the one that runs is meant

    def one_has_left() -> bool:
        for terminal in both:
            terminal.pump(0.05)
        return any(terminal.process.poll() is not None for terminal in both)

    wait_until(one_has_left, 30)
    left, gone = both if both[0].process.poll() is None else both[::-1]
    assert gone.finish() == 0 and gone.terminal_restored
    assert "taken over by attach" in gone.text
    left.wait_for("LADDER BTC-PERP", 20)
    left.press("6")
    left.wait_for("ORDERS 0")
    left.press("ctrl+d")
    assert left.finish() == 0 and left.terminal_restored
    assert run.process.poll() is None and is_alive(run.engine)
    assert "failed" not in run.text
    run.signal(signal.SIGTERM)
    assert run.finish(20) == 0
