"""A small console beside a heartbeat, run in a pseudo-terminal by test_terminal.py; reports as JSON at the end."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import sys
import threading
from pathlib import Path

from textual.app import ComposeResult
from textual.widgets import Static

from ctos_tui.frame import monotonic
from ctos_tui.panes.cells import Row
from ctos_tui.panes.rows import Rows
from ctos_tui.terminal.app import TerminalApp
from ctos_tui.theme import load_theme

ROLES = ("bid", "price", "dim", "ask", "bright", "label")


class Numbers(Rows):
    TITLE = "NUMBERS"

    pulled = 0

    def pull(self) -> None:
        count = self.pulled = self.app.count
        width = max(1, self.row_width // 8)
        self.set_rows(
            [
                Row(y, tuple((f"n{count:06d} ", ROLES[(x + y) % 6]) for x in range(width)))
                for y in range(self.body_height)
            ]
        )


class Child(TerminalApp[None]):
    CSS = "Static { height: 1; }"

    def __init__(self) -> None:
        super().__init__(load_theme("ctos-dark"))
        self.count = 0
        self.lost: list[str] = []
        self.staleness: list[int] = []
        self.keys: list[str] = []
        self.last_key = asyncio.Event()

    def compose(self) -> ComposeResult:
        yield Numbers()
        yield Static("STILL")

    def on_mount(self) -> None:
        pane = self.query_one(Numbers)
        self.frames.add("numbers", 10, pane.pull, visible=lambda: pane.showing)

    def on_key(self, event) -> None:
        self.keys.append(event.key)
        if event.key == "q":
            self.last_key.set()

    def on_output_caught_up(self) -> None:
        stalled = self._behind_since is not None and monotonic() - self._behind_since > 1
        super().on_output_caught_up()
        if stalled:
            self.staleness.append(self.count - self.query_one(Numbers).pulled)

    def on_terminal_lost(self, where: str) -> None:
        self.lost.append(where)
        super().on_terminal_lost(where)


async def heartbeat(app: Child, gaps: list[float], stop: asyncio.Event) -> None:
    last = monotonic()
    while not stop.is_set():
        await asyncio.sleep(0.02)
        now = monotonic()
        gaps.append(now - last)
        last = now
        if not app.last_key.is_set():
            app.count += 1


async def show_and_leave(app: Child) -> None:
    """After the key q the numbers stand still; leave once they have had time to reach the screen."""
    await app.last_key.wait()
    for _ in range(200):
        await asyncio.sleep(0.1)
        if not app.gate.closed and app._driver.writer.pending == 0:
            await asyncio.sleep(0.5)
            if not app.gate.closed and app._driver.writer.pending == 0:
                break
    app.exit()


async def main() -> dict:
    app = Child()
    gaps: list[float] = []
    stop = asyncio.Event()
    engine = asyncio.create_task(heartbeat(app, gaps, stop))
    leaving = asyncio.create_task(show_and_leave(app))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, app.terminal_resized)
    loop.add_signal_handler(signal.SIGCONT, app.terminal_resumed)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, app.terminal_hung_up)
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    await app.run_on_terminal()
    fps, worst = app.frames.pace.fps, app.lag.worst
    beats_at_exit = len(gaps)
    began = resource.getrusage(resource.RUSAGE_SELF)
    await asyncio.sleep(1.0)
    ended = resource.getrusage(resource.RUSAGE_SELF)
    stop.set()
    leaving.cancel()
    await engine
    return {
        "beats_after_exit": len(gaps) - beats_at_exit,
        "closings": app.gate.closings,
        "count": app.count,
        "cpu_after_exit": ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime,
        "fps": fps,
        "keys": app.keys,
        "longest_gap": max(gaps),
        "lost": app.lost,
        "staleness": app.staleness,
        "round_trip": app.link.base_round_trip,
        "threads": [thread.name for thread in threading.enumerate()],
        "worst_lag": worst,
    }


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(asyncio.run(main())))
