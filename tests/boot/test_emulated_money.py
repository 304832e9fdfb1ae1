"""What the monitor reckons with agrees with the money of the real venues' emulators: equity, fees, margin, time."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from engine.boot.system import System, running
from engine.kernel.orders import OrderState, OrderType, Side
from engine.runtime.accounts import MANUAL
from tests.boot.test_emulated_venues import configure, emulator, order, quoted
from tests.boot.test_real_venues import until
from tests.engine.floor import d
from tests.venues.emulators.core import Emulator

__all__ = ["emulator"]


def unexplained(system: System) -> Decimal:
    """Return the change of the equity since the start that profit, fees and funding leave over, in USD."""
    portfolio = system.engine.portfolio
    anchor, equity, profit = portfolio.anchor, portfolio.equity(), portfolio.profit()
    assert anchor is not None and equity is not None and profit is not None
    return (equity - anchor.equity) - (profit - anchor.profit)


async def test_trades_leave_no_gap_and_cost_what_the_schedule_says(emulator: Emulator, home: Path) -> None:
    async with running(configure(home, emulator)) as system:
        engine, perp = system.engine, await quoted(system)
        coin = perp.partition("-")[0]
        listed = [i.symbol for i in system.instruments.values() if i.base == coin and not i.is_perp]
        spot = listed[0] if listed else perp
        engine.market.watch(spot)
        await until(lambda: engine.market.quote(spot) and engine.portfolio.anchor, 20)
        engine.arm("operator", 600)
        for symbol, side, size in ((perp, Side.BUY, "0.04"), (spot, Side.BUY, "0.02"), (perp, Side.SELL, "0.01")):
            sent = engine.submit(MANUAL, symbol, side, OrderType.MARKET, d(size))
            await until(lambda sent=sent: order(system, sent).state is OrderState.FILLED, 20)
        await until(lambda: engine.portfolio.quantity(perp) == d("0.03" if listed else "0.05"), 20)
        engine.reconciler.look_at_account()
        await until(lambda: abs(unexplained(system)) < d("0.2"), 20)

        for booked in engine.portfolio.fills.recent():
            fill, schedule = booked.fill, await engine.driver.fees(booked.fill.symbol)
            assert booked.fee_quote > 0
            due = fill.notional * (schedule.maker if fill.maker else schedule.taker)
            assert abs(booked.fee_quote - due) < fill.notional * d("0.00005"), booked
        offset_ms = engine.driver.clock_offset_ms()
        assert offset_ms is not None and abs(offset_ms) < 500
        system.monitor.evaluate()
        unwanted = {"equity_gap", "fee_surprise", "margin", "clock_skew", "reject_rate"}
        assert not unwanted & {anomaly.kind for anomaly in system.monitor.anomalies}
