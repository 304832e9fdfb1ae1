"""Screens that come and go on one engine."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ctos_tui.ending import Ending
from ctos_tui.showing import Showing
from engine.boot.options import SystemOptions
from engine.boot.system import build_system


async def test_screen_after_screen_nobody_more_listens_to_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def app(port: Any, workplace: Any, device: Any, **options: Any) -> Any:
        return SimpleNamespace(device=device)

    monkeypatch.setattr("ctos_tui.app.ConsoleApp", app)
    nowhere = os.open(os.devnull, os.O_RDWR)
    monkeypatch.setattr(Showing, "_start", lambda showing, work: work.close())
    lent = SimpleNamespace(input=nowhere)
    face: Any = SimpleNamespace(environ={}, front=None, lend=lambda: lent, watch=lambda screen: None)
    options = SystemOptions(config=str(tmp_path), market="synthetic:3", seed=1)
    system = build_system(options, asyncio.get_running_loop(), "run")
    try:
        showing, heard = Showing(system, Ending(system)), []
        for _ in range(3):
            showing.open(face)
            heard.append({kind: len(handlers) for kind, handlers in system.bus._handlers.items()})
        assert heard[0] == heard[1] == heard[2]
    finally:
        system.close()
        os.close(nowhere)
