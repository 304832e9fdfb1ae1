"""A lasting socket against servers that refuse, mute, flood, flap and cut."""

from __future__ import annotations

import asyncio
import gc
import os
import ssl
from itertools import pairwise

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from drivers.transport.websocket import LONGEST_BACKOFF_S, WsClient, WsPolicy
from engine.kernel.clock import LoopClock, Rng, VirtualClock
from engine.kernel.errors import AuthError, VenueUnavailable
from engine.kernel.links import LinkState
from tests.transport.servers import certificate, until


class Venue:
    """A server that greets each connection's log-in, and lets the test do the rest."""

    def __init__(self) -> None:
        self.open: list[ServerConnection] = []
        self.accepted = 0
        self.received: list[tuple[int, str]] = []
        self.greet = True
        self.refuse_handshake = False

    async def __aenter__(self) -> Venue:
        self._server = await serve(
            self._serve, "127.0.0.1", 0, ping_interval=None, process_request=self._answer, close_timeout=0.5
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close(close_connections=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/ws"

    def _answer(self, connection, request):
        return connection.respond(503, "maintenance\n") if self.refuse_handshake else None

    async def _serve(self, socket: ServerConnection) -> None:
        self.accepted += 1
        number = self.accepted
        self.open.append(socket)
        try:
            async for text in socket:
                self.received.append((number, text))
                if self.greet and text == "login":
                    await socket.send("welcome")
                if text == "ping":
                    await socket.send("pong")
        except ConnectionClosed:
            return
        finally:
            self.open.remove(socket)


class Speaker:
    """Logs in, waits for the greeting, subscribes."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.messages: list[bytes] = []
        self.refusal: Exception | None = None
        self.greeted = asyncio.Event()

    async def on_open(self, send) -> None:
        self.events.append("open")
        if self.refusal is not None:
            raise self.refusal
        self.greeted.clear()
        await send("login")
        await self.greeted.wait()
        await send("subscribe")
        self.events.append("ready")

    def on_message(self, payload: bytes) -> None:
        if payload == b"welcome":
            self.greeted.set()
        elif payload == b"bad":
            raise ZeroDivisionError("a bug in the handler")
        else:
            self.messages.append(payload)

    def on_lost(self, reason: str) -> None:
        self.events.append(f"lost: {reason}")


class Bench:
    def __init__(self, venue: Venue, clock, **policy) -> None:
        self.venue, self.clock, self.speaker = venue, clock, Speaker()
        self.lines: list[str] = []
        self.client = WsClient(
            "public",
            venue.url,
            self.speaker,
            clock,
            Rng(1),
            WsPolicy(**policy),
            log=lambda level, text: self.lines.append(text),
        )

    async def live(self) -> None:
        await until(lambda: self.client.status.state is LinkState.LIVE)

    async def again(self) -> None:
        """Waits out the back-off on a virtual clock."""
        before = self.venue.accepted
        await until(lambda: "next try" in self.client.status.detail)
        self.clock.advance(LONGEST_BACKOFF_S)
        await until(lambda: self.venue.accepted > before)


@pytest.fixture
async def venue():
    async with Venue() as running:
        yield running


@pytest.fixture
async def bench(venue):
    made = []

    def make(clock=None, **policy) -> Bench:
        made.append(Bench(venue, clock or VirtualClock(), **policy))
        made[-1].client.start()
        return made[-1]

    yield make
    for each in made:
        await each.client.stop()


async def test_logs_in_subscribes_delivers_and_subscribes_again_after_a_loss(venue, bench):
    it = bench()
    assert it.client.status.state is not LinkState.LIVE
    await it.live()
    await it.client.wait_live(1.0)
    await it.client.send("hello")
    await until(lambda: len(venue.received) == 3)
    assert venue.received == [(1, "login"), (1, "subscribe"), (1, "hello")]
    await venue.open[0].send("data")
    await until(lambda: it.speaker.messages == [b"data"])
    await venue.open[0].close(1012, "service restart")
    await until(lambda: len(it.speaker.events) == 3)
    assert it.speaker.events[2] == "lost: the venue closed it: 1012 service restart"
    assert it.client.status.state is not LinkState.LIVE
    with pytest.raises(VenueUnavailable, match="nothing was sent"):
        await it.client.send("late")
    await it.again()
    await it.live()
    assert venue.received[-2:] == [(2, "login"), (2, "subscribe")]
    assert it.speaker.events[3:] == ["open", "ready"] and "live again" in it.lines[-1]


async def test_a_loss_is_told_at_once_and_once(venue, bench):
    it = bench()
    await it.live()
    it.client.reconnect("listen key expired")
    assert it.speaker.events[-1] == "lost: listen key expired"
    assert it.client.status.state is not LinkState.LIVE
    it.client.reconnect("again")
    await until(lambda: "listen key expired; next try" in it.client.status.detail)
    await it.again()
    await it.live()
    assert [event for event in it.speaker.events if event.startswith("lost")] == ["lost: listen key expired"]


async def test_n08_a_mute_socket_that_answers_pings_is_lost_by_the_content_timer(venue, bench):
    it = bench(content_silence_s=5.0, ping_every_s=1.0)
    await it.live()
    for _ in range(8):
        it.clock.advance(0.5)
        await it.venue.open[0].ping()  # a flood of pings is no data either
        await asyncio.sleep(0.005)
    assert it.client.status.state is LinkState.LIVE and it.client.status.rtt_ms is not None
    await venue.open[0].send("data")
    await until(lambda: it.speaker.messages == [b"data"])
    it.clock.advance(4.0)
    assert it.client.status.state is LinkState.LIVE
    for _ in range(4):
        it.clock.advance(0.5)
        await asyncio.sleep(0.005)
    assert "lost: no data for 5 s" in it.speaker.events


async def test_silence_is_normal_while_nothing_is_expected(venue, bench):
    wanted = [False]
    it = bench(content_silence_s=5.0, ping_every_s=1.0, expects_data=lambda: wanted[0])
    await it.live()
    for _ in range(20):
        it.clock.advance(0.5)
        await asyncio.sleep(0.005)
    assert it.speaker.events == ["open", "ready"] and it.client.status.state is LinkState.LIVE
    wanted[0] = True
    for _ in range(12):
        it.clock.advance(0.5)
        await asyncio.sleep(0.005)
    assert "lost: no data for 5 s" in it.speaker.events


async def test_n07_a_black_hole_is_lost_by_the_transport_timer(bench):
    it = bench(transport_silence_s=10.0)
    await it.live()
    link = it.client._link
    link.socket.transport.pause_reading()  # nothing arrives any more, and nobody says so
    it.clock.advance(9.0)
    assert it.client.status.state is LinkState.LIVE
    it.clock.advance(2.0)
    assert "lost: no answer to pings for 10 s" in it.speaker.events


async def test_text_pings_measure_and_their_pongs_are_no_messages(venue, bench):
    it = bench(ping_text="ping", ping_every_s=1.0, content_silence_s=3.0)
    await it.live()
    it.clock.advance(1.0)
    await until(lambda: it.client.status.rtt_ms is not None)
    assert it.speaker.messages == []
    for _ in range(6):
        it.clock.advance(0.5)
        await asyncio.sleep(0.005)
    assert "lost: no data for 3 s" in it.speaker.events


async def test_n11_the_back_off_grows_to_its_end_and_begins_anew_after_a_stable_minute(venue, bench):
    venue.refuse_handshake = True
    it = bench()
    waits = []
    for _ in range(12):
        before = len(it.lines)
        await until(lambda before=before: len(it.lines) > before)
        waits.append(float(it.lines[-1].rsplit("in ", 1)[1].removesuffix(" s")))
        assert "503" in it.client.status.detail
        it.clock.advance(waits[-1] + 0.1)
    assert waits[0] <= 0.3 and waits[1] <= 0.5 and all(15 <= wait <= 30 for wait in waits[8:])
    assert it.client.status.state in (LinkState.DOWN, LinkState.CONNECTING)
    venue.refuse_handshake = False
    await until(lambda: "next try" in it.client.status.detail)
    it.clock.advance(31)
    await it.live()
    for stable_s, longest in ((10, 30.0), (61, 0.3)):
        for _ in range(stable_s):
            it.clock.advance(1.0)
            await asyncio.sleep(0.002)
        await venue.open[0].close()
        await until(lambda: "next try" in it.lines[-1])
        wait = float(it.lines[-1].rsplit("in ", 1)[1].removesuffix(" s"))
        assert longest / 2 - 0.1 <= wait <= longest
        it.clock.advance(wait + 0.1)
        await it.live()


async def test_n06_a_loss_after_the_venue_was_out_of_reach_for_long_is_soon_mended(venue, bench, unused_tcp_port):
    it = bench()
    await it.live()
    url, it.client._url = it.client._url, f"ws://127.0.0.1:{unused_tcp_port}/ws"
    await venue.open[0].close()
    for _ in range(20):
        before = len(it.lines)
        await until(lambda: "next try" in it.client.status.detail)
        it.clock.advance(3.1)
        await until(lambda before=before: len(it.lines) > before)
    it.client._url = url
    await it.again()
    await it.live()
    await venue.open[-1].close()
    await until(lambda: "close" in it.lines[-1] and "next try" in it.lines[-1])
    assert float(it.lines[-1].rsplit("in ", 1)[1].removesuffix(" s")) <= 4.0


async def test_a_refused_key_is_told_and_tried_seldom(venue, bench):
    it = bench()
    it.speaker.refusal = AuthError("the key is wrong")
    with pytest.raises(AuthError, match="the key is wrong"):
        await it.client.wait_live(5.0)
    assert it.client.status.state is LinkState.DOWN and "the key is wrong" in it.client.status.detail
    it.clock.advance(14.0)
    await asyncio.sleep(0.02)
    assert venue.accepted == 1
    it.speaker.refusal = None
    it.clock.advance(17.0)
    await it.live()


async def test_a_log_in_without_an_answer_is_given_up(venue, bench):
    venue.greet = False
    it = bench(open_timeout_s=5.0)
    await until(lambda: (1, "login") in venue.received)
    waiting = asyncio.create_task(it.client.wait_live(4.0))
    await asyncio.sleep(0)
    it.clock.advance(4.5)
    with pytest.raises(VenueUnavailable, match="not live within 4 s"):
        await waiting
    it.clock.advance(1.0)
    await until(lambda: "lost: no login and subscription within 5 s" in it.speaker.events)
    venue.greet = True
    await it.again()
    await it.live()


async def test_a_bug_in_the_handler_is_reported_and_the_socket_comes_again(venue, bench):
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
    it = bench()
    await it.live()
    await venue.open[0].send("bad")
    await until(lambda: it.speaker.events[-1] == "lost: a message could not be handled: ZeroDivisionError")
    it.speaker.refusal = KeyError("a bug in on_open")
    await it.again()
    await until(lambda: len(reported) == 2)
    it.speaker.refusal = None
    await it.again()
    await it.live()
    assert [type(error) for error in reported] == [ZeroDivisionError, KeyError]


async def test_n15_a_huge_message_breaks_the_connection_only(venue, bench):
    it = bench(max_message_bytes=1000)
    await it.live()
    await venue.open[0].send("x" * 100_000)
    await until(lambda: it.speaker.events[-1].startswith("lost: closed by us: 1009"))
    assert it.speaker.messages == []
    await it.again()
    await it.live()


async def test_a_new_connection_takes_over_before_the_old_ones_end(venue, bench):
    it = bench(max_age_s=3600.0, transport_silence_s=1e6, ping_every_s=1e6)
    await it.live()
    old = venue.open[0]
    it.clock.advance(3601.0)
    await until(lambda: (2, "login") in venue.received)
    await until(lambda: venue.open != [] and old not in venue.open)
    assert it.speaker.events == ["open", "ready", "open", "ready"]
    assert it.client.status.state is LinkState.LIVE
    await venue.open[0].send("from the new one")
    await until(lambda: it.speaker.messages == [b"from the new one"])
    await it.client.send("over the new one")
    await until(lambda: venue.received[-1] == (2, "over the new one"))


async def test_in_the_overlap_numbered_messages_come_from_the_old_one_until_the_new_one_is_ready(venue, bench):
    it = bench(max_age_s=3600.0, transport_silence_s=1e6, ping_every_s=1e6, from_one=lambda m: m.startswith(b"book"))
    await it.live()
    venue.greet = False
    it.clock.advance(3601.0)
    await until(lambda: (2, "login") in venue.received)
    old, new = venue.open
    await old.send("book 1")
    await new.send("book 1")
    await new.send("note")
    await old.send("last")
    await until(lambda: b"last" in it.speaker.messages and b"note" in it.speaker.messages)
    assert sorted(it.speaker.messages) == [b"book 1", b"last", b"note"]
    await new.send("welcome")
    await until(lambda: old not in venue.open)
    await new.send("book 2")
    await until(lambda: it.speaker.messages[-1] == b"book 2")


async def test_when_nobody_can_take_over_the_old_one_stays(venue, bench):
    it = bench(max_age_s=3600.0, transport_silence_s=1e6, ping_every_s=1e6)
    await it.live()
    venue.refuse_handshake = True
    it.clock.advance(3601.0)
    await until(lambda: any("no connection to take over" in line for line in it.lines))
    await venue.open[0].send("still here")
    await until(lambda: it.speaker.messages == [b"still here"])
    assert it.speaker.events == ["open", "ready"] and it.client.status.state is LinkState.LIVE
    await venue.open[0].close(1001, "24 h")
    await until(lambda: it.speaker.events[-1] == "lost: the venue closed it: 1001 24 h")
    venue.refuse_handshake = False
    await it.again()
    await it.live()


async def test_when_the_old_one_breaks_in_the_overlap_the_handler_begins_anew(venue, bench):
    it = bench(max_age_s=3600.0, transport_silence_s=1e6, ping_every_s=1e6)
    await it.live()
    venue.greet = False
    it.clock.advance(3601.0)
    await until(lambda: (2, "login") in venue.received)
    await venue.open[0].close(1001, "cut")
    await until(lambda: it.speaker.events[-1] == "lost: the venue closed it: 1001 cut")
    venue.greet = True
    await venue.open[-1].send("welcome")
    await it.again()
    await it.live()
    assert it.speaker.events[-2:] == ["open", "ready"]


async def test_stop_wins_and_is_silent(venue, bench):
    it = bench()
    await it.live()
    it.client.reconnect("flap")
    await it.client.stop()
    it.clock.advance(600.0)
    await asyncio.sleep(0.02)
    assert venue.accepted == 1 and it.client.status.state is LinkState.DOWN
    quiet = bench()
    await quiet.live()
    await quiet.client.stop()
    assert quiet.speaker.events == ["open", "ready"]


async def test_an_address_may_be_asked_for_each_time(venue):
    asked = []

    async def url() -> str:
        asked.append(1)
        if len(asked) == 1:
            raise VenueUnavailable("no listen key")
        return f"{venue.url}/{len(asked)}"

    clock = VirtualClock()
    client = WsClient("private", url, Speaker(), clock, Rng(1), WsPolicy())
    client.start()
    await until(lambda: "no listen key" in client.status.detail)
    clock.advance(1.0)
    await until(lambda: client.status.state is LinkState.LIVE)
    assert len(asked) == 2
    await client.stop()


async def test_n11_flapping_leaks_nothing(venue):
    it = Bench(venue, VirtualClock())
    it.client.start()
    await it.live()

    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    tasks = files = 0
    for turn in range(100):
        await venue.open[0].close()
        await until(lambda turn=turn: sum(e == "open" for e in it.speaker.events) == turn + 1 and not venue.open)
        await it.again()
        await it.live()
        await until(lambda: len(venue.open) == 1)
        if turn == 10:
            gc.collect()
            tasks, files = len(asyncio.all_tasks()), open_files()
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    gc.collect()
    assert open_files() <= files
    await it.client.stop()
    await until(lambda: not any("websocket public" in task.get_name() for task in asyncio.all_tasks()))
    assert it.clock.next_timer_ns() is None


async def test_n06_a_certificate_must_be_trusted_and_name_the_host(tmp_path):
    async def echo(socket: ServerConnection) -> None:
        async for text in socket:
            await socket.send("welcome" if text == "login" else text)

    for name, trusted in (("localhost", False), ("venue.example", True), ("localhost", True)):
        context, file = certificate(name, tmp_path)
        async with serve(echo, "localhost", 0, ssl=context) as server:
            url = f"wss://localhost:{server.sockets[0].getsockname()[1]}/private?listenKey=abc"
            trust = ssl.create_default_context(cafile=file) if trusted else None
            client = WsClient("private", url, Speaker(), VirtualClock(), Rng(1), WsPolicy(), ssl=trust)
            client.start()
            if trusted and name == "localhost":
                await until(lambda client=client: client.status.state is LinkState.LIVE)
            else:
                await until(lambda client=client: "next try" in client.status.detail)
                assert "certificate of localhost:" in client.status.detail and "not trusted" in client.status.detail
                assert "listenKey" not in client.status.detail
            await client.stop()


async def test_a_burst_of_messages_leaves_turns_to_everything_else(venue, bench):
    it = bench()
    await it.live()
    turns: list[int] = []

    def turn() -> None:
        turns.append(len(it.speaker.messages))
        if turns[-1] < 1000:
            asyncio.get_running_loop().call_soon(turn)

    frame = Frame(Opcode.TEXT, b"data").serialize(mask=False)
    venue.open[0].transport.write(frame * 1000)
    turn()
    await until(lambda: len(it.speaker.messages) == 1000)
    assert max(later - earlier for earlier, later in pairwise(turns)) <= 64


async def test_runs_on_the_loops_own_clock(venue):
    clock = LoopClock(asyncio.get_running_loop())
    speaker = Speaker()
    client = WsClient("public", venue.url, speaker, clock, Rng(1), WsPolicy(ping_every_s=0.05))
    client.start()
    await client.wait_live(5.0)
    await until(lambda: client.status.rtt_ms is not None)
    assert 0 < client.status.rtt_ms < 1000
    await client.stop()
