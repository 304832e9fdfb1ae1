"""The real program tells a webhook what happens while nobody looks, and shows nothing of its address."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.program.terminal import Terminal
from tests.program.test_detach import wait_until

pytestmark = pytest.mark.pty
TOKEN = "canary-hook-4711"


@pytest.fixture
def hook() -> Iterator[tuple[int, list[str]]]:
    """A web server and the titles of what was posted to it."""
    titles: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            titles.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["title"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, titles
    server.shutdown()
    server.server_close()


def test_x01_a_webhook_hears_of_start_halt_detach_and_end_and_its_token_is_seen_nowhere(
    start: Callable[..., Terminal], tmp_path: Path, hook: tuple[int, list[str]]
) -> None:
    port, titles = hook
    (tmp_path / "ctos.yaml").write_text("notifications: [{url: '${OPS_HOOK}', min: info}]\n")
    program = start(environment={"OPS_HOOK": f"json://127.0.0.1:{port}/{TOKEN}"})
    wait_until(lambda: any("engine started" in title for title in titles), 10)
    program.press("f9")
    wait_until(lambda: any("HALTED by operator" in title for title in titles), 10)
    engine = program.engine
    for pid in (engine, program.process.pid):
        assert TOKEN.encode() not in Path(f"/proc/{pid}/environ").read_bytes(), pid
        assert TOKEN.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes(), pid
    program.press("ctrl+d")
    assert program.finish() == 0
    wait_until(lambda: any("detached from" in title for title in titles), 10)
    os.kill(engine, signal.SIGTERM)
    wait_until(lambda: any("engine stopped" in title for title in titles), 10)
    assert TOKEN not in program.text
    for file in (tmp_path / "state").rglob("*"):
        if file.is_file():
            assert TOKEN.encode() not in file.read_bytes(), file
