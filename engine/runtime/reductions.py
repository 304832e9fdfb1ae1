"""Reduce-only orders of an instance never add up to more than what it holds.

Limit reductions and stops are measured apart: a position may have its take-profit and its stop, each of its whole
size, and a fill of one resizes or cancels the other at once.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from engine.kernel.errors import ReduceOnlyRejected
from engine.kernel.orders import Order, OrderState, OrderType, Pending, Side
from engine.runtime.accounts import MANUAL
from engine.runtime.core import EngineCore

ZERO = Decimal(0)
LESS_HELD = "less is held than it reduces"


class Reductions:
    """Caps reduce-only orders to the ledger, when they are placed and after every fill.

    Args:
        core: The engine's shared parts.
        resize: Changes the total quantity of a working order.
        cancel: Cancels an order, for a reason.
    """

    def __init__(
        self, core: EngineCore, resize: Callable[[Order, Decimal], None], cancel: Callable[[str, str], None]
    ) -> None:
        self._core = core
        self._resize = resize
        self._cancel = cancel

    def cap(
        self,
        instance: str,
        symbol: str,
        side: Side,
        is_stop: bool,
        quantity: Decimal,
        without: str = "",
        shrinks: bool = False,
    ) -> Decimal:
        """Return how much of a reduction is possible beside the working ones.

        Args:
            instance: Whose ledger is reduced.
            symbol: Instrument.
            side: Side of the reduction.
            is_stop: Whether it is a stop.
            quantity: What is asked.
            without: Client id of an order to leave out.
            shrinks: Whether that order only becomes smaller: what is being cancelled beside it does not hold that up.

        Raises:
            ReduceOnlyRejected: Nothing is left to reduce.
        """
        reducible = self._core.reducible(instance, symbol, side)
        working = self._group(instance, symbol, side, is_stop)
        if shrinks:
            working = _staying(working)
        taken = sum((order.working_quantity for order in working if order.client_id != without), ZERO)
        if reducible - taken <= ZERO:
            whose = "the account" if instance == MANUAL else instance
            held = self._core.held_by(instance, symbol)
            others = f", {taken} of it is in working reductions" if taken else ""
            others += ", and fills are on their way" if max(ZERO, -held * side.sign) > reducible else ""
            raise ReduceOnlyRejected(f"{symbol}: nothing to reduce by a {side.value}; {whose} holds {held}{others}")
        return min(quantity, reducible - taken)

    def reduces_account(self, order: Order) -> bool:
        """Return whether an order also reduces the account's net position by its full size: the venue may check it."""
        return -self._core.account_quantity(order.symbol) * order.side.sign >= order.remaining

    def fit(self, instance: str, symbol: str) -> None:
        """Resize or cancel working reductions that exceed what is held now; the newest give way first."""
        if not any(order.reduce_only for order in self._core.working(symbol)):
            return
        for owner in (instance, MANUAL) if instance != MANUAL else (MANUAL,):
            for side in Side:
                for is_stop in (False, True):
                    self._fit_group(owner, symbol, side, is_stop)

    def _fit_group(self, instance: str, symbol: str, side: Side, is_stop: bool) -> None:
        orders = self._group(instance, symbol, side, is_stop)
        if not orders:
            return
        reducible = self._core.reducible(instance, symbol, side)
        ours = _staying(orders)
        excess = sum((order.working_quantity for order in ours), ZERO) - reducible
        for order in reversed(ours):
            if excess <= ZERO:
                return
            give = min(excess, order.working_quantity)
            if give == order.working_quantity:
                self._cancel(order.client_id, LESS_HELD)
            elif order.held or _can_shrink(order):
                self._resize(order, order.quantity - give)
            excess -= give

    def _group(self, instance: str, symbol: str, side: Side, is_stop: bool) -> list[Order]:
        return [
            order
            for order in self._core.working(symbol, instance)
            if order.side is side and order.reduce_only and (order.type is OrderType.STOP) is is_stop
        ]


def _can_shrink(order: Order) -> bool:
    """Return whether the venue has an order that rests; one that takes is over before an amendment could reach it."""
    return order.type.rests and not order.fired and order.state in (OrderState.OPEN, OrderState.PARTIAL)


def _staying(orders: list[Order]) -> list[Order]:
    """Return the orders that are ours and not being cancelled."""
    return [order for order in orders if not order.external and order.pending is not Pending.CANCEL]
