"""The private socket: login, the account's stream, and order operations with their answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

import msgspec

from drivers.okx.errors import error_from, order_error_from
from drivers.okx.messages import decode
from drivers.okx.public import UPGRADE_NOTICE, request_text
from drivers.okx.rest import ORDER_LIFE_MS
from drivers.okx.signer import login_arguments
from drivers.okx.wire import Ack, Arg, Event, OpReply, Push
from drivers.transport.line_decoder import Undecodable
from drivers.transport.server_clock import ServerClock
from drivers.transport.setup import VenueSetup, join_ws
from drivers.transport.websocket import Send, WsClient, WsPolicy
from engine.kernel.account import AccountStream, unreadable
from engine.kernel.errors import ClockSkew, CtosError, UnknownOutcome, VenueUnavailable
from engine.kernel.links import LinkState
from engine.kernel.permit import ask_permit

ANSWER_S = 10.0


class PrivateSocket:
    """One logged-in socket.

    Args:
        setup: Hosts, keys, clock, randomness, TLS, log.
        time: The venue's time, for the login.
        args: What to subscribe to.
        on_push: Takes each push of the account.
        on_stream: Told when the stream broke, and when it is back.
    """

    def __init__(
        self,
        setup: VenueSetup,
        time: ServerClock,
        args: Callable[[], list[Arg]],
        on_push: Callable[[Push[Any], bytes], None],
        on_stream: Callable[[AccountStream], None],
    ) -> None:
        assert setup.credentials is not None
        self._keys = setup.credentials
        self._clock = setup.clock
        self._log = setup.log
        self._time = time
        self._args = args
        self._on_push = on_push
        self._on_stream = on_stream
        self._login: asyncio.Future[Event] | None = None
        self._awaited: set[Arg] = set()
        self._subscribed: asyncio.Future[None] | None = None
        self._operations: dict[str, asyncio.Future[OpReply]] = {}
        self._ids = count(1)
        self._told_live: bool | None = None
        url = join_ws(setup.hosts["ws_private_url"], "/ws/v5/private")
        rng = setup.rng.fork("okx private")
        self.client = WsClient(
            "private", url, self, setup.clock, rng, WsPolicy(ping_text="ping"), ssl=setup.ssl, log=setup.log
        )

    @property
    def is_live(self) -> bool:
        """Return whether the socket is open, logged in and subscribed."""
        return self.client.status.state is LinkState.LIVE

    async def operate(self, operation: str, args: dict[str, Any], request: str, urgent: bool) -> Ack:
        """Carry out one order operation and return its acknowledgement.

        Args:
            operation: `order`, `amend-order` or `cancel-order`.
            args: Its terms, with `instIdCode`.
            request: What it is, for messages.
            urgent: Whether the venue shall drop it when it arrives late (orders and amendments).

        Raises:
            VenueUnavailable: The socket is not live: nothing was sent.
            UnknownOutcome: It may have been carried out.
            CtosError: The venue refused it, or it may not leave any more.
        """
        if not self.is_live:
            raise VenueUnavailable(f"okx: {request}: the private socket is not live; nothing was sent", unsent=True)
        if urgent:
            ask_permit()
        number = str(next(self._ids))
        message: dict[str, Any] = {"id": number, "op": operation, "args": [args]}
        if urgent:
            message["expTime"] = str(self._time.now_ms() + ORDER_LIFE_MS)
        answer: asyncio.Future[OpReply] = asyncio.get_running_loop().create_future()
        self._operations[number] = answer
        timer = self._clock.call_later(ANSWER_S, self._no_answer, answer, request)
        try:
            await self._send(msgspec.json.encode(message).decode(), request)
            reply = await answer
        finally:
            timer.cancel()
            del self._operations[number]
        ack = reply.data[0] if reply.data else None
        if ack is not None and ack.sCode not in ("", "0"):
            raise order_error_from(ack.sCode, ack.sMsg, request)
        if reply.code != "0":
            raise order_error_from(reply.code, reply.msg, request)
        if ack is None:
            raise UnknownOutcome(f"okx: {request}: answered without a result")
        return ack

    # What the socket calls.

    async def on_open(self, send: Send) -> None:
        """Log in, subscribe, and wait until the venue has confirmed each."""
        loop, keys = asyncio.get_running_loop(), self._keys
        self._login = loop.create_future()
        phrase = keys.passphrase.reveal() if keys.passphrase is not None else ""
        arguments = login_arguments(keys.key.reveal(), keys.secret.reveal(), phrase, self._time.now_ms())
        await send(msgspec.json.encode({"op": "login", "args": [arguments]}).decode())
        event = await self._login
        if event.event != "login" or event.code != "0":
            error = error_from(event.code, event.msg, "login")
            if isinstance(error, ClockSkew):
                self._time.suspect()
                await self._time.settled()
            raise error
        wanted = self._args()
        self._awaited = set(wanted)
        self._subscribed = loop.create_future()
        await send(request_text("subscribe", wanted))
        await self._subscribed
        if self._told_live is False:
            self._on_stream(AccountStream(True, "logged in and subscribed again"))
        self._told_live = True

    def on_message(self, payload: bytes) -> None:
        """Take a message."""
        try:
            message = decode(payload)
        except Undecodable as error:
            shown = payload[:120].decode("utf-8", "backslashreplace")
            self._log("warning", f"okx private socket: {error.reason}: {shown}")
            self._on_stream(unreadable(error.reason))
            return
        if isinstance(message, Push):
            self._on_push(message, payload)
        elif isinstance(message, OpReply):
            self._answered(message)
        elif isinstance(message, Event):
            self._on_event(message)

    def on_lost(self, reason: str) -> None:
        """Hear that the connection broke: what was under way has no known outcome."""
        for answer in self._operations.values():
            if not answer.done():
                answer.set_exception(UnknownOutcome(f"okx: the private socket broke: {reason}"))
        if self._told_live:
            self._told_live = False
            self._on_stream(AccountStream(False, reason))

    def _on_event(self, event: Event) -> None:
        login, subscribed = self._login, self._subscribed
        if login is not None and not login.done() and event.event in ("login", "error"):
            login.set_result(event)
        elif event.event == "subscribe" and event.arg is not None:
            self._awaited.discard(_asked(event.arg, self._awaited))
            if not self._awaited and subscribed is not None and not subscribed.done():
                subscribed.set_result(None)
        elif event.event == "error" and event.id in self._operations:
            self._answered(OpReply(event.id, "", event.code, event.msg))
        elif event.event in ("error", "channel-conn-count-error"):
            text = f"{event.code} {event.msg[:200]} {event.channel}".strip()
            if subscribed is not None and not subscribed.done():
                subscribed.set_exception(error_from(event.code, event.msg, "subscription to the account's stream"))
            else:
                self._log("warning", f"okx private socket: {text}")
        elif event.event == "notice":
            self._log("info", f"okx private socket: {event.code} {event.msg[:200]}")
            if event.code == UPGRADE_NOTICE:
                self.client.reconnect("the venue is about to close this connection")

    def _answered(self, reply: OpReply) -> None:
        answer = self._operations.get(reply.id)
        if answer is not None and not answer.done():
            answer.set_result(reply)

    async def _send(self, text: str, request: str) -> None:
        try:
            await self.client.send(text)
        except CtosError as error:
            raise UnknownOutcome(f"okx: {request}: the private socket broke while it was sent: {error}") from error

    def _no_answer(self, answer: asyncio.Future[OpReply], request: str) -> None:
        if not answer.done():
            text = f"okx: {request}: no answer within {ANSWER_S:.0f} s; its outcome is not known"
            answer.set_exception(UnknownOutcome(text))


def _asked(arg: Arg, asked: set[Arg]) -> Arg:
    """Return which subscription a confirmation is about; the venue may add fields to it."""
    for wanted in asked:
        if wanted.channel == arg.channel and wanted.instType in ("", arg.instType):
            return wanted
    return arg
