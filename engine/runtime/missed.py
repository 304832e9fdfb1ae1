"""What an instance did not hear of, because the program ended before its memory was saved or while it did not run."""

from __future__ import annotations

from collections.abc import Iterator

from engine.kernel.orders import Order
from engine.runtime.core import EngineCore
from engine.runtime.events import FillBooked, OrderChanged, WorkDone
from engine.runtime.records import Execution, Finished, Outcome, Released, Status


def call_of(event: object) -> tuple[str, object]:
    """Return which handler of a strategy takes an event of `missed_events`, and what it takes."""
    if isinstance(event, FillBooked):
        return "on_fill", event.fill
    if isinstance(event, OrderChanged):
        return "on_order", event.order
    if isinstance(event, WorkDone):
        return "on_done", event.done
    raise TypeError(f"no strategy takes {event!r}")


def missed_events(
    core: EngineCore, instance: str, after_seq: int
) -> Iterator[tuple[int, FillBooked | OrderChanged | WorkDone]]:
    """Yield an instance's fills, reports of work and changed orders after a record, in the order of the journal.

    Each comes with the number of the record that tells it.

    An order comes once and stands where it changed last, so that its fills come before its end. Orders of work in
    progress are left out: their work reports for them.
    """
    if core.state.event_seq.get(instance, 0) <= after_seq:
        return
    found: list[tuple[int, FillBooked | WorkDone | Order]] = []
    last: dict[str, int] = {}
    for seq, record in core.state.since(after_seq):
        order = None
        if isinstance(record, Execution):
            fill = record.fill
            if record.instance == instance:
                booked = core.portfolio.fills.get(fill.symbol, fill.trade_id)
                if booked is not None:
                    found.append((seq, FillBooked(fill, instance, booked.realised)))
            order = core.tracker.find(fill.client_id, fill.symbol, fill.venue_order_id)
        elif isinstance(record, Finished):
            if record.instance == instance:
                found.append((seq, WorkDone(instance, record.done)))
        elif isinstance(record, Status):
            update = record.update
            order = core.tracker.find(update.client_id, update.symbol, update.venue_order_id)
        elif isinstance(record, (Outcome, Released)):
            order = core.tracker.get(record.client_id)
        if order is not None and order.instance == instance and not order.parent:
            found.append((seq, order))
            last[order.client_id] = seq
    for seq, event in found:
        if not isinstance(event, Order):
            yield seq, event
        elif last[event.client_id] == seq:
            yield seq, OrderChanged(event)
