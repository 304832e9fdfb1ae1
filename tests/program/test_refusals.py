"""A console that cannot open says why in one message, with exit code 2."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.program.terminal import ROOT, Terminal

pytestmark = pytest.mark.pty
Start = Callable[..., Terminal]


@pytest.mark.parametrize(
    ("name", "content", "options", "says"),
    [
        ("ctos.yaml", "log_level: [", (), "ctos.yaml"),
        ("ctos.yaml", "console:\n  fps: many\n", (), "fps"),
        ("ctos.yaml", "nosuch: 1\n", (), "nosuch"),
        ("ctos.yaml", "console:\n  keys:\n    zoom: q\n", (), "quit"),
        ("ctos.yaml", "console:\n  theme: nosuch\n", (), "nosuch"),
        ("accounts.yaml", "paper: 5\n", (), "accounts.yaml"),
        ("themes/mine.yaml", "extends: nothing\nbid: 7\n", ("--theme", "mine"), "mine"),
        ("ctos.yaml", "{}\n", ("--market", "synthetic:x"), "synthetic"),
    ],
)
def test_bad_files_are_named(start: Start, tmp_path: Path, name: str, content: str, options: tuple, says: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    path.chmod(0o600)
    terminal = start(ready=False, options=options)
    assert terminal.finish(10) == 2, terminal.text
    said = terminal.output.decode()
    assert says in said
    assert "Traceback" not in said
    assert "\x1b[?1049h" not in said


def test_a_dumb_terminal_is_refused(start: Start) -> None:
    terminal = start(ready=False, environment={"TERM": "dumb"})
    assert terminal.finish(10) == 2
    assert "TERM='dumb'" in terminal.text


def test_no_terminal_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ctos_tui", "--config", str(tmp_path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=20,
        check=False,
    )
    assert done.returncode == 2
    assert b"needs a terminal" in done.stderr
    assert not done.stdout


def test_no_color_means_no_colour(start: Start) -> None:
    terminal = start(environment={"NO_COLOR": "1"})
    terminal.arm()
    colours = re.findall(rb"\x1b\[[0-9;]*?\b(?:[34]8;[25]|[39][0-7]|4[0-7]|10[0-7])[0-9;]*m", terminal.output)
    assert not colours
