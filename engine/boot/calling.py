"""One syscall from outside: queries go to the driver, orders through the engine and its limits.

Stops that the engine holds, as the venue cannot, are listed and answered like the venue's own orders.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from engine.boot.system import NEVER_ARMED, System
from engine.kernel import errors
from engine.kernel.clock import NS_PER_MS, NS_PER_S, sleep
from engine.kernel.errors import CtosError, InvalidOrder, OrderNotFound, TradingHalted, UnknownOutcome
from engine.kernel.orders import Order, OrderState, OrderType, OrderUpdate, Pending, Side, combined_order_type
from engine.kernel.strategy import Done, DoneStatus
from engine.runtime.accounts import MANUAL
from engine.runtime.events import HandActed, OrderChanged, WorkDone
from engine.runtime.reports import AnomalySummary, PositionSummary

_ANSWER_S = 10.0
_MARKET_S = 5.0
_ARMING = ("place_order", "amend_order")
"""Syscalls that may increase what is held; cancels and reductions by hand pass without arming."""
_LOOKS = ("get_open_orders", "get_order_status")
"""Syscalls that need no price of the market."""

HELD = "held by the engine until its trigger is met: the venue does not know it; it works only while the engine runs"


class CallDesk:
    """The trading syscalls as `call` offers them: risk limits and journal stand between them and the venue.

    Args:
        system: A started system.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self._engine = system.engine
        self._driver = system.driver
        self._changed = asyncio.Event()
        self._done: dict[str, Done] = {}
        self._ends = [
            system.bus.subscribe(OrderChanged, lambda event: self._changed.set()),
            system.bus.subscribe(WorkDone, self._on_done),
        ]

    def close(self) -> None:
        """Listen to the engine no more; a desk beside a running engine serves one call."""
        for end in self._ends:
            end()

    async def call(self, syscall: str, values: dict[str, Any]) -> Any:
        """Carry out a syscall with typed arguments and return its result.

        Raises:
            CtosError: It was refused or failed.
        """
        own, symbol = getattr(self, syscall, None), values.get("symbol")
        if syscall in _ARMING and self._system.may_arm_itself:
            self._engine.arm("call")
        needs_price = own is not None and syscall not in _LOOKS
        if symbol is not None and (needs_price or self._system.source.model is not None):
            await self._wait_for_market(symbol)
        try:
            return await (own or getattr(self._driver, syscall))(**values)
        except TradingHalted as error:
            if self._system.may_arm_itself:
                raise
            account = self._system.account
            where = f"ctos-tui --exchange {account.venue} --account {account.name}"
            raise TradingHalted(f"{account.name} is live and call arms nothing: {NEVER_ARMED} ({where})") from error

    async def place_order(
        self,
        symbol: str,
        side: Side,
        order_type: OrderType,
        size: Decimal,
        price: Decimal | None = None,
        client_id: str | None = None,
        post_only: bool = False,
        reduce_only: bool = False,
        time_in_force: str | None = None,
        trigger_price: Decimal | None = None,
    ) -> OrderUpdate:
        """Place an order and return what became of it by the time of the venue's answer.

        A stop that the venue does not keep is answered as soon as the engine holds it.
        """
        if client_id is not None:
            raise InvalidOrder("client_id= is given by the engine, which must know every order; leave it out")
        kind = combined_order_type(order_type, post_only, time_in_force)
        sent = self._engine.submit(MANUAL, symbol, side, kind, size, price, trigger_price, reduce_only)
        order = await self._answer(sent, self._is_settled)
        if order.state is OrderState.REJECTED:
            raise _typed(order)
        return await self.get_order_status(order.client_id, symbol)

    async def amend_order(
        self, order_id: str, symbol: str, price: Decimal | None = None, size: Decimal | None = None
    ) -> OrderUpdate:
        """Amend an order; `size` is the new total. Where the venue cannot, a new order takes its place."""
        if price is None and size is None:
            raise InvalidOrder("nothing to amend: give price=, size= or both")
        order = self._find(order_id, symbol)
        self._system.bus.publish(HandActed(symbol, ""))
        handle = self._engine.amend(order.client_id, price, size)
        if handle is not None:
            return await self._replaced(handle, symbol)
        amended = await self._answer(order.client_id, lambda order: order.pending is Pending.NONE)
        if amended.is_open and amended.reason:
            raise InvalidOrder(f"the venue refused the amendment: {amended.reason}")
        return await self.get_order_status(order.client_id, symbol)

    async def revoke_order(self, order_id: str, symbol: str) -> OrderUpdate:
        """Cancel an order."""
        order = self._find(order_id, symbol)
        self._system.bus.publish(HandActed(symbol, ""))
        self._engine.cancel(order.client_id)
        await self._answer(order.client_id, lambda order: order.state.is_final)
        return await self.get_order_status(order.client_id, symbol)

    async def cancel_all(self, symbol: str | None = None) -> list[OrderUpdate]:
        """Cancel every order of this account, of one instrument or all."""
        canceled = []
        for order in self._engine.tracker.working(symbol=symbol):
            canceled.append(await self.revoke_order(order.client_id, order.symbol))
        return canceled

    async def get_open_orders(self, symbol: str | None = None) -> list[OrderUpdate]:
        """Return the working orders: those that the venue lists, and the stops that the engine holds."""
        listed = await self._driver.get_open_orders(symbol)
        return [*listed, *(_held_row(order) for order in self._engine.tracker.working(symbol=symbol) if order.held)]

    async def get_order_status(self, order_id: str, symbol: str) -> OrderUpdate:
        """Return what became of an order; of a stop that the venue never saw, what the engine knows."""
        order = self._engine.tracker.get(order_id)
        if order is not None and order.held:
            return _held_row(order)
        return await self._driver.get_order_status(order_id, symbol)

    async def close_all_positions(
        self,
        symbol: str | None = None,
        mode: str = "market",
        price_offset: Decimal = Decimal(0),
        side: Side | None = None,
    ) -> list[OrderUpdate]:
        """Close the account's positions reduce-only, by `market`, or by `limit` at the mark moved away by a fraction.

        `side` buy closes long positions only, sell short ones. Limit reductions by hand that still rest give way.
        """
        if mode not in ("market", "limit"):
            raise InvalidOrder(f"mode={mode!r}: must be market or limit")
        if not 0 <= price_offset < 1:
            raise InvalidOrder(f"price_offset={price_offset}: must be a fraction of the price, from 0 to below 1")
        closed = []
        for position in await self._driver.get_position(symbol):
            held = Side.BUY if position.quantity > 0 else Side.SELL
            if side in (None, held):
                price = None
                await self._wait_for_market(position.symbol)
                await self._clear_reductions(position.symbol, held.opposite)
                if mode == "limit":
                    instrument = self._system.instruments[position.symbol]
                    price = instrument.round_price(held.opposite, position.mark_price * (1 + price_offset * held.sign))
                kind = OrderType.MARKET if price is None else OrderType.LIMIT
                quantity = abs(position.quantity)
                closed.append(
                    await self.place_order(position.symbol, held.opposite, kind, quantity, price, reduce_only=True)
                )
        return closed

    async def get_position_summary(self) -> PositionSummary:
        """Return the account's positions in numbers, as soon as what is held has a price."""
        for row in self._engine.portfolio.positions():
            await self._wait_for_market(row.symbol)
        return self._system.monitor.get_position_summary()

    async def get_anomaly_summary(self, hours: float = 24) -> AnomalySummary:
        """Return what was wrong in the last hours."""
        return self._system.monitor.get_anomaly_summary(hours)

    async def start_position_monitoring(self) -> bool:
        """Begin to watch; return whether it watches."""
        self._system.monitor.start_position_monitoring()
        return self._system.monitor.is_monitoring

    async def stop_position_monitoring(self) -> bool:
        """Stop watching; return whether it watches. What blocks entries now goes on blocking them."""
        self._system.monitor.stop_position_monitoring()
        return self._system.monitor.is_monitoring

    async def _clear_reductions(self, symbol: str, side: Side) -> None:
        for order in self._engine.tracker.working(symbol, MANUAL):
            if order.reduce_only and order.side is side and order.type is not OrderType.STOP:
                await self.revoke_order(order.client_id, symbol)

    def _find(self, order_id: str, symbol: str) -> Order:
        for order in self._engine.tracker.working(symbol=symbol):
            if order_id in (order.client_id, order.venue_order_id, f"#{order.label}"):
                return order
        raise OrderNotFound(f"no working order {order_id!r} of {symbol}; `call get_open_orders` lists them")

    def _is_settled(self, order: Order) -> bool:
        """Return whether a placed order has its answer: the venue's, or the engine's that it holds this stop."""
        if order.held and order.state is OrderState.INTENT:
            return self._engine.commands.stops.is_watched(order)
        return order.state not in (OrderState.INTENT, OrderState.SENT)

    def _on_done(self, event: WorkDone) -> None:
        self._done[event.done.handle] = event.done
        self._changed.set()

    async def _replaced(self, handle: str, symbol: str) -> OrderUpdate:
        """Return the order that took another one's place."""
        await self._until(lambda: handle in self._done, f"the replacement of an order of {symbol}")
        done = self._done.pop(handle)
        if done.status is not DoneStatus.FILLED:
            raise InvalidOrder(f"the order was not replaced: {done.reason}")
        return await self.get_order_status(done.children[-1], symbol)

    async def _answer(self, client_id: str, is_answered: Callable[[Order], bool]) -> Order:
        def has_answer() -> bool:
            order = self._engine.tracker.get(client_id)
            return order is not None and is_answered(order)

        await self._until(has_answer, f"order {client_id}")
        return self._engine.core.known(client_id)

    async def _until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait for news of the engine that make something so.

        Raises:
            UnknownOutcome: They did not come in time.
        """
        clock = self._system.clock
        deadline_ns = clock.now_ns() + round(_ANSWER_S * NS_PER_S)
        while not is_so():
            if clock.now_ns() >= deadline_ns:
                raise UnknownOutcome(f"no answer about {what} in {_ANSWER_S:g} s; look at get_open_orders")
            self._changed.clear()
            waiting = asyncio.ensure_future(self._changed.wait())
            await asyncio.wait({waiting}, timeout=1.0)
            waiting.cancel()

    async def _wait_for_market(self, symbol: str) -> None:
        """Give the market a moment to show its first prices."""
        self._engine.market.watch(symbol)
        clock = self._system.clock
        deadline_ns = clock.now_ns() + round(_MARKET_S * NS_PER_S)
        while self._engine.market.quote(symbol) is None and clock.now_ns() < deadline_ns:
            await sleep(clock, 0.02)


def _typed(order: Order) -> CtosError:
    """Return the typed error behind a rejection."""
    kind = getattr(errors, order.error, None)
    if isinstance(kind, type) and issubclass(kind, errors.VenueError) and kind is not errors.BelowMinimum:
        return kind(order.reason)
    return InvalidOrder(order.reason)


def _held_row(order: Order) -> OrderUpdate:
    """Return what the engine knows of a stop that never left it, in the form of a venue's answer."""
    return OrderUpdate(
        order.client_id,
        order.venue_order_id,
        order.symbol,
        order.side,
        order.type,
        order.state,
        order.quantity,
        order.price,
        order.filled,
        order.updated_ns // NS_PER_MS,
        order.trigger_price,
        order.reduce_only,
        reason=HELD if order.is_open else order.reason,
        error=order.error,
    )
