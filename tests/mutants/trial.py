"""Simulated trading in the tree of the working directory: `python -m tests.mutants.trial okx:1:0.5::13000 ...`.

Writes one JSON line and exits 1 at the first violation.
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path

import engine
from tests.mutants.mutant import Seed
from tests.sim.report import Report
from tests.sim.world import Plan, simulate

VIOLATION = 1
CRASH_S, HALT = 90.0, 0.6
"""More crashes and halts than the soak has: an hour of this has to find what days of the other find."""


def run(seed: Seed) -> Report:
    """Return what happens in one seed."""
    plan = Plan(
        seed=seed.seed,
        hours=seed.hours,
        venue=seed.venue,
        crash_s=CRASH_S,
        halt=HALT,
        only=seed.only,
        limit_usd=Decimal(seed.limit_usd),
    )
    return simulate(plan)


def main(seeds: list[Seed]) -> int:
    """Run seeds until one finds something; return the exit code."""
    origin = Path(engine.__file__ or "").resolve()
    if not origin.is_relative_to(Path.cwd()):
        sys.exit(f"the engine comes from {origin}, not from {Path.cwd()}")
    hours = 0.0
    for seed in seeds:
        report = run(seed)
        hours += report.simulated_s / 3600
        if report.violations:
            told = {"killer": f"{seed.venue} seed {seed.seed}", "hours": hours, "found": report.violations[0]}
            sys.stdout.write(json.dumps(told) + "\n")
            return VIOLATION
    return 0


if __name__ == "__main__":
    sys.exit(main([Seed.parse(text) for text in sys.argv[1:]]))
