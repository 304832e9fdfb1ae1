"""How failures leave the program: inert text without secrets, whatever a venue put into it."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType

import click

from engine.kernel.errors import CtosError


def tell(error: CtosError) -> None:
    """Write an error to stderr, one line for each thing that is wrong."""
    name = "" if type(error) is CtosError else f"{type(error).__name__}: "
    click.echo(harmless(f"ctos-tui: {name}{error}"), err=True)


def harmless(text: str) -> str:
    """Return text with secrets masked, and nothing in it that a terminal would obey."""
    from ctos_tui.text import clean
    from engine.io.secrets import process_redactor

    return "\n".join(clean(line, 4000) for line in process_redactor.clean(text).splitlines())


def mask_tracebacks() -> None:
    """Let what Python prints about an error that nobody expected pass through the same cleaning."""
    sys.excepthook = _on_unexpected


def _on_unexpected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(harmless(text) + "\n")
