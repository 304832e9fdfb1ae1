"""A quantity at the market: one immediate-or-cancel order at the slippage cap."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import CtosError, TooManyCommands
from engine.kernel.market import Quote
from engine.kernel.orders import Order, OrderState, OrderType
from engine.kernel.strategy import DoneStatus
from engine.runtime.work.alarms import Alarms
from engine.runtime.work.desk import OrderDesk, is_settled
from engine.runtime.work.execution import OnChange, OnDone, end_status, refusal, unknown_orders
from engine.runtime.work.pricing import has_touch
from engine.runtime.work.ticket import Tally, Ticket

_ABSENT = (OrderState.REJECTED, OrderState.NEVER_SENT, OrderState.NEVER_ACCEPTED)


class MarketOrder:
    """One taking order; what the cap leaves unfilled is not tried again.

    Args:
        desk: Where orders go.
        ticket: What to do.
        on_done: Called once with the report.
        on_change: Called when `to_dict` has changed.
    """

    def __init__(self, desk: OrderDesk, ticket: Ticket, on_done: OnDone, on_change: OnChange) -> None:
        self._desk = desk
        self._ticket = ticket
        self._on_done = on_done
        self._on_change = on_change
        self._alarms = Alarms(desk.clock)
        self._working = ""
        self._tally = Tally()

    def start(self) -> None:
        """Send the order; when the command budget is used up, as soon as it is free."""
        ticket = self._ticket
        try:
            self._working = self._desk.submit(
                ticket.instance,
                ticket.symbol,
                ticket.side,
                OrderType.MARKET,
                ticket.quantity,
                reduce_only=ticket.reduce_only,
                purpose=ticket.purpose,
                parent=ticket.handle,
            )
        except TooManyCommands as error:
            self._alarms.set("retry", self._desk.clock.now_ns() + round(error.retry_in_s * NS_PER_S), self._retry)
            return
        self._on_change()
        order = self._desk.order(self._working)
        if order is not None:
            self.on_order(order)

    def on_order(self, order: Order) -> None:
        """Report when the order is settled."""
        if order.client_id != self._working or not is_settled(order):
            return
        self._working = ""
        self._tally.add_order(order)
        if self._tally.quantity >= self._ticket.quantity:
            self._finish(DoneStatus.FILLED, "")
        elif order.state in _ABSENT:
            self._finish(end_status(self._tally.quantity, True), refusal(order))
        elif order.state is OrderState.FILLED:
            self._finish(DoneStatus.PARTIAL, "no more was left to reduce")
        else:
            self._finish(end_status(self._tally.quantity, False), order.reason or "no more within the slippage cap")

    def on_quote(self, quote: Quote) -> None:
        """Nothing to follow."""

    def end(self, reason: str) -> None:
        """Cancel; the order is gone in a moment by itself."""
        if self._working:
            self._desk.cancel(self._working, self._ticket.handle)
        else:
            self._finish(end_status(self._tally.quantity, False), reason)

    def resume(self, known: Collection[str] = ()) -> None:
        """Wait for the order that was sent, or send it."""
        orders = unknown_orders(self._desk, self._ticket.handle, self._tally, known)
        if not orders:
            self._retry()
            return
        self._working = orders[-1].client_id
        self.on_order(orders[-1])

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"kind": "market", "ticket": self._ticket.to_dict(), "tally": self._tally.to_dict()}

    @classmethod
    def from_dict(cls, desk: OrderDesk, body: dict[str, Any], on_done: OnDone, on_change: OnChange) -> MarketOrder:
        """Return what `to_dict` saved; `resume` sets it going."""
        execution = cls(desk, Ticket.from_dict(body["ticket"]), on_done, on_change)
        execution._tally = Tally.from_dict(body["tally"])
        return execution

    def _retry(self) -> None:
        if not has_touch(self._desk, self._ticket.symbol):
            self._alarms.set("retry", self._desk.clock.now_ns() + NS_PER_S, self._retry)
            return
        try:
            self.start()
        except CtosError as error:
            self._finish(DoneStatus.FAILED, f"{type(error).__name__}: {error}")

    def _finish(self, status: DoneStatus, reason: str) -> None:
        self._alarms.cancel_all()
        ticket = self._ticket
        self._on_done(self._tally.done(ticket.handle, "market", ticket.symbol, status, reason))
