"""The server under every emulator, with a small venue of its own: faults of requests, of streams and of sockets."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import aiohttp
import pytest

from drivers.paper.markets.scripted import trial_instrument
from engine.kernel.clock import LoopClock, sleep
from engine.kernel.orders import OrderRequest, OrderType, Side
from tests.venues.emulators.core import Emulator
from tests.venues.emulators.faults import Answer
from tests.venues.emulators.wire import json_answer

NAME = "TSTUSD"


class SmallVenue(Emulator):
    """GET /count, POST /add; a socket that carries every book change and trade, and adds by `add`."""

    name = "small"
    count = 0

    def default_instruments(self):
        return [replace(trial_instrument(), native=NAME)]

    def socket_kind(self, path):
        return {"/ws/public": "public", "/ws/private": "private"}.get(path)

    async def answer(self, seen):
        if seen.method == "POST":
            self.count += 1
        return json_answer({"count": self.count})

    def banned(self, seconds):
        return Answer(418, b"banned", {"Retry-After": str(round(seconds))})

    async def on_open(self, socket):
        socket.topics |= {f"book:{NAME}": None, f"trade:{NAME}": None}
        if socket.kind == "private":
            socket.send_on("private:hello", "hello")

    async def on_text(self, socket, text):
        async def add():
            self.count += 1
            return str(self.count)

        await self.operate(socket, "add", text, "7", add)

    def on_book(self, change):
        self.publish(f"book:{NAME}", f"{change.previous - 1_000_000} {change.last - 1_000_000}")

    def on_trade(self, trade):
        self.publish(f"trade:{NAME}", f"{trade.id}")


@pytest.fixture
async def venue():
    async with SmallVenue() as running:
        yield running


@pytest.fixture
async def http(venue):
    async with aiohttp.ClientSession(venue.rest_url) as session:
        yield session


async def post(http) -> tuple[int, str]:
    async with http.post("/add?a=1", data=b"body") as answer:
        return answer.status, await answer.text()


async def test_requests_are_lost_answered_delayed_and_banned_as_scripted(venue, http):
    venue.faults.lose_request("POST /add")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await post(http)
    assert venue.count == 0
    venue.faults.lose_response(lambda method, path, body: body == b"body")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await post(http)
    assert venue.count == 1
    venue.faults.answer("/add", 503, "busy", {"Retry-After": "3"})
    assert await post(http) == (503, "busy")
    assert venue.count == 1
    venue.faults.unknown_but_done("/add", 504, "gateway")
    assert await post(http) == (504, "gateway")
    assert venue.count == 2
    late = venue.faults.delay("/add", 0.2, times=1)
    begun = venue.clock.now_ms()
    assert await post(http) == (200, '{"count":3}')
    assert late.seen == 1 and venue.clock.now_ms() - begun >= 200
    venue.faults.ban(60)
    assert await post(http) == (418, "banned")
    venue.faults.clear()
    assert await post(http) == (200, '{"count":4}')
    assert [seen.target for seen in venue.requests] == ["/add?a=1"] * 7
    assert venue.requests[0].body == b"body"


async def test_streams_are_muted_dropped_doubled_and_reordered_and_the_book_chain_goes_on(venue, http):
    async with http.ws_connect("/ws/public") as socket:
        venue.book(NAME, [(99.0, 1.0)], [(101.0, 1.0)])
        assert await socket.receive_str(timeout=5) == "0 2"
        venue.faults.drop_message("book")
        venue.book(NAME, [(99.0, 2.0)], [], snapshot=False)
        venue.faults.duplicate("book:*")
        venue.book(NAME, [(98.0, 2.0)], [], snapshot=False)
        assert [await socket.receive_str(timeout=5) for _ in range(2)] == ["3 4", "3 4"]
        venue.faults.reorder("book")
        for size in (3.0, 4.0):
            venue.book(NAME, [(99.0, size)], [], snapshot=False)
        assert [await socket.receive_str(timeout=5) for _ in range(2)] == ["5 6", "4 5"]
        venue.faults.mute("book")
        venue.book(NAME, [(97.0, 1.0)], [(101.0, 1.0)])
        venue.print(NAME, 100.0, 1.0)
        assert await socket.receive_str(timeout=5) == "1"
        assert venue.books["TST-USD-PERP"].bids == {97.0: 1.0}
        venue.faults.unmute("book")
        venue.book(NAME, [(96.0, 1.0)], [], snapshot=False)
        assert await socket.receive_str(timeout=5) == "9 10"


async def test_sockets_are_cut_closed_refused_and_swallowed(venue, http):
    public, private = await http.ws_connect("/ws/public"), await http.ws_connect("/ws/private")
    assert await private.receive_str(timeout=5) == "hello"
    assert venue.faults.cut_sockets("private") == 1
    assert (await private.receive(timeout=5)).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    venue.faults.black_hole("public")
    await public.ping()
    await public.send_str("lost")
    venue.book(NAME, [(99.0, 1.0)], [(101.0, 1.0)])
    with pytest.raises(asyncio.TimeoutError):
        await public.receive(timeout=0.1)
    assert venue.count == 0
    venue.faults.clear()
    venue.faults.cut_sockets("public", 4004)
    closed = await public.receive(timeout=5)
    assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 4004)
    venue.faults.answer("/ws/public", 503)
    with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
        await http.ws_connect("/ws/public")
    with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
        await http.ws_connect("/ws/other")


async def test_operations_over_a_socket_meet_the_same_faults(venue, http):
    async with http.ws_connect("/ws/private") as socket:
        await socket.receive_str(timeout=5)
        await socket.send_str("x")
        assert await socket.receive_str(timeout=5) == "1"
        venue.faults.answer("WS add", 200, "refused $id")
        await socket.send_str("x")
        assert (await socket.receive_str(timeout=5), venue.count) == ("refused 7", 1)
        venue.faults.unknown_but_done("WS add", 200, "perhaps")
        await socket.send_str("x")
        assert (await socket.receive_str(timeout=5), venue.count) == ("perhaps", 2)
        venue.faults.lose_response("WS add")
        await socket.send_str("x")
        assert (await socket.receive(timeout=5)).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        assert venue.count == 3


async def test_the_venue_clock_may_be_wrong_and_new_orders_hide_for_a_while(venue):
    venue.skew_ms = 40_000
    assert 39_900 < venue.clock.now_ms() - venue._clock.now_ms() < 40_100
    venue.book(NAME, [(99.0, 1.0)], [(101.0, 1.0)])
    request = OrderRequest("", "", "TST-USD-PERP", Side.BUY, OrderType.MARKET, trial_instrument().lot_size * 100)
    events: list[object] = []
    venue.venue.subscribe_account(events.append)
    with pytest.raises(Exception, match="margin"):
        venue.carry_out(lambda: venue.exchange.place(request))
    venue.exchange.account.deposit("USD", request.quantity * 10_000)
    placed = venue.carry_out(lambda: venue.exchange.place(request))
    assert [type(event).__name__ for event in events][:3] == ["OrderUpdate", "Fill", "OrderUpdate"]
    venue.faults.lag(60)
    assert venue.faults.hides(placed.ts) and not venue.faults.hides(placed.ts - 60_000)
    venue.faults.lag(0)
    assert not venue.faults.hides(placed.ts)


async def test_an_error_of_the_emulator_is_not_taken_for_the_venues():
    venue = SmallVenue(clock=LoopClock(asyncio.get_running_loop()))
    await venue.start()
    venue.answer = None
    async with aiohttp.ClientSession(venue.rest_url) as session:
        await post(session)
    with pytest.raises(TypeError, match="not callable"):
        await venue.stop()


async def test_the_server_pings_and_drops_who_does_not_answer(monkeypatch):
    monkeypatch.setattr(SmallVenue, "ping_every_s", 1.0)
    monkeypatch.setattr(SmallVenue, "pong_within_s", 0.999)
    async with SmallVenue() as venue, aiohttp.ClientSession(venue.rest_url) as session:
        socket = await session.ws_connect("/ws/public", autoping=False)
        assert (await socket.receive(timeout=5)).type is aiohttp.WSMsgType.PING
        async with asyncio.timeout(10):
            while (frame := await socket.receive()).type is aiohttp.WSMsgType.PING:
                assert not socket.closed
        assert frame.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        await sleep(venue.clock, 0)
        assert venue.sockets == []
