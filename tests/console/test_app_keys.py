"""Every key in every place: it does something or says why not, and nothing ends in a traceback."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from ctos_tui.actions import ACTIONS, DESK, DIALOG, EVERYWHERE, PANES, PROMPT, STAGED
from ctos_tui.command.commands import FlattenAllCommand
from ctos_tui.guard.keys import KeyGuard
from ctos_tui.outcome import Outcome
from ctos_tui.port import Health
from ctos_tui.screens.desk_actions import desk_actions
from engine.kernel.errors import RiskReject
from engine.kernel.orders import OrderState, OrderType, Side
from engine.runtime.accounts import Account, Mode
from engine.runtime.events import OrderChanged, PanicProgress
from engine.runtime.trading_state import TradingMode, TradingStatus
from tests.console.consoles import console, enter_line, opened, press, screen_text
from tests.console.scripted import BTC, busy_port, populate

SIZES = [(200, 60), (120, 40), (80, 24), (79, 23), (60, 16), (59, 15), (40, 10), (20, 5), (10, 3), (1, 1)]


async def test_every_action_has_a_handler_where_its_keys_work():
    port = busy_port()
    app = console(port)
    async with opened(app) as pilot:
        populate(port)
        missing = []
        for action in ACTIONS:
            for context in action.contexts:
                if context in PANES:
                    app.activate(context)
                if context == DIALOG:
                    app.show_help("")
                    await pilot.pause()
                if action.id not in app.handlers():
                    missing.append((action.id, context))
                app.close_card()
        assert missing == []
        assert set(desk_actions(app)) <= {action.id for action in ACTIONS}


@pytest.mark.parametrize("pane", PANES)
async def test_every_key_of_a_pane_does_something_or_says_why_not(pane):
    port = busy_port()
    app = console(port)
    async with opened(app) as pilot:
        populate(port)
        keymap = app.keymap
        ends = set(keymap.actions["detach"].keys)
        for chord in keymap.bindings(pane).keys() - ends:
            app.activate(pane)
            await press(pilot, chord)
            assert app.is_running
            app.close_card()
            app.prompt.close()
            app.operator.ticket = None
            app.keys._stop_jumping()
        await press(pilot, "Z")
        assert "does nothing" in app.session.note.text or app.active != pane


@pytest.mark.parametrize("before", ["desk", "prompt", "card"])
async def test_the_detach_key_leaves_the_screen_from_anywhere(before):
    app = console(busy_port())
    async with opened(app) as pilot:
        if before == "prompt":
            app.open_prompt("buy 500$ bt")
        elif before == "card":
            app.show_help("")
            await pilot.pause()
        await press(pilot, "ctrl+d")
        assert app.outcome is Outcome.DETACHED


@pytest.mark.parametrize("seed", range(2))
async def test_no_key_paste_or_resize_ends_in_a_traceback(seed):
    rng = random.Random(seed)
    port = busy_port(seed)
    app = console(port)
    typed = set("abcxyz0159") | {"escape", "enter", "tab", "space", "left", "right", "delete", "ctrl+u", "f5"}
    chords = sorted({chord for action in ACTIONS if action.id != "detach" for chord in action.keys} | typed)
    pastes = ["buy 5 btc @ mkt\n", "\x1b[201~\x1b]52;c;AAAA\x07", "‮\u2066" * 40, "x" * 2000, "\x00\x01", "run \n run"]
    async with opened(app) as pilot:
        populate(port)
        for number in range(100):
            roll = rng.random()
            if roll < 0.85:
                await press(pilot, rng.choice(chords))
                if app.card is not None and rng.random() < 0.4:
                    await press(pilot, "escape")
            elif roll < 0.93:
                app.keys.take_paste(rng.choice(pastes))
            else:
                await pilot.resize_terminal(*rng.choice(SIZES))
            if not app.is_running:
                break
            if number % 10 == 0:
                port.step()
                app.frames.paint_all()
        assert app._exception is None


@pytest.mark.parametrize("size", SIZES)
async def test_each_size_shows_what_fits_and_panic_works(size):
    port = busy_port()
    app = console(port)
    async with opened(app, size) as pilot:
        populate(port)
        await press(pilot, "tab", "z", "z", "colon", "b", "escape", "f9")
        assert ("panic", None) in port.calls
        app.frames.paint_all()
        if size[0] >= 20 and size[1] >= 3:
            assert "HALTED" in screen_text(app, "status")


@pytest.mark.parametrize("before", ["prompt", "help", "palette", "quit", "launch", "confirm", "jump"])
async def test_nothing_holds_the_panic_key_back(before):
    port = busy_port()
    app = console(port, guard=KeyGuard())
    async with opened(app) as pilot:
        populate(port)
        match before:
            case "prompt":
                app.open_prompt("buy 1 btc")
            case "help":
                app.show_help("")
            case "palette":
                app.do_action("palette")
            case "quit":
                app.ask_quit()
            case "launch":
                app.activate("strategies")
                app.do_action("strategies.new")
                app.card.accept()
            case "confirm":
                app.prompt.confirm("type 1 to send", lambda text: None)
            case "jump":
                app.keys.start_jump()
        await press(pilot, "f9")
        assert port.calls.count(("panic", None)) == 1
        assert app.card is None and not app.prompt.is_open


async def test_panic_twice_stages_flatten_all():
    port = busy_port()
    app = console(port)
    async with opened(app) as pilot:
        populate(port)
        begun = app.frames.now()
        app.frames.now = lambda: begun
        await press(pilot, "f9")
        await press(pilot, "f9")
        assert port.calls.count(("panic", None)) == 1 and app.ticket is None, "a bounce of the key is no second press"
        app.frames.now = lambda: begun + 1
        await press(pilot, "f9")
        assert "FLAT 2 positions" in screen_text(app, "preview")
        await press(pilot, "enter", "2", "enter")
        assert ("send", FlattenAllCommand()) in port.calls


async def test_order_keys_that_are_pasted_or_held_are_dropped_with_a_note():
    port = busy_port()
    app = console(port, guard=KeyGuard())
    async with opened(app) as pilot:
        populate(port)
        app.session.arm(None, None)
        await press(pilot, "1")
        for _ in range(4):
            await press(pilot, "b")
        assert "key dropped" in app.session.note.text


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40), (200, 60)])
async def test_a_trouble_is_named_in_the_status_line_at_every_width(columns: int, rows: int):
    port = busy_port(mode=Mode.LIVE)
    words = "account stream down: no connection to the private socket of the venue since a minute ago, log-in refused"
    port.health_rows = (Health("data", "good", "14 live"), Health("links", "danger", words))
    app = console(port)
    async with opened(app, (columns, rows)):
        status = screen_text(app, "status")
        assert "links" in status and "LIVE" in status and "data" not in status
        assert ("account stream" in status) == (columns == 200)


@pytest.mark.parametrize("columns", [80, 120])
async def test_a_restriction_is_a_badge_with_its_reason(columns: int):
    port = busy_port(mode=Mode.LIVE)
    why = "the venue knows two orders that the journal does not, looked at since 14:03"
    port.status = TradingStatus(TradingMode.REDUCE_ONLY, "reconcile", why)
    app = console(port)
    async with opened(app, (columns, 24)):
        line = app.query_one("#status").view.rows[0].spans
        assert (" REDUCE-ONLY ", "reduce_only") in line
        (reason,) = [text for text, role in line if role == "warn" and "venue" in text]
        assert len(reason) >= 20 and reason.endswith("…") and why.startswith(reason[:-1])
        assert any(text.startswith("●") for text, role in line)
        assert columns == 80 or any("BTC" in text for text, role in line)


async def test_the_anomaly_counters_outlive_three_troubles_at_80_columns():
    port = busy_port(mode=Mode.LIVE)
    port.status = TradingStatus(TradingMode.REDUCE_ONLY, "reconcile", "the venue does not answer")
    names = ("links", "orders", "strategies")
    port.health_rows = tuple(Health(name, "danger", "down since a minute ago") for name in names)
    app = console(port)
    async with opened(app, (80, 24)):
        populate(port)
        port.anomaly_rows = [replace(port.anomaly_rows[0], active=True, severity="CRIT")] * 12
        app.frames.paint_all()
        status = screen_text(app, "status")
        assert all(words in status for words in ("REDUCE-ONLY", "the venue", "●links+2", "✗12 CRIT")), status
        assert status.count("…") == 1, status


async def test_the_link_and_the_panic_key_stay_on_the_narrowest_desk():
    app = console(busy_port(mode=Mode.LIVE))
    async with opened(app, (80, 24)):
        assert "●" in screen_text(app, "status")
        hints = screen_text(app, "prompt")
        assert "F9 panic" in hints and "q quit" in hints and "…" not in hints


async def test_paper_on_a_live_market_names_the_market_at_80_columns():
    port = busy_port()
    port.account = Account(0, "paper", "paper", Mode.PAPER)
    port.market_label = "live:okx"
    app = console(port)
    async with opened(app, (80, 24)):
        assert "PAPER" in screen_text(app, "status") and "live:okx" in screen_text(app, "status")


async def test_a_released_live_account_is_armed_for_strategies_and_locked_for_the_hand():
    port = busy_port(mode=Mode.LIVE)
    app = console(port)
    async with opened(app) as pilot:
        await press(pilot, "f9")
        assert "HALTED" in screen_text(app, "status")
        await enter_line(pilot, "rearm 0 positions checked")
        assert port.status.mode is TradingMode.HALTED and "rearm main REASON" in app.session.note.text
        await press(pilot, "escape")
        await enter_line(pilot, "rearm main positions checked")
        assert port.status.mode is TradingMode.ARMED and not app.session.arming.everything(app.session.now())
        assert "HAND LOCKED" in screen_text(app, "status") and "press A" in app.session.note.text


async def test_the_second_press_of_panic_stays_offered_while_the_halt_goes_on():
    port = busy_port()
    app = console(port)
    async with opened(app) as pilot:
        await press(pilot, "f9")
        port.bus.publish(PanicProgress("paper: 2 cancelled, being confirmed", False))
        assert "2 cancelled, being confirmed · F9 again" in app.session.note.text
        assert [line.text for line in app.feed.log].count("PANIC: paper: 2 cancelled, being confirmed") == 1


async def test_the_log_says_first_why_an_order_was_refused():
    app = console(busy_port())
    async with opened(app) as pilot:
        await press(pilot, "1", "g", "b", "enter")
        assert app.feed.log[-1].text.startswith("REFUSED: DISARMED")
        assert app.session.note.text.startswith("BUY ")


async def test_why_a_halted_strategy_does_not_trade_is_its_halt_and_not_what_it_waited_for():
    port = busy_port()
    populate(port)
    port.rows = [replace(port.rows[0], state="halted", reason="panic", why="waits for candles")]
    app = console(port)
    async with opened(app, (200, 60)):
        shown = screen_text(app, "strategies")
        assert "why: panic" in shown and "waits" not in shown


async def test_leaving_a_live_account_says_that_orders_can_fill_meanwhile():
    port = busy_port(mode=Mode.LIVE)
    app = console(port)
    async with opened(app) as pilot:
        populate(port)
        await press(pilot, "q")
        text = " ".join(t for line in app.card.view.lines() for t, _ in line.spans)
        text = " ".join(text.split())
        assert "at the venue, where they can fill meanwhile" in text and "meet the market" not in text


async def test_o05_live_starts_disarmed_and_is_armed_by_the_typed_name():
    port = busy_port(mode=Mode.LIVE)
    app = console(port)
    async with opened(app) as pilot:
        assert "LIVE" in screen_text(app, "status") and "DISARMED" in screen_text(app, "status")
        await press(pilot, "A", *"wrong", "enter")
        assert "DISARMED" in screen_text(app, "status")
        assert "not the account's name" in app.session.note.text
        await press(pilot, "A", *"main", "enter")
        assert "ARMED 0" in screen_text(app, "status") or "ARMED 10:00" in screen_text(app, "status")


async def test_a_refusal_of_the_engine_is_shown_with_rule_limit_and_value():
    port = busy_port()
    app = console(port)
    async with opened(app) as pilot:
        populate(port)
        app.session.arm(None, None)
        port.refuse = RiskReject("max_order_usd", "100 USD", "480 USD", largest="0.001 BTC")
        await enter_line(pilot, "buy 400$ btc @ best post", submit=2)
        for part in ("max_order_usd", "480 USD", "100 USD", "0.001 BTC"):
            assert part in app.session.note.text


async def test_what_becomes_of_an_order_later_is_said():
    port = busy_port()
    app = console(port)
    async with opened(app):
        populate(port)
        order = port.add_order(BTC, Side.BUY, "0.01", "64000.0")
        order.error = "PostOnlyWouldTake"
        order.advance(OrderState.REJECTED, port.time_ns, "would take at 64,000.1")
        port.bus.publish(OrderChanged(order))
        assert f"#{order.label} rejected: PostOnlyWouldTake: would take" in app.session.note.text
        port.add_order(BTC, Side.BUY, "0.01", None, OrderType.MARKET)
        assert app.session.note.text.startswith("filled: buy 0.0100 BTC @ ")
        port.bus.publish(PanicProgress("paper: none rests (confirmed)", True))
        assert "confirmed" in app.session.note.text


async def test_a_size_typed_and_a_staged_order_moved_by_the_cursor():
    port = busy_port()
    app = console(port)
    async with opened(app) as pilot:
        populate(port)
        app.session.arm(None, None)
        await press(pilot, "1", "g", "number_sign", *"250", "dollar_sign", "enter")
        assert str(app.session.size) == "250$"
        await press(pilot, "b", "down", "down")
        price = app.ticket.price
        assert price == app.desk_screen.pane("ladder")._window.cursor
        await press(pilot, "enter")
        assert port.calls[-1][1].price == price and port.calls[-1][1].symbol == BTC
        assert app.ticket is None


async def test_a_tab_that_was_hidden_has_its_first_row_selected():
    port = busy_port()
    app = console(port)
    async with opened(app, (80, 24)) as pilot:
        populate(port)
        await press(pilot, "8", "p")
        assert ("pause", "g1") in port.calls
        await press(pilot, "6", "x")
        assert "cancelling 1 order" in app.session.note.text


async def test_foreign_text_is_shown_inert():
    port = busy_port()
    app = console(port)
    async with opened(app):
        populate(port)
        text = screen_text(app)
        assert "\x1b" not in text and "‮" not in text and "[bold]not markup" in text


async def test_stale_numbers_look_stale():
    port = busy_port()
    app = console(port)
    async with opened(app):
        populate(port)
        port.stale.add(BTC)
        assert "stale 14s" in screen_text(app, "ladder")
        roles = {role for line in app.desk_screen.pane("ladder").view.lines()[2:] for _, role in line.spans}
        assert "stale" in roles and "bid" not in roles
        (_, (total, role)) = app.desk_screen.pane("positions").view.info
        assert role == "stale", total


def test_contexts_of_the_table_are_the_ones_the_console_knows():
    assert {context for action in ACTIONS for context in action.contexts} <= {
        EVERYWHERE,
        DESK,
        STAGED,
        PROMPT,
        DIALOG,
        *PANES,
    }
