"""`ctos-tui decode`: looks into any capture through the real driver code."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from ctos_tui.cli.jsonlines import write_line
from engine.boot import decode_stream
from engine.kernel.errors import ConfigError


@click.command("decode", help="Normalised events of VENUE's raw messages in FILE (.gz too), or of stdin.")
@click.argument("venue")
@click.argument("file", required=False, type=click.Path(path_type=Path))
def command(venue: str, file: Path | None) -> None:
    """Print one JSON line an event; counts go to stderr at the end."""
    stream = decode_stream(venue, _lines(file))
    for event in stream.events:
        write_line(event)
    sys.stdout.flush()
    click.echo(stream.summary(), err=True)


def _lines(file: Path | None) -> Iterator[bytes]:
    if file is None:
        yield from sys.stdin.buffer
        return
    try:
        with _open(file) as source:
            yield from source
    except (OSError, EOFError) as error:
        raise ConfigError(f"cannot read {file}: {error}; name a readable text or .gz capture") from error


def _open(file: Path) -> BinaryIO:
    if file.suffix == ".gz":
        return gzip.open(file, "rb")  # type: ignore[return-value]
    return file.open("rb")
