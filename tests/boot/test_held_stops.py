"""Stops that the engine holds, as the venue cannot: a call answers, lists, changes and cancels them like any order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from drivers.paper.markets.synthetic import SyntheticMarket
from engine.boot.calling import HELD, CallDesk
from engine.boot.system import System, running
from engine.kernel.clock import LoopClock
from engine.kernel.errors import OrderNotFound
from engine.kernel.market import Quote
from engine.kernel.orders import OrderState, OrderType, Side
from engine.runtime.accounts import MANUAL
from tests.boot.test_emulated_venues import configure, quoted
from tests.boot.test_real_venues import until
from tests.engine.floor import d
from tests.venues.conformance.wire import WIRES
from tests.venues.emulators.__main__ import emulator_class
from tests.venues.emulators.core import Emulator


@pytest.fixture(params=["okx", "binance", "backpack"])
async def emulator(request: pytest.FixtureRequest) -> AsyncIterator[Emulator]:
    clock = LoopClock(asyncio.get_running_loop())
    async with emulator_class(request.param)(market=SyntheticMarket(3, clock.now_ns()), clock=clock) as running_one:
        yield running_one


async def holding(system: System) -> tuple[str, Quote]:
    """Buy 0.03 by hand; return the market and its quote."""
    engine, symbol = system.engine, await quoted(system)
    engine.arm("operator", 600)
    engine.submit(MANUAL, symbol, Side.BUY, OrderType.MARKET, d("0.03"))
    await until(lambda: engine.portfolio.quantity(symbol) == d("0.03"), 20)
    quote = engine.market.quote(symbol)
    assert quote is not None
    return symbol, quote


async def test_a_call_answers_lists_changes_and_cancels_a_stop_that_the_engine_holds(
    emulator: Emulator, home: Path
) -> None:
    async with running(configure(home, emulator)) as system:
        symbol, quote = await holding(system)
        trigger = system.instruments[symbol].price_from_float(round(quote.bid * 0.98))
        desk = CallDesk(system)
        wanted = {"symbol": symbol, "side": Side.SELL, "order_type": OrderType.STOP, "size": d("0.03")}
        placed = await desk.call("place_order", {**wanted, "trigger_price": trigger, "reduce_only": True})
        assert (placed.state, placed.quantity, placed.trigger_price) == (OrderState.INTENT, d("0.03"), trigger)
        assert placed.reason == HELD and placed.reduce_only
        assert emulator.exchange.open_orders() == []
        assert await desk.call("get_open_orders", {}) == [placed]
        assert await desk.call("get_open_orders", {"symbol": symbol}) == [placed]
        assert await desk.call("get_order_status", {"order_id": placed.client_id, "symbol": symbol}) == placed
        moved = await desk.call(
            "amend_order", {"order_id": placed.client_id, "symbol": symbol, "price": trigger - 10, "size": d("0.02")}
        )
        assert (moved.client_id, moved.trigger_price, moved.quantity) == (placed.client_id, trigger - 10, d("0.02"))
        gone = await desk.call("revoke_order", {"order_id": placed.client_id, "symbol": symbol})
        assert gone.state is OrderState.CANCELED and gone.reason == "cancelled before it was sent"
        assert await desk.call("get_open_orders", {}) == []
        with pytest.raises(OrderNotFound):
            await desk.call("revoke_order", {"order_id": placed.client_id, "symbol": symbol})


async def test_a_stop_whose_trigger_is_met_at_once_is_answered_by_the_venue(emulator: Emulator, home: Path) -> None:
    async with running(configure(home, emulator)) as system:
        symbol, quote = await holding(system)
        trigger = system.instruments[symbol].price_from_float(round(quote.ask * 1.01))
        wanted = {"symbol": symbol, "side": Side.SELL, "order_type": OrderType.STOP, "size": d("0.03")}
        fired = await CallDesk(system).call("place_order", {**wanted, "trigger_price": trigger, "reduce_only": True})
        assert fired.venue_order_id and fired.state is not OrderState.INTENT
        await until(lambda: system.engine.portfolio.quantity(symbol) == 0, 20)


async def test_a_stop_that_a_busy_venue_did_not_take_is_sent_anew(emulator: Emulator, home: Path) -> None:
    wire = WIRES[emulator.name]
    async with running(configure(home, emulator)) as system:
        engine = system.engine
        symbol, quote = await holding(system)
        trigger = system.instruments[symbol].price_from_float(round(quote.ask * 1.01))
        emulator.faults.answer(wire.place, wire.busy.status, wire.busy.body, wire.busy.headers)
        first = engine.submit(MANUAL, symbol, Side.SELL, OrderType.STOP, d("0.03"), None, trigger, True)
        await until(lambda: engine.portfolio.quantity(symbol) == 0, 20)
        lost = engine.tracker.get(first)
        assert lost is not None and lost.state is OrderState.REJECTED and lost.error == "RateLimited"
        await until(lambda: not engine.tracker.working(symbol), 20)
        assert emulator.exchange.open_orders() == []
