"""Search for violations: `python -m tests.sim --hours 500`; look at one: `python -m tests.sim --venue okx --seed 7`."""

from __future__ import annotations

import sys

import click

from tests.sim.report import summary
from tests.sim.soak import LIMIT_S, VENUES, replay_command, soak
from tests.sim.world import Plan, simulate


@click.command()
@click.option("--hours", default=1.0, help="Simulated hours in all.")
@click.option("--seed", default=1, help="The first seed.")
@click.option("--venue", default="all", type=click.Choice(("all", *VENUES)), help="One venue, or each in turn.")
@click.option("--slice", "slice_h", default=1.0, help="Simulated hours of one seed.")
@click.option("--jobs", default=1, help="Processes.")
@click.option("--limit", "limit_s", default=LIMIT_S, help="Real seconds that one seed may take; more is a failure.")
@click.option("--keep-going", is_flag=True, help="Go on after a violation.")
def main(hours: float, seed: int, venue: str, slice_h: float, jobs: int, limit_s: float, keep_going: bool) -> None:
    """Simulate the real engine and drivers on faulty venues; exit 1 when an invariant does not hold."""
    if venue != "all" and hours <= slice_h:
        reports = [simulate(Plan(seed=seed, hours=hours, venue=venue), click.echo)]
    else:
        venues = VENUES if venue == "all" else (venue,)
        reports = soak(venues, seed, hours, slice_h, jobs, keep_going, click.echo, limit_s)
    click.echo("\n".join(summary(reports)))
    failed = [report for report in reports if report.violations]
    for report in failed:
        click.echo("\n".join(report.lines) if len(failed) == 1 else "")
        click.echo(f"VIOLATION in {report.venue} {report.seed} at {report.simulated_s:.0f} s: {report.violations[0]}")
        click.echo(f"see it again with: {replay_command(report)}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
