"""Public REST of both products (EXCHANGES §2.4, §3.4)."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from engine.kernel.instruments import InstrumentStatus
from engine.kernel.market import TIMEFRAME_MS, Ticker
from tests.venues.emulators.binance_endpoint import Endpoint, Run, one_or_all, row_limit
from tests.venues.emulators.binance_listing import (
    FUTURES_LIMITS,
    SPOT_LIMITS,
    Listing,
    futures_symbol,
    spot_symbol,
)
from tests.venues.emulators.binance_streams import day_statistics, kline_row
from tests.venues.emulators.binance_wire import BinanceError, Params, Product

if TYPE_CHECKING:
    from tests.venues.emulators.binance import BinanceEmulator

_DEPTHS = (5, 10, 20, 50, 100, 500, 1000)
_HOUR_MS = 3_600_000
_FUNDING_CALLS = 500
"""Calls of fundingRate and fundingInfo together in 5 minutes."""
_INTEREST = "0.00010000"


def _asked(venue: BinanceEmulator, product: Product, params: Params) -> Listing:
    return venue.catalogue.find(product, params.need("symbol"))


def _each(venue: BinanceEmulator, product: Product, params: Params) -> Iterator[Listing]:
    """Return the listing that is asked for, or those of a `symbols` list, or all."""
    if "symbol" in params:
        yield _asked(venue, product, params)
        return
    names = params.text("symbols")
    wanted = {name.strip('"[] ') for name in names.split(",")} if names else None
    for name in wanted or ():
        venue.catalogue.find(product, name)
    for listing in venue.catalogue.of(product):
        if wanted is None or listing.native in wanted:
            yield listing


def _rows(params: Params, rows: list[dict[str, object]]) -> object:
    return rows[0] if "symbol" in params else rows


def ping(venue: BinanceEmulator, params: Params) -> object:
    return {}


def time(venue: BinanceEmulator, params: Params) -> object:
    return {"serverTime": venue.clock.now_ms()}


def futures_info(venue: BinanceEmulator, params: Params) -> object:
    """Answer exchangeInfo; a delivery contract stands among the perpetuals, as at Binance."""
    symbols = [futures_symbol(listing, _status(venue, listing)) for listing in venue.catalogue.of(Product.FUTURES)]
    if symbols:
        delivery = {"symbol": "BTCUSDT_261225", "pair": "BTCUSDT", "contractType": "CURRENT_QUARTER"}
        symbols.append(symbols[0] | delivery)
    return {
        "timezone": "UTC",
        "serverTime": venue.clock.now_ms(),
        "futuresType": "U_MARGINED",
        "rateLimits": FUTURES_LIMITS,
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": symbols,
    }


def spot_info(venue: BinanceEmulator, params: Params) -> object:
    return {
        "timezone": "UTC",
        "serverTime": venue.clock.now_ms(),
        "rateLimits": SPOT_LIMITS,
        "exchangeFilters": [],
        "symbols": [spot_symbol(listing, _status(venue, listing)) for listing in _each(venue, Product.SPOT, params)],
    }


def _status(venue: BinanceEmulator, listing: Listing) -> str:
    if venue.exchange.instruments[listing.symbol].status is InstrumentStatus.TRADING:
        return "TRADING"
    return "SETTLING" if listing.is_futures else "BREAK"


def _price(venue: BinanceEmulator, listing: Listing) -> Decimal | float | None:
    market = venue.exchange.market(listing.symbol)
    return market.last if market.last is not None else market.mark_price()


def ticker_price(product: Product) -> Run:
    def run(venue: BinanceEmulator, params: Params) -> object:
        rows = []
        for listing in _each(venue, product, params):
            row: dict[str, object] = {
                "symbol": listing.native,
                "price": listing.price_text(_float(_price(venue, listing))),
            }
            rows.append(row | ({"time": venue.clock.now_ms()} if listing.is_futures else {}))
        return _rows(params, rows)

    return run


def _float(price: Decimal | float | None) -> float | None:
    return None if price is None else float(price)


def book_ticker(product: Product) -> Run:
    def run(venue: BinanceEmulator, params: Params) -> object:
        rows = []
        for listing in _each(venue, product, params):
            touch = venue.exchange.market(listing.symbol).touch
            row: dict[str, object] = {
                "symbol": listing.native,
                "bidPrice": listing.price_text(touch.bid if touch is not None else None),
                "bidQty": listing.qty_text(touch.bid_size if touch is not None else 0.0),
                "askPrice": listing.price_text(touch.ask if touch is not None else None),
                "askQty": listing.qty_text(touch.ask_size if touch is not None else 0.0),
            }
            if listing.is_futures:
                update_id = venue.streams.books[listing.symbol].update_id
                row |= {"time": touch.ts if touch is not None else 0, "lastUpdateId": update_id}
            rows.append(row)
        return _rows(params, rows)

    return run


def day_ticker(product: Product) -> Run:
    def run(venue: BinanceEmulator, params: Params) -> object:
        rows = []
        for listing in _each(venue, product, params):
            market = venue.exchange.market(listing.symbol)
            ticker = market.ticker
            if ticker is None:
                last = _float(_price(venue, listing)) or float(listing.instrument.tick_size)
                ticker = Ticker(listing.symbol, venue.clock.now_ms(), last, last, last, last, 0.0)
            rows.append(day_statistics(listing, ticker))
        return _rows(params, rows)

    return run


def futures_depth(venue: BinanceEmulator, params: Params) -> object:
    listing, limit = _asked(venue, Product.FUTURES, params), params.integer("limit") or 500
    if limit not in _DEPTHS:
        raise BinanceError(-4021, f"{limit} is not valid depth limit.")
    return venue.streams.books[listing.symbol].snapshot(limit, venue.clock.now_ms())


def futures_depth_weight(params: Params) -> int:
    limit = params.integer("limit") or 500
    return next(weight for most, weight in ((50, 2), (100, 5), (500, 10), (10**9, 20)) if limit <= most)


def spot_depth(venue: BinanceEmulator, params: Params) -> object:
    listing, limit = _asked(venue, Product.SPOT, params), row_limit(params, 100, 5000)
    return venue.streams.books[listing.symbol].snapshot(limit, venue.clock.now_ms())


def spot_depth_weight(params: Params) -> int:
    limit = params.integer("limit") or 100
    return next(weight for most, weight in ((100, 5), (500, 25), (1000, 50), (10**9, 250)) if limit <= most)


def klines(product: Product, most: int) -> Run:
    async def run(venue: BinanceEmulator, params: Params) -> object:
        listing, interval = _asked(venue, product, params), params.need("interval")
        if interval not in TIMEFRAME_MS:
            raise BinanceError(-1120, "Invalid interval.")
        limit = row_limit(params, 500, most)
        start, end = params.integer("startTime"), params.integer("endTime")
        bars = await venue.venue.get_klines(listing.symbol, interval, limit, start, end)
        return [kline_row(listing, bar) for bar in bars]

    return run


def futures_kline_weight(params: Params) -> int:
    limit = params.integer("limit") or 500
    return next(weight for below, weight in ((100, 1), (500, 2), (1001, 5), (10**9, 10)) if limit < below)


def premium_index(venue: BinanceEmulator, params: Params) -> object:
    rows = []
    for listing in _each(venue, Product.FUTURES, params):
        market = venue.exchange.market(listing.symbol)
        mark, funding = market.mark_price(), market.funding
        rows.append(
            {
                "symbol": listing.native,
                "markPrice": listing.mark_text(mark),
                "indexPrice": listing.mark_text(market.index if market.index is not None else mark),
                "estimatedSettlePrice": listing.mark_text(mark),
                "lastFundingRate": f"{funding.rate:.8f}" if funding is not None else "0.00000000",
                "interestRate": _INTEREST,
                "nextFundingTime": funding.next_time if funding is not None else _next_funding(venue, listing),
                "time": venue.clock.now_ms(),
            }
        )
    return _rows(params, rows)


def _period_h(venue: BinanceEmulator, listing: Listing) -> int:
    funding = venue.exchange.market(listing.symbol).funding
    return funding.period_h if funding is not None else listing.instrument.funding_period_h


def _next_funding(venue: BinanceEmulator, listing: Listing) -> int:
    now_ms, period_ms = venue.clock.now_ms(), _period_h(venue, listing) * _HOUR_MS
    return now_ms - now_ms % period_ms + period_ms


def funding_rates(venue: BinanceEmulator, params: Params) -> object:
    """Answer past funding: the present rate, as often as the time holds periods."""
    _count_funding(venue)
    limit = row_limit(params, 200)
    now_ms, rows = venue.clock.now_ms(), []
    for listing in _each(venue, Product.FUTURES, params):
        market = venue.exchange.market(listing.symbol)
        if market.funding is None:
            continue
        period_ms = _period_h(venue, listing) * _HOUR_MS
        newest = min(now_ms, params.integer("endTime") or now_ms) // period_ms * period_ms
        oldest = params.integer("startTime") or newest - (limit - 1) * period_ms
        first = oldest + -oldest % period_ms
        times = list(range(first, newest + 1, period_ms))[:limit]
        rows += [
            {
                "symbol": listing.native,
                "fundingTime": at,
                "fundingRate": f"{market.funding.rate:.8f}",
                "markPrice": listing.mark_text(market.mark_price()),
            }
            for at in times
        ]
    return rows


def _count_funding(venue: BinanceEmulator) -> None:
    if venue.limits.add("funding", 300.0) > _FUNDING_CALLS and venue.limits_on:
        wait_s = max(1, round(venue.limits.left_s(300.0)))
        raise BinanceError(-1003, "Too many requests.", 429, {"Retry-After": str(wait_s)})


def funding_info(venue: BinanceEmulator, params: Params) -> object:
    _count_funding(venue)
    return [
        {
            "symbol": listing.native,
            "adjustedFundingRateCap": "0.02000000",
            "adjustedFundingRateFloor": "-0.02000000",
            "fundingIntervalHours": _period_h(venue, listing),
            "disclaimer": False,
        }
        for listing in venue.catalogue.of(Product.FUTURES)
        if _period_h(venue, listing) != 8
    ]


def _endpoints() -> dict[tuple[str, str], Endpoint]:
    fapi, spot = Product.FUTURES, Product.SPOT
    return {
        ("GET", "/fapi/v1/ping"): Endpoint(ping),
        ("GET", "/fapi/v1/time"): Endpoint(time),
        ("GET", "/fapi/v1/exchangeInfo"): Endpoint(futures_info),
        ("GET", "/fapi/v1/ticker/price"): Endpoint(ticker_price(fapi), one_or_all(1, 2)),
        ("GET", "/fapi/v2/ticker/price"): Endpoint(ticker_price(fapi), one_or_all(1, 2)),
        ("GET", "/fapi/v1/ticker/bookTicker"): Endpoint(book_ticker(fapi), one_or_all(2, 5)),
        ("GET", "/fapi/v1/ticker/24hr"): Endpoint(day_ticker(fapi), one_or_all(1, 40)),
        ("GET", "/fapi/v1/depth"): Endpoint(futures_depth, futures_depth_weight),
        ("GET", "/fapi/v1/klines"): Endpoint(klines(fapi, 1500), futures_kline_weight),
        ("GET", "/fapi/v1/premiumIndex"): Endpoint(premium_index, one_or_all(1, 10)),
        ("GET", "/fapi/v1/fundingRate"): Endpoint(funding_rates, 0),
        ("GET", "/fapi/v1/fundingInfo"): Endpoint(funding_info, 0),
        ("GET", "/api/v3/ping"): Endpoint(ping),
        ("GET", "/api/v3/time"): Endpoint(time),
        ("GET", "/api/v3/exchangeInfo"): Endpoint(spot_info, 20),
        ("GET", "/api/v3/ticker/price"): Endpoint(ticker_price(spot), one_or_all(2, 4)),
        ("GET", "/api/v3/ticker/bookTicker"): Endpoint(book_ticker(spot), one_or_all(2, 4)),
        ("GET", "/api/v3/ticker/24hr"): Endpoint(day_ticker(spot), one_or_all(2, 80)),
        ("GET", "/api/v3/depth"): Endpoint(spot_depth, spot_depth_weight),
        ("GET", "/api/v3/klines"): Endpoint(klines(spot, 1000), 2),
    }


PUBLIC = _endpoints()
