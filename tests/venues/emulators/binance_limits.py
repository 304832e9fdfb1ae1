"""Binance's request limits: weight a minute and IP, orders an account, 429, then 418 (EXCHANGES §2.3, §3.3)."""

from __future__ import annotations

from collections.abc import Callable

from tests.venues.emulators.binance_listing import FUTURES_LIMITS, SPOT_LIMITS
from tests.venues.emulators.binance_wire import BinanceError, Product

_UNIT_MS = {"SECOND": 1_000, "MINUTE": 60_000, "DAY": 86_400_000}
_PATIENCE = 10
"""Requests that may follow a 429 before the address is banned."""
_BAN_MS = 120_000


class _Window:
    def __init__(self, spec: dict[str, object]) -> None:
        self.kind = str(spec["rateLimitType"])
        self.interval, self.number = str(spec["interval"]), int(str(spec["intervalNum"]))
        self.limit = int(str(spec["limit"]))
        self.length_ms = _UNIT_MS[self.interval] * self.number
        self.used = 0
        self._began = -1

    def roll(self, now_ms: int) -> None:
        began = now_ms - now_ms % self.length_ms
        if began != self._began:
            self._began, self.used = began, 0

    def left_s(self, now_ms: int) -> int:
        return max(1, -(-(self._began + self.length_ms - now_ms) // 1000))

    @property
    def name(self) -> str:
        return f"{self.number}{self.interval[0]}"


class Limits:
    """The counters of one product.

    Args:
        product: Futures or spot.
        now_ms: The venue's time.
    """

    def __init__(self, product: Product, now_ms: Callable[[], int]) -> None:
        specs = FUTURES_LIMITS if product is Product.FUTURES else SPOT_LIMITS
        self._windows = [_Window(spec) for spec in specs]
        self._weight = next(w for w in self._windows if w.kind == "REQUEST_WEIGHT")
        self._orders = [w for w in self._windows if w.kind == "ORDERS"]
        self._raw = [w for w in self._windows if w.kind == "RAW_REQUESTS"]
        self._now_ms = now_ms
        self._ignored = 0
        self.banned_until_ms = 0

    def set_limit(self, kind: str, limit: int) -> None:
        """Make a limit smaller for a test: `REQUEST_WEIGHT` or `ORDERS` (its shortest window)."""
        windows = [w for w in self._windows if w.kind == kind]
        min(windows, key=lambda w: w.length_ms).limit = limit

    def ban(self, seconds: float) -> None:
        """Ban the address as after many ignored 429s."""
        self.banned_until_ms = self._now_ms() + round(seconds * 1000)

    def admit(self, weight: int) -> None:
        """Count a request.

        Raises:
            BinanceError: 418 while banned; 429 above the limit, both with Retry-After.
        """
        now = self._roll()
        if now < self.banned_until_ms:
            raise self._banned(now)
        self._weight.used += weight
        for window in self._raw:
            window.used += 1
        if self._weight.used <= self._weight.limit:
            self._ignored = 0
            return
        self._ignored += 1
        if self._ignored > _PATIENCE:
            self.banned_until_ms = now + _BAN_MS
            raise self._banned(now)
        raise BinanceError(
            -1003,
            f"Too many requests; current limit of IP is {self._weight.limit} requests per minute. "
            "Please use the websocket for live updates to avoid polling the API.",
            429,
            {"Retry-After": str(self._weight.left_s(now))},
        )

    def count_orders(self, count: int = 1) -> None:
        """Count new orders of the account.

        Raises:
            BinanceError: -1015 with 429 above a limit.
        """
        now = self._roll()
        for window in self._orders:
            if window.used + count > window.limit:
                span = f"{window.number} {window.interval}"
                raise BinanceError(
                    -1015,
                    f"Too many new orders; current limit is {window.limit} orders per {span}.",
                    429,
                    {"Retry-After": str(window.left_s(now))},
                )
        for window in self._orders:
            window.used += count

    def headers(self, orders: bool) -> dict[str, str]:
        """Return the usage headers; order counts only on order replies."""
        self._roll()
        found = {"X-MBX-USED-WEIGHT-1M": str(self._weight.used)}
        if orders:
            found |= {f"X-MBX-ORDER-COUNT-{w.name}": str(w.used) for w in self._orders}
        return found

    def usage(self, kinds: tuple[str, ...] = ("REQUEST_WEIGHT", "ORDERS")) -> list[dict[str, object]]:
        """Return the `rateLimits` of a WS API reply."""
        self._roll()
        return [
            {
                "rateLimitType": w.kind,
                "interval": w.interval,
                "intervalNum": w.number,
                "limit": w.limit,
                "count": w.used,
            }
            for w in self._windows
            if w.kind in kinds
        ]

    def _roll(self) -> int:
        now = self._now_ms()
        for window in self._windows:
            window.roll(now)
        return now

    def _banned(self, now_ms: int) -> BinanceError:
        left = max(1, -(-(self.banned_until_ms - now_ms) // 1000))
        return BinanceError(
            -1003,
            f"Way too many requests; IP banned until {self.banned_until_ms}. "
            "Please use the websocket for live updates to avoid bans.",
            418,
            {"Retry-After": str(left)},
        )
