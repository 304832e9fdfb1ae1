"""Market and account events as JSON lines: what `ctos-tui decode` prints for every venue.

Prices and sizes are strings with the digits that the venue sent, without trailing zeros.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, Protocol

from engine.kernel.account import AccountStream, Balance, FundingPayment, Position
from engine.kernel.clock import NS_PER_MS
from engine.kernel.market import (
    Bar,
    BookInvalid,
    BookSynced,
    BookUpdate,
    FundingRate,
    MarkPrice,
    Quote,
    Ticker,
    Trade,
    Unparsed,
)
from engine.kernel.orderbook import OrderBook
from engine.kernel.orders import Fill, OrderUpdate


class LineDecoder(Protocol):
    """Turns raw lines of one venue into market and account events; every venue's driver offers one.

    Attributes:
        ts_ns: Time of the last line: receive time when the line has one, else venue time.
    """

    ts_ns: int

    def feed(self, line: bytes) -> list[Any]:
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

    def lines(self, events: Iterable[Any], ts_ns: int = 0) -> Iterator[dict[str, Any]]:
        """Yield one dictionary an event; `book` only while the symbol's book is in step.

        Args:
            events: Market and account events.
            ts_ns: Time of the line that they stand in, for what has none of its own; 0 when it is not known.
        """
        for event in events:
            if isinstance(event, BookUpdate | BookSynced | BookInvalid):
                line = self._book_line(event)
                if line is not None:
                    yield line
            elif isinstance(event, OrderUpdate | Fill | Position | Balance | FundingPayment | AccountStream):
                yield _account_line(event, ts_ns // NS_PER_MS or None)
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
        events = decoder.feed(raw_line)
        yield from printer.lines(events, decoder.ts_ns)


def _head(kind: str, symbol: str | None, ts: int | None) -> dict[str, Any]:
    return {"type": kind, "symbol": symbol, "ts": ts or None}


def _numbers(**values: float) -> dict[str, str]:
    return {name: decimal_text(value) for name, value in values.items()}


def _side(name: str, price: float, size: float) -> dict[str, str | None]:
    """Return one side of a quote; nobody is there when the price is 0."""
    if not price:
        return {name: None, f"{name}_size": None}
    return {name: decimal_text(price), f"{name}_size": decimal_text(size)}


def _line(event: Quote | Trade | Bar | MarkPrice | FundingRate | Ticker | Unparsed) -> dict[str, Any]:
    match event:
        case Quote(symbol, ts, bid, bid_size, ask, ask_size):
            return {**_head("quote", symbol, ts), **_side("bid", bid, bid_size), **_side("ask", ask, ask_size)}
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


def _account_line(
    event: OrderUpdate | Fill | Position | Balance | FundingPayment | AccountStream, ts: int | None
) -> dict[str, Any]:
    match event:
        case OrderUpdate():
            return {
                **_head("order", event.symbol, event.ts or ts),
                "client_id": event.client_id,
                "venue_order_id": event.venue_order_id,
                "state": event.state.value,
                "side": event.side.value,
                "order_type": event.type.value,
                **_exact(
                    quantity=event.quantity,
                    price=event.price,
                    trigger_price=event.trigger_price,
                    filled=event.filled,
                    average_price=event.average_price,
                ),
                "reduce_only": event.reduce_only,
                "reason": event.reason,
            }
        case Fill():
            return {
                **_head("fill", event.symbol, event.ts or ts),
                "client_id": event.client_id,
                "venue_order_id": event.venue_order_id,
                "trade_id": event.trade_id,
                "side": event.side.value,
                **_exact(price=event.price, quantity=event.quantity, fee=event.fee),
                "fee_currency": event.fee_currency,
                "maker": event.maker,
                "liquidation": event.liquidation,
            }
        case Position():
            return {
                **_head("position", event.symbol, ts),
                **_exact(
                    quantity=event.quantity,
                    entry_price=event.entry_price,
                    mark_price=event.mark_price,
                    unrealised=event.unrealised,
                    leverage=event.leverage or None,
                    liquidation_price=event.liquidation_price,
                ),
            }
        case Balance():
            head = {**_head("balance", None, ts), "currency": event.currency}
            return {**head, **_exact(total=event.total, free=event.free, locked=event.locked)}
        case FundingPayment():
            head = {**_head("funding_payment", event.symbol, event.ts or ts), "currency": event.currency}
            return {**head, **_exact(amount=event.amount, rate=event.rate), "id": event.id}
        case AccountStream():
            return {**_head("account_stream", None, ts), "live": event.live, "reason": event.reason}


def _exact(**values: Decimal | None) -> dict[str, str | None]:
    """Return decimals as text, without exponent or trailing zeros."""
    return {name: _decimal_text(value) for name, value in values.items()}


def _decimal_text(value: Decimal | None) -> str | None:
    if value is None:
        return None
    return f"{value.normalize():f}" if value else "0"
