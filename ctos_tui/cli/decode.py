"""`ctos-tui decode`: looks into any capture through the real driver code."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ctos_tui.cli.jsonlines import naming_stdout, write_line
from engine.boot.decoding import decode_stream
from engine.io.raw_files import open_raw, raw_lines


@click.command("decode", help="Normalised events of VENUE's raw messages in FILE (.gz too), or of stdin.")
@click.argument("venue")
@click.argument("file", required=False, type=click.Path(path_type=Path))
def command(venue: str, file: Path | None) -> None:
    """Print one JSON line an event; counts go to stderr at the end."""
    with open_raw(file) if file is not None else sys.stdin.buffer as source:
        stream = decode_stream(venue, raw_lines(source, str(file or "stdin")))
        for event in stream.events:
            write_line(event)
    with naming_stdout():
        sys.stdout.flush()
    click.echo(stream.summary(), err=True)
