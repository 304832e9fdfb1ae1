"""`ctos-tui call`: one trading syscall from a shell or a script."""

from __future__ import annotations

import asyncio
import inspect
from decimal import Decimal, InvalidOperation
from typing import Any

import click

from ctos_tui.cli.jsonlines import write_line
from ctos_tui.cli.options import system_options
from engine.boot.calling import CallDesk
from engine.boot.options import SystemOptions
from engine.boot.system import running
from engine.kernel.errors import ConfigError
from engine.kernel.instruments import InstrumentKind, resolve_symbol
from engine.kernel.orders import OrderType, Side
from engine.kernel.syscalls import Driver

SYSCALLS = [
    "symbols",
    "exchange_limits",
    "get_price_now",
    "get_orderbook",
    "get_klines",
    "fees",
    "server_time",
    "place_order",
    "amend_order",
    "revoke_order",
    "cancel_all",
    "get_open_orders",
    "get_order_status",
    "get_fills",
    "fetch_balance",
    "get_position",
    "close_all_positions",
    "set_leverage",
    "check_account",
    "key_rights",
    "cancel_all_after",
]


@click.command("call", help="Carry out one SYSCALL with key=value arguments; prints JSON, exit 1 on failure.")
@click.argument("syscall", required=False)
@click.argument("arguments", nargs=-1)
@system_options
def command(syscall: str | None, arguments: tuple[str, ...], **options: Any) -> None:
    """Print the result of one syscall."""
    if syscall is None:
        for name in SYSCALLS:
            click.echo(f"{name} {' '.join(_usage(name))}".rstrip())
        return
    if syscall not in SYSCALLS:
        raise ConfigError(f"no syscall {syscall!r}; there are: {', '.join(SYSCALLS)}")
    given: dict[str, str] = {}
    for name, value in map(_split, arguments):
        if name in given:
            raise ConfigError(f"{name}= is given twice: {given[name]!r} and {value!r}")
        given[name] = value
    write_line(asyncio.run(_call(syscall, given, SystemOptions(**options))))


async def _call(syscall: str, given: dict[str, str], options: SystemOptions) -> Any:
    async with running(options) as system:
        values = _convert(syscall, given, system.instruments, system.account)
        return await CallDesk(system).call(syscall, values)


def _split(argument: str) -> tuple[str, str]:
    name, equals, value = argument.partition("=")
    if not equals or not name:
        raise ConfigError(f"argument {argument!r} is not of the form key=value")
    return name, value


def _usage(syscall: str) -> list[str]:
    parameters = list(inspect.signature(getattr(Driver, syscall)).parameters.values())[1:]
    return [f"{p.name}=" if p.default is p.empty else f"[{p.name}={p.default or ''}]" for p in parameters]


def _convert(syscall: str, given: dict[str, str], instruments: Any, account: Any) -> dict[str, Any]:
    """Return typed arguments, by the annotations of the syscall.

    Raises:
        ConfigError: An argument is unknown, missing or of the wrong form.
    """
    signature = inspect.signature(getattr(Driver, syscall))
    parameters = {name: p for name, p in signature.parameters.items() if name != "self"}
    for name in given:
        if name not in parameters:
            raise ConfigError(f"{syscall} has no argument {name!r}; it takes: {' '.join(_usage(syscall)) or 'none'}")
    missing = [name for name, p in parameters.items() if p.default is p.empty and name not in given]
    if missing:
        raise ConfigError(f"{syscall} needs {', '.join(f'{name}=' for name in missing)}")
    values: dict[str, Any] = {}
    for name, text in given.items():
        if name == "symbol":
            values[name] = resolve_symbol(text, instruments, account.default_quote, account.default_kind).symbol
        else:
            values[name] = _value(name, text, str(parameters[name].annotation))
    return values


def _value(name: str, text: str, annotation: str) -> Any:
    try:
        if "Decimal" in annotation:
            number = Decimal(text)
            if not number.is_finite():
                raise ValueError(text)
            return number
        if "bool" in annotation:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        if "int" in annotation:
            return int(text)
        for kind in (Side, OrderType, InstrumentKind):
            if kind.__name__ in annotation:
                return kind(text.lower())
    except (InvalidOperation, ValueError, KeyError):
        allowed = {
            "Decimal": "a number",
            "bool": "true or false",
            "int": "a whole number",
            "Side": "buy or sell",
            "InstrumentKind": "spot or perp",
            "OrderType": ", ".join(OrderType),
        }
        meant = next(words for kind, words in allowed.items() if kind in annotation)
        raise ConfigError(f"{name}={text!r}: must be {meant}") from None
    return text.upper() if name == "currency" else text
