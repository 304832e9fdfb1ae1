"""Many seeds, in several processes, and what came of them together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context

from engine.kernel.clock import NS_PER_S, monotonic_ns
from tests.sim.report import Report
from tests.sim.world import Plan, simulate

VENUES = ("okx", "binance", "backpack")


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
) -> list[Report]:
    """Run seeds until there are enough simulated hours; without `keep_going` only until the first violation."""
    began_ns = monotonic_ns()
    plans = _plans(venues, first_seed, hours, slice_h)
    reports: list[Report] = []
    done_h, failed = 0.0, False
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        running: set[Future[Report]] = set()
        while True:
            while len(running) < jobs and not (failed and not keep_going):
                plan = next(plans, None)
                if plan is None:
                    break
                running.add(pool.submit(run_seed, *plan))
            if not running:
                return reports
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                report = future.result()
                reports.append(report)
                done_h += report.simulated_s / 3600
                failed = failed or bool(report.violations)
                took_s = (monotonic_ns() - began_ns) / NS_PER_S
                say(f"{done_h:8.1f} of {hours:g} h  {done_h / took_s:.2f} h/s  {report.line()}")


def _plans(venues: tuple[str, ...], first_seed: int, hours: float, slice_h: float) -> Iterator[tuple[str, int, float]]:
    seed, left_h = first_seed, hours
    while left_h > 1e-9:
        for venue in venues:
            if left_h > 1e-9:
                yield venue, seed, min(slice_h, left_h)
                left_h -= slice_h
        seed += 1
