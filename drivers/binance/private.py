"""The account's side of both interfaces: streams, and which interface the key may use at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

from drivers.binance.account import Wallets
from drivers.binance.account_messages import news
from drivers.binance.account_streams import FuturesAccountStream, SpotAccountStream, StreamHealth
from drivers.binance.events import AccountConfigUpdate, AccountMessage, AccountUpdate, OrderTradeUpdate
from drivers.binance.fills import AccountFills
from drivers.binance.hosts import Endpoints
from drivers.binance.orders import OrderNotes
from drivers.binance.rest import Rest
from drivers.binance.streams import MAX_AGE_S
from drivers.binance.trade_socket import SocketCalls, TradeSocket
from drivers.transport.line_decoder import NONSENSE, Undecodable, reason_of
from drivers.transport.setup import VenueSetup
from drivers.transport.websocket import WsClient, WsHandler, WsPolicy
from engine.kernel.account import Balance, unreadable
from engine.kernel.errors import UnknownSymbol
from engine.kernel.instruments import Instrument, InstrumentKind
from engine.kernel.links import LinkStatus
from engine.kernel.orders import Fill, OrderUpdate
from engine.kernel.syscalls import AccountEvent

PERP, SPOT = InstrumentKind.PERP, InstrumentKind.SPOT


class PrivateData:
    """Streams the account's events, and carries orders over sockets where that is wanted.

    Args:
        rests: The two interfaces.
        endpoints: Addresses.
        setup: The driver's setup.
        by_native: Returns the instrument of a native symbol, None for one that is not listed.
        leverages: Leverage by canonical symbol; kept current here.
        wallets: The wallets; kept current here.
        notes: What is known of orders; kept current here.
        fills: Hears in which symbols something happened.
        publish: Takes the account's events.
        run: Runs a coroutine in the background.
    """

    def __init__(
        self,
        rests: dict[InstrumentKind, Rest],
        endpoints: Endpoints,
        setup: VenueSetup,
        by_native: Callable[[InstrumentKind, str], Instrument | None],
        leverages: dict[str, Decimal],
        wallets: Wallets,
        notes: OrderNotes,
        fills: AccountFills,
        publish: Callable[[AccountEvent], None],
        run: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self._rests = rests
        self._endpoints = endpoints
        self._setup = setup
        self._by_native = by_native
        self._leverages = leverages
        self._wallets = wallets
        self._notes = notes
        self._fills = fills
        self._publish = publish
        self._run = run
        self._health = StreamHealth(publish)
        self._clients: list[WsClient] = []
        self._futures: FuturesAccountStream | None = None
        self._strange: set[str] = set()
        self.trade_sockets: dict[InstrumentKind, tuple[TradeSocket, WsClient]] = {}

    async def start(self, kinds: list[InstrumentKind], timeout_s: float) -> None:
        """Open the streams of the interfaces that the key may use; returns when they are subscribed.

        Raises:
            AuthError: The key was refused.
            VenueUnavailable: It takes too long.
        """
        if PERP in kinds:
            stream = FuturesAccountStream(
                self._rests[PERP], self._endpoints.perp_private, self._setup, self._on_event, self._health, self._run
            )
            self._futures = stream
            stream.client = self._open("private", stream.url, stream)
        if SPOT in kinds:
            calls = SocketCalls(self._rests[SPOT], self._setup.clock)
            spot = SpotAccountStream(calls, self._setup.log, self._on_event, self._health)
            spot.client = self._open("private spot", self._unless_banned(SPOT, self._endpoints.spot_private), spot)
        if self._setup.trade_over_ws:
            urls = {PERP: self._endpoints.perp_trade, SPOT: self._endpoints.spot_trade}
            for kind in kinds:
                handler = TradeSocket(SocketCalls(self._rests[kind], self._setup.clock), self._setup.log)
                name = "trade" if kind is PERP else "trade spot"
                self.trade_sockets[kind] = handler, self._open(name, self._unless_banned(kind, urls[kind]), handler)
        await asyncio.gather(*(client.wait_live(timeout_s) for client in self._clients))

    async def stop(self) -> None:
        """Close the streams."""
        if self._futures is not None:
            self._futures.stop()
        clients, self._clients = self._clients, []
        self.trade_sockets.clear()
        await asyncio.gather(*(client.stop() for client in clients))

    def links(self) -> list[LinkStatus]:
        """Return the state of every socket."""
        return [client.status for client in self._clients]

    def named(self, native: str, kind: InstrumentKind) -> Instrument:
        """Return the instrument of a native symbol; raises `UnknownSymbol`."""
        instrument = self._by_native(kind, native)
        if instrument is None:
            raise UnknownSymbol(f"{native!r} is not listed on binance {kind.value}")
        return instrument

    def _unless_banned(self, kind: InstrumentKind, url: str) -> Callable[[], Coroutine[Any, Any, str]]:
        """Return what tells a socket its address: during a ban it is not even asked for a connection."""

        async def address() -> str:
            self._rests[kind].limiter.refuse_if_banned()
            return url

        return address

    def _open(self, name: str, url: Callable[[], Coroutine[Any, Any, str]], handler: WsHandler) -> WsClient:
        setup = self._setup
        policy = WsPolicy(max_age_s=MAX_AGE_S)
        client = WsClient(name, url, handler, setup.clock, setup.rng.fork(name), policy, ssl=setup.ssl, log=setup.log)
        self._clients.append(client)
        client.start()
        return client

    def _on_event(self, message: AccountMessage) -> None:
        if isinstance(message, AccountConfigUpdate):
            if message.ac is not None and (found := self._by_native(PERP, message.ac.s)) is not None:
                self._leverages[found.symbol] = message.ac.l
            return
        try:
            told = news(message, self.named, self._leverages.get)
        except UnknownSymbol as error:
            if error.message not in self._strange:
                self._strange.add(error.message)
                self._setup.log("warning", f"binance: news about what cannot be traded here: {error.message}")
            return
        except (Undecodable, *NONSENSE) as error:
            self._setup.log("error", f"binance: an account message could not be understood: {reason_of(error)}")
            self._publish(unreadable(reason_of(error)))
            return
        kind = PERP if isinstance(message, AccountUpdate | OrderTradeUpdate) else SPOT
        for event in told:
            if isinstance(event, Balance):
                self._publish(self._wallets.change(kind, event))
                continue
            if isinstance(event, OrderUpdate):
                self._notes.note(event)
                self._fills.is_active(event.symbol)
            elif isinstance(event, Fill):
                self._fills.is_active(event.symbol)
            self._publish(event)
