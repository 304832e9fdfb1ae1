"""The public streams of the driver: which channels a topic needs, and how a book gets its snapshot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from drivers.okx.feed import Feed
from drivers.okx.public import PublicSocket
from drivers.okx.rest import OkxRest
from drivers.okx.symbols import native_symbol
from drivers.okx.wire import BARS, Arg, BookRow, Push
from drivers.transport.line_decoder import NONSENSE, Undecodable, reason_of, unparsed
from drivers.transport.setup import join_ws
from drivers.transport.venue_driver import Topic, VenueDriver
from engine.kernel.clock import NS_PER_S, TimerHandle
from engine.kernel.errors import CtosError, UnknownSymbol
from engine.kernel.links import LinkStatus

SNAPSHOT_WAIT_S = 3.0
"""The channel sends its snapshot at once; when it does not, the REST snapshot takes its place."""
BOOK_SILENCE_S = 75.0
"""A book without changes says so about once a minute; one that says nothing for longer is not sent any more."""
_LOOK_S = 5.0
_BOOK = "books"


class MarketStreams:
    """Follows topics over the public and the business socket (candles).

    Args:
        driver: The driver whose topics and books these are.
        rest: For snapshots.
        feed: Turns messages into events.
        is_recorded: Whether somebody records the messages.
    """

    def __init__(self, driver: VenueDriver, rest: OkxRest, feed: Feed, is_recorded: Callable[[], bool]) -> None:
        self._driver = driver
        self._is_recorded = is_recorded
        self._rest = rest
        self._feed = feed
        self._snapshot_timers: dict[str, TimerHandle] = {}
        self._recorded: set[str] = set()
        self._heard_ns: dict[str, int] = {}
        self._watch: TimerHandle | None = None
        self.instrument_rows: dict[str, bytes] = {}
        hosts = driver.setup.hosts
        public_url = join_ws(hosts["ws_public_url"], "/ws/v5/public")
        default_business = public_url.removesuffix("/public") + "/business"
        business_url = join_ws(hosts.get("ws_business_url", default_business), "/ws/v5/business")
        self._public = PublicSocket(
            "public", public_url, driver, self._on_push, self._on_subscribed, self._on_public_lost
        )
        self._business = PublicSocket(
            "business", business_url, driver, self._on_push, self._on_subscribed, self._on_business_lost
        )

    def follow(self, topic: Topic) -> None:
        """Subscribe to a topic's channels."""
        self._socket(topic).subscribe(channels(topic))

    def unfollow(self, topic: Topic) -> None:
        """Unsubscribe from a topic's channels."""
        self._socket(topic).unsubscribe(channels(topic))
        if topic.kind == "book":
            native = native_symbol(topic.symbol)
            self._feed.lose_book(native)
            self._heard_ns.pop(native, None)
            self._drop_timer(native)

    def resync(self, symbol: str) -> None:
        """Ask for one book anew; the others are not touched."""
        native = native_symbol(symbol)
        self._feed.lose_book(native)
        self._public.renew(Arg(_BOOK, native))

    def begin_record(self) -> None:
        """Tell contract sizes anew, before the first message of each swap: somebody begins to record."""
        self._recorded.clear()

    def links(self) -> list[LinkStatus]:
        """Return the state of the sockets that are in use."""
        return [socket.client.status for socket in (self._public, self._business) if socket.started]

    async def stop(self) -> None:
        """Close both sockets."""
        for native in list(self._snapshot_timers):
            self._drop_timer(native)
        if self._watch is not None:
            self._watch.cancel()
        await self._public.client.stop()
        await self._business.client.stop()

    def _socket(self, topic: Topic) -> PublicSocket:
        return self._business if topic.kind == "klines" else self._public

    def _on_push(self, payload: bytes, push: Push[Any]) -> None:
        driver = self._driver
        if push.arg.channel == _BOOK and push.arg.instId in self._heard_ns:
            self._heard_ns[push.arg.instId] = driver.clock.now_ns()
        if self._is_recorded():
            self._record(payload, push.arg.instId)
        try:
            events = self._feed.events(push, driver.clock.now_ms())
        except (Undecodable, UnknownSymbol, *NONSENSE) as error:
            driver.on_market([unparsed(payload, reason_of(error), driver.clock.now_ms())])
            return
        driver.on_market(events)  # type: ignore[arg-type]  # public channels lead to market events only

    def _record(self, payload: bytes, native: str) -> None:
        """Pass a message on to who records; what tells its contract size goes before the first one of a swap."""
        if native not in self._recorded:
            self._recorded.add(native)
            row = self.instrument_rows.get(native)
            if row is not None:
                self._driver.on_raw(b'{"code":"0","msg":"","data":[' + row + b"]}")
        self._driver.on_raw(payload)

    def _on_subscribed(self, args: list[Arg]) -> None:
        for arg in args:
            if arg.channel == _BOOK:
                self._heard_ns[arg.instId] = self._driver.clock.now_ns()
                if self._watch is None:
                    self._watch = self._driver.clock.call_later(_LOOK_S, self._look)
                self._drop_timer(arg.instId)
                self._snapshot_timers[arg.instId] = self._driver.clock.call_later(
                    SNAPSHOT_WAIT_S, self._ask_snapshot, arg.instId
                )

    def _look(self) -> None:
        """Lose the books that fell silent, though their socket lives."""
        clock = self._driver.clock
        self._watch = clock.call_later(_LOOK_S, self._look)
        for native, heard_ns in list(self._heard_ns.items()):
            silent_s = (clock.now_ns() - heard_ns) / NS_PER_S
            if silent_s > BOOK_SILENCE_S and self._feed.is_synced(native):
                symbol = self._feed.contracts.get(native).symbol
                self._driver.books.lose(symbol, f"no message of the book for {silent_s:.0f} s")

    def _ask_snapshot(self, native: str) -> None:
        del self._snapshot_timers[native]
        if not self._feed.is_synced(native):
            self._driver.in_background(self._fetch_snapshot(native), f"snapshot {native}")

    async def _fetch_snapshot(self, native: str) -> None:
        driver = self._driver
        symbol = self._feed.contracts.get(native).symbol
        try:
            reply = await self._rest.get_raw(
                "/market/books", "books", instId=native, sz=driver.arch.limits["book_levels"]
            )
            rows = self._rest.rows(reply, BookRow, f"book of {native}")
        except CtosError as error:
            driver.books.lose(symbol, f"no snapshot: {error}")
            return
        if not rows or not driver.topics.has(Topic("book", symbol)):
            return
        if self._is_recorded():
            self._record(reply.body, native)
        driver.on_market(self._feed.rest_book(native, rows[0]))

    def _on_public_lost(self, reason: str) -> None:
        for native in list(self._snapshot_timers):
            self._drop_timer(native)
        self._heard_ns.clear()
        self._feed.lose_books()
        self._driver.books.lose_all(reason)

    def _on_business_lost(self, reason: str) -> None:
        """Candles need no snapshot: the socket subscribes again when it is open."""

    def _drop_timer(self, native: str) -> None:
        timer = self._snapshot_timers.pop(native, None)
        if timer is not None:
            timer.cancel()


def channels(topic: Topic) -> list[Arg]:
    """Return the channels that a topic needs."""
    native = native_symbol(topic.symbol)
    if topic.kind == "book":
        return [Arg(_BOOK, native)]
    if topic.kind == "trades":
        return [Arg("trades", native)]
    if topic.kind == "klines":
        return [Arg(f"candle{BARS[topic.timeframe]}", native)]
    touch = [Arg("bbo-tbt", native), Arg("tickers", native)]
    pair = native.removesuffix("-SWAP")
    if pair == native:
        return touch
    return [*touch, Arg("index-tickers", pair), Arg("mark-price", native), Arg("funding-rate", native)]
