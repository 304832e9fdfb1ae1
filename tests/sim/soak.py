"""Many seeds, in several processes, and what came of them together."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from engine.kernel.clock import NS_PER_S, monotonic_ns
from tests.sim.report import Report
from tests.sim.workers import Run, Seed, Worker, ready
from tests.sim.world import Plan, simulate

VENUES = ("okx", "binance", "backpack")
LIMIT_S = 600.0
"""Real seconds that one seed may take: an hour of it takes about ten on a free processor."""


def run_seed(venue: str, seed: int, hours: float) -> Report:
    """Return what happens in one seed; it ends at the first violation."""
    return simulate(Plan(seed=seed, hours=hours, venue=venue))


def replay_command(report: Report) -> str:
    """Return the command that shows a seed again, round by round."""
    return f".venv/bin/python -m tests.sim --venue {report.venue} --seed {report.seed} --hours {report.hours:g}"


def soak(
    venues: tuple[str, ...],
    first_seed: int,
    hours: float,
    slice_h: float,
    jobs: int,
    keep_going: bool,
    say: Callable[[str], object],
    limit_s: float = LIMIT_S,
    run: Run = run_seed,
) -> list[Report]:
    """Run seeds until there are enough simulated hours; without `keep_going` only until the first violation.

    A seed whose process dies, or that takes more than `limit_s` real seconds, is a violation.
    """
    began_ns = monotonic_ns()
    plans = _plans(venues, first_seed, hours, slice_h)
    reports: list[Report] = []
    workers: list[Worker] = []
    done_h, failed = 0.0, False
    try:
        while True:
            workers = [worker for worker in workers if not worker.gone]
            busy = [worker for worker in workers if worker.seed is not None]
            while len(busy) < jobs and (keep_going or not failed):
                seed = next(plans, None)
                if seed is None:
                    break
                worker = next((worker for worker in workers if worker.seed is None), None)
                if worker is None:
                    worker = Worker(run, limit_s)
                    workers.append(worker)
                worker.begin(seed)
                busy.append(worker)
            if not busy:
                return reports
            for worker in ready(busy):
                report = worker.report()
                reports.append(report)
                done_h += report.simulated_s / 3600
                failed = failed or bool(report.violations)
                took_s = (monotonic_ns() - began_ns) / NS_PER_S
                say(f"{done_h:8.1f} of {hours:g} h  {done_h / took_s:.2f} h/s  {report.line()}")
    finally:
        for worker in workers:
            worker.close()


def _plans(venues: tuple[str, ...], first_seed: int, hours: float, slice_h: float) -> Iterator[Seed]:
    seed, left_h = first_seed, hours
    while left_h > 1e-9:
        for venue in venues:
            if left_h > 1e-9:
                yield venue, seed, min(slice_h, left_h)
                left_h -= slice_h
        seed += 1
