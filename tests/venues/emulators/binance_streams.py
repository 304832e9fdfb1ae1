"""Binance's market streams: names, where each is served, and their messages (EXCHANGES §2.1, §2.6, §3.6)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import msgspec

from engine.kernel.clock import NS_PER_MS
from engine.kernel.market import TIMEFRAME_MS, Bar, FundingRate, MarkPrice, Quote, Ticker, Trade
from engine.kernel.orders import Side
from engine.kernel.syscalls import TickEvent
from tests.venues.emulators.binance_books import PARTIAL_LEVELS, NativeBook
from tests.venues.emulators.binance_listing import Listing
from tests.venues.emulators.binance_wire import Product
from tests.venues.emulators.market import BookChange

if TYPE_CHECKING:
    from tests.venues.emulators.binance import BinanceEmulator

_FAMILY = re.compile(r"[A-Za-z]+")
_FIRST_FUTURES_ID = 5_123_107_830_000
_FIRST_SPOT_ID = 50_123_000_000
_PUBLIC = ("depth", "bookTicker", "rpiDepth")
_DAY_MS = 86_400_000
Make = Callable[[], dict[str, object]]


def family(stream: str) -> str:
    """Return what kind of stream a name means: depth, bookTicker, aggTrade, markPrice, kline, ticker ..."""
    name = stream.removeprefix("!") if stream.startswith("!") else stream.partition("@")[2]
    found = _FAMILY.match(name)
    return found[0] if found else ""


def channel_of(product: Product, stream: str) -> str:
    """Return the name of a stream for faults and subscriptions, e.g. `depth:fapi:btcusdt@depth@100ms`."""
    return f"{family(stream)}:{product}:{stream}"


def is_served(route: str, stream: str) -> bool:
    """Return whether a futures path serves a stream; on the others it stays silent."""
    if route == "spot":
        return True
    return (family(stream) in _PUBLIC) is (route in ("public", "unrouted")) and route != "private"


class MarketStreams:
    """Turns what happens in the public market into stream messages.

    Args:
        venue: The emulator.
    """

    def __init__(self, venue: BinanceEmulator) -> None:
        self._venue = venue
        futures_ids = count(_FIRST_FUTURES_ID, 3)
        self.books: dict[str, NativeBook] = {}
        self._dirty: dict[tuple[Product, str], dict[str, NativeBook]] = {}
        self._klines: set[tuple[str, str]] = set()
        self._trades = count(5_266_583_935)
        self._marks: dict[str, MarkPrice] = {}
        for listing in venue.catalogue.by_symbol.values():
            ids = futures_ids if listing.is_futures else count(_FIRST_SPOT_ID)
            self.books[listing.symbol] = NativeBook(listing, venue.books[listing.symbol], ids)

    def subscribed(self, product: Product, stream: str) -> None:
        """Begin what only flows when somebody asked for it: candles."""
        native, _, name = stream.partition("@")
        listing = self._venue.catalogue.known(product, native.upper())
        timeframe = name.removeprefix("kline_")
        if listing is None or not name.startswith("kline_") or timeframe not in TIMEFRAME_MS:
            return
        if (listing.symbol, timeframe) not in self._klines:
            self._klines.add((listing.symbol, timeframe))
            self._venue.venue.subscribe_klines(listing.symbol, timeframe, lambda bar: self._bar(listing, bar))

    def on_book(self, change: BookChange) -> None:
        """Number a change; its events follow at the next tick of each speed."""
        book = self.books[change.symbol]
        book.change(change)
        clock, product = self._venue.clock, book.listing.product
        for suffix, every_ms in book.speeds_ms.items():
            dirty = self._dirty.setdefault((product, suffix), {})
            if not dirty:
                due_ms = clock.now_ms() // every_ms * every_ms + every_ms
                clock.call_at(due_ms * NS_PER_MS, self._flush, product, suffix)
            dirty[change.symbol] = book

    def _flush(self, product: Product, suffix: str) -> None:
        dirty = self._dirty.pop((product, suffix), {})
        now_ms = self._venue.clock.now_ms()
        for book in dirty.values():
            native = book.listing.native.lower()
            if not self._send(product, f"{native}@depth{suffix}", partial(book.event, suffix, now_ms)):
                book.skip(suffix)
            for levels in PARTIAL_LEVELS:
                self._send(product, f"{native}@depth{levels}{suffix}", partial(book.partial, levels, now_ms))

    def on_trade(self, trade: Trade) -> None:
        """Publish a public trade as trade and aggTrade."""
        listing = self._venue.catalogue.by_symbol[trade.symbol]
        now_ms, number = self._venue.clock.now_ms(), next(self._trades)
        native, is_maker_buyer = listing.native.lower(), trade.side is Side.SELL
        price, quantity = listing.price_text(trade.price), listing.qty_text(trade.size)
        common = {"E": now_ms, "s": listing.native, "p": price, "q": quantity, "T": trade.ts, "m": is_maker_buyer}
        last = {"X": "MARKET", "ps": listing.native, "st": 1} if listing.is_futures else {"M": True}
        self._send(listing.product, f"{native}@trade", lambda: {"e": "trade", "t": number, **common, **last})
        aggregated = {"ps": listing.native, "st": 1} if listing.is_futures else {"M": True}
        self._send(
            listing.product,
            f"{native}@aggTrade",
            lambda: {"e": "aggTrade", "a": number, "f": number, "l": number, **common, **aggregated},
        )

    def on_tick(self, event: TickEvent) -> None:
        """Publish a quote or ticker, note a mark."""
        listing = self._venue.catalogue.by_symbol[event.symbol]
        if isinstance(event, Quote):
            self._send(listing.product, f"{listing.native.lower()}@bookTicker", lambda: self._quote(listing, event))
        elif isinstance(event, Ticker):
            self._ticker(listing, event)
        elif isinstance(event, MarkPrice | FundingRate) and listing.is_futures:
            self._mark(listing, ("@1s",))

    def on_second(self, second: int) -> None:
        """Publish marks: every second on @1s, every third on the plain stream."""
        for listing in self._venue.catalogue.of(Product.FUTURES):
            self._mark(listing, ("@1s", "") if second % 3 == 0 else ("@1s",))

    def _best(self, listing: Listing) -> dict[str, object]:
        """Return what only spot's ticker has: the best bid and ask, and the price before the day."""
        touch = self._venue.exchange.market(listing.symbol).touch
        bid, ask = (None, None) if touch is None else (touch.bid, touch.ask)
        sizes = (0.0, 0.0) if touch is None else (touch.bid_size, touch.ask_size)
        return {
            "x": listing.price_text(bid),
            "b": listing.price_text(bid),
            "B": listing.qty_text(sizes[0]),
            "a": listing.price_text(ask),
            "A": listing.qty_text(sizes[1]),
        }

    def _quote(self, listing: Listing, quote: Quote) -> dict[str, object]:
        levels = {
            "s": listing.native,
            "b": listing.price_text(quote.bid),
            "B": listing.qty_text(quote.bid_size),
            "a": listing.price_text(quote.ask),
            "A": listing.qty_text(quote.ask_size),
        }
        update_id = self.books[listing.symbol].update_id
        if not listing.is_futures:
            return {"u": update_id, **levels}
        now_ms = self._venue.clock.now_ms()
        times = {"T": quote.ts, "E": now_ms, "ps": listing.native, "st": 1}
        return {"e": "bookTicker", "u": update_id, **levels, **times}

    def _mark(self, listing: Listing, suffixes: Iterable[str]) -> None:
        market = self._venue.exchange.market(listing.symbol)
        mark = market.mark_price()
        if mark is None:
            return
        for suffix in suffixes:
            self._send(
                Product.FUTURES,
                f"{listing.native.lower()}@markPrice{suffix}",
                lambda: {
                    "e": "markPriceUpdate",
                    "E": self._venue.clock.now_ms(),
                    "s": listing.native,
                    "p": listing.mark_text(mark),
                    "P": listing.mark_text(mark),
                    "i": listing.mark_text(market.index if market.index is not None else mark),
                    "r": f"{market.funding.rate:.8f}" if market.funding is not None else "",
                    "T": market.funding.next_time if market.funding is not None else 0,
                    "ps": listing.native,
                    "st": 1,
                },
            )

    def _bar(self, listing: Listing, bar: Bar) -> None:
        stream = f"{listing.native.lower()}@kline_{bar.timeframe}"
        self._send(listing.product, stream, lambda: self._kline(listing, bar))

    def _kline(self, listing: Listing, bar: Bar) -> dict[str, object]:
        row = kline_row(listing, bar)
        candle = {
            "t": row[0], "T": row[6], "s": listing.native, "i": bar.timeframe, "f": -1, "L": -1, "o": row[1],
            "c": row[4], "h": row[2], "l": row[3], "v": row[5], "n": row[8], "x": bar.closed, "q": row[7],
            "V": row[9], "Q": row[10], "B": "0",
        }  # fmt: skip
        return {"e": "kline", "E": self._venue.clock.now_ms(), "s": listing.native, "k": candle}

    def _ticker(self, listing: Listing, event: Ticker) -> None:
        native = listing.native.lower()
        day = day_statistics(listing, event)
        best = {} if listing.is_futures else self._best(listing)
        now_ms = self._venue.clock.now_ms()
        self._send(
            listing.product,
            f"{native}@ticker",
            lambda: {
                "e": "24hrTicker", "E": now_ms, "s": listing.native, "p": day["priceChange"],
                "P": day["priceChangePercent"], "w": day["weightedAvgPrice"], "c": day["lastPrice"],
                "Q": day["lastQty"],
                "o": day["openPrice"], "h": day["highPrice"], "l": day["lowPrice"], "v": day["volume"],
                "q": day["quoteVolume"], "O": day["openTime"], "C": day["closeTime"], "F": 0, "L": 0, "n": 0,
                **best,
            },
        )  # fmt: skip
        self._send(
            listing.product,
            f"{native}@miniTicker",
            lambda: {
                "e": "24hrMiniTicker", "E": now_ms, "s": listing.native, "c": day["lastPrice"], "o": day["openPrice"],
                "h": day["highPrice"], "l": day["lowPrice"], "v": day["volume"], "q": day["quoteVolume"],
            },
        )  # fmt: skip

    def _send(self, product: Product, stream: str, make: Make) -> bool:
        """Send a message to everybody who subscribed to a stream; returns whether anybody had."""
        channel = channel_of(product, stream)
        listening = [socket for socket in self._venue.sockets if channel in socket.topics]
        if not listening:
            return False
        for text in self._venue.faults.stream(channel, msgspec.json.encode(make()).decode()):
            for socket in listening:
                wrapped = socket.path.endswith("/stream")
                socket.send(f'{{"stream":"{stream}","data":{text}}}' if wrapped else text)
        return True


