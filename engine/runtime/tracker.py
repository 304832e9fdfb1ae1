"""Every order of the account and what is known about it.

Orders change only through `apply`, by records that are journalled, so that a replay of the journal gives the same
orders again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from engine.kernel.clock import NS_PER_MS
from engine.kernel.orders import Fill, Order, OrderState, OrderUpdate, Pending
from engine.runtime.accounts import MANUAL
from engine.runtime.records import Asked, Declined, Execution, Intent, Outcome, Record, Released, Sent, Status

ZERO = Decimal(0)
KEPT_ORDERS = 1000


@dataclass(slots=True)
class TrackedOrders:
    """The tracker's state as it is kept in a checkpoint.

    Attributes:
        orders: Every order, oldest first.
        next_label: What the next order is called.
        working: Client ids of those that may still trade, in the tracker's order.
        final: Client ids of those that ended, in the order in which they will be forgotten.
    """

    orders: list[Order] = field(default_factory=list)
    next_label: int = 1
    working: list[str] = field(default_factory=list)
    final: list[str] = field(default_factory=list)


class OrderTracker:
    """Orders by client id, label and venue id: all working ones and the most recent final ones."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}
        self._working: dict[str, Order] = {}
        self._owing: dict[str, Order] = {}
        self._final: deque[str] = deque()
        self._by_venue_id: dict[tuple[str, str], str] = {}
        self._labels: dict[int, str] = {}
        self._next_label = 1

    @property
    def next_label(self) -> int:
        """Return the label that the next order gets."""
        return self._next_label

    def get(self, client_id: str) -> Order | None:
        """Return an order by its client id."""
        return self._orders.get(client_id)

    def by_label(self, label: int) -> Order | None:
        """Return the order that people call `#label`."""
        return self._orders.get(self._labels.get(label, ""))

    def find(self, client_id: str, symbol: str, venue_order_id: str) -> Order | None:
        """Return the order that a venue's message means, by client id or else by the venue's own id."""
        order = self._orders.get(client_id) if client_id else None
        if order is None and venue_order_id:
            order = self._orders.get(self._by_venue_id.get((symbol, venue_order_id), ""))
        return order

    def working(self, symbol: str | None = None, instance: str | None = None) -> list[Order]:
        """Return the orders that may still trade, UNKNOWN and foreign ones included, oldest first."""
        return [
            order
            for order in self._working.values()
            if (symbol is None or order.symbol == symbol) and (instance is None or order.instance == instance)
        ]

    def unbooked(self) -> list[Order]:
        """Return the final orders of ours of which the venue reported more filled than is booked, oldest first."""
        return [order for order in self._owing.values() if order.state.is_final and not order.external]

    def in_flight(self, symbol: str, instance: str | None = None) -> Decimal:
        """Return what the venue reported as filled and has not sent as executions yet, signed, in base units.

        Args:
            symbol: Instrument.
            instance: Whose orders; None for all on the account.
        """
        missing = (
            (order.reported_filled - order.filled) * order.side.sign
            for order in self._owing.values()
            if order.symbol == symbol and instance in (None, order.instance)
        )
        return sum(missing, ZERO)

    def recent(self) -> list[Order]:
        """Return working and recently final orders, oldest first."""
        return list(self._orders.values())

    def children(self, parent: str) -> list[Order]:
        """Return the orders that a piece of work sent, oldest first."""
        return [order for order in self._orders.values() if order.parent == parent]

    def unknown(self) -> list[Order]:
        """Return the orders of ours whose outcome is not known."""
        return [order for order in self._working.values() if order.state is OrderState.UNKNOWN]

    def apply(self, record: Record, ts_ns: int) -> Order | None:
        """Change the order that a record is about; return it, or None when nothing changed."""
        if isinstance(record, Intent):
            return self._intend(record, ts_ns)
        if isinstance(record, Status):
            return self._status(record, ts_ns)
        order: Order | None
        if isinstance(record, Execution):
            fill = record.fill
            order = self.find(fill.client_id, fill.symbol, fill.venue_order_id)
            if order is not None:
                order.book_fill(fill, ts_ns)
        elif isinstance(record, (Sent, Outcome, Asked, Declined, Released)):
            order = self._orders[record.client_id]
            if not _change(order, record, ts_ns):
                return None
        else:
            return None
        if order is not None:
            self._index(order)
        return order

    def take_early(self, order: Order, fills: Sequence[Fill], ts_ns: int) -> None:
        """Add executions of somebody else's order that were booked before the venue told of the order."""
        missing = sum((fill.quantity for fill in fills), ZERO) - order.filled
        for fill in fills:
            if missing <= ZERO:
                break
            order.book_fill(fill, ts_ns)
            missing -= fill.quantity
        self._index(order)

    def is_news(self, record: Status) -> bool:
        """Return whether a status would change anything."""
        update = record.update
        order = self.find(update.client_id, update.symbol, update.venue_order_id)
        return order is None or _is_news(order, record)

    def snapshot(self) -> TrackedOrders:
        """Return the state for a checkpoint."""
        orders = [replace(order) for order in self._orders.values()]
        return TrackedOrders(orders, self._next_label, list(self._working), list(self._final))

    def restore(self, saved: TrackedOrders) -> None:
        """Take over the state of a checkpoint."""
        for order in saved.orders:
            self._add(replace(order))
        self._next_label = saved.next_label
        if len(saved.working) == len(self._working):  # an older version did not keep the two orders
            self._working = {client_id: self._orders[client_id] for client_id in saved.working}
        if saved.final:
            self._final = deque(saved.final)

    def _intend(self, record: Intent, ts_ns: int) -> Order:
        order = Order(
            client_id=record.client_id,
            instance=record.instance,
            symbol=record.symbol,
            side=record.side,
            type=record.type,
            quantity=record.quantity,
            price=record.price,
            trigger_price=record.trigger_price,
            reduce_only=record.reduce_only,
            created_ns=ts_ns,
            updated_ns=ts_ns,
            label=record.label,
            parent=record.parent,
            held=record.held,
            reference_price=record.reference_price,
            replaces=record.replaces,
        )
        replaced = self._orders.get(record.replaces)
        if replaced is not None:
            replaced.replaced_by = record.client_id
        self._add(order)
        return order

    def _status(self, record: Status, ts_ns: int) -> Order | None:
        update = record.update
        order = self.find(update.client_id, update.symbol, update.venue_order_id)
        if order is None:
            order = _foreign_order(update, self._next_label, ts_ns)
            self._add(order)
            return order
        changed = _take_status(order, record, ts_ns)
        self._index(order)
        return order if changed else None

    def _add(self, order: Order) -> None:
        self._orders[order.client_id] = order
        self._labels[order.label] = order.client_id
        self._next_label = max(self._next_label, order.label + 1)
        self._working[order.client_id] = order
        self._index(order)

    def _index(self, order: Order) -> None:
        """Keep the look-ups in step with an order that changed; forget the oldest final orders."""
        client_id = order.client_id
        if order.venue_order_id:
            self._by_venue_id[order.symbol, order.venue_order_id] = client_id
        if order.reported_filled > order.filled:
            self._owing[client_id] = order
        elif self._owing:
            self._owing.pop(client_id, None)
        if order.is_open:
            self._working.setdefault(client_id, order)
            return
        if self._working.pop(client_id, None) is None:
            return
        self._final.append(client_id)
        if len(self._final) > KEPT_ORDERS:
            self._forget(self._final.popleft())

    def _forget(self, client_id: str) -> None:
        order = self._orders.get(client_id)
        if order is None or order.is_open:
            return
        del self._orders[client_id]
        self._owing.pop(client_id, None)
        self._labels.pop(order.label, None)
        self._by_venue_id.pop((order.symbol, order.venue_order_id), None)


