"""Loses terminals, many times in each way."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos.course import Course
from tests.chaos.desk import Desk
from tests.chaos.endings import ENDINGS, Console
from tests.chaos.kills import told
from tests.chaos.losses import LOSSES
from tests.chaos.report import DeskReport, KindReport, Reports
from tests.chaos.venue import VenueProcess

KINDS = (*LOSSES, *ENDINGS)
LIVE_SHARE = 0.2
"""Which share of the losses befalls an engine that trades live on a venue's emulator; the rest is on paper."""
_MOST_VIOLATIONS = 3


def lose_terminals(kinds: list[str], rounds: int, course: Course) -> Reports:
    """Lose so many terminals in each of these ways."""
    reports: Reports = []
    losses = [kind for kind in kinds if kind in LOSSES]
    live = round(rounds * LIVE_SHARE)
    if losses and live:
        venue = VenueProcess("okx", course.seed)
        try:
            reports += _on_one_engine("the live engine", venue, losses, live, course)
        finally:
            venue.stop()
    if losses and rounds - live:
        reports += _on_one_engine("the engine on paper", None, losses, rounds - live, course)
    endings = [kind for kind in kinds if kind in ENDINGS]
    return _merged(reports) + _end_consoles(endings, rounds, course)


def _on_one_engine(name: str, venue: VenueProcess | None, kinds: list[str], rounds: int, course: Course) -> Reports:
    """Lose terminals of one engine that lives through all of it, in one way after the other."""
    home = course.home(f"{'paper' if venue is None else venue.name}-{kinds[0]}")
    pulse, reports = DeskReport(name), {kind: KindReport(kind) for kind in kinds}
    desk, rng = Desk(home, venue), random.Random(f"{name} {course.seed}")

    def lose(report: KindReport) -> None:
        desk.gone_s = report.gone_s
        try:
            LOSSES[report.kind](desk, rng)
        finally:
            desk.drop_clients()

    try:
        desk.begin()
        _in_turn(name, reports, rounds, lose, home, course)
        pulse.unanswered = desk.unanswered
        pulse.longest, pulse.p999, pulse.raw = desk.end()
    except AssertionError as error:
        pulse.violations.append(told(error, home))
    finally:
        desk.close()
    return [*reports.values(), pulse]


def _end_consoles(kinds: list[str], rounds: int, course: Course) -> Reports:
    """End consoles in one way after the other, started anew on the same state each time."""
    if not kinds:
        return []
    home = course.home(f"console-{kinds[0]}")
    reports = {kind: KindReport(kind) for kind in kinds}
    console = Console(home, random.Random(f"endings {course.seed}"))

    def end(report: KindReport) -> None:
        console.gone_s = report.gone_s
        console.round(*ENDINGS[report.kind])

    _in_turn("console", reports, rounds, end, home, course)
    return [*reports.values()]


def _in_turn(
    name: str,
    reports: dict[str, KindReport],
    rounds: int,
    lose: Callable[[KindReport], None],
    home: Path,
    course: Course,
) -> None:
    """Go through all ways, round after round; one that fails often is left out."""
    for number in range(1, rounds + 1):
        for report in reports.values():
            if course.is_over or len(report.violations) >= _MOST_VIOLATIONS:
                continue
            began = time.monotonic()
            try:
                lose(report)
            except AssertionError as error:
                report.violations.append(f"round {number}: {told(error, home)}")
                course.say(f"{report.kind}: VIOLATION in {report.violations[-1]}")
            report.rounds += 1
            course.say(f"{name}: {report.kind} {number} of {rounds}, {time.monotonic() - began:.1f} s")


def _merged(reports: Reports) -> Reports:
    """Join what happened in one way on several engines."""
    kinds: dict[str, KindReport] = {}
    others: Reports = []
    for report in reports:
        if not isinstance(report, KindReport):
            others.append(report)
            continue
        kind = kinds.setdefault(report.kind, KindReport(report.kind))
        kind.rounds += report.rounds
        kind.gone_s += report.gone_s
        kind.violations += report.violations
    return [*kinds.values(), *others]
