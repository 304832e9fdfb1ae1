"""Loses terminals, many times in each way."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

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
Say = Callable[[str], object]


def lose_terminals(kinds: list[str], rounds: int, seed: int, folder: Path, say: Say) -> Reports:
    """Lose so many terminals in each of these ways."""
    reports: Reports = []
    losses = [kind for kind in kinds if kind in LOSSES]
    live = round(rounds * LIVE_SHARE)
    if losses and rounds - live:
        reports += _on_one_engine("the engine on paper", None, losses, rounds - live, seed, folder, say)
    if losses and live:
        venue = VenueProcess("okx", seed)
        try:
            reports += _on_one_engine("the live engine", venue, losses, live, seed, folder, say)
        finally:
            venue.stop()
    for kind in kinds:
        if kind in ENDINGS:
            reports.append(_end_consoles(kind, rounds, seed, folder, say))
    return _merged(reports)


def _on_one_engine(
    name: str, venue: VenueProcess | None, kinds: list[str], rounds: int, seed: int, folder: Path, say: Say
) -> Reports:
    """Lose terminals of one engine that lives through all of it."""
    home = folder / f"{'paper' if venue is None else venue.name}-{'-'.join(kinds[:1])}"
    home.mkdir()
    pulse, reports = DeskReport(name), [KindReport(kind) for kind in kinds]
    desk = Desk(home, venue)
    try:
        for report in reports:
            rng = random.Random(f"{report.kind} {seed}")
            desk.gone_s = report.gone_s
            while report.rounds < rounds and len(report.violations) < _MOST_VIOLATIONS:
                began = time.monotonic()
                try:
                    LOSSES[report.kind](desk, rng)
                except AssertionError as error:
                    report.violations.append(f"round {report.rounds}: {told(error, home)}")
                    desk.drop_clients()
                report.rounds += 1
                say(f"{name}: {report.kind} {report.rounds} of {rounds}, {time.monotonic() - began:.1f} s")
        try:
            pulse.longest, pulse.p999, pulse.raw = desk.end()
        except AssertionError as error:
            pulse.violations.append(told(error, home))
    finally:
        desk.close()
    return [*reports, pulse]


def _end_consoles(kind: str, rounds: int, seed: int, folder: Path, say: Say) -> KindReport:
    """End consoles in one way, started anew on the same state each time."""
    home = folder / kind
    home.mkdir()
    ending, on_lost = ENDINGS[kind]
    console, report = Console(home, random.Random(f"{kind} {seed}")), KindReport(kind)
    while report.rounds < rounds and len(report.violations) < _MOST_VIOLATIONS:
        began = time.monotonic()
        try:
            console.round(ending, on_lost)
        except AssertionError as error:
            report.violations.append(f"round {report.rounds}: {told(error, home)}")
        report.rounds += 1
        say(f"{kind} {report.rounds} of {rounds}, {time.monotonic() - began:.1f} s")
    report.gone_s = console.gone_s
    return report


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
