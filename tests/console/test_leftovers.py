"""What screens that have ended leave in memory."""

from __future__ import annotations

import asyncio
import gc
import os
import pty

from textual._styles_cache import StylesCache
from textual.app import ComposeResult
from textual.widgets import Static

from ctos_tui.terminal.app import TerminalApp
from ctos_tui.terminal.device import TerminalDevice
from ctos_tui.theme import load_theme


class Page(TerminalApp[None]):
    def compose(self) -> ComposeResult:
        yield from (Static(f"line {number}") for number in range(10))

    def on_ready(self) -> None:
        self.call_after_refresh(self.exit)


async def kept_after_a_screen() -> int:
    master, slave = pty.openpty()
    loop = asyncio.get_running_loop()
    loop.add_reader(master, os.read, master, 65536)
    await Page(load_theme("ctos-dark"), device=TerminalDevice.of(slave, slave)).run_on_terminal()
    loop.remove_reader(master)
    os.close(master)
    os.close(slave)
    gc.collect()
    return sum(isinstance(kept, StylesCache) for kept in gc.get_objects())


async def test_screen_after_screen_no_more_is_kept_in_memory() -> None:
    first, *later = [await kept_after_a_screen() for _ in range(4)]
    assert max(later) <= first
