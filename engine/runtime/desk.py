"""The execution engine as work in progress sees it: the `OrderDesk` of `engine.runtime.work`."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from engine.kernel.clock import Clock
from engine.kernel.errors import CtosError, TradingHalted
from engine.kernel.instruments import Instrument
from engine.kernel.market import Quote
from engine.kernel.orders import Order, OrderRequest, OrderType, Side
from engine.kernel.strategy import Done, Purpose
from engine.kernel.syscalls import Unsubscribe
from engine.runtime.client_ids import ClientIds
from engine.runtime.commands import OrderCommands
from engine.runtime.core import EngineCore
from engine.runtime.events import WorkDone
from engine.runtime.records import Finished, Released, Work


class EngineDesk:
    """Sends orders for whoever asks, and keeps the work that asks.

    Args:
        core: The engine's shared parts.
        commands: Order entry.
        ids: Client ids.

    Attributes:
        closed: Why increases are refused before the engine has agreed with the venue; empty once it has.
        on_quote: Takes quotes while work is in progress.
        stopping: Why nothing at all is sent any more, reductions neither; empty until the program stops.
        is_frozen: Whether work stays in the journal as it is now, to go on from there at the next start.
    """

    def __init__(self, core: EngineCore, commands: OrderCommands, ids: ClientIds) -> None:
        self._core = core
        self._commands = commands
        self._ids = ids
        self._listening: Unsubscribe | None = None
        self.closed: Callable[[], str] = lambda: ""
        self.on_quote: Callable[[Quote], None] = lambda quote: None
        self.stopping = ""
        self.is_frozen = False

    @property
    def clock(self) -> Clock:
        """Return the engine's clock."""
        return self._core.clock

    def submit(
        self,
        instance: str,
        symbol: str,
        side: Side,
        type: OrderType,
        quantity: Decimal,
        price: Decimal | None = None,
        trigger_price: Decimal | None = None,
        reduce_only: bool = False,
        purpose: Purpose = Purpose.ENTRY,
        parent: str = "",
        client_id: str | None = None,
        replaces: str = "",
    ) -> str:
        """Send an order and return its client id.

        Raises:
            CtosError: Refused; nothing was journalled or sent.
        """
        client_id = client_id or self._ids.new(instance, purpose)
        try:
            request = self._commands.request(
                instance, symbol, side, type, quantity, price, trigger_price, reduce_only, client_id
            )
            self._refuse_while_closed(request)
            self._commands.submit(request, parent, replaces)
        except CtosError as error:
            self._core.refused(instance, symbol, error, quiet=bool(parent or replaces))
            raise
        return client_id

    def amend(self, client_id: str, price: Decimal | None = None, quantity: Decimal | None = None, *, by: str) -> None:
        """Change price and/or total quantity of a working order in one native call."""
        self._commands.amendments.amend(client_id, price, quantity, by=by)

    def can_amend(self, symbol: str) -> bool:
        """Return whether the venue changes price and quantity of a working order in one call."""
        return self._core.features.can_amend(self._core.instrument(symbol).kind)

    def check_replacement(self, client_id: str, price: Decimal | None, quantity: Decimal) -> None:
        """Check the order that would take a working order's place."""
        self._commands.check_replacement(client_id, price, quantity)

    def cancel(self, client_id: str, by: str) -> None:
        """Ask for the cancellation of an order; `by` is the handle of the work that wants it."""
        self._commands.cancel(client_id, by)

    def release(self, client_id: str) -> None:
        """Leave a working order to its instance, which minds it from now on."""
        self._core.change(Released(client_id))

    def order(self, client_id: str) -> Order | None:
        """Return the live record of an order."""
        return self._core.tracker.get(client_id)

    def orders_of(self, parent: str) -> list[Order]:
        """Return the orders sent for a piece of work, oldest first."""
        return self._core.tracker.children(parent)

    def quote(self, symbol: str) -> Quote | None:
        """Return the best bid and ask."""
        return self._core.quote(symbol)

    def mark(self, symbol: str) -> Decimal | None:
        """Return the mark price, to the tick; the middle of the touch where the venue has none."""
        price = self._core.market.price(symbol)
        return None if price is None else self._core.instrument(symbol).price_from_float(price)

    def instrument(self, symbol: str) -> Instrument:
        """Return an instrument; raises `UnknownSymbol`."""
        return self._core.instrument(symbol)

    def ledger_quantity(self, instance: str, symbol: str) -> Decimal:
        """Return the signed base coins in an instance's ledger."""
        return self._core.ledger_quantity(instance, symbol)

    def account_quantity(self, symbol: str) -> Decimal:
        """Return the signed base coins of the account's position."""
        return self._core.account_quantity(symbol)

    def save_work(self, handle: str, body: dict[str, Any] | None) -> None:
        """Journal the state of a piece of work; None takes it back."""
        if self.is_frozen:
            return
        state = self._core.state
        if state.works.get(handle) != body:
            state.write(Work(handle, body))
        self._listen()

    def _listen(self) -> None:
        """Take quotes while there is work."""
        state = self._core.state
        if state.works and self._listening is None:
            self._listening = self._core.bus.subscribe(Quote, lambda quote: self.on_quote(quote))
        elif not state.works and self._listening is not None:
            self._listening()
            self._listening = None

    def finish(self, instance: str, done: Done) -> None:
        """Journal that a piece of work has ended, and tell the instance and the bus."""
        if self.is_frozen:
            return
        self._core.oplog(
            "SetCoinPosition" if done.kind == "target" else "PlaceIncrementalOrders",
            instance=instance,
            symbol=done.symbol,
            kind=done.kind,
            status=done.status.value,
            qty=str(done.quantity),
            notional=str(done.notional),
            det=done.reason,
        )
        self._core.write(Finished(instance, done))
        self._listen()
        self._core.bus.publish(WorkDone(instance, done))

    def _refuse_while_closed(self, request: OrderRequest) -> None:
        why = self.stopping or ("" if request.reduce_only else self.closed())
        if why:
            raise TradingHalted(why)
