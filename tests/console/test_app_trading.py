"""The operator's day by keyboard alone, on the whole stack."""

from __future__ import annotations

from decimal import Decimal

from ctos_tui.app import ConsoleApp
from engine.kernel.orders import OrderType, Side
from engine.runtime.accounts import MANUAL
from tests.console.consoles import enter_line, press, running_console, screen_text, until

BTC = "BTC-USDT-PERP"


def held(system, symbol=BTC) -> Decimal:
    return system.engine.portfolio.quantity(symbol)


async def send_staged(pilot, app) -> None:
    """Enter; where the size must be typed, type it."""
    await pilot.press("enter")
    if app.prompt.is_open:
        await type_confirmation(pilot, app)


async def type_confirmation(pilot, app) -> None:
    size = app.prompt.label.removeprefix("type ").removesuffix(" to send")
    for sign in size:
        await pilot.press(sign)
    await pilot.press("enter")


async def test_a_day_of_trading_by_keyboard(tmp_path):
    async with running_console(tmp_path) as (pilot, system):
        app = pilot.app
        assert isinstance(app, ConsoleApp)
        tracker = system.engine.tracker

        # Disarmed: a staged order is refused with what would do.
        await press(pilot, "1", "g", "b")
        assert app.ticket is not None
        await pilot.press("enter")
        assert "DISARMED" in app.session.note.text
        await press(pilot, "backspace", "A")
        assert app.session.arming.label(app.session.now(), BTC) == "ARMED"

        # A limit staged on the ladder, well below the market, rests.
        await press(pilot, "g", *["pagedown"] * 6, "b")
        assert "sends" in screen_text(app, "preview")
        await send_staged(pilot, app)
        await until(pilot, lambda: [o for o in tracker.working() if o.state == "open"], "a resting order")
        order = tracker.working()[0]
        assert f"#{order.label}" in screen_text(app, "orders")

        # Amend it in the orders pane, then cancel it.
        await press(pilot, "6", "m")
        assert app.prompt.edit.text.startswith(f"mv #{order.label} ")
        await press(pilot, "escape")
        old = order.price
        await enter_line(pilot, f"bump #{order.label} -5t")
        await until(pilot, lambda: order.price < old and not order.pending, "the amended price")
        await press(pilot, "6", "x")
        await until(pilot, lambda: not tracker.working(), "the cancelled order")

        # A market order must be written and confirmed.
        await enter_line(pilot, "buy 500$ btc @ mkt")
        assert app.prompt.mode == "confirm"
        await type_confirmation(pilot, app)
        await until(pilot, lambda: held(system) > 0, "the position")
        assert "BTC-PERP" in screen_text(app, "positions")
        assert screen_text(app, "fills").count("BTC-PERP") >= 1

        # Flatten it from the positions pane.
        await press(pilot, "5", "f")
        await send_staged(pilot, app)
        await until(pilot, lambda: held(system) == 0, "the closed position")


async def test_a_reversal_that_became_another_while_it_was_confirmed_is_not_sent(tmp_path):
    async with running_console(tmp_path) as (pilot, system):
        app = pilot.app
        await press(pilot, "A")
        await enter_line(pilot, "buy 500$ btc @ mkt")
        await type_confirmation(pilot, app)
        await until(pilot, lambda: held(system) > 0, "the position")
        before = held(system)
        await enter_line(pilot, "rev btc @ mkt")
        assert app.prompt.mode == "confirm"
        lot = system.engine.instrument(BTC).lot_size
        half = before / 2 // lot * lot
        system.engine.submit(MANUAL, BTC, Side.SELL, OrderType.MARKET, half, None, None, True)
        await until(pilot, lambda: held(system) == before - half, "the half that somebody else closed")
        await type_confirmation(pilot, app)
        assert "not sent, it has changed while you typed" in app.session.note.text
        assert held(system) == before - half and not system.engine.tracker.working()


