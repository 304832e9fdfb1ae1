"""Hunt mutants: `python -m tests.mutants`, or some of them by name; exits 1 when one survives."""

from __future__ import annotations

import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import click

from tests.mutants.hunt import Hunt, HuntError, Verdict
from tests.mutants.mutant import Mutant, TextChanged
from tests.mutants.mutants import MUTANTS

ROOT = Path(__file__).resolve().parents[2]


@click.command()
@click.argument("ids", nargs=-1)
@click.option("--jobs", default=1, help="How many mutants at a time.")
@click.option("--limit-s", default=900.0, help="Seconds for one mutant; what is not found by then survived.")
@click.option("--unchecked", is_flag=True, help="Do not look first whether the healthy tree passes.")
@click.option("--list", "only_list", is_flag=True, help="Only list them.")
def main(ids: tuple[str, ...], jobs: int, limit_s: float, unchecked: bool, only_list: bool) -> None:
    """Break the engine on purpose, one bug at a time, and see that the simulation or a state machine finds it."""
    known = {mutant.id: mutant for mutant in MUTANTS}
    if unknown := [name for name in ids if name not in known]:
        sys.exit(f"no mutant is called {', '.join(unknown)}; --list names all")
    chosen = [known[name] for name in ids] or list(MUTANTS)
    if only_list:
        click.echo("\n".join(f"{mutant.id:32} {mutant.path:42} {mutant.loses}" for mutant in chosen))
        return
    try:
        for mutant in chosen:
            mutant.text(ROOT)
        verdicts = hunt_all(chosen, jobs, limit_s, unchecked)
    except (TextChanged, HuntError) as error:
        sys.exit(str(error))
    survivors = [verdict.mutant.id for verdict in verdicts if not verdict.killer]
    by_tests = sum(verdict.by_test for verdict in verdicts)
    by_search = len(verdicts) - len(survivors) - by_tests
    click.echo(
        f"{by_search + by_tests} of {len(verdicts)} killed: {by_search} by simulated trading or a state machine, "
        f"{by_tests} by the test that is named for it"
    )
    if survivors:
        sys.exit(f"survived: {', '.join(survivors)}")


def hunt_all(chosen: list[Mutant], jobs: int, limit_s: float, unchecked: bool) -> list[Verdict]:
    """Return what became of mutants, each told as soon as it is known.

    Raises:
        HuntError: The healthy tree does not pass, or a killer cannot run.
    """
    with tempfile.TemporaryDirectory(prefix="ctos-mutants-") as folder:
        hunts: SimpleQueue[Hunt] = SimpleQueue()
        for number in range(jobs):
            scratch = Path(folder) / str(number)
            scratch.mkdir()
            hunts.put(Hunt(ROOT, scratch, limit_s))
        if not unchecked:
            hunt = hunts.get()
            hunt.check(chosen)
            hunts.put(hunt)
            click.echo("the healthy tree passes")

        def one(mutant: Mutant) -> Verdict:
            hunt = hunts.get()
            try:
                verdict = hunt.hunt(mutant)
            finally:
                hunts.put(hunt)
            click.echo(verdict.line())
            return verdict

        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(one, chosen))


if __name__ == "__main__":
    main()
