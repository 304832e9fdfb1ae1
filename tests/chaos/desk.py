"""An engine at work that lives through many lost terminals, and what is looked at from outside meanwhile."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.boot.control import Nothing, Status
from engine.io.control_client import ControlClient
from engine.io.control_wire import NotRunning
from tests.chaos.kills import Violation
from tests.chaos.processes import open_files
from tests.chaos.venue import VenueProcess
from tests.program.terminal import READ_S, ROOT, Terminal, processes_about
from tests.program.test_detach import Pulse, cpu_share, holds_a_terminal, is_alive

if TYPE_CHECKING:
    from tests.chaos.losses import Tmux

GRID = "dyn_grid btc base_amount=200 max_inventory=1000"
GONE_S = 2.0
"""How long the screen may take to go."""
SHOWN_S = 60.0
IDLE_SHARE = 0.3
"""The most of a core that an engine at work uses without a screen."""
GAP_S = 0.25
SPARE_FILES = 4
"""So many descriptors come and go with the venue's connections."""
_CPU_EVERY = 25
_MOST_UNANSWERED = 20


class Desk:
    """`ctos-tui run` with a grid at work, on paper or on a venue's emulator; screens come and go.

    Args:
        home: Folder of configuration and state.
        venue: The venue; paper when None.

    Attributes:
        gone_s: How long each screen took to go.
        unanswered: How often the engine did not answer `attach` within two seconds.
        pulse: Measures the gaps of the engine's loop.
        window: A tmux server that shows the screen over many rounds.
    """

    def __init__(self, home: Path, venue: VenueProcess | None = None) -> None:
        self.home = home
        self.gone_s: list[float] = []
        self.unanswered = 0
        self.window: Tmux | None = None
        self._rounds = 0
        self._clients: list[Terminal] = []
        self._base_files = 0
        options = ["--config", str(home), "--strategy", "dyn_grid:btc:base_amount=200,max_inventory=1000"]
        if venue is None:
            (home / "ctos.yaml").write_text("market: synthetic:3\nconsole:\n  on_terminal_lost: detach\n")
        else:
            venue.configure(home, on_stop="cancel")
        self._account = () if venue is None else ("--exchange", venue.name)
        with (home / "run.out").open("wb") as out:
            command = [sys.executable, "-m", "ctos_tui", "run", *options, *self._account]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=ROOT)
        self.engine = self._process.pid
        self.pulse = Pulse(home / "state")

    def begin(self) -> None:
        """Wait until the grid is at work, and measure from then on."""
        until(lambda: self._status() is not None, "the engine starts", SHOWN_S)
        if self._account:
            self._arm()
        until(lambda: self.orders > 0, "the grid is at work", SHOWN_S)
        self.pulse.start()

    def _status(self) -> Status | None:
        """Return how the engine is, None while it starts."""
        try:
            client = ControlClient(self.home / "state", 30)
        except NotRunning:
            return None
        with client:
            (status,) = client.ask("status", Nothing(), Status, 30)
        return status if status.ready else None

    @property
    def orders(self) -> int:
        """Return how many orders the engine works, as it says."""
        status = self._status()
        assert status is not None
        return status.orders

    def _arm(self) -> None:
        client = self.show()
        arm_for_real(client)
        client.press("ctrl+d")
        client.finish(20)

    def attach_command(self) -> tuple[str, ...]:
        """Return the arguments that bring a screen."""
        return ("attach", "--config", str(self.home), *self._account)

    def show(self, **options: bool) -> Terminal:
        """Bring the screen to a new terminal and hold that it shows the true state.

        Where the machine has no time for the engine, `attach` says so after two seconds and is called again.
        """
        while True:
            client = Terminal(self.home, command=self.attach_command(), **options)
            self._clients.append(client)
            try:
                self.expect_truth(client)
                return client
            except AssertionError:
                if client.process.poll() is None or "does not answer within" not in " ".join(client.text.split()):
                    raise
                self.unanswered += 1
                if self.unanswered > _MOST_UNANSWERED:
                    raise

    def expect_truth(self, client: Terminal) -> None:
        """Hold that a screen comes to show as many orders as the engine works."""
        client.wait_for(r"LADDER BTC", SHOWN_S)
        client.wait_for(lambda: shows_orders(client.text, self.orders), SHOWN_S)

    def lost(self, began: float) -> None:
        """Hold that the screen has gone in time and the engine has not noticed."""
        until(lambda: not holds_a_terminal(self.engine), "the screen goes", 5 * GONE_S)
        self.gone_s.append(time.monotonic() - began)
        self.check()

    def check(self) -> None:
        """Hold that the engine lives, keeps no more files than before, and does not spin."""
        if not is_alive(self.engine):
            raise Violation(f"the engine has gone; see {self.home / 'run.out'}")
        self._rounds += 1
        self.drop_clients()
        if holds_a_terminal(self.engine):
            return
        if not self._base_files:
            self._base_files = open_files(self.engine)
        else:
            what = f"it holds {self._base_files} descriptors again"
            until(lambda: open_files(self.engine) <= self._base_files + SPARE_FILES, what, 10)
        if self._rounds % _CPU_EVERY == 0:
            # The screens that were ended above are being taken down; what spins goes on.
            until(lambda: cpu_share(self.engine, 1.0) <= IDLE_SHARE, "it comes to rest without a screen", 10)

    def drop_clients(self) -> None:
        """End the clients that are left."""
        while self._clients:
            self._clients.pop().close()

    def end(self) -> tuple[float, float, float]:
        """Stop in good order; returns the longest gap, the p99.9, and the longest with the waits for a core."""
        raw = self._status()
        if self.window is not None:
            self.window.close()
        p999 = self.pulse.stop()
        self._process.terminate()
        code = self._process.wait(30)
        if code != 0:
            raise Violation(f"the engine ended with {code}; see {self.home / 'run.out'}")
        until(lambda: not list(processes_about(str(self.home))), "no process is left over", 10)
        if (self.home / "state" / "control.sock").exists():
            raise Violation("the control socket is left over")
        assert raw is not None
        return max(self.pulse.gaps), p999, raw.largest_gap_ms / 1000

    def close(self) -> None:
        """End what is left of it."""
        if self.window is not None:
            self.window.close()
        self.drop_clients()
        self._process.kill()
        self._process.wait()


