"""Money that comes and goes by no trade at an emulated venue is booked with its reason, and is no profit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.boot.system import System, running
from tests.boot.test_emulated_money import unexplained
from tests.boot.test_emulated_venues import configure, emulator, quoted
from tests.boot.test_real_venues import until
from tests.engine.floor import d
from tests.venues.emulators.core import Emulator
from tests.venues.emulators.okx import OkxEmulator

__all__ = ["emulator"]


@pytest.fixture
async def live(emulator: Emulator, home: Path) -> AsyncIterator[System]:
    """A live system on an emulated venue that knows its equity."""
    async with running(configure(home, emulator)) as system:
        await quoted(system)
        await until(lambda: system.engine.portfolio.anchor, 20)
        yield system


@pytest.mark.parametrize("emulator", ["okx"], indirect=True)
async def test_e17_a_transfer_is_booked_from_the_venues_bills_and_explains_the_equity(
    live: System, emulator: OkxEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, operations = live.engine, []
    engine.core.oplog = lambda op, **fields: operations.append((op, fields))
    equity = engine.portfolio.equity()
    assert equity is not None and unexplained(live) == 0
    for amount in (d(500), d(-200)):
        emulator.bills.transfer("USDT", amount * equity / 1000)
    engine.reconciler.look_at_account()
    await until(lambda: unexplained(live), 20)
    live.monitor.evaluate()
    anchor = engine.portfolio.anchor
    await until(lambda: engine.core.state.books.cash_since(anchor.ts) == unexplained(live), 20)
    monkeypatch.setattr("engine.runtime.account_detectors.SETTLED_NS", 0)
    live.monitor.evaluate()
    live.monitor.evaluate()
    assert engine.portfolio.day_profit() == 0 and "equity_gap" not in {one.kind for one in live.monitor.anomalies}
    booked = [fields["det"] for op, fields in operations if op == "LedgerTransfer"]
    assert [text.partition(",")[0] for text in booked] == ["transfer in", "transfer out"]


@pytest.mark.parametrize("emulator", ["binance", "backpack"], indirect=True)
async def test_e17_where_the_venue_does_not_tell_transfers_a_gap_warns_and_blocks_nothing(
    live: System, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.runtime.account_detectors.SETTLED_NS", 0)
    engine = live.engine
    currency = next(name for name in emulator.exchange.account.money.deposits if name.startswith("USD"))
    emulator.exchange.account.deposit(currency, engine.portfolio.equity() or d(0))
    engine.reconciler.look_at_account()
    await until(lambda: unexplained(live), 20)
    live.monitor.evaluate()
    (gap,) = [one for one in live.monitor.anomalies if one.kind == "equity_gap"]
    assert gap.severity.value == "WARN" and live.monitor.entry_block("manual", "BTC-USDT-PERP") == ""
    live.monitor.decide(gap.id, "ann", "paid in")
    for _ in range(3):
        live.monitor.evaluate()
    assert not gap.is_active
