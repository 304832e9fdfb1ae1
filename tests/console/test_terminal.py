from __future__ import annotations

import asyncio
import contextlib
import fcntl
import inspect
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import pyte
import pytest
from textual.app import App
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.widget import Widget

from ctos_tui.terminal.app import TerminalApp
from ctos_tui.terminal.check import terminal_problem
from ctos_tui.terminal.device import TerminalDevice
from ctos_tui.terminal.driver import PacedDriver, TerminalUser
from ctos_tui.terminal.link import LinkMeter
from ctos_tui.terminal.writer import LIMIT, PacedWriter
from ctos_tui.theme import load_theme

ROOT = Path(__file__).resolve().parents[2]
CHILD = Path(__file__).with_name("terminal_child.py")
COLUMNS, LINES = 120, 40


class Session:
    """The program in a pseudo-terminal, and the person's side of it."""

    def __init__(self, report: Path, ignore_hangup: bool) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self.report = report
        self.screen = pyte.Screen(COLUMNS, LINES)
        self.stream = pyte.ByteStream(self.screen)
        self.seen = b""

        def take_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if ignore_hangup:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)

        environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "PYTHONPATH": str(ROOT),
        }
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), str(report)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            preexec_fn=take_terminal,
            cwd=ROOT,
        )
        os.close(slave)

    def read(self, seconds: float, rate: int | None = None, until: bytes = b"") -> bytes:
        """Read for so long, at most so many bytes a second, or until something comes."""
        got = b""
        end = time.monotonic() + seconds
        began = time.monotonic()
        while (now := time.monotonic()) < end:
            if rate is not None and len(got) > rate * (now - began):
                select.select([], [], [], 0.01)
                continue
            if not select.select([self.master], [], [], min(0.05, end - now))[0]:
                continue
            try:
                data = os.read(self.master, 512 if rate else 65536)
            except OSError:
                break
            got += data
            self.seen += data
            # pyte takes private-use sequences of the kitty protocol for text.
            self.stream.feed(re.sub(rb"\x1b\[[<>=?][0-9;]*u|\x1b\[\?[0-9;]*\$p", b"", data))
            if b"\x1b[6n" in data:
                os.write(self.master, b"\x1b[1;1R")
            if until and until in got:
                break
        return got

    def pause(self, seconds: float) -> None:
        """Leave the terminal unread, as a frozen ssh client does."""
        threading.Event().wait(seconds)

    def keys(self, text: bytes) -> None:
        os.write(self.master, text)

    def finish(self, seconds: float = 20) -> dict:
        """Read on until the program has ended, and give its report."""
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            self.read(0.2)
        assert self.process.wait(timeout=1) == 0, self.seen[-2000:]
        return json.loads(self.report.read_text())


@pytest.fixture
def session(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Session]:
    running = Session(tmp_path / "report.json", ignore_hangup=getattr(request, "param", False))
    running.read(20, until=b"n0000")
    yield running
    if running.process.poll() is None:
        running.process.kill()
    running.process.wait()
    with contextlib.suppress(OSError):
        os.close(running.master)


def counts(output: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"n(\d{6}) ", output)]


def shown_counts(screen: pyte.Screen) -> set[int]:
    body = "\n".join(screen.display[1 : LINES - 1])
    return {int(found) for found in re.findall(r"n(\d{6}) ", body)}


@pytest.mark.pty
def test_a_stalled_terminal_stops_nothing_and_the_next_frame_is_current(session: Session) -> None:
    session.read(1.0)
    session.pause(3.0)
    after = session.read(2.0)
    numbers = sorted(set(counts(after)))
    jumps = [later - earlier for earlier, later in pairwise(numbers)]
    # 3 s are 150 counts: what was painted before the stall is followed by the present, with nothing between.
    assert max(jumps) > 100
    session.keys(b"q")
    on_screen: list[set[int]] = []
    while session.process.poll() is None:
        if b"\x1b[?1049l" in session.read(0.1):
            break
        on_screen.append(shown_counts(session.screen))
    report = session.finish()
    assert on_screen[-1] == {report["count"]}, "every row shows the last state"
    assert report["closings"] >= 1
    assert report["staleness"] == [0], "the frame after the stall shows the present"
    assert report["worst_lag"] < 0.25 and report["longest_gap"] < 0.3
    assert report["lost"] == []


