"""The venue's truth, kept beside the emulator, and the invariants that must hold at every moment."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal

from drivers.paper.state import PaperOrder
from engine.kernel.clock import NS_PER_S
from engine.kernel.orders import Fill, Order, OrderRequest, OrderState, OrderType, OrderUpdate, Side
from engine.kernel.syscalls import AccountEvent, OrderGateway, Reply
from engine.runtime.events import FillBooked, OrderChanged
from engine.runtime.execution import ExecutionEngine
from engine.runtime.trading_state import TradingMode
from tests.sim.market import BASE_PRICES, RANGE
from tests.sim.trace import Trace
from tests.venues.emulators.core import Emulator
from tests.venues.emulators.wire import Seen

ZERO = Decimal(0)
FRESH_MS = 5_000
LATE_NS = 6 * NS_PER_S
"""An order has two seconds to leave; the slowest network takes as long again both to connect and to deliver."""
_Content = tuple[str, str, Decimal, Decimal]
_CLIENT_ID = re.compile(r'(?:clOrdId|newClientOrderId|clientId)(?:=|":"?)([A-Za-z0-9]+)')
_PLACING = ("order", "order.place")
_PRICE_SLACK = Decimal(str(1 - 3 * RANGE))
"""Lowest price at which an order may have been measured, as a share of the base price."""


class Truth:
    """What the venue really took and did.

    Args:
        emulator: The venue.
        trace: Takes down what happens.
        max_notional: The limit that worst-case exposure must never pass (I6).
        on_violation: Called with the text of a violation.

    Attributes:
        fills: How many executions there were.
        unchecked: Executions that no comparison has found booked yet.
        checked: (symbol, trade id) of every booked fill that a comparison has found to have happened.
        executed: Sum of executions by symbol, signed.
        accepted: Inner ids of the orders that the venue took.
        foreign_ids: Inner ids of somebody else's orders.
        foreign: Sum of their executions by symbol, signed.
        sent: Client ids that the engine sent, over all of its lives.
        durable_seq: Number of the newest record that the journal said is on the disk.
        recorded: (kind, client id) -> number of the record that has to be on the disk before an order is sent.
        fees: Fees of all executions, by currency.
        cash: What they brought in and cost without fees, by symbol; coins that paid a fee count as sold for it.
        sent_ns: When the engine sent an order, by client id.
        unmarked: Terms of reductions that the venue does not know as such, because somebody holds against them.
        on_sent: Called when the engine sends an order, with whether that is a stop that was met.
    """

    def __init__(
        self, emulator: Emulator, trace: Trace, max_notional: Decimal, on_violation: Callable[[str], None]
    ) -> None:
        self._emulator = emulator
        self._trace = trace
        self._max_notional = max_notional
        self._violated = on_violation
        self.fills = 0
        self.unchecked: Counter[_Content] = Counter()
        self.checked: set[tuple[str, str]] = set()
        self.executed: dict[str, Decimal] = {}
        self.accepted: set[str] = set()
        self.sent: set[str] = set()
        self.foreign_ids: set[str] = set()
        self.foreign: dict[str, Decimal] = {}
        self._foreign_terms: set[tuple[str, Side, Decimal]] = set()
        self._is_stranger = False
        self._asked: set[str] = set()
        self.durable_seq = 0
        self.recorded: dict[tuple[str, str], int] = {}
        self.fees: dict[str, Decimal] = {}
        self.cash: dict[str, Decimal] = {}
        self.sent_ns: dict[str, int] = {}
        self.unmarked: set[tuple[str, Side, Decimal]] = set()
        self.on_sent: Callable[[bool], object] = lambda is_stop: None
        emulator.venue.subscribe_account(self._on_event)

    def _on_event(self, event: AccountEvent) -> None:
        if isinstance(event, OrderUpdate):
            self._on_order(event)
        elif isinstance(event, Fill):
            self.fills += 1
            self.unchecked[_content(event)] += 1
            currency = event.fee_currency.partition(".")[0]  # of one of several wallets
            self.fees[currency] = self.fees.get(currency, ZERO) + event.fee
            instrument = self._emulator.exchange.instruments[event.symbol]
            in_coins = not instrument.is_perp and currency == instrument.base
            changed = event.signed_quantity - (event.fee if in_coins else ZERO)
            self.executed[event.symbol] = self.executed.get(event.symbol, ZERO) + changed
            paid = -changed * event.price
            self.cash[event.symbol] = self.cash.get(event.symbol, ZERO) + paid
            if event.venue_order_id in self.foreign_ids:
                self.foreign[event.symbol] = self.foreign.get(event.symbol, ZERO) + event.signed_quantity
            self._trace.note(f"venue fill {event.trade_id} {event.quantity} {event.price}")

    @contextmanager
    def by_stranger(self) -> Iterator[None]:
        """Know orders that are placed meanwhile as somebody else's."""
        self._is_stranger = True
        try:
            yield
        finally:
            self._is_stranger = False

    def foreign_open(self) -> list[PaperOrder]:
        """Return somebody else's working orders."""
        return [order for order in self._emulator.exchange.registry.open.values() if order.id in self.foreign_ids]

    def knows_foreign(self, order: Order) -> bool:
        """Return whether an order that the engine takes for somebody else's is."""
        return (order.symbol, order.side, order.quantity) in self._foreign_terms

    def on_request(self, seen: Seen) -> None:
        """Take a request down as it arrives; no placement may arrive twice."""
        if seen.method in ("GET", "OPEN"):
            return
        text = f"{seen.query} {seen.body.decode()}"
        self._trace.note(f"request {seen.method} {seen.path} {text}")
        found = _CLIENT_ID.search(text)
        places = (
            seen.path in _PLACING if seen.method == "WS" else seen.method == "POST" and seen.path.endswith("/order")
        )
        if places and found is not None:
            if found[1] in self._asked:
                self._violated(f"I1: the venue is asked a second time to place {found[1]}")
            self._asked.add(found[1])
            age_ns = self._emulator.clock.now_ns() - self.sent_ns.get(found[1], self._emulator.clock.now_ns())
            if age_ns > LATE_NS:
                self._violated(f"I7: {found[1]} arrives {age_ns / NS_PER_S:.1f} s after it was sent")

    def _on_order(self, update: OrderUpdate) -> None:
        self._trace.note(f"venue {update.venue_order_id} {update.state.value} {update.quantity} {update.filled}")
        if self._is_stranger and update.venue_order_id not in self.accepted:
            self.foreign_ids.add(update.venue_order_id)
            self._foreign_terms.add((update.symbol, update.side, update.quantity))
        if update.venue_order_id in self.foreign_ids:
            if update.state is OrderState.CANCELED and not self._is_stranger:
                self._violated(f"I4: somebody else's order {update.venue_order_id} was cancelled")
            return
        self.accepted.add(update.venue_order_id)
        if len(self.accepted) > len(self.sent):
            self._violated(f"I1: the venue has {len(self.accepted)} orders, the engine sent {len(self.sent)}")
        self._check_exposure()

    def _check_exposure(self) -> None:
        """Compare with the limit; what somebody else holds may take exposure away, but must not be held against us."""
        total = min(self._exposure(self.foreign), self._exposure({}))
        if total > self._max_notional:
            self._violated(f"I6: worst-case exposure {total:.2f} USD passes the limit {self._max_notional}")

    def _exposure(self, without: dict[str, Decimal]) -> Decimal:
        exchange = self._emulator.exchange
        total = ZERO
        for symbol, executed in self.executed.items():
            held = executed - without.get(symbol, ZERO)
            buys = sells = ZERO
            for order in exchange.registry.open.values():
                is_reduction = order.reduce_only or (symbol, order.side, order.quantity) in self.unmarked
                if order.symbol == symbol and not is_reduction and order.id not in self.foreign_ids:
                    buys += order.remaining if order.side.sign > 0 else ZERO
                    sells += order.remaining if order.side.sign < 0 else ZERO
            worst = max(abs(held + buys), abs(held - sells))
            if worst:
                total += worst * Decimal(str(BASE_PRICES[exchange.instruments[symbol].base])) * _PRICE_SLACK
        return total


