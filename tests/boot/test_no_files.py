"""A whole live system that has no file descriptor left: it is told, nothing is entered, and everything is cancelled."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from drivers.paper.markets.synthetic import SyntheticMarket
from engine.boot.system import running
from engine.kernel.clock import LoopClock
from engine.kernel.errors import TradingHalted
from engine.kernel.orders import OrderState, OrderType, Side
from engine.runtime.accounts import MANUAL
from engine.runtime.trading_state import TradingMode
from tests.boot.test_emulated_venues import configure, order, quoted
from tests.boot.test_real_venues import until
from tests.engine.floor import d
from tests.no_files import no_files_left
from tests.venues.emulators.__main__ import emulator_class


async def test_p13_without_file_descriptors_only_reductions_pass_and_the_kill_switch_works(home: Path) -> None:
    clock = LoopClock(asyncio.get_running_loop())
    async with emulator_class("okx")(market=SyntheticMarket(3, clock.now_ns()), clock=clock) as emulator:
        options = configure(home, emulator)
        async with running(options) as system:
            engine, symbol = system.engine, await quoted(system)
            engine.arm("ann", 600)
            quote = engine.market.quote(symbol)
            assert quote is not None
            resting = []
            for share in (0.99, 0.985):
                price = system.instruments[symbol].price_from_float(round(quote.bid * share))
                resting.append(engine.submit(MANUAL, symbol, Side.BUY, OrderType.POST_ONLY, d("0.01"), price))
            await until(lambda: all(order(system, one).state is OrderState.OPEN for one in resting), 20)
            with no_files_left():
                await until(lambda: engine.trading.mode is TradingMode.REDUCE_ONLY, 10)
                assert "only 0 of 256 file descriptors are left" in engine.trading.describe()
                with pytest.raises(TradingHalted, match="file descriptors"):
                    engine.submit(MANUAL, symbol, Side.BUY, OrderType.POST_ONLY, d("0.01"), price)
                engine.cancel(resting[0])
                await until(lambda: order(system, resting[0]).state is OrderState.CANCELED, 10)
                engine.panic("ann", "no files")
                await until(lambda: order(system, resting[1]).state is OrderState.CANCELED, 10)
                assert emulator.exchange.open_orders() == []
        async with running(options) as system:
            assert system.engine.trading.mode is TradingMode.HALTED
            assert "no files" in system.engine.trading.describe()
