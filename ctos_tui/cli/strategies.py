"""`ctos-tui strategies`: what can be launched, with every parameter's unit, bounds and default."""

from __future__ import annotations

import inspect
from typing import Any

import click

from ctos_tui.cli.jsonlines import write_line
from engine.boot.strategies import load_strategies


@click.command("strategies", help="List the strategies; with a NAME, explain one and its parameters.")
@click.argument("name", required=False)
@click.option("--config", metavar="DIR", help="Folder whose strategies/ is searched too.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines for scripts.")
def command(name: str | None, config: str | None, as_json: bool) -> None:
    """List strategies, or explain one."""
    catalogue = load_strategies(config)
    chosen = [catalogue.get(name)] if name else [catalogue.classes[key] for key in sorted(catalogue.classes)]
    for strategy in chosen:
        rows = [
            {"name": key, "default": field.get_default(call_default_factory=True), "description": field.description}
            for key, field in strategy.params_model.model_fields.items()
        ]
        if as_json:
            write_line({"type": "strategy", "name": strategy.name, "title": strategy.title, "params": rows})
        elif name:
            _explain(strategy, rows)
        else:
            click.echo(f"{strategy.name:<16} {strategy.title}")
    for path, error in catalogue.failures.items():
        click.echo(f"{path}: does not load: {error}", err=True)


def _explain(strategy: Any, rows: list[dict[str, Any]]) -> None:
    click.echo(f"{strategy.name}: {strategy.title}\n")
    click.echo(inspect.cleandoc(strategy.__doc__ or "") + "\n")
    for row in rows:
        if row["name"] != "risk":
            default = row["default"]
            click.echo(f"  {row['name']:<18} {getattr(default, 'value', default)!s:<12} {row['description'] or ''}")
