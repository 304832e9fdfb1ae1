"""Pictures of every screen: frozen clock, a seeded market that has been stepped, no timers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot

from ctos_tui.app import ConsoleApp
from ctos_tui.frame import Pace
from tests.console.consoles import console, enter_line, press
from tests.console.scripted import BTC, busy_port, populate

Scene = Callable[[ConsoleApp, Pilot[None]], Awaitable[None]]
SIZES = {"80x24": (80, 24), "120x40": (120, 40), "200x60": (200, 60)}
THEMES = ("ctos-dark", "ctos-light")


async def desk(app, pilot):
    """The desk as it opens."""


async def staged(app, pilot):
    app.session.arm(None, None)
    await press(pilot, "1", "g", "down", "down", "down", "b")


async def completing(app, pilot):
    await enter_line(pilot, "buy 500$ btc @ ", submit=0)


async def refused(app, pilot):
    app.session.arm(None, None)
    await enter_line(pilot, "buy 2 btc @ best post")


async def wrong_word(app, pilot):
    await enter_line(pilot, "buy 0,5 btc @ best", submit=0)


async def confirming(app, pilot):
    app.session.arm(None, None)
    await enter_line(pilot, "buy 500$ btc @ mkt")


async def halted(app, pilot):
    await press(pilot, "f9")


async def stale(app, pilot):
    app.port.stale.add(BTC)


async def chart(app, pilot):
    await press(pilot, "2", "i", "i", "i", "i", "z")


async def launching(app, pilot):
    await press(pilot, "8", "n", "enter")


async def amending(app, pilot):
    await press(pilot, "8", "a", *"12", "enter")


async def stopping(app, pilot):
    await press(pilot, "8", "t")


async def strategies(app, pilot):
    await press(pilot, "8", "enter")


async def anomalies(app, pilot):
    await press(pilot, "9", "enter")


async def order_life(app, pilot):
    await press(pilot, "h", "enter")


async def helping(app, pilot):
    await press(pilot, "question_mark")


async def palette(app, pilot):
    await press(pilot, "ctrl+p", *"chart")


async def quitting(app, pilot):
    await press(pilot, "q")


async def jumping(app, pilot):
    await press(pilot, "o")


def going(pane: str) -> Scene:
    async def scene(app, pilot):
        app.activate(pane)

    scene.__name__ = f"{pane}_tab"
    return scene


CARDS = (launching, amending, stopping, strategies, anomalies, order_life, helping, palette, quitting)
LINES = (staged, completing, refused, wrong_word, confirming, halted, stale)
TABS = tuple(
    map(going, ("markets", "trades", "orders", "fills", "strategies", "anomalies", "log", "history", "account"))
)
CASES = [
    *((scene, size, theme) for scene in (desk, staged, chart) for size in SIZES for theme in THEMES),
    *((scene, "120x40", "ctos-dark") for scene in (*LINES[1:], *CARDS, jumping)),
    *((scene, "80x24", "ctos-dark") for scene in (*LINES[1:], *CARDS, *TABS)),
    *((scene, "80x24", "ctos-light") for scene in (confirming, halted, helping, launching)),
    *((desk, "120x40", theme) for theme in ("contrast", "blue-orange", "east", "ansi-dark", "ansi-light", "mono")),
]
SMALL = [(79, 23), (60, 16), (59, 15), (40, 10), (20, 5)]


def picture(scene: Scene, size: tuple[int, int], theme: str, snap_compare) -> bool:
    port = busy_port()
    app = console(port, theme=theme, pace=Pace(fixed=True))
    frozen = app.frames.now()
    app.frames.now = lambda: frozen

    async def run_before(pilot: Pilot[None]) -> None:
        await app.first_frame.wait()
        populate(port)
        app.frames.paint_all()
        await scene(app, pilot)
        await pilot.pause()
        app.frames.paint_all()
        await pilot.pause()

    return snap_compare(app, terminal_size=size, run_before=run_before)


@pytest.mark.parametrize(("scene", "size", "theme"), CASES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_screen(scene, size, theme, snap_compare):
    assert picture(scene, SIZES[size], theme, snap_compare)


@pytest.mark.parametrize("size", SMALL, ids=lambda size: f"{size[0]}x{size[1]}")
def test_small_screen(size, snap_compare):
    assert picture(desk, size, "ctos-dark", snap_compare)