def _foreign_order(update: OrderUpdate, label: int, ts_ns: int) -> Order:
    return Order(
        client_id=update.client_id or update.venue_order_id,
        instance=MANUAL,
        symbol=update.symbol,
        side=update.side,
        type=update.type,
        quantity=update.quantity,
        price=update.price,
        trigger_price=update.trigger_price,
        reduce_only=update.reduce_only,
        state=_state_of(update),
        venue_order_id=update.venue_order_id,
        reported_filled=update.filled,
        created_ns=update.ts * NS_PER_MS,
        updated_ns=ts_ns,
        reason=update.reason,
        label=label,
        external=True,
        venue_ts=update.ts,
    )


def _state_of(update: OrderUpdate) -> OrderState:
    """Return the state that a status means: an open order that traded is partially filled."""
    if update.state is OrderState.OPEN and update.filled > 0:
        return OrderState.PARTIAL
    return update.state


def _change(order: Order, record: Sent | Outcome | Asked | Declined | Released, ts_ns: int) -> bool:
    """Apply what the engine itself decided or found out."""
    if isinstance(record, Sent):
        order.fired |= order.held
        order.held = False
        order.sent_ns = ts_ns
        return order.advance(OrderState.SENT, ts_ns)
    if isinstance(record, Outcome):
        changed = order.advance(record.state, ts_ns, record.reason)
        if changed:
            order.error = record.error
        return changed
    order.updated_ns = ts_ns
    if isinstance(record, Released):
        order.parent = ""
        return True
    if isinstance(record, Asked):
        order.pending, order.asked_by, order.asked_ns = record.request, record.by, ts_ns
        if record.request is Pending.AMEND:
            order.asked_quantity = record.quantity
        return True
    if order.pending is Pending.CANCEL:
        order.asked_by = ""  # should it end one day, then not because of this
    order.pending = Pending.NONE
    order.asked_quantity = None
    order.reason, order.error = record.reason, record.error
    return True


