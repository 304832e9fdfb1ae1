"""An order desk with a venue that answers 10 ms later and fills what the test tells it to."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from engine.kernel.clock import NS_PER_S, VirtualClock
from engine.kernel.errors import BelowMinimum, CtosError, OrderNotFound, PostOnlyWouldTake, ReduceOnlyRejected
from engine.kernel.instruments import Instrument, InstrumentKind
from engine.kernel.market import Quote
from engine.kernel.orders import Fill, Order, OrderState, OrderType, Pending, Side
from engine.kernel.strategy import Done, Purpose
from engine.runtime.sizing import market_cap
from engine.runtime.work import SoftParams, WorkBook

SYMBOL = "TST-USD-PERP"
SPOT = "TST-USD"
LATENCY_S = 0.01
NO_OFFSET = SoftParams(offset_bp=Decimal(0))


def d(text: object) -> Decimal:
    return Decimal(str(text))


def instrument(symbol: str = SYMBOL, **changes: Any) -> Instrument:
    kind = InstrumentKind.PERP if symbol.endswith("-PERP") else InstrumentKind.SPOT
    base, quote = symbol.split("-")[:2]
    terms: dict[str, Any] = {"tick_size": d("0.01"), "lot_size": d("0.001"), "min_notional": d(5)}
    return Instrument(symbol, "paper", base, quote, quote, kind, **(terms | changes))


class ScriptedDesk:
    def __init__(self, *instruments: Instrument, params: SoftParams | None = None, start_s: int = 1_000_000) -> None:
        listed = instruments or (instrument(), instrument(SPOT))
        self.clock = VirtualClock(start_s * NS_PER_S)
        self.instruments = {item.symbol: item for item in listed}
        self.quotes: dict[str, Quote] = {}
        self.orders: dict[str, Order] = {}
        self.ledgers: dict[tuple[str, str], Decimal] = {}
        self.refusals: list[CtosError] = []
        self.rejects: list[CtosError | None] = []
        self.amends = True
        self.taker_share = d(1)
        self.dones: list[Done] = []
        self.saved: dict[str, dict[str, Any]] = {}
        self.log: list[str] = []
        self.params = params or SoftParams()
        self.book = WorkBook(self, self.params)

    def market(self, bid: object, ask: object | None = None, symbol: str = SYMBOL) -> None:
        quote = Quote(symbol, self.clock.now_ms(), float(str(bid)), 1.0, float(str(bid if ask is None else ask)), 1.0)
        self.quotes[symbol] = quote
        self.book.on_quote(quote)

    def run(self, seconds: float = 0.05) -> None:
        self.clock.advance(seconds)

    def working(self) -> list[Order]:
        return [order for order in self.orders.values() if order.is_open]

    @property
    def last(self) -> Order:
        return list(self.orders.values())[-1]

    @property
    def done(self) -> Done:
        assert len(self.dones) == 1, self.dones
        return self.dones[0]

    def fill(self, order: Order, quantity: object, price: object | None = None) -> None:
        fill = Fill(
            trade_id=f"t{len(self.log)}",
            symbol=order.symbol,
            client_id=order.client_id,
            venue_order_id="",
            side=order.side,
            price=d(price) if price is not None else order.price or d(0),
            quantity=d(quantity),
            fee=d(0),
            fee_currency="USD",
            maker=True,
            ts=self.clock.now_ms(),
        )
        key = (order.instance, order.symbol)
        self.ledgers[key] = self.ledgers.get(key, d(0)) + fill.signed_quantity
        order.book_fill(fill, self.clock.now_ns())
        self.log.append(f"fill {order.client_id} {fill.quantity} @ {fill.price}")
        self.book.on_order(order)

    def canceled_by_somebody(self, order: Order) -> None:
        order.advance(OrderState.CANCELED, self.clock.now_ns(), "canceled by the user")
        self.book.on_order(order)

    def restart(self, quoted: bool = True) -> None:
        """The process dies and comes back: only saved work and what the venue knows is left.

        Unless `quoted`, there is no quote before the next `market`.
        """
        bodies, self.dones = json.loads(json.dumps(self.saved)), []
        self.clock = VirtualClock(self.clock.now_ns())
        for order in self.orders.values():
            order.pending = Pending.NONE
            if order.state in (OrderState.INTENT, OrderState.SENT):
                self.clock.call_later(LATENCY_S, self._answer, order, None)
        if not quoted:
            self.quotes.clear()
        self.book = WorkBook(self, self.params)
        self.book.restore(bodies)
        for order in self.orders.values():
            self.book.on_order(order)
        self.book.resume()

    def submit(
        self,
        instance: str,
        symbol: str,
        side: Side,
        type: OrderType,
        quantity: Decimal,
        price: Decimal | None = None,
        *,
        reduce_only: bool = False,
        purpose: Purpose = Purpose.ENTRY,
        parent: str = "",
        replaces: str = "",
    ) -> str:
        if self.refusals:
            raise self.refusals.pop(0)
        listed = self.instruments[symbol]
        assert quantity > 0 and quantity % listed.lot_size == 0, quantity
        assert price is None or price % listed.tick_size == 0, price
        if type is OrderType.MARKET:
            type, price = OrderType.IOC, market_cap(listed, side, self.quotes[symbol])
        if reduce_only:
            held = self.account_quantity(symbol) if instance == "manual" else self.ledger_quantity(instance, symbol)
            if held * side.sign >= 0:
                raise ReduceOnlyRejected(f"{symbol}: nothing to reduce")
            quantity = min(quantity, abs(held))
        elif price is not None and quantity < listed.minimum_order_quantity(price):
            raise BelowMinimum(quantity * price, listed.minimum_order_quantity(price) * price)
        client_id = f"ts01{instance[:5].ljust(5, '0')}{purpose.value}{len(self.orders):08d}"
        now_ns = self.clock.now_ns()
        order = Order(client_id, instance, symbol, side, type, quantity, price, None, reduce_only, created_ns=now_ns)
        order.parent, order.replaces = parent, replaces
        if replaces:
            self.orders[replaces].replaced_by = client_id
        self.orders[client_id] = order
        terms = f"{side.value} {quantity:f}" + (f" @ {price:.2f}" if price is not None else "")
        self.log.append(f"{type.value} {'reduce-only ' if reduce_only else ''}{terms}")
        self.book.on_order(order)
        order.advance(OrderState.SENT, now_ns)
        self.book.on_order(order)
        self.clock.call_later(LATENCY_S, self._answer, order, self.rejects.pop(0) if self.rejects else None)
        return client_id

    def _answer(self, order: Order, error: CtosError | None) -> None:
        quote = self.quotes[order.symbol]
        touch = d(quote.ask) if order.side is Side.BUY else d(quote.bid)
        crosses = order.price is not None and (order.price - touch) * order.side.sign >= 0 and quote.ask > quote.bid
        if order.type is OrderType.POST_ONLY and crosses:
            error = error or PostOnlyWouldTake("would take")
        if error is not None:
            order.error = type(error).__name__
            order.advance(OrderState.REJECTED, self.clock.now_ns(), str(error))
        else:
            order.advance(OrderState.OPEN, self.clock.now_ns())
        self.book.on_order(order)
        if order.is_open and order.type is OrderType.IOC:
            taken = self.instruments[order.symbol].floor_quantity(order.quantity * self.taker_share)
            if taken and (touch - (order.price or touch)) * order.side.sign <= 0:
                self.fill(order, taken, touch)
            if order.is_open:
                order.advance(OrderState.CANCELED, self.clock.now_ns())
                self.book.on_order(order)

    def amend(self, client_id: str, price: Decimal | None = None, quantity: Decimal | None = None, *, by: str) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        order = self.orders[client_id]
        assert self.amends and order.pending is Pending.NONE
        assert price is None or price % self.instruments[order.symbol].tick_size == 0
        order.pending = Pending.AMEND
        self.log.append(f"amend @ {price}" + (f" total {quantity}" if quantity is not None else ""))
        self.clock.call_later(LATENCY_S, self._amended, order, price, quantity)

    def _amended(self, order: Order, price: Decimal | None, quantity: Decimal | None) -> None:
        order.pending = Pending.NONE
        if order.is_open:
            order.price = order.price if price is None else price
            order.quantity = order.quantity if quantity is None else max(quantity, order.filled)
            if order.filled >= order.quantity:
                order.advance(OrderState.FILLED, self.clock.now_ns())
        self.book.on_order(order)

    def can_amend(self, symbol: str) -> bool:
        return self.amends

    def check_replacement(self, client_id: str, price: Decimal | None, quantity: Decimal) -> None:
        if self.refusals:
            raise self.refusals.pop(0)

    def cancel(self, client_id: str, by: str) -> None:
        order = self.orders.get(client_id)
        if order is None:
            raise OrderNotFound(client_id)
        if order.is_open and order.pending is not Pending.CANCEL:
            order.pending, order.asked_by = Pending.CANCEL, by
            self.log.append(f"cancel {order.side.value} {order.remaining}")
            self.clock.call_later(LATENCY_S, self._canceled, order)

    def _canceled(self, order: Order) -> None:
        order.advance(OrderState.CANCELED, self.clock.now_ns())
        order.pending = Pending.NONE
        self.book.on_order(order)

    def release(self, client_id: str) -> None:
        self.orders[client_id].parent = ""
        self.book.on_order(self.orders[client_id])

    def order(self, client_id: str) -> Order | None:
        return self.orders.get(client_id)

    def orders_of(self, parent: str) -> list[Order]:
        return [order for order in self.orders.values() if order.parent == parent]

    def quote(self, symbol: str) -> Quote | None:
        return self.quotes.get(symbol)

    def mark(self, symbol: str) -> Decimal | None:
        quote = self.quotes.get(symbol)
        return None if quote is None else self.instruments[symbol].price_from_float(quote.mid)

    def instrument(self, symbol: str) -> Instrument:
        return self.instruments[symbol]

    def ledger_quantity(self, instance: str, symbol: str) -> Decimal:
        return self.ledgers.get((instance, symbol), d(0))

    def account_quantity(self, symbol: str) -> Decimal:
        return sum((quantity for (_, name), quantity in self.ledgers.items() if name == symbol), d(0))

    def save_work(self, handle: str, body: dict[str, Any] | None) -> None:
        if body is None:
            del self.saved[handle]
        else:
            self.saved[handle] = json.loads(json.dumps(body))

    def finish(self, instance: str, done: Done) -> None:
        self.saved.pop(done.handle, None)
        self.dones.append(done)
