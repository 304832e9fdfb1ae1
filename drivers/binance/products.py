"""How the two interfaces, USD-M futures and spot, differ: paths and request weights (EXCHANGES 2.4 and 3.4)."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

from drivers.binance.symbols import arch
from engine.kernel.instruments import InstrumentKind


@dataclass(frozen=True, slots=True)
class Product:
    """One interface.

    Attributes:
        kind: What is traded there.
        prefix: Before the name of an endpoint.
        trades: Name of the endpoint of our executions.
        query: Weight of asking for one order.
        open_one: Weight of the open orders of a symbol.
        open_all: Weight of all open orders.
        history: Weight of a page of orders or executions.
        place: Weight of placing an order, beside the count of orders.
        order_counts: Budgets that count orders.
    """

    kind: InstrumentKind
    prefix: str
    trades: str
    query: int
    open_one: int
    open_all: int
    history: int
    place: int
    order_counts: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the name that budgets and links begin with."""
        return self.kind.value

    @property
    def limits(self) -> dict[str, Any]:
        """Return its part of the limits in `arch.yaml`."""
        found: dict[str, Any] = arch().limits[self.name]
        return found

    def path(self, endpoint: str) -> str:
        """Return the path of an endpoint of the first version."""
        return f"{self.prefix}/{endpoint}"

    def depth_weight(self, levels: int) -> int:
        """Return the weight of a book of so many levels."""
        steps, weights = _DEPTH[self.kind]
        return weights[bisect_left(steps, levels)]

    def klines_weight(self, count: int) -> int:
        """Return the weight of so many candles."""
        return 2 if self.kind is InstrumentKind.SPOT else (1, 2, 5, 10)[bisect_left((99, 499, 1000), count)]


_DEPTH = {
    InstrumentKind.PERP: ((50, 100, 500), (2, 5, 10, 20)),
    InstrumentKind.SPOT: ((100, 500, 1000), (5, 25, 50, 250)),
}
PERP = Product(
    kind=InstrumentKind.PERP,
    prefix="/fapi/v1",
    trades="userTrades",
    query=1,
    open_one=1,
    open_all=40,
    history=5,
    place=0,
    order_counts=("perp_orders_10s", "perp_orders_1m"),
)
SPOT = Product(
    kind=InstrumentKind.SPOT,
    prefix="/api/v3",
    trades="myTrades",
    query=4,
    open_one=6,
    open_all=80,
    history=20,
    place=1,
    order_counts=("spot_orders_10s", "spot_orders_1d"),
)
