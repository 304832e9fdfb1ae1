"""A program that stood still for half a minute: nothing it wanted before is sent, nothing is traded before it knows."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from engine.kernel.errors import CtosError, TradingHalted
from engine.kernel.orders import OrderState
from engine.runtime.trading_state import TradingMode
from tests.faults.desk import BUY, SELL, Desk, each_venue, play


@each_venue
def test_p11_after_half_a_minute_of_standstill_the_venue_is_asked_before_anything_is_traded(
    venue: str, tmp_path: Path
) -> None:
    async def story(desk: Desk) -> None:
        engine, exchange = desk.engine, desk.emulator.exchange
        await desk.ends(desk.give(BUY, "0.03", None), OrderState.FILLED)
        filled, dropped, kept = await desk.rest("59900"), await desk.rest("59500"), await desk.rest("59400")
        sent, tried = len(desk.placements()), []

        def entry() -> None:
            """A strategy's timer that comes due during the standstill: it runs before anything has noticed."""
            try:
                tried.append(desk.give(BUY, "0.01", "59300"))
            except CtosError as error:
                tried.append(error)

        desk.clock.call_later(0.001, entry)
        waiting = desk.give(BUY, "0.01", "59200")  # its intent is on its way to the disk
        desk.loop.stand_still(30)
        desk.emulator.print(desk.perp, 59_900.0, 5.0, SELL)
        desk.emulator.print(desk.perp, 59_800.0, 0.02, SELL)
        theirs = next(one for one in exchange.open_orders() if one.price == Decimal(59_500))
        desk.emulator.carry_out(lambda: exchange.cancel(theirs.client_id, theirs.symbol))  # as a venue's own timer does

        await desk.until(lambda: tried, 1)
        assert isinstance(tried[0], TradingHalted) and "stood still for 29" in str(tried[0])
        await desk.ends(waiting, OrderState.NEVER_SENT, 1)
        assert len(desk.placements()) == sent, "nothing that was wanted before leaves afterwards"
        assert engine.trading.mode is TradingMode.REDUCE_ONLY
        assert any("stood still" in alarm for alarm in desk.alarms)
        reduction = desk.give(SELL, "0.01", None, reduce_only=True)
        await desk.ends(reduction, OrderState.FILLED)
        await desk.ends(filled, OrderState.FILLED, 5)
        await desk.ends(dropped, OrderState.CANCELED, 5)
        assert desk.order(kept).state is OrderState.OPEN
        await desk.until(lambda: engine.trading.mode is TradingMode.ARMED, 60)
        await desk.agrees()
        await desk.rest("59100")

    play(venue, tmp_path, story)


@each_venue
def test_p11_while_the_venue_cannot_be_asked_after_a_standstill_only_reductions_pass(
    venue: str, tmp_path: Path
) -> None:
    async def story(desk: Desk) -> None:
        await desk.ends(desk.give(BUY, "0.03", None), OrderState.FILLED)
        await desk.rest("59500")
        desk.proxy.black_hole("rest")
        desk.loop.stand_still(5)
        await desk.wait(15)
        assert desk.engine.trading.mode is TradingMode.REDUCE_ONLY, "no answer yet: what happened is not known"
        assert "stood still" in desk.engine.trading.describe()
        desk.proxy.clear()
        await desk.until(lambda: desk.engine.trading.mode is TradingMode.ARMED, 60)
        await desk.agrees()

    play(venue, tmp_path, story)
