"""What came of the terminals that were lost, and a table of everything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.chaos.desk import GAP_S, GONE_S
from tests.chaos.kills import KillReport
from tests.chaos.panics import PanicReport


@dataclass(slots=True)
class KindReport:
    """One way of losing a terminal.

    Attributes:
        gone_s: How long each screen took to go.
        violations: What did not hold, with what to look at.
    """

    kind: str
    rounds: int = 0
    gone_s: list[float] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


@dataclass(slots=True)
class DeskReport:
    """The pulse of one engine over all the screens that it lost; seconds.

    Attributes:
        longest: The longest gap but for the waits for a core, which other work took.
        p999: That gap but for one in a thousand.
        raw: The longest with these waits.
        unanswered: How often the engine had no time for `attach` within two seconds.
    """

    name: str
    longest: float = 0.0
    p999: float = 0.0
    raw: float = 0.0
    unanswered: int = 0
    violations: list[str] = field(default_factory=list)


Reports = list[KindReport | DeskReport | KillReport | PanicReport]


def rank(values: list[float], share: float) -> float:
    """Return the value below which such a share lies, 0 without values."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] if values else 0.0


def violations_of(reports: Reports) -> list[str]:
    """Return everything that did not hold."""
    found: list[str] = []
    for report in reports:
        match report:
            case KindReport():
                found += [f"{report.kind}: {text}" for text in report.violations]
                late = [seconds for seconds in report.gone_s if seconds > GONE_S]
                if late:
                    found.append(f"{report.kind}: the screen took {max(late):.2f} s to go, {len(late)} times too long")
            case DeskReport():
                found += [f"{report.name}: {text}" for text in report.violations]
                if report.p999 > GAP_S:
                    found.append(f"{report.name}: I11: gaps of {report.p999:.3f} s in the engine's loop (p99.9)")
            case KillReport() | PanicReport():
                found += [f"{report.venue}: {report.violation}"] if report.violation else []
    return found


def table(reports: Reports) -> Iterator[str]:
    """Yield the lines of the table."""
    kinds = [report for report in reports if isinstance(report, KindReport)]
    if kinds:
        yield f"{'terminal lost by':<26}{'rounds':>7}{'gone p50':>10}{'p99':>8}{'max':>8}  violations"
    for kind in kinds:
        gone = "".join(f"{rank(kind.gone_s, share):{width}.3f}" for share, width in ((0.5, 10), (0.99, 8), (1.0, 8)))
        yield f"{kind.kind:<26}{kind.rounds:>7}{gone}  {len(kind.violations)}"
    for report in reports:
        match report:
            case DeskReport():
                gaps = f"gap p99.9 {report.p999 * 1000:.0f} ms, longest {report.longest * 1000:.0f} ms"
                yield f"pulse of {report.name}: {gaps}, {report.raw * 1000:.0f} ms with waits for a core"
                yield f"    {report.unanswered} times no time for attach within two seconds"
            case KillReport():
                moments = ", ".join(f"{count} while {name}" for name, count in report.moments.most_common())
                yield f"kill -9 on {report.venue}: {report.kills} ({moments}); {_verdict(report.violation)}"
                counts = f"{report.orders} orders, {report.fills} fills, {report.records} records"
                yield f"    {counts}; {_spread('agreed', report.settled_s)}"
            case PanicReport():
                how = f"{report.halts} ({report.killed} killed in the middle)"
                yield f"halts on {report.venue}: {how}; {_verdict(report.violation)}"
                yield f"    {report.orders} orders; {_spread('nothing rested', report.confirmed_s)}"


def _verdict(violation: str) -> str:
    return "VIOLATION" if violation else "no violation"


def _spread(what: str, seconds: list[float]) -> str:
    return f"{what} after {rank(seconds, 0.5):.2f} s, at most {rank(seconds, 1.0):.1f} s"
