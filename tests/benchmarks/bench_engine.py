"""What the engine adds to a market event, and what an order costs from the call to the gateway, in one run.

Market data through `MarketData` and the bus to three subscribers stands beside the three bare calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from statistics import median

import pytest

from engine.kernel.clock import VirtualClock
from engine.kernel.event_bus import EventBus
from engine.kernel.market import Quote
from engine.kernel.orders import OrderType
from engine.runtime.accounts import MANUAL, AccountLimits
from engine.runtime.market import MarketData
from tests.benchmarks.table import Table
from tests.engine.floor import BUY, PERP, Floor
from tests.paper.venue import instruments

pytestmark = pytest.mark.bench

EVENTS = 100_000
ROUNDS = 7
MOST_ADDED_US = 1.5
ORDERS = 1_000
MOST_ORDER_US = 400.0


def seconds(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


class _Stream:
    """A driver of which only the tick stream exists."""

    venue = "bench"

    def subscribe_ticks(self, symbol, handler):
        self.send = handler
        return lambda: None


def test_a_quote_through_the_engine(table: Table) -> None:
    stream, bus = _Stream(), EventBus()
    market = MarketData(stream, VirtualClock(1), bus)  # type: ignore[arg-type]
    market.set_instruments(instruments())
    market.watch(PERP, depth=False)
    newest: list[Quote | None] = [None, None, None]
    handlers = [lambda quote, at=at: newest.__setitem__(at, quote) for at in range(3)]
    for handler in handlers:
        bus.subscribe(Quote, handler)
    quotes = [Quote(PERP, number, 100.0, 1.0, 100.1, 1.0) for number in range(1000)] * (EVENTS // 1000)

    def bare() -> None:
        first, second, third = handlers
        for quote in quotes:
            first(quote)
            second(quote)
            third(quote)

    def through() -> None:
        send = stream.send
        for quote in quotes:
            send(quote)

    floor = median(seconds(bare) for _ in range(ROUNDS)) / EVENTS * 1e6
    ours = median(seconds(through) for _ in range(ROUNDS)) / EVENTS * 1e6
    added = ours - floor
    table.add(
        f"quote through the engine to 3 subscribers, added {added:.2f} µs",
        f"{ours:.2f} µs",
        f"<= {MOST_ADDED_US} µs added",
        added <= MOST_ADDED_US,
        f"{floor:.2f} µs",
        ours / floor,
    )


def test_an_order_from_the_call_to_the_gateway(tmp_path: Path, table: Table) -> None:
    roomy = Decimal(10**7)
    limits = AccountLimits(
        max_notional_usd=roomy,
        max_order_usd=roomy,
        max_leverage=roomy,
        max_open_orders=10**6,
        max_orders_per_min=10**6,
    )
    desk = Floor(tmp_path, limits=limits)
    desk.print(100.0)
    spent = 0.0
    for number in range(ORDERS):
        price = Decimal(99) - Decimal(number % 500) / 100
        began = time.process_time()
        client_id = desk.engine.submit(MANUAL, PERP, BUY, OrderType.LIMIT, Decimal(1), price)
        spent += time.process_time() - began
        desk.run(0.01)
        desk.engine.cancel(client_id)
        desk.run(0.1)
        if not number % 50:
            desk.print(100.0)
    each = spent / ORDERS * 1e6
    table.add("order, call to gateway", f"{each:.0f} µs", f"<= {MOST_ORDER_US:.0f} µs", each <= MOST_ORDER_US)
