"""Real orders need the file, a key that may trade, and a person; none of these alone is enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.boot.choosing import choose
from engine.boot.options import SystemOptions
from engine.boot.system import running
from engine.kernel.account import KeyRights
from engine.kernel.errors import ConfigError, TradingHalted
from engine.kernel.orders import OrderType, Side
from engine.runtime.accounts import MANUAL, Mode
from engine.runtime.trading_state import TradingMode
from tests.boot.conftest import LIVE, write_accounts
from tests.boot.fake_venue import Behaviour
from tests.boot.test_real_venues import PERP, d, options, quoted, until


def buy(system, quantity: str = "0.01") -> str:
    return system.engine.submit(MANUAL, PERP, Side.BUY, OrderType.MARKET, d(quantity))


async def test_o05_a_flag_alone_never_makes_real_orders(venue: Behaviour, home: Path) -> None:
    with pytest.raises(ConfigError, match="--mode can only lower live to paper"):
        choose(options(home, mode="live"))
    write_accounts(home, LIVE.replace("mode: live", "mode: paper"))
    with pytest.raises(ConfigError, match="--mode can only lower live to paper"):
        choose(options(home, mode="live"))
    async with running(options(home)) as system:
        assert system.account.mode is Mode.PAPER and venue.made[-1].setup.credentials is None
    assert not any(driver.exchange.registry.fills for driver in venue.made)


async def test_o05_a_live_file_alone_sends_nothing_until_a_person_arms_it(venue: Behaviour, home: Path) -> None:
    write_accounts(home)
    async with running(options(home)) as system:
        await quoted(system)
        assert system.engine.trading.mode is TradingMode.DISARMED and not system.may_arm_itself
        with pytest.raises(TradingHalted, match="disarmed"):
            buy(system)
        system.engine.arm("operator")
        with pytest.raises(TradingHalted, match="orders by hand are locked"):
            buy(system)
        with pytest.raises(TradingHalted, match="orders by hand are locked"):
            system.engine.soft(MANUAL, PERP, Side.BUY, d("0.01"))
        assert venue.made[0].exchange.open_orders() == [] and not venue.made[0].exchange.registry.fills
        system.engine.arm("operator", 60)
        buy(system)
        await until(lambda: system.engine.portfolio.quantity(PERP) == d("0.01"))
        system.engine.disarm("operator")
        with pytest.raises(TradingHalted, match="disarmed"):
            buy(system)


async def test_o05_a_key_without_the_right_to_trade_cannot_be_armed(venue: Behaviour, home: Path) -> None:
    write_accounts(home)
    venue.rights = KeyRights(trade=False, withdraw=False)
    async with running(options(home)) as system:
        with pytest.raises(TradingHalted, match="may not trade"):
            system.engine.arm("operator", 60)
        assert system.engine.trading.mode is TradingMode.DISARMED


async def test_o05_an_armed_live_account_comes_up_disarmed_at_the_next_start(venue: Behaviour, home: Path) -> None:
    write_accounts(home)
    async with running(options(home)) as system:
        system.engine.arm("operator", 3600)
    async with running(SystemOptions(config=str(home), exchange="okx")) as system:
        assert system.engine.trading.mode is TradingMode.DISARMED and not system.engine.trading.is_hand_open
