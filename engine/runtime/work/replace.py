"""Amendment by replacement, for venues that cannot change price and quantity of an order in one call.

The new terms are checked first; then the order is cancelled, its final fills are awaited, and the rest is placed with
everything else inherited: whoever minded the old order minds the new one.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from engine.kernel.errors import CtosError, InvalidOrder
from engine.kernel.market import Quote
from engine.kernel.orders import Order, OrderState, Pending
from engine.kernel.strategy import DoneStatus, Purpose
from engine.runtime.client_ids import purpose_of
from engine.runtime.work.desk import OrderDesk, is_settled
from engine.runtime.work.execution import OnDone, refusal
from engine.runtime.work.ticket import Tally

_SENT = (OrderState.INTENT, OrderState.SENT, OrderState.UNKNOWN)
_ABSENT = (OrderState.REJECTED, OrderState.NEVER_SENT, OrderState.NEVER_ACCEPTED)


class Replacement:
    """One amendment by replacement; `quantity` is the new total, fills of the old order included.

    It ends FILLED when the amendment stands (or the old order was filled meanwhile), CANCELED when nothing was left to
    place or the order was cancelled, and FAILED with `REPLACE_FAILED(remaining)` when the new order was refused.

    Args:
        desk: Where orders go.
        handle: Its handle.
        instance: Whose order it is.
        symbol: Its symbol.
        old: Client id of the order to be replaced.
        price: New price.
        quantity: New total quantity.
        on_done: Called once with the report.
        on_change: Called when `to_dict` has changed.

    Attributes:
        old: Client id of the order that gives way.
    """

    kind = "amend"

    def __init__(
        self,
        desk: OrderDesk,
        handle: str,
        instance: str,
        symbol: str,
        old: str,
        price: Decimal | None,
        quantity: Decimal,
        on_done: OnDone,
        on_change: Callable[[], None],
    ) -> None:
        self.handle = handle
        self.instance = instance
        self.symbol = symbol
        self.old = old
        self._desk = desk
        self._price = price
        self._quantity = quantity
        self._on_done = on_done
        self._on_change = on_change
        self._tally = Tally()
        self._new = ""
        self._ending = ""

    def track(self) -> None:
        """Return None: it is no soft order."""

    def start(self) -> None:
        """Check the new terms, then cancel the old order.

        Raises:
            CtosError: The new terms are refused; the old order works on.
        """
        order = self._desk.order(self.old)
        if order is None or not order.is_open:
            raise InvalidOrder(f"order {self.old} is not working: there is nothing to amend")
        if order.pending is Pending.CANCEL:
            raise InvalidOrder(f"order #{order.label} is being cancelled: it cannot be amended")
        if self._quantity > order.filled:
            self._desk.check_replacement(self.old, self._price, self._quantity)
        self._desk.cancel(self.old, self.handle)

    def on_order(self, order: Order) -> None:
        """Place the rest when the old order is final; report when the venue has answered to the new one."""
        if order.client_id == self.old and not self._new and is_settled(order):
            self._replace(order)
        elif order.client_id == self._new and self._ending:
            self._withdrawn(order)
        elif order.client_id == self._new and order.state not in _SENT:
            self._answered(order)

    def on_quote(self, quote: Quote) -> None:
        """Nothing to follow."""

    def end(self, reason: str, by: str = "") -> None:
        """Let the old order's cancellation stand and place nothing more; what has its place already is cancelled too.

        Args:
            reason: Why, in words.
            by: Who asks; this work itself when empty.
        """
        old = self._desk.order(self.old)
        self._new = self._new or (old.replaced_by if old is not None else "")
        if not self._new:
            self._finish(DoneStatus.CANCELED, reason)
            return
        self._ending = self._ending or reason
        self._on_change()
        self._desk.cancel(self._new, by or self.handle)

    def resume(self) -> None:
        """Go on after a restart from the truth of the tracker."""
        old = self._desk.order(self.old)
        placed = self._desk.order(old.replaced_by) if old is not None else None
        if placed is not None:
            assert old is not None
            self._new = placed.client_id
            self._tally.add_order(old)
            if self._ending:
                self._desk.cancel(self._new, self.handle)
            self.on_order(placed)
        elif old is None:
            self._finish(DoneStatus.FAILED, f"REPLACE_FAILED: order {self.old} is no longer known")
        elif is_settled(old):
            self._replace(old)
        else:
            self._desk.cancel(self.old, self.handle)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "kind": self.kind,
            "handle": self.handle,
            "instance": self.instance,
            "symbol": self.symbol,
            "old": self.old,
            "price": None if self._price is None else str(self._price),
            "quantity": str(self._quantity),
            "ending": self._ending,
        }

    @classmethod
    def from_dict(
        cls, desk: OrderDesk, body: dict[str, Any], on_done: OnDone, on_change: Callable[[], None]
    ) -> Replacement:
        """Return what `to_dict` saved; `resume` sets it going."""
        replacement = cls(
            desk,
            str(body["handle"]),
            str(body["instance"]),
            str(body["symbol"]),
            str(body["old"]),
            None if body["price"] is None else Decimal(body["price"]),
            Decimal(body["quantity"]),
            on_done,
            on_change,
        )
        replacement._ending = str(body.get("ending", ""))
        return replacement

    def _replace(self, old: Order) -> None:
        self._tally.add_order(old)
        if old.state is OrderState.FILLED:
            self._finish(DoneStatus.FILLED, "filled before it could be amended")
            return
        instrument = self._desk.instrument(self.symbol)
        rest = instrument.floor_quantity(self._quantity - old.filled)
        if rest <= 0:
            self._finish(DoneStatus.CANCELED, "the new total is filled already; the rest was cancelled")
            return
        try:
            self._new = self._desk.submit(
                old.instance,
                old.symbol,
                old.side,
                old.type,
                rest,
                old.price if self._price is None else self._price,
                reduce_only=old.reduce_only,
                purpose=purpose_of(old.client_id) or Purpose.ENTRY,
                parent=old.parent,
                replaces=old.client_id,
            )
        except CtosError as error:
            self._fail(rest, f"{type(error).__name__}: {error}")
            return
        self._on_change()
        order = self._desk.order(self._new)
        if order is not None:
            self.on_order(order)

    def _answered(self, order: Order) -> None:
        if order.state in _ABSENT:
            self._fail(order.quantity, refusal(order))
            return
        self._tally.children.append(order.client_id)
        self._finish(DoneStatus.FILLED, f"replaced by {order.client_id}")

    def _withdrawn(self, order: Order) -> None:
        """Report when the new order, which is to be cancelled, is over, or works on because that was refused."""
        if is_settled(order):
            self._tally.add_order(order)
            is_filled = order.state is OrderState.FILLED
            self._finish(DoneStatus.FILLED if is_filled else DoneStatus.CANCELED, self._ending)
        elif order.state not in _SENT and order.pending is Pending.NONE and order.is_open:
            self._answered(order)

    def _fail(self, remaining: Decimal, reason: str) -> None:
        self._finish(DoneStatus.FAILED, f"REPLACE_FAILED({remaining.normalize():f}): {reason}")

    def _finish(self, status: DoneStatus, reason: str) -> None:
        if self.old not in self._tally.children:
            self._tally.children.insert(0, self.old)
        self._on_done(self._tally.done(self.handle, self.kind, self.symbol, status, reason))
