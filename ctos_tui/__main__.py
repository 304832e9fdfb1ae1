"""The `ctos-tui` command: the console by default, its subcommands for work without a screen.

Every subcommand is imported when it is called, so that the console's first frame does not wait for what it does not
need. Errors come out as one line: bad usage and bad files exit with 2, everything else that fails with 1.
"""

from __future__ import annotations

import errno
import gc
import importlib
import os
import sys
from typing import Any

import click

from ctos_tui.failing import mask_tracebacks, tell
from engine.kernel.errors import (
    ConfigError,
    CtosError,
    StateLocked,
    StorageError,
    UnknownAccount,
    UnknownStrategy,
    UnknownVenue,
)

_COMMANDS = {
    "run": ("ctos_tui.cli.run", "The same engine with no screen; JSON lines on stdout."),
    "attach": ("ctos_tui.cli.attach", "Bring the console of a running engine to this terminal."),
    "panic": ("ctos_tui.cli.panic", "Halt a running engine from another shell and cancel its orders."),
    "call": ("ctos_tui.cli.call", "One trading syscall; JSON on stdout."),
    "init": ("ctos_tui.cli.init", "Write commented configuration templates."),
    "strategies": ("ctos_tui.cli.strategies", "List the strategies and their parameters."),
    "probe": ("ctos_tui.cli.probe", "Look at the network between here and the venues."),
    "check": ("ctos_tui.cli.check", "Check an account: files, keys, rights, a trial order."),
    "decode": ("ctos_tui.cli.decode", "Raw venue messages to normalised events."),
    "recover": ("ctos_tui.cli.recover", "Put a damaged journal aside and begin a new one from the venues."),
    "reset": ("ctos_tui.cli.reset", "Begin a paper account anew, with its first balances."),
    "record": ("ctos_tui.cli.record", "Record the market to files that `--market replay:` reads."),
}
_USAGE_ERRORS = (ConfigError, UnknownAccount, UnknownVenue, UnknownStrategy, StateLocked)


class LazyGroup(click.Group):
    """A command group whose subcommands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a subcommand."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name][0])
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--account", default="0", metavar="N", show_default=True, help="Account by position or name.")
@click.option("--exchange", metavar="X", help="Venue of the account; the configured default when not given.")
@click.option("--mode", type=click.Choice(["paper", "live"]), help="Can only lower a live account to paper.")
@click.option("--config", metavar="DIR", help="Folder of ctos.yaml and accounts.yaml, with the state below it.")
@click.option("--market", metavar="M", help="Of paper: synthetic:SEED, replay:FILE, live[:VENUE].")
@click.option("--speed", metavar="S", help="Speed of a replayed market: 1, N or max.")
@click.option("--seed", type=int, metavar="N", help="Seed of all randomness: the same seed, the same run.")
@click.option("--theme", metavar="T", help="Theme of the console.")
@click.version_option(package_name="ctos-tui", prog_name="ctos-tui")
@click.pass_context
def cli(context: click.Context, **options: Any) -> None:
    """CTOS: run trading strategies from a terminal. Without a command the console opens, on paper money by default."""
    if context.invoked_subcommand is None:
        from ctos_tui.front import Link, stand_in_front
        from ctos_tui.terminal.check import terminal_problem

        trouble = terminal_problem()
        if trouble is not None:
            click.echo(f"ctos-tui: {trouble}", err=True)
            sys.exit(2)
        link = Link(stand_in_front())
        gc.disable()  # until the first frame: nothing that importing makes is garbage
        os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # none is meant, and the search for them is slow
        from ctos_tui.console import open_console

        theme = options.pop("theme")
        sys.exit(open_console(link, theme=theme, **options))
    given = [name for name in options if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]
    if given:
        names = ", ".join(f"--{name}" for name in given)
        raise click.UsageError(f"put {names} behind the command: ctos-tui {context.invoked_subcommand} {names} ...")


def main() -> None:
    """Run the command line and end the process with its exit code."""
    if sys.stdout is None:  # closed by the caller
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    mask_tracebacks()
    try:
        cli.main(prog_name="ctos-tui", standalone_mode=False)
        from ctos_tui.cli.jsonlines import naming_stdout

        with naming_stdout():
            sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except CtosError as error:
        tell(error)
        if isinstance(error, StorageError):
            _forget_stdout()
        sys.exit(2 if isinstance(error, _USAGE_ERRORS) else 1)
    except BrokenPipeError:
        _forget_stdout()
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        click.echo(f"ctos-tui: cannot write: {error.strerror}", err=True)
        _forget_stdout()
        sys.exit(1)


def _forget_stdout() -> None:
    """Let nothing that waits in stdout's buffer fail again when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
