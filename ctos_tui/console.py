"""Opens the console beside the engine on one event loop and decides what happens when either ends.

The loop is ours: screens come and go as tasks beside the engine. SIGTERM, SIGINT and the operator end a run
gracefully: the screen leaves first, strategies and orders come to rest, then the engine saves and stops. What a lost
terminal does is configured. SIGUSR1 writes the stacks of all threads to stderr.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import signal
from collections.abc import Mapping
from typing import Any

from ctos_tui.ending import Ending
from ctos_tui.event_loop import run_to_end
from ctos_tui.faces import FrontFace
from ctos_tui.front import Link
from ctos_tui.showing import Screen, Showing
from engine.boot.options import SystemOptions
from engine.boot.system import System, build_system
from engine.boot.winding_down import loss_policy


def open_console(link: Link, theme: str | None, **options: Any) -> int:
    """Run the console and the engine until the end of the program; returns the exit code.

    Args:
        link: The process in front, which has the terminal.
        theme: Name of the theme.
        options: Fields of `SystemOptions`.
    """
    return run_to_end(_run(link, theme, SystemOptions(**options)))


async def _run(link: Link, theme: str | None, options: SystemOptions) -> int:
    loop = asyncio.get_running_loop()
    system = build_system(options, loop, "console")
    faulthandler.register(signal.SIGUSR1)
    ending = Ending(system)
    ending.follow(loop, signal.SIGTERM, signal.SIGINT)
    showing = Showing(system, ending, theme)
    start: asyncio.Task[None] | None = None
    try:
        screen = showing.open(FrontFace(link, loop))
        await _first_frame(screen)
        start = loop.create_task(_start(system), name="engine-start")
        due = loop.create_task(ending.due.wait(), name="ending")
        await asyncio.wait({start, due}, return_when=asyncio.FIRST_COMPLETED)
        if not due.done() and start.exception() is None:
            await due
        ending.tell("the engine could not start")
        due.cancel()
        if start.done():
            start.result()
    finally:
        if start is not None:
            start.cancel()
        try:
            await showing.conclude()
        finally:
            await system.stop()
    return ending.code


async def _first_frame(screen: Screen) -> None:
    """Wait for it; nothing heavy is loaded before."""
    waits = [asyncio.ensure_future(event.wait()) for event in (screen.app.first_frame, screen.over)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    # What exists now lives as long as the program: left out of every later collection, which is short then.
    gc.collect()
    gc.freeze()
    gc.enable()


async def _start(system: System) -> None:
    await system.start()
    warning = _bare_ssh_warning(system, os.environ)
    if warning:
        system.engine.say(warning, "warn")


def _bare_ssh_warning(system: System, environ: Mapping[str, str]) -> str:
    """Return what to say when real money depends on an ssh connection."""
    on_ssh = "SSH_TTY" in environ and not ({"TMUX", "STY"} & environ.keys())
    if not (system.choice.is_live and on_ssh and loss_policy(system) == "stop"):
        return ""
    return (
        "live on a bare ssh connection: when it drops, the program stops, as console.on_terminal_lost: stop says; "
        "run it in tmux, or say detach"
    )
