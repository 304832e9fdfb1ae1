"""The HTTP and WebSocket server of an emulator; between the wire and the venue stand the scripted faults."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from engine.kernel.clock import Clock, sleep
from tests.venues.emulators.faults import Answer, Kind
from tests.venues.emulators.wire import Seen, Socket

if TYPE_CHECKING:
    from tests.venues.emulators.core import Emulator


class Server:
    """Serves one emulator on the loopback.

    Args:
        venue: What it serves.
        clock: Time of delays and pings.

    Attributes:
        port: Where it serves.
    """

    def __init__(self, venue: Emulator, clock: Clock) -> None:
        self._venue = venue
        self._clock = clock
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, port: int) -> None:
        """Serve on a port; 0 takes a free one."""
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/{path:.*}", self.serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one request or socket; an error of the emulator itself is remembered."""
        try:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._serve_socket(request)
            return await self._serve_rest(request)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception as error:
            self._venue.bugs.append(error)
            raise

    async def _serve_rest(self, request: web.Request) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        body = await request.read()
        seen = Seen(request.method, path, query, body, request.headers, self._venue.clock.now_ms())
        self._venue.requests.append(seen)
        answer = await self.carry(seen)
        if answer is None:
            return _cut_off(request)
        return _response(answer)

    async def carry(self, seen: Seen) -> Answer | None:
        """Return the answer to a request; None cuts the connection."""
        if self._venue.faults.banned_s:
            return self._venue.banned(self._venue.faults.banned_s)
        plan = self._venue.faults.plan(seen.method, seen.path, seen.body)
        answer: Answer | None = None
        if plan.kind is Kind.ANSWER:
            answer = plan.answer
        elif plan.kind is not Kind.LOSE_REQUEST:
            if plan.kind is Kind.HOLD_UP:
                await sleep(self._clock, plan.held_s)
                seen = replace(seen, time_ms=self._venue.clock.now_ms())
            answer = await self._venue.answer(seen)
            if plan.kind is Kind.UNKNOWN_BUT_DONE:
                answer = plan.answer
            elif plan.kind is Kind.LOSE_RESPONSE:
                answer = None
        if plan.seconds:
            await sleep(self._clock, plan.seconds)
        return answer

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        kind = self._venue.socket_kind(path)
        if kind is None:
            return web.Response(status=404)
        opens, refusal = self.admit(kind, path)
        if refusal is not None:
            return _response(refusal)
        if not opens:
            return _cut_off(request)
        socket = Socket(kind, request, self._venue.faults)
        socket.last_pong_ns = self._clock.now_ns()
        await socket.response.prepare(request)
        self._venue.sockets.append(socket)
        writer = asyncio.get_running_loop().create_task(socket.write(), name=f"{self._venue.name} socket")
        try:
            await self._read(socket)
        finally:
            writer.cancel()
            self._venue.sockets.remove(socket)
            self._venue.on_close(socket)
        return socket.response

    def admit(self, kind: str, path: str) -> tuple[bool, Answer | None]:
        """Return whether a socket may be opened, and if not the answer; without one the connection is cut."""
        venue = self._venue
        plan = venue.faults.plan("GET", path, b"")
        refusal = venue.banned(venue.faults.banned_s) if venue.faults.banned_s else venue.refuse_socket(kind)
        if refusal is None and plan.kind is Kind.ANSWER:
            refusal = plan.answer
        return refusal is None and plan.kind is None, refusal

    async def _read(self, socket: Socket) -> None:
        await self._venue.on_open(socket)
        async for message in socket.response:
            if socket.is_deaf:
                continue
            if message.type is WSMsgType.TEXT:
                socket.traffic += 1
                await self._venue.on_text(socket, message.data)
            elif message.type is WSMsgType.PING:
                await socket.response.pong(message.data)
            elif message.type is WSMsgType.PONG:
                socket.last_pong_ns = self._clock.now_ns()


def _response(answer: Answer) -> web.Response:
    return web.Response(status=answer.status, body=answer.body, headers=answer.headers)


def _cut_off(request: web.Request) -> web.Response:
    if request.transport is not None:  # else the client has gone already
        request.transport.abort()
    return web.Response()
