"""Backpack's public REST calls (EXCHANGES.md §5.4)."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from engine.kernel.market import TIMEFRAME_MS, Bar, Trade
from engine.kernel.orders import Side
from tests.venues.emulators.backpack_errors import Refusal, bad_request
from tests.venues.emulators.backpack_events import levels
from tests.venues.emulators.backpack_listings import Listing, naive_utc, plain
from tests.venues.emulators.faults import Answer
from tests.venues.emulators.wire import Seen, json_answer

if TYPE_CHECKING:
    from tests.venues.emulators.backpack import BackpackEmulator

DEPTHS = (5, 10, 20, 50, 100, 500, 1000)
KLINE_ROWS = 1_000
"""Rows of one candle answer. The venue publishes no number; a client must page by time whatever it is."""
_TRADES_KEPT = 2_000
_HOUR_MS = 3_600_000

Call = Callable[[Seen], Awaitable[Answer]]


class PublicCalls:
    """Answers what needs no key.

    Attributes:
        routes: (method, path) -> call.
        trades: Newest public trades by native symbol, with their numbers.
    """

    def __init__(self, emulator: BackpackEmulator) -> None:
        self._emulator = emulator
        self.trades: dict[str, deque[tuple[int, Trade]]] = {}
        self._numbers = 500_000_000
        self.routes: dict[tuple[str, str], Call] = {
            ("GET", "/api/v1/markets"): self._markets,
            ("GET", "/api/v1/market"): self._market,
            ("GET", "/api/v1/ticker"): self._ticker,
            ("GET", "/api/v1/tickers"): self._tickers,
            ("GET", "/api/v1/markPrices"): self._mark_prices,
            ("GET", "/api/v1/depth"): self._depth,
            ("GET", "/api/v1/klines"): self._klines,
            ("GET", "/api/v1/fundingRates"): self._funding_rates,
            ("GET", "/api/v1/openInterest"): self._open_interest,
            ("GET", "/api/v1/trades"): self._recent_trades,
            ("GET", "/api/v1/trades/history"): self._recent_trades,
            ("GET", "/api/v1/time"): self._time,
            ("GET", "/api/v1/status"): self._status,
            ("GET", "/api/v1/ping"): self._ping,
        }

    def on_trade(self, listing: Listing, trade: Trade) -> int:
        """Keep a public trade and return its number."""
        self._numbers += 1
        self.trades.setdefault(listing.native, deque(maxlen=_TRADES_KEPT)).append((self._numbers, trade))
        return self._numbers

    async def _markets(self, seen: Seen) -> Answer:
        wanted = seen.params.get("marketType")
        rows = [listing.market() for listing in self._emulator.listings.all]
        return json_answer([row for row in rows if wanted in (None, row["marketType"])])

    async def _market(self, seen: Seen) -> Answer:
        return json_answer(self._listing(seen).market())

    async def _ticker(self, seen: Seen) -> Answer:
        row = self._ticker_row(self._listing(seen))
        return Answer(204) if row is None else json_answer(row)

    async def _tickers(self, seen: Seen) -> Answer:
        rows = [self._ticker_row(listing) for listing in self._emulator.listings.all]
        return json_answer([row for row in rows if row is not None])

    def _ticker_row(self, listing: Listing) -> dict[str, Any] | None:
        ticker = self._emulator.exchange.market(listing.symbol).ticker
        if ticker is None:
            return None
        change = ticker.last - ticker.open_24h
        return {
            "symbol": listing.native,
            "firstPrice": listing.price(ticker.open_24h),
            "lastPrice": listing.price(ticker.last),
            "high": listing.price(ticker.high_24h),
            "low": listing.price(ticker.low_24h),
            "priceChange": listing.price(round(change, 12)),
            "priceChangePercent": f"{change / ticker.open_24h:.6f}" if ticker.open_24h else "N/A",
            "volume": listing.size(ticker.quote_volume_24h / ticker.last),
            "quoteVolume": plain(ticker.quote_volume_24h),
            "trades": str(len(self.trades.get(listing.native, ()))),
        }

    async def _mark_prices(self, seen: Seen) -> Answer:
        asked = seen.params.get("symbol")
        chosen = [self._emulator.listings.find(asked)] if asked else self._emulator.listings.all
        rows = []
        for listing in chosen:
            market = self._emulator.exchange.market(listing.symbol)
            mark, funding = market.mark_price(), market.funding
            if not listing.instrument.is_perp or mark is None:
                continue
            index = market.index if market.index is not None else float(mark)
            rows.append(
                {
                    "symbol": listing.native,
                    "markPrice": listing.price(mark),
                    "indexPrice": listing.price(index),
                    "fundingRate": plain(funding.rate) if funding else "0",
                    "nextFundingTimestamp": funding.next_time if funding else self._next_hour_ms(),
                }
            )
        return json_answer(rows)

    def _next_hour_ms(self) -> int:
        return (self._emulator.clock.now_ms() // _HOUR_MS + 1) * _HOUR_MS

    async def _depth(self, seen: Seen) -> Answer:
        listing = self._listing(seen)
        limit = _whole(seen.params.get("limit", "1000"), "limit")
        if limit not in DEPTHS:
            raise bad_request(f"Invalid limit: expected one of {', '.join(map(str, DEPTHS))}")
        book = self._emulator.books[listing.symbol]
        return json_answer(
            {
                "asks": levels(listing, book.best_asks(limit)),
                "bids": levels(listing, book.best_bids(limit)[::-1]),
                "lastUpdateId": str(book.last),
                "timestamp": self._emulator.clock.now_ns() // 1_000,
            }
        )

    async def _klines(self, seen: Seen) -> Answer:
        listing, interval = self._listing(seen), seen.params.get("interval")
        if interval not in TIMEFRAME_MS:
            raise bad_request("Failed to parse interval")
        if "startTime" not in seen.params:
            raise bad_request("Missing startTime")
        if seen.params.get("priceType", "Last") != "Last":
            raise bad_request("Only priceType Last is kept here")
        start = _whole(seen.params["startTime"], "startTime") * 1000
        end = _whole(seen.params.get("endTime", str(self._emulator.clock.now_ms() // 1000)), "endTime") * 1000
        if not 10**12 < start < 10**14 or not 10**12 < end < 10**14:
            raise bad_request("startTime and endTime are UTC seconds")
        self._emulator.count_historical()
        step = TIMEFRAME_MS[interval]
        last = min(end, start + (KLINE_ROWS - 1) * step)
        bars = await self._emulator.venue.get_klines(listing.symbol, interval, KLINE_ROWS + 1, start, last)
        return json_answer([_kline_row(listing, bar) for bar in bars])

    async def _funding_rates(self, seen: Seen) -> Answer:
        listing = self._listing(seen)
        limit, offset = page_of(seen.params, 10_000)
        funding = self._emulator.exchange.market(listing.symbol).funding
        if funding is None:
            return json_answer([])
        last = self._next_hour_ms() - _HOUR_MS
        ends = [last - number * _HOUR_MS for number in range(offset, offset + limit)]
        return json_answer(
            [
                {
                    "symbol": listing.native,
                    "intervalEndTimestamp": naive_utc(end),
                    "fundingRate": plain(funding.rate),
                }
                for end in ends
            ]
        )

    async def _open_interest(self, seen: Seen) -> Answer:
        asked = seen.params.get("symbol")
        chosen = [self._emulator.listings.find(asked)] if asked else self._emulator.listings.all
        now = self._emulator.clock.now_ms()
        rows = []
        for listing in chosen:
            if listing.instrument.is_perp:
                held = abs(self._emulator.exchange.account.position(listing.instrument))
                rows.append({"symbol": listing.native, "openInterest": listing.size(held), "timestamp": now})
        return json_answer(rows)

    async def _recent_trades(self, seen: Seen) -> Answer:
        listing = self._listing(seen)
        limit, offset = page_of(seen.params, 1_000)
        if seen.path.endswith("/history"):
            self._emulator.count_historical()
        newest = list(self.trades.get(listing.native, ()))[::-1]
        return json_answer(
            [
                {
                    "id": number,
                    "price": listing.price(trade.price),
                    "quantity": listing.size(trade.size),
                    "quoteQuantity": plain(Decimal(repr(trade.price)) * Decimal(repr(trade.size))),
                    "timestamp": trade.ts,
                    "isBuyerMaker": trade.side is Side.SELL,
                }
                for number, trade in newest[offset : offset + limit]
            ]
        )

    async def _time(self, seen: Seen) -> Answer:
        now = str(self._emulator.clock.now_ms())
        return Answer(200, now.encode(), {"Content-Type": "text/plain; charset=utf-8"})

    async def _status(self, seen: Seen) -> Answer:
        down = self._emulator.maintenance
        return json_answer({"status": "Maintenance" if down else "Ok", "message": "Scheduled" if down else None})

    async def _ping(self, seen: Seen) -> Answer:
        return Answer(200, b"pong", {"Content-Type": "text/plain; charset=utf-8"})

    def _listing(self, seen: Seen) -> Listing:
        return self._emulator.listings.find(seen.params.get("symbol"))


def _kline_row(listing: Listing, bar: Bar) -> dict[str, Any]:
    known = not bar.missing
    return {
        "start": naive_utc(bar.open_time, " "),
        "end": naive_utc(bar.open_time + TIMEFRAME_MS[bar.timeframe], " "),
        "open": listing.price(bar.open) if known else None,
        "high": listing.price(bar.high) if known else None,
        "low": listing.price(bar.low) if known else None,
        "close": listing.price(bar.close) if known else None,
        "volume": listing.size(bar.base_volume),
        "quoteVolume": plain(bar.quote_volume),
        "trades": "0" if bar.missing else "1",
    }


def _whole(text: str, what: str) -> int:
    if not text.isdigit():
        raise bad_request(f"Failed to parse {what}: expected an integer")
    return int(text)


def page_of(params: dict[str, str], largest: int) -> tuple[int, int]:
    """Return (limit, offset) of a paged call."""
    limit, offset = _whole(params.get("limit", "100"), "limit"), _whole(params.get("offset", "0"), "offset")
    if not 1 <= limit <= largest:
        raise Refusal(400, "INVALID_CLIENT_REQUEST", f"limit must be between 1 and {largest}")
    return limit, offset
