"""`ctos-tui check` with targets of notifications; `init` writes examples of them."""

from __future__ import annotations

import json
import re
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import apprise
import pytest
import yaml
from apprise.manager_plugins import NotificationManager
from click.testing import CliRunner, Result

from ctos_tui.__main__ import cli
from engine.io.notify_schemes import SCHEMES
from engine.io.settings import Config
from engine.io.templates import template


@pytest.fixture
def hook():
    """A web server that keeps the bodies of what is posted to it."""
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200 if self.path.startswith("/good") else 403)
            self.end_headers()

        def log_message(self, *args):
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    server.server_close()


def check(home: Path, targets: str, *arguments: str) -> Result:
    home.chmod(0o700)
    (home / "ctos.yaml").write_text(f"notifications:\n{targets}")
    (home / "ctos.yaml").chmod(0o600)
    return CliRunner().invoke(cli, ["check", "--config", str(home), "--seed", "1", "--json", *arguments])


def found(result: Result) -> dict[str, tuple[bool | None, str]]:
    lines = map(json.loads, result.stdout.splitlines())
    return {line["name"]: (line["ok"], line["detail"]) for line in lines if line["name"].startswith("notif")}


def test_check_parses_targets_and_sends_only_when_asked(tmp_path: Path, hook) -> None:
    host, bodies = hook
    targets = f"  - {{url: 'json://{host}/good', name: mine}}\n  - {{url: 'json://{host}/bad-canary7', min: warn}}\n"
    result = check(tmp_path, targets)
    assert result.exit_code == 0 and bodies == []
    assert found(result)["notifications: mine"] == (
        True,
        "json://, from crit on; add --notify to send a trial message",
    )
    result = check(tmp_path, targets, "--notify")
    assert result.exit_code == 1 and len(bodies) == 2
    assert "trial message" in bodies[0]["title"]
    findings = found(result)
    assert findings["notifications: mine"] == (True, "json://, from crit on; the trial message was taken")
    assert findings["notifications: json-2"][0] is False and "403" in findings["notifications: json-2"][1]
    assert "canary7" not in result.output


def test_check_says_which_address_the_service_cannot_read(tmp_path: Path) -> None:
    result = check(tmp_path, "  - {url: 'slack://canary7', name: team}\n")
    assert result.exit_code == 1 and "canary7" not in result.output
    assert found(result)["notifications: team"][1].startswith("the slack:// address is not complete")
    result = check(tmp_path, "  []\n", "--notify")
    assert result.exit_code == 1 and found(result) == {"notifications": (False, "no target is configured")}


def test_every_example_of_the_template_and_every_scheme_is_known_to_the_library() -> None:
    text = template("ctos.yaml").decode()
    block = re.search(r"^# notifications:\n(?:# .*\n)+", text, re.MULTILINE)
    assert block is not None
    written = yaml.safe_load("\n".join(line.removeprefix("# ") for line in block[0].splitlines()))
    targets = Config.model_validate(written).notifications
    assert [target.min for target in targets] == ["crit"] * 5
    real = {
        "TOKEN_A/TOKEN_B/TOKEN_C": "T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        "WEBHOOK_ID/WEBHOOK_TOKEN": "4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "BOT_TOKEN/CHAT_ID": "123456789:abcdefg_hijklmnop/12315544",
    }
    for target in targets:
        url = target.url.reveal()
        for example, value in real.items():
            url = url.replace(example, value)
        assert apprise.Apprise.instantiate(url) is not None, url
    assert set(SCHEMES) - {"https"} <= set(NotificationManager().schemas())
