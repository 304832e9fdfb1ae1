"""Binance's public streams: which exist for a subscription, and the sockets that carry them.

Facts: EXCHANGES 2.3, 2.6, 3.3, 3.6. Futures' books and quotes come by one path, the rest by another; a stream asked for
on the wrong one is silent. Subscriptions are bundled, so that their messages stay within the venue's limit a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from drivers.binance.products import Product
from drivers.transport.setup import VenueSetup
from drivers.transport.venue_driver import Topic
from drivers.transport.websocket import Send, WsClient, WsPolicy
from engine.kernel.clock import NS_PER_S, TimerHandle, sleep
from engine.kernel.errors import VenueUnavailable
from engine.kernel.instruments import Instrument
from engine.kernel.links import LinkStatus

PUBLIC, MARKET, SPOT = "public", "market", "spot"
"""Routes: futures' books and quotes; their trades, marks, candles and tickers; everything of spot."""

MAX_AGE_S = 23.5 * 3600
"""The venue ends a socket after 24 hours."""
_NAMES_A_MESSAGE = 100
_DEPTH = "@depth@100ms"
_QUOTES = "@bookTicker"


def streams_of(topic: Topic, instrument: Instrument) -> list[tuple[str, str]]:
    """Return the streams behind a subscription as (route, name)."""
    symbol = instrument.native.lower()
    first, second = (PUBLIC, MARKET) if instrument.is_perp else (SPOT, SPOT)
    if topic.kind == "book":
        return [(first, symbol + _DEPTH)]
    if topic.kind == "trades":
        return [(second, f"{symbol}@aggTrade")]
    if topic.kind == "klines":
        return [(second, f"{symbol}@kline_{topic.timeframe}")]
    ticks = [(first, symbol + _QUOTES), (second, f"{symbol}@ticker")]
    return [*ticks, (second, f"{symbol}@markPrice@1s")] if instrument.is_perp else ticks


def quotes_native(stream: str) -> str | None:
    """Return the native symbol of a stream of quotes, None for another stream."""
    return stream.removesuffix(_QUOTES).upper() if stream.endswith(_QUOTES) else None


def depth_native(stream: str) -> str | None:
    """Return the native symbol of a book's stream, None for another stream."""
    return stream.removesuffix(_DEPTH).upper() if stream.endswith(_DEPTH) else None


_ANSWER_S = 5.0
"""Longest time for the answer to a subscription."""


class _Reply(msgspec.Struct):
    id: str | int | None = None
    error: dict[str, object] | None = None


_reply = msgspec.json.Decoder(_Reply).decode


