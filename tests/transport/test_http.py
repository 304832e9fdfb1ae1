"""Requests over HTTP against servers that lose, cut, delay and lie."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections import deque

import pytest

from drivers.transport import http
from drivers.transport.arch import BucketSpec
from drivers.transport.http import HttpClient, WireRequest, reply_json
from drivers.transport.line_decoder import Undecodable
from drivers.transport.rate_limits import RateLimiter, Urgency
from drivers.transport.setup import MemoryStore
from engine.kernel.clock import LoopClock, VirtualClock
from engine.kernel.errors import RateLimited, UnknownOutcome, VenueUnavailable
from engine.kernel.links import LinkState
from tests.transport.servers import HttpServer, answer, answer_then_close, certificate, cut, silence, until

COST = (("all", 1),)


def limiter(clock) -> RateLimiter:
    return RateLimiter("okx", [BucketSpec("all", 100, 1.0)], clock, MemoryStore())


def client(url: str, **options) -> HttpClient:
    clock = LoopClock(asyncio.get_running_loop())
    return HttpClient("okx", url, clock, limiter(clock), **options)


def request(method: str = "POST", path: str = "/order", body: bytes = b'{"a":1}', **headers: str) -> WireRequest:
    return WireRequest(method, path, headers, body)


@pytest.fixture
async def server():
    async with HttpServer() as running:
        yield running


@pytest.fixture
async def rest(server):
    started = client(server.url, timeout_s=5.0)
    await started.start()
    yield started
    await started.stop()


async def test_path_query_headers_and_body_go_out_byte_for_byte(server, rest):
    target = "/api/v5/x?b=%2C&a=%E4%BD%A0&empty=&plus=%2B&q=1,2&z=a%20b"
    reply = await rest.send(lambda: request(path=target, **{"X-Sign": "abc="}), Urgency.ORDER, COST)
    assert reply.status == 200 and reply.rtt_ms > 0 and reply.body == b"{}"
    seen = server.seen[0]
    assert (seen.method, seen.target, seen.body) == ("POST", target, b'{"a":1}')
    assert seen.headers["X-Sign"] == "abc="
    assert rest.status.state is LinkState.LIVE and rest.status.rtt_ms == reply.rtt_ms


async def test_a_base_address_with_a_path_stands_before_the_request(server):
    proxied = client(server.url + "/okx/")
    await proxied.start()
    await proxied.send(lambda: request("GET", "/api?x=1", b""), Urgency.QUERY, COST)
    assert server.seen[0].target == "/okx/api?x=1"
    await proxied.stop()


@pytest.mark.parametrize("status", [200, 301, 400, 404, 418, 500, 503])
async def test_every_complete_answer_is_returned_and_sent_once(server, rest, status):
    server.script.append(answer(status, b"words", Location="/elsewhere"))
    reply = await rest.send(request, Urgency.ORDER, COST)
    assert (reply.status, reply.body) == (status, b"words")
    assert rest.status.state is (LinkState.LIVE if status < 500 else LinkState.STALE)
    assert len(server.seen) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "GET"])
@pytest.mark.parametrize(
    "fault", [cut(), cut(after=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), cut(after=b"HTTP/1.1 2")]
)
async def test_n02_n05_a_lost_answer_is_unknown_for_an_order_and_never_sent_again(server, rest, method, fault):
    await rest.send(request, Urgency.ORDER, COST)  # so that the next one goes over a kept connection
    server.script.append(fault)
    with pytest.raises(UnknownOutcome, match="not known"):
        await rest.send(lambda: request(method), Urgency.ORDER, COST)
    assert [seen.method for seen in server.seen] == ["POST", method]
    assert rest.status.state is LinkState.STALE


async def test_a_lost_answer_of_a_cancel_or_query_is_unavailable(server, rest):
    for urgency in (Urgency.CANCEL, Urgency.QUERY, Urgency.RECONCILE):
        server.script.append(cut())
        with pytest.raises(VenueUnavailable):
            await rest.send(lambda: request("DELETE"), urgency, COST)
    assert len(server.seen) == 3


async def test_n13_an_order_that_cannot_leave_soon_is_not_sent_but_has_time_for_its_answer(server, rest, monkeypatch):
    async def slow(*conversation) -> bool:
        await asyncio.sleep(0.2)
        return await answer()(*conversation)

    monkeypatch.setattr(http, "ORDER_START_S", 0.1)
    server.script.append(slow)
    assert (await rest.send(request, Urgency.ORDER, COST)).status == 200
    for _ in range(100):
        rest._limiter.try_acquire(COST, Urgency.CANCEL)
    with pytest.raises(RateLimited, match=r"0\.1 s are left"):
        await rest.send(request, Urgency.ORDER, COST)
    assert len(server.seen) == 1


async def test_no_answer_in_time_is_unknown(server, rest):
    server.script.append(silence)
    with pytest.raises(UnknownOutcome, match=r"no answer within 0\.2 s"):
        await rest.send(request, Urgency.ORDER, COST, timeout_s=0.2)
    assert len(server.seen) == 1


async def test_n06_refused_unknown_names_and_stopped_clients_sent_nothing():
    gone = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = gone.sockets[0].getsockname()[1]
    gone.close()
    await gone.wait_closed()
    refused, unresolved = client(f"http://127.0.0.1:{port}"), client("http://no-such-host.invalid")
    with pytest.raises(VenueUnavailable, match="not started"):
        await refused.send(request, Urgency.ORDER, COST)
    for each, words in ((refused, "no connection to 127.0.0.1"), (unresolved, "name of no-such-host.invalid")):
        await each.start()
        with pytest.raises(VenueUnavailable, match=words) as caught:
            await each.send(request, Urgency.ORDER, COST)
        assert "nothing was sent" in str(caught.value)
        assert each.status.state is LinkState.DOWN and each.status.detail
        await each.stop()


async def test_n06_a_connection_that_never_opens_sent_nothing(server, monkeypatch):
    """A TLS handshake that is never answered is the usual black hole."""
    mute = await asyncio.start_server(lambda reader, writer: reader.read(), "127.0.0.1", 0)
    rest = client(f"https://127.0.0.1:{mute.sockets[0].getsockname()[1]}")
    await rest.start()
    monkeypatch.setattr(http, "ORDER_START_S", 0.1)
    with pytest.raises(VenueUnavailable, match=r"within 0\.1 s; nothing was sent"):
        await rest.send(request, Urgency.ORDER, COST)
    with pytest.raises(VenueUnavailable, match=r"within 0\.2 s; nothing was sent"):
        await rest.send(request, Urgency.QUERY, COST, timeout_s=0.2)
    await rest.stop()
    mute.close()


async def test_n05_a_connection_that_was_idle_too_long_is_not_used(server, rest, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("aiohttp.connector.monotonic", lambda: now[0])
    await rest.send(request, Urgency.ORDER, COST)
    now[0] += http.PROVEN_S - 1
    await rest.send(request, Urgency.ORDER, COST)
    assert server.connections == 1
    now[0] += http.PROVEN_S + 1
    await rest.send(request, Urgency.ORDER, COST)
    assert server.connections == 2


async def test_a_connection_that_the_venue_closed_is_replaced(server, rest):
    server.script.append(answer_then_close)
    await rest.send(request, Urgency.ORDER, COST)
    await until(lambda: not server._writers)
    for _ in range(20):
        await asyncio.sleep(0)
    reply = await rest.send(request, Urgency.ORDER, COST)
    assert reply.status == 200 and server.connections == 2


async def test_the_request_is_built_when_the_connection_is_open(server, rest):
    built = deque()

    def build() -> WireRequest:
        built.append(server.connections)
        return request()

    await rest.send(build, Urgency.ORDER, COST)
    assert list(built) in ([0], [1]) and len(server.seen) == 1
    clock = LoopClock(asyncio.get_running_loop())
    tight = HttpClient("okx", server.url, clock, RateLimiter("okx", [BucketSpec("all", 1, 60.0)], clock, MemoryStore()))
    await tight.start()
    await tight.send(build, Urgency.CANCEL, COST)
    with pytest.raises(RateLimited, match="not sent"):
        await tight.send(build, Urgency.CANCEL, COST, timeout_s=1.0)
    assert len(built) == 2 and len(server.seen) == 2
    await tight.stop()


async def test_e03_429_slows_the_limiter_down(server, rest):
    server.script.append(answer(429, Retry_After="7"))
    assert (await rest.send(request, Urgency.ORDER, COST)).status == 429
    with pytest.raises(RateLimited, match="fewer requests"):
        await rest.send(request, Urgency.ORDER, COST, timeout_s=2.0)
    assert len(server.seen) == 1
    await rest.send(request, Urgency.CANCEL, COST)
    assert len(server.seen) == 2


async def test_n15_a_packed_answer_is_unpacked_and_a_huge_one_refused(server, rest, monkeypatch):
    server.script.append(answer(200, gzip.compress(b'{"x":1}'), Content_Encoding="gzip"))
    reply = await rest.send(lambda: request("GET", body=b""), Urgency.QUERY, COST)
    assert reply_json(reply, dict) == {"x": 1}
    assert server.seen[-1].headers["Accept-Encoding"] == "gzip"
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 1 << 20)
    bomb = gzip.compress(bytes(64 << 20))
    for body, headers in ((bomb, {"Content_Encoding": "gzip"}), (bytes(2 << 20), {})):
        server.script.append(answer(200, body, **headers))
        with pytest.raises(VenueUnavailable, match="larger than 1 MB"):
            await rest.send(lambda: request("GET", body=b""), Urgency.QUERY, COST)


def test_an_answer_that_is_no_json_shows_its_beginning():
    for body in (b"<html>Bad gateway</html>", b"", b'{"x":', b'["x"]', b'\xff\xfe"'):
        with pytest.raises(Undecodable, match="HTTP 502"):
            reply_json(http.HttpReply(502, {}, body, 1.0), dict)


async def test_keep_warm_asks_only_when_nothing_else_was_answered(server):
    clock = VirtualClock()
    rest = HttpClient("okx", server.url, clock, limiter(clock))
    await rest.start()
    asked = []

    async def ask() -> None:
        asked.append(clock.now_ns())
        await rest.send(lambda: request("GET", "/time", b""), Urgency.QUERY, COST)

    rest.keep_warm(ask, every_s=5.0)
    for _ in range(2):
        clock.advance(5.0)
        await until(lambda: rest._warming is None)
    assert len(asked) == 2
    clock.advance(3.0)
    await rest.send(request, Urgency.ORDER, COST)
    clock.advance(2.0)
    await until(lambda: rest._warming is None)
    assert len(asked) == 2
    await rest.stop()
    clock.advance(60.0)
    assert len(asked) == 2


async def test_keep_warm_becomes_seldom_while_it_fails(server):
    clock = VirtualClock()
    rest = HttpClient("okx", server.url, clock, limiter(clock))
    await rest.start()
    asked = []
    failing = [True]

    async def ask() -> None:
        asked.append(clock.now_ns() // 10**9)
        if failing[0]:
            raise VenueUnavailable("maintenance")

    async def pass_time(seconds: int) -> None:
        for _ in range(seconds):
            clock.advance(1.0)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    rest.keep_warm(ask, every_s=5.0)
    await pass_time(1800)
    assert 30 <= len(asked) <= 40 and rest.status.detail == "maintenance"
    failing[0] = False
    await pass_time(130)
    assert asked[-1] - asked[-2] == 5
    await rest.stop()


async def test_n06_a_certificate_must_be_trusted_and_name_the_host(tmp_path):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()

    for name, trusted in (("localhost", False), ("localhost", True), ("venue.example", True)):
        context, file = certificate(name, tmp_path)
        server = await asyncio.start_server(serve, "localhost", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        trust = ssl.create_default_context(cafile=file) if trusted else None
        rest = client(f"https://localhost:{port}", ssl=trust)
        await rest.start()
        if trusted and name == "localhost":
            assert (await rest.send(lambda: request("GET", body=b""), Urgency.QUERY, COST)).status == 200
        else:
            with pytest.raises(VenueUnavailable, match=r"certificate of localhost:.* is not trusted"):
                await rest.send(request, Urgency.ORDER, COST)
        await rest.stop()
        server.close()
