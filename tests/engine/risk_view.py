"""What risk sees, as plain values that a test sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from engine.kernel.clock import NS_PER_S, VirtualClock
from engine.kernel.errors import UnknownSymbol
from engine.kernel.instruments import Instrument, InstrumentKind, InstrumentStatus
from engine.kernel.market import Quote
from engine.kernel.orders import Order, OrderRequest, OrderState, OrderType, Side
from engine.kernel.strategy import RiskParams
from engine.runtime.accounts import MANUAL, AccountLimits
from engine.runtime.risk import RiskWatcher
from engine.runtime.trading_state import TradingState

BTC, ETH = "BTC-USDT-PERP", "ETH-USDT-PERP"
DAY_S = 86_400


def d(text: object) -> Decimal:
    return Decimal(str(text))


class View:
    def __init__(self) -> None:
        self.instruments = {
            symbol: Instrument(symbol, "paper", symbol[:3], "USDT", "USDT", InstrumentKind.PERP, d("0.1"), d("0.001"))
            for symbol in (BTC, ETH)
        }
        self.quotes: dict[str, Quote] = {}
        self.marks: dict[str, float] = {}
        self.ages: dict[str, int] = {}
        self.broken: set[str] = set()
        self.held: dict[tuple[str, str], Decimal] = {}
        self.orders: dict[str, Order] = {}
        self.profits: dict[str, Decimal | None] = {}
        self.equity_usd: Decimal | None = d(10_000)
        self.day_usd: Decimal | None = d(0)
        self.profit_usd: Decimal | None = d(0)
        self.instruments_s = 0.0
        self.leverages: dict[str, Decimal | None] = {}
        self.free: Decimal | None = d(1_000_000)
        for symbol, price in ((BTC, 100.0), (ETH, 10.0)):
            self.price(symbol, price)

    def price(self, symbol: str, price: float) -> None:
        self.quotes[symbol] = Quote(symbol, 0, price, 1.0, price, 1.0)
        self.marks[symbol] = price
        self.ages[symbol] = 0

    def suspend(self, symbol: str) -> None:
        self.instruments[symbol] = replace(self.instruments[symbol], status=InstrumentStatus.SUSPENDED)

    def instrument(self, symbol: str) -> Instrument:
        if symbol not in self.instruments:
            raise UnknownSymbol(f"unknown symbol {symbol!r}")
        return self.instruments[symbol]

    def quote(self, symbol: str) -> Quote | None:
        return self.quotes.get(symbol)

    def mark(self, symbol: str) -> float | None:
        return self.marks.get(symbol)

    def is_book_broken(self, symbol: str) -> bool:
        return symbol in self.broken

    def age_ms(self, symbol: str) -> int | None:
        return self.ages.get(symbol)

    def instruments_age_s(self) -> float:
        return self.instruments_s

    def leverage(self, symbol: str) -> Decimal | None:
        return self.leverages.get(symbol, d(10))

    def free_usd(self, currency: str | None) -> Decimal | None:
        return self.free

    def ledgers(self) -> Iterable[tuple[str, str, Decimal]]:
        return [(instance, symbol, held) for (instance, symbol), held in self.held.items() if held]

    def holdings(self) -> Sequence[tuple[str, str, Decimal]]:
        return [ledger for ledger in self.ledgers() if self.instruments[ledger[1]].floor_quantity(abs(ledger[2]))]

    def ledger_quantity(self, instance: str, symbol: str) -> Decimal:
        return self.held.get((instance, symbol), d(0))

    def reducible(self, instance: str, symbol: str, side: Side) -> Decimal:
        by_hand = instance == MANUAL
        held = self.account_quantity(symbol) if by_hand else self.ledger_quantity(instance, symbol)
        return max(Decimal(0), -held * side.sign)

    def account_quantity(self, symbol: str) -> Decimal:
        return sum((held for (_, name), held in self.held.items() if name == symbol), d(0))

    def working(self, symbol: str | None = None, instance: str | None = None) -> Sequence[Order]:
        return [
            order
            for order in self.orders.values()
            if order.is_open and symbol in (None, order.symbol) and instance in (None, order.instance)
        ]

    def unbooked(self) -> Sequence[Order]:
        return [order for order in self.orders.values() if not order.is_open and order.reported_filled > order.filled]

    def order(self, client_id: str) -> Order | None:
        return self.orders.get(client_id)

    def equity(self) -> Decimal | None:
        return self.equity_usd

    def profit(self) -> Decimal | None:
        return self.profit_usd

    def day_profit(self) -> Decimal | None:
        return self.day_usd

    def instance_profit(self, instance: str) -> Decimal | None:
        return self.profits.get(instance, d(0))

    def fx(self, currency: str) -> Decimal:
        return d(1)


class Gate:
    """A watcher on a view, armed, with the instance `grid` admitted; accepted orders rest."""

    def __init__(self, limits: AccountLimits | None = None, on_change: Callable[[], None] = lambda: None, **risk: Any):
        self.clock = VirtualClock(20_000 * DAY_S * NS_PER_S)
        self.view = View()
        self.halted: list[str] = []
        self.halted_instances: list[tuple[str, str]] = []
        self.state = TradingState(self.clock)
        self.watcher = RiskWatcher(self.clock, limits or AccountLimits(), self.view, self.state, self._halt, on_change)
        self.watcher.on_instance_halt = lambda instance, reason: self.halted_instances.append((instance, reason))
        self.watcher.admit("grid", RiskParams(**risk), d(1000))
        self.state.arm("test")

    def _halt(self, reason: str) -> None:
        self.state.halt("risk", reason)
        self.halted.append(reason)

    def send(
        self,
        side: Side = Side.BUY,
        quantity: object = 1,
        price: object | None = 100,
        type: OrderType = OrderType.LIMIT,
        symbol: str = BTC,
        instance: str = "grid",
        reduce_only: bool = False,
        trigger: object | None = None,
        parent: str = "",
    ) -> Order:
        request = OrderRequest(
            client_id=f"c{len(self.view.orders)}",
            instance=instance,
            symbol=symbol,
            side=side,
            type=type,
            quantity=d(quantity),
            price=None if price is None else d(price),
            trigger_price=None if trigger is None else d(trigger),
            reduce_only=reduce_only,
        )
        self.watcher.check(request, parent=parent)
        order = Order.from_request(request, self.clock.now_ns(), len(self.view.orders) + 1)
        order.advance(OrderState.OPEN, self.clock.now_ns())
        self.view.orders[order.client_id] = order
        self.clock.advance(1.1)
        return order
