"""An operator trades by keyboard alone, on the real program in a real terminal."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.program.terminal import Terminal

pytestmark = pytest.mark.pty
Start = Callable[..., Terminal]


def test_an_order_from_the_ladder_is_amended_and_cancelled(start: Start) -> None:
    terminal = start()
    terminal.press("3", "down", "enter")
    terminal.wait_for(r"LADDER ETH-PERP")
    terminal.press("up", "enter")
    terminal.wait_for(r"LADDER BTC-PERP")
    terminal.press("1", "b")
    terminal.wait_for(r"REFUSED: DISARMED: press A")
    terminal.press("backspace", "A")
    terminal.wait_for(r" ARMED")
    terminal.press("g", "pagedown", "pagedown", "b")
    terminal.wait_for(r"BUY 0.00\d+ BTC-PERP limit .* OK")
    terminal.press("enter")
    terminal.wait_for(r"ORDERS 1")
    terminal.wait_for(r"#1 +BTC-PERP B +0.00\d+")
    terminal.wait_for(r"◂#1")
    terminal.order("mv #1 0.009 @ best -100t")
    terminal.wait_for(r"#1 +BTC-PERP B +0.0090")
    terminal.command("x #1")
    terminal.wait_for(r"ORDERS 0")


def test_a_market_order_fills_is_valued_and_closed(start: Start) -> None:
    terminal = start()
    terminal.arm()
    terminal.command("buy 500$ btc")
    terminal.wait_for("no price|price")
    terminal.press("escape")
    terminal.order("buy 500$ btc @ mkt")
    terminal.wait_for(r"POSITIONS 1")
    terminal.wait_for(r"FILLS 1")
    terminal.wait_for(r"eq 19,99\d|eq 20,0\d\d\.[1-9]")
    seen = set()

    def profit_changed() -> bool:
        shown = re.search(r"BTC-PERP +(?:L|B).*?([+−]\d+\.\d\d)", terminal.text)
        seen.add(shown[1] if shown else None)
        return len(seen - {None}) > 1

    terminal.wait_for(profit_changed, 20)
    terminal.order("flat btc")
    terminal.wait_for(r"POSITIONS 0")
    terminal.wait_for(r"FILLS 2")
