"""The anomalies pane by keyboard: seen, quiet for a time, decided with a reason, found by number, read in full."""

from __future__ import annotations

from msgspec import structs

from engine.kernel.errors import CtosError
from tests.console.consoles import console, opened, press
from tests.console.scripted import busy_port, populate


async def at_the_drift(pilot, app, port) -> None:
    """Select the anomaly that waits for a decision."""
    populate(port)
    app.activate("anomalies")
    await press(pilot, "home")


def shown(app) -> str:
    """Return what the open card shows."""
    app.frames.paint_all()
    return "\n".join("".join(text for text, _ in row.spans) for row in app.card.view.rows)


async def test_it_is_quiet_for_the_time_that_is_typed():
    port = busy_port()
    app = console(port)
    async with opened(app) as pilot:
        await at_the_drift(pilot, app, port)
        await press(pilot, "u", *(["backspace"] * 3), *"2h", "enter")
        assert ("mute", "a2", 7200) in port.calls
        await press(pilot, "u", *(["backspace"] * 3), *"soon", "enter")
        assert [call[0] for call in port.calls].count("mute") == 1
        assert "soon is no time" in app.session.note.text


async def test_a_decision_asks_for_a_reason_and_a_refusal_is_said(monkeypatch):
    port = busy_port()
    app = console(port)
    async with opened(app) as pilot:
        await at_the_drift(pilot, app, port)
        await press(pilot, "e", *"settled", "enter")
        assert ("decide", "a2", "settled") in port.calls

        await press(pilot, "e")
        rows = port.anomaly_rows
        port.anomaly_rows = [structs.replace(row, decision="book +0.9") if row.id == "a2" else row for row in rows]
        await press(pilot, *"settled", "enter")
        assert [call[0] for call in port.calls].count("decide") == 1
        assert "not done: #a2 has changed to: book +0.9" in app.session.note.text

        def refuse(anomaly: str, reason: str) -> None:
            raise CtosError("a decision needs a reason")

        monkeypatch.setattr(port, "decide", refuse)
        await press(pilot, "e", "enter")
        assert "needs a reason" in app.session.note.text
        await press(pilot, "end", "e")
        assert "nothing to decide about #a1" in app.session.note.text


async def test_its_card_tells_value_threshold_clear_level_peak_action_and_what_to_decide():
    port = busy_port()
    app = console(port)
    async with opened(app) as pilot:
        await at_the_drift(pilot, app, port)
        await press(pilot, "enter")
        text = " ".join(shown(app).split())
        for part in (
            "worst 36.48",
            "clears at 1.82",
            "new entries blocked",
            "sell 0.2 SOL-USDT-PERP would restore",
            "no trade explains it",
            "book the venue's quantity",
        ):
            assert part in text, part


async def test_a_long_log_line_opens_in_full():
    port = busy_port()
    app = console(port)
    words = " ".join(f"word{number}" for number in range(60))
    async with opened(app) as pilot:
        port.say("risk", words, "warn")
        app.activate("log")
        app.frames.paint_all()
        await press(pilot, "end", "enter")
        assert " ".join(shown(app).split()) == words
