"""Real kills and real terminals: `python -m tests.chaos --rounds 100 --kills 200`, or some: `--kinds drop,stall`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import click

from tests.chaos.course import Course
from tests.chaos.kills import run_kills
from tests.chaos.panics import run_panics
from tests.chaos.report import Reports, table, violations_of
from tests.chaos.terminals import KINDS, lose_terminals
from tests.program.terminal import ROOT
from tests.sim.soak import VENUES

_BOUNDARIES = "tests/storage/test_kill_points.py"


def _kinds(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    wanted = list(KINDS) if text == "all" else [] if text == "none" else text.split(",")
    for kind in wanted:
        if kind not in KINDS:
            raise click.BadParameter(f"{kind!r} is none of: {', '.join(KINDS)}")
    return wanted


@click.command(help=__doc__)
@click.option("--rounds", default=10, show_default=True, help="Terminals lost in each way.")
@click.option("--kinds", default="all", callback=_kinds, help=f"Ways, joined by commas: {', '.join(KINDS)}; or none.")
@click.option("--venue", "venues", multiple=True, type=click.Choice(VENUES), help="Venues of kills and halts, or all.")
@click.option("--kills", default=30, show_default=True, help="kill -9 of a trading engine, over the venues.")
@click.option("--panics", default=4, show_default=True, help="Halts while answers are lost, on each venue.")
@click.option("--boundaries/--no-boundaries", default=False, help="Kill at every boundary of the way of an order, too.")
@click.option("--seed", default=1, show_default=True, help="Of the moments and the markets.")
@click.option("--minutes", default=600.0, show_default=True, help="After so long no round begins.")
@click.option("--jobs", default=2, show_default=True, help="How much goes on at once.")
def main(
    rounds: int,
    kinds: list[str],
    venues: tuple[str, ...],
    kills: int,
    panics: int,
    boundaries: bool,
    seed: int,
    jobs: int,
    minutes: float,
) -> None:
    """Do it all; exit 1 when something does not hold."""
    folder = Path(tempfile.mkdtemp(prefix="ctos-chaos-"))
    folder.chmod(0o700)
    course = Course(folder, seed, click.echo, time.monotonic() + minutes * 60)
    work: list[Callable[[], Reports]] = []
    venues = venues or VENUES
    for number, venue in enumerate(venues):
        share = kills // len(venues) + (number < kills % len(venues))
        if share:
            work.append(partial(lambda name, count: [run_kills(name, count, course)], venue, share))
        if panics:
            work.append(partial(lambda name: [run_panics(name, panics, course)], venue))
    if rounds and kinds:
        work.append(partial(lose_terminals, kinds, rounds, course))
    with ThreadPoolExecutor(jobs) as pool:
        reports = [report for found in pool.map(lambda one: one(), work) for report in found]
    click.echo("\n".join(["", *table(reports)]))
    violations = violations_of(reports)
    if boundaries and not _survives_every_boundary():
        violations.append(f"boundaries of the way of an order: see above, or TEST_BOUNDARIES=all pytest {_BOUNDARIES}")
    for violation in violations:
        click.echo(f"VIOLATION {violation}")
    if not violations:
        shutil.rmtree(folder)
    sys.exit(bool(violations))


def _survives_every_boundary() -> bool:
    command = [sys.executable, "-m", "pytest", "-q", _BOUNDARIES]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"TEST_BOUNDARIES": "all"}, check=False).returncode == 0


if __name__ == "__main__":
    main()
