"""Prints the fault matrix with the tests that prove each row: `python -m tests.faults`."""

from __future__ import annotations

import sys

import click

from tests.faults.matrix import CollectionError, collect, load, table, unknown


@click.command()
@click.option("--check", is_flag=True, help="Fail when a test's name carries an id that the matrix does not know.")
def main(check: bool) -> None:
    """Print the fault matrix with the tests that prove each row."""
    rows = load()
    try:
        tests = collect()
    except CollectionError as error:
        click.echo(error, err=True)
        sys.exit(2)
    click.echo(table(rows, tests))
    strangers = unknown(rows, tests)
    for fault, carriers in strangers.items():
        click.echo(f"{fault} is in no row of tests/faults/matrix.yaml: {', '.join(carriers)}", err=True)
    sys.exit(1 if check and strangers else 0)


if __name__ == "__main__":
    main()
