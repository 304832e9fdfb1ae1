"""The pane of working orders: what may be wrong with an order is in sight at every size."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from ctos_tui.app import ConsoleApp
from ctos_tui.panes.cells import Spans
from ctos_tui.port import HaltProgress
from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import VenueUnavailable
from engine.kernel.orders import Order, OrderState, OrderType, Pending, Side
from engine.kernel.syscalls import Reply
from engine.runtime.trading_state import TradingMode, TradingStatus
from tests.console.consoles import console, opened, running_console, screen_text, until
from tests.console.scripted import BTC, ScriptedPort, busy_port

D = Decimal
SIZES = [(80, 24), (120, 40), (200, 60)]


def placed(port: ScriptedPort, count: int = 3) -> list[Order]:
    bid = port.all[BTC].price_from_float(port.books[BTC].best_bid)
    return [port.add_order(BTC, Side.BUY, "0.0100", bid - 10 * index) for index in range(1, count + 1)]


def line_of(app: ConsoleApp, order: Order) -> Spans:
    app.frames.paint_all()
    rows = app.desk_screen.pane("orders").view.rows
    return next(row.spans for row in rows if row.key == order.client_id)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_orders_of_unknown_outcome_stand_out_before_all_others(size: tuple[int, int]) -> None:
    port = busy_port()
    app = console(port)
    async with opened(app, size) as pilot:
        newest, lost, canceled = placed(port)[::-1]
        app.activate("orders")
        await pilot.pause()
        assert "unknown" not in screen_text(app, "orders")
        lost.state = canceled.state = OrderState.UNKNOWN
        canceled.pending, canceled.asked_ns = Pending.CANCEL, port.time_ns
        for order in (lost, canceled):
            spans = line_of(app, order)
            assert (f"?{order.label}", "danger") in spans and ("unknown", "danger") in spans, spans
        assert (f"#{newest.label}", "own_order") in line_of(app, newest)
        text = screen_text(app, "orders").splitlines()
        assert "2 unknown" in text[0] and text[3].startswith(f"#{newest.label}"), text


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_orders_that_a_halt_could_not_cancel_are_marked_until_it_is_confirmed(size: tuple[int, int]) -> None:
    port = busy_port()
    app = console(port)
    async with opened(app, size) as pilot:
        left, other = placed(port, 2)
        app.activate("orders")
        await pilot.pause()
        left.pending = Pending.CANCEL
        port.status = TradingStatus(TradingMode.HALTED, "operator", "panic", port.time_ns)
        port.progress = HaltProgress(True, frozenset({left.label}))
        port.time_ns += 3600 * NS_PER_S
        app.session.note = None
        assert (f"!{left.label}", "danger") in line_of(app, left) and ("rests?", "danger") in line_of(app, left)
        assert (f"#{other.label}", "own_order") in line_of(app, other)
        assert "1 unconfirmed" in screen_text(app, "orders").splitlines()[0]
        assert " HALTED 1 unconfirmed " in screen_text(app, "status")
        port.progress = HaltProgress(True)
        assert " HALTED unconfirmed " in screen_text(app, "status")
        port.progress = HaltProgress()
        assert "unconfirmed" not in screen_text(app)


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_a_stop_that_the_engine_holds_is_held_and_not_being_sent(size: tuple[int, int]) -> None:
    port = busy_port()
    app = console(port)
    async with opened(app, size) as pilot:
        stop = port.add_order(BTC, Side.SELL, "0.0300", None, OrderType.STOP)
        stop.state, stop.held, stop.reduce_only, stop.trigger_price = OrderState.INTENT, True, True, D("61000.0")
        app.activate("orders")
        await pilot.pause()
        assert ("held", "accent") in line_of(app, stop)
        assert "sending" not in screen_text(app, "orders")


@pytest.mark.parametrize(
    ("side", "kind", "price", "away"),
    [
        (Side.SELL, OrderType.STOP, "-2750", "27.5kt"),
        (Side.BUY, OrderType.STOP, "2750", "27.5kt"),
        (Side.SELL, OrderType.STOP, "-0.5", "5t"),
        (Side.BUY, OrderType.STOP, "-2750", "−27.5kt"),
        (Side.BUY, OrderType.LIMIT, "-999.9", "9999t"),
        (Side.SELL, OrderType.LIMIT, "999.9", "9999t"),
        (Side.BUY, OrderType.LIMIT, "-60000", "600kt"),
    ],
)
async def test_how_far_the_market_is_away_has_room(side: Side, kind: OrderType, price: str, away: str) -> None:
    port = busy_port()
    app = console(port)
    async with opened(app):
        touch = port.books[BTC].best_bid if side is Side.BUY else port.books[BTC].best_ask
        at = D(repr(touch)) + D(price)
        order = port.add_order(BTC, side, "0.01", at, kind)
        if kind is OrderType.STOP:
            order.price, order.trigger_price = None, at
        assert (away, "label") in line_of(app, order), line_of(app, order)


async def test_requests_on_their_usual_way_move_no_column(size: tuple[int, int] = (120, 40)) -> None:
    port = busy_port()
    app = console(port)
    async with opened(app, size):
        (order,) = placed(port, 1)
        order.pending, order.asked_ns = Pending.AMEND, port.time_ns
        assert "away" in screen_text(app, "orders")
        port.time_ns += 5 * NS_PER_S
        assert "away" not in screen_text(app, "orders")
        assert ("amend…", "warn") in line_of(app, order)


async def test_the_running_engine_tells_which_orders_its_halt_could_not_cancel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_console(tmp_path) as (pilot, system):
        engine, app = system.engine, pilot.app
        assert isinstance(app, ConsoleApp)
        engine.arm("ann", 600)
        quote = engine.market.quote(BTC)
        assert quote is not None
        price = system.instruments[BTC].price_from_float(round(quote.bid * 0.99))
        sent = engine.submit("manual", BTC, Side.BUY, OrderType.LIMIT, D("0.01"), price)
        order = engine.core.known(sent)
        await until(pilot, lambda: order.state is OrderState.OPEN, "the order")

        def fail(client_id: str, symbol: str, reply: Reply) -> None:
            reply(VenueUnavailable("the venue is down for maintenance"))

        cancel = system.driver.gateway.cancel
        monkeypatch.setattr(system.driver.gateway, "cancel", fail)
        engine.panic("ann", "looks odd")
        assert app.port.halt_progress() == HaltProgress(), "it has just begun"
        await until(pilot, lambda: app.port.halt_progress() == HaltProgress(True, frozenset({order.label})), "trouble")
        assert "HALTED 1 unconfirmed" in screen_text(app, "status")
        monkeypatch.setattr(system.driver.gateway, "cancel", cancel)
        await until(pilot, lambda: app.port.halt_progress() == HaltProgress(), "the end of it")
        engine.rearm("ann", "it was nothing")
        assert "unconfirmed" not in screen_text(app, "status")


async def test_the_life_of_a_held_stop_says_who_keeps_it() -> None:
    port = busy_port()
    app = console(port)
    async with opened(app) as pilot:
        stop = port.add_order(BTC, Side.SELL, "0.0300", None, OrderType.STOP)
        stop.state, stop.held, stop.trigger_price = OrderState.INTENT, True, D("61000.0")
        app.activate("orders")
        await pilot.pause()
        await pilot.press("enter")
        await pilot.pause()
        assert "by the engine: the venue does not know it" in screen_text(app)
