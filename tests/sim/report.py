"""What came of a simulation, as numbers that add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Report:
    """What happened in one seed.

    Attributes:
        hours: How long it should have been.
        digest: Hash of everything that happened; the same in every run of the seed.
        events: How many things that is.
        rounds: How often the engine's books were compared with the venue's truth.
        lives: How often the program was started.
        counts: Commands, refusals, crashes and what else there was, by name.
        faults: By kind.
        violations: Texts; the run ends at the first.
        lines: The last lines of the trace.
    """

    venue: str = ""
    seed: int = 0
    hours: float = 0.0
    digest: str = ""
    events: int = 0
    simulated_s: float = 0.0
    rounds: int = 0
    lives: int = 0
    halts: int = 0
    orders: int = 0
    fills: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return it in one line."""
        told = (
            f"{self.venue} {self.seed}: {self.orders} orders, {self.fills} fills, {self.counts['crashes']} crashes, "
            f"{self.halts} halts, {sum(self.faults.values())} faults, {self.rounds} comparisons, trace {self.digest}"
        )
        return f"{told}  VIOLATION: {self.violations[0]}" if self.violations else told


def summary(reports: Iterable[Report]) -> list[str]:
    """Return what several seeds come to."""
    total, seeds = Report(), 0
    for report in reports:
        seeds += 1
        total.simulated_s += report.simulated_s
        total.events += report.events
        total.rounds += report.rounds
        total.lives += report.lives
        total.halts += report.halts
        total.orders += report.orders
        total.fills += report.fills
        total.counts.update(report.counts)
        total.faults.update(report.faults)
        total.violations += report.violations
    numbers = {
        "seeds": seeds,
        "simulated hours": round(total.simulated_s / 3600, 1),
        "orders": total.orders,
        "fills": total.fills,
        "crashes": total.counts["crashes"],
        "orderly stops": total.counts["stops"],
        "starts": total.lives,
        "kill trips": total.halts,
        "faults": sum(total.faults.values()),
        "comparisons with the venue's truth": total.rounds,
        "violations": len(total.violations),
    }
    lines = [f"{name:>36} {value:>12,}" for name, value in numbers.items()]
    lines.append("faults: " + ", ".join(f"{name} {count}" for name, count in total.faults.most_common()))
    lines.append("also: " + ", ".join(f"{name} {count}" for name, count in total.counts.most_common()))
    return lines