async def test_an_oversized_order_is_refused_with_rule_limit_and_value(tmp_path):
    async with running_console(tmp_path) as (pilot, _):
        app = pilot.app
        await press(pilot, "A")
        await enter_line(pilot, "buy 5 btc @ best")
        note = app.session.note.text
        assert "REFUSED" in note and "max_order_usd" in note and "5,000" in note and "largest that passes" in note


async def test_a_grid_is_launched_amended_paused_resumed_and_stopped_flat(tmp_path):
    async with running_console(tmp_path) as (pilot, system):
        app = pilot.app
        manager = system.manager
        await press(pilot, "A")
        await enter_line(pilot, "run dyn_grid btc base_amount=300 max_inventory=900 as g1")
        assert "g1" in manager.instances
        await until(pilot, lambda: len(system.engine.tracker.working(instance="g1")) == 2, "the grid's orders")
        await press(pilot, "8", "p")
        assert manager.get("g1").life.state == "paused"
        await until(pilot, lambda: not system.engine.tracker.working(instance="g1"), "no entry rests while paused")
        await press(pilot, "p")
        assert manager.get("g1").life.state == "running"
        await until(pilot, lambda: len(system.engine.tracker.working(instance="g1")) == 2, "the grid's orders again")

        await press(pilot, "a")
        form = app.card
        index = next(at for at, info in enumerate(form.infos) if info.name == "sell_grid_step")
        await press(pilot, *["down"] * index, "ctrl+u", *"1.025", "enter")
        assert "1.018" in "".join(text for line in form.view.lines() for text, _ in line.spans)
        await press(pilot, "enter")
        assert manager.get("g1").params.sell_grid_step == Decimal("1.025")

        await press(pilot, "t", "down", "down", "enter")
        await until(pilot, lambda: manager.get("g1").life.state == "stopped", "the stopped grid")
        assert not system.engine.tracker.working(instance="g1")


async def test_panic_halts_at_once_and_a_reason_rearms(tmp_path):
    async with running_console(tmp_path) as (pilot, system):
        app = pilot.app
        await press(pilot, "A")
        await enter_line(pilot, "buy 500$ btc @ best -40t post", submit=2)
        await until(pilot, lambda: system.engine.tracker.working(), "a resting order")
        await enter_line(pilot, "half typed", submit=0)
        await pilot.press("f9")
        assert system.engine.trading.status.mode == "halted"
        assert "HALTED" in screen_text(app, "status")
        await until(pilot, lambda: "(confirmed)" in app.session.note.text, "the venue's word that nothing rests")
        assert not system.engine.tracker.working()
        await enter_line(pilot, "buy 500$ btc @ best post")
        assert "HALTED" in app.session.note.text
        await press(pilot, "escape")
        await until(pilot, lambda: not system.engine.tracker.unknown(), "known outcomes")
        await enter_line(pilot, "rearm paper looked at it")
        assert system.engine.trading.status.mode == "armed"
        assert "ARMED" in screen_text(app, "status")


async def test_the_same_state_is_there_after_leaving(tmp_path):
    async with running_console(tmp_path) as (pilot, system):
        await press(pilot, "A")
        await enter_line(pilot, "buy 500$ btc @ mkt")
        await type_confirmation(pilot, pilot.app)
        await until(pilot, lambda: held(system) > 0, "the position")
        await enter_line(pilot, "sell 500$ btc @ best +200t post", submit=2)
        await until(pilot, lambda: [o for o in system.engine.tracker.working() if o.state == "open"], "an order")
        before = (held(system), [(o.label, o.price, o.quantity) for o in system.engine.tracker.working()])
        await press(pilot, "q")
        text = "\n".join("".join(t for t, _ in line.spans) for line in pilot.app.card.view.lines())
        assert "Resting orders 1" in text and "Positions 1" in text
        await press(pilot, "down", "enter")
    async with running_console(tmp_path) as (_, system):
        after = (held(system), [(o.label, o.price, o.quantity) for o in system.engine.tracker.working()])
        assert after == before
