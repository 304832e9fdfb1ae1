"""A symbol that the venue lists no more while orders, stops, work or a position of ours are in it."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine.kernel.account import FundingPayment
from engine.kernel.errors import InvalidOrder
from engine.kernel.instruments import InstrumentStatus
from engine.kernel.orders import OrderState, OrderType
from engine.runtime.accounts import MANUAL
from engine.runtime.events import FundingShared
from engine.runtime.reports import position_summary
from tests.faults.desk import BUY, SELL, Desk, each_venue, play
from tests.venues.emulators import binance_public


class Hiding(dict[str, Any]):
    """OKX's instruments of the emulator: one is neither found nor listed, and its positions are told all the same."""

    hidden = ""

    def get(self, native: str, otherwise: Any = None) -> Any:
        return otherwise if native == self.hidden else super().get(native, otherwise)

    def values(self) -> Any:
        return [units for native, units in self.items() if native != self.hidden]


def unlist(desk: Desk, patch: pytest.MonkeyPatch, spot: bool = False) -> str:
    """Let the venue list and find the second perpetual, or the pair, no more.

    Its market stands still, what rested there is gone; what is held is told all the same.
    """
    emulator: Any = desk.emulator
    symbol = desk.spot if spot else desk.other
    desk.spot, desk.other = (desk.other, desk.other) if spot else (desk.spot, desk.perp)
    for order in list(emulator.exchange.registry.open.values()):
        if order.symbol == symbol:
            emulator.carry_out(partial(emulator.exchange.cancel, order.id, symbol))
    if desk.venue == "okx":
        units = Hiding(emulator.units)
        units.hidden = emulator.units_of_symbol(symbol).native
        emulator.units = units
    elif desk.venue == "binance":
        gone = emulator.catalogue.by_symbol[symbol]
        del emulator.catalogue._native[gone.product, gone.native]
        name = "spot_symbol" if spot else "futures_symbol"
        row = getattr(binance_public, name)

        def named(listing: Any, status: str) -> Any:
            strange = {"contractType": "CURRENT_QUARTER", "filters": []}
            return row(listing, status) | (strange if listing.symbol == symbol else {})

        patch.setattr(binance_public, name, named)
    else:
        gone = emulator.listings.of(symbol)
        emulator.listings.change(gone.native, visible=False)
        del emulator.listings._native[gone.native]
    return symbol


async def trade_in_it(desk: Desk) -> tuple[str, str, str]:
    """Hold 0.5 of the second perpetual with a stop, a resting order and soft work; return the client ids."""
    bought = desk.give(symbol=desk.other, quantity="0.5", price=None)
    await desk.ends(bought, OrderState.FILLED)
    stop = desk.engine.submit(
        MANUAL, desk.other, SELL, OrderType.STOP, Decimal("0.5"), None, Decimal(1000), reduce_only=True
    )
    rests = desk.give(symbol=desk.other, quantity="1", price="2900")
    await desk.ends(rests, OrderState.OPEN)
    desk.engine.soft(MANUAL, desk.other, BUY, Decimal("0.4"), deadline_s=3600)
    await desk.wait(2)
    return bought, stop, rests


