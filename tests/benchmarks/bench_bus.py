"""The event bus with three subscribers beside a function that calls the same three in turn, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import pytest

from engine.kernel.event_bus import EventBus
from engine.kernel.market import Quote, Trade
from tests.benchmarks.table import Table

pytestmark = pytest.mark.bench

EVENTS = 200_000
ROUNDS = 9
MOST = 1.5


class Subscriber:
    """Keeps the newest value, as a pane or portfolio does."""

    def __init__(self) -> None:
        self.newest: Quote | None = None
        self.count = 0

    def on_quote(self, quote: Quote) -> None:
        self.newest = quote
        self.count += 1


def seconds(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def test_three_subscribers(table: Table) -> None:
    quotes = [Quote("BTC-USDT-PERP", number, 100.0, 1.0, 100.1, 1.0) for number in range(1000)] * (EVENTS // 1000)
    direct = [Subscriber() for _ in range(3)]
    served = [Subscriber() for _ in range(3)]
    bus = EventBus()
    for subscriber in served:
        bus.subscribe(Quote, subscriber.on_quote)
    bus.subscribe(Trade, lambda trade: None)
    handlers = tuple(subscriber.on_quote for subscriber in direct)

    def call_each(quote: Quote) -> None:
        for handler in handlers:
            handler(quote)

    def call() -> None:
        for quote in quotes:
            call_each(quote)

    def publish() -> None:
        for quote in quotes:
            bus.publish(quote)

    pairs = [(seconds(call), seconds(publish)) for _ in range(ROUNDS)]
    floor, ours = (median(column) / EVENTS * 1e9 for column in zip(*pairs, strict=True))
    ratio = median(published / called for called, published in pairs)
    assert all(subscriber.count == EVENTS * ROUNDS for subscriber in direct + served)
    table.add("event bus, 3 subscribers", f"{ours:.0f} ns", f"<= {MOST} x", ratio <= MOST, f"{floor:.0f} ns", ratio)
