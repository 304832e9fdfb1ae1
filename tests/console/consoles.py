"""Consoles for tests: over a scripted system, and over the whole stack with its synthetic market."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from textual.pilot import Pilot

from ctos_tui.app import ConsoleApp
from ctos_tui.guard.keys import KeyGuard, KeyLimits
from ctos_tui.local_port import LocalPort
from ctos_tui.panes.rows import Rows
from engine.boot.options import SystemOptions
from engine.boot.system import System, build_system
from tests.console.scripted import ScriptedPort

PATIENT = KeyLimits(age_ms=60_000, burst_keys=10_000, held_ms=0, dialog_ms=0)
"""Limits under which keys pressed as fast as a test can are taken for a person's."""


def console(port: ScriptedPort | LocalPort, **options: object) -> ConsoleApp:
    """A console whose panes must not fail, and whose keys may come fast."""
    options.setdefault("guard", KeyGuard(PATIENT))
    return ConsoleApp(port, strict=True, **options)  # type: ignore[arg-type]


@asynccontextmanager
async def opened(app: ConsoleApp, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Pilot[None]]:
    """The console once its first frame is there."""
    async with app.run_test(size=size) as pilot:
        await app.first_frame.wait()
        yield pilot


def screen_text(app: ConsoleApp, pane: str | None = None) -> str:
    """What the screen, or one pane, shows as text."""
    app.frames.paint_all()
    if pane is not None:
        view = app.desk_screen.pane(pane).view
        return "\n".join("".join(text for text, _ in line.spans) for line in view.lines())
    shown = [widget for widget in app.screen.query(Rows) if widget.showing]
    return "\n".join("\n".join("".join(t for t, _ in line.spans) for line in w.view.lines()) for w in shown)


async def until(pilot: Pilot[None], condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    """Let the system run until something holds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not condition():
        if loop.time() > end:
            app = pilot.app
            assert isinstance(app, ConsoleApp)
            log = "\n".join(f"{entry.level} {entry.source} {entry.text}" for entry in list(app.feed.log)[-15:])
            raise AssertionError(f"{what} did not come true in {seconds} s\n{screen_text(app)}\n{log}")
        await pilot.pause(0.02)


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys, one after the other."""
    for key in keys:
        await pilot.press(key)


async def enter_line(pilot: Pilot[None], line: str, *, submit: int = 1) -> None:
    """Open the prompt, type a line, press Enter so often."""
    app = pilot.app
    assert isinstance(app, ConsoleApp)
    if not app.prompt.is_open:
        await pilot.press("colon")
    for sign in line:
        await pilot.press({" ": "space"}.get(sign, sign))
    for _ in range(submit):
        await pilot.press("enter")


@asynccontextmanager
async def running_console(config: Path, size: tuple[int, int] = (120, 40)) -> AsyncIterator[tuple[Pilot[None], System]]:
    """A console over the whole stack: paper venue, engine, journal, synthetic market."""
    system = build_system(SystemOptions(config=str(config), market="synthetic:7", seed=7), asyncio.get_running_loop())
    app = console(LocalPort(system))
    try:
        async with opened(app, size) as pilot:
            await system.start()
            await until(pilot, lambda: (app.look(), app.session.focus)[1], "the market")
            await until(pilot, lambda: system.engine.market.book(app.session.focus).best_bid, "the book")
            await until(pilot, lambda: system.engine.market.last(app.session.focus), "a price")
            app.look()
            yield pilot, system
    finally:
        await system.stop()
