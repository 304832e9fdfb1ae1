"""OKX's candles: bars in UTC and in UTC+8, built from the inner venue's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

from drivers.paper.driver import PaperDriver
from engine.kernel.market import TIMEFRAME_MS, Bar
from engine.kernel.syscalls import Unsubscribe
from tests.venues.emulators.okx_listing import Units
from tests.venues.emulators.okx_wire import OkxError, fmt

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_MONDAY_MS = 4 * _DAY_MS
_CHINA = timezone(timedelta(hours=8))
_SHORT = {"1m": "1m", "3m": "3m", "5m": "5m", "15m": "15m", "30m": "30m", "1H": "1h", "4H": "4h", "1Dutc": "1d"}
_LONG = {"2H": 2, "6H": 6, "12H": 12, "1D": 24, "2D": 48, "3D": 72, "1W": 168}
_MONTHS = {"1M": 1, "3M": 3}


def is_bar(name: str) -> bool:
    """Return whether there are candles of this length."""
    try:
        BarRule(name)
    except OkxError:
        return False
    return True


class BarRule:
    """Where candles of one length open and end.

    Attributes:
        base: The inner venue's candles from which they are built.
    """

    def __init__(self, name: str) -> None:
        plain = name.removesuffix("utc")
        if name in _SHORT:
            self.base = _SHORT[name]
            self._step_ms, self._offset_ms = TIMEFRAME_MS[self.base], 0
        elif plain in _LONG and (plain != "2H" or name == plain):
            self.base = "1d" if name != plain and _LONG[plain] > 24 else "1h"
            self._step_ms = _LONG[plain] * _HOUR_MS
            week_ms = _MONDAY_MS if plain == "1W" else 0
            self._offset_ms = week_ms - (0 if name != plain or plain == "2H" else 8 * _HOUR_MS)
        elif plain in _MONTHS:
            self.base = "1d" if name != plain else "4h"
            self._step_ms, self._offset_ms = 0, 0
            self._months = _MONTHS[plain]
            self._zone = UTC if name != plain else _CHINA
        else:
            raise OkxError("51000", "bar")
        self.is_native = name in _SHORT

    def opens(self, ts: int) -> int:
        """Return the opening time of the candle that holds a time."""
        if self._step_ms:
            return (ts - self._offset_ms) // self._step_ms * self._step_ms + self._offset_ms
        day = datetime.fromtimestamp(ts / 1000, self._zone)
        return _month(day.year, (day.month - 1) // self._months * self._months, self._zone)

    def ends(self, opened: int) -> int:
        """Return the end of the candle that opened at a time."""
        if self._step_ms:
            return opened + self._step_ms
        day = datetime.fromtimestamp(opened / 1000, self._zone)
        return _month(day.year, day.month - 1 + self._months, self._zone)

    def parts(self) -> int:
        """Return how many inner candles one of these holds at most."""
        longest = self._step_ms or 31 * self._months * _DAY_MS
        return longest // TIMEFRAME_MS[self.base]

    def joined(self, bars: list[Bar]) -> list[Bar]:
        """Return the candles that inner candles make, oldest first."""
        groups: dict[int, list[Bar]] = {}
        for bar in bars:
            groups.setdefault(self.opens(bar.open_time), []).append(bar)
        return [self._join(opened, parts) for opened, parts in groups.items()]

    def _join(self, opened: int, parts: list[Bar]) -> Bar:
        last = parts[-1]
        complete = last.open_time + TIMEFRAME_MS[self.base] >= self.ends(opened)
        return Bar(
            last.symbol, last.timeframe, opened, parts[0].open, max(bar.high for bar in parts),
            min(bar.low for bar in parts), last.close, sum(bar.base_volume for bar in parts),
            sum(bar.quote_volume for bar in parts), last.closed and complete,
        )  # fmt: skip


async def candles(venue: PaperDriver, symbol: str, rule: BarRule, limit: int, before_ms: int | None) -> list[Bar]:
    """Return the last `limit` candles that opened before a time (None: now), oldest first."""
    end = None if before_ms is None else before_ms - 1
    if rule.is_native:
        return await venue.get_klines(symbol, rule.base, limit, None, end)
    if end is not None:
        end = rule.ends(rule.opens(end)) - 1
    bars = rule.joined(await venue.get_klines(symbol, rule.base, (limit + 1) * rule.parts(), None, end))
    return bars[-limit:]


async def follow(venue: PaperDriver, symbol: str, rule: BarRule, push: Callable[[Bar], None]) -> Unsubscribe:
    """Push candles as they form, the present one first."""
    recent = await venue.get_klines(symbol, rule.base, rule.parts())
    parts = {bar.open_time: bar for bar in recent}

    def on_bar(bar: Bar) -> None:
        opened = rule.opens(bar.open_time)
        parts[bar.open_time] = bar
        for old in [ts for ts in parts if ts < opened]:
            del parts[old]
        push(rule.joined([parts[ts] for ts in sorted(parts)])[-1])

    if recent:
        push(rule.joined(recent)[-1])
    return venue.subscribe_klines(symbol, rule.base, on_bar)


def candle_row(units: Units, bar: Bar) -> list[str]:
    """Return [ts, o, h, l, c, vol, volCcy, volCcyQuote, confirm]."""
    prices = [units.market_price(price) for price in (bar.open, bar.high, bar.low, bar.close)]
    base, quote = units.instrument.quantity_from_float(bar.base_volume), fmt_volume(bar.quote_volume)
    coins = fmt(base) if units.instrument.is_perp else quote
    return [str(bar.open_time), *prices, units.size(base), coins, quote, "1" if bar.closed else "0"]


def fmt_volume(volume: float) -> str:
    """Return a volume in money."""
    return f"{volume:.4f}".rstrip("0").rstrip(".")


def _month(year: int, month: int, zone: timezone) -> int:
    return round(datetime(year + month // 12, month % 12 + 1, 1, tzinfo=zone).timestamp() * 1000)
