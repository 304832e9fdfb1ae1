"""Whether there is a terminal that the console can use, before anything of it is loaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping


def terminal_problem(environ: Mapping[str, str] = os.environ) -> str | None:
    """Say in one sentence why the console cannot open here, or None when it can."""
    streams = {"input": sys.__stdin__, "output": sys.__stdout__, "error": sys.__stderr__}
    for name, stream in streams.items():
        if stream is None or not stream.isatty():
            return (
                f"the console needs a terminal, and standard {name} is not one; "
                "run it in a terminal (over ssh: `ssh -t`), or use `ctos-tui run` for no screen"
            )
    if environ.get("TERM", "") in ("", "dumb"):
        return (
            f"the console cannot draw on this terminal (TERM={environ.get('TERM', '')!r}); "
            "set TERM to what the terminal is, for example `export TERM=xterm-256color`"
        )
    return None
