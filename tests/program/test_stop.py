"""A stop does with resting orders exactly what the policy says, says so, and never takes long."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.program.terminal import READ_S, ROOT, Terminal
from tests.program.test_venues import arm_live

pytestmark = pytest.mark.pty
Start = Callable[..., Terminal]
STOP_S = 20
"""The longest a stop may take."""


@pytest.fixture
def okx(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run an emulated venue as a process of its own, and configure a live account on it."""
    command = [sys.executable, "-u", "-m", "tests.venues.emulators", "okx", "--market", "synthetic:3"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert server.stdout is not None
    said: list[str] = []
    while "accounts.yaml" not in "".join(said) or said[-1].strip():
        said.append(server.stdout.readline())
        assert said[-1], "the emulator ended"
    _, _, files = "".join(said).partition("ctos.yaml:\n")
    config, _, accounts = files.partition("accounts.yaml (chmod 600):\n")
    (tmp_path / "ctos.yaml").write_text(config)
    keys = tmp_path / "accounts.yaml"
    keys.write_text(f'{accounts.rstrip()}\n    no_withdraw_confirmed: "2026-11-01"\n')
    keys.chmod(0o600)
    yield server
    server.send_signal(signal.SIGCONT)
    server.terminate()
    server.wait()
    server.stdout.close()


def live(start: Start, config: Path) -> Terminal:
    """Open a live console with two resting orders."""
    terminal = start(command=("--config", str(config), "--exchange", "okx"))
    arm_live(terminal, "emulated")
    while "to arm all markets" in terminal.lines[-1]:  # the guard took Enter for a mistake, as on a busy machine
        terminal.answer("enter")
    terminal.wait_for(r" ARMED \d\d:\d\d")
    rest(terminal, "buy 0.01 btc @ best -250", 1)
    rest(terminal, "buy 0.02 btc @ best -300", 2)
    return terminal


def rest(terminal: Terminal, line: str, orders: int) -> None:
    """Let an order rest; on a busy machine the guard may take its keys for a mistake, and nothing is sent."""
    for _ in range(4):
        terminal.command(line)
        terminal.pump(READ_S)
        if "Enter sends" in terminal.text:
            terminal.answer("enter")
            terminal.wait_for(rf"ORDERS {orders}\b")
            return
        terminal.press("escape")
    raise AssertionError(f"{line} is not staged:\n{terminal.text}")


def ended(terminal: Terminal, seconds: float) -> str:
    """Return what stands on the terminal after the program ended in good order."""
    began = time.monotonic()
    assert terminal.finish(STOP_S + 5) == 0
    assert time.monotonic() - began < seconds
    assert terminal.terminal_restored
    assert b"Traceback" not in terminal.output
    return " ".join(terminal.text.split())


@pytest.mark.parametrize(
    ("policy", "how"),
    [("", "q"), ("cancel", "SIGTERM"), ("keep", "SIGTERM"), ("keep", "q")],
    ids=["default-q", "cancel-SIGTERM", "keep-SIGTERM", "keep-q"],
)
def test_p03_o10_live_orders_go_or_stay_as_the_policy_says(
    start: Start, okx: subprocess.Popen[str], tmp_path: Path, policy: str, how: str
) -> None:
    if policy:
        with (tmp_path / "ctos.yaml").open("a") as file:
            file.write(f"\non_stop: {policy}\n")
    goes = policy != "keep"
    terminal = live(start, tmp_path)
    if how == "q":
        terminal.press("q")
        terminal.wait_for("leaving cancels resting orders" if goes else "leaving keeps orders at the venue")
        terminal.answer("down", "enter")
    else:
        terminal.signal(signal.SIGTERM)
    said = ended(terminal, 10)
    assert f"stopped with on_stop: {'cancel' if goes else 'keep'}" in said
    what = "cancelled" if goes else "rests at the venue and can fill meanwhile"
    assert len(re.findall(rf"#\d+ buy 0.0[12] BTC-USDT-PERP @ [\d.]+: {what}", said)) == 2
    again = start(command=("--config", str(tmp_path), "--exchange", "okx"))
    again.wait_for(r"ORDERS 0\b" if goes else r"ORDERS 2\b")


def test_p03_o10_a_venue_that_does_not_answer_is_said_order_by_order(
    start: Start, okx: subprocess.Popen[str], tmp_path: Path
) -> None:
    terminal = live(start, tmp_path)
    okx.send_signal(signal.SIGSTOP)
    terminal.signal(signal.SIGTERM)
    said = ended(terminal, STOP_S)
    assert len(re.findall(r"#\d+ buy [\d.]+ BTC-USDT-PERP @ [\d.]+: NOT CONFIRMED cancelled", said)) == 2
    okx.send_signal(signal.SIGCONT)
    again = start(command=("--config", str(tmp_path), "--exchange", "okx"))
    again.wait_for(r"ORDERS 0\b", 30)


def test_p03_a_stop_while_the_venue_is_being_reconnected(
    start: Start, okx: subprocess.Popen[str], tmp_path: Path
) -> None:
    terminal = live(start, tmp_path)
    okx.kill()
    terminal.wait_for(r"stale \d+s", 20)
    terminal.signal(signal.SIGTERM)
    said = ended(terminal, STOP_S)
    assert len(re.findall(r"#\d+ buy [\d.]+ BTC-USDT-PERP @ [\d.]+: NOT CONFIRMED cancelled", said)) == 2


@pytest.mark.parametrize("exchange", ["paper", "okx"])
def test_p03_a_stop_while_the_engine_starts(
    start: Start, okx: subprocess.Popen[str], tmp_path: Path, exchange: str
) -> None:
    terminal = start(ready=False, command=("--config", str(tmp_path), "--exchange", exchange))
    terminal.wait_for("LADDER")
    terminal.signal(signal.SIGTERM)
    ended(terminal, 10)


def test_p05_live_goes_on_when_ssh_drops_and_the_new_screen_has_no_grant(
    start: Start, okx: subprocess.Popen[str], tmp_path: Path
) -> None:
    terminal = live(start, tmp_path)
    engine = terminal.engine
    terminal.hang_up()
    again = start(ready=False, command=("attach", "--config", str(tmp_path), "--exchange", "okx"))
    again.wait_for(r"LIVE +ARMED · HAND LOCKED", 20)
    again.wait_for(r"ORDERS 2\b")
    assert terminal.engine == engine
    again.pump(READ_S)
    again.command("buy 0.01 btc @ best -250")
    again.wait_for("REFUSED: HAND LOCKED")
    again.press("escape")
    again.command("x all")
    again.wait_for(r"ORDERS 0\b")
    os.kill(engine, signal.SIGTERM)
    ended(again, 10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_p04_a_second_signal_ends_at_once_and_the_next_start_knows_everything(
    start: Start, okx: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    terminal = live(start, tmp_path)
    engine = terminal.engine
    okx.send_signal(signal.SIGSTOP)
    terminal.signal(number)
    terminal.wait_for("cancelling what rests")
    terminal.signal(number)
    began = time.monotonic()
    terminal.finish(5)
    assert time.monotonic() - began < 2
    assert terminal.terminal_restored
    assert not Path(f"/proc/{engine}").exists()
    okx.send_signal(signal.SIGCONT)
    again = start(command=("--config", str(tmp_path), "--exchange", "okx"))
    again.wait_for(r"ORDERS 0\b", 30)


@pytest.mark.parametrize("policy", ["keep", "cancel"])
def test_o10_a_run_without_a_screen_reports_its_stop(tmp_path: Path, policy: str) -> None:
    (tmp_path / "ctos.yaml").write_text(f"on_stop: {policy}\n")
    command = [sys.executable, "-m", "ctos_tui", "run", "--config", str(tmp_path), "--market", "synthetic:3"]
    command += ["--strategy", "dyn_grid:btc:base_amount=200,max_inventory=1000"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None
        opened: set[str] = set()
        for line in run.stdout:
            found = re.search(r'"type": "order".*"id": "(\w+)".*"state": "open"', line)
            opened |= {found[1]} if found else set()
            if len(opened) == 2:
                break
        run.send_signal(signal.SIGTERM)
        rest = run.stdout.read()
    assert run.returncode == 0
    stopped = re.search(r'\{"type": "stopped".*\}', rest)
    assert stopped is not None
    place = "cancelled" if policy == "cancel" else "kept"
    named = re.search(rf'"{place}": \[([^\]]*)\]', stopped[0])
    assert named is not None and set(re.findall(r"\w+", named[1])) == opened
    assert f'"open_orders": {0 if policy == "cancel" else 2}' in rest


def test_a_bare_ssh_connection_is_warned_of_where_it_would_end_live_trading(
    start: Start, okx: subprocess.Popen[str], tmp_path: Path
) -> None:
    with (tmp_path / "ctos.yaml").open("a") as file:
        file.write("\nconsole:\n  on_terminal_lost: stop\n")
    command = ("--config", str(tmp_path), "--exchange", "okx")
    bare = start(command=command, environment={"SSH_TTY": "/dev/pts/9"})
    bare.wait_for("live on a bare ssh connection")
    bare.signal(signal.SIGTERM)
    ended(bare, 10)
    safe = start(command=command, environment={"SSH_TTY": "/dev/pts/9", "TMUX": "/tmp/tmux,1,0"})
    safe.pump(1)
    assert "bare ssh" not in safe.text
