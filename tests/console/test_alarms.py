"""What makes the operator look up: the terminal's bell, and the state of things in the status line."""

from __future__ import annotations

import pytest

from ctos_tui.app import ConsoleApp
from ctos_tui.port import AnomalyRow, Health, Settings
from engine.kernel.anomaly import Severity
from engine.kernel.clock import NS_PER_S
from engine.runtime.accounts import Mode
from engine.runtime.anomalies import Anomaly, AnomalyChanged, AnomalyState
from engine.runtime.events import TradingStateChanged
from engine.runtime.trading_state import TradingMode
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
