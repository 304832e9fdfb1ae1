"""The ways in which a terminal is lost while the engine is at work elsewhere: `attach` here, `run` there."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.chaos.desk import SHOWN_S, Desk, shows_orders, until
from tests.chaos.kills import Violation
from tests.program.terminal import ROOT, Terminal, processes_about
from tests.program.test_detach import holds_a_terminal, is_alive

Loss = Callable[[Desk, random.Random], None]
STALL_S = (0.5, 3.0)
_KEY_S = 3.0


def drop(desk: Desk, rng: random.Random, ignore_hangup: bool = False) -> None:
    """The terminal closes, as when ssh drops."""
    client = desk.show(ignore_hangup=ignore_hangup)
    began = time.monotonic()
    client.hang_up()
    until(lambda: client.process.poll() is not None, "the client goes with its terminal", 20)
    desk.lost(began)


def stall(desk: Desk, rng: random.Random) -> None:
    """Nobody reads for a while, then somebody does and leaves."""
    client = desk.show()
    time.sleep(rng.uniform(*STALL_S))
    desk.expect_truth(client)
    _leave(desk, client)


def freeze(desk: Desk, rng: random.Random) -> None:
    """The client stands still and nobody reads; it wakes, and then its terminal closes."""
    client = desk.show()
    client.signal(signal.SIGSTOP)
    time.sleep(rng.uniform(*STALL_S))
    client.signal(signal.SIGCONT)
    desk.expect_truth(client)
    began = time.monotonic()
    client.hang_up()
    desk.lost(began)


def terminate(desk: Desk, rng: random.Random, times: int = 1) -> None:
    """The client is asked to end: it gives the terminal back, and only that."""
    client = desk.show()
    began = time.monotonic()
    for _ in range(times):
        client.signal(signal.SIGTERM)
    _expect_restored(client, client.finish(20))
    desk.lost(began)


def kill(desk: Desk, rng: random.Random) -> None:
    """The client is killed."""
    client = desk.show()
    began = time.monotonic()
    client.signal(signal.SIGKILL)
    desk.lost(began)


def detach(desk: Desk, rng: random.Random) -> None:
    """The operator leaves by key."""
    _leave(desk, desk.show())


def take_over(desk: Desk, rng: random.Random) -> None:
    """Another terminal takes the screen while this one is not read."""
    first, second = desk.show(), desk.show()
    _expect_restored(first, first.finish(20))
    began = time.monotonic()
    second.hang_up()
    desk.lost(began)


def tmux_kill(desk: Desk, rng: random.Random) -> None:
    """The tmux server under the screen is killed."""
    tmux = Tmux(desk)
    tmux.expect_truth()
    began = time.monotonic()
    tmux.kill(hard=rng.random() < 0.5)
    desk.lost(began)
    until(lambda: set(processes_about(str(desk.home))) == {desk.engine}, "the client goes with its terminal", 20)


def tmux_detach(desk: Desk, rng: random.Random) -> None:
    """A tmux client comes and is detached; the screen inside goes on."""
    tmux = Tmux.of(desk)
    tmux.expect_truth()
    viewer = Viewer(tmux)
    time.sleep(rng.uniform(0.1, 0.5))
    viewer.detach()
    tmux.expect_truth()
    if not holds_a_terminal(desk.engine):
        raise Violation("the screen inside tmux has gone with tmux's client")
    desk.check()


def _leave(desk: Desk, client: Terminal) -> None:
    """Press the detach key; again where it lay about for so long on a busy machine that the guard dropped it."""

    def left() -> bool:
        nonlocal began
        client.press("ctrl+d")
        began = time.monotonic()
        while client.process.poll() is None and time.monotonic() < began + _KEY_S:
            client.pump(0.03)
        return client.process.poll() is not None

    began = 0.0
    until(left, "the detach key is taken", SHOWN_S)
    _expect_restored(client, client.finish(20))
    desk.lost(began)


def _expect_restored(client: Terminal, code: int) -> None:
    if code != 0:
        raise Violation(f"the client ended with {code}: {client.text[-500:]}")
    if not client.terminal_restored:
        raise Violation(f"the terminal is not as it was: {client.text[-500:]}")


class Tmux:
    """A tmux server of its own with the screen in its one window.

    Args:
        desk: Where the engine runs.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.socket = str(desk.home / "tmux")
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", "TERM": "xterm-256color"}
        attach = shlex.join([sys.executable, "-m", "ctos_tui", *desk.attach_command()])
        # Called again where the machine has no time for the engine: it would take the server along.
        command = f"cd {ROOT}; until {attach}; do sleep 0.2; done"
        self.run("-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", command, env=environment)
        self.server = int(self.run("display-message", "-p", "#{pid}"))

    @classmethod
    def of(cls, desk: Desk) -> Tmux:
        """Return the server that stays for all rounds of a desk."""
        if desk.window is None or not is_alive(desk.window.server):
            desk.window = cls(desk)
        return desk.window

    def run(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        """Run a tmux command and return what it says."""
        command = ["tmux", "-S", self.socket, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
        if done.returncode != 0:
            raise Violation(f"{shlex.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def expect_truth(self) -> None:
        """Hold that the window comes to show as many orders as the engine works."""
        until(lambda: "LADDER BTC" in self.run("capture-pane", "-p"), "the screen comes up in tmux", SHOWN_S)

        def agrees() -> bool:
            return shows_orders(self.run("capture-pane", "-p"), self._desk.orders)

        until(agrees, "the screen in tmux shows the true state", SHOWN_S)

    def kill(self, hard: bool) -> None:
        """End the server, by its own command or by SIGKILL."""
        if hard:
            os.kill(self.server, signal.SIGKILL)
        else:
            self.run("kill-server")

    def close(self) -> None:
        """End the server if another terminal's taking the screen has not ended it."""
        if is_alive(self.server):
            self.kill(hard=True)


class Viewer(Terminal):
    """A tmux client in a terminal of its own."""

    def __init__(self, tmux: Tmux) -> None:
        self._tmux = tmux
        super().__init__(Path(tmux.socket).parent, module="tests.chaos.tmux_client", command=(tmux.socket,))
        self.wait_for("LADDER BTC", SHOWN_S)

    def detach(self) -> None:
        """Detach it, and hold that it gives its terminal back."""
        self._tmux.run("detach-client")
        code = self.finish(20)
        restored = self.terminal_restored
        self.close()
        if code != 0 or not restored:
            raise Violation(f"tmux's client ended with {code}, terminal restored: {restored}")


LOSSES: dict[str, Loss] = {
    "drop": drop,
    "nohup-drop": partial(drop, ignore_hangup=True),
    "stall": stall,
    "freeze": freeze,
    "term": terminate,
    "double-term": partial(terminate, times=2),
    "client-kill": kill,
    "detach-key": detach,
    "take-over": take_over,
}
if shutil.which("tmux") is not None:
    LOSSES |= {"tmux-kill": tmux_kill, "tmux-detach": tmux_detach}
