"""What makes the operator look up: the terminal's bell, and the state of things in the status line."""

from __future__ import annotations

import pytest

from ctos_tui.app import ConsoleApp
from ctos_tui.port import AnomalyRow, HaltProgress, Health, Settings
from engine.kernel.anomaly import Severity
from engine.kernel.clock import NS_PER_S
from engine.runtime.accounts import Mode
from engine.runtime.anomalies import Anomaly, AnomalyChanged, AnomalyState
from engine.runtime.events import TradingStateChanged
from engine.runtime.trading_state import TradingMode, TradingStatus
from tests.console.consoles import console, opened, screen_text
from tests.console.scripted import busy_port


def row(severity: str, **more: object) -> AnomalyRow:
    return AnomalyRow("7", 0, severity, "price_jump", "BTC-USDT-PERP", "", "0.1", "0.05", "moved", **more)


@pytest.mark.parametrize("columns", [80, 120])
async def test_a_halt_a_lost_link_and_a_critical_anomaly_are_in_sight_together(columns: int):
    port = busy_port(mode=Mode.LIVE)
    port.health_rows = (Health("links", "danger", "account stream down: nothing since a minute ago"),)
    port.anomaly_rows = [row("CRIT", acknowledged=True), row("WARN"), row("CRIT", active=False)]
    app = console(port)
    async with opened(app, (columns, 24)) as pilot:
        await pilot.press("f9")
        await pilot.pause()
        app.frames.paint_all()
        status = screen_text(app, "status")
        assert all(words in status for words in ("LIVE", "HALTED", "links", "✗1 CRIT")), status


@pytest.mark.parametrize(("bell", "rings"), [("off", 0), ("crit", 2), ("warn", 3)])
async def test_the_bell_rings_once_for_each_halt_and_grave_anomaly(
    monkeypatch: pytest.MonkeyPatch, bell: str, rings: int
):
    rung: list[bool] = []
    monkeypatch.setattr(ConsoleApp, "bell", lambda self: rung.append(True))
    port = busy_port()
    port.settings = Settings(accounts=("main",), bell=bell)
    app = console(port)
    async with opened(app):
        now = app.session.now()
        app.session.now = lambda: now
        publish = port.bus.publish
        made = Anomaly("1", "x", "X", Severity.WARN, AnomalyState.ACTIVE, "", "", "", 0, 0, "", "", "", "")
        publish(AnomalyChanged(made, True))
        now += 2 * NS_PER_S
        made.severity = Severity.CRIT
        publish(AnomalyChanged(made, True))
        publish(AnomalyChanged(made, True))
        publish(AnomalyChanged(made, False))
        now += 2 * NS_PER_S
        publish(TradingStateChanged(TradingMode.HALTED.value, "why"))
        publish(TradingStateChanged(TradingMode.ARMED.value, ""))
        assert len(rung) == rings


FOUR = (
    Health("data", "warn", "2 of 14 stale"),
    Health("orders", "danger", "no known outcome: #3"),
    Health("venue", "danger", "the last query failed: it does not answer"),
    Health("links", "danger", "account stream down: nothing since a minute ago"),
)


@pytest.mark.parametrize("health", [(), FOUR[1:2], FOUR], ids=len)
@pytest.mark.parametrize(
    ("columns", "progress", "words"),
    [
        (80, HaltProgress(), " HALTED   lost mone"),
        (80, HaltProgress(True, frozenset({3, 4})), " HALTED 2 unconfirmed   lost"),
        (120, HaltProgress(), " HALTED   lost money all day long · since 02:44 "),
        (120, HaltProgress(True, frozenset({3})), " HALTED 1 unconfirmed   lost money all day long · since 02:44 "),
        (200, HaltProgress(), " HALTED   lost money all day long · pid 9569 by ctos-tui panic · since 02:44 "),
    ],
)
async def test_why_the_account_is_halted_stays_in_sight_beside_all_that_is_wrong(
    columns: int, progress: HaltProgress, words: str, health: tuple[Health, ...]
):
    port = busy_port(mode=Mode.LIVE)
    port.health_rows, port.progress = health, progress
    since_ns = port.time_ns - 20 * 60 * NS_PER_S
    why, who = "lost money all day long", "pid 9569 by ctos-tui panic"
    port.status = TradingStatus(TradingMode.HALTED, who, why, since_ns)
    app = console(port)
    async with opened(app, (columns, 24)):
        status = screen_text(app, "status")
        assert words in status, status
        assert not health or "●orders" in status or "● orders" in status, status


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (80, " HALTED   loss (UTC) day · since 02:44 "),
        (120, " HALTED   loss (UTC) day (507 of 500 USD) · since 02:44 "),
        (200, " HALTED   loss (UTC) day (507 of 500 USD) · pid 9569 by ctos-tui panic · since 02:44 "),
    ],
)
async def test_what_stands_in_brackets_goes_before_the_time_of_a_halt(columns: int, words: str):
    port = busy_port(mode=Mode.LIVE)
    since_ns = port.time_ns - 20 * 60 * NS_PER_S
    why = "loss (UTC) day (507 of 500 USD)"
    port.status = TradingStatus(TradingMode.HALTED, "pid 9569 by ctos-tui panic", why, since_ns)
    app = console(port)
    async with opened(app, (columns, 24)):
        assert words in screen_text(app, "status"), screen_text(app, "status")


async def test_an_account_that_comes_up_halted_tells_who_when_why_and_how_to_go_on():
    port = busy_port(mode=Mode.LIVE)
    since_ns = port.time_ns - 26 * 3600 * NS_PER_S
    port.status = TradingStatus(TradingMode.HALTED, "ann", "looks \x1b[31modd", since_ns)
    app = console(port)
    async with opened(app, (200, 60)):
        for _ in range(3):
            app.session.look()
        (line,) = [entry for entry in app.feed.log if entry.text.startswith("HALTED")]
        assert line.level == "error" and "\x1b" not in line.text
        assert line.text.startswith("HALTED: looks ")
        assert line.text.endswith("odd; by ann since 2026-01-01 01:04 UTC; rearm main REASON releases it")
        assert "odd · ann · since 2026-01-01 01:04" in screen_text(app, "status")
