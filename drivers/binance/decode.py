"""From raw lines of Binance's sockets to market events: the decoder behind `decode`, `replay:` and recordings.

A line is one message as JSON, optionally after its receive time in nanoseconds and a space.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
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
    Undecodable,
    WireLevels,
    decode,
)
from drivers.binance.depth import DepthSync
from drivers.binance.symbols import arch, parse_native
from engine.kernel.clock import NS_PER_MS
from engine.kernel.errors import UnknownSymbol
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
    Unparsed,
)
from engine.kernel.orders import Side

MAX_LINE_BYTES = 8 << 20
"""A longer line that does not begin as a message is reported, not searched; the largest REST snapshot has 0.3 MB."""
RAW_SHOWN = 200
"""How many characters of an undecodable line are shown."""
_MICROSECONDS_FROM = 100_000_000_000_000
_WAITING_SNAPSHOTS = 50


class _Market:
    """What is remembered of one symbol between messages."""

    __slots__ = ("last_depth", "multiplier", "prints", "symbol", "sync")

    def __init__(self, symbol: str, multiplier: int, futures: bool) -> None:
        self.symbol = symbol
        self.multiplier = multiplier
        self.sync = DepthSync(symbol, futures)
        self.last_depth: DepthUpdate | None = None
        self.prints: type | None = None


class Decoder:
    """Turns raw lines into market events, keeping each symbol's depth sequence. Never raises on data.

    Args:
        kind: What a message counts as whose shape futures and spot share (candles) before its symbol was met.

    Attributes:
        ts_ns: Time of the last line: receive time when given, else venue time; 0 before the first.
        counts: Messages by type: the venue's event names, `snapshot`, `reply`, `unparsed`; `repeated` counts
            trades left out because the symbol's trades already come by the other trade stream.
    """

    def __init__(self, kind: InstrumentKind = InstrumentKind.PERP) -> None:
        self.ts_ns = 0
        self.counts: Counter[str] = Counter()
        self._futures_by_default = kind is InstrumentKind.PERP
        self._received_ms: int | None = None
        self._markets: dict[tuple[str, bool], _Market] = {}
        self._waiting: list[DepthSnapshot] = []
        self._handlers: dict[type, tuple[str, Callable[[Any], list[MarketEvent]]]] = {
            DepthUpdate: ("depthUpdate", self._on_depth),
            DepthSnapshot: ("snapshot", self._on_snapshot),
            BookTicker: ("bookTicker", self._on_book_ticker),
            TradePrint: ("trade", self._on_trade),
            AggregateTrade: ("aggTrade", self._on_trade),
            MarkPriceUpdate: ("markPriceUpdate", self._on_mark_price),
            Kline: ("kline", self._on_kline),
            DayTicker: ("24hrTicker", self._on_day_ticker),
            Reply: ("reply", self._on_reply),
        }

    def feed(self, line: bytes) -> list[MarketEvent]:
        """Decode one line.

        Returns:
            The events it leads to: none for a reply, several when a book comes into step; what cannot be
            understood is one `Unparsed` with the reason.
        """
        self._received_ms = None
        try:
            message = decode(line if line.startswith(b"{") else self._payload(line))
            name, handler = self._handlers[type(message)]
            events = handler(message)
        except Undecodable as error:
            return [self._unparsed(line, error.reason, error.symbol)]
        except UnknownSymbol as error:
            return [self._unparsed(line, error.message, None)]
        self.counts[name] += 1
        if self._received_ms is None and events:
            self.ts_ns = (events[-1].ts or 0) * NS_PER_MS or self.ts_ns
        return events

    def summary(self) -> dict[str, Any]:
        """Return the counts and each book's final state: `synced`, `invalid`, or `no snapshot`."""
        books = {
            market.symbol: {
                "state": "synced" if market.sync.synced else "invalid" if market.sync.gaps else "no snapshot",
                "gaps": market.sync.gaps,
            }
            for market in self._markets.values()
            if market.sync.last_id is not None
        }
        return {
            "messages": dict(sorted(self.counts.items())),
            "books": books,
            "unplaced_snapshots": len(self._waiting),
        }

    def _payload(self, line: bytes) -> bytes:
        """Strip the receive time off a line and keep it."""
        if len(line) > MAX_LINE_BYTES:
            raise Undecodable(f"line of {len(line)} bytes, longer than {MAX_LINE_BYTES}")
        received, _, payload = line.strip().partition(b" ")
        if not received:
            raise Undecodable("empty line")
        if payload and received.isdigit() and len(received) <= 19:
            self.ts_ns = int(received)
            self._received_ms = self.ts_ns // NS_PER_MS
            return payload
        return line

    def _unparsed(self, line: bytes, reason: str, native: str | None) -> Unparsed:
        self.counts["unparsed"] += 1
        raw = line[: 4 * RAW_SHOWN].decode("utf-8", "backslashreplace").rstrip("\r\n")
        symbol = None
        if native is not None:
            met = [market.symbol for (name, _), market in self._markets.items() if name == native]
            symbol = met[0] if len(met) == 1 else None
        return Unparsed(reason, raw if len(raw) <= RAW_SHOWN else raw[:RAW_SHOWN] + "…", self._received_ms, symbol)

    def _market(self, native: str, futures: bool | None) -> _Market:
        if futures is None:
            futures = self._futures_by_default
            if (native, futures) not in self._markets and (native, not futures) in self._markets:
                futures = not futures
        market = self._markets.get((native, futures))
        if market is None:
            listing = parse_native(native, InstrumentKind.PERP if futures else InstrumentKind.SPOT)
            market = self._markets[native, futures] = _Market(listing.symbol, listing.multiplier, futures)
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
        futures = message.pu is not None
        market = self._markets.get((message.s, futures)) or self._market(message.s, futures)
        if market.multiplier != 1:
            message.b, message.a = _coins(message.b, market.multiplier), _coins(message.a, market.multiplier)
        if message.E >= _MICROSECONDS_FROM:
            message.E = self._time(message.E)
        market.last_depth = message
        events = market.sync.update(message)
        if self._waiting and not market.sync.synced:
            events += self._place_snapshots()
        return events

    def _on_snapshot(self, message: DepthSnapshot) -> list[MarketEvent]:
        self._waiting = [*self._waiting, message][-_WAITING_SNAPSHOTS:]
        return self._place_snapshots()

    def _place_snapshots(self) -> list[MarketEvent]:
        """Give each waiting snapshot to the book it belongs to; keep those whose book is not known yet."""
        events: list[MarketEvent] = []
        waiting, self._waiting = self._waiting, []
        for snapshot in waiting:
            futures = snapshot.E is not None
            alone = sum((other.E is not None) is futures for other in waiting) == 1
            market = self._owner(snapshot, futures, alone)
            if market is None:
                self._waiting.append(snapshot)
            else:
                events += market.sync.snapshot(_scaled(snapshot, market.multiplier))
        return events

    def _owner(self, snapshot: DepthSnapshot, futures: bool, alone: bool) -> _Market | None:
        """Return the market a snapshot belongs to: the only one if its prices fit, else the most alike."""
        books = [m for (_, f), m in self._markets.items() if f is futures and m.sync.last_id is not None]
        if alone and len(books) == 1:
            return books[0] if _is_near(snapshot, books[0]) else None
        candidates = [m for m in books if not m.sync.synced] or books
        ranked = sorted(((_common(snapshot, m), i) for i, m in enumerate(candidates)), reverse=True)
        if not ranked or not ranked[0][0] or (len(ranked) > 1 and ranked[0][0] == ranked[1][0]):
            return None
        return candidates[ranked[0][1]]

    def _on_book_ticker(self, message: BookTicker) -> list[MarketEvent]:
        market = self._market(message.s, message.E is not None)
        ts = self._time(message.T or message.E)
        if market.multiplier != 1:
            ((message.b, message.B), (message.a, message.A)) = _coins(
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
                self.counts["repeated"] += 1
                return []
            market.prints = type(message)
        price, size = message.p, message.q
        if market.multiplier != 1:
            ((price, size),) = _coins([(price, size)], market.multiplier)
        side = Side.SELL if message.m else Side.BUY
        return [Trade(market.symbol, self._time(message.T), price, size, side, str(number))]

    def _on_mark_price(self, message: MarkPriceUpdate) -> list[MarketEvent]:
        market = self._market(message.s, True)
        ts = self._time(message.E)
        ((mark, _), (index, _)) = _coins([(message.p, 0.0), (message.i, 0.0)], market.multiplier)
        events: list[MarketEvent] = [MarkPrice(market.symbol, ts, mark, index)]
        if message.r:
            try:
                rate = float(message.r)
            except ValueError as error:
                raise Undecodable(f"markPriceUpdate: r {message.r[:20]!r} is not a number", message.s) from error
            if not -1 <= rate <= 1:
                raise Undecodable(f"markPriceUpdate: funding rate {message.r[:20]!r} is out of range", message.s)
            period_h = arch()["funding_period_h"]
            events.append(FundingRate(market.symbol, ts, rate, period_h, self._time(message.T)))
        return events

    def _on_kline(self, message: Kline) -> list[MarketEvent]:
        newer_futures = True if message.ps is not None or message.st is not None else None
        market = self._market(message.s, newer_futures)
        k = message.k
        if k.i not in TIMEFRAME_MS:
            raise Undecodable(f"kline: interval {k.i[:10]!r} is not one of {', '.join(TIMEFRAME_MS)}", message.s)
        by = market.multiplier
        ((o, volume), (h, _), (low, _), (c, _)) = _coins([(k.o, k.v), (k.h, 0.0), (k.l, 0.0), (k.c, 0.0)], by)
        return [
            Bar(market.symbol, k.i, self._time(k.t), o, h, low, c, volume, k.q, closed=k.x, ts=self._time(message.E))
        ]

    def _on_day_ticker(self, message: DayTicker) -> list[MarketEvent]:
        market = self._market(message.s, message.b is None)
        prices = [(price, 0.0) for price in (message.c, message.o, message.h, message.l)]
        last, opened, high, low = (price for price, _ in _coins(prices, market.multiplier))
        return [Ticker(market.symbol, self._time(message.E), last, opened, high, low, message.q)]


def _coins(levels: WireLevels, multiplier: int) -> WireLevels:
    """Turn venue coins into coins; 15 digits, so that the division leaves no trace of binary fractions."""
    if multiplier == 1:
        return levels
    return [(float(f"{price / multiplier:.15g}"), float(f"{size * multiplier:.15g}")) for price, size in levels]


def _scaled(snapshot: DepthSnapshot, multiplier: int) -> DepthSnapshot:
    if multiplier != 1:
        snapshot.bids, snapshot.asks = _coins(snapshot.bids, multiplier), _coins(snapshot.asks, multiplier)
    return snapshot


def _common(snapshot: DepthSnapshot, market: _Market) -> int:
    """Return how many prices a snapshot shares with a market's last update: it does not name its symbol."""
    listed = {price for price, _ in _coins(snapshot.bids + snapshot.asks, market.multiplier)}
    return sum(price in listed for price in _changed_prices(market))


def _is_near(snapshot: DepthSnapshot, market: _Market) -> bool:
    """Return whether a market's last update has a price between half and twice the snapshot's best."""
    best = _coins((snapshot.bids or snapshot.asks)[:1], market.multiplier)
    changed = _changed_prices(market)
    return not best or not changed or any(best[0][0] / 2 < price < best[0][0] * 2 for price in changed)


def _changed_prices(market: _Market) -> list[float]:
    depth = market.last_depth
    return [] if depth is None else [price for price, _ in depth.b + depth.a]