def _is_news(order: Order, record: Status) -> bool:
    """Return whether a status says anything that is not known already, or known better."""
    update = record.update
    if (update.venue_order_id and not order.venue_order_id) or update.filled > order.reported_filled:
        return True
    if record.answers is not Pending.NONE and order.pending is record.answers:
        return True
    return order.accepts(_state_of(update)) or (_gives_terms(order, record) and _has_other_terms(order, update))


def _take_status(order: Order, record: Status, ts_ns: int) -> bool:
    """Apply the venue's words; return whether they changed anything."""
    if not _is_news(order, record):
        return False
    update = record.update
    order.venue_order_id = order.venue_order_id or update.venue_order_id
    order.reported_filled = max(order.reported_filled, update.filled)
    if _gives_terms(order, record):
        _take_terms(order, update)
    order.venue_ts = max(order.venue_ts, update.ts)
    if record.answers is not Pending.NONE and order.pending is record.answers:
        order.pending = Pending.NONE
        order.asked_quantity = None
    if order.advance(_state_of(update), ts_ns, update.reason):
        order.held = False
        if update.error:
            order.error = update.error
        elif not update.reason and update.state not in (OrderState.REJECTED, OrderState.EXPIRED):
            order.reason = order.error = ""
    order.updated_ns = ts_ns
    return True


def _gives_terms(order: Order, record: Status) -> bool:
    """Return whether a status tells the present quantity and prices; a market order keeps its own.

    A bare acknowledgement only repeats what was asked: a venue may have made a reduction smaller. The answer to a
    query may be older than what the stream has said meanwhile. So may the answer to an amendment, within the same
    millisecond, when the stream has told of it already and of a reduction that became smaller right after it. A total
    below what is booked is older than the fills. A held stop has one source of terms: the engine itself.
    """
    update = record.update
    newest = update.ts >= order.venue_ts and update.state is not OrderState.SENT
    newest &= not update.quantity or update.quantity >= order.filled
    if update.ts == order.venue_ts and record.answers is Pending.AMEND and order.reduce_only and not order.held:
        newest &= _has_other_prices(order, update) or update.quantity < order.quantity
    return newest and order.is_open and order.type.rests


def _has_other_terms(order: Order, update: OrderUpdate) -> bool:
    return update.quantity not in (ZERO, order.quantity) or _has_other_prices(order, update)


def _has_other_prices(order: Order, update: OrderUpdate) -> bool:
    return update.price not in (None, order.price) or update.trigger_price not in (None, order.trigger_price)


def _take_terms(order: Order, update: OrderUpdate) -> None:
    """Take over quantity and prices, which an amendment may have changed."""
    if update.quantity > ZERO:
        order.quantity = update.quantity
    if update.price is not None:
        order.price = update.price
    if update.trigger_price is not None:
        order.trigger_price = update.trigger_price
