"""`ctos-tui init`: commented configuration templates."""

from __future__ import annotations

import os

import click

from engine.io.config import find_paths
from engine.io.templates import write_templates


@click.command("init", help="Write commented ctos.yaml, accounts.yaml and strategies/; existing files stay.")
@click.option("--config", metavar="DIR", help="Where to write; the usual folder when not given.")
def command(config: str | None) -> None:
    """Write the templates and say what was written."""
    for path, written in write_templates(find_paths(config, os.environ)):
        click.echo(f"{'wrote' if written else 'exists'}  {path}")
