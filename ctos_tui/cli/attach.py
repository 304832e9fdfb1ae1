"""`ctos-tui attach`: brings the console of a running engine to this terminal."""

from __future__ import annotations

import os
import select
import signal
import sys
from typing import Any

import click
import msgspec

from ctos_tui.cli.options import names_account, system_options
from ctos_tui.faces import ATTACH, HANGUP, LET_GO, RESIZE, RESUME, Attach, Bye, Moved, Word
from ctos_tui.front import TerminalKeeper, WakeUp, say
from ctos_tui.terminal.check import terminal_problem
from ctos_tui.terminal.device import drawing_variables
from engine.boot.options import SystemOptions
from engine.boot.reaching import require_account
from engine.io.control_client import ControlClient
from engine.io.control_wire import NoAnswer, NotRunning
from engine.io.paths import find_paths

_GREETING_S = 10.0
"""A busy engine greets late; nothing is lost by waiting."""

_END_S = 20.0
"""So long the end of a process that said good-bye is waited for; the system kills it then."""


@click.command("attach", help="Bring the console of a detached run, or of `ctos-tui run`, to this terminal.")
@system_options
@click.pass_context
def command(context: click.Context, **options: Any) -> None:
    """Show the console here until it is detached, taken over, or the program ends."""
    trouble = terminal_problem()
    if trouble is not None:
        click.echo(f"ctos-tui: {trouble}", err=True)
        sys.exit(2)
    folder = find_paths(options["config"], os.environ).state
    try:
        client = ControlClient(folder, _GREETING_S)
    except NotRunning as error:
        raise NotRunning(f"{error}, so there is nothing to attach to; start it with: ctos-tui") from error
    with client:
        if names_account(context) or options["mode"] or options["market"]:
            require_account(client.hello, SystemOptions(**options))
        sys.exit(_Attached(client).watch())


class _Attached:
    """This terminal, lent to the process that runs the engine.

    Args:
        client: The connection to it.
    """

    def __init__(self, client: ControlClient) -> None:
        self._client = client
        self._keeper = TerminalKeeper(0)

    def watch(self) -> int:
        """Tell of the terminal what the other process cannot see; returns the exit code.

        Raises:
            CtosError: The console cannot be shown.
        """
        wake, client = WakeUp(), self._client
        for number in (signal.SIGWINCH, signal.SIGCONT, signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            wake.watch(number)
        for number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
            signal.signal(number, signal.SIG_IGN)
        asked = client.send(ATTACH, Attach(_where(), drawing_variables()), fds=[0, 2])
        sources: list[WakeUp | ControlClient] = [wake, client]
        try:
            while True:
                ready = select.select(sources, [], [])[0]
                if wake in ready and not self._tell(wake.taken()):
                    return 128 + signal.SIGHUP
                while (reply := client.read(0)) is not None:
                    if reply.number != asked:
                        continue
                    if not reply.more:
                        return self._part(msgspec.json.decode(reply.body, type=Bye))
                    self._obey(msgspec.json.decode(reply.body, type=Word))
        except NoAnswer:
            self._keeper.restore()
            click.echo(f"ctos-tui: {client.hello.text}, has ended without a word", err=True)
            return 1

    def _tell(self, numbers: bytes) -> bool:
        """Pass on what happened; returns whether there still is a terminal."""
        for number in numbers:
            if number == signal.SIGHUP:
                self._client.send(HANGUP, Moved())
                return False
            if number in (signal.SIGTERM, signal.SIGINT):
                self._client.send(LET_GO, Moved())
            elif number == signal.SIGWINCH:
                self._client.send(RESIZE, Moved())
            elif number == signal.SIGCONT and self._keeper.is_in_foreground:
                self._client.send(RESUME, Moved())
        return True

    def _obey(self, word: Word) -> None:
        if word.restore:
            self._keeper.restore()
        if word.text:
            say(2, word.text.encode() + b"\n")

    def _part(self, bye: Bye) -> int:
        """Wait for the other process's end if it ends; returns the exit code."""
        if bye.ends and hasattr(os, "pidfd_open"):
            try:
                ended = os.pidfd_open(self._client.hello.pid)
            except ProcessLookupError:
                return bye.code
            select.select([ended], [], [], _END_S)
            os.close(ended)
        return bye.code


def _where() -> str:
    """Return which terminal this is, for people."""
    client = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
    return os.ttyname(0) + (f" over ssh from {client}" if client else "")
