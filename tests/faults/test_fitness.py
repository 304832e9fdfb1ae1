"""An account that is not set up as the configuration says is not armed, and says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.boot.system import running
from engine.kernel.errors import TradingHalted
from engine.kernel.orders import OrderState, OrderType, Side
from engine.runtime.accounts import MANUAL
from tests.boot.conftest import home, write_accounts
from tests.boot.test_emulated_venues import configure, emulator, order, quoted
from tests.boot.test_real_venues import until
from tests.engine.floor import d
from tests.venues.conformance.wire import WIRES
from tests.venues.emulators.core import Emulator

__all__ = ["emulator", "home"]


def net_positions(emulator: Any) -> None:
    """Leave hedge mode, as the operator does on the venue's site."""
    if emulator.name == "okx":
        emulator.pos_mode = "net_mode"
    else:
        emulator.account.dual_side = False


async def test_e24_hedge_mode_refuses_to_arm_until_it_is_left(emulator: Emulator, home: Path) -> None:
    switch = WIRES[emulator.name].hedge
    if switch is None:
        pytest.skip("the venue has net positions only")
    switch(emulator)
    async with running(configure(home, emulator)) as system:
        engine = system.engine
        with pytest.raises(TradingHalted, match="hedge") as refused:
            engine.arm("operator", 60)
        assert "\n" not in str(refused.value)
        symbol = await quoted(system)
        with pytest.raises(TradingHalted):
            engine.submit(MANUAL, symbol, Side.BUY, OrderType.MARKET, d("0.01"))
        assert emulator.exchange.registry.open == {} and not emulator.executions()
        net_positions(emulator)
        engine.reconciler.look_at_account()
        await until(lambda: not engine.core.obstacles, 20)
        engine.arm("operator", 60)
        alarms: list[str] = []
        engine.core.alarm = lambda kind, text, *more, **fields: alarms.append(text)  # type: ignore[method-assign]
        switch(emulator)
        engine.reconciler.look_at_account()
        await until(lambda: any("hedge" in text for text in alarms), 20)


async def test_e24_another_leverage_than_configured_refuses_to_arm_and_names_the_command(
    emulator: Emulator, home: Path
) -> None:
    options = configure(home, emulator)
    accounts = (home / "accounts.yaml").read_text()
    write_accounts(home, accounts.rstrip() + '\n    "leverage": 7\n')
    async with running(options) as system:
        engine, symbol = system.engine, await quoted(system)
        with pytest.raises(TradingHalted, match=f"set_leverage symbol={symbol} leverage=7"):
            engine.arm("operator", 60)
        assert not emulator.executions()
        for each in system._traded_perpetuals():
            await system.driver.set_leverage(each, d("7"))
        engine.reconciler.look_at_account()
        await until(lambda: not engine.core.obstacles, 20)
        engine.arm("operator", 60)
        sent = engine.submit(MANUAL, symbol, Side.BUY, OrderType.MARKET, d("0.01"))
        await until(lambda: order(system, sent).state is OrderState.FILLED, 20)
