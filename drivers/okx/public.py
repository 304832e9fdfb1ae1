"""The sockets of public channels: subscribes, resubscribes after a break, notices silence."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from drivers.okx.messages import decode
from drivers.okx.symbols import arch
from drivers.okx.wire import Arg, Event, Push
from drivers.transport.line_decoder import Undecodable, unparsed
from drivers.transport.venue_driver import VenueDriver
from drivers.transport.websocket import Send, WsClient, WsPolicy
from engine.kernel.clock import NS_PER_S, TimerHandle
from engine.kernel.errors import CtosError

SILENCE_S = 30.0
BOOK_HEARTBEAT_S = 60.0
UPGRADE_NOTICE = "64008"
_ARGS_PER_MESSAGE = 500
_HOUR_NS = 3600 * NS_PER_S


class PublicSocket:
    """One socket of channels without login.

    It is opened with its first subscription, because the venue closes a socket that subscribes to nothing. What is
    asked for in one tick goes out as one message: the venue counts messages.

    Args:
        name: What it carries: `public` or `business`.
        url: Its address.
        driver: Clock, randomness, TLS, log, background tasks; takes what cannot be understood.
        on_push: Takes each push with the message it came in.
        on_subscribed: Called with the arguments that were just asked for.
        on_lost: Called in the tick in which the connection broke.
    """

    def __init__(
        self,
        name: str,
        url: str,
        driver: VenueDriver,
        on_push: Callable[[bytes, Push[Any]], None],
        on_subscribed: Callable[[list[Arg]], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._name = name
        self._driver = driver
        self._clock = driver.clock
        self._log = driver.log
        self._on_push = on_push
        self._on_subscribed = on_subscribed
        self._on_lost = on_lost
        self._wanted: dict[Arg, None] = {}
        self._leaving: dict[Arg, None] = {}
        self._joining: dict[Arg, None] = {}
        self._flush_timer: TimerHandle | None = None
        self._operations: deque[int] = deque()
        self._open = False
        self._data_ns = 0
        self._send: Send | None = None
        policy = WsPolicy(ping_text="ping", content_silence_s=SILENCE_S, expects_data=self._expects_data)
        rng = driver.rng.fork(f"okx {name}")
        self.client = WsClient(name, url, self, driver.clock, rng, policy, ssl=driver.setup.ssl, log=driver.log)
        self.started = False

    def subscribe(self, args: Iterable[Arg]) -> None:
        """Ask for channels, and again for those that were left in the same tick."""
        for arg in args:
            self._wanted[arg] = None
            self._joining[arg] = None
        if not self.started:
            self.started = True
            self.client.start()
        self._plan()

    def unsubscribe(self, args: Iterable[Arg]) -> None:
        """Leave channels."""
        for arg in args:
            self._wanted.pop(arg, None)
            self._joining.pop(arg, None)
            self._leaving[arg] = None
        self._plan()

    def renew(self, arg: Arg) -> None:
        """Leave a channel and ask for it again, so that its snapshot comes anew."""
        if arg in self._wanted:
            self._leaving[arg] = None
            self._joining[arg] = None
            self._plan()

    # What the socket calls.

    async def on_open(self, send: Send) -> None:
        """Ask for everything that is wanted."""
        self._leaving.clear()
        self._joining.clear()
        self._operations.clear()
        self._send, self._open = send, True
        wanted = list(self._wanted)
        for part in _parts(wanted):
            await self._operate(send, "subscribe", part)
        self._on_subscribed(wanted)

    def on_message(self, payload: bytes) -> None:
        """Take a message."""
        try:
            message = decode(payload)
        except Undecodable as error:
            self._driver.on_market([unparsed(payload, error.reason, self._clock.now_ms())])
            return
        if isinstance(message, Push):
            self._data_ns = self._clock.now_ns()
            self._on_push(payload, message)
        elif isinstance(message, Event):
            self._on_event(message)

    def on_lost(self, reason: str) -> None:
        """Hear that the connection broke."""
        self._open, self._send = False, None
        self._on_lost(reason)

    def _on_event(self, event: Event) -> None:
        if event.event == "error":
            self._log("warning", f"okx {self._name} socket: {event.code} {event.msg[:200]}")
        elif event.event == "notice":
            self._log("info", f"okx {self._name} socket: {event.code} {event.msg[:200]}")
            if event.code == UPGRADE_NOTICE:
                self.client.reconnect("the venue is about to close this connection")

    def _expects_data(self) -> bool:
        """Marks come every 10 s at least; a book without changes says so about once a minute."""
        channels = {arg.channel for arg in self._wanted}
        if "mark-price" in channels:
            return True
        idle_s = (self._clock.now_ns() - self._data_ns) / NS_PER_S
        return "books" in channels and idle_s > BOOK_HEARTBEAT_S + 10 - SILENCE_S

    def _plan(self) -> None:
        if self._flush_timer is None:
            self._flush_timer = self._clock.call_at(self._clock.now_ns(), self._flush)

    def _flush(self) -> None:
        """Send what was asked for since the last tick."""
        self._flush_timer = None
        send = self._send
        if not self._open or send is None:
            return  # everything wanted is asked for when the socket opens
        leaving, joining = list(self._leaving), list(self._joining)
        self._leaving.clear()
        self._joining.clear()
        if self._used_up(2):
            self.client.reconnect("the hour's subscription requests of this connection are used up")
            return
        if leaving or joining:
            self._driver.in_background(self._change(send, leaving, joining), f"{self._name} subscriptions")

    async def _change(self, send: Send, leaving: list[Arg], joining: list[Arg]) -> None:
        try:
            for part in _parts(leaving):
                await self._operate(send, "unsubscribe", part)
            for part in _parts(joining):
                await self._operate(send, "subscribe", part)
        except CtosError as error:
            self._log("debug", f"okx {self._name} socket: {error}; asked for again when it is open")
            return
        if joining:
            self._on_subscribed(joining)

    async def _operate(self, send: Send, operation: str, args: list[Arg]) -> None:
        self._operations.append(self._clock.now_ns())
        await send(request_text(operation, args))

    def _used_up(self, more: int) -> bool:
        """Return whether the venue's hourly number of requests for a connection would be exceeded."""
        since_ns = self._clock.now_ns() - _HOUR_NS
        while self._operations and self._operations[0] < since_ns:
            self._operations.popleft()
        limit: int = arch().limits["ws_operations_per_h"]
        return len(self._operations) + more > limit


def request_text(operation: str, args: Iterable[Arg]) -> str:
    """Return a subscribe or unsubscribe message."""
    rows = [{name: text for name, text in msgspec.structs.asdict(arg).items() if text} for arg in args]
    return msgspec.json.encode({"op": operation, "args": rows}).decode()


def _parts(args: list[Arg]) -> Iterator[list[Arg]]:
    for begin in range(0, len(args), _ARGS_PER_MESSAGE):
        yield args[begin : begin + _ARGS_PER_MESSAGE]
