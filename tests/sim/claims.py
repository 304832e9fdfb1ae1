"""What the engine decides, tells and books, held against its own orders and against what the venue has."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal

from drivers.paper.state import PaperOrder
from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import ClockSkew, RateLimited, UnknownOutcome, VenueUnavailable
from engine.kernel.market import Trade
from engine.kernel.orders import Order, OrderState, OrderType, Pending, Side
from engine.runtime.accounts import MANUAL
from engine.runtime.events import OrderChanged, PanicProgress, TradingStateChanged
from engine.runtime.execution import ExecutionEngine
from engine.runtime.fired_stops import BESIDE_NS
from engine.runtime.trading_state import TradingMode
from tests.sim.truth import Truth
from tests.venues.emulators.core import Emulator

ZERO = Decimal(0)
_Terms = tuple[Decimal | None, Decimal, Decimal | None]
MAX_UNKNOWN = 3
OPERATOR = "simulation"
_CAP_SLACK = Decimal("1.01")
"""A market order is sized by a price, and may trade a little beyond it."""
_RECORDED_NS = 10 * NS_PER_S
"""After so long a stop that was decided is on the disk, and watched."""
_MOST_AMENDED, _PACE_NS = 20, 5 * NS_PER_S
"""So many amendments of one order within so long are no trading any more."""
_NO_REASON = {"", *(error.__name__ for error in (RateLimited, UnknownOutcome, VenueUnavailable, ClockSkew))}
"""Errors for which no cancel is given up: none at all, and those after which it is tried again."""


class Claims:
    """Follows one life of the engine.

    Args:
        engine: The engine.
        truth: The venue's side.
        emulator: The venue.
        on_violation: Called with the text of a violation.
    """

    def __init__(
        self, engine: ExecutionEngine, truth: Truth, emulator: Emulator, on_violation: Callable[[str], None]
    ) -> None:
        self._engine = engine
        self._truth = truth
        self._emulator = emulator
        self._violated = on_violation
        self._pending: dict[str, Pending] = {}
        self._terms: dict[str, list[_Terms]] = {}
        self._amended: set[str] = set()
        self._amended_ns: dict[str, deque[int]] = {}
        self._began_ns = engine.clock.now_ns()
        engine.bus.subscribe(OrderChanged, self._on_order)
        engine.bus.subscribe(PanicProgress, self._on_halt)
        engine.bus.subscribe(Trade, self._on_trade)
        engine.bus.subscribe(TradingStateChanged, self._on_state)
        self._mode = TradingMode.DISARMED

    def started(self) -> None:
        """The engine has started: what it restored is in force."""
        self._mode = self._engine.trading.mode

    def _on_order(self, event: OrderChanged) -> None:
        order = event.order
        before = self._pending.get(order.client_id)
        self._pending[order.client_id] = order.pending
        self._check_terms(order, before)
        if before is None and order.state is OrderState.INTENT and order.created_ns >= self._began_ns:
            self._check_reduction(order)
            self._check_amount(order)
        is_given_up = before is Pending.CANCEL and order.pending is not Pending.CANCEL and order.is_open
        if is_given_up and order.error in _NO_REASON:
            why = order.reason or f"{order.pending.value or 'nothing'} is pending"
            self._violated(f"I15: the cancel of {order.client_id} is given up: {why}")
        if order.held and order.state not in (OrderState.INTENT, OrderState.CANCELED, OrderState.EXPIRED):
            self._violated(f"I5: the stop {order.client_id}, which is held here, is {order.state.value}")
        settled = before is Pending.AMEND and order.pending is Pending.NONE and order.is_open
        if settled and order.error == UnknownOutcome.__name__:
            self._violated(f"I5: an amendment of {order.client_id} is taken for declined: {order.reason}")
        engine = self._engine
        unknown = len(engine.tracker.unknown())
        is_open = engine.trading.mode is TradingMode.ARMED and not engine.desk.closed()
        if order.state is OrderState.UNKNOWN and unknown > MAX_UNKNOWN and is_open:
            self._violated(f"I8: {unknown} orders have no known outcome, and trading goes on")

    def _check_terms(self, order: Order, before: Pending | None) -> None:
        """Price and size change by amendments, or as the venue shrinks a reduction: they never go back on old news."""
        if order.pending is Pending.AMEND and before is not Pending.AMEND:
            self._amended.add(order.client_id)
            self._check_pace(order)
        terms = (order.price, order.quantity, order.trigger_price)
        known = self._terms.setdefault(order.client_id, [terms])
        if terms == known[-1]:
            return
        is_so = any(_terms(each) == _terms(order) for each in self._emulator.exchange.registry.open.values())
        # A final order tells what it had at the end: the venue may have made it smaller while nothing was heard.
        if terms in known and order.is_open and order.client_id not in self._amended and not is_so:
            self._violated(f"I5: the terms of {order.client_id} go back from {known[-1]} to {terms}")
        known.append(terms)
        self._amended.discard(order.client_id)

    def _check_pace(self, order: Order) -> None:
        """Nobody may answer each answer to an amendment with another one."""
        now_ns = self._engine.clock.now_ns()
        times = self._amended_ns.setdefault(order.client_id, deque(maxlen=_MOST_AMENDED))
        if len(times) == _MOST_AMENDED and now_ns - times[0] < _PACE_NS:
            self._violated(f"I14: {order.client_id} is amended {_MOST_AMENDED} times in {_PACE_NS // NS_PER_S} s")
        times.append(now_ns)

    def _check_reduction(self, order: Order) -> None:
        """What reduces must not be more than what is there to be reduced, when it is decided."""
        if not order.reduce_only:
            return
        is_stop = order.type is OrderType.STOP
        beside = [
            each.working_quantity
            for each in self._engine.tracker.working(order.symbol, order.instance)
            if each.reduce_only and each.side is order.side and (each.type is OrderType.STOP) is is_stop
        ]
        held = self._engine.core.held_by(order.instance, order.symbol)
        if sum(beside, ZERO) > max(ZERO, -held * order.side.sign):
            self._violated(f"I6: {order.client_id} reduces {order.quantity}, of {held} that is held, beside {beside}")

    def _check_amount(self, order: Order) -> None:
        """Work must not ask for more than was asked of it."""
        works, tracker = self._engine.core.state.works, self._engine.tracker
        body = works.get(order.parent, {})
        kind = body.get("kind")
        if order.replaces:
            (body,) = (each for each in works.values() if each.get("old") == order.replaces)
            asked, old = Decimal(body["quantity"]), tracker.get(order.replaces)
            parts = [] if old is None else [old]
        elif kind == "soft":
            asked = Decimal(body["ticket"]["quantity"])
            parts = [each for each in tracker.children(order.parent) if each is not order]
        elif kind == "incremental":
            self._check_budget(order.parent, Decimal(body["plan"]["amount"]))
            return
        else:
            return
        done = sum((each.filled + each.working_quantity for each in parts), ZERO)
        if done + order.quantity > asked:
            work = order.parent or order.replaces
            self._violated(f"I1: {work} was asked for {asked}, has {done} and sends {order.quantity} more")

    def _check_budget(self, work: str, amount: Decimal) -> None:
        """An incremental order must not spend more than its amount, by the prices of its orders."""
        parts = self._engine.tracker.children(work)
        spent = sum((each.filled_notional + each.working_quantity * (each.price or ZERO) for each in parts), ZERO)
        if spent > amount * _CAP_SLACK:
            self._violated(f"I1: {work} was asked to spend {amount} and comes to {spent}")

    def _on_trade(self, trade: Trade) -> None:
        self._engine.clock.call_later(0.0, self._check_stops, trade.symbol, trade.price)

    def _check_stops(self, symbol: str, price: float) -> None:
        """A stop that is held here is sent when a trade meets its trigger."""
        now_ns = self._engine.clock.now_ns()
        for order in self._engine.tracker.working(symbol):
            trigger = order.trigger_price
            if not order.held or trigger is None or now_ns - order.updated_ns < _RECORDED_NS:
                continue
            is_met = price <= trigger if order.side is Side.SELL else price >= trigger
            if is_met and not self._gives_way(order):
                self._violated(f"I6: {symbol} trades at {price}, and the stop {order.client_id} at {trigger} waits")

    def _gives_way(self, stop: Order) -> bool:
        """Return whether a stop in the place of a lost one waits for another order that may have closed already."""
        is_new = self._engine.clock.now_ns() - stop.created_ns < BESIDE_NS + _RECORDED_NS
        working = self._engine.tracker.working(stop.symbol, stop.instance)
        beside = (other for other in working if other.side is stop.side and not other.held)
        return is_new and any(other.fired or not other.type.rests for other in beside)

    def check_flattened(self) -> None:
        """Everything is being closed by hand: no strategy may count on any of it."""
        portfolio = self._engine.portfolio
        for instance, symbol, held in portfolio.ledgers():
            if instance != MANUAL and portfolio.mark(symbol) is not None:
                self._violated(f"I3: everything is closed by hand, and {instance} still counts on {held} {symbol}")

    def _on_state(self, event: TradingStateChanged) -> None:
        """Only the operator ends a halt."""
        status = self._engine.trading.status
        if self._mode is TradingMode.HALTED and status.mode is not TradingMode.HALTED and status.who != OPERATOR:
            self._violated(f"I7: {status.who} turns the halt into {status.mode.value}: {status.reason}")
        self._mode = status.mode

    def _on_halt(self, progress: PanicProgress) -> None:
        if progress.confirmed and (resting := self.resting(self._engine.trading.status.since_ns)):
            self._violated(f"I7: none rests, it says ({progress.text}), but {resting[0].client_id} does")

    def resting(self, since_ns: int) -> list[PaperOrder]:
        """Return what rests at the venue and had to go when the account was halted."""
        by_hand = self._engine.tracker.working(instance=MANUAL)
        later = [_terms(order) for order in by_hand if order.created_ns >= since_ns]
        return [
            order
            for order in self._emulator.exchange.registry.open.values()
            if order.type is not OrderType.STOP
            and order.id not in self._truth.foreign_ids
            and _terms(order) not in later
        ]

    def check_rearm(self, since_ns: int) -> None:
        """A halt was released: nothing may rest, or arrive later."""
        if unknown := self._engine.tracker.unknown():
            self._violated(f"I7: the halt is released although {unknown[0].client_id} may still arrive")
        if resting := self.resting(since_ns):
            self._violated(f"I7: the halt is released although {resting[0].client_id} rests")

    def troubles(self) -> Iterator[str]:
        """Yield what is wrong with the books in quiet."""
        engine, truth = self._engine, self._truth
        for booked in engine.portfolio.fills.recent():
            fill = booked.fill
            order = engine.tracker.find(fill.client_id, fill.symbol, fill.venue_order_id)
            if order is not None and order.instance != booked.instance:
                yield f"I3: trade {fill.trade_id} of {order.instance} is booked for {booked.instance}"
        for order in engine.tracker.working():
            if order.parent:
                yield f"I4: {order.client_id} works on, its work {order.parent} has ended"
        yield from self._too_large_reductions()
        if (paid := engine.portfolio.fees_paid()) != truth.fees:
            yield f"I3: fees: venue {truth.fees}, engine {paid}"
        ledgers = engine.core.state.books.by_instance.values()
        for symbol, cash in truth.cash.items():
            if engine.portfolio.adjusted(symbol):
                continue
            own = [books[symbol] for books in ledgers if symbol in books]
            parts = sum((ledger.realised - ledger.cost for ledger in own), ZERO)
            total = engine.core.state.books.totals[symbol]
            if not parts == total.realised - total.cost == cash:
                yield f"I3: {symbol}: paid {cash}, ledgers {parts}, account {total.realised - total.cost}"
            if (fees := sum((ledger.fees for ledger in own), ZERO)) != total.fees:
                yield f"I3: {symbol}: fees of the ledgers {fees}, of the account {total.fees}"

    def _too_large_reductions(self) -> Iterator[str]:
        reductions: dict[tuple[str, str, Side, bool], Decimal] = {}
        for order in self._engine.tracker.working():
            if order.reduce_only and not order.external:
                key = (order.instance, order.symbol, order.side, order.type is OrderType.STOP)
                reductions[key] = reductions.get(key, ZERO) + order.working_quantity
        for (instance, symbol, side, _), quantity in reductions.items():
            held = self._engine.core.held_by(instance, symbol)
            if quantity > max(ZERO, -held * side.sign):
                yield f"I6: {instance} {side.value} reduces {quantity} {symbol} and holds {held}"


def _terms(order: Order | PaperOrder) -> tuple[object, ...]:
    return (order.symbol, order.side, order.price, order.quantity)