def kline_row(listing: Listing, bar: Bar) -> list[int | str]:
    """Return a candle as REST has it; how much takers bought is not known here and counts as half."""
    step = TIMEFRAME_MS[bar.timeframe]
    base, quote = listing.qty_text(bar.base_volume), f"{bar.quote_volume:.8f}"
    return [
        bar.open_time,
        listing.price_text(bar.open),
        listing.price_text(bar.high),
        listing.price_text(bar.low),
        listing.price_text(bar.close),
        base,
        bar.open_time + step - 1,
        quote,
        1 if bar.base_volume else 0,
        listing.qty_text(bar.base_volume / 2),
        f"{bar.quote_volume / 2:.8f}",
        "0",
    ]


def day_statistics(listing: Listing, ticker: Ticker) -> dict[str, object]:
    """Return the fields of /ticker/24hr that do not come from the touch."""
    change = ticker.last - ticker.open_24h
    average = (ticker.high_24h + ticker.low_24h) / 2
    return {
        "symbol": listing.native,
        "priceChange": f"{change * float(listing.multiplier):.{listing.price_precision}f}",
        "priceChangePercent": f"{change / ticker.open_24h * 100:.3f}",
        "weightedAvgPrice": listing.price_text(average),
        "lastPrice": listing.price_text(ticker.last),
        "lastQty": listing.qty_text(0.0),
        "openPrice": listing.price_text(ticker.open_24h),
        "highPrice": listing.price_text(ticker.high_24h),
        "lowPrice": listing.price_text(ticker.low_24h),
        "volume": listing.qty_text(round(ticker.quote_volume_24h / average, 6)),
        "quoteVolume": f"{ticker.quote_volume_24h:.2f}",
        "openTime": ticker.ts - _DAY_MS,
        "closeTime": ticker.ts,
        "firstId": 0,
        "lastId": 0,
        "count": 0,
    }
