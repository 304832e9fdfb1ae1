"""`ctos-tui probe`: the network between this machine and the venues, step by step, with advice."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import click

from ctos_tui.cli.jsonlines import write_line
from engine.boot.probing import EndpointReport, VenueReport, chosen_venues, probe, proxy_note
from engine.io.config import Config, Paths, find_paths, load_config
from engine.kernel.clock import LoopClock

if TYPE_CHECKING:
    from rich.text import Text

_NAMES = {"dns": "name", "tcp": "connection", "tls": "encryption", "http": "request", "ws": "socket", "clock": "clock"}


@click.command("probe", help="Look at the way to every VENUE (all when none is named); exit 1 when something fails.")
@click.argument("venues", nargs=-1)
@click.option("--config", metavar="DIR", help="Folder of ctos.yaml.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines for scripts.")
def command(venues: tuple[str, ...], config: str | None, as_json: bool) -> None:
    """Print one table a venue, or one JSON line an address."""
    paths = find_paths(config, os.environ)
    reports = asyncio.run(_probe(chosen_venues(venues), load_config(paths), paths))
    note = proxy_note(os.environ)
    if as_json:
        _write_json(reports, note)
    else:
        _write_table(reports, note)
    if not all(report.ok for report in reports):
        sys.exit(1)


async def _probe(venues: list[str], config: Config, paths: Paths) -> list[VenueReport]:
    clock = LoopClock(asyncio.get_running_loop())
    return list(await asyncio.gather(*(probe(venue, config, paths, clock) for venue in venues)))


def _write_json(reports: list[VenueReport], note: str | None) -> None:
    for report in reports:
        for endpoint in report.endpoints:
            head = {"type": "probe", "venue": report.venue, "environment": report.environment}
            write_line(
                head | {"endpoint": endpoint.name, "url": endpoint.url, "ok": endpoint.ok, "steps": endpoint.steps}
            )
    if note is not None:
        write_line({"type": "note", "text": note})


def _write_table(reports: list[VenueReport], note: str | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(soft_wrap=False)
    for report in reports:
        verdict = Text("can be used", "green") if report.ok else Text("has trouble", "bold red")
        console.print(Text.assemble((report.venue, "bold"), f" ({report.environment}) ", verdict))
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        for endpoint in report.endpoints:
            table.add_row(Text("  " + endpoint.name), *_step_cells(endpoint))
        console.print(table)
        for advice in dict.fromkeys(_advice(report)):
            console.print(Text(f"  {advice}", "yellow"))
    if note is not None:
        console.print(Text(note, "yellow"))


def _step_cells(endpoint: EndpointReport) -> list[Text]:
    """Return the failed step's words, or every step with its time, and the address."""
    from rich.text import Text

    failed = next((step for step in endpoint.steps if not step.ok), None)
    if failed is not None:
        return [Text("✗ " + _NAMES[failed.name], "bold red"), Text(failed.detail), Text(endpoint.url, "dim")]
    times = "  ".join(f"{_NAMES[step.name]} {step.ms or 0:,.0f} ms" for step in endpoint.steps)
    return [Text("✓", "green"), Text(times), Text(endpoint.url, "dim")]


def _advice(report: VenueReport) -> list[str]:
    return [
        f"{endpoint.name}: {step.advice}"
        for endpoint in report.endpoints
        for step in endpoint.steps
        if not step.ok and step.advice
    ]
