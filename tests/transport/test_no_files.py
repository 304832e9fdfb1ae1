"""A process without a free file descriptor: cancels still reach the venue on a connection of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.transport.rate_limits import Urgency
from engine.kernel.errors import VenueUnavailable
from tests.no_files import no_files_left
from tests.transport.test_http import COST, client, request


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[str]:
    """Serve from another process, which has descriptors of its own; returns the address."""
    code = (
        "import http.server as h; s = h.HTTPServer(('127.0.0.1', 0), h.SimpleHTTPRequestHandler);"
        " print(s.server_port, flush=True); s.serve_forever()"
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert server.stdout is not None
    yield f"http://localhost:{int(server.stdout.readline())}"
    server.terminate()
    server.wait()
    server.stdout.close()


async def test_p13_without_a_free_descriptor_a_cancel_gets_a_connection_and_nothing_else_does(elsewhere: str) -> None:
    rest = client(elsewhere, timeout_s=5.0)
    await rest.start()
    try:
        with no_files_left():
            for urgency in (Urgency.ORDER, Urgency.QUERY):
                with pytest.raises(VenueUnavailable, match=r"no connection to|is not found") as refused:
                    await rest.send(request, urgency, COST)
                assert refused.value.unsent
            reply = await rest.send(lambda: request("DELETE"), Urgency.CANCEL, COST)
            assert reply.status == 501, "this server deletes nothing, but it was asked"
        again = await rest.send(lambda: request("GET", "/"), Urgency.QUERY, COST)
        assert again.status in (200, 404)
    finally:
        await rest.stop()
