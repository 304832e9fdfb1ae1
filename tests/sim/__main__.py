"""Search for violations: `python -m tests.sim --seed 1 --hours 10 --venue okx`."""

from __future__ import annotations

import sys

import click

from engine.kernel.clock import monotonic_ns
from tests.sim.world import Plan, simulate


@click.command()
@click.option("--seed", default=1, help="First seed; each slice of hours takes the next one.")
@click.option("--hours", default=1.0, help="Simulated hours in all.")
@click.option("--venue", default="okx", type=click.Choice(("okx", "binance", "backpack")))
@click.option("--slice", "slice_h", default=2.0, help="Simulated hours of one seed.")
@click.option("--quiet", is_flag=True, help="One line a seed.")
def main(seed: int, hours: float, venue: str, slice_h: float, quiet: bool) -> None:
    """Simulate the real engine and driver on a faulty venue and stop at the first violation."""
    left, began = hours, monotonic_ns()
    while left > 1e-9:
        plan = Plan(seed=seed, hours=min(slice_h, left), venue=venue)
        started = monotonic_ns()
        result = simulate(plan, (lambda line: None) if quiet else click.echo)
        took_s = (monotonic_ns() - started) / 1e9
        rate = result.simulated_s / 3600 / took_s
        click.echo(
            f"seed {seed} {venue}: {result.simulated_s / 3600:.2f} h in {took_s:.1f} s ({rate:.2f} h/s), "
            f"{result.orders} orders, {result.fills} fills, {result.counts['crashes']} crashes, {result.halts} halts, "
            f"{result.rounds} comparisons, {sum(result.faults.values())} faults, trace {result.digest}"
        )
        if result.violations:
            click.echo("\n".join(result.lines))
            click.echo(f"VIOLATION of seed {seed} at {result.simulated_s:.0f} s: {result.violations[0]}")
            sys.exit(1)
        left -= plan.hours
        seed += 1
    click.echo(f"{hours} simulated hours without a violation in {(monotonic_ns() - began) / 1e9:.0f} s")


if __name__ == "__main__":
    main()
