"""Which streams stand behind a subscription, and how they are spread over sockets."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

import pytest

from drivers.binance.products import PERP
from drivers.binance.streams import StreamPool, StreamSocket, depth_native, streams_of
from drivers.transport.setup import MemoryStore, VenueSetup
from drivers.transport.venue_driver import Topic
from engine.kernel.clock import Rng, VirtualClock
from engine.kernel.errors import VenueUnavailable
from engine.kernel.instruments import Instrument, InstrumentKind


def instrument(symbol: str, native: str) -> Instrument:
    kind = InstrumentKind.PERP if symbol.endswith("-PERP") else InstrumentKind.SPOT
    return Instrument(symbol, "binance", "BTC", "USDT", "USDT", kind, Decimal(1), Decimal(1), native=native)


BTC, SPOT = instrument("BTC-USDT-PERP", "BTCUSDT"), instrument("BTC-USDT", "BTCUSDT")


def setup(clock: VirtualClock) -> VenueSetup:
    return VenueSetup(clock=clock, rng=Rng(1), store=MemoryStore(), hosts={}, log=lambda level, text: None)


@pytest.mark.parametrize(
    ("topic", "perp", "spot"),
    [
        ("book", [("public", "btcusdt@depth@100ms")], [("spot", "btcusdt@depth@100ms")]),
        ("trades", [("market", "btcusdt@aggTrade")], [("spot", "btcusdt@aggTrade")]),
        ("klines", [("market", "btcusdt@kline_1m")], [("spot", "btcusdt@kline_1m")]),
        (
            "ticks",
            [("public", "btcusdt@bookTicker"), ("market", "btcusdt@ticker"), ("market", "btcusdt@markPrice@1s")],
            [("spot", "btcusdt@bookTicker"), ("spot", "btcusdt@ticker")],
        ),
    ],
)
def test_every_stream_is_asked_for_on_its_own_path(
    topic: str, perp: list[tuple[str, str]], spot: list[tuple[str, str]]
):
    assert streams_of(Topic(topic, BTC.symbol, "1m"), BTC) == perp
    assert streams_of(Topic(topic, SPOT.symbol, "1m"), SPOT) == spot


def test_a_books_stream_names_its_symbol():
    assert depth_native("1000pepeusdt@depth@100ms") == "1000PEPEUSDT"
    assert depth_native("btcusdt@bookTicker") is None


def test_a_socket_is_filled_before_another_is_opened():
    pool = StreamPool(
        "public", "ws://nowhere", PERP, setup(VirtualClock()), 60.0, lambda p: None, lambda s: None, lambda s, r: None
    )
    most = PERP.limits["streams_per_connection"]
    for number in range(most + 1):
        pool.add(f"c{number}usdt@bookTicker")
        pool.add("c0usdt@bookTicker")
    assert [len(socket) for socket in pool._sockets] == [most, 1]
    pool.remove("c3usdt@bookTicker")
    pool.add("new@bookTicker")
    assert [len(socket) for socket in pool._sockets] == [most, 1]


async def test_subscriptions_are_bundled_spaced_and_confirmed():
    clock = VirtualClock()
    confirmed: list[list[str]] = []
    socket = StreamSocket(PERP, setup(clock), lambda payload: None, confirmed.append, lambda s, r: None)
    names = [f"c{number}usdt@bookTicker" for number in range(150)]
    for name in names:
        socket.add(name)
    sent: list[tuple[int, dict]] = []

    async def send(text: str) -> None:
        sent.append((clock.now_ms(), json.loads(text)))

    opening = asyncio.ensure_future(socket.on_open(send))
    for _ in range(20):
        await asyncio.sleep(0)
        for _, message in sent:
            socket.on_message(json.dumps({"result": None, "id": message["id"]}).encode())
        clock.advance(0.05)
    await opening
    assert [len(message["params"]) for _, message in sent] == [100, 50]
    assert sent[1][0] - sent[0][0] >= 1000 / PERP.limits["client_messages_per_s"]
    assert [name for part in confirmed for name in part] == names
    assert socket.is_confirmed(names[-1]) and socket.expects_data


async def test_a_refused_subscription_fails_the_connection_with_the_venues_words():
    clock = VirtualClock()
    socket = StreamSocket(PERP, setup(clock), lambda payload: None, lambda s: None, lambda s, r: None)
    socket.add("nonsense")

    async def send(text: str) -> None:
        socket.on_message(b'{"error":{"code":2,"msg":"Invalid request: invalid stream"},"id":1}')

    with pytest.raises(VenueUnavailable, match="invalid stream"):
        await socket.on_open(send)
    assert not socket.is_confirmed("nonsense")
