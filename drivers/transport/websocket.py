"""One lasting WebSocket to a venue: connects, logs in, subscribes again, notices silence, backs off, never leaks."""

from __future__ import annotations

import asyncio
import ssl as tls
import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Protocol

from websockets.exceptions import ConnectionClosed

from drivers.transport.lasting import LastingTask
from drivers.transport.setup import Log, log_to_python
from drivers.transport.ws_link import Link, WsPolicy, close_words, open_socket, shut
from engine.kernel.clock import NS_PER_MS, NS_PER_S, Clock, Rng, TimerHandle, sleep
from engine.kernel.errors import AuthError, CtosError, VenueUnavailable
from engine.kernel.links import LinkState, LinkStatus

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.25, 30.0
UNREACHED_BACKOFF_S = 3.0
"""Longest pause while no connection comes about: that does not burden the venue, and the link may be back any time."""
STABLE_S = 60.0
"""A connection that lasted so long sets the back-off to its beginning."""

_MESSAGES_A_TURN = 32
"""How many messages are handled before everything else gets its turn."""

Send = Callable[[str], Awaitable[None]]


class WsHandler(Protocol):
    """Who speaks over the socket."""

    async def on_open(self, send: Send) -> None:
        """Log in and subscribe on a new connection, through `send`; messages come to `on_message` meanwhile.

        It is called without an `on_lost` before it when a connection is replaced before the venue ends it. A
        `CtosError` closes the connection and it is tried again later; an `AuthError` as seldom as possible.
        """

    def on_message(self, payload: bytes) -> None:
        """Take a message."""

    def on_lost(self, reason: str) -> None:
        """Hear that the connection broke or fell silent, in the tick in which that was noticed; once a connection.

        Not called by `stop`.
        """


