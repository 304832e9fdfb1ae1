"""Opens the console beside the engine on one event loop and decides what happens when either ends.

The loop is ours: the screen is one task beside the engine, so that the terminal may go without taking the engine
along. A lost terminal, SIGTERM and SIGINT end a run gracefully: the screen leaves first, then the engine saves and
stops. SIGUSR1 writes the stacks of all threads to stderr.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import signal
from typing import Any

import click

from ctos_tui.terminal.check import terminal_problem
from engine.boot.options import SystemOptions
from engine.boot.system import build_system

_EXIT_LIMIT_S = 20


def open_console(theme: str | None, **options: Any) -> int:
    """Run the console until the operator leaves or the terminal is lost; returns the exit code."""
    trouble = terminal_problem()
    if trouble is not None:
        click.echo(f"ctos-tui: {trouble}", err=True)
        return 2
    return asyncio.run(_run(theme, SystemOptions(**options)))


async def _run(theme: str | None, options: SystemOptions) -> int:
    from ctos_tui.app import ConsoleApp
    from ctos_tui.local_port import LocalPort

    loop = asyncio.get_running_loop()
    system = build_system(options, loop)
    app = ConsoleApp(LocalPort(system), theme=theme)
    faulthandler.register(signal.SIGUSR1)
    leaving = asyncio.Event()

    def leave(reason: str) -> None:
        if leaving.is_set():
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(1)
            return
        leaving.set()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_EXIT_LIMIT_S)
        app.leave(reason)

    def lost(where: str) -> None:
        # One hang-up is noticed by signal and by read or write: that is no second request to leave at once.
        if not leaving.is_set():
            leave(f"the terminal was lost ({where})")

    app.on_terminal_lost = lost  # type: ignore[method-assign]
    loop.add_signal_handler(signal.SIGHUP, lost, "hangup")
    loop.add_signal_handler(signal.SIGTERM, leave, "terminated")
    loop.add_signal_handler(signal.SIGINT, leave, "interrupted")
    screen = asyncio.create_task(app.run_async(), name="console")
    painted = asyncio.create_task(app.first_frame.wait(), name="first-frame")
    try:
        await asyncio.wait({screen, painted}, return_when=asyncio.FIRST_COMPLETED)
        # What exists now lives as long as the program: left out of every later collection, which is short then.
        gc.collect()
        gc.freeze()
        gc.enable()
        if screen.done():
            await screen
            return app.return_code or 0
        start = asyncio.create_task(system.start(), name="engine-start")
        await asyncio.wait({screen, start}, return_when=asyncio.FIRST_COMPLETED)
        if start.done() and start.exception() is not None:
            app.leave("the engine could not start")
        await screen
        if start.done():
            start.result()
        else:
            start.cancel()
    finally:
        painted.cancel()
        screen.cancel()
        await system.stop()
    return app.return_code or 0
