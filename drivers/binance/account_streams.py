"""The account's two streams: futures by a listen key, spot by a subscription over the request socket.

Facts: EXCHANGES 2.4, 2.6, 3.6. A listen key lives 60 minutes and is kept alive every 30; creating one while it lives
returns the same one. Spot has no listen keys any more: HMAC users subscribe with `userDataStream.subscribe.signature`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from drivers.binance.account_messages import read
from drivers.binance.errors import NO_LISTEN_KEY
from drivers.binance.events import AccountMessage, ListenKeyExpired, ServerShutdown, StreamTerminated
from drivers.binance.rest import Rest
from drivers.binance.trade_socket import SocketCalls
from drivers.binance.wire import ListenKey
from drivers.transport.line_decoder import Undecodable
from drivers.transport.rate_limits import Urgency
from drivers.transport.setup import VenueSetup
from drivers.transport.websocket import Send, WsClient
from engine.kernel.account import AccountStream, unreadable
from engine.kernel.clock import TimerHandle
from engine.kernel.errors import VenueError

KEEP_ALIVE_S = 1800.0
FIRST_CHECK_S = 1.0
RETRY_S = 60.0


class StreamHealth:
    """Whether all of the account's streams are live, told when it changes.

    Args:
        publish: Takes the change.
    """

    def __init__(self, publish: Callable[[AccountStream], None]) -> None:
        self._publish = publish
        self._down: set[str] = set()

    def lost(self, name: str, reason: str) -> None:
        """Hear that a stream broke; told at once, unless another one is down already."""
        was_whole = not self._down
        self._down.add(name)
        if was_whole:
            self._publish(AccountStream(live=False, reason=f"{name} account stream: {reason}"))

    def missed(self, reason: str) -> None:
        """Hear that a message could not be read."""
        self._publish(unreadable(reason))

    def back(self, name: str) -> None:
        """Hear that a stream is subscribed; told when it was lost and no other one is."""
        if name in self._down:
            self._down.discard(name)
            if not self._down:
                self._publish(AccountStream(live=True, reason=f"{name} account stream is back"))


class FuturesAccountStream:
    """The futures account's stream, as the handler of its `WsClient`.

    Args:
        rest: The futures interface.
        url: Address of the private streams.
        setup: Clock and log.
        on_event: Takes each event.
        health: Is told when the stream breaks and is back.
        run: Runs a coroutine in the background.
    """

    def __init__(
        self,
        rest: Rest,
        url: str,
        setup: VenueSetup,
        on_event: Callable[[AccountMessage], None],
        health: StreamHealth,
        run: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self._rest = rest
        self._base = url
        self._clock = setup.clock
        self._log = setup.log
        self._on_event = on_event
        self._health = health
        self._timer: TimerHandle | None = None
        self._key = ""
        self._is_open = False
        self._run_in_background = run
        self.client: WsClient | None = None

    async def url(self) -> str:
        """Return the address of a new connection, with a listen key that is good for an hour."""
        self._key = (await self._rest.keyed("POST", "listenKey", ListenKey)).listenKey
        return f"{self._base}?listenKey={self._key}"

    async def on_open(self, send: Send) -> None:
        """Make sure that the listen key is good, for one that is not is silent, and keep it alive from here on."""
        self._is_open = True
        self._plan(FIRST_CHECK_S)
        self._health.back("futures")

    def on_message(self, payload: bytes) -> None:
        """Take an event."""
        message = _event(payload, self._log, self._health)
        if isinstance(message, ListenKeyExpired):
            self._reconnect("the listen key expired")
        elif isinstance(message, ServerShutdown):
            self._reconnect("the server is about to go")
        elif message is not None:
            self._on_event(message)

    def on_lost(self, reason: str) -> None:
        """Hear that the stream broke."""
        self.stop()
        self._health.lost("futures", reason)

    def stop(self) -> None:
        """Keep the key alive no longer."""
        self._is_open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def keep_alive(self) -> None:
        """Keep the listen key alive; a key that is gone means a new connection with a new one."""
        again_s = KEEP_ALIVE_S
        try:
            told = await self._rest.keyed("PUT", "listenKey", ListenKey)
            if told.listenKey not in ("", self._key):
                self._reconnect("another listen key took its place")
                return
        except VenueError as error:
            if error.code == str(NO_LISTEN_KEY):
                self._reconnect("the listen key is gone")
                return
            self._log("warning", f"binance: the futures account stream could not be kept alive: {error}")
            again_s = RETRY_S
        self._plan(again_s)

    def _plan(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_later(seconds, self._due) if self._is_open else None

    def _due(self) -> None:
        self._timer = None
        self._run_in_background(self.keep_alive(), "listen key")

    def _reconnect(self, reason: str) -> None:
        if self.client is not None:
            self.client.reconnect(reason)


class Subscribed(msgspec.Struct):
    """The answer to a subscription."""

    subscriptionId: int


class SpotAccountStream:
    """The spot account's stream over the request socket, as the handler of its `WsClient`.

    Args:
        calls: Pairs requests with answers.
        log: Takes (level, line) for the operator.
        on_event: Takes each event.
        health: Is told when the stream breaks and is back.
    """

    def __init__(
        self,
        calls: SocketCalls,
        log: Callable[[str, str], None],
        on_event: Callable[[AccountMessage], None],
        health: StreamHealth,
    ) -> None:
        self._calls = calls
        self._log = log
        self._on_event = on_event
        self._health = health
        self.client: WsClient | None = None

    async def on_open(self, send: Send) -> None:
        """Subscribe to the account's events with a signature."""
        method = "userDataStream.subscribe.signature"
        await self._calls.call(send, method, {}, Subscribed, weight=2, urgency=Urgency.RECONCILE)
        self._health.back("spot")

    def on_message(self, payload: bytes) -> None:
        """Take an event, or the answer to the subscription."""
        if not payload.startswith(b'{"subscriptionId"') and self._calls.on_answer(payload):
            return
        message = _event(payload, self._log, self._health)
        if isinstance(message, StreamTerminated):
            self._reconnect("the venue ended the subscription")
        elif isinstance(message, ServerShutdown):
            self._reconnect("the server is about to go")
        elif message is not None:
            self._on_event(message)

    def on_lost(self, reason: str) -> None:
        """Hear that the stream broke."""
        self._calls.lose(reason)
        self._health.lost("spot", reason)

    def _reconnect(self, reason: str) -> None:
        if self.client is not None:
            self.client.reconnect(reason)


def _event(payload: bytes, log: Callable[[str, str], None], health: StreamHealth) -> AccountMessage | None:
    """Return an account's event; one that cannot be read is told, and what it said asked for at once."""
    try:
        return read(payload)[1]
    except Undecodable as error:
        log("error", f"binance: an account message could not be understood: {error.reason}")
        health.missed(error.reason)
        return None
