"""From Binance's public messages to market events, live and from recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from drivers.binance.codec import (
    AggregateTrade,
    BookTicker,
    DayTicker,
    DepthSnapshot,
    DepthUpdate,
    Kline,
    MarkPriceUpdate,
    Reply,
    TradePrint,
    decode,
)
from drivers.binance.symbols import arch, parse_native
from drivers.binance.wire import BookTickerRow
from drivers.transport.depth import DepthSync
from drivers.transport.line_decoder import Undecodable
from drivers.transport.snapshots import Book, Snapshot, WaitingSnapshots
from drivers.transport.thousands import coin_levels
from engine.kernel.instruments import InstrumentKind
from engine.kernel.market import (
    TIMEFRAME_MS,
    Bar,
    FundingRate,
    MarketEvent,
    MarkPrice,
    Quote,
    Ticker,
    Trade,
)
from engine.kernel.orders import Side

_PERP, _SPOT = InstrumentKind.PERP.value, InstrumentKind.SPOT.value
_MICROSECONDS_FROM = 100_000_000_000_000


class _Market:
    """What is remembered of one symbol between messages."""

    __slots__ = ("multiplier", "prints", "quoted", "symbol", "sync")

    def __init__(self, symbol: str, multiplier: int) -> None:
        self.symbol = symbol
        self.multiplier = multiplier
        self.sync = DepthSync(symbol)
        self.quoted = False  # the stream told the best bid and ask since it was subscribed
        self.prints: type | None = None


class MarketMessages:
    """Turns messages into market events, keeping each symbol's depth sequence.

    Args:
        kind: What a message counts as whose shape futures and spot share (candles) before its symbol was met.
        only: Whether every message is of that kind, because the socket is.
        period_h: Tells the hours between an instrument's funding payments.
        otherwise: Decodes what is no public message; None from it for what it cannot decode either.
    """

    def __init__(
        self,
        kind: InstrumentKind = InstrumentKind.PERP,
        only: bool = False,
        period_h: Callable[[str], int] | None = None,
        otherwise: Callable[[bytes], tuple[str, list[Any]] | None] = lambda payload: None,
    ) -> None:
        self.repeated = 0
        self._futures_by_default = kind is InstrumentKind.PERP
        self._only = only
        self._otherwise = otherwise
        self._period_h = period_h or (lambda symbol: arch().extra["funding_period_h"])
        self._received_ms: int | None = None
        self._markets: dict[tuple[str, bool], _Market] = {}
        self._snapshots = WaitingSnapshots(self._books)
        self._handlers: dict[type, tuple[str, Callable[[Any], list[MarketEvent]]]] = {
            DepthSnapshot: ("snapshot", self._on_snapshot),
            BookTicker: ("bookTicker", self._on_book_ticker),
            TradePrint: ("trade", self._on_trade),
            AggregateTrade: ("aggTrade", self._on_trade),
            MarkPriceUpdate: ("markPriceUpdate", self._on_mark_price),
            Kline: ("kline", self._on_kline),
            DayTicker: ("24hrTicker", self._on_day_ticker),
            Reply: ("reply", self._on_reply),
        }

    def take(self, payload: bytes, received_ms: int | None) -> tuple[str, list[Any]]:
        """Return a message's name and the events it leads to: none for a reply, several when a book comes into step.

        Raises:
            Undecodable: It is no public message of this venue.
            UnknownSymbol: It names what is neither a perpetual nor a spot pair.
        """
        self._received_ms = received_ms
        try:
            message = decode(payload)
        except Undecodable:
            told = self._otherwise(payload)
            if told is None:
                raise
            return told
        if type(message) is DepthUpdate:
            return "depthUpdate", self._on_depth(message)
        name, handler = self._handlers[type(message)]
        return name, handler(message)

    def take_snapshot(self, native: str, payload: bytes) -> list[MarketEvent]:
        """Take the REST depth reply asked for a symbol after its stream was subscribed; see `DepthSync.snapshot`.

        Raises:
            Undecodable: It is none.
        """
        message = decode(payload)
        if not isinstance(message, DepthSnapshot):
            raise Undecodable(f"depth of {native}: the venue answered with something else", native)
        market = self._market(native, self._futures_by_default)
        bids, asks = coin_levels(message.bids, market.multiplier), coin_levels(message.asks, market.multiplier)
        return market.sync.snapshot(message.lastUpdateId, message.ts, bids, asks)

    def await_quote(self, native: str) -> None:
        """Note that a symbol's quotes were just subscribed: the stream tells them when they change, not before."""
        self._market(native, self._futures_by_default).quoted = False

    def first_quote(self, native: str, row: BookTickerRow, now_ms: int) -> list[MarketEvent]:
        """Return the best bid and ask of a REST answer, unless the stream told newer ones or a side is empty."""
        market = self._market(native, self._futures_by_default)
        if market.quoted or not row.bidPrice or not row.askPrice:
            return []
        bid, ask = (float(row.bidPrice), float(row.bidQty)), (float(row.askPrice), float(row.askQty))
        ((bid_price, bid_size), (ask_price, ask_size)) = coin_levels([bid, ask], market.multiplier)
        return [Quote(market.symbol, row.time or now_ms, bid_price, bid_size, ask_price, ask_size)]

    def lose(self, native: str) -> None:
        """Forget a symbol's book: its stream broke or ended."""
        market = self._markets.get((native, self._futures_by_default))
        if market is not None:
            market.sync.lose()

    def is_synced(self, native: str) -> bool:
        """Return whether a symbol's book is complete and continuous."""
        market = self._markets.get((native, self._futures_by_default))
        return market is not None and market.sync.synced

    def symbol_of(self, native: str) -> str | None:
        """Return the canonical symbol of a native name met before, None when there is not exactly one."""
        met = [market.symbol for (name, _), market in self._markets.items() if name == native]
        return met[0] if len(met) == 1 else None

    def state(self) -> dict[str, Any]:
        """Return each book's state, `synced`, `invalid` or `no snapshot`, and what was left out."""
        syncs = [market.sync for market in self._markets.values()]
        books = {sync.symbol: sync.state() for sync in syncs if sync.last is not None}
        unplaced = self._snapshots.unplaced()
        return {"books": books, "unplaced_snapshots": unplaced, "repeated_trades": self.repeated}

    def _market(self, native: str, futures: bool | None) -> _Market:
        if self._only:
            futures = self._futures_by_default
        elif futures is None:
            futures = self._futures_by_default
            if (native, futures) not in self._markets and (native, not futures) in self._markets:
                futures = not futures
        market = self._markets.get((native, futures))
        if market is None:
            listing = parse_native(native, InstrumentKind.PERP if futures else InstrumentKind.SPOT)
            market = self._markets[native, futures] = _Market(listing.symbol, listing.multiplier)
        return market

    def _time(self, venue_time: int | None) -> int:
        """Return a venue time in ms (spot can be asked for microseconds), else the receive time, else 0."""
        if venue_time is None:
            return self._received_ms or 0
        return venue_time // 1000 if venue_time >= _MICROSECONDS_FROM else venue_time

    def _on_reply(self, message: Reply) -> list[MarketEvent]:
        return []

    def _on_depth(self, message: DepthUpdate) -> list[MarketEvent]:
        if message.u < message.U:
            raise Undecodable(f"depthUpdate: u {message.u} is before U {message.U}", message.s)
        previous, futures = message.pu, True
        if previous is None:
            previous, futures = message.U - 1, False
        market = self._markets.get((message.s, futures)) or self._market(message.s, futures)
        bids, asks = message.b, message.a
        if market.multiplier != 1:
            bids, asks = coin_levels(bids, market.multiplier), coin_levels(asks, market.multiplier)
        ts = message.T or message.E
        if ts >= _MICROSECONDS_FROM:
            ts //= 1000
        events = market.sync.update(previous, message.u, ts, bids, asks)
        if not market.sync.synced and self._snapshots:
            events += self._snapshots.place()
        return events

    def _on_snapshot(self, message: DepthSnapshot) -> list[MarketEvent]:
        group = _SPOT if message.E is None else _PERP
        return self._snapshots.take(Snapshot(message.lastUpdateId, message.ts, message.bids, message.asks, group))

    def _books(self, group: str) -> Iterator[Book]:
        for (_, futures), market in self._markets.items():
            if (group == _PERP) is futures:
                yield Book(market.sync, partial(coin_levels, multiplier=market.multiplier))

    def _on_book_ticker(self, message: BookTicker) -> list[MarketEvent]:
        market = self._market(message.s, message.E is not None)
        market.quoted = True
        ts = self._time(message.T or message.E)
        if market.multiplier != 1:
            ((message.b, message.B), (message.a, message.A)) = coin_levels(
                [(message.b, message.B), (message.a, message.A)], market.multiplier
            )
        return [Quote(market.symbol, ts, message.b, message.B, message.a, message.A)]

    def _on_trade(self, message: TradePrint | AggregateTrade) -> list[MarketEvent]:
        market = self._market(message.s, message.M is None)
        if isinstance(message, TradePrint):
            number = message.t
            if message.X != "MARKET" or not message.p:
                raise Undecodable(f"trade {number} did not happen in the book (X {message.X})", message.s)
        else:
            number = message.a
        if market.prints is not type(message):
            if market.prints is not None:
                self.repeated += 1
                return []
            market.prints = type(message)
        price, size = message.p, message.q
        if market.multiplier != 1:
            ((price, size),) = coin_levels([(price, size)], market.multiplier)
        side = Side.SELL if message.m else Side.BUY
        return [Trade(market.symbol, self._time(message.T), price, size, side, str(number))]

    def _on_mark_price(self, message: MarkPriceUpdate) -> list[MarketEvent]:
        market = self._market(message.s, True)
        ts = self._time(message.E)
        ((mark, _), (index, _)) = coin_levels([(message.p, 0.0), (message.i, 0.0)], market.multiplier)
        events: list[MarketEvent] = [MarkPrice(market.symbol, ts, mark, index)]
        if message.r:
            try:
                rate = float(message.r)
            except ValueError as error:
                raise Undecodable(f"markPriceUpdate: r {message.r[:20]!r} is not a number", message.s) from error
            if not -1 <= rate <= 1:
                raise Undecodable(f"markPriceUpdate: funding rate {message.r[:20]!r} is out of range", message.s)
            next_time = self._time(message.T)
            events.append(FundingRate(market.symbol, ts, rate, self._period_h(market.symbol), next_time))
        return events

    def _on_kline(self, message: Kline) -> list[MarketEvent]:
        newer_futures = True if message.ps is not None or message.st is not None else None
        market = self._market(message.s, newer_futures)
        k = message.k
        if k.i not in TIMEFRAME_MS:
            raise Undecodable(f"kline: interval {k.i[:10]!r} is not one of {', '.join(TIMEFRAME_MS)}", message.s)
        by = market.multiplier
        ((o, volume), (h, _), (low, _), (c, _)) = coin_levels([(k.o, k.v), (k.h, 0.0), (k.l, 0.0), (k.c, 0.0)], by)
        return [
            Bar(market.symbol, k.i, self._time(k.t), o, h, low, c, volume, k.q, closed=k.x, ts=self._time(message.E))
        ]

    def _on_day_ticker(self, message: DayTicker) -> list[MarketEvent]:
        market = self._market(message.s, message.b is None)
        prices = [(price, 0.0) for price in (message.c, message.o, message.h, message.l)]
        last, opened, high, low = (price for price, _ in coin_levels(prices, market.multiplier))
        return [Ticker(market.symbol, self._time(message.E), last, opened, high, low, message.q)]
