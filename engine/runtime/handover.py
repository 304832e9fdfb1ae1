"""Hands over what an instance left that nobody runs: its orders go, what it holds becomes the operator's."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from engine.kernel.errors import CtosError
from engine.kernel.orders import OrderType, Side
from engine.runtime.accounts import MANUAL
from engine.runtime.events import FillBooked, OrderChanged
from engine.runtime.execution import ExecutionEngine


class Handover:
    """Moves ledgers to the operator as soon as no order of theirs can change them any more.

    Args:
        engine: Where orders and ledgers are.
        end_work: Ends the work in progress of the instance of that name.
        on_over: Called with an instance and the reason when nothing is left of it.
    """

    def __init__(
        self, engine: ExecutionEngine, end_work: Callable[[str], None], on_over: Callable[[str, str], None]
    ) -> None:
        self._engine = engine
        self._end_work = end_work
        self._on_over = on_over
        self._given: dict[str, tuple[str, bool]] = {}
        engine.bus.subscribe(OrderChanged, lambda event: self._progress(event.order.instance))
        engine.bus.subscribe(FillBooked, lambda event: self._progress(event.instance))

    def begin(self, name: str, reason: str, close: bool) -> None:
        """Cancel every order of an instance, stops too, then move what it holds to the operator's ledger.

        Args:
            name: The instance.
            reason: Who or what asks.
            close: Whether what was moved is closed at the market, too.
        """
        self._given[name] = (reason, close)
        self._engine.oplog("StrategyExit", instance=name, policy="close" if close else "hand over", reason=reason)
        self._end_work(name)
        self._engine.cancel_all(instance=name, by=f"stop of {name}: {reason}")
        self._progress(name)
        if name in self._given:
            self._engine.say(f"{name}: its orders are being cancelled; then what it holds is moved to {MANUAL}", "warn")

    def forget(self, name: str) -> None:
        """An instance of that name runs again and keeps what it holds."""
        self._given.pop(name, None)

    def left(self, name: str) -> list[str]:
        """Return what is left of an instance, in words: what it holds and how many orders work."""
        ledgers = self._engine.portfolio.ledgers()
        held = [f"{quantity.normalize():f} {symbol}" for owner, symbol, quantity in ledgers if owner == name]
        orders = len(self._engine.tracker.working(instance=name))
        return [*held, *([f"{orders} working order{'' if orders == 1 else 's'}"] if orders else [])]

    def _progress(self, name: str) -> None:
        if name not in self._given or self._has_orders(name):
            return
        reason, close = self._given.pop(name)
        for symbol, quantity in self._engine.transfers.take_from(name, f"stop of {name}: {reason}"):
            if close:
                self._close(symbol, quantity)
            else:
                self._engine.say(f"{symbol}: {quantity:f} of {name} is {MANUAL} now and stays open: close it", "warn")
        self._on_over(name, reason)

    def _has_orders(self, name: str) -> bool:
        """Return whether an order works, or has executions that are still to be booked."""
        tracker = self._engine.tracker
        return bool(tracker.working(instance=name)) or any(order.instance == name for order in tracker.unbooked())

    def _close(self, symbol: str, quantity: Decimal) -> None:
        size = abs(self._engine.portfolio.whole_lots(symbol, quantity))
        if not size:
            return
        side = Side.SELL if quantity > 0 else Side.BUY
        try:
            self._engine.submit(MANUAL, symbol, side, OrderType.MARKET, size, reduce_only=True)
        except CtosError as error:
            self._engine.say(
                f"{symbol}: {quantity:f} is {MANUAL} now and stays open: {error}; close it by hand", "error"
            )
