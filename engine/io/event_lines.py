"""Market events as JSON lines: what `ctos-tui decode` prints for every venue.

Prices and sizes are strings with the digits that the venue sent, without trailing zeros.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, Protocol

from engine.kernel.market import (
    Bar,
    BookInvalid,
    BookSynced,
    BookUpdate,
    FundingRate,
    MarketEvent,
    MarkPrice,
    Quote,
    Ticker,
    Trade,
    Unparsed,
)
from engine.kernel.orderbook import OrderBook


class LineDecoder(Protocol):
    """Turns raw lines of one venue into market events; every venue's driver offers one.

    Attributes:
        ts_ns: Time of the last line: receive time when the line has one, else venue time.
    """

    ts_ns: int

    def feed(self, line: bytes) -> list[MarketEvent]:
        """Decode one line; what cannot be understood is an `Unparsed`, never an exception."""

    def summary(self) -> dict[str, Any]:
        """Return counts by message type and the state of each book."""


def decimal_text(value: float) -> str:
    """Return a float as the shortest decimal that gives it back, without exponent or trailing zeros.

    That is the text it was read from whenever the text had at most 15 significant digits.
    """
    text = repr(value)
    if "e" in text:
        text = format(Decimal(text), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


class EventLines:
    """Turns events into dictionaries for JSON; keeps each symbol's book to tell its best bid and ask."""

    def __init__(self) -> None:
        self._books: dict[str, OrderBook] = {}

    def lines(self, events: Iterable[MarketEvent]) -> Iterator[dict[str, Any]]:
        """Yield one dictionary an event; `book` only while the symbol's book is in step."""
        for event in events:
            if isinstance(event, BookUpdate | BookSynced | BookInvalid):
                line = self._book_line(event)
                if line is not None:
                    yield line
            else:
                yield _line(event)

    def _book_line(self, event: BookUpdate | BookSynced | BookInvalid) -> dict[str, Any] | None:
        if isinstance(event, BookSynced):
            return _head("book_synced", event.symbol, event.ts)
        book = self._books.setdefault(event.symbol, OrderBook(event.symbol))
        if isinstance(event, BookInvalid):
            book.invalidate()
            return {**_head("book_invalid", event.symbol, event.ts), "reason": event.reason}
        if not event.snapshot and not book.valid:
            return None
        book.apply(event)
        bid, ask = book.best_bid, book.best_ask
        return {
            **_head("book", event.symbol, event.ts),
            "bid": None if bid is None else decimal_text(bid),
            "bid_size": None if bid is None else decimal_text(book.bids[bid]),
            "ask": None if ask is None else decimal_text(ask),
            "ask_size": None if ask is None else decimal_text(book.asks[ask]),
        }


def decode_lines(decoder: LineDecoder, raw_lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the dictionaries for all events of a raw recording, one pass, constant memory."""
    printer = EventLines()
    for raw_line in raw_lines:
        yield from printer.lines(decoder.feed(raw_line))


def _head(kind: str, symbol: str | None, ts: int | None) -> dict[str, Any]:
    return {"type": kind, "symbol": symbol, "ts": ts or None}


def _numbers(**values: float) -> dict[str, str]:
    return {name: decimal_text(value) for name, value in values.items()}


def _line(event: Quote | Trade | Bar | MarkPrice | FundingRate | Ticker | Unparsed) -> dict[str, Any]:
    match event:
        case Quote(symbol, ts, bid, bid_size, ask, ask_size):
            numbers = _numbers(bid=bid, bid_size=bid_size, ask=ask, ask_size=ask_size)
            return {**_head("quote", symbol, ts), **numbers}
        case Trade():
            numbers = _numbers(price=event.price, size=event.size)
            return {**_head("trade", event.symbol, event.ts), **numbers, "side": event.side.value, "id": event.id}
        case Bar():
            numbers = _numbers(
                open=event.open,
                high=event.high,
                low=event.low,
                close=event.close,
                base_volume=event.base_volume,
                quote_volume=event.quote_volume,
            )
            head = _head("kline", event.symbol, event.ts or event.open_time)
            head |= {"timeframe": event.timeframe, "open_time": event.open_time}
            return {**head, **numbers, "closed": event.closed}
        case MarkPrice():
            return {**_head("mark", event.symbol, event.ts), **_numbers(mark=event.mark, index=event.index)}
        case FundingRate():
            period = {"period_h": event.period_h, "next_time": event.next_time or None}
            return {**_head("funding", event.symbol, event.ts), **_numbers(rate=event.rate), **period}
        case Ticker():
            numbers = _numbers(
                last=event.last,
                open_24h=event.open_24h,
                high_24h=event.high_24h,
                low_24h=event.low_24h,
                quote_volume_24h=event.quote_volume_24h,
            )
            return {**_head("ticker", event.symbol, event.ts), **numbers}
        case Unparsed():
            return {**_head("unparsed", event.symbol, event.ts), "reason": event.reason, "raw": event.raw}
