"""The public data of both interfaces, live: sockets, decoding, books."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from drivers.binance.hosts import Endpoints
from drivers.binance.market_messages import MarketMessages
from drivers.binance.products import PERP
from drivers.binance.products import SPOT as SPOT_PRODUCT
from drivers.binance.rest import Rest
from drivers.binance.signer import Params
from drivers.binance.streams import MARKET, PUBLIC, SPOT, StreamPool, depth_native, quotes_native, streams_of
from drivers.binance.wire import BookTickerRow
from drivers.transport.line_decoder import NONSENSE, Undecodable, reason_of, understanding, unparsed
from drivers.transport.rate_limits import Urgency
from drivers.transport.setup import VenueSetup
from drivers.transport.venue_driver import Topic
from engine.kernel.errors import UnknownSymbol, VenueError
from engine.kernel.instruments import Instrument, InstrumentKind
from engine.kernel.links import LinkStatus
from engine.kernel.market import MarketEvent

_SILENCE_S = {PUBLIC: 60.0, MARKET: 20.0, SPOT: 60.0}
"""Mark prices come every second, so that their route is noticed sooner when it falls silent."""


class PublicData:
    """Streams what is subscribed.

    Args:
        rests: The two interfaces, for the books' snapshots.
        endpoints: Addresses.
        setup: The driver's setup.
        by_native: Returns the instrument of a native symbol, None for one that is not listed.
        on_market: Takes the events of a message.
        on_raw: Takes each raw message.
        on_book_lost: Called with (symbol, reason) when a book broke or could not be had.
        run: Runs a coroutine in the background.
    """

    def __init__(
        self,
        rests: dict[InstrumentKind, Rest],
        endpoints: Endpoints,
        setup: VenueSetup,
        by_native: Callable[[InstrumentKind, str], Instrument | None],
        on_market: Callable[[list[MarketEvent]], None],
        on_raw: Callable[[bytes], None],
        on_book_lost: Callable[[str, str], None],
        run: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self._rests = rests
        self._by_native = by_native
        self._on_market = on_market
        self._on_raw = on_raw
        self._on_book_lost = on_book_lost
        self._run = run
        self._log = setup.log
        self._fetching: set[str] = set()
        self._funding_h: dict[str, int] = {}
        self._messages = {kind: MarketMessages(kind, True, self._period_h) for kind in InstrumentKind}
        routes = ((PUBLIC, endpoints.perp_public), (MARKET, endpoints.perp_market), (SPOT, endpoints.spot_public))
        self._pools: dict[str, StreamPool] = {}
        for route, url in routes:
            product = SPOT_PRODUCT if route == SPOT else PERP
            self._pools[route] = StreamPool(
                route,
                url,
                product,
                setup,
                _SILENCE_S[route],
                partial(self._on_payload, product.kind),
                partial(self._on_subscribed, product.kind),
                partial(self._on_lost, product.kind),
            )

    async def start(self, timeout_s: float) -> None:
        """Open the sockets; returns when they are open."""
        for pool in self._pools.values():
            pool.start()
        await asyncio.gather(*(pool.wait_live(timeout_s) for pool in self._pools.values()))

    async def stop(self) -> None:
        """Close the sockets."""
        await asyncio.gather(*(pool.stop() for pool in self._pools.values()))

    def links(self) -> list[LinkStatus]:
        """Return the state of every socket."""
        return [link for pool in self._pools.values() for link in pool.links()]

    def follow(self, topic: Topic, instrument: Instrument) -> None:
        """Subscribe to what a topic needs."""
        self._funding_h[instrument.symbol] = instrument.funding_period_h
        for route, stream in streams_of(topic, instrument):
            self._pools[route].add(stream)

    def unfollow(self, topic: Topic, instrument: Instrument) -> None:
        """Unsubscribe from what a topic needed."""
        for route, stream in streams_of(topic, instrument):
            self._pools[route].remove(stream)
        if topic.kind == "book":
            self._messages[instrument.kind].lose(instrument.native)

    def resync(self, instrument: Instrument) -> None:
        """Ask for an instrument's book anew, if its stream is subscribed: else that is done when it will be."""
        (route, stream), *_ = streams_of(Topic("book", instrument.symbol), instrument)
        if not self._pools[route].is_confirmed(stream):
            return
        messages = self._messages[instrument.kind]
        if messages.is_synced(instrument.native):
            messages.lose(instrument.native)
        self._fetch_later(instrument)

    def _period_h(self, symbol: str) -> int:
        return self._funding_h.get(symbol, 8)

    def _on_payload(self, kind: InstrumentKind, payload: bytes) -> None:
        self._on_raw(payload)
        try:
            events = self._messages[kind].take(payload, None)[1]
        except (Undecodable, UnknownSymbol, *NONSENSE) as error:
            events = [unparsed(payload, reason_of(error))]
        if events:
            self._on_market(events)

    def _on_subscribed(self, kind: InstrumentKind, streams: list[str]) -> None:
        for instrument in self._listed(kind, map(depth_native, streams)):
            self._fetch_later(instrument)
        for instrument in self._listed(kind, map(quotes_native, streams)):
            self._messages[kind].await_quote(instrument.native)
            self._run(self._fetch_quote(instrument), f"quote of {instrument.symbol}")

    def _on_lost(self, kind: InstrumentKind, streams: list[str], reason: str) -> None:
        for instrument in self._listed(kind, map(depth_native, streams)):
            self._messages[kind].lose(instrument.native)
            self._on_book_lost(instrument.symbol, reason)

    def _listed(self, kind: InstrumentKind, natives: Iterable[str | None]) -> list[Instrument]:
        listed = [self._by_native(kind, native) for native in natives if native is not None]
        return [instrument for instrument in listed if instrument is not None]

    def _fetch_later(self, instrument: Instrument) -> None:
        if instrument.symbol not in self._fetching:
            self._fetching.add(instrument.symbol)
            self._run(self._fetch(instrument), f"book of {instrument.symbol}")

    async def _fetch(self, instrument: Instrument) -> None:
        """Fetch the snapshot that makes a subscribed book complete; a failure is tried again later."""
        rest = self._rests[instrument.kind]
        levels: int = rest.product.limits["depth_snapshot_levels"]
        params: Params = {"symbol": instrument.native, "limit": levels}
        weight = rest.product.depth_weight(levels)
        try:
            reply = await rest.fetch("depth", params, weight=weight, urgency=Urgency.QUERY)
            self._on_raw(reply.body)
            events = self._messages[instrument.kind].take_snapshot(instrument.native, reply.body)
        except VenueError as error:
            self._on_book_lost(instrument.symbol, f"the book could not be fetched: {error}")
        except (Undecodable, *NONSENSE) as error:
            self._on_book_lost(instrument.symbol, f"the book could not be read: {reason_of(error)}")
        else:
            self._on_market(events)
        finally:
            self._fetching.discard(instrument.symbol)

    async def _fetch_quote(self, instrument: Instrument) -> None:
        """Fetch the best bid and ask, which the stream tells when they change: in a quiet market that takes long."""
        rest, native = self._rests[instrument.kind], instrument.native
        try:
            row = await rest.get("ticker/bookTicker", {"symbol": native}, BookTickerRow, weight=2)
            with understanding(f"binance: first quote of {instrument.symbol}"):
                events = self._messages[instrument.kind].first_quote(native, row, rest.time.now_ms())
        except VenueError as error:
            self._log("debug", f"binance: the first quote of {instrument.symbol} comes with the stream: {error}")
            return
        self._on_market(events)
