"""A symbol that the venue lists on, but says to be suspended, or gone for good, while something of ours is in it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine.kernel.account import Ledger
from engine.kernel.instruments import InstrumentStatus
from engine.kernel.orders import OrderState
from engine.runtime.correction_proof import missing_proof
from tests.faults.desk import Desk, each_venue, play


def end_market(desk: Desk, spot: bool = False) -> str:
    """Let the second perpetual, or the pair, end: no orders, no bid and ask, and the venue's own word for it."""
    emulator: Any = desk.emulator
    symbol = desk.spot if spot else desk.other
    desk.spot, desk.other = (desk.other, desk.other) if spot else (desk.spot, desk.perp)
    for order in list(emulator.exchange.registry.open.values()):
        if order.symbol == symbol:
            emulator.carry_out(partial(emulator.exchange.cancel, order.id, symbol))
    emulator.book(symbol, [], [])
    emulator.exchange.market(symbol).touch = None
    if desk.venue == "okx":
        emulator.public.states[emulator.units_of_symbol(symbol).native] = "suspend" if spot else "expired"
    elif desk.venue == "binance":  # its row says BREAK of a pair, SETTLING of a perpetual
        listed = emulator.exchange.instruments
        listed[symbol] = replace(listed[symbol], status=InstrumentStatus.SUSPENDED)
    else:
        emulator.listings.change(emulator.listings.of(symbol).native, book_state="Closed")
    return symbol


def settle(desk: Desk, symbol: str) -> None:
    """Let the venue end a position without any execution."""
    desk.emulator.exchange.account.ledgers[symbol] = Ledger()


@each_venue
def test_e20_coins_of_a_pair_that_is_suspended_keep_their_worth_over_a_start(venue: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        bought = desk.give(symbol=desk.spot, quantity="0.012", price=None)
        await desk.ends(bought, OrderState.FILLED)
        await desk.wait(61)
        worth = desk.engine.portfolio.equity()
        await desk.end()
        symbol = end_market(desk, spot=True)
        await desk.begin()
        engine = desk.engine
        assert engine.instrument(symbol).status is InstrumentStatus.SUSPENDED and engine.market.is_listed(symbol)
        await desk.wait(150)
        assert not engine.risk.is_halted and not engine.risk.losses.is_blind, engine.trading.describe()
        now = engine.portfolio.equity()
        assert worth is not None and now is not None and abs(now - worth) < worth / 1000
        told = [text for text in desk.alarms if text.startswith("suspended:") and symbol in text]
        assert len(told) == 1, desk.alarms
        await desk.rest("59000")
        desk.alarms.clear()

    play(venue, tmp_path, story)


@pytest.mark.parametrize("status", ["BREAK", "CLOSE"])
def test_e20_coins_of_an_ended_pair_that_a_first_start_finds_halt_nothing(status: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        symbol = end_market(desk, spot=True)
        if status == "CLOSE":
            patch_status(desk, status)
        await desk.begin()
        engine = desk.engine
        assert engine.portfolio.quantity(symbol) == 1
        await desk.wait(150)
        assert not engine.risk.is_halted and not engine.risk.losses.is_blind, engine.trading.describe()
        await desk.rest("59000")

    def patch_status(desk: Desk, text: str) -> None:
        patch.setattr("tests.venues.emulators.binance_public._status", named(text, desk.perp))

    def named(text: str, living: str) -> Any:
        return lambda venue, listing: text if listing.symbol == living.removesuffix("-PERP") else "TRADING"

    with pytest.MonkeyPatch.context() as patch:
        play("binance", tmp_path, story, started=False)


@pytest.mark.parametrize("venue", ["okx", "binance"])
@pytest.mark.parametrize("restart", [True, False], ids=["over a start", "in a run"])
def test_e20_a_position_that_the_venue_ends_with_its_listing_halts_nothing(
    venue: str, restart: bool, tmp_path: Path
) -> None:
    async def story(desk: Desk) -> None:
        bought = desk.give(symbol=desk.other, quantity="0.5", price=None)
        await desk.ends(bought, OrderState.FILLED)
        await desk.wait(61)
        if restart:
            await desk.end()
        symbol = end_market(desk)
        settle(desk, symbol)
        if restart:
            await desk.begin()
        else:
            desk.engine.reconciler.look_at_instruments()
            await desk.until(lambda: desk.engine.instrument(symbol).status is InstrumentStatus.DELISTED, 30)
        engine = desk.engine
        await desk.wait(150)
        assert not engine.risk.is_halted and not engine.risk.losses.is_blind, engine.trading.describe()
        assert not engine.market.is_listed(symbol)
        told = [text for text in desk.alarms if text.startswith("delisted:") and symbol in text]
        assert len(told) == 1, desk.alarms
        assert "fresh" not in missing_proof(engine, symbol, [])
        await desk.rest("59000")
        assert symbol not in engine.flatten_all("test")

    play(venue, tmp_path, story)


@each_venue
@pytest.mark.parametrize("sides", ["bids", "none"])
def test_e20_a_book_without_a_side_prices_nothing_at_half(venue: str, sides: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        bought = desk.give(symbol=desk.spot, quantity="0.012", price=None)
        await desk.ends(bought, OrderState.FILLED)
        symbol, desk.spot = desk.spot, desk.other
        engine = desk.engine
        await desk.wait(5)
        worth = engine.portfolio.equity()
        desk.emulator.book(symbol, [(59_000.0, 1.0)] if sides == "bids" else [], [])
        for _ in range(130):
            await desk.wait(1)
            now = engine.portfolio.equity()
            assert worth is not None and now is not None and abs(now - worth) < worth / 100, (worth, now)
        assert not engine.risk.is_halted and not engine.risk.losses.is_blind, engine.trading.describe()

    play(venue, tmp_path, story)
