"""Strategies are launched, changed, paused and stopped by keyboard; a faulty one harms no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.program.terminal import Terminal

pytestmark = pytest.mark.pty
Start = Callable[..., Terminal]

FAULTY = '''
from typing import Literal

from engine.kernel.strategy import Params, Strategy


class RaisesParams(Params):
    pass


class Raises(Strategy[RaisesParams]):
    """raises at every quote"""

    name = "raises"
    Params = RaisesParams

    def on_quote(self, quote):
        raise ValueError("told to")


class LoopsParams(Params):
    pass


class Loops(Strategy[LoopsParams]):
    """never comes back"""

    name = "loops"
    Params = LoopsParams

    def on_quote(self, quote):
        while True:
            pass
'''


def test_a_grid_from_the_form_is_changed_paused_and_stopped_flat(start: Start) -> None:
    terminal = start()
    terminal.arm()
    terminal.command("go doge")
    terminal.wait_for("LADDER DOGE-PERP")
    terminal.press("8", "n")
    terminal.wait_for("LAUNCH A STRATEGY")
    terminal.answer("enter")
    terminal.wait_for("LAUNCH dyn_grid")
    terminal.press("tab")
    terminal.send(b"g1")
    terminal.wait_for("as +g1")
    terminal.answer("enter")
    terminal.wait_for(r"STRATEGIES 1")
    terminal.wait_for(r"ORDERS 2")
    terminal.command("set g1 sell_grid_step=1.03")
    terminal.wait_for(r"sell_grid_step 1\.018 → 1\.03")
    terminal.command("pause g1")
    terminal.wait_for(r"g1.*PAUSED|PAUSED")
    terminal.wait_for(r"ORDERS 0")
    terminal.command("resume g1")
    terminal.wait_for(r"ORDERS 2")
    terminal.command("halt g1 flat")
    terminal.wait_for(r"ORDERS 0")
    terminal.wait_for(r"STOPPED")


def test_a_grid_launched_by_a_line_trades(start: Start) -> None:
    terminal = start(options=("--speed", "20"))
    terminal.arm()
    steps = "buy_grid_step=0.9997 sell_grid_step=1.0003 buy_move_step=0.9998 sell_move_step=1.0002"
    terminal.command(f"run dyn_grid btc base_amount=200 max_inventory=1000 {steps} as g1")
    terminal.wait_for(r"FILLS [1-9]", 90)
    terminal.wait_for(r"g1 .*RUNNING", 5)
    terminal.command("halt g1 flat")
    terminal.wait_for("STOPPED", 15)
    terminal.wait_for("POSITIONS 0", 15)


def test_a_strategy_that_raises_or_never_returns_harms_no_other(start: Start, tmp_path: Path) -> None:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "faulty.py").write_text(FAULTY)
    terminal = start()
    terminal.arm()
    terminal.command("run dyn_grid eth base_amount=100 max_inventory=1000 as g1")
    terminal.wait_for(r"ORDERS 2")
    terminal.command("run raises btc as bad")
    terminal.wait_for(r"bad .*FAULT", 15)
    terminal.command("run loops btc as ever")
    terminal.wait_for(r"ever .*FAULT", 20)
    terminal.wait_for(r"ORDERS 2")
    terminal.command("set g1 sell_grid_step=1.03")
    terminal.wait_for(r"sell_grid_step 1\.018 → 1\.03")
