"""Whatever a venue says, nothing leaves the program that a terminal would obey, and no secret."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from ctos_tui import failing
from ctos_tui.cli.jsonlines import to_json
from ctos_tui.panes.rows import paint
from ctos_tui.panes.view import Line
from ctos_tui.theme import DEFAULT_DARK, load_theme
from engine.io.secrets import process_redactor
from engine.kernel.errors import VenueError
from engine.kernel.secret import Secret

HOSTILE = "a\x1b]52;c;ZWNobw==\x07b\x9b31mc\u202ed\u200be[red]f\U000e0041g"


def inert(text: str) -> bool:
    return all(sign.isprintable() for sign in text)


def test_json_escapes_what_a_terminal_obeys_and_reads_back_the_same() -> None:
    line = to_json({"text": HOSTILE, HOSTILE: [HOSTILE]})
    assert inert(line)
    assert json.loads(line) == {"text": HOSTILE, HOSTILE: [HOSTILE]}
    assert to_json({"text": "größer … ●"}) == '{"text": "größer … ●"}'


def test_errors_are_told_inert_and_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    process_redactor.add(Secret("canary-of-output"))
    failing.tell(VenueError("refused", code="1", venue_text=f"{HOSTILE} canary-of-output"))
    shown = capsys.readouterr().err
    assert inert(shown.rstrip("\n")) and "canary" not in shown and "***" in shown
    assert shown.startswith("ctos-tui: VenueError: refused [1 a␛]52;")


def test_tracebacks_are_masked(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    process_redactor.add(Secret("canary-of-traceback"))
    failing.mask_tracebacks()
    try:
        raise RuntimeError(f"canary-of-{'traceback'} {HOSTILE}")
    except RuntimeError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    shown = capsys.readouterr().err
    assert "RuntimeError: ***" in shown and str(Path(__file__).name) in shown
    assert inert(shown.replace("\n", ""))


def test_a_row_of_the_console_paints_no_control_character() -> None:
    strip = paint(Line(" ", ((HOSTILE, "text"), ("tail", "dim")), "panel"), 60, 1, load_theme(DEFAULT_DARK))
    assert inert(strip.text)
    assert "tail" in strip.text
