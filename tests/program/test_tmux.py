"""Inside tmux: detaching its client, killing its server, resizing as fast as it goes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from tests.program.conftest import end_engine
from tests.program.terminal import ROOT
from tests.program.test_detach import DETACH, attach, cpu_share, holds_a_terminal, is_alive, pulse, wait_until

pytestmark = [pytest.mark.pty, pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")]


class Tmux:
    """A tmux server of its own with the console in its one window.

    Args:
        config: Folder of configuration and state.
    """

    def __init__(self, config: Path) -> None:
        self._socket = str(config / "tmux")
        self.config = config
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}
        command = f"cd {ROOT} && {sys.executable} -m ctos_tui --config {config} --market synthetic:3; sleep 60"
        self.run("-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", command, env=environment)

    def run(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        """Run a tmux command and return what it says."""
        command = ["tmux", "-S", self._socket, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=env, check=True).stdout

    @property
    def text(self) -> str:
        """Return what the window shows."""
        return self.run("capture-pane", "-p")

    @property
    def engine(self) -> int:
        """Return the process that runs the engine."""
        return int((self.config / "state" / "ctos.lock").read_text().split()[0])


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    (tmp_path / "ctos.yaml").write_text(DETACH)
    server = Tmux(tmp_path)
    wait_until(lambda: "LADDER BTC-PERP" in server.text and "bid" in server.text, 20)
    yield server
    subprocess.run(["tmux", "-S", str(tmp_path / "tmux"), "kill-server"], capture_output=True, check=False)
    end_engine(tmp_path)


def test_p07_resizes_and_a_detached_client_change_nothing(tmux: Tmux) -> None:
    with pulse(tmux.config):
        for step in range(60):
            tmux.run("resize-window", "-x", str(60 + step * 2), "-y", str(16 + step))
        tmux.run("resize-window", "-x", "80", "-y", "24")
        wait_until(lambda: len(tmux.text.splitlines()) == 24 and "LADDER BTC-PERP" in tmux.text)
        wait_until(lambda: "LADDER BTC-PERP" in tmux.text)
        Event().wait(1)
    assert is_alive(tmux.engine)


def test_p07_a_killed_server_takes_the_screen_and_attach_shows_the_true_state(
    tmux: Tmux, start: Callable[..., object], tmp_path: Path
) -> None:
    engine = tmux.engine
    with pulse(tmux.config):
        tmux.run("kill-server")
        wait_until(lambda: not holds_a_terminal(engine), 2)
        assert is_alive(engine)
        assert cpu_share(engine) < 0.3
        again = attach(start, tmp_path)
        again.wait_for("LADDER BTC-PERP")
        again.wait_for("DISARMED")
    again.leave()
    wait_until(lambda: not is_alive(engine))