def arm_for_real(terminal: Terminal) -> None:
    """Arm a live console; on a busy machine the guard takes old keys for mistakes, and they are pressed again."""

    def say_account() -> bool:
        last = terminal.lines[-1]
        typed = last.partition("to arm all markets: ")[2].removesuffix("▏")
        if "to arm all markets" not in last:
            terminal.answer("A")
        elif not typed:
            terminal.send(b"emulated")
        else:
            terminal.answer("enter" if typed == "emulated" else "ctrl+u")
        terminal.pump(READ_S)
        return " ARMED" in terminal.text

    until(say_account, "the live console is armed", SHOWN_S)


def launch_grid(terminal: Terminal) -> None:
    """Launch a grid by its command, likewise."""
    terminal.line(f"run {GRID} as g1")

    def entered() -> bool:
        terminal.answer("enter")
        return "run dyn_grid" not in terminal.lines[-1]

    until(entered, "the grid is launched", SHOWN_S)


def shows_orders(text: str, count: int) -> bool:
    """Return whether a screen tells of so many orders."""
    found = re.search(r"ORDERS (\d+)", text)
    return found is not None and int(found[1]) == count


def until(true: Callable[[], object], what: str, seconds: float) -> None:
    """Wait until something is so.

    Raises:
        Violation: It does not come.
    """
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise Violation(f"within {seconds:g} s it does not come that {what}")
        time.sleep(0.01)