class Watch:
    """What one life of the engine says and sends, checked at once.

    Args:
        engine: The engine.
        truth: The venue's side.
        trace: Takes down what happens.
        on_violation: Called with the text of a violation.
    """

    def __init__(
        self, engine: ExecutionEngine, truth: Truth, trace: Trace, on_violation: Callable[[str], None]
    ) -> None:
        self._engine = engine
        self._truth = truth
        self._trace = trace
        self._violated = on_violation
        self._states: dict[str, tuple[OrderState, Decimal, Decimal]] = {}
        self._booked: set[tuple[str, str]] = set()
        self._gateway: OrderGateway = engine.core.gateway
        engine.core.gateway = self
        engine.bus.subscribe(OrderChanged, self._on_order)
        engine.bus.subscribe(FillBooked, self._on_fill)

    def place(self, request: OrderRequest, reply: Reply) -> None:
        """Let an order leave, once, and none that adds risk while halted."""
        if request.client_id in self._truth.sent:
            self._violated(f"I1: {request.client_id} is sent a second time")
        self._truth.sent.add(request.client_id)
        self._truth.sent_ns[request.client_id] = self._engine.clock.now_ns()
        order = self._engine.tracker.get(request.client_id)
        is_met = order is not None and order.type is OrderType.STOP and request.type is not OrderType.STOP
        if self._truth.recorded.get(("SENT" if is_met else "INTENT", request.client_id), 0) > self._truth.durable_seq:
            self._violated(f"I12: {request.client_id} is sent before the disk has its record")
        self._truth.on_sent(is_met)
        if order is not None and order.reduce_only and not request.reduce_only:
            self._truth.unmarked.add((request.symbol, request.side, request.quantity))
        reduces = request.reduce_only or (order is not None and order.reduce_only) or self._takes_away(request)
        mode = self._engine.trading.mode
        if mode in (TradingMode.HALTED, TradingMode.DISARMED) and not reduces:
            self._violated(f"I7: {request.client_id} is sent although the account is {mode.value}")
        if self._engine.journal.failed is not None and not reduces:
            self._violated(f"I12: {request.client_id} is sent although the journal fails")
        self._trace.note(f"send {request.client_id} {request.side.value} {request.quantity} {request.price}")
        self._gateway.place(request, reply)

    def _takes_away(self, request: OrderRequest) -> bool:
        """Return whether an order can only make a position smaller: what is held is at least as much, the other way."""
        held = self._engine.portfolio.quantity(request.symbol)
        return held * request.side.sign < ZERO and request.quantity <= abs(held)

    def amend(self, client_id: str, symbol: str, price: Decimal | None, quantity: Decimal | None, reply: Reply) -> None:
        """Let an amendment leave."""
        self._trace.note(f"amend {client_id} {price} {quantity}")
        self._gateway.amend(client_id, symbol, price, quantity, reply)

    def cancel(self, client_id: str, symbol: str, reply: Reply) -> None:
        """Let a cancel leave."""
        self._trace.note(f"cancel {client_id}")
        self._gateway.cancel(client_id, symbol, reply)

    def query(self, client_id: str, symbol: str, reply: Reply) -> None:
        """Let a query leave."""
        self._gateway.query(client_id, symbol, reply)

    def _on_order(self, event: OrderChanged) -> None:
        order = event.order
        before = self._states.get(order.client_id)
        now = (order.state, order.filled, order.reported_filled)
        if before == now:
            return
        self._states[order.client_id] = now
        self._trace.note(f"order {order.client_id} {order.state.value} {order.filled}/{order.quantity} {order.reason}")
        if order.external and not self._truth.knows_foreign(order):
            self._violated(f"I4: {order.client_id} counts as somebody else's order")
        if before is None:
            return
        if before[0].is_final and order.state is not before[0]:
            self._violated(f"I5: {order.client_id} was {before[0].value} and is {order.state.value}")
        if order.filled < before[1] or order.reported_filled < before[2]:
            self._violated(f"I5: the filled quantity of {order.client_id} fell")

    def _on_fill(self, event: FillBooked) -> None:
        key = (event.fill.symbol, event.fill.trade_id)
        self._trace.note(f"booked {event.fill.client_id} {event.fill.trade_id} {event.fill.quantity}")
        if key in self._booked:
            self._violated(f"I2: trade {key} is booked twice")
        self._booked.add(key)


