"""The ways in which a console that holds the engine itself is ended; the next start must know everything."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos.desk import GONE_S, SHOWN_S, shows_orders, until
from tests.chaos.kills import Violation
from tests.program.terminal import Terminal, processes_about
from tests.program.test_detach import holds_a_terminal, is_alive

Ending = Callable[["Console"], None]
STOP_S = 20.0
AT_ONCE_S = 2.0
_AWAY = "buy 300$ btc @ best -1.5%"
"""An order that rests all the while."""


class Console:
    """The program on paper with an order that rests, started again and again on one state folder.

    Args:
        home: Folder of configuration and state.
        rng: Chooses moments.

    Attributes:
        gone_s: How long each screen took to go.
    """

    def __init__(self, home: Path, rng: random.Random) -> None:
        self.home = home
        self.rng = rng
        self.gone_s: list[float] = []
        self.terminal: Terminal | None = None
        self._orders = 0

    def round(self, ending: Ending, on_lost: str) -> None:
        """Start, see that the resting orders are known, end it in one way, and look at what is left."""
        (self.home / "ctos.yaml").write_text(f"market: synthetic:3\nconsole:\n  on_terminal_lost: {on_lost}\n")
        terminal = self.terminal = Terminal(self.home, options=())
        try:
            terminal.wait_for(r"\d,\d\d\d\.\d.*bid", SHOWN_S)
            terminal.wait_for(lambda: shows_orders(terminal.text, self._orders), SHOWN_S)
            if not self._orders:
                terminal.arm()
                terminal.order(_AWAY)
                terminal.wait_for(r"ORDERS 1\b", SHOWN_S)
                self._orders = 1
            terminal.pump(self.rng.uniform(0.0, 0.5))
            ending(self)
            until(lambda: not list(processes_about(str(self.home))), "no process is left over", STOP_S)
        finally:
            terminal.close()

    def gone(self, began: float, pid: int) -> None:
        """Hold that the screen goes in time."""

        def left() -> bool:
            try:
                return not is_alive(pid) or not holds_a_terminal(pid)
            except FileNotFoundError:  # it ended in between
                return True

        until(left, "the screen goes", 5 * GONE_S)
        self.gone_s.append(time.monotonic() - began)


def _of(console: Console) -> Terminal:
    assert console.terminal is not None
    return console.terminal


def drop_and_stop(console: Console) -> None:
    """The terminal closes and the program stops in good order."""
    terminal = _of(console)
    engine, began = terminal.engine, time.monotonic()
    terminal.hang_up()
    console.gone(began, engine)
    _expect_end(console, terminal.finish(STOP_S))


def drop_and_stay(console: Console) -> None:
    """The terminal closes, the program goes on, another terminal gets it."""
    terminal = _of(console)
    engine, began = terminal.engine, time.monotonic()
    terminal.hang_up()
    console.gone(began, engine)
    again = Terminal(console.home, command=("attach", "--config", str(console.home)))
    try:
        again.wait_for(r"ORDERS 1\b", SHOWN_S)
        terminal.signal(signal.SIGTERM)
        code = again.finish(STOP_S)
        if code != 0 or not again.terminal_restored:
            raise Violation(f"the other terminal's client ended with {code}: {again.text[-500:]}")
    finally:
        again.close()
    _expect_end(console, terminal.finish(STOP_S))


def stop(console: Console) -> None:
    """It is asked to stop."""
    terminal = _of(console)
    engine, began = terminal.engine, time.monotonic()
    terminal.signal(signal.SIGTERM)
    code = terminal.finish(STOP_S)
    console.gone(began, engine)
    _expect_end(console, code)
    if "stopped with on_stop: keep" not in " ".join(terminal.text.split()):
        raise Violation(f"it does not report its stop: {terminal.text[-500:]}")
    _expect_restored(terminal)


def stop_twice(console: Console) -> None:
    """It is asked to stop, and at once again."""
    terminal = _of(console)
    engine, began = terminal.engine, time.monotonic()
    terminal.signal(signal.SIGTERM)
    time.sleep(console.rng.uniform(0.0, 0.1))
    if terminal.process.poll() is None:
        terminal.signal(signal.SIGTERM)
    terminal.finish(STOP_S)
    console.gone(began, engine)
    took_s = time.monotonic() - began
    if took_s > 5 * AT_ONCE_S:
        raise Violation(f"after the second signal it took {took_s:.1f} s")
    _expect_restored(terminal)


def kill_front(console: Console) -> None:
    """The process that people see is killed: the program goes with it."""
    terminal = _of(console)
    engine, began = terminal.engine, time.monotonic()
    terminal.signal(signal.SIGKILL)
    terminal.finish(STOP_S)
    console.gone(began, engine)
    until(lambda: not is_alive(engine), "the engine goes with its front", 3)


def kill_engine(console: Console) -> None:
    """The program behind the front is killed: the front gives the terminal back."""
    terminal = _of(console)
    engine, began = terminal.engine, time.monotonic()
    os.kill(engine, signal.SIGKILL)
    code = terminal.finish(STOP_S)
    console.gone(began, engine)
    if code != 128 + signal.SIGKILL:
        raise Violation(f"the front of a killed program ended with {code}")
    _expect_restored(terminal)


def _expect_end(console: Console, code: int) -> None:
    if code != 0:
        raise Violation(f"an orderly stop ended with {code}")
    if (console.home / "state" / "control.sock").exists():
        raise Violation("the control socket is left over")


def _expect_restored(terminal: Terminal) -> None:
    if not terminal.terminal_restored:
        raise Violation(f"the terminal is not as it was: {terminal.text[-500:]}")


ENDINGS: dict[str, tuple[Ending, str]] = {
    "console-drop-stop": (drop_and_stop, "stop"),
    "console-drop-detach": (drop_and_stay, "detach"),
    "console-term": (stop, "stop"),
    "console-double-term": (stop_twice, "stop"),
    "front-kill": (kill_front, "detach"),
    "engine-kill": (kill_engine, "detach"),
}
"""Each with the policy for a lost terminal that it goes with."""
