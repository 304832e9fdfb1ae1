"""The kill switch while orders are in flight and the venue's answers are lost: by key and from another shell."""

from __future__ import annotations

import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.course import Course
from tests.chaos.desk import SHOWN_S, arm_for_real, launch_grid, until
from tests.chaos.kills import Violation, told
from tests.chaos.venue import VenueProcess
from tests.program.conftest import end_engine
from tests.program.terminal import ROOT, Terminal

PLACING = {"okx": "order", "binance": "order", "backpack": "POST /api/v1/order"}
"""What the requests that place orders, and those that cancel, have in their path."""
CONFIRMED_S = 100.0


@dataclass(slots=True)
class PanicReport:
    """What came of the halts.

    Attributes:
        killed: How often the program was killed right after the key.
        orders: How many orders the venue was asked to place.
        confirmed_s: How long it took until nothing of ours rested.
        violation: What did not hold; empty when everything did.
    """

    venue: str
    halts: int = 0
    killed: int = 0
    orders: int = 0
    confirmed_s: list[float] = field(default_factory=list)
    violation: str = ""


def run_panics(venue: str, rounds: int, course: Course, killed: bool | None = None) -> PanicReport:
    """Halt so many times, by key and from another shell in turn; ends at the first violation and keeps the folder then.

    The program is killed in the middle of every other pair, or always, or never, as `killed` says.
    """
    report = PanicReport(venue)
    rng = random.Random(f"panic {venue} {course.seed}")
    while report.halts < rounds and not course.is_over:
        home = course.home(f"panic-{venue}")
        server = VenueProcess(venue, rng.randrange(1000))
        halting = Halting(home, server, rng, report)
        try:
            halting.round(by_key=report.halts % 2 == 0, killed=report.halts % 4 >= 2 if killed is None else killed)
        except AssertionError as error:
            report.violation = f"halt {report.halts + 1}: {told(error, home)}"
            break
        finally:
            halting.close()
            server.stop()
        report.halts += 1
        course.say(f"{venue}: halt {report.halts} of {rounds}, confirmed after {report.confirmed_s[-1]:.1f} s")
        shutil.rmtree(home)
    return report


class Halting:
    """One live console that is halted in the middle of its work.

    Args:
        home: Folder of configuration and state.
        venue: The venue.
        rng: Chooses moments.
        report: Takes figures.
    """

    def __init__(self, home: Path, venue: VenueProcess, rng: random.Random, report: PanicReport) -> None:
        self._home = home
        self._venue = venue
        self._rng = rng
        self._report = report
        self._terminals: list[Terminal] = []
        self._options = ("--config", str(home), "--exchange", venue.name)

    def round(self, by_key: bool, killed: bool) -> None:
        """Trade, lose answers, halt, perhaps kill; then nothing may rest, and the halt outlives a restart."""
        self._venue.configure(self._home, on_stop="keep")
        terminal = self._start()
        arm_for_real(terminal)
        self._venue.lose_responses(PLACING[self._venue.name], self._rng.randint(2, 6))
        launch_grid(terminal)
        terminal.pump(self._rng.uniform(0.3, 1.5))
        began = time.monotonic()
        if by_key:
            terminal.press("f9")
            terminal.wait_for(" HALTED", SHOWN_S)
            listed = 0
        else:
            listed = self._from_another_shell(killed)
        if killed:
            os.kill(terminal.engine, signal.SIGKILL)
            terminal.finish(20)
            self._report.killed += 1
            terminal = self._start()
        until(
            lambda: (terminal.pump(0.05), self._risky() <= listed)[1], "nothing of ours rests at the venue", CONFIRMED_S
        )
        self._report.confirmed_s.append(time.monotonic() - began)
        sent = self._venue.truth().placed.total()
        self._report.orders += sent
        self._venue.heal()
        terminal.wait_for(" HALTED", SHOWN_S)
        terminal.wait_for(r"ORDERS 0\b", SHOWN_S)
        if not killed:
            terminal.signal(signal.SIGTERM)
            terminal.finish(30)
            terminal = self._start()
        terminal.wait_for(" HALTED", SHOWN_S)
        terminal.pump(1.0)
        now = self._venue.truth()
        if self._risky() or now.placed.total() != sent:
            raise Violation(f"I7: halted, but {now.placed.total() - sent} orders were sent and {len(now.resting)} rest")
        if twice := [name for name, times in now.placed.items() if times > 1]:
            raise Violation(f"I1: asked more than once to place {twice[:4]}")

    def _start(self) -> Terminal:
        terminal = Terminal(self._home, command=self._options)
        self._terminals.append(terminal)
        terminal.wait_for(r"\d,\d\d\d\.\d.*bid", SHOWN_S)
        terminal.wait_for(r"LIVE +(DISARMED|HALTED)", SHOWN_S)
        return terminal

    def _from_another_shell(self, killed: bool) -> int:
        """Halt by `ctos-tui panic`; returns how many orders it listed as not confirmed."""
        command = [sys.executable, "-m", "ctos_tui", "panic", *self._options, "--reason", "chaos"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT) as panic:
            assert panic.stdout is not None
            if killed:  # it is killed in the middle: the command goes on by itself
                while b"gate closed" not in (line := panic.stdout.readline()):
                    if not line:
                        raise Violation("panic says nothing of the gate")
                panic.kill()
                return 0
            out = self._read(panic)
        if panic.returncode not in (0, 1) or "Traceback" in out:
            raise Violation(f"panic ended with {panic.returncode}: {out[-800:]}")
        listed = len(re.findall(r"^!+ .*(?:BTC|ETH)-\S+", out, re.MULTILINE))
        if panic.returncode == 0 and self._risky():
            raise Violation(
                f"panic confirmed that nothing rests, the venue has {self._venue.truth().resting}: {out[-800:]}"
            )
        return listed

    def _read(self, panic: subprocess.Popen[bytes]) -> str:
        """Return what a command says until it ends, taking in the screen meanwhile."""
        assert panic.stdout is not None
        out = b""
        while True:
            if select.select([panic.stdout], [], [], 0)[0]:
                if not (data := os.read(panic.stdout.fileno(), 65536)):
                    panic.wait(CONFIRMED_S)
                    return out.decode()
                out += data
            self._terminals[-1].pump(0.05)

    def _risky(self) -> int:
        """Return how many orders rest that are not stops."""
        truth = self._venue.truth()
        return len(truth.resting) - truth.stops

    def close(self) -> None:
        """End what is left of it."""
        for terminal in self._terminals:
            terminal.close()
        end_engine(self._home)
