"""Binance sends marks and trades over one connection, bid and ask over another: one may die while the other lives."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from engine.kernel.links import LinkState
from engine.kernel.market import Quote
from engine.kernel.orders import OrderState, OrderType
from engine.runtime.accounts import MANUAL
from engine.runtime.trading_state import TradingMode
from tests.faults.desk import SELL, Desk, play

MARK = Decimal(60_500)


def test_bid_and_ask_value_what_is_held_while_the_connection_for_marks_is_dead(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        book, trading = desk.engine.portfolio, desk.engine.trading
        desk.emulator.mark(desk.perp, float(MARK))
        desk.give(price=None)
        await desk.until(lambda: book.quantity(desk.perp) and book.mark(desk.perp) == MARK)
        middle = desk.engine.market.middle(desk.perp)
        assert middle is not None and middle != MARK

        desk.emulator.faults.black_hole("public:market")
        await desk.until(lambda: book.mark(desk.perp) == middle, 60)
        quotes = [link for link in desk.driver.links() if "public" in link.name]
        assert quotes and all(link.state is LinkState.LIVE for link in quotes)
        assert book.profit() is not None and not desk.engine.market.is_stale(desk.perp)
        await desk.until(lambda: trading.mode is TradingMode.REDUCE_ONLY, 20)
        assert f"no mark prices of {desk.perp}" in trading.status.reason
        for _ in range(60):
            await desk.wait(1)
            assert book.mark(desk.perp) == middle and trading.mode is TradingMode.REDUCE_ONLY

        desk.emulator.faults.clear()
        await desk.until(lambda: book.mark(desk.perp) == MARK, 60)
        await desk.until(lambda: trading.mode is TradingMode.ARMED, 30)
        await desk.agrees()

    play("binance", tmp_path, story)


def test_a_touch_without_a_bid_neither_values_what_is_held_nor_fires_a_stop_while_marks_are_lost(
    tmp_path: Path,
) -> None:
    async def story(desk: Desk) -> None:
        engine, market = desk.engine, desk.engine.market
        bought = desk.give(price=None)
        await desk.ends(bought, OrderState.FILLED)
        stop = engine.submit(MANUAL, desk.perp, SELL, OrderType.STOP, Decimal("0.02"), None, Decimal(50_000))
        desk.emulator.faults.black_hole("public:market")
        await desk.until(lambda: market.are_prints_lost(desk.perp), 60)
        symbol, desk.perp = desk.perp, desk.other  # its market beats no more
        worth = engine.portfolio.mark(symbol)
        on_market: Any = desk.driver.on_market  # type: ignore[attr-defined]
        on_market([Quote(symbol, desk.clock.now_ms(), 0.0, 0.0, 60_010.0, 1.0)])
        now = engine.portfolio.mark(symbol)
        assert worth is not None and now is not None and abs(now - worth) < worth / 100
        assert desk.order(stop).held and desk.order(stop).state is OrderState.INTENT
        desk.emulator.faults.clear()

    play("binance", tmp_path, story)
