"""Backpack's private REST calls (EXCHANGES.md §5.4, §5.5)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from drivers.paper.state import PaperOrder
from engine.kernel.errors import CtosError, PostOnlyWouldTake, ReduceOnlyRejected
from engine.kernel.orders import OrderState, OrderType, Side
from tests.venues.emulators.backpack_account import AccountCalls, is_asked_for, json_object
from tests.venues.emulators.backpack_auth import exact_json
from tests.venues.emulators.backpack_errors import Refusal, bad_request, not_found, refusal_of
from tests.venues.emulators.backpack_listings import Listing
from tests.venues.emulators.backpack_orders import (
    Ticket,
    fill_row,
    history_row,
    order_row,
    read_order,
)
from tests.venues.emulators.backpack_public import Call, page_of
from tests.venues.emulators.faults import Answer
from tests.venues.emulators.wire import Seen, json_answer

if TYPE_CHECKING:
    from tests.venues.emulators.backpack import BackpackEmulator

T = TypeVar("T")

ZERO = Decimal(0)
_SLOW_CANCEL_S = 0.05
_BATCH = 50


class PrivateCalls:
    """Answers what needs a key.

    Attributes:
        routes: (method, path) -> call.
    """

    def __init__(self, emulator: BackpackEmulator) -> None:
        self._emulator = emulator
        self.routes: dict[tuple[str, str], Call] = {
            ("POST", "/api/v1/order"): self._place,
            ("POST", "/api/v1/orders"): self._place_many,
            ("DELETE", "/api/v1/order"): self._cancel,
            ("DELETE", "/api/v1/orders"): self._cancel_all,
            ("GET", "/api/v1/order"): self._order,
            ("GET", "/api/v1/orders"): self._open_orders,
            ("GET", "/wapi/v1/history/orders"): self._order_history,
            ("GET", "/wapi/v1/history/fills"): self._fill_history,
            ("GET", "/wapi/v1/history/funding"): self._funding_history,
            **AccountCalls(emulator, lambda: self._working(None)).routes,
        }

    # Orders.

    async def _place(self, seen: Seen) -> Answer:
        return json_answer(self._placed(json_object(exact_json(seen.body))))

    async def _place_many(self, seen: Seen) -> Answer:
        bodies = exact_json(seen.body)
        if not isinstance(bodies, list) or not 0 < len(bodies) <= _BATCH:
            raise bad_request(f"Expected 1 to {_BATCH} orders")
        rows: list[dict[str, Any]] = []
        for body in bodies:
            try:
                rows.append({"operation": "Ok", **self._placed(json_object(body))})
            except Refusal as refusal:
                rows.append({"operation": "Err", **refusal.body()})
        return json_answer(rows)

    def _placed(self, body: Mapping[str, Any]) -> dict[str, Any]:
        emulator = self._emulator
        listing, fields = read_order(body, emulator.listings)
        self._check_open(listing, fields["kind"])
        if fields["quote"] is not None:
            fields["quantity"] = self._quantity_for(listing, fields["side"], fields["quote"])
        ticket = emulator.tickets.new(listing, fields, emulator.clock.now_ms())
        try:
            emulator.carry_out(lambda: emulator.exchange.place(ticket.request()))
        except (PostOnlyWouldTake, ReduceOnlyRejected) as error:
            if not emulator.late_refusals:
                emulator.tickets.forget(ticket)
                raise
            post_only = isinstance(error, PostOnlyWouldTake)
            ticket.refused = "PostOnlyTaker" if post_only else "ReduceOnlyNotReduced"
            emulator.announce_refused(ticket)
        except CtosError:
            emulator.tickets.forget(ticket)
            raise
        return order_row(ticket, self._inner(ticket))

    def _check_open(self, listing: Listing, kind: OrderType) -> None:
        emulator = self._emulator
        if emulator.read_only_key:
            raise Refusal(403, "FORBIDDEN", "Forbidden")
        state = listing.book_state
        if state in ("Closed", "CancelOnly"):
            raise Refusal(400, "TRADING_PAUSED", "Trading is paused for this market")
        if state == "PostOnly" and kind is not OrderType.POST_ONLY:
            raise Refusal(400, "INVALID_ORDER", "Only post only orders are accepted")
        if state == "LimitOnly" and not kind.has_price:
            raise Refusal(400, "INVALID_ORDER", "Only limit orders are accepted")

    def _quantity_for(self, listing: Listing, side: Side, amount: Decimal) -> Decimal:
        touch = self._emulator.exchange.market(listing.symbol).touch
        if touch is None:
            raise Refusal(400, "INVALID_ORDER", "No liquidity")
        price = Decimal(repr(touch.ask if side is Side.BUY else touch.bid))
        quantity = listing.instrument.quantity_for(amount, price)
        if quantity < listing.instrument.min_quantity:
            raise Refusal(400, "INVALID_QUANTITY", "Quantity is below the minimum quantity")
        return quantity

    async def _cancel(self, seen: Seen) -> Answer:
        emulator = self._emulator
        body = json_object(exact_json(seen.body))
        ticket = emulator.tickets.find(body, emulator.listings.find(body.get("symbol")))
        if not self._inner(ticket).is_open:
            raise not_found()

        def carry_out() -> None:
            emulator.carry_out(lambda: emulator.exchange.cancel(ticket.inner_id, ticket.listing.symbol))

        if emulator.slow_cancels:
            emulator.clock.call_later(_SLOW_CANCEL_S, lambda: self._inner(ticket).is_open and carry_out())
            return Answer(202)
        carry_out()
        return json_answer(order_row(ticket, self._inner(ticket)))

    async def _cancel_all(self, seen: Seen) -> Answer:
        emulator = self._emulator
        body = json_object(exact_json(seen.body))
        listing, which = emulator.listings.find(body.get("symbol")), body.get("orderType")
        if which not in (None, "RestingLimitOrder", "ConditionalOrder"):
            raise bad_request("Failed to parse orderType")
        rows = []
        for ticket in self._working(listing):
            stop = ticket.kind is OrderType.STOP
            if which is None or (which == "ConditionalOrder") == stop:
                emulator.carry_out(
                    lambda inner_id=ticket.inner_id: emulator.exchange.cancel(inner_id, listing.symbol)  # type: ignore[misc]
                )
                rows.append(order_row(ticket, self._inner(ticket)))
        return json_answer(rows)

    async def _order(self, seen: Seen) -> Answer:
        listing = self._emulator.listings.find(seen.params.get("symbol"))
        ticket = self._emulator.tickets.find(seen.params, listing)
        order = self._inner(ticket)
        if not order.is_open or self._emulator.faults.hides(ticket.created_ms):
            raise not_found()
        return json_answer(order_row(ticket, order))

    async def _open_orders(self, seen: Seen) -> Answer:
        asked = seen.params.get("symbol")
        listing = self._emulator.listings.find(asked) if asked else None
        rows = [
            order_row(ticket, self._inner(ticket))
            for ticket in self._working(listing)
            if is_asked_for(self._emulator, ticket.listing, seen) and not self._emulator.faults.hides(ticket.created_ms)
        ]
        return json_answer(rows)

    def _working(self, listing: Listing | None) -> list[Ticket]:
        working = self._emulator.tickets.working(lambda ticket: self._inner(ticket).is_open)
        return [ticket for ticket in working if listing is None or ticket.listing is listing]

    def _inner(self, ticket: Ticket) -> PaperOrder:
        registry = self._emulator.exchange.registry
        if ticket.refused:
            order = registry.new_order(ticket.request(), ticket.created_ms)
            order.state = OrderState.EXPIRED
            return order
        return registry.find(ticket.inner_id, ticket.listing.symbol)

    # History.

    async def _order_history(self, seen: Seen) -> Answer:
        wanted = seen.params.get("orderId")
        tickets = [
            ticket
            for ticket in self._emulator.tickets
            if wanted in (None, ticket.id)
            and is_asked_for(self._emulator, ticket.listing, seen)
            and not self._emulator.faults.hides(ticket.created_ms)
        ]
        return json_answer([history_row(ticket, self._inner(ticket)) for ticket in _page(tickets, seen)])

    async def _fill_history(self, seen: Seen) -> Answer:
        params, emulator = seen.params, self._emulator
        since, until = int(params.get("from", "0")), int(params.get("to", str(10**14)))
        wanted = params.get("orderId")
        chosen = []
        for fill in emulator.exchange.registry.fills:
            if not since <= fill.ts <= until:
                continue
            ticket = emulator.tickets.of_fill(fill)
            if (
                wanted in (None, ticket.id)
                and is_asked_for(emulator, ticket.listing, seen)
                and not (fill.liquidation and params.get("fillType") == "User")
                and not emulator.faults.hides(fill.ts)
            ):
                chosen.append((ticket, fill))
        return json_answer([fill_row(ticket, fill) for ticket, fill in _page(chosen, seen)])

    async def _funding_history(self, seen: Seen) -> Answer:
        rows = [row for row in self._emulator.funding_rows if seen.params.get("symbol") in (None, row["symbol"])]
        return json_answer(_page(rows, seen))


def spot_of(seen: Seen) -> bool:
    """Return whether a request is about a spot market, as far as its text says."""
    return b"_PERP" not in seen.body and "_PERP" not in seen.query


def refused(seen: Seen, error: CtosError) -> Refusal:
    """Return what the venue says to a request that the matching engine refused."""
    return refusal_of(error, spot_of(seen))


def _page(rows: list[T], seen: Seen) -> list[T]:
    """Return the page that is asked for; rows come oldest first and go out newest first unless asked otherwise."""
    limit, offset = page_of(seen.params, 1_000)
    order = seen.params.get("sortDirection", "Desc")
    if order not in ("Asc", "Desc"):
        raise bad_request("Failed to parse sortDirection")
    sorted_rows = rows if order == "Asc" else rows[::-1]
    return sorted_rows[offset : offset + limit]
