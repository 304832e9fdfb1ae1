"""How an endpoint is declared: what carries it out, its weight, and what it asks of the caller."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, TypeVar

from tests.venues.emulators.binance_wire import BinanceError, Params

if TYPE_CHECKING:
    from tests.venues.emulators.binance import BinanceEmulator

T = TypeVar("T")
Run = Callable[["BinanceEmulator", Params], object | Awaitable[object]]
Weight = int | Callable[[Params], int]
MOST_ROWS = 1000


class Security(Enum):
    """What a call must carry."""

    NONE = auto()
    KEY = auto()
    READ = auto()
    TRADE = auto()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One call of REST or the WS API.

    Attributes:
        orders: New orders that it counts as, of the account's order limit.
    """

    run: Run
    weight: Weight = 1
    security: Security = Security.NONE
    orders: int | Callable[[Params], int] = 0

    def weight_of(self, params: Params) -> int:
        return self.weight if isinstance(self.weight, int) else self.weight(params)

    def orders_of(self, params: Params) -> int:
        return self.orders if isinstance(self.orders, int) else self.orders(params)


def one_or_all(single: int, every: int) -> Callable[[Params], int]:
    """Return a weight that depends on whether a symbol is given."""
    return lambda params: single if "symbol" in params else every


def row_limit(params: Params, usual: int = 500, most: int = MOST_ROWS) -> int:
    """Return how many rows are wanted."""
    limit = params.integer("limit")
    if limit is None:
        return usual
    if limit < 1:
        raise BinanceError(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(limit, most)


def in_window(
    rows: Sequence[T], time_of: Callable[[T], int], params: Params, window_ms: int, now_ms: int, default_window: bool
) -> list[T]:
    """Return the rows of the asked time: startTime to endTime, no wider than the window, first or last `limit`.

    Raises:
        BinanceError: -1127 when the times are further apart.
    """
    start, end = params.integer("startTime"), params.integer("endTime")
    if start is not None and end is not None and end - start > window_ms:
        raise BinanceError(-1127, f"More than {window_ms // 3_600_000} hours between startTime and endTime.")
    limit = row_limit(params)
    if start is None and end is None:
        first = now_ms - window_ms if default_window else 0
        return [row for row in rows if time_of(row) >= first][-limit:]
    low = start if start is not None else (end or 0) - window_ms
    high = end if end is not None else low + window_ms
    found = [row for row in rows if low <= time_of(row) <= high]
    return found[:limit] if start is not None else found[-limit:]