@pytest.mark.pty
def test_a_resize_during_a_stall_leaves_nothing_of_the_old_size(session: Session) -> None:
    session.pause(1.0)
    fcntl.ioctl(session.master, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    session.pause(1.0)
    session.screen.resize(30, 100)
    session.screen.reset()  # nothing of the old size may be relied upon
    session.read(2.0)
    session.keys(b"q")
    while session.process.poll() is None and b"\x1b[?1049l" not in session.read(0.1):
        shown = list(session.screen.display)
    report = session.finish()
    assert shown[0].startswith(" NUMBERS")
    words = 98 // 8
    expected = " " + f"n{report['count']:06d} " * words
    assert [line.rstrip() for line in shown[1:29]] == [expected.rstrip()] * 28
    assert shown[29].rstrip() == "STILL"
    assert report["closings"] >= 1


@pytest.mark.pty
def test_a_slow_terminal_lowers_the_rate_and_stays_current(session: Session) -> None:
    session.read(6.0, rate=10_000)
    session.keys(b"q")
    session.read(1.0, rate=10_000)
    report = session.finish()
    assert report["fps"] <= 5
    assert report["worst_lag"] < 0.25 and report["longest_gap"] < 0.3


@pytest.mark.pty
@pytest.mark.parametrize("session", [False, True], indirect=True, ids=["hangup", "nohup"])
def test_a_lost_terminal_is_noticed_once_without_spinning(session: Session) -> None:
    session.read(0.5)
    os.close(session.master)
    assert session.process.wait(timeout=10) == 0
    report = json.loads(session.report.read_text())
    assert len(report["lost"]) == 1
    assert report["beats_after_exit"] > 20
    assert report["cpu_after_exit"] < 0.3
    assert report["longest_gap"] < 0.6
    assert "ctos-input" not in report["threads"] and "ctos-output" not in report["threads"]


@pytest.mark.pty
def test_control_z_is_a_key_and_a_stop_signal_from_a_shell_does_not_stop(session: Session) -> None:
    session.keys(b"\x1a")
    os.kill(session.process.pid, signal.SIGTSTP)
    before = max(counts(session.read(0.5)))
    assert max(counts(session.read(1.0))) > before
    session.keys(b"q")
    assert session.finish()["keys"] == ["ctrl+z", "q"]


@pytest.mark.pty
def test_after_a_stop_and_continue_the_screen_is_set_up_and_painted_again(session: Session) -> None:
    session.read(0.5)
    os.kill(session.process.pid, signal.SIGSTOP)
    session.read(0.3)
    os.kill(session.process.pid, signal.SIGCONT)
    again = session.read(1.5)
    assert b"\x1b[?1049h" in again and b"NUMBERS" in again
    session.keys(b"q")
    report = session.finish()
    assert report["lost"] == []
    assert report["threads"] == ["MainThread"]


@pytest.mark.pty
def test_the_terminal_is_given_back_and_the_round_trip_is_measured(session: Session) -> None:
    session.read(2.0)
    session.keys(b"q")
    report = session.finish()
    assert session.seen.rstrip().endswith(b"\x1b[?1049l\x1b[?25h\x1b[?1004l")
    assert report["round_trip"] is not None and 0 < report["round_trip"] < 0.5
    assert report["keys"] == ["q"], "answers to pings are not keys"


async def test_a_frame_thrown_away_by_the_closed_gate_is_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    app: TerminalApp[None] = TerminalApp(load_theme("ctos-dark"))
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.pause()
        repaints: list[str] = []

        def refresh(*regions: object, **options: object) -> None:
            if not regions and not options:
                repaints.append("all")

        monkeypatch.setattr(app.screen, "refresh", refresh)
        app.gate.close()
        app.gate.open()
        assert repaints == []
        app.gate.close()
        await pilot.resize_terminal(50, 12)
        await pilot.pause()
        app.gate.open()
        assert repaints == ["all"]
        app.on_output_behind()
        assert app.output_behind
        app.on_output_dropped()
        assert repaints == ["all"]
        app.on_output_caught_up()
        assert repaints == ["all", "all"] and not app.output_behind


class Shown(TerminalApp[None]):
    """An app that says when it shows."""

    def __init__(self, device: TerminalDevice) -> None:
        super().__init__(load_theme("ctos-dark"), device=device)
        self.ready = asyncio.Event()

    def on_ready(self) -> None:
        self.ready.set()


async def test_a_stall_that_ends_while_it_is_noticed_freezes_no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    app = Shown(TerminalDevice.of(slave, slave))
    loop = asyncio.get_running_loop()
    loop.add_reader(master, os.read, master, 65536)
    shown = asyncio.create_task(app.run_on_terminal())
    await asyncio.wait_for(app.ready.wait(), 10)
    driver = app._driver
    assert isinstance(driver, PacedDriver) and driver.writer is not None
    drained, post = threading.Event(), driver._post
    overtaken: list[threading.Thread] = []

    def late(call: Callable[..., object], *args: object) -> None:
        """Let the thread that drains tell first, although the one that filled noticed first."""

        def wait_and_post() -> None:
            drained.wait(5)
            post(call, *args)

        if threading.current_thread() is driver.writer:
            post(call, *args)
            drained.set()
        else:
            overtaken.append(threading.Thread(target=wait_and_post))
            overtaken[-1].start()

    monkeypatch.setattr(driver, "_post", late)
    driver.writer.write("x" * 20_000)
    await asyncio.to_thread(overtaken[0].join, 10)
    told = asyncio.Event()
    loop.call_soon(told.set)
    await told.wait()
    assert drained.is_set() and not app.output_behind
    monkeypatch.undo()
    app.exit()
    await shown
    loop.remove_reader(master)
    os.close(master)
    os.close(slave)


class Events:
    def __init__(self) -> None:
        self.list: list[str] = []
        self.changed = threading.Condition()

    def note(self, what: str) -> None:
        with self.changed:
            self.list.append(what)
            self.changed.notify_all()

    def wait_for(self, what: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: what in self.list, timeout=5)


def writer_on(fileno: int) -> tuple[PacedWriter, Events]:
    happened = Events()
    writer = PacedWriter(
        fileno,
        on_level=lambda: happened.note("high" if writer.behind else "low"),
        on_dropped=lambda: happened.note("dropped"),
        on_lost=lambda: happened.note("lost"),
    )
    writer.start()
    return writer, happened


def test_the_writer_says_when_it_is_behind_and_drops_everything_at_its_limit() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    writer, happened = writer_on(writing)
    piece = "x" * 100_000
    for _ in range(10):
        writer.write(piece)
    assert happened.list == ["high"]
    writer.write(piece)
    writer.write(piece)
    assert happened.list == ["high", "dropped"]
    assert writer.pending <= 300_000 and writer.dropped >= LIMIT - 300_000
    while "low" not in happened.list:
        if select.select([reading], [], [], 0.05)[0]:
            os.read(reading, 65536)
    assert writer.pending < 500
    assert writer.written + writer.dropped + writer.pending == 12 * len(piece)
    writer.finish()
    writer.join(5)
    assert not writer.is_alive() and "lost" not in happened.list and not writer.unwritten
    os.close(reading)
    os.close(writing)


def test_the_writer_reports_a_lost_terminal_once_and_never_waits_for_a_stuck_one() -> None:
    reading, writing = os.pipe()
    writer, happened = writer_on(writing)
    os.close(reading)
    writer.write("x")
    happened.wait_for("lost")
    writer.write("y")
    assert writer.pending == 0 and happened.list == ["lost"]
    os.close(writing)

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    stuck, _ = writer_on(writing)
    stuck.write("x" * 500_000)
    began = time.monotonic()
    stuck.finish()
    assert time.monotonic() - began < 0.05
    stuck.join(timeout=5)
    assert not stuck.is_alive() and stuck.unwritten > 300_000, "it gives up what nobody takes"
    os.close(reading)
    os.close(writing)


def test_the_link_meter_measures_rate_drain_and_round_trip() -> None:
    link = LinkMeter()
    for tenth in range(31):
        link.sample(tenth / 10, tenth * 1000, tenth * 0.05)
    assert link.bytes_per_second == pytest.approx(10_000)
    assert link.drain_per_second == pytest.approx(20_000)
    assert link.round_trip(3.0) is None
    assert link.wants_ping(3.0) and not link.wants_ping(3.5)
    link.answered(3.083)
    assert link.round_trip(3.5) == pytest.approx(0.083)
    assert link.wants_ping(4.5)
    assert link.round_trip(5.5) == pytest.approx(1.0), "a late answer counts while it is late"
    link.answered(6.5)
    assert link.round_trip(6.6) == pytest.approx(2.0)
    assert link.base_round_trip == pytest.approx(0.083)


@pytest.mark.parametrize("term", ["", "dumb"])
def test_a_terminal_that_cannot_be_drawn_on_is_named(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Tty:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "__stdin__", Tty())
    monkeypatch.setattr(sys, "__stdout__", Tty())
    monkeypatch.setattr(sys, "__stderr__", Tty())
    assert repr(term) in (terminal_problem({"TERM": term}) or "")
    assert terminal_problem({"TERM": "xterm-256color"}) is None
    monkeypatch.setattr(sys, "__stdin__", None)
    assert "standard input" in (terminal_problem({"TERM": "xterm"}) or "")


def test_the_private_parts_of_textual_that_the_driver_leans_on_exist() -> None:
    assert version("textual") == "8.2.8"
    private = [
        "_patch_lflag",
        "_patch_iflag",
        "_enable_bracketed_paste",
        "_disable_bracketed_paste",
        "_disable_line_wrap",
        "_enable_line_wrap",
        "_enable_mouse_support",
        "_disable_mouse_support",
        "_query_in_band_window_resize",
        "_disable_in_band_window_resize",
        "_request_terminal_sync_mode_support",
        "_run_input_thread",
        "_get_terminal_size",
        "process_message",
        "disable_input",
    ]
    for name in private:
        assert callable(getattr(LinuxDriver, name)), name
    source = inspect.getsource(LinuxDriver.__init__)
    for name in re.findall(r"self\.(\w+)(?:: [^=]+)? =", source):
        assert f"self.{name}" in inspect.getsource(PacedDriver.__init__) or name == "_writer_thread", name
    assert "self._loop" in inspect.getsource(Driver.__init__)
    assert "_batch_count" in inspect.getsource(App._display)
    assert "post_display_hook" in inspect.getsource(App._display)
    assert "self._on_timer_update" in inspect.getsource(Screen._update_timer.fget)
    assert callable(MessagePump.check_idle) and callable(Widget.notify_style_update)
    assert set(TerminalUser.__dict__) >= {"on_output_behind", "on_terminal_lost"}
    assert not PacedDriver.can_suspend.fget(None)