class StreamSocket:
    """The streams of one socket, as the handler of its `WsClient`: subscribed in bundles, again on each connection.

    Args:
        product: Its limits.
        setup: Clock and log.
        on_payload: Takes each market message.
        on_subscribed: Called with streams that the venue has confirmed.
        on_lost: Called with the streams of a socket that broke, and the reason.
    """

    def __init__(
        self,
        product: Product,
        setup: VenueSetup,
        on_payload: Callable[[bytes], None],
        on_subscribed: Callable[[list[str]], None],
        on_lost: Callable[[list[str], str], None],
    ) -> None:
        self._clock = setup.clock
        self._log = setup.log
        self._gap_s = 2.0 / product.limits["client_messages_per_s"]
        self._on_payload = on_payload
        self._on_subscribed = on_subscribed
        self._lost = on_lost
        self._wanted: dict[str, None] = {}
        self._active: set[str] = set()
        self._confirmed: set[str] = set()
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._count = 0
        self._flush: TimerHandle | None = None
        self._next_ns = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.client: WsClient | None = None

    def __len__(self) -> int:
        return len(self._wanted)

    def __contains__(self, stream: str) -> bool:
        return stream in self._wanted

    @property
    def expects_data(self) -> bool:
        """Return whether something is subscribed."""
        return any(stream in self._wanted for stream in self._confirmed)

    def is_confirmed(self, stream: str) -> bool:
        """Return whether the venue sends a stream on this socket."""
        return stream in self._confirmed and stream in self._wanted

    def add(self, stream: str) -> None:
        """Subscribe to a stream, soon; one that was not given up yet goes on."""
        goes_on = stream in self._confirmed and stream not in self._wanted
        self._wanted[stream] = None
        if goes_on:
            self._on_subscribed([stream])
        self._plan()

    def remove(self, stream: str) -> None:
        """Unsubscribe from a stream, soon."""
        self._wanted.pop(stream, None)
        self._plan()

    def stop(self) -> None:
        """Send nothing any more."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        for task in self._tasks:
            task.cancel()

    async def on_open(self, send: Send) -> None:
        """Subscribe to everything on a new connection; ends when the venue has confirmed it."""
        told: set[str] = set()
        self._confirmed.clear()
        while names := [name for name in self._wanted if name not in told]:
            part = names[:_NAMES_A_MESSAGE]
            told.update(part)
            self._active = set(told)
            await self._tell(send, "SUBSCRIBE", part)

    def on_message(self, payload: bytes) -> None:
        """Take a market message, or the answer to a subscription."""
        if _is_market(payload):
            self._on_payload(payload)
            return
        try:
            reply = _reply(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._on_payload(payload)
            return
        answer = self._answers.get(reply.id) if isinstance(reply.id, int) else None
        if answer is None or answer.done():
            if answer is None:
                self._on_payload(payload)
        elif reply.error is not None:
            text = f"{reply.error.get('code', '')} {str(reply.error.get('msg', ''))[:120]}".strip()
            answer.set_exception(VenueUnavailable(f"binance refused a subscription: {text}"))
        else:
            answer.set_result(None)

    def on_lost(self, reason: str) -> None:
        """Hear that the socket broke."""
        self._active.clear()
        self._confirmed.clear()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(VenueUnavailable(f"the socket broke before the venue answered: {reason}"))
        self._lost(list(self._wanted), reason)

    async def _tell(self, send: Send, method: str, names: list[str]) -> None:
        """Send one message about streams and wait for its answer."""
        wait_s = (self._next_ns - self._clock.now_ns()) / NS_PER_S
        self._next_ns = max(self._next_ns, self._clock.now_ns()) + int(self._gap_s * NS_PER_S)
        if wait_s > 0:
            await sleep(self._clock, wait_s)
        self._count += 1
        number = self._count
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        late = self._clock.call_later(_ANSWER_S, self._unanswered, answer)
        try:
            await send(msgspec.json.encode({"method": method, "params": names, "id": number}).decode())
            await answer
        finally:
            late.cancel()
            del self._answers[number]
        if method == "SUBSCRIBE":
            fresh = [name for name in names if name in self._wanted]
            self._confirmed.update(fresh)
            self._on_subscribed(fresh)

    def _unanswered(self, answer: asyncio.Future[None]) -> None:
        """Open the socket anew when the venue does not answer: whether it sends the streams is not known."""
        if not answer.done():
            text = f"no answer to a subscription within {_ANSWER_S:.0f} s"
            answer.set_exception(VenueUnavailable(text))
            if self.client is not None:
                self.client.reconnect(text)

    def _plan(self) -> None:
        if self.client is not None and self._flush is None:
            self._flush = self._clock.call_later(0.0, self._send_changes)

    def _send_changes(self) -> None:
        """Tell the venue what changed since the last time, when the socket is open; a new one is told everything."""
        self._flush = None
        client = self.client
        if client is None or not self._is_open(client):
            return
        new = [name for name in self._wanted if name not in self._active]
        old = [name for name in self._active if name not in self._wanted]
        self._active = set(self._wanted)
        self._confirmed.difference_update(old)
        for method, names in (("UNSUBSCRIBE", old), ("SUBSCRIBE", new)):
            for at in range(0, len(names), _NAMES_A_MESSAGE):
                part = names[at : at + _NAMES_A_MESSAGE]
                task = asyncio.get_running_loop().create_task(
                    self._change(client, method, part), name=f"binance {method.lower()}"
                )
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _change(self, client: WsClient, method: str, names: list[str]) -> None:
        try:
            await self._tell(client.send, method, names)
        except VenueUnavailable as error:
            self._log("warning", f"binance: {method.lower()} {', '.join(names[:3])}: {error}")

    @staticmethod
    def _is_open(client: WsClient) -> bool:
        return client.status.state.value in ("live", "syncing")


def _is_market(payload: bytes) -> bool:
    """Return whether a message is a stream's, not an answer to us."""
    return payload.startswith(b'{"stream"')


