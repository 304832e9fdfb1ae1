"""What the parts of one execution engine share: its venue, time, state and the way news get out."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from decimal import Decimal
from typing import Any, Protocol

from engine.kernel.clock import NS_PER_MS, NS_PER_S, Clock
from engine.kernel.errors import CtosError, OrderNotFound, RiskReject, TradingHalted
from engine.kernel.event_bus import EventBus
from engine.kernel.instruments import Instrument
from engine.kernel.market import Quote
from engine.kernel.orders import Order, Side
from engine.kernel.syscalls import Driver
from engine.runtime.accounts import MANUAL, Account, Mode
from engine.runtime.events import CommandRefused, EngineAlarm, LogLine, OrderChanged, TradingStateChanged
from engine.runtime.market import MarketData
from engine.runtime.portfolio import Portfolio
from engine.runtime.records import Record, Trading
from engine.runtime.risk import RiskWatcher
from engine.runtime.state import Effect, EngineState, JournalLog
from engine.runtime.trading_state import TradingMode, TradingState, TradingStatus


class OperationLog(Protocol):
    """Writes a line of the operation log."""

    def __call__(self, op: str, **fields: Any) -> None:
        """Take an operation's name and its fields."""


class EngineCore:
    """Parts of the engine and the two ways out of it: the journal and the bus.

    Attributes:
        obstacles: What forbids to arm, each with its remedy.
        check_account: Asks for the obstacles.
        on_change: Called with an order that changed, before anybody hears of it.
        on_order: Called with an order after its change is published; the work that it may belong to.
        on_ended_outside: Called with an order of ours that ended without being asked to, and the venue's reason.
        risk: The gate; set once by the engine, which gives it this core as its view.
    """

    risk: RiskWatcher

    def __init__(
        self,
        account: Account,
        driver: Driver,
        clock: Clock,
        bus: EventBus,
        journal: JournalLog,
        oplog: OperationLog,
    ) -> None:
        self.account = account
        self.driver = driver
        self.gateway = driver.gateway
        self.clock = clock
        self.bus = bus
        self.oplog = oplog
        self.features = driver.features
        self.market = MarketData(driver, clock, bus)
        self.state = EngineState(journal, account.key, clock)
        self.tracker = self.state.tracker
        self.portfolio = Portfolio(self.state.books, self.market)
        self.trading = TradingState(clock, self._trading_changed, account.mode is Mode.LIVE)
        self.obstacles: list[str] = []
        self.check_account: Callable[[], Coroutine[Any, Any, list[str]]] = driver.check_account
        self.on_change: Callable[[Order], None] = _ignore
        self.on_order: Callable[[Order], None] = _ignore
        self.on_ended_outside: Callable[[Order, str], None] = _ignore_end

    def write(self, record: Record, on_durable: Callable[[], object] | None = None) -> Effect:
        """Journal and apply a record."""
        return self.state.write(record, on_durable)

    def save_trading(self) -> None:
        """Journal the trading gate and the loss limits if they have changed; they are restored before that."""
        if self.state.is_loaded:
            body = self.risk.to_dict()
            if body != self.state.trading:
                self.write(Trading(body))

    def _trading_changed(self, status: TradingStatus) -> None:
        self.save_trading()
        level = {TradingMode.HALTED: "error", TradingMode.REDUCE_ONLY: "warn"}.get(status.mode, "info")
        self.say(self.trading.describe(), level)
        self.bus.publish(TradingStateChanged(status.mode.value, status.reason))

    def publish_order(self, order: Order) -> None:
        """Tell the bus, then the work in progress, that an order changed."""
        self.on_change(order)
        self.bus.publish(OrderChanged(order))
        self.on_order(order)

    def change(self, record: Record) -> Order | None:
        """Write a record about an order and publish the order if it changed."""
        order = self.write(record).order
        if order is not None:
            self.publish_order(order)
        return order

    def refused(self, instance: str, symbol: str, error: CtosError, quiet: bool = False) -> None:
        """Tell everybody that a command was refused; `quiet` leaves it to the work that asked."""
        name = type(error).__name__
        if not isinstance(error, TradingHalted):
            self.risk.count_refusal(instance)
        self.oplog("RiskReject", instance=instance, symbol=symbol, error=name, det=str(error))
        if not quiet:
            self.bus.publish(CommandRefused(instance, symbol, name, str(error)))

    def ms_since(self, then_ns: int) -> float:
        """Return how long a moment of engine time is ago, in ms."""
        return round((self.clock.now_ns() - then_ns) / NS_PER_MS, 3)

    def say(self, text: str, level: str = "info", source: str = "engine") -> None:
        """Publish a line for the operator."""
        self.bus.publish(LogLine(self.clock.now_ns(), level, source, text))

    def alarm(self, kind: str, text: str, symbol: str = "", instance: str = "", severity: str = "WARN") -> None:
        """Publish something that a person should know of."""
        self.oplog("Error", kind=kind, symbol=symbol, instance=instance, severity=severity, det=text)
        self.bus.publish(EngineAlarm(kind, symbol, instance, text, severity))

    def instrument(self, symbol: str) -> Instrument:
        """Return an instrument; raises `UnknownSymbol`."""
        return self.market.instrument(symbol)

    def quote(self, symbol: str) -> Quote | None:
        """Return the best bid and ask."""
        return self.market.quote(symbol)

    def mark(self, symbol: str) -> float | None:
        """Return the mark price."""
        return self.market.mark(symbol)

    def is_book_broken(self, symbol: str) -> bool:
        """Return whether the order book has lost its sequence."""
        return self.market.is_book_broken(symbol)

    def age_ms(self, symbol: str) -> int | None:
        """Return the age of an instrument's data."""
        return self.market.age_ms(symbol)

    def instruments_age_s(self) -> float:
        """Return how long ago the venue's instruments were read."""
        return (self.clock.now_ns() - self.market.instruments_ns) / NS_PER_S

    def leverage(self, symbol: str) -> Decimal | None:
        """Return the leverage of an instrument, 1 on spot; None while it is not known."""
        if symbol in self.market.instruments and self.driver.remembered(symbol) is None:
            return None  # it is not listed, and nobody remembers it
        return self.driver.leverage(symbol)

    def free_usd(self, currency: str | None) -> Decimal | None:
        """Return what is free of a currency, or of all, in USD; None while it is not known."""
        return self.portfolio.free_usd(currency)

    def ledgers(self) -> Iterable[tuple[str, str, Decimal]]:
        """Return (instance, symbol, signed base coins) of every ledger that is not flat."""
        return self.portfolio.ledgers()

    def holdings(self) -> Sequence[tuple[str, str, Decimal]]:
        """Return (instance, symbol, signed base coins) of every ledger that orders can close."""
        return self.portfolio.holdings()

    def ledger_quantity(self, instance: str, symbol: str) -> Decimal:
        """Return the signed base coins of one ledger."""
        return self.portfolio.ledger(instance, symbol).quantity

    def account_quantity(self, symbol: str) -> Decimal:
        """Return the signed base coins of the account's position."""
        return self.portfolio.quantity(symbol)

    def held_by(self, instance: str, symbol: str) -> Decimal:
        """Return what an instance's orders may reduce: its ledger; by hand, the account's position."""
        return self.account_quantity(symbol) if instance == MANUAL else self.ledger_quantity(instance, symbol)

    def reducible(self, instance: str, symbol: str, side: Side) -> Decimal:
        """Return how much of what an instance holds orders of a side may reduce, in base units, in whole lots.

        What the venue has reported as filled has reduced it already, although its executions are not booked yet; what
        it has added counts once it is booked.
        """
        held = self.held_by(instance, symbol)
        coming = self.tracker.in_flight(symbol, None if instance == MANUAL else instance)
        most = max(Decimal(0), min(-held * side.sign, -(held + coming) * side.sign))
        return self.portfolio.whole_lots(symbol, most)

    def working(self, symbol: str | None = None, instance: str | None = None) -> Sequence[Order]:
        """Return working orders."""
        return self.tracker.working(symbol, instance)

    def unbooked(self) -> Sequence[Order]:
        """Return final orders of which more is reported filled than is booked."""
        return self.tracker.unbooked()

    def known(self, client_id: str) -> Order:
        """Return an order; raises `OrderNotFound`."""
        order = self.tracker.get(client_id)
        if order is None:
            raise OrderNotFound(f"there is no order {client_id}")
        return order

    def order(self, client_id: str) -> Order | None:
        """Return an order, working or recently final."""
        return self.tracker.get(client_id)

    def equity(self) -> Decimal | None:
        """Return the account's equity, USD."""
        return self.portfolio.equity()

    def profit(self) -> Decimal | None:
        """Return the account's profit over all its life, USD."""
        return self.portfolio.profit()

    def day_profit(self) -> Decimal | None:
        """Return the account's profit since 00:00 UTC, USD."""
        return self.portfolio.day_profit()

    def instance_profit(self, instance: str) -> Decimal | None:
        """Return an instance's profit, USD; None while something that it holds has no price."""
        return self.portfolio.instance_profit(instance) if self.portfolio.is_priced(instance) else None

    def fx(self, currency: str) -> Decimal:
        """Return USD per unit of a currency.

        Raises:
            RiskReject: It is not known: without it no limit can be held.
        """
        try:
            return self.portfolio.fx(currency)
        except CtosError as error:
            raise RiskReject("market_data", "", str(error)) from error


def _ignore(order: Order) -> None:
    """Stand in while nobody is attached."""


def _ignore_end(order: Order, reason: str) -> None:
    """Stand in while nobody tells of it."""
