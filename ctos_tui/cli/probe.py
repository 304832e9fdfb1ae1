"""`ctos-tui probe`: the network between this machine and the venues, step by step, with advice."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from ctos_tui.cli.jsonlines import write_line
from ctos_tui.failing import harmless
from engine.boot.probing import EndpointReport, Step, VenueReport, chosen_venues, probe, proxy_note
from engine.io.config import Config, Paths, find_paths, load_config
from engine.kernel.clock import LoopClock

if TYPE_CHECKING:
    from rich.table import Table

_STEPS = ("dns", "tcp", "tls", "http", "ws", "clock")


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
    from rich.text import Text

    console = Console(highlight=False)
    for report in reports:
        verdict = Text("can be used", "green") if report.ok else Text("has trouble", "bold red")
        console.print(Text.assemble((report.venue, "bold"), f" ({report.environment}) ", verdict))
        console.print(_times(report))
        for text, names in _grouped(report, _fault):
            console.print(Text.assemble(("  ✗ ", "bold red"), f"{names}: {harmless(text)}"))
        for text, names in _grouped(report, lambda endpoint, step: step.advice):
            console.print(Text(f"  → {names}: {harmless(text)}", "yellow"))
        console.print()
    if note is not None:
        console.print(Text(note, "yellow"))


def _times(report: VenueReport) -> Table:
    """Return a row an address: what each step took in ms, the clock's offset, ✗ where it went wrong."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  ms")
    for name in _STEPS:
        table.add_column(name, justify="right")
    for endpoint in report.endpoints:
        steps = {step.name: step for step in endpoint.steps}
        cells = [_cell(steps[name]) if name in steps else ("", "") for name in _STEPS]
        table.add_row(f"  {endpoint.name}", *(Text(text, style) for text, style in cells))
    return table


def _cell(step: Step) -> tuple[str, str]:
    if not step.ok:
        return "✗", "bold red"
    if step.name == "clock":
        return f"{step.ms or 0:+,.0f}", "green"
    return f"{step.ms or 0:,.0f}", "green"


def _fault(endpoint: EndpointReport, step: Step) -> str:
    """Return what was seen, with the host where it does not say that itself."""
    host = urlsplit(endpoint.url).netloc
    return step.detail if host.partition(":")[0] in step.detail else f"{host}: {step.detail}"


def _grouped(report: VenueReport, words: Callable[[EndpointReport, Step], str]) -> list[tuple[str, str]]:
    """Return what is said of failed steps, each text once, with the names of the addresses that it is said of."""
    names: dict[str, list[str]] = {}
    for endpoint in report.endpoints:
        for step in endpoint.steps:
            if not step.ok and (text := words(endpoint, step)):
                names.setdefault(text, []).append(endpoint.name)
    return [(text, ", ".join(found)) for text, found in names.items()]