class StreamPool:
    """The sockets of one route: another is opened when one carries as many streams as the venue allows.

    Args:
        route: Name of its links.
        url: Its address.
        product: Its limits.
        setup: The driver's setup.
        silence_s: Longest time without a market message while something is subscribed.
        on_payload: Takes each market message.
        on_subscribed: Called with streams that the venue has confirmed.
        on_lost: Called with the streams of a socket that broke, and the reason.
    """

    def __init__(
        self,
        route: str,
        url: str,
        product: Product,
        setup: VenueSetup,
        silence_s: float,
        on_payload: Callable[[bytes], None],
        on_subscribed: Callable[[list[str]], None],
        on_lost: Callable[[list[str], str], None],
    ) -> None:
        self._route = route
        self._url = url
        self._product = product
        self._setup = setup
        self._silence_s = silence_s
        self._handlers = (on_payload, on_subscribed, on_lost)
        self._sockets: list[StreamSocket] = []
        self._started = False

    def start(self) -> None:
        """Open a socket at once, so that the first subscription need not wait for it."""
        self._started = True
        if not self._sockets:
            self._open()
        for socket in self._sockets:
            self._connect(socket)

    async def stop(self) -> None:
        """Close all sockets."""
        self._started = False
        sockets, self._sockets = self._sockets, []
        for socket in sockets:
            socket.stop()
            if socket.client is not None:
                await socket.client.stop()

    async def wait_live(self, timeout_s: float) -> None:
        """Wait until the sockets are open; raises `VenueUnavailable` when that takes too long."""
        for socket in self._sockets:
            if socket.client is not None:
                await socket.client.wait_live(timeout_s)

    def links(self) -> Iterable[LinkStatus]:
        """Return the state of every socket."""
        return [socket.client.status for socket in self._sockets if socket.client is not None]

    def add(self, stream: str) -> None:
        """Subscribe to a stream."""
        most: int = self._product.limits["streams_per_connection"]
        if any(stream in socket for socket in self._sockets):
            return
        free = next((socket for socket in self._sockets if len(socket) < most), None)
        (self._open() if free is None else free).add(stream)

    def remove(self, stream: str) -> None:
        """Unsubscribe from a stream."""
        for socket in self._sockets:
            if stream in socket:
                socket.remove(stream)

    def is_confirmed(self, stream: str) -> bool:
        """Return whether the venue sends a stream now."""
        return any(socket.is_confirmed(stream) for socket in self._sockets)

    def _open(self) -> StreamSocket:
        socket = StreamSocket(self._product, self._setup, *self._handlers)
        self._sockets.append(socket)
        if self._started:
            self._connect(socket)
        return socket

    def _connect(self, socket: StreamSocket) -> None:
        if socket.client is not None:
            return
        setup, number = self._setup, self._sockets.index(socket) + 1
        policy = WsPolicy(
            content_silence_s=self._silence_s,
            expects_data=lambda: socket.expects_data,
            max_age_s=MAX_AGE_S,
            from_one=_is_market,
        )
        name = self._route if number == 1 else f"{self._route} {number}"
        socket.client = WsClient(
            name, self._url, socket, setup.clock, setup.rng.fork(name), policy, ssl=setup.ssl, log=setup.log
        )
        socket.client.start()
