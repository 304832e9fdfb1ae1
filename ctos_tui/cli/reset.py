"""`ctos-tui reset`: a paper account begins anew."""

from __future__ import annotations

from typing import Any

import click

from ctos_tui.cli.options import system_options
from engine.boot.options import SystemOptions
from engine.boot.resetting import reset_account


@click.command("reset", help="Forget orders, positions, money and strategies of a paper account on one market.")
@system_options
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(yes: bool, **options: Any) -> None:
    """Ask, then put the account back to its first balances."""
    chosen = SystemOptions(**options)
    if not yes:
        click.confirm("Forget all orders, positions, money and strategies of this paper account?", abort=True)
    account = reset_account(chosen)
    click.echo(f"{account.venue}/{account.name} on {account.market} begins anew")
