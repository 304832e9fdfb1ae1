"""The disk of the logs fills up, or the logs are taken away: trading does not notice, a person is told once."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import pytest

from engine.boot.options import SystemOptions
from engine.boot.system import System, running
from engine.io.files import read_checked
from engine.kernel.orders import OrderState, OrderType, Side
from engine.runtime.accounts import MANUAL
from engine.runtime.anomalies import AnomalyChanged
from tests.boot.test_real_venues import until
from tests.engine.floor import d

PERP = "BTC-USDT-PERP"


async def trade(system: System) -> None:
    """Buy a little more than is held at the market, and wait until it is booked."""
    engine, before = system.engine, system.engine.portfolio.quantity(PERP)
    more = before + d("0.001")
    sent = engine.submit(MANUAL, PERP, Side.BUY, OrderType.MARKET, more)
    await until(lambda: engine.tracker.get(sent).state is OrderState.FILLED, 10)
    assert engine.portfolio.quantity(PERP) == before + more
    system.logs.flush()
    system.monitor._write_backup()


async def test_d07_a_full_log_disk_leaves_trading_alone_and_is_one_alarm(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, fsync, refused = os.write, os.fsync, []

    def refuse(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if "/logs/" in path:
            refused.append(path)
            raise OSError(28, "No space left on device")

    def half_write(descriptor: int, content: bytes) -> int:
        if "/logs/" in os.readlink(f"/proc/self/fd/{descriptor}"):
            write(descriptor, content[: len(content) // 2])
        refuse(descriptor)
        return write(descriptor, content)

    def no_fsync(descriptor: int) -> None:
        refuse(descriptor)
        fsync(descriptor)

    async with running(SystemOptions(config=str(home), market="synthetic:3")) as system:
        engine, told = system.engine, []
        engine.market.watch(PERP)
        await until(lambda: engine.market.quote(PERP), 10)
        engine.arm("ann")
        await trade(system)
        system.bus.subscribe(AnomalyChanged, lambda event: told.append((event.anomaly.kind, event.notify)))
        monkeypatch.setattr(os, "write", half_write)
        monkeypatch.setattr(os, "fsync", no_fsync)
        for _ in range(3):
            await trade(system)
            await until(lambda: any("operation_log" in path for path in refused), 10)
        await until(lambda: any("position_backup" in path for path in refused), 10)
        assert engine.trading.mode.value == "armed" and engine.journal.failed is None
        assert [notify for kind, notify in told if kind == "file_not_written"].count(True) == 1
        assert len({path.rpartition("/")[2] for path in refused}) > 2, "several files, one alarm"
        monkeypatch.setattr(os, "write", write)
        monkeypatch.setattr(os, "fsync", fsync)
        await trade(system)
        system.paths.logs.rename(home / "rotated")  # a rotation that takes the whole folder away
        await trade(system)
        backup = system.paths.logs / "paper_account0_position_backup.json"
        await until(backup.exists, 10)
    assert Decimal(read_checked(backup)["positions"][0]["qty"]) == Decimal("0.063")
