"""Executions page by page: windows, full pages, client ids; against a list instead of a venue."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from drivers.binance.fills import AccountFills, FillPages, TradedSymbols
from drivers.binance.orders import OrderNotes
from drivers.binance.products import PERP, SPOT, Product
from drivers.binance.wire import FuturesTradeRow, OrderRow, SpotTradeRow
from drivers.transport.setup import MemoryStore
from engine.kernel.clock import NS_PER_MS, VirtualClock
from engine.kernel.errors import OrderNotFound
from engine.kernel.instruments import Instrument, InstrumentKind

DAY_MS = 86_400_000
NOW_MS = 1_790_000_000_000


class FakeTime:
    def now_ms(self) -> int:
        return NOW_MS


class FakeRest:
    """Answers like the venue from a list of (id, order id, time); counts what was asked."""

    def __init__(self, product: Product, trades: list[tuple[int, int, int]], forgotten: int = 0) -> None:
        self.product, self.trades, self.forgotten = product, trades, forgotten
        self.time = FakeTime()
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def signed(self, method: str, endpoint: str, params: dict[str, Any], type: Any, *, weight: int) -> Any:
        self.asked.append((endpoint, dict(params)))
        if endpoint == "order":
            if params["orderId"] <= self.forgotten:
                raise OrderNotFound("gone")
            return self.order(params["orderId"])
        if endpoint == "allOrders":
            ids = sorted(
                {order for _, order, _ in self.trades if order >= params["orderId"] and order > self.forgotten}
            )
            return [self.order(order_id) for order_id in ids[: params["limit"]]]
        start, end = params.get("startTime", 0), params.get("endTime", 1 << 60)
        if "startTime" in params:
            assert end - start < self.product.limits["fills_window_h"] * 3_600_000
        rows = [t for t in self.trades if start <= t[2] <= end and t[0] >= params.get("fromId", 0)]
        if "fromId" not in params and "startTime" not in params:
            rows = rows[-params["limit"] :]
        return [self.row(*trade) for trade in rows[: params["limit"]]]

    def order(self, order_id: int) -> OrderRow:
        return OrderRow("BTCUSDT", order_id, f"c{order_id}", status="FILLED", side="BUY", type="LIMIT")

    def row(self, number: int, order_id: int, ts: int) -> FuturesTradeRow | SpotTradeRow:
        if self.product is PERP:
            return FuturesTradeRow("BTCUSDT", number, order_id, "BUY", Decimal(1), Decimal(1), ts, True)
        return SpotTradeRow("BTCUSDT", number, order_id, True, Decimal(1), Decimal(1), ts, True)


def instrument(kind: InstrumentKind) -> Instrument:
    symbol = "BTC-USDT" + ("-PERP" if kind is InstrumentKind.PERP else "")
    return Instrument(symbol, "binance", "BTC", "USDT", "USDT", kind, Decimal(1), Decimal(1), native="BTCUSDT")


def pages(product: Product, trades: list[tuple[int, int, int]], **more: int) -> tuple[FakeRest, FillPages, Instrument]:
    rest = FakeRest(product, trades, **more)
    return rest, FillPages(rest, OrderNotes()), instrument(product.kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("product", [PERP, SPOT])
@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2500])
@pytest.mark.parametrize("since_days", [0.01, 3, 20, None])
async def test_e13_nothing_is_missed_whatever_the_window_and_the_page(
    product: Product, count: int, since_days: float | None
):
    trades = [(n, 1 + n // 7, NOW_MS - 10 * DAY_MS + n * 300_000) for n in range(1, count + 1)]
    _, reader, listed = pages(product, trades)
    since = None if since_days is None else NOW_MS - int(since_days * DAY_MS)
    found = await reader.read(listed, since)
    wanted = [number for number, _, ts in trades if since is None or ts >= since]
    assert [int(fill.trade_id) for fill in found] == wanted
    assert all(fill.client_id == f"c{fill.venue_order_id}" for fill in found)


async def test_client_ids_are_asked_for_once_and_a_forgotten_order_has_none():
    old = NOW_MS - 120_000
    rest, reader, listed = pages(PERP, [(1, 4, old), (2, 5, old + 1)], forgotten=4)
    for _ in range(2):
        found = await reader.read(listed, old - 1000)
        assert [fill.client_id for fill in found] == ["", "c5"]
    assert [endpoint for endpoint, _ in rest.asked].count("order") == 2


async def test_an_order_that_a_replica_does_not_know_yet_is_asked_for_again():
    rest, reader, listed = pages(PERP, [(1, 4, NOW_MS - 9)], forgotten=4)
    assert [fill.client_id for fill in await reader.read(listed, NOW_MS - 1000)] == [""]
    rest.forgotten = 0
    assert [fill.client_id for fill in await reader.read(listed, NOW_MS - 1000)] == ["c4"]


async def test_many_quiet_symbols_are_asked_for_in_turns_and_none_is_forgotten():
    clock = VirtualClock(NOW_MS * NS_PER_MS)
    listed = {
        f"C{n}-USDT-PERP": Instrument(
            f"C{n}-USDT-PERP", "binance", f"C{n}", "USDT", "USDT", InstrumentKind.PERP, Decimal(1), Decimal(1)
        )
        for n in range(30)
    }
    asked: list[tuple[str, int | None]] = []

    class Recorder:
        async def read(self, each: Instrument, since: int | None) -> list[Any]:
            asked.append((each.symbol, since))
            return []

    traded = TradedSymbols(MemoryStore())
    traded.add(listed)
    fills = AccountFills(lambda each: Recorder(), traded, OrderNotes(), clock)  # type: ignore[arg-type,return-value]
    covered = {symbol: clock.now_ms() - 60_000 for symbol in listed}
    for turn in range(12):
        asked.clear()
        since = clock.now_ms() - 60_000
        await fills.read(listed, [], since)
        assert len(asked) == (30 if turn == 0 else 8)
        for symbol, from_ms in asked:
            assert from_ms is not None and from_ms <= covered[symbol]
            covered[symbol] = clock.now_ms()
        clock.advance(10)
    assert all(clock.now_ms() - until <= 60_000 for until in covered.values())


def test_traded_symbols_outlive_the_program():
    store = MemoryStore()
    TradedSymbols(store).add(["BTC-USDT", "ETH-USDT-PERP"])
    assert list(TradedSymbols(store)) == ["BTC-USDT", "ETH-USDT-PERP"]
