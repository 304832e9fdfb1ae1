"""`ctos-tui call`: one trading syscall from a shell or a script."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import click

from ctos_tui.cli.jsonlines import write_text
from ctos_tui.cli.options import system_options
from engine.boot.calling import CallDesk
from engine.boot.control import SyscallOrder, SyscallResult
from engine.boot.options import SystemOptions
from engine.boot.reaching import require_account
from engine.boot.syscall_arguments import SYSCALLS, convert, usage
from engine.boot.system import running
from engine.io.control_client import ControlClient
from engine.io.control_wire import NotRunning
from engine.io.paths import find_paths
from engine.io.plain_json import to_json
from engine.kernel.errors import ConfigError

_ANSWER_S = 60.0
"""Longer than any syscall takes: one that sends orders waits for each answer, at most ten seconds."""


@click.command("call", help="Carry out one SYSCALL with key=value arguments; prints JSON, exit 1 on failure.")
@click.argument("syscall", required=False)
@click.argument("arguments", nargs=-1)
@system_options
def command(syscall: str | None, arguments: tuple[str, ...], **options: Any) -> None:
    """Print the result of one syscall."""
    if syscall is None:
        for name in SYSCALLS:
            click.echo(f"{name} {' '.join(usage(name))}".rstrip())
        return
    if syscall not in SYSCALLS:
        raise ConfigError(f"no syscall {syscall!r}; there are: {', '.join(SYSCALLS)}")
    given: dict[str, str] = {}
    for name, value in map(_split, arguments):
        if name in given:
            raise ConfigError(f"{name}= is given twice: {given[name]!r} and {value!r}")
        given[name] = value
    write_text(_call(syscall, given, SystemOptions(**options, tells_life=False, guards=False)))


def _call(syscall: str, given: dict[str, str], options: SystemOptions) -> str:
    """Carry it out in the process that runs on the state folder, else in a system of its own; return JSON."""
    try:
        client = ControlClient(find_paths(options.config, os.environ).state)
    except NotRunning:
        return asyncio.run(_call_here(syscall, given, options))
    with client:
        require_account(client.hello, options)
        (result,) = client.ask("call", SyscallOrder(syscall, given), SyscallResult, _ANSWER_S)
        return result.line


async def _call_here(syscall: str, given: dict[str, str], options: SystemOptions) -> str:
    async with running(options) as system:
        values = convert(syscall, given, system.instruments, system.account)
        return to_json(await CallDesk(system).call(syscall, values))


def _split(argument: str) -> tuple[str, str]:
    name, equals, value = argument.partition("=")
    if not equals or not name:
        raise ConfigError(f"argument {argument!r} is not of the form key=value")
    return name, value
