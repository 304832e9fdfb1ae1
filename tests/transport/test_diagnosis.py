"""The looks of `probe`, each against a real listener on loopback that works or fails in one way."""

import asyncio
import datetime
import socket
import ssl
from contextlib import asynccontextmanager

import pytest
from aiohttp import WSMsgType, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from drivers.transport import diagnosis
from drivers.transport.diagnosis import ask, judge_clock, look_up, open_socket, parse_address, reach, shake_hands
from engine.kernel.clock import LoopClock


@pytest.fixture
def clock():
    return LoopClock(asyncio.new_event_loop())


@asynccontextmanager
async def served(handler, context=None):
    app = web.Application()
    app.router.add_get("/{tail:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    try:
        yield port
    finally:
        await runner.cleanup()


def answering(status: int, text: str):
    async def handler(request):
        return web.Response(status=status, text=text)

    return handler


def self_signed(tmp_path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = tmp_path / "server.pem"
    path.write_bytes(certificate.public_bytes(pem) + key.private_bytes(pem, *plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_an_address_that_works_is_measured(clock):
    async with served(answering(200, '{"serverTime": 5}')) as port:
        address = parse_address(f"http://127.0.0.1:{port}")
        assert (await look_up(address, clock)).ok
        assert (await reach(address, clock)).ok
        look = await ask(f"http://127.0.0.1:{port}/time", None, clock)
    assert look.step.ok and look.step.ms is not None and look.step.ms >= 0
    assert look.body == b'{"serverTime": 5}'


async def test_a_name_without_an_address(clock, monkeypatch):
    async def fail(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fail)
    step = await look_up(parse_address("https://no.such.venue"), clock)
    assert not step.ok and "no.such.venue has no address" in step.detail and "name server" in step.advice


async def test_nothing_listens(clock):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        step = await reach(parse_address(f"ws://127.0.0.1:{taken.getsockname()[1]}"), clock)
    assert not step.ok and "refused the connection" in step.detail and "nothing listens" in step.advice


async def test_a_certificate_that_nobody_vouches_for(clock, tmp_path):
    async with served(answering(200, ""), self_signed(tmp_path)) as port:
        address = parse_address(f"https://127.0.0.1:{port}")
        step = await shake_hands(address, ssl.create_default_context(), clock)
    assert not step.ok and "not trusted" in step.detail and "do not trade" in step.advice


@pytest.mark.parametrize(
    ("status", "text", "advice"),
    [
        (451, "", "does not serve this region"),
        (403, "The Amazon CloudFront distribution is configured to block access from your country", "this region"),
        (403, "Forbidden", "firewall refuses this address"),
        (429, "", "too many requests"),
        (418, "", "banned"),
        (503, "maintenance", "status page"),
        (404, "", "not this venue's interface"),
    ],
)
async def test_refusals_over_http_and_socket_say_what_to_do(clock, status, text, advice):
    async with served(answering(status, text)) as port:
        http = (await ask(f"http://127.0.0.1:{port}/", None, clock)).step
        ws = await open_socket(f"ws://127.0.0.1:{port}/", None, clock)
    for step in (http, ws):
        assert not step.ok and f"HTTP {status}" in step.detail and advice in step.advice


async def test_a_server_that_accepts_and_never_answers(clock, monkeypatch):
    monkeypatch.setattr(diagnosis, "STEP_TIMEOUT_S", 0.2)

    async def silent(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    http = (await ask(f"http://127.0.0.1:{port}/", None, clock)).step
    ws = await open_socket(f"ws://127.0.0.1:{port}/", None, clock)
    server.close()
    assert not http.ok and "no answer" in http.detail
    assert not ws.ok and "WebSockets" in ws.advice


async def test_a_socket_that_answers_pings(clock):
    async def handler(request):
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            assert message.type is WSMsgType.TEXT
        return ws

    async with served(handler) as port:
        step = await open_socket(f"ws://127.0.0.1:{port}/ws", None, clock)
    assert step.ok and step.ms is not None


def test_the_clock_is_judged_with_its_uncertainty():
    assert judge_clock(2000, 40, 1000).advice.endswith("sudo timedatectl set-ntp true")
    assert "ahead of" in judge_clock(2000, 40, 1000).detail and not judge_clock(2000, 40, 1000).ok
    assert not judge_clock(-2000, 40, 1000).ok and "behind" in judge_clock(-2000, 40, 1000).detail
    assert judge_clock(1030, 40, 1000).ok
