"""Options that several subcommands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h|d)$")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Duration(click.ParamType[float]):
    """A length of time such as `300s`, `10m` or `2h`; the value is in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds a text means."""
        if isinstance(value, float):
            return value
        match = _DURATION.match(str(value))
        if match is None or float(match[1]) == 0:
            self.fail(f"{value!r} is not a duration such as 300s, 10m or 2h", param, ctx)
        return float(match[1]) * _UNIT_S[match[2]]


def system_options(function: F) -> F:
    """Add the options that choose account, configuration and market."""
    for option in reversed(
        [
            click.option("--account", default="0", metavar="N", show_default=True, help="Account by position or name."),
            click.option("--exchange", metavar="X", help="Venue of the account."),
            click.option("--mode", type=click.Choice(["paper", "live"]), help="Can only lower live to paper."),
            click.option("--config", metavar="DIR", help="Folder of ctos.yaml and accounts.yaml."),
            click.option("--market", metavar="M", help="Of paper: synthetic:SEED, replay:FILE, live[:VENUE]."),
            click.option("--speed", metavar="S", help="1, N or max."),
            click.option("--seed", type=int, metavar="N", help="Seed of all randomness."),
        ]
    ):
        function = option(function)
    return function


def names_account(context: click.Context) -> bool:
    """Return whether an account was typed; whoever types none means, of a running engine, the one that runs."""
    sources = [context.get_parameter_source(name) for name in ("account", "exchange")]
    return click.core.ParameterSource.COMMANDLINE in sources