def settled(engine: ExecutionEngine, symbols: list[str]) -> str:
    """Return what the engine still waits for, nothing when it is at rest and can trade these symbols."""
    for symbol in symbols:
        age_ms = engine.market.age_ms(symbol)
        if engine.market.quote(symbol) is None or age_ms is None or age_ms > FRESH_MS:
            return f"{symbol} has no fresh quote: {age_ms} ms old"
        if engine.core.is_book_broken(symbol):
            return f"the book of {symbol} is not whole"
        if engine.market.mark(symbol) is not None and engine.market.are_prints_lost(symbol):
            return f"no mark price of {symbol} since a connection broke"
    if trouble := engine.stream.trouble():
        return trouble
    if engine.reconciler.last_error:
        return f"the venue could not be asked: {engine.reconciler.last_error}"
    if unknown := engine.tracker.unknown():
        return f"{unknown[0].client_id} has no known outcome"
    for order in engine.tracker.working():
        if (order.pending.value or order.state in (OrderState.INTENT, OrderState.SENT)) and not order.held:
            return f"{order.client_id} is {order.state.value} {order.pending.value}".rstrip()
        if order.reported_filled > order.filled:
            return f"{order.client_id}: {order.reported_filled} reported, {order.filled} booked"
    return ""


def differences(engine: ExecutionEngine, truth: Truth, emulator: Emulator) -> list[str]:
    """Return in what the engine's books and the venue's truth differ, by invariant."""
    found = []
    new = [each.fill for each in engine.portfolio.fills.recent() if _key(each.fill) not in truth.checked]
    booked = Counter(_content(fill) for fill in new)
    if missing := list((truth.unchecked - booked).elements()):
        found.append(f"I2: not booked: {missing[:4]}")
    if invented := list((booked - truth.unchecked).elements()):
        found.append(f"I2: booked, but never happened: {invented[:4]}")
    if not missing and not invented:
        truth.unchecked.clear()
        truth.checked.update(_key(fill) for fill in new)
    exchange = emulator.exchange
    for symbol, instrument in exchange.instruments.items():
        known, executed = engine.portfolio.quantity(symbol), truth.executed.get(symbol, ZERO)
        real = exchange.account.position(instrument) if instrument.is_perp else executed
        parts = sum((held for _, name, held in engine.portfolio.ledgers() if name == symbol), ZERO)
        if not real == known == executed == parts:
            found.append(f"I3: {symbol}: venue {real}, executed {executed}, engine {known}, ledgers {parts}")
    resting = Counter(terms_of(order) for order in exchange.registry.open.values())
    working = Counter(terms_of(order) for order in engine.tracker.working() if not order.held)
    if ghosts := list((working - resting).elements()):
        found.append(f"I4: the engine works, the venue does not: {ghosts[:4]}")
    if orphans := list((resting - working).elements()):
        found.append(f"I4: the venue works, the engine does not: {orphans[:4]}")
    return found


def _content(fill: Fill) -> _Content:
    """Return what a fill is known by on both sides: trade ids have other forms at each venue."""
    return (fill.symbol, fill.side.value, fill.quantity, fill.price)


def _key(fill: Fill) -> tuple[str, str]:
    return (fill.symbol, fill.trade_id)


def terms_of(order: Order | PaperOrder) -> tuple[str, str, Decimal | None, Decimal, Decimal]:
    """Return what an order is known by on both sides: ids have other forms at each venue."""
    return (order.symbol, order.side.value, order.price, order.quantity, order.filled)


__all__ = ["Truth", "Watch", "differences", "settled", "terms_of"]
