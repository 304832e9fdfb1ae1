"""Public questions about one instrument: price, book, candles, funding (EXCHANGES 2.4, 3.4)."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

from drivers.binance.convert import our_price, our_quantity
from drivers.binance.rest import Rest
from drivers.binance.signer import Params
from drivers.binance.wire import BookTickerRow, DepthLevels, LastPrice, PremiumIndex
from engine.kernel.errors import InvalidOrder
from engine.kernel.instruments import Instrument
from engine.kernel.market import TIMEFRAME_MS, Bar
from engine.kernel.syscalls import BookLevels, PriceNow

_DEPTHS = (5, 10, 20, 50, 100, 500, 1000)


async def price_now(rest: Rest, instrument: Instrument) -> PriceNow:
    """Return best bid and ask, the last price and, of a perpetual, the mark price."""
    symbol = {"symbol": instrument.native}
    last_path = "/fapi/v2/ticker/price" if instrument.is_perp else "ticker/price"
    touch, last = await asyncio.gather(
        rest.get("ticker/bookTicker", symbol, BookTickerRow, weight=2),
        rest.get(last_path, symbol, LastPrice, weight=1 if instrument.is_perp else 2),
    )
    mark = (await premium(rest, instrument)).markPrice if instrument.is_perp else None

    def exact(price: Decimal | None) -> Decimal | None:
        return our_price(instrument, price) if price else None

    ts = touch.time or last.time or rest.time.now_ms()
    return PriceNow(instrument.symbol, ts, exact(touch.bidPrice), exact(touch.askPrice), exact(last.price), exact(mark))


async def premium(rest: Rest, instrument: Instrument) -> PremiumIndex:
    """Return mark price and funding of a perpetual."""
    return await rest.get("premiumIndex", {"symbol": instrument.native}, PremiumIndex, weight=1)


async def order_book(rest: Rest, instrument: Instrument, level: int) -> BookLevels:
    """Return the best `level` levels of each side, at most as many as the venue shows.

    Raises:
        InvalidOrder: `level` is below 1.
    """
    if level < 1:
        raise InvalidOrder(f"level {level} must be at least 1")
    most: int = rest.product.limits["depth_snapshot_levels"]
    count = next((step for step in _DEPTHS if step >= level), most)
    params: Params = {"symbol": instrument.native, "limit": count}
    depth = await rest.get("depth", params, DepthLevels, weight=rest.product.depth_weight(count))

    def ours(levels: list[tuple[Decimal, Decimal]]) -> list[tuple[Decimal, Decimal]]:
        return [(our_price(instrument, price), our_quantity(instrument, size)) for price, size in levels[:level]]

    return BookLevels(instrument.symbol, depth.T or rest.time.now_ms(), ours(depth.bids), ours(depth.asks))


async def klines(
    rest: Rest, instrument: Instrument, timeframe: str, limit: int, start: int | None, end: int | None
) -> list[Bar]:
    """Return candles, oldest first, over as many pages as it takes; with a start the first `limit`, else the last.

    Raises:
        InvalidOrder: Timeframe or limit cannot be.
    """
    if timeframe not in TIMEFRAME_MS:
        raise InvalidOrder(f"timeframe {timeframe!r} must be one of {', '.join(TIMEFRAME_MS)}")
    if limit < 1:
        raise InvalidOrder(f"limit {limit} must be at least 1")
    largest: int = rest.product.limits["klines"]
    found: list[Bar] = []
    while len(found) < limit:
        count = min(limit - len(found), largest)
        params: dict[str, str | int] = {"symbol": instrument.native, "interval": timeframe, "limit": count}
        if start is not None:
            first = found[-1].open_time + TIMEFRAME_MS[timeframe] if found else start
            if end is not None:
                params["endTime"] = end
                if first > end:
                    break
            params["startTime"] = first
        elif found or end is not None:
            params["endTime"] = found[0].open_time - 1 if found else end or 0
        weight = rest.product.klines_weight(count)
        rows = await rest.get("klines", params, list[list[Any]], weight=weight)
        page = [_bar(instrument, timeframe, row, rest.time.now_ms()) for row in rows]
        found = found + page if start is not None else page + found
        if len(page) < count:
            break
    return found


def _bar(instrument: Instrument, timeframe: str, row: list[Any], now_ms: int) -> Bar:
    opened, high, low, close = (float(our_price(instrument, Decimal(row[at]))) for at in (1, 2, 3, 4))
    return Bar(
        symbol=instrument.symbol,
        timeframe=timeframe,
        open_time=row[0],
        open=opened,
        high=high,
        low=low,
        close=close,
        base_volume=float(our_quantity(instrument, Decimal(row[5]))),
        quote_volume=float(row[7]),
        closed=row[6] < now_ms,
    )
