"""`ctos-tui recover`: a damaged journal is put aside, and a new one begins from what the venues say."""

from __future__ import annotations

import asyncio

import click

from engine.boot.options import SystemOptions
from engine.boot.recovering import Recovered, recover

_QUESTION = """The journal is put aside, never deleted. A new one begins:
  live     positions and open orders are taken over from the venue, into the ledger of the operator; what was in a
           strategy's ledger is the operator's then. Bans and numbers of client ids are kept. It comes up halted.
  paper    the venue's own state is carried over when it can be read, else the account begins anew.
  lost     ledgers and memory of strategies, the daily loss so far, loss limits' high-water marks, old trades.
Go on?"""


@click.command("recover", help="Put a damaged journal aside and begin a new one from what the venues say.")
@click.option("--config", metavar="DIR", help="Folder of ctos.yaml and accounts.yaml.")
@click.option("--force", is_flag=True, help="Begin anew although the journal is whole.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(config: str | None, force: bool, yes: bool) -> None:
    """Ask, put the file aside, and say what was kept and what happens next."""
    if not yes:
        click.confirm(_QUESTION, abort=True, err=True)
    for line in _lines(asyncio.run(recover(SystemOptions(config=config), force))):
        click.echo(line)


def _lines(done: Recovered) -> list[str]:
    kept = done.recovery
    lines = [done.trouble or "the journal was whole", f"it is kept in {kept.aside}"]
    lines.append(f"carried over: {kept.carried} values (client ids, bans, notes, paper accounts)")
    if kept.unreadable:
        lines.append(f"not readable: {', '.join(kept.unreadable)}")
    if not done.has_paper:
        lines.append("paper accounts begin anew")
    if done.halted:
        lines.append("live accounts come up halted: compare positions and open orders, then rearm")
    return lines
