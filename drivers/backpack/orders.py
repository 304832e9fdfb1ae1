"""One order's calls: place, cancel, and what became of it, wherever Backpack keeps that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from drivers.backpack.aliases import Alias, Aliases
from drivers.backpack.codec import order_body, order_update
from drivers.backpack.errors import refusal_from
from drivers.backpack.rest import Rest
from drivers.backpack.rest_wire import RestOrder
from drivers.backpack.signer import Params
from drivers.backpack.values import ms_of
from drivers.transport.gateway import is_venue_id
from drivers.transport.line_decoder import Undecodable
from drivers.transport.setup import Log
from engine.kernel.errors import CtosError, OrderNotFound, UnknownOutcome, VenueUnavailable
from engine.kernel.instruments import Instrument
from engine.kernel.orders import OrderRequest, OrderState, OrderType, OrderUpdate

FIRST_PAGE, PAGE = 100, 1000
_EXPIRE_BY_NATURE = (OrderType.IOC, OrderType.FOK)
CLOCKS_APART_MS = 300_000
"""By how much our clock may have gone wrong since its offset was measured, when an order's time is compared with the
time of its alias."""


class Orders:
    """Order entry of one account.

    Args:
        rest: The venue's calls.
        aliases: The numbers that stand for our client ids.
        log: Takes lines for the operator.
    """

    def __init__(self, rest: Rest, aliases: Aliases, log: Log) -> None:
        self._rest = rest
        self._log = log
        self._aliases = aliases

    async def submit(self, request: OrderRequest, instrument: Instrument) -> OrderUpdate:
        """Send a new order once its alias is on the disk; see `OrderCalls`.

        The venue does not say what it does with a client id that was used before, so a second order under one is
        refused here.
        """
        body = order_body(request, instrument)
        alias = await self._aliases.make(request.client_id)
        what = f"order {request.client_id} on {request.symbol}"
        order = await self._rest.place({**body, "clientId": alias.number}, what)
        try:
            update = replace(self._update(order), client_id=request.client_id)
        except Undecodable as error:
            raise UnknownOutcome(f"backpack: {what}: {error.reason}", request=what) from error
        if update.state is not OrderState.EXPIRED or update.filled:
            return update
        if not update.reason and (request.reduce_only or request.type not in _EXPIRE_BY_NATURE):
            update = replace(update, reason=await self._why_expired(instrument.native, order.id))
        refusal = refusal_from(update.reason, what)
        if refusal is not None:
            raise refusal
        return update

    async def withdraw(self, order_id: str, instrument: Instrument) -> OrderUpdate:
        """Cancel an order; see `OrderCalls`. State SENT when the venue has not carried it out yet."""
        order = await self._rest.cancel(
            instrument.native, self._identity(order_id)[0], f"cancel of {order_id} on {instrument.symbol}"
        )
        if order is None:
            update = await self._after_acceptance(order_id, instrument)
        else:
            update = self._read(order)
        return update if update.state.is_final else replace(update, state=OrderState.SENT)

    async def withdraw_all(
        self, orders: list[OrderUpdate], instrument: Callable[[str], Instrument]
    ) -> list[OrderUpdate]:
        """Cancel the resting orders of every market that `orders` are in, with one call a market.

        Returns:
            The cancelled orders; those of a market where it is not carried out yet in state SENT.

        Raises:
            CtosError: A market's orders could not be cancelled; all markets were tried.
        """
        answered: list[OrderUpdate] = []
        failures: list[CtosError] = []
        for symbol in dict.fromkeys(order.symbol for order in orders):
            try:
                rows = await self._rest.cancel_all(instrument(symbol).native, f"cancel of all orders on {symbol}")
                if rows is None:
                    answered += [replace(order, state=OrderState.SENT) for order in orders if order.symbol == symbol]
                else:
                    answered += [self._read(row) for row in rows]
            except CtosError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return answered

    async def look_up(self, order_id: str, instrument: Instrument) -> OrderUpdate:
        """Return what became of an order: while it rests from the order call, afterwards from the history.

        Raises:
            OrderNotFound: It does not rest, and neither the order history nor the fill history know it.
            VenueUnavailable: It traded, but the histories do not agree yet on what became of it; or it may be one that
                rests under a number that is not known here.
        """
        try:
            identity, alias = self._identity(order_id)
        except OrderNotFound:
            await self._check_unnamed(order_id, instrument)
            raise
        resting = await self._rest.open_order(instrument.native, identity)
        if resting is not None:
            return self._read(resting)
        past = await self._in_history(instrument.native, identity, alias)
        if past is not None:
            return self._read(past)
        if await self._has_fills(instrument.native, identity, alias):
            raise VenueUnavailable(f"backpack: order {order_id} traded, but its history is behind; ask again")
        raise OrderNotFound(f"backpack: there is no order {order_id} on {instrument.symbol}")

    async def _why_expired(self, native: str, order_id: str) -> str:
        """Return why an order expired, which only the history tells; empty when it does not know yet."""
        try:
            page = await self._rest.order_history({"symbol": native, "orderId": order_id}, FIRST_PAGE, 0)
        except CtosError as error:
            self._log("warning", f"backpack: why order {order_id} expired could not be asked: {error}")
            return ""
        return next((order.expiryReason for order in page if order.id == order_id and order.expiryReason), "")

    async def _after_acceptance(self, order_id: str, instrument: Instrument) -> OrderUpdate:
        try:
            return await self.look_up(order_id, instrument)
        except CtosError as error:
            text = f"backpack: cancel of {order_id} was taken, but what became of the order is not known yet: {error}"
            raise VenueUnavailable(text) from error

    async def _in_history(self, native: str, identity: Params, alias: Alias | None) -> RestOrder | None:
        if alias is None:
            page = await self._rest.order_history({"symbol": native, **identity}, FIRST_PAGE, 0)
            return next((order for order in page if order.id == identity["orderId"]), None)
        offset, limit = 0, FIRST_PAGE
        while True:
            page = await self._rest.order_history({"symbol": native}, limit, offset)
            for order in page:
                if order.clientId == alias.number and self._is_since(order, alias):
                    return order
            if len(page) < limit or not self._is_since(page[-1], alias):
                return None
            offset, limit = offset + len(page), PAGE

    async def _has_fills(self, native: str, identity: Params, alias: Alias | None) -> bool:
        if alias is None:
            return bool(await self._rest.fills({"symbol": native, **identity}, FIRST_PAGE, 0))
        offset = 0
        while True:
            filters: Params = {"symbol": native, "from": self._earliest_ms(alias)}
            page = await self._rest.fills(filters, PAGE, offset)
            if any(fill.clientId == alias.number for fill in page):
                return True
            if len(page) < PAGE:
                return False
            offset += len(page)

    async def _check_unnamed(self, order_id: str, instrument: Instrument) -> None:
        """Ask whether an order without an alias may be resting, once there are aliases that were dropped.

        Orders that were made after every alias that was dropped are another program's.

        Raises:
            VenueUnavailable: Orders rest in its market under numbers that may have been dropped here.
        """
        dropped_ms = self._aliases.dropped_until_ms
        if dropped_ms is None:
            return
        latest_ms = dropped_ms + max(0, self._offset_ms()) + CLOCKS_APART_MS
        rows = await self._rest.open_orders(instrument.native)
        unknown = [
            row.id
            for row in rows
            if row.clientId is not None
            and not self._aliases.client_id(row.clientId)
            and self._created_ms(row) <= latest_ms
        ]
        if unknown:
            text = f"one of {', '.join(unknown)} on {instrument.symbol} may be it; cancel those by their venue ids"
            raise VenueUnavailable(f"backpack: the number of order {order_id} is not known: {text}")

    def _identity(self, order_id: str) -> tuple[Params, Alias | None]:
        """Return how the venue knows an order: exactly one of its two ids.

        Raises:
            OrderNotFound: No order was ever sent under this client id.
        """
        alias = self._aliases.find(order_id)
        if alias is not None:
            return {"clientId": alias.number}, alias
        if is_venue_id(order_id):
            return {"orderId": order_id}, None
        raise OrderNotFound(f"backpack: no order was sent under the client id {order_id}")

    def _update(self, order: RestOrder) -> OrderUpdate:
        return order_update(order, self._aliases.client_id)

    def _read(self, order: RestOrder) -> OrderUpdate:
        try:
            return self._update(order)
        except Undecodable as error:
            raise VenueUnavailable(f"backpack: order {order.id}: {error.reason}") from error

    def _is_since(self, order: RestOrder, alias: Alias) -> bool:
        """Return whether an order is not older than an alias: numbers of other programs may be the same."""
        return self._created_ms(order) >= self._earliest_ms(alias)

    def _created_ms(self, order: RestOrder) -> int:
        """Return when an order was made, by the venue's time."""
        try:
            return order.createdAt if isinstance(order.createdAt, int) else ms_of(order.createdAt)
        except ValueError as error:
            raise VenueUnavailable(f"backpack: order {order.id}: createdAt {order.createdAt!r} is no time") from error

    def _earliest_ms(self, alias: Alias) -> int:
        """Return the venue's time before which an order was not made under an alias."""
        return alias.made_ms + min(0, self._offset_ms()) - CLOCKS_APART_MS

    def _offset_ms(self) -> int:
        """Return the venue's time less ours."""
        return round(self._rest.clock.known_offset_ms or 0.0)