class WsClient:
    """Keeps a socket open until it is stopped.

    Args:
        name: What it carries, for `LinkStatus`: `public`, `private` ...
        url: Its address, or a call that gets one for each connection (Binance's listen keys).
        handler: Who speaks over it.
        clock: Time and timers.
        rng: Jitter of the back-off.
        policy: How it is kept alive.
        ssl: TLS settings; None for the system's trust.
        log: Takes lines for the operator.
    """

    def __init__(
        self,
        name: str,
        url: str | Callable[[], Awaitable[str]],
        handler: WsHandler,
        clock: Clock,
        rng: Rng,
        policy: WsPolicy,
        *,
        ssl: tls.SSLContext | None = None,
        log: Log = log_to_python,
    ) -> None:
        self._name = name
        self._url = url
        self._handler = handler
        self._clock = clock
        self._rng = rng
        self._policy = policy
        self._ssl = ssl
        self._log = log
        self._link: Link | None = None
        self._told_lost = True
        self._failures = 0
        self._task = LastingTask(f"websocket {name}", self._run, clock, lambda: self._lose("its task ended"))
        self._closing: set[asyncio.Task[None]] = set()
        self._watch: TimerHandle | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self._refused: CtosError | None = None
        self._status = LinkStatus(name, LinkState.DOWN, clock.now_ns(), detail="not started")

    @property
    def status(self) -> LinkStatus:
        """Return how far the connection can be trusted."""
        return self._status

    def start(self) -> None:
        """Begin to connect; does nothing when that was done."""
        self._task.start()

    async def stop(self) -> None:
        """Close the connection and stay closed; wins over everything else."""
        await self._task.stop()
        self._told_lost = True
        self._lose("stopped")
        if self._closing:
            await asyncio.wait(list(self._closing))
        self._set_status(LinkState.DOWN, "stopped")
        self._fail_waiters(VenueUnavailable(f"{self._name} socket: stopped"))

    def reconnect(self, reason: str) -> None:
        """Give the present connection up and open another; nothing when there is none."""
        if self._link is not None:
            self._lose(reason)

    async def send(self, text: str) -> None:
        """Send a message over the present connection.

        Raises:
            VenueUnavailable: There is no connection, or it broke; the message may have left in the second case only.
        """
        link = self._link
        if link is None or link.lost.done():
            raise VenueUnavailable(f"{self._name} socket: not connected; nothing was sent", unsent=True)
        await self._send_over(link, text)

    async def wait_live(self, timeout_s: float) -> None:
        """Wait until the connection is open, logged in and subscribed.

        Raises:
            AuthError: The venue refused the key.
            VenueUnavailable: It took longer than `timeout_s`.
        """
        if self._status.state is LinkState.LIVE:
            return
        if isinstance(self._refused, AuthError):
            raise self._refused
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def too_late() -> None:
            if not waiter.done():
                detail = self._status.detail or self._status.state.value
                text = f"{self._name} socket: not live within {timeout_s:.0f} s: {detail}"
                waiter.set_exception(VenueUnavailable(text))

        timer = self._clock.call_later(timeout_s, too_late)
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiters.discard(waiter)

    async def _run(self) -> None:
        """Connect, stay, and come again after the back-off."""
        link: Link | None = None
        while True:
            if link is None:
                self._set_status(LinkState.CONNECTING, self._status.detail)
                link = await self._try_open(replacing=None)
            if link is None:
                continue
            reason = await self._stay(link)
            if reason is None:
                following = await self._try_open(replacing=link)
                if following is not None:
                    link = following
                continue
            lasted_s = (self._clock.now_ns() - link.opened_ns) / NS_PER_S
            link = None
            if lasted_s >= STABLE_S:
                self._failures = 0
            await self._back_off(reason)

    async def _stay(self, link: Link) -> str | None:
        """Return why the connection was lost, None when it is time for another to take over."""
        age_s = self._policy.max_age_s
        if age_s is None:
            return await asyncio.shield(link.lost)
        too_old: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self._clock.call_at(link.opened_ns + int(age_s * NS_PER_S), _set, too_old)
        try:
            await _first(too_old, link.lost)
        finally:
            timer.cancel()
        return link.lost.result() if link.lost.done() else None

    async def _try_open(self, replacing: Link | None) -> Link | None:
        """Return a connection that is logged in and subscribed; None after a failure and its back-off."""
        link: Link | None = None
        try:
            url = self._url if isinstance(self._url, str) else await self._url()
            socket = await open_socket(url, self._policy, self._ssl)
            link = Link(socket, self._clock.now_ns(), waits=replacing is not None)
            name = f"websocket {self._name} reader"
            link.reader = asyncio.get_running_loop().create_task(self._read(link), name=name)
            if replacing is None:
                self._link = link
                self._told_lost = False
                self._set_status(LinkState.SYNCING, "logging in and subscribing")
            await self._log_in(link)
            if replacing is not None and replacing.lost.done():
                # The handler heard of the loss after it had begun here: it has to begin anew.
                raise VenueUnavailable(replacing.lost.result())
        except CtosError as error:
            await self._failed(link, replacing, error)
            return None
        except Exception as error:
            context = {"message": f"{self._name} socket: log-in and subscription failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
            text = f"log-in and subscription failed: {type(error).__name__}"
            await self._failed(link, replacing, VenueUnavailable(text))
            return None
        except asyncio.CancelledError:
            if link is not None and replacing is not None:
                self._close(link)
            raise
        self._refused = None
        self._link = link
        if replacing is not None:
            link.waits = False
            self._close(replacing)
        elif self._failures:
            self._log("info", f"{self._name} socket: live again")
        self._plan_watch()
        self._set_status(LinkState.LIVE)
        for waiter in self._waiters:
            _set(waiter)
        return link

    async def _failed(self, link: Link | None, replacing: Link | None, error: CtosError) -> None:
        if replacing is not None:
            if link is not None:
                self._close(link)
            if not replacing.lost.done():
                self._log("warning", f"{self._name} socket: no connection to take over: {error}")
                await self._back_off(str(error), during=replacing)
            return
        if isinstance(error, AuthError):
            self._refused = error
            self._fail_waiters(error)
            self._failures = 32
        self._lose(str(error))
        longest_s = UNREACHED_BACKOFF_S if error.unsent else LONGEST_BACKOFF_S
        await self._back_off(str(error), longest_s=longest_s)

    async def _log_in(self, link: Link) -> None:
        """Let the handler speak first; ends when it is done, when the connection breaks, or when it takes too long."""

        async def send(text: str) -> None:
            await self._send_over(link, text)

        async def opening() -> None:
            await self._handler.on_open(send)

        limit_s = self._policy.open_timeout_s
        login = asyncio.get_running_loop().create_task(opening(), name=f"websocket {self._name} login")
        too_late = self._clock.call_later(limit_s, link.lose, f"no login and subscription within {limit_s:.0f} s")
        try:
            await _first(login, link.lost)
        finally:
            too_late.cancel()
            if not login.done():
                login.cancel()
                await asyncio.wait([login])
        if not login.cancelled():
            login.result()
        if link.lost.done():
            raise VenueUnavailable(link.lost.result())

    async def _read(self, link: Link) -> None:
        socket, policy, clock = link.socket, self._policy, self._clock
        pong = b"pong" if policy.ping_text is not None else None
        count = 0
        try:
            while not link.lost.done():
                payload = await socket.recv(decode=False)
                count += 1
                if not count % _MESSAGES_A_TURN:
                    await _next_turn()  # what is queued already comes without a turn of the loop
                link.frame_ns = now_ns = clock.now_ns()
                if payload == pong:
                    self._answered(link)
                    continue
                link.content_ns = now_ns
                if link.heard and not (link.waits and policy.from_one(payload)):
                    self._handler.on_message(payload)
        except ConnectionClosed as closed:
            self._broke(link, close_words(closed))
        except Exception as error:
            context = {"message": f"{self._name} socket: a message could not be handled", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
            self._broke(link, f"a message could not be handled: {type(error).__name__}")

    def _broke(self, link: Link, reason: str) -> None:
        """A connection ended: tell it when it is the one in use."""
        if link is self._link:
            self._lose(reason)
        else:
            link.lose(reason)

    def _lose(self, reason: str) -> None:
        link, self._link = self._link, None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if link is None:
            return
        link.heard = False
        link.lose(reason)
        self._set_status(LinkState.STALE, reason)
        self._close(link)
        if not self._told_lost:
            self._told_lost = True
            self._handler.on_lost(reason)

    def _close(self, link: Link) -> None:
        """Close a connection in the background; it is not heard any more."""
        link.heard = False
        link.lose("closed")
        task = asyncio.get_running_loop().create_task(shut(link), name=f"websocket {self._name} closing")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _plan_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self._clock.call_later(self._watch_s(), self._look)

    def _watch_s(self) -> float:
        silences = [self._policy.transport_silence_s, self._policy.ping_every_s]
        if self._policy.content_silence_s is not None:
            silences.append(self._policy.content_silence_s)
        return min(1.0, min(silences) / 4)

    def _look(self) -> None:
        """Ping when it is time, and lose a connection that is silent for too long."""
        link, policy, now_ns = self._link, self._policy, self._clock.now_ns()
        self._watch = None
        if link is None:
            return
        if now_ns - link.frame_ns > policy.transport_silence_s * NS_PER_S:
            self._lose(f"no answer to pings for {policy.transport_silence_s:.0f} s")
            return
        if not policy.expects_data():
            link.content_ns = now_ns
        elif policy.content_silence_s is not None and now_ns - link.content_ns > policy.content_silence_s * NS_PER_S:
            self._lose(f"no data for {policy.content_silence_s:.0f} s")
            return
        if now_ns - link.ping_sent_ns >= policy.ping_every_s * NS_PER_S:
            link.ping_sent_ns = now_ns
            task = asyncio.get_running_loop().create_task(self._ping(link), name=f"websocket {self._name} ping")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        self._plan_watch()

    async def _ping(self, link: Link) -> None:
        try:
            if self._policy.ping_text is not None:
                await link.socket.send(self._policy.ping_text)
                return
            pong = asyncio.ensure_future(await link.socket.ping())
            await _first(pong, link.lost)
            if pong.done() and not pong.cancelled() and pong.exception() is None:
                link.frame_ns = self._clock.now_ns()
                self._answered(link)
        except ConnectionClosed as closed:
            self._broke(link, close_words(closed))

    def _answered(self, link: Link) -> None:
        if link is self._link:
            rtt_ms = (self._clock.now_ns() - link.ping_sent_ns) / NS_PER_MS
            self._status = LinkStatus(
                self._name, self._status.state, self._status.since_ns, rtt_ms, self._status.detail
            )

    async def _send_over(self, link: Link, text: str) -> None:
        try:
            await link.socket.send(text)
        except ConnectionClosed as closed:
            raise VenueUnavailable(f"{self._name} socket: {close_words(closed)}") from closed

    async def _back_off(self, reason: str, during: Link | None = None, longest_s: float = LONGEST_BACKOFF_S) -> None:
        most_s = min(longest_s, FIRST_BACKOFF_S * 2**self._failures)
        if most_s < longest_s:  # many tries to reach the venue must not make the first loss after them a long one
            self._failures += 1
        wait_s = most_s * self._rng.uniform(0.5, 1.0)
        if during is None:
            down = isinstance(self._refused, AuthError) or self._failures > 3
            state = LinkState.DOWN if down else LinkState.CONNECTING
            self._set_status(state, f"{reason}; next try in {wait_s:.1f} s")
            self._log("warning", f"{self._name} socket: {reason}; next try in {wait_s:.1f} s")
            await sleep(self._clock, wait_s)
            return
        waited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self._clock.call_later(wait_s, _set, waited)
        try:
            await _first(waited, during.lost)
        finally:
            timer.cancel()

    def _fail_waiters(self, error: CtosError) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(error)

    def _set_status(self, state: LinkState, detail: str = "") -> None:
        before = self._status
        since_ns = before.since_ns if before.state is state else self._clock.now_ns()
        self._status = LinkStatus(self._name, state, since_ns, before.rtt_ms, detail)


@types.coroutine
def _next_turn() -> Generator[None, None, None]:
    """Let everything else that is ready run first."""
    yield


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _first(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
