"""OKX's public data as rows, the same for REST and for the sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from engine.kernel.market import FundingRate, Levels
from tests.venues.emulators.faults import Answer
from tests.venues.emulators.okx_candles import BarRule, candle_row, candles, fmt_volume
from tests.venues.emulators.okx_listing import INVERSE, Units
from tests.venues.emulators.okx_wire import OkxError, Row, data, fmt, number, required

if TYPE_CHECKING:
    from tests.venues.emulators.okx import OkxEmulator

T = TypeVar("T")

_HOUR_MS = 3_600_000
_RECENT_BARS = 1_440
_LARGEST_PAGE = {"candles": 300, "history-candles": 300, "funding-rate-history": 400}
_BOOK_DEPTH = 400


class PublicData:
    """Public rows of one emulator.

    Args:
        emulator: Whose.

    Attributes:
        price_band: How far a limit price may lie beyond the mark, as a fraction.
        states: State of an instrument where it is not `live`, by the venue's name.
    """

    def __init__(self, emulator: OkxEmulator) -> None:
        self._emulator = emulator
        self.price_band = Decimal("0.05")
        self.states: dict[str, str] = {}
        self._settled: dict[str, list[FundingRate]] = {}

    def take_funding(self, event: FundingRate) -> None:
        """Remember a funding rate that was paid by the time the next one is announced."""
        rates = self._settled.setdefault(event.symbol, [])
        if rates and rates[-1].next_time == event.next_time:
            rates[-1] = event
        else:
            rates.append(event)

    def instruments(self, parameters: Mapping[str, str]) -> Answer:
        """GET /public/instruments."""
        required(parameters, "instType")
        kind, wanted = parameters["instType"], parameters.get("instId")
        if kind not in ("SPOT", "SWAP", "FUTURES", "MARGIN", "OPTION"):
            raise OkxError("51000", "instType")
        rows = [self.instrument_row(units) for units in self._emulator.units.values() if units.inst_type == kind]
        if kind == "SWAP":
            rows.append(dict(INVERSE))
        rows = [row for row in rows if wanted in (None, row["instId"])]
        if wanted is not None and not rows:
            raise OkxError("51001")
        return data(rows)

    def instrument_row(self, units: Units) -> Row:
        """Return an instrument's row."""
        return units.row(self.states.get(units.native, "live"))

    def tickers(self, parameters: Mapping[str, str]) -> Answer:
        """GET /market/tickers."""
        required(parameters, "instType")
        units = [each for each in self._emulator.units.values() if each.inst_type == parameters["instType"]]
        return data([row for each in units if (row := self.ticker_row(each)) is not None])

    def ticker(self, parameters: Mapping[str, str]) -> Answer:
        """GET /market/ticker."""
        row = self.ticker_row(self._emulator.units_of(parameters))
        return data([] if row is None else [row])

    def ticker_row(self, units: Units) -> Row | None:
        """Return an instrument's ticker, None before its first price."""
        market = self._emulator.exchange.market(units.instrument.symbol)
        touch, ticker = market.touch, market.ticker
        if touch is None:
            return None
        last = market.last if market.last is not None else touch.mid
        opened, high, low, volume = (
            (last, last, last, 0.0)
            if ticker is None
            else (ticker.open_24h, ticker.high_24h, ticker.low_24h, ticker.quote_volume_24h)
        )
        coins = Decimal(repr(round(volume / last, 8)))
        return {
            "instType": units.inst_type,
            "instId": units.native,
            "last": units.market_price(last),
            "lastSz": fmt(units.lot),
            "askPx": units.market_price(touch.ask) if touch.ask_size else "",
            "askSz": units.market_size(touch.ask_size) if touch.ask_size else "",
            "bidPx": units.market_price(touch.bid) if touch.bid_size else "",
            "bidSz": units.market_size(touch.bid_size) if touch.bid_size else "",
            "open24h": units.market_price(opened),
            "high24h": units.market_price(high),
            "low24h": units.market_price(low),
            "volCcy24h": fmt(coins) if units.instrument.is_perp else fmt_volume(volume),
            "vol24h": units.size(coins),
            "ts": str(touch.ts),
            "sodUtc0": units.market_price(opened),
            "sodUtc8": units.market_price(opened),
        }

    def mark_prices(self, parameters: Mapping[str, str]) -> Answer:
        """GET /public/mark-price."""
        required(parameters, "instType")
        if parameters.get("instId"):
            chosen = [self._emulator.units_of(parameters)]
        else:
            chosen = [units for units in self._emulator.units.values() if units.inst_type == parameters["instType"]]
        return data([row for units in chosen if (row := self.mark_row(units)) is not None])

    def mark_row(self, units: Units) -> Row | None:
        """Return an instrument's mark price, None before its first price."""
        mark = self._emulator.exchange.market(units.instrument.symbol).mark_price()
        if mark is None:
            return None
        now_ms = self._emulator.clock.now_ms()
        return {"instType": units.inst_type, "instId": units.native, "markPx": fmt(mark), "ts": str(now_ms)}

    def index_row(self, units: Units) -> Row | None:
        """Return the index price of an instrument's pair, None before its first price."""
        market = self._emulator.exchange.market(units.instrument.symbol)
        mark = market.mark_price()
        if mark is None:
            return None
        price = fmt(mark if market.index is None else Decimal(repr(market.index)))
        now_ms = self._emulator.clock.now_ms()
        fields = ("idxPx", "high24h", "low24h", "open24h", "sodUtc0", "sodUtc8")
        return {"instId": units.family, **dict.fromkeys(fields, price), "ts": str(now_ms)}

    def price_limit(self, parameters: Mapping[str, str]) -> Answer:
        """GET /public/price-limit."""
        units = self._emulator.units_of(parameters)
        row = self.limit_row(units)
        return data([] if row is None else [row])

    def limit_row(self, units: Units) -> Row | None:
        """Return the highest bid and the lowest offer that are accepted now; None before the first price."""
        limits = self.limits(units)
        if limits is None:
            return None
        highest, lowest = limits
        now_ms = str(self._emulator.clock.now_ms())
        return {
            "instType": units.inst_type,
            "instId": units.native,
            "buyLmt": fmt(highest),
            "sellLmt": fmt(lowest),
            "ts": now_ms,
            "enabled": True,
        }

    def limits(self, units: Units) -> tuple[Decimal, Decimal] | None:
        """Return the highest bid and the lowest offer that are accepted."""
        mark = self._emulator.exchange.market(units.instrument.symbol).mark_price()
        if mark is None:
            return None
        tick = units.instrument.tick_size
        return mark * (1 + self.price_band) // tick * tick, mark * (1 - self.price_band) // tick * tick

    def books(self, parameters: Mapping[str, str]) -> Answer:
        """GET /market/books."""
        units = self._emulator.units_of(parameters)
        depth = number(parameters, "sz") or Decimal(1)
        if depth > _BOOK_DEPTH or depth % 1:
            raise OkxError("51000", "sz")
        return data([self.book_row(units, int(depth))])

    def book_row(self, units: Units, depth: int) -> Row:
        """Return the best levels with the number of the newest change."""
        chain = self._emulator.books[units.instrument.symbol]
        return {
            "asks": level_rows(units, chain.best_asks(depth)),
            "bids": level_rows(units, chain.best_bids(depth)),
            "ts": str(chain.ts or self._emulator.clock.now_ms()),
            "seqId": chain.last,
        }

    def funding_rate(self, parameters: Mapping[str, str]) -> Answer:
        """GET /public/funding-rate."""
        units = self._emulator.units_of(parameters)
        if not units.instrument.is_perp:
            raise OkxError("51000", "instId")
        return data([self.funding_row(units)])

    def funding_row(self, units: Units) -> Row:
        """Return the rate that will be paid at `fundingTime`; 0 while the market has announced none."""
        now_ms = self._emulator.clock.now_ms()
        funding = self._emulator.exchange.market(units.instrument.symbol).funding
        period_ms = (funding.period_h if funding else units.instrument.funding_period_h) * _HOUR_MS
        due = funding.next_time if funding else now_ms - now_ms % period_ms + period_ms
        rates = self._settled.get(units.instrument.symbol, [])
        return {
            "instType": units.inst_type,
            "instId": units.native,
            "method": "current_period",
            "formulaType": "noRate",
            "fundingRate": _rate(funding.rate if funding else 0.0),
            "nextFundingRate": "",
            "fundingTime": str(due),
            "nextFundingTime": str(due + period_ms),
            "minFundingRate": "-0.00375",
            "maxFundingRate": "0.00375",
            "interestRate": "0.0001",
            "impactValue": "20000",
            "premium": "0.0001",
            "settState": "settled",
            "settFundingRate": _rate(rates[-2].rate) if len(rates) > 1 else "0",
            "ts": str(now_ms),
        }

    def funding_history(self, parameters: Mapping[str, str]) -> Answer:
        """GET /public/funding-rate-history."""
        units, now_ms = self._emulator.units_of(parameters), self._emulator.clock.now_ms()
        paid = [rate for rate in self._settled.get(units.instrument.symbol, []) if rate.next_time <= now_ms]
        rows = [
            {
                "instType": units.inst_type,
                "instId": units.native,
                "formulaType": "noRate",
                "fundingRate": _rate(rate.rate),
                "realizedRate": _rate(rate.rate),
                "fundingTime": str(rate.next_time),
                "method": "current_period",
            }
            for rate in reversed(paid)
        ]
        return data(page(rows, parameters, lambda row: int(row["fundingTime"]), _LARGEST_PAGE["funding-rate-history"]))

    async def candles(self, parameters: Mapping[str, str], kind: str) -> Answer:
        """GET /market/candles (the latest 1440 only) and /market/history-candles, newest first."""
        units = self._emulator.units_of(parameters)
        rule = BarRule(parameters.get("bar") or "1m")
        after, before = number(parameters, "after", zero=True), number(parameters, "before", zero=True)
        limit = number(parameters, "limit")
        count = min(int(limit or 100), _LARGEST_PAGE[kind])
        wanted = _RECENT_BARS if kind == "candles" and after is not None else count
        symbol, older_than = units.instrument.symbol, None if after is None else int(after)
        if kind == "candles":
            recent = await candles(self._emulator.venue, symbol, rule, wanted, None)
            bars = [bar for bar in recent if older_than is None or bar.open_time < older_than]
        else:
            bars = await candles(self._emulator.venue, symbol, rule, wanted, older_than)
        if before is not None:
            bars = [bar for bar in bars if bar.open_time > int(before)]
        return data([candle_row(units, bar) for bar in reversed(bars[-count:])])


def level_rows(units: Units, levels: Levels) -> list[list[str]]:
    """Return levels as [price, size, "0", orders]; a size of 0 takes the level away."""
    sized = ((units.market_price(price), units.market_size(size)) for price, size in levels)
    return [[price, size, "0", "0" if size == "0" else "1"] for price, size in sized]


def page(rows: Iterable[T], parameters: Mapping[str, Any], cursor: Callable[[T], int], largest: int) -> list[T]:
    """Return one page of what comes newest first: `after` asks for older, `before` for newer than a cursor."""
    after, before = number(parameters, "after", zero=True), number(parameters, "before", zero=True)
    limit = number(parameters, "limit")
    count = min(int(limit or min(largest, 100)), largest)
    chosen = (
        row for row in rows if (after is None or cursor(row) < after) and (before is None or cursor(row) > before)
    )
    return list(islice(chosen, count))


def _rate(rate: float) -> str:
    return fmt(Decimal(repr(rate)))
