"""An operator trades on each real venue by keyboard alone: the real program against the venue's emulator."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.program.terminal import READ_S, ROOT, Terminal

pytestmark = pytest.mark.pty
Start = Callable[..., Terminal]
VENUES = ("okx", "binance", "backpack")


@pytest.fixture(params=VENUES)
def venue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Run a venue's emulator as a process of its own, and configure a live account on it."""
    name: str = request.param
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "tests.venues.emulators", name, "--market", "synthetic:3"],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    assert server.stdout is not None
    said: list[str] = []
    while "accounts.yaml" not in "".join(said) or said[-1].strip():
        said.append(server.stdout.readline())
        assert said[-1], "the emulator ended"
    _, _, files = "".join(said).partition("ctos.yaml:\n")
    config, _, accounts = files.partition("accounts.yaml (chmod 600):\n")
    (tmp_path / "ctos.yaml").write_text(f"{config}\non_stop: keep\n")
    keys = tmp_path / "accounts.yaml"
    keys.write_text(f'{accounts.rstrip()}\n    no_withdraw_confirmed: "2026-11-01"\n')
    keys.chmod(0o600)
    yield name
    server.terminate()
    server.wait()
    server.stdout.close()


def arm_live(terminal: Terminal, name: str) -> None:
    """Answer what arming a live account asks for."""
    terminal.press("A")
    terminal.wait_for(r"LIVE: type emulated to arm all markets: ")
    terminal.pump(READ_S)
    terminal.send(name.encode())
    terminal.wait_for(rf"to arm all markets: {name}")
    terminal.enter()


def order_number(terminal: Terminal, size: str) -> str:
    """Return the number of the one order that rests with a size."""
    row = rf"#(\d+) +BTC-PERP B +{size}"
    terminal.wait_for(row)
    terminal.wait_for(r"ORDERS 1\b")
    found = re.search(row, terminal.text)
    assert found is not None
    return found[1]


def test_an_operator_trades_on_a_venue_and_finds_everything_again(start: Start, venue: str, tmp_path: Path) -> None:
    command = ("--config", str(tmp_path), "--exchange", venue)
    terminal = start(command=command)
    terminal.wait_for(rf"LIVE +DISARMED +{venue}·emulated#0")
    arm_live(terminal, "main")
    terminal.wait_for(r"'main' is not the account's name")
    arm_live(terminal, "emulated")
    terminal.wait_for(r" ARMED \d\d:\d\d")
    terminal.order("buy 0.01 btc @ best -600")
    number = order_number(terminal, "0.0100")
    terminal.order(f"mv #{number} 0.012 @ best -700")
    number = order_number(terminal, "0.0120")
    terminal.order("buy 0.005 btc @ mkt")
    terminal.wait_for(r"BTC-PERP L +0.0050")
    terminal.leave()

    terminal = start(command=command)
    terminal.wait_for(rf"LIVE +DISARMED +{venue}·emulated#0")
    terminal.wait_for(r"BTC-PERP L +0.0050")
    assert order_number(terminal, "0.0120") == number
    terminal.command(f"x #{number}")
    terminal.wait_for(r"ORDERS 0")
    terminal.order("flat btc")
    terminal.wait_for(r"POSITIONS 0")
    terminal.wait_for(r"FILLS 2")
    terminal.leave()
