"""Backpack's streams: one socket for market data, one for the account.

The venue would take both on one socket; apart, a flood or silence of market data never touches the account's stream.
Subscriptions are not acknowledged, only refusals are answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from drivers.backpack.errors import class_of
from drivers.backpack.wire import (
    BalanceEvent,
    Message,
    OrderEvent,
    PositionEvent,
    PrivateMessage,
    StreamProblem,
    StreamReply,
    decode,
)
from drivers.transport.line_decoder import NONSENSE, Undecodable, reason_of, unparsed
from drivers.transport.websocket import Send, WsClient, WsPolicy
from engine.kernel.account import AccountStream, unreadable
from engine.kernel.clock import sleep
from engine.kernel.errors import AuthError, ClockSkew, UnknownSymbol, VenueUnavailable
from engine.kernel.links import LinkState
from engine.kernel.market import Unparsed

if TYPE_CHECKING:
    from drivers.transport.setup import VenueSetup

STREAMS_PER_MESSAGE = 100
SILENCE_S = 30.0
"""Tickers come once a second."""
REFUSAL_S = 0.5
"""A signed subscription that was not refused after so long is taken as accepted; a later refusal still counts."""
ORDER_STREAMS = ("account.orderUpdate", "account.positionUpdate")
BALANCE_STREAM = "account.balanceUpdate"
INVALID_STREAM = 4006


def request(method: str, streams: list[str], signature: list[str] | None = None) -> str:
    """Return the text of a SUBSCRIBE or UNSUBSCRIBE."""
    fields: dict[str, object] = {"method": method, "params": streams}
    if signature is not None:
        fields["signature"] = signature
    return msgspec.json.encode(fields).decode()


class PublicSocket:
    """Market data streams.

    Args:
        setup: Clock, randomness, hosts.
        on_message: Takes (payload, stream, message).
        on_problem: Takes a message that could not be understood.
        on_subscribed: Called with streams that were just asked for, or are wanted again before they were taken back.
        on_lost: Called with the reason when the connection broke.
        in_background: Runs a coroutine beside everything else.
    """

    def __init__(
        self,
        setup: VenueSetup,
        on_message: Callable[[bytes, str, Message], None],
        on_problem: Callable[[Unparsed], None],
        on_subscribed: Callable[[list[str]], None],
        on_lost: Callable[[str], None],
        in_background: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self._on_message = on_message
        self._on_problem = on_problem
        self._on_subscribed = on_subscribed
        self._on_lost = on_lost
        self._in_background = in_background
        self._log = setup.log
        self._wanted: dict[str, None] = {}
        self._sent: dict[str, None] = {}
        self._flushing = False
        policy = WsPolicy(content_silence_s=SILENCE_S, expects_data=self._expects_data)
        self.client = WsClient(
            "public",
            setup.hosts["ws_public_url"],
            self,
            setup.clock,
            setup.rng.fork("public"),
            policy,
            ssl=setup.ssl,
            log=setup.log,
        )

    def follow(self, streams: Iterable[str]) -> None:
        """Subscribe to streams, now or when the connection is there."""
        names = list(streams)
        self._wanted.update(dict.fromkeys(names))
        running = [name for name in names if name in self._sent]
        if running:
            self._on_subscribed(running)
        self._flush_soon()

    def unfollow(self, streams: Iterable[str]) -> None:
        """Unsubscribe from streams."""
        for stream in streams:
            self._wanted.pop(stream, None)
        self._flush_soon()

    async def on_open(self, send: Send) -> None:
        """Subscribe to everything that is wanted."""
        self._sent = {}
        await self._send_difference(send)

    def on_message(self, payload: bytes) -> None:
        """Decode a message and hand it on."""
        try:
            stream, message = decode(payload)
            if isinstance(message, StreamReply):
                self._on_reply(message)
            self._on_message(payload, stream, message)
        except (Undecodable, UnknownSymbol, *NONSENSE) as error:
            self._on_problem(unparsed(payload, reason_of(error)))

    def on_lost(self, reason: str) -> None:
        """Tell that market data broke off."""
        self._sent = {}
        self._on_lost(reason)

    def _on_reply(self, reply: StreamReply) -> None:
        if reply.error is not None:
            text = f"{reply.error.code} {reply.error.message[:120]}"
            self._log("warning", f"backpack: a subscription was refused: {text}")

    def _expects_data(self) -> bool:
        return any(stream.startswith("ticker.") for stream in self._wanted)

    def _flush_soon(self) -> None:
        if not self._flushing and self.client.status.state is LinkState.LIVE:
            self._flushing = True
            self._in_background(self._flush(), "subscriptions")

    async def _flush(self) -> None:
        try:
            await self._send_difference(self.client.send)
        except VenueUnavailable as error:
            self._log("debug", f"backpack: subscriptions wait for the next connection: {error}")
        finally:
            self._flushing = False

    async def _send_difference(self, send: Send) -> None:
        """Send what is wanted and not asked for yet, and take back the rest, until nothing is left to say."""
        while self._sent.keys() != self._wanted.keys():
            gone = [stream for stream in self._sent if stream not in self._wanted][:STREAMS_PER_MESSAGE]
            fresh = [stream for stream in self._wanted if stream not in self._sent][:STREAMS_PER_MESSAGE]
            for stream in gone:
                del self._sent[stream]
            self._sent.update(dict.fromkeys(fresh))
            if gone:
                await send(request("UNSUBSCRIBE", gone))
            if fresh:
                await send(request("SUBSCRIBE", fresh))
                self._on_subscribed(fresh)


class PrivateSocket:
    """The account's streams.

    Args:
        setup: Clock, randomness, hosts.
        sign: Returns the signature of a subscription, by the venue's present time.
        on_message: Takes a private message.
        on_problem: Takes a message that could not be understood.
        on_stream: Told when the streams are subscribed, when they broke, and when a message could not be read.
        on_time_refused: Called when the venue refused the signature's time.
    """

    def __init__(
        self,
        setup: VenueSetup,
        sign: Callable[[], Awaitable[list[str]]],
        on_message: Callable[[PrivateMessage], None],
        on_problem: Callable[[Unparsed], None],
        on_stream: Callable[[AccountStream], None],
        on_time_refused: Callable[[], None],
    ) -> None:
        self._clock = setup.clock
        self._sign = sign
        self._on_message = on_message
        self._on_problem = on_problem
        self._on_stream = on_stream
        self._on_time_refused = on_time_refused
        self._log = setup.log
        self._refused: asyncio.Future[StreamProblem] | None = None
        self._live = False
        self.has_balances = True
        self.client = WsClient(
            "private",
            setup.hosts["ws_private_url"],
            self,
            setup.clock,
            setup.rng.fork("private"),
            WsPolicy(),
            ssl=setup.ssl,
            log=setup.log,
        )

    async def on_open(self, send: Send) -> None:
        """Subscribe with a signature, and wait whether that is refused."""
        self._refused = asyncio.get_running_loop().create_future()
        self.has_balances = True
        await send(request("SUBSCRIBE", list(ORDER_STREAMS), await self._sign()))
        await send(request("SUBSCRIBE", [BALANCE_STREAM], await self._sign()))
        quiet = asyncio.ensure_future(sleep(self._clock, REFUSAL_S))
        try:
            await asyncio.wait((self._refused, quiet), return_when=asyncio.FIRST_COMPLETED)
        finally:
            quiet.cancel()
        if self._refused.done():
            raise self._refusal(self._refused.result())
        self._live = True
        self._on_stream(AccountStream(True, "subscribed"))

    def on_message(self, payload: bytes) -> None:
        """Decode a message and hand it on."""
        try:
            _, message = decode(payload)
            if isinstance(message, StreamReply):
                if message.error is not None:
                    self._on_refusal(message.error)
            elif isinstance(message, OrderEvent | PositionEvent | BalanceEvent):
                self._on_message(message)
        except (Undecodable, *NONSENSE) as error:
            self._on_problem(unparsed(payload, reason_of(error)))
            if self._live:
                self._on_stream(unreadable(reason_of(error)))
        except UnknownSymbol as error:
            self._on_problem(unparsed(payload, error.message))

    def on_lost(self, reason: str) -> None:
        """Tell that the account's streams broke off."""
        if self._live:
            self._live = False
            self._on_stream(AccountStream(False, reason))

    def _on_refusal(self, problem: StreamProblem) -> None:
        if problem.code == INVALID_STREAM:
            # Only the balance stream is not in the venue's own documentation.
            self.has_balances = False
            self._log("warning", "backpack: there is no stream of balances; they are asked for instead")
        elif self._refused is not None and not self._refused.done() and not self._live:
            self._refused.set_result(problem)
        else:
            self.client.reconnect(f"the venue refused a subscription: {problem.code} {problem.message[:120]}")

    def _refusal(self, problem: StreamProblem) -> AuthError | VenueUnavailable:
        """Return what a refused subscription means."""
        kind = class_of("INVALID_CLIENT_REQUEST", problem.message)
        code, text = str(problem.code), problem.message
        if kind is ClockSkew:
            self._on_time_refused()
            return VenueUnavailable("private stream: the time stamp was refused", code=code, venue_text=text)
        if kind is AuthError or any(word in text.lower() for word in ("unauthorized", "api key", "verifying key")):
            remedy = "backpack: the key was refused: check key and secret, and that the key was not deleted"
            return AuthError(remedy, code=code, venue_text=text)
        return VenueUnavailable("private stream: the subscription was refused", code=code, venue_text=text)
