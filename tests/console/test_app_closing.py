"""Closing several positions by the prompt: what is confirmed is what is closed, and nothing beside it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ctos_tui.command.commands import FlattenAllCommand, PlaceCommand, is_confirmed
from engine.kernel.errors import RiskReject
from engine.kernel.orders import OrderType, Side
from engine.runtime.accounts import MANUAL
from tests.console.consoles import console, enter_line, opened, press, running_console, screen_text, until
from tests.console.scripted import BTC, ETH, busy_port, populate
from tests.console.test_app_trading import held, type_confirmation

D = Decimal


async def hold_both(pilot, system) -> None:
    """Be long BTC, with a stop and an entry that rests, and short ETH."""
    engine = system.engine
    await press(pilot, "A")
    await until(pilot, lambda: engine.market.quote(ETH) is not None, "a quote of ETH")
    engine.submit(MANUAL, BTC, Side.BUY, OrderType.MARKET, D("0.01"))
    engine.submit(MANUAL, ETH, Side.SELL, OrderType.MARKET, D("0.2"))
    await until(pilot, lambda: held(system) and held(system, ETH), "both positions")
    mark = engine.instrument(BTC).price_from_float(engine.market.price(BTC))
    engine.submit(
        MANUAL,
        BTC,
        Side.SELL,
        OrderType.STOP,
        D("0.01"),
        None,
        engine.instrument(BTC).round_price(Side.SELL, mark * D("0.9")),
        True,
    )
    await until(pilot, lambda: len(engine.tracker.working()) == 1, "the stop")


async def test_only_what_is_chosen_is_closed_and_all_of_everything_takes_the_stops_too(tmp_path):
    async with running_console(tmp_path) as (pilot, system):
        await hold_both(pilot, system)
        tracker = system.engine.tracker
        await enter_line(pilot, "flat shorts 50%pos")
        await type_confirmation(pilot, pilot.app)
        await until(pilot, lambda: held(system, ETH) == D("-0.1"), "the half of the short")
        assert held(system) == D("0.01") and tracker.working(BTC), "the long and its stop stand"
        await enter_line(pilot, "flat all")
        assert "every order is cancelled, stops too" in screen_text(pilot.app, "preview")
        await type_confirmation(pilot, pilot.app)
        await until(pilot, lambda: not held(system) and not held(system, ETH), "no position")
        await until(pilot, lambda: not tracker.working(), "no stop")


@pytest.mark.parametrize(
    ("line", "closed"),
    [
        ("flat longs", {BTC: D("0.045")}),
        ("flat all except btc", {ETH: D("0.4")}),
        ("flat btc+btc-perp", {BTC: D("0.045")}),
        ("flat all 20%pos", {BTC: D("0.009"), ETH: D("0.08")}),
    ],
)
async def test_what_the_preview_counts_is_sent(line, closed):
    port = busy_port()
    app = console(port)
    async with opened(app) as pilot:
        populate(port)
        await enter_line(pilot, line)
        assert f"type {len(closed)} to send" in screen_text(app, "preview")
        await press(pilot, str(len(closed)), "enter")
        sent = [command for name, command in port.calls if name == "send"]
        assert {command.symbol: command.quantity for command in sent} == closed
        assert all(command.reduce_only for command in sent)


async def test_panic_flattens_past_a_position_that_has_no_price_or_is_not_listed():
    port = busy_port()
    app = console(port)
    async with opened(app) as pilot:
        populate(port)
        port.stale.add(BTC)
        port.unlisted.add(ETH)
        await enter_line(pilot, "flat all")
        preview = screen_text(app, "preview")
        assert "FLAT 1 position" in preview and "ETH-PERP is not listed any more" in preview
        await press(pilot, "1", "enter")
        assert ("send", FlattenAllCommand()) in port.calls


async def test_one_close_that_is_refused_keeps_no_other_from_being_sent():
    port = busy_port()
    app = console(port)
    async with opened(app) as pilot:
        populate(port)
        app.session.arm(None, None)
        port.refuse = RiskReject("margin", "0 $", "1 $")
        await enter_line(pilot, "flat all 50%pos")
        await press(pilot, "2", "enter")
        sent = [command for name, command in port.calls if name == "send"]
        assert [command.symbol for command in sent] == [BTC, ETH]


def close(symbol: str, quantity: str, side: Side = Side.SELL) -> PlaceCommand:
    return PlaceCommand(symbol, side, OrderType.MARKET, D(quantity), None, True)


@pytest.mark.parametrize(
    ("now", "stands"),
    [
        ([close(BTC, "1"), close(ETH, "2")], True),
        ([close(BTC, "0.3"), close(ETH, "2")], True),
        ([close(ETH, "2")], True),
        ([close(BTC, "1"), close(ETH, "2.5")], False),
        ([close(BTC, "1", Side.BUY), close(ETH, "2")], False),
        ([close(BTC, "1"), close(ETH, "2"), close("SOL-USDT-PERP", "1")], False),
        ([], False),
    ],
)
def test_a_close_that_was_confirmed_may_become_smaller_and_nothing_else(now, stands):
    assert is_confirmed((close(BTC, "1"), close(ETH, "2")), tuple(now)) is stands
    assert is_confirmed((FlattenAllCommand(),), (FlattenAllCommand(),))
