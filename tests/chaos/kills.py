"""Kills a trading engine at random moments, starts it again, and holds it against the venue that lived on."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.course import Course
from tests.chaos.processes import CONTEXT
from tests.chaos.trader import LIMITS, EngineView, Replayed, lead
from tests.chaos.venue import Content, VenueProcess, VenueTruth

START_S = 60.0
SETTLE_S = 90.0
"""How long after a start everything must agree, on a machine that does much else."""
MOMENTS = (("trading", 0.75), ("settling", 0.15), ("starting", 0.10))
_LONGEST_S = 2.5
_TELL_EVERY = 10


class Violation(AssertionError):
    """Something that must hold does not."""


@dataclass(slots=True)
class KillReport:
    """What came of the kills on one venue.

    Attributes:
        moments: How often it was killed while it did what.
        settled_s: How long after each start everything agreed.
        violation: What did not hold; empty when everything did.
    """

    venue: str
    moments: Counter[str] = field(default_factory=Counter)
    orders: int = 0
    fills: int = 0
    records: int = 0
    settled_s: list[float] = field(default_factory=list)
    violation: str = ""

    @property
    def kills(self) -> int:
        """Return how many kills there were."""
        return self.moments.total()


class Lives:
    """The lives on one state folder and one venue.

    Args:
        venue: The venue; it lives on.
        home: Folder of configuration and state.
        rng: Chooses the moments.
        report: Takes figures.
    """

    def __init__(self, venue: VenueProcess, home: Path, rng: random.Random, report: KillReport) -> None:
        self._venue = venue
        self._home = home
        self._rng = rng
        self._report = report
        self._checked: set[tuple[str, str]] = set()
        self._fills_checked = 0

    def round(self) -> None:
        """Start, settle, compare, trade, and kill somewhere on the way."""
        [moment] = self._rng.choices([name for name, _ in MOMENTS], [share for _, share in MOMENTS])
        wait_s = self._rng.uniform(0.0, _LONGEST_S)
        self._venue.forget_requests()
        with Start(self._home, self._venue.name, self._rng.randrange(1 << 30)) as life:
            if moment != "starting":
                life.expect_ready()
            if moment == "trading":
                self._settle(life)
                self._trade(life)
            time.sleep(wait_s)
        self._report.moments[moment] += 1

    def conclude(self) -> None:
        """Look a last time, and end in good order."""
        with Start(self._home, self._venue.name, 0) as life:
            life.expect_ready()
            self._settle(life)
            life.end()

    def _settle(self, life: Start) -> None:
        began, trouble = time.monotonic(), ["not looked yet"]
        while trouble:
            # Asked before and after: what moved meanwhile is looked at again.
            before, view, after = self._venue.truth(), life.ask("look"), self._venue.truth()
            trouble = ["it moves"] if before != after else self._differences(view, after)
            if trouble and time.monotonic() - began > SETTLE_S:
                raise Violation(f"{SETTLE_S:.0f} s after a start: {'; '.join(trouble)} ({view.trading})")
            if trouble:
                time.sleep(0.1)
        self._checked.update(view.fills)
        self._fills_checked = len(after.fills)
        self._report.settled_s.append(time.monotonic() - began)
        self._report.orders, self._report.fills = len(after.placed), len(after.fills)
        replayed: Replayed = life.ask("replay")
        self._report.records = replayed.records
        if not replayed.agrees:
            raise Violation(f"I16: {replayed.records} records of the journal do not lead to the state in memory")

    def _differences(self, view: EngineView, truth: VenueTruth) -> list[str]:
        twice = [client_id for client_id, times in truth.placed.items() if times > 1]
        if twice:
            raise Violation(f"I1: asked more than once to place {twice[:4]}")
        if view.external:
            raise Violation(f"I4: taken for somebody else's: {view.external[:4]}")
        if view.waits:
            return [view.waits]
        booked = Counter(content for key, content in view.fills.items() if key not in self._checked)
        happened: Counter[Content] = Counter(truth.fills[self._fills_checked :])
        pairs: list[tuple[str, Any, Any]] = [
            ("I2: fills", happened, booked),
            ("I3: positions", truth.positions, view.positions),
            ("I3: ledgers", truth.positions, view.ledgers),
            ("I4: orders", Counter(truth.resting), Counter(view.working)),
        ]
        return [
            f"{what}: the venue {_short(real)}, the engine {_short(known)}"
            for what, real, known in pairs
            if real != known
        ]

    def _trade(self, life: Start) -> None:
        end = time.monotonic() + SETTLE_S
        while why := life.ask("trade"):
            if time.monotonic() > end:
                raise Violation(f"I15: it cannot be armed again: {why}")
            time.sleep(0.5)


class Start:
    """One life, from its start to its kill.

    Args:
        home: Folder of configuration and state.
        venue: Which venue.
        seed: Of its randomness.
    """

    def __init__(self, home: Path, venue: str, seed: int) -> None:
        self._pipe, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=lead, args=(str(home), venue, seed, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Start:
        """Live."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Die by SIGKILL."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def expect_ready(self) -> None:
        """Wait until it has started."""
        self._answer(START_S)

    def ask(self, what: str) -> Any:
        """Let it do something and return the answer."""
        self._pipe.send(what)
        return self._answer(START_S)

    def end(self) -> None:
        """Let it stop in good order."""
        self._pipe.send("end")
        self._process.join(START_S)
        if self._process.exitcode != 0:
            raise Violation(f"an orderly stop ended with {self._process.exitcode}")

    def _answer(self, seconds: float) -> Any:
        try:
            if self._pipe.poll(seconds):
                return self._pipe.recv()
        except EOFError:
            self._process.join(5)
            raise Violation(f"I15: it ended by itself with {self._process.exitcode}; see its traceback above") from None
        raise Violation(f"I15: it says nothing for {seconds:.0f} s")


def run_kills(venue: str, kills: int, course: Course) -> KillReport:
    """Kill so many times on one venue; ends at the first violation and keeps the folder then."""
    report = KillReport(venue)
    home = course.home(f"kills-{venue}")
    server = VenueProcess(venue, course.seed)
    try:
        server.configure(home, risk=LIMITS)
        lives = Lives(server, home, random.Random(f"{venue} {course.seed}"), report)
        while report.kills < kills and not course.is_over:
            lives.round()
            if report.kills % _TELL_EVERY == 0:
                course.say(f"{venue}: {report.kills} of {kills} kills, {report.orders} orders, {report.fills} fills")
        lives.conclude()
        shutil.rmtree(home)
    except AssertionError as error:
        report.violation = f"after {report.kills} kills: {told(error, home)}"
    finally:
        server.stop()
    return report


def told(error: AssertionError, home: Path) -> str:
    """Return a violation in a line; all of it is written beside the state, which is kept."""
    path = home / "violation.txt"
    with path.open("a") as file:
        file.write(f"{error}\n\n")
    return f"{' '.join(str(error).split())[:300]} (whole: {path})"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) < 400 else f"{text[:400]} ..."