@each_venue
@pytest.mark.parametrize("remembered", [True, False], ids=["remembered", "never seen"])
def test_e20_a_start_without_a_symbol_that_we_are_in(
    venue: str, remembered: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(desk: Desk) -> None:
        _, stop, rests = await trade_in_it(desk)
        mine = desk.give(quantity="0.02", price=None)
        await desk.ends(mine, OrderState.FILLED)
        await desk.wait(61)
        worth = desk.engine.portfolio.profit()
        if not remembered:
            desk.driver._known._store.save("instruments", b"{}")  # type: ignore[attr-defined]
        for work in desk.engine.works._items.values():
            work._alarms.cancel_all()  # type: ignore[union-attr]  # its process is gone
        await desk.end()
        symbol = unlist(desk, monkeypatch)
        await desk.begin()
        engine = desk.engine
        assert engine.instrument(symbol).status is InstrumentStatus.DELISTED
        assert any(alarm.startswith("delisted:") and symbol in alarm for alarm in desk.alarms)
        await desk.until(lambda: desk.order(rests).state.is_final, 60)
        await desk.until(lambda: not engine.resolver.in_doubt, 60)
        assert desk.order(stop).held or desk.order(stop).state.is_final
        await desk.wait(150)
        assert not engine.risk.is_halted, engine.trading.describe()
        now = engine.portfolio.profit()
        assert worth is not None and now is not None and abs(now - worth) < 1
        await desk.rest("59000")
        with pytest.raises(InvalidOrder, match="delisted"):
            desk.give(symbol=symbol, quantity="1", price="2900")
        assert position_summary(engine).count >= 2
        assert set(engine.flatten_all("test")) <= {desk.perp, desk.spot}
        await desk.until(lambda: not engine.portfolio.quantity(desk.perp), 30)
        await desk.until(
            lambda: any(a.startswith("flatten:") and "does not list it any more" in a for a in desk.alarms)
        )
        engine.panic("test", "enough")
        await desk.until(lambda: engine.panic_switch.report is not None and engine.panic_switch.report.confirmed, 60)
        desk.alarms.clear()

    play(venue, tmp_path, story)


@each_venue
def test_e20_a_symbol_that_vanishes_in_a_run_takes_nothing_else_with_it(
    venue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(desk: Desk) -> None:
        _, _, rests = await trade_in_it(desk)
        symbol = unlist(desk, monkeypatch)
        desk.engine.reconciler.look_at_instruments()
        await desk.until(lambda: desk.engine.instrument(symbol).status is InstrumentStatus.DELISTED, 30)
        assert any(alarm.startswith("delisted:") and symbol in alarm for alarm in desk.alarms)
        before = desk.proxy.of("ws")
        for flow in before:
            desk.proxy.reset(flow)
        await desk.until(lambda: not set(before) & set(desk.proxy.of("ws")), 30)
        await desk.until(desk.is_ready, 60)
        await desk.until(lambda: desk.order(rests).state.is_final, 60)
        await desk.wait(150)
        assert desk.is_ready() and not desk.engine.risk.is_halted, desk.situation()
        await desk.rest("59000")

    play(venue, tmp_path, story)


@each_venue
def test_e20_coins_of_a_pair_that_is_listed_no_more_halt_nothing(
    venue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(desk: Desk) -> None:
        bought = desk.give(symbol=desk.spot, quantity="0.012", price=None)
        await desk.ends(bought, OrderState.FILLED)
        await desk.wait(61)
        worth = desk.engine.portfolio.equity()
        await desk.end()
        symbol = unlist(desk, monkeypatch, spot=True)
        await desk.begin()
        engine = desk.engine
        assert engine.portfolio.quantity(symbol) > 0
        await desk.wait(150)
        assert not engine.risk.is_halted and not engine.risk.losses.is_blind, engine.trading.describe()
        now = engine.portfolio.equity()
        assert worth is not None and now is not None and abs(now - worth) < worth / 1000
        await desk.rest("59000")
        assert position_summary(engine).rows
        assert symbol not in engine.flatten_all("test")
        await desk.until(lambda: any("not list it any more" in text for text in desk.alarms))

    play(venue, tmp_path, story)


def test_e20_funding_of_a_swap_that_is_gone_is_booked_and_keeps_no_other_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(desk: Desk) -> None:
        for symbol, quantity in ((desk.perp, "0.02"), (desk.other, "0.5")):
            await desk.ends(desk.give(symbol=symbol, quantity=quantity, price=None), OrderState.FILLED)
        await desk.wait(10)
        await desk.end()
        held = desk.emulator.exchange.account
        before = held.cash(desk.quote)
        for symbol in (desk.perp, desk.other):
            desk.emulator.funding(symbol, 0.0001, next_time=desk.clock.now_ms() + 5_000)
        await desk.wait(10)
        paid = held.cash(desk.quote) - before
        assert paid < 0
        symbol = unlist(desk, monkeypatch)
        await desk.begin()
        booked: list[FundingPayment] = []
        desk.bus.subscribe(FundingShared, lambda shared: booked.append(shared.payment))
        await desk.until(lambda: booked, 90)
        assert {payment.symbol: bool(payment.rate) for payment in booked} == {desk.perp: True, symbol: False}
        assert sum(payment.amount for payment in booked) == paid
        assert not any("could not be asked for" in line for line in desk.logs)

    play("okx", tmp_path, story)
