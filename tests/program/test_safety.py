"""What keeps an operator from harm: refusals that can be read, the panic key, rubbish that does nothing."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.program.terminal import PROMPT, READ_S, Terminal

pytestmark = pytest.mark.pty
Start = Callable[..., Terminal]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_why_an_oversized_order_is_refused_can_be_read(start: Start, size: tuple[int, int]) -> None:
    terminal = start(size=size)
    terminal.arm()
    terminal.command("buy 20000$ btc @ best")
    terminal.wait_for(r"REFUSED: max_order_usd [\d,]+ \$ > 5,000 \$")
    terminal.wait_for(r"largest\s+that\s+passes\s+0\.07\d")


def test_panic_from_the_prompt_and_from_a_dialog(start: Start) -> None:
    terminal = start()
    terminal.arm()
    terminal.command("run dyn_grid btc base_amount=200 max_inventory=1000 as g1")
    terminal.wait_for("ORDERS 2")
    terminal.line("buy 500$ bt")
    terminal.press("f9")
    terminal.wait_for(r" HALTED")
    terminal.wait_for("ORDERS 0")
    terminal.wait_for(r"none rests \(confirmed\), 2 cancelled")
    terminal.wait_for(r"g1 .*HALTED.*panic")
    terminal.pump(3.1)
    terminal.command("rearm paper looked at it")
    terminal.wait_for(r" (DIS)?ARMED ")
    terminal.press("?")
    terminal.wait_for("HELP")
    terminal.press("f9")
    terminal.wait_for(r" HALTED")
    terminal.wait_gone("HELP")


def test_panic_twice_stages_flatten_all(start: Start) -> None:
    terminal = start()
    terminal.arm()
    terminal.order("buy 500$ btc @ mkt")
    terminal.wait_for("POSITIONS 1")
    terminal.press("f9")
    terminal.wait_for(r" HALTED")
    terminal.answer("f9")
    terminal.wait_for("(?i)flat.*all")
    terminal.answer("enter")
    terminal.wait_for(r"type \S+ to send: |POSITIONS 0")
    if "to send: " in terminal.lines[-1]:
        terminal.send(terminal.lines[-1].split()[1].encode())
        terminal.answer("enter")
    terminal.wait_for("POSITIONS 0")


def test_pasted_rubbish_sends_nothing_and_breaks_nothing(start: Start) -> None:
    terminal = start()
    terminal.arm()
    line = b"buy 0.001 btc @ 60000\rbuy 500$ btc @ mkt\r0.007\r"
    terminal.send(b"\x1b[200~" + line + b"\x1b[201~")
    terminal.press(":")
    terminal.send(b"\x1b[200~" + line * 10 + b"\x1b]0;title\x07\x1b]52;c;eA==\x07\x00\x9b31m\xff\xfe\x1b[201~")
    terminal.press("escape")
    terminal.send(b"\x1b[200~" + b"A" * 100_000 + b"\x1b[201~")
    terminal.send(b"\x1b]8;;http://x\x07\x1bPq\x1b\\\x1b[999999;99999H\x1b[<0;9999;9999M")
    terminal.send(line)
    noise = random.Random(5).randbytes(20_000).replace(b"q", b"").replace(b"\x03", b"").replace(b"\x11", b"")
    terminal.send(noise)
    terminal.press("escape", "escape", "escape", "f9")
    terminal.wait_for(r" HALTED", 20)
    assert b"Traceback" not in terminal.output
    assert "POSITIONS 0" in terminal.text


def test_a_line_typed_as_fast_as_a_paste_is_not_sent_and_says_so(start: Start) -> None:
    terminal = start(size=(80, 24))
    terminal.arm()
    terminal.press(":")
    terminal.send(b"buy 300$ btc @ best\r")
    terminal.wait_for("key dropped: too many keys at once")
    terminal.press("enter")
    terminal.wait_for("Enter sends")


def test_random_keys_and_sizes_while_trading(start: Start) -> None:
    terminal = start(size=(120, 40))
    terminal.arm()
    terminal.command("run dyn_grid btc+eth base_amount=200 max_inventory=1000 as g1")
    terminal.wait_for("ORDERS 4")
    pick = random.Random(11)
    keys = [*"0123456789abcdefghijklmnoprstuvwxyzBSXV:#?/+-[] ", *(["\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D", "\r"] * 2)]
    keys += [
        "\t",
        "\x1b[Z",
        "\x1b[5~",
        "\x1b[6~",
        "\x1b[H",
        "\x1b[F",
        "\x10",
        "\x7f",
        "\x15",
        "\x17",
        "\x1bOP",
        "é",
        "漢",
    ]
    sizes = [(300, 100), (80, 24), (61, 17), (59, 15), (20, 5), (3, 2), (1, 1), (200, 60), (120, 40)]
    for columns, lines in sizes:
        terminal.resize(columns, lines)
        for _ in range(40):
            terminal.send(pick.choice(keys).encode())
            terminal.pump(0.01)
        assert terminal.process.poll() is None, terminal.text
    terminal.press("escape", "escape", "escape")
    terminal.press("f9")
    terminal.wait_for(r" HALTED ")
    assert b"Traceback" not in terminal.output
    assert "cannot be painted" not in terminal.text


def test_p11_a_frozen_program_compares_everything_before_it_trades_on(start: Start) -> None:
    terminal = start()
    terminal.arm()
    terminal.order("buy 500$ btc @ best -250")
    terminal.wait_for(r"ORDERS 1\b")
    os.kill(terminal.engine, signal.SIGSTOP)
    terminal.pump(5.0)
    os.kill(terminal.engine, signal.SIGCONT)
    terminal.wait_for(r" REDUCE.ONLY", 5)
    terminal.wait_for(r"the program stood still", 5)
    terminal.wait_for(r" ARMED", 25)
    assert "ORDERS 1" in terminal.text


def intents(config: Path) -> int:
    """Return how many orders were ever decided on, as the journal has it."""
    with closing(sqlite3.connect(f"file:{config}/state/ctos.db?mode=ro", uri=True)) as journal:
        return int(journal.execute("SELECT count(*) FROM journal WHERE upper(kind) = 'INTENT'").fetchone()[0])


def back_to_desk(terminal: Terminal) -> None:
    """Close what is open, once all that was typed has been taken in."""
    terminal.wait_for(lambda: not is_busy(terminal), 120)  # ten thousand keys take a slow machine a while
    for _ in range(5):
        terminal.press("escape")
        terminal.pump(READ_S)
        if not PROMPT.match(terminal.lines[-1]):
            return
    raise AssertionError(f"the prompt stays open:\n{terminal.text}")


def is_busy(terminal: Terminal) -> bool:
    """Return whether what was typed is still being shown."""
    before = terminal.lines[-2:]
    terminal.pump(1.0)
    return terminal.lines[-2:] != before


def stage(terminal: Terminal, line: str) -> None:
    terminal.command(line)
    terminal.wait_for("Enter sends")
    terminal.pump(READ_S)


@pytest.mark.parametrize("gap_s", [0.0, 0.05, 0.15, 0.35])
def test_o06_enter_pressed_twice_sends_one_order(start: Start, tmp_path: Path, gap_s: float) -> None:
    terminal = start()
    terminal.arm()
    stage(terminal, "buy 0.01 btc @ best -250")
    terminal.send(b"\r")
    terminal.pump(gap_s)
    terminal.send(b"\r")
    terminal.wait_for(r"ORDERS 1\b")
    terminal.pump(1.0)
    terminal.send(b"\r\r\r")
    terminal.pump(1.0)
    assert "ORDERS 1" in terminal.text
    terminal.leave()
    assert intents(tmp_path) == 1


def test_o06_macros_and_pastes_of_ten_thousand_characters_send_nothing(start: Start, tmp_path: Path) -> None:
    terminal = start()
    terminal.arm()
    line = b":buy 0.01 btc @ best -250\r\r"
    flood = (line * (10_000 // len(line) + 1))[:10_000]
    terminal.send(flood)  # as a keyboard macro types it, or a terminal without bracketed paste
    back_to_desk(terminal)
    terminal.send(b"\x1b[200~" + flood + b"\x1b[201~")
    back_to_desk(terminal)
    terminal.press(":")
    terminal.send(b"\x1b[200~" + flood + b"\x1b[201~\r")
    back_to_desk(terminal)
    stage(terminal, "buy 0.01 btc @ best -250")
    terminal.send(b"\x1b[200~" + b"\r" * 10_000 + b"\x1b[201~")  # the question is open, and asks for Enter
    back_to_desk(terminal)
    terminal.wait_for(r"ORDERS 0\b")
    assert terminal.process.poll() is None and b"Traceback" not in terminal.output
    stage(terminal, "buy 0.01 btc @ best -250")
    terminal.enter()
    terminal.wait_for(r"ORDERS 1\b")  # and a person's hand still works
    terminal.leave()
    assert intents(tmp_path) == 1
