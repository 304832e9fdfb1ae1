"""However a run ends, the next one shows the same orders, positions and strategies."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.program.terminal import Terminal

pytestmark = pytest.mark.pty
Start = Callable[..., Terminal]


def trade(terminal: Terminal) -> None:
    """Get a resting order, a position and a strategy."""
    terminal.arm()
    terminal.order("buy 500$ btc @ best -0.45%")
    terminal.wait_for("ORDERS 1")
    terminal.order("buy 500$ eth @ mkt")
    terminal.wait_for("POSITIONS 1")
    terminal.command("run dyn_grid sol base_amount=100 max_inventory=1000 as g1")
    terminal.wait_for("ORDERS 3", 15)


def assert_same(terminal: Terminal) -> None:
    terminal.wait_for("POSITIONS 1", 15)
    terminal.wait_for("ORDERS 3", 15)
    terminal.wait_for(r"#1 +BTC-PERP B")
    terminal.wait_for(r"ETH-PERP +L")
    terminal.wait_for(r"g1 .*RUNNING")


def test_quit_and_come_back(start: Start) -> None:
    first = start()
    trade(first)
    first.leave()
    assert first.terminal_restored
    again = start(ready=False)
    assert_same(again)


def test_killed_and_come_back(start: Start) -> None:
    first = start()
    trade(first)
    first.signal(signal.SIGKILL)
    assert first.finish() == -signal.SIGKILL
    assert_same(start(ready=False))


@pytest.mark.parametrize("how", ["terminate", "hang up"])
def test_a_lost_run_ends_gracefully(start: Start, how: str) -> None:
    first = start()
    trade(first)
    if how == "terminate":
        first.signal(signal.SIGTERM)
    else:
        first.hang_up()
    assert first.finish(5) == 0
    if how == "terminate":
        assert first.terminal_restored
        assert b"Traceback" not in first.output
    assert_same(start(ready=False))


def test_p10_a_second_process_on_the_same_state_is_refused(start: Start, tmp_path: Path) -> None:
    first = start()
    second = start(ready=False)
    assert second.finish(10) == 2
    said = second.output.decode()
    assert f"process {first.engine} with its terminal in process {first.process.pid} (" in said
    assert "ctos-tui attach" in said
    assert "Traceback" not in said
    call = start(ready=False, command=("call", "--config", str(tmp_path), "get_position"))
    assert call.finish(10) == 0
    first.arm()
