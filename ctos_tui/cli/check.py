"""`ctos-tui check`: files, keys, rights, settings, and one order there and back."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from typing import Any

import click

from ctos_tui.cli.jsonlines import write_line
from ctos_tui.cli.options import system_options
from ctos_tui.failing import harmless
from engine.boot.checking import CheckTarget, Finding, check, find_target
from engine.boot.notify_check import check_notifications
from engine.boot.options import SystemOptions
from engine.kernel.errors import ConfigError

_MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: ("–", "yellow")}


@click.command("check", help="Check an account's files, keys and rights, and send one trial order; exit 1 on a fault.")
@system_options
@click.option("--live", is_flag=True, help="On real money: send the trial order after the account's name was typed.")
@click.option("--notify", is_flag=True, help="Send a trial message to every target of notifications.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines for scripts.")
def command(live: bool, notify: bool, as_json: bool, **options: Any) -> None:
    """Print what was found, line by line."""
    chosen = SystemOptions(**options, tells_life=False, guards=False)
    target = find_target(chosen)
    trade = not target.is_live or (live and _is_confirmed(target))
    if not asyncio.run(_run(target, chosen, trade, notify, as_json)):
        sys.exit(1)


def _is_confirmed(target: CheckTarget) -> bool:
    """Let a person type the account's name.

    Raises:
        ConfigError: Nobody is there to type it, or another name was typed.
    """
    name = target.entry.name
    if not sys.stdin.isatty():
        raise ConfigError("--live sends an order with real money and needs a person at a terminal to type the name")
    typed = click.prompt(
        f"One small order will be sent to {target.entry.venue} with real money. Account name", err=True
    )
    if typed != name:
        raise ConfigError(f"{typed!r} is not the account's name; no order was sent")
    return True


async def _run(target: CheckTarget, options: SystemOptions, trade: bool, notify: bool, as_json: bool) -> bool:
    is_fit = True
    for findings in (check(target, options, trade), check_notifications(target, notify)):
        async with aclosing(findings):
            async for finding in findings:
                is_fit = is_fit and finding.ok is not False
                if as_json:
                    write_line({"type": "check", "name": finding.name, "ok": finding.ok} | _words(finding))
                else:
                    _show(finding)
    return is_fit


def _words(finding: Finding) -> dict[str, str]:
    return {"detail": finding.detail} | ({"advice": finding.advice} if finding.advice else {})


def _show(finding: Finding) -> None:
    mark, colour = _MARKS[finding.ok]
    click.echo(f"{click.style(mark, fg=colour)} {finding.name:<22} {harmless(finding.detail)}")
    if finding.advice:
        click.echo(f"  {'':<22} {click.style(harmless(finding.advice), fg='yellow')}")
