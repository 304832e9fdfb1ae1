"""A journal so large that looking at its pages takes longer than a start: nothing is armed before it is found whole."""

from __future__ import annotations

import asyncio
from pathlib import Path
from threading import Event

import pytest

from engine.boot.options import SystemOptions
from engine.boot.system import running
from engine.io.database import damaged
from engine.kernel.errors import CtosError, TradingHalted
from engine.runtime.trading_state import TradingMode
from tests.storage.mortal import until


@pytest.mark.parametrize("whole", [True, False], ids=["found whole", "found damaged"])
async def test_d04_nothing_is_armed_before_the_pages_were_looked_at(
    home: Path, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = Event()

    def slow_look(connection: object, path: Path) -> None:
        looked.wait()
        if not whole:
            raise damaged(path, "Page 77: btreeInitPage() returns error code 11")

    options = SystemOptions(config=str(home), market="synthetic:3", seed=1)
    async with running(options):
        pass
    monkeypatch.setattr("engine.io.integrity.check_pages", slow_look)
    monkeypatch.setattr("engine.io.journal.CHECK_WAIT_S", 0.01)
    monkeypatch.setattr("engine.boot.system.CHECK_LIMIT_S", 0.05)
    try:
        async with running(options) as system:
            engine = system.engine
            with pytest.raises(TradingHalted, match="still being checked"):
                engine.arm("operator", 60.0)
            looked.set()
            if whole:
                await until(lambda: not system.journal.is_being_checked)
                engine.reconciler.look_at_account()
                await until(lambda: not engine.core.obstacles)
                engine.arm("operator", 60.0)
                return
            await until(lambda: engine.trading.mode is TradingMode.HALTED)
            assert "Page 77" in engine.trading.describe()
            engine.reconciler.look_at_account()
            await until(lambda: any("ctos-tui recover" in text for text in engine.core.obstacles))
            await asyncio.sleep(0)
            with pytest.raises(CtosError, match="cannot rearm"):
                engine.rearm("operator", "it will do")
    finally:
        looked.set()
