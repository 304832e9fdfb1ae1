"""Backpack's private REST calls (EXCHANGES.md §5.4, §5.5)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from drivers.paper.state import PaperOrder
from engine.kernel.errors import CtosError, InvalidOrder, PostOnlyWouldTake, ReduceOnlyRejected
from engine.kernel.orders import OrderState, OrderType, Side
from tests.venues.emulators.backpack_auth import exact_json
from tests.venues.emulators.backpack_errors import Refusal, bad_request, not_found, refusal_of
from tests.venues.emulators.backpack_events import position_id
from tests.venues.emulators.backpack_listings import Listing, plain
from tests.venues.emulators.backpack_orders import (
    SIDES,
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

ZERO = Decimal(0)
_SETTINGS = ("autoBorrowSettlements", "autoLend", "autoRepayBorrows", "autoRealizePnl")
_SLOW_CANCEL_S = 0.05
_BATCH = 50


class PrivateCalls:
    """Answers what needs a key.

    Attributes:
        routes: (method, path) -> call.
    """

    def __init__(self, emulator: BackpackEmulator) -> None:
        self._emulator = emulator
        self._settings = dict.fromkeys(_SETTINGS, False)
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
            ("GET", "/api/v1/capital"): self._capital,
            ("GET", "/api/v1/capital/collateral"): self._collateral,
            ("GET", "/api/v1/borrowLend/positions"): self._lent,
            ("GET", "/api/v1/position"): self._positions,
            ("GET", "/api/v1/account"): self._account,
            ("PATCH", "/api/v1/account"): self._change_account,
            ("GET", "/api/v1/account/limits/order"): self._largest_order,
        }

    # Orders.

    async def _place(self, seen: Seen) -> Answer:
        return json_answer(self._placed(_object(exact_json(seen.body))))

    async def _place_many(self, seen: Seen) -> Answer:
        bodies = exact_json(seen.body)
        if not isinstance(bodies, list) or not 0 < len(bodies) <= _BATCH:
            raise bad_request(f"Expected 1 to {_BATCH} orders")
        rows: list[dict[str, Any]] = []
        for body in bodies:
            try:
                rows.append({"operation": "Ok", **self._placed(_object(body))})
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
        body = _object(exact_json(seen.body))
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
        body = _object(exact_json(seen.body))
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
            if _is_of(ticket.listing, seen.params) and not self._emulator.faults.hides(ticket.created_ms)
        ]
        return json_answer(rows)

    def _working(self, listing: Listing | None) -> list[Ticket]:
        return [
            ticket
            for ticket in self._emulator.tickets
            if (listing is None or ticket.listing is listing) and self._inner(ticket).is_open
        ]

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
        rows = [
            history_row(ticket, self._inner(ticket))
            for ticket in self._emulator.tickets
            if self._matches(ticket.listing, seen)
            and wanted in (None, ticket.id)
            and not self._emulator.faults.hides(ticket.created_ms)
        ]
        return json_answer(_page(rows, seen))

    async def _fill_history(self, seen: Seen) -> Answer:
        params, emulator = seen.params, self._emulator
        since, until = int(params.get("from", "0")), int(params.get("to", str(10**14)))
        wanted = params.get("orderId")
        rows = []
        for fill in emulator.exchange.registry.fills:
            ticket = emulator.tickets.of_fill(fill)
            if (
                self._matches(ticket.listing, seen)
                and wanted in (None, ticket.id)
                and since <= fill.ts <= until
                and not (fill.liquidation and params.get("fillType") == "User")
                and not emulator.faults.hides(fill.ts)
            ):
                rows.append(fill_row(ticket, fill))
        return json_answer(_page(rows, seen))

    async def _funding_history(self, seen: Seen) -> Answer:
        rows = [row for row in self._emulator.funding_rows if seen.params.get("symbol") in (None, row["symbol"])]
        return json_answer(_page(rows, seen))

    def _matches(self, listing: Listing, seen: Seen) -> bool:
        asked = seen.params.get("symbol")
        if asked is not None and self._emulator.listings.find(asked) is not listing:
            return False
        return _is_of(listing, seen.params)

    # Account.

    async def _capital(self, seen: Seen) -> Answer:
        emulator = self._emulator
        rows = {}
        for currency in emulator.exchange.account.currencies():
            total = emulator.exchange.account.cash(currency)
            locked = min(total, emulator.exchange.margin.locked(currency))
            free = max(ZERO, total - locked - emulator.lent.get(currency, ZERO))
            rows[currency] = {"available": plain(free), "locked": plain(locked), "staked": "0"}
        return json_answer(rows)

    async def _lent(self, seen: Seen) -> Answer:
        rows = [
            {
                "cumulativeInterest": "0",
                "id": str(70_000 + number),
                "imf": "0",
                "mmf": "0",
                "imfFunction": {"type": "sqrt", "base": "0.02", "factor": "0"},
                "mmfFunction": {"type": "sqrt", "base": "0.01", "factor": "0"},
                "markPrice": "1",
                "netExposureNotional": plain(amount),
                "netExposureQuantity": plain(amount),
                "netQuantity": plain(amount),
                "symbol": currency,
            }
            for number, (currency, amount) in enumerate(self._emulator.lent.items())
        ]
        return json_answer(rows)

    async def _collateral(self, seen: Seen) -> Answer:
        exchange, lent = self._emulator.exchange, self._emulator.lent
        margin = exchange.margin
        cash, unrealised = exchange.account.cash("USDC"), margin.unrealised("USDC")
        used, locked = margin.used("USDC"), margin.locked("USDC")
        equity = cash + unrealised
        exposure = sum((abs(p.quantity) * p.mark_price for p in exchange.positions()), ZERO)
        return json_answer(
            {
                "assetsValue": plain(cash),
                "borrowLiability": "0",
                "collateral": [
                    {
                        "symbol": "USDC",
                        "assetMarkPrice": "1",
                        "totalQuantity": plain(cash),
                        "balanceNotional": plain(cash),
                        "collateralWeight": "1",
                        "collateralValue": plain(cash),
                        "openOrderQuantity": plain(locked),
                        "lendQuantity": plain(lent.get("USDC", ZERO)),
                        "availableQuantity": plain(max(ZERO, cash - locked - lent.get("USDC", ZERO))),
                    }
                ],
                "imf": "0.02",
                "mmf": "0.0125",
                "marginFraction": plain(equity / exposure) if exposure else None,
                "netEquity": plain(equity),
                "netEquityAvailable": plain(max(ZERO, equity - used - locked)),
                "netEquityLocked": plain(used + locked),
                "netExposureFutures": plain(exposure),
                "pnlUnrealized": plain(unrealised),
                "unsettledEquity": "0",
                "liabilitiesValue": "0",
            }
        )

    async def _positions(self, seen: Seen) -> Answer:
        rows = []
        for held in self._emulator.exchange.positions():
            listing = self._emulator.listings.of(held.symbol)
            if not self._matches(listing, seen):
                continue
            notional = held.quantity * held.mark_price
            margin = {"type": "sqrt", "base": plain(1 / held.leverage), "factor": "0.0001"}
            rows.append(
                {
                    "symbol": listing.native,
                    "positionId": str(position_id(listing)),
                    "subaccountId": None,
                    "userId": 1,
                    "netQuantity": listing.size(held.quantity),
                    "netExposureQuantity": listing.size(abs(held.quantity)),
                    "netExposureNotional": plain(abs(notional)),
                    "netCost": plain(held.quantity * held.entry_price),
                    "entryPrice": listing.price(held.entry_price),
                    "breakEvenPrice": listing.price(held.entry_price),
                    "markPrice": listing.price(held.mark_price),
                    "estLiquidationPrice": listing.price(held.liquidation_price or ZERO),
                    "imf": plain(1 / held.leverage),
                    "imfFunction": margin,
                    "mmf": plain(listing.instrument.maintenance_margin_rate),
                    "mmfFunction": margin,
                    "pnlRealized": plain(held.realised),
                    "pnlUnrealized": plain(held.unrealised),
                    "cumulativeFundingPayment": plain(held.funding),
                    "cumulativeInterest": "0",
                }
            )
        return json_answer(rows)

    async def _account(self, seen: Seen) -> Answer:
        config = self._emulator.exchange.config
        working = self._working(None)
        return json_answer(
            {
                **self._settings,
                "borrowLimit": "0",
                "futuresMakerFee": plain(config.perp_maker * 10_000),
                "futuresTakerFee": plain(config.perp_taker * 10_000),
                "leverageLimit": plain(self._emulator.leverage),
                "limitOrders": sum(ticket.kind is not OrderType.STOP for ticket in working),
                "liquidating": self._emulator.liquidating,
                "positionLimit": "0",
                "spotMakerFee": plain(config.spot_maker * 10_000),
                "spotTakerFee": plain(config.spot_taker * 10_000),
                "triggerOrders": sum(ticket.kind is OrderType.STOP for ticket in working),
            }
        )

    async def _change_account(self, seen: Seen) -> Answer:
        body = _object(exact_json(seen.body))
        unknown = sorted(body.keys() - {*_SETTINGS, "leverageLimit"})
        if unknown:
            raise bad_request(f"unknown field `{unknown[0]}`")
        if "leverageLimit" in body:
            self._set_leverage(body["leverageLimit"])
        self._settings |= {name: bool(body[name]) for name in _SETTINGS if name in body}
        return Answer(200)

    def _set_leverage(self, text: object) -> None:
        if type(text) is not str or not text.replace(".", "", 1).isdigit():
            raise bad_request("Failed to parse leverageLimit: expected a decimal string")
        wanted, emulator = Decimal(text), self._emulator
        if not 1 <= wanted <= 50:
            raise Refusal(400, "INVALID_CLIENT_REQUEST", "leverageLimit must be between 1 and 50")
        for listing in emulator.listings.all:
            instrument = listing.instrument
            if instrument.is_perp:
                leverage = min(wanted, instrument.max_leverage)
                try:
                    emulator.carry_out(lambda s=instrument.symbol, x=leverage: emulator.exchange.set_leverage(s, x))  # type: ignore[misc]
                except InvalidOrder as error:
                    raise Refusal(400, "INSUFFICIENT_MARGIN", "Insufficient margin") from error
        emulator.leverage = wanted

    async def _largest_order(self, seen: Seen) -> Answer:
        params, emulator = seen.params, self._emulator
        listing = emulator.listings.find(params.get("symbol"))
        if params.get("side") not in SIDES:
            raise bad_request("Failed to parse side: expected Bid or Ask")
        side = SIDES[params["side"]]
        mark = emulator.exchange.market(listing.symbol).mark_price()
        price = listing.price_in(params["price"]) if "price" in params else mark
        instrument, margin = listing.instrument, emulator.exchange.margin
        if price is None:
            raise Refusal(400, "INVALID_ORDER", "No price")
        if instrument.is_perp:
            quantity = instrument.quantity_for(max(ZERO, margin.available("USDC")) * margin.leverage(instrument), price)
        elif side is Side.BUY:
            quantity = instrument.quantity_for(margin.spendable(instrument.quote), price)
        else:
            quantity = instrument.floor_quantity(margin.spendable(instrument.base))
        row = {"symbol": listing.native, "side": params["side"], "maxOrderQuantity": listing.size(quantity)}
        return json_answer({**row, **{k: params[k] for k in ("price", "reduceOnly") if k in params}})


def spot_of(seen: Seen) -> bool:
    """Return whether a request is about a spot market, as far as its text says."""
    return b"_PERP" not in seen.body and "_PERP" not in seen.query


def refused(seen: Seen, error: CtosError) -> Refusal:
    """Return what the venue says to a request that the matching engine refused."""
    return refusal_of(error, spot_of(seen))


def _object(body: object) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise bad_request("Expected a JSON object")
    return body


def _is_of(listing: Listing, params: Mapping[str, str]) -> bool:
    kind = "PERP" if listing.instrument.is_perp else "SPOT"
    return kind in params.get("marketType", kind).split(",")


def _page(rows: list[dict[str, Any]], seen: Seen) -> list[dict[str, Any]]:
    """Return the page that is asked for; rows come oldest first and go out newest first unless asked otherwise."""
    limit, offset = page_of(seen.params, 1_000)
    order = seen.params.get("sortDirection", "Desc")
    if order not in ("Asc", "Desc"):
        raise bad_request("Failed to parse sortDirection")
    sorted_rows = rows if order == "Asc" else rows[::-1]
    return sorted_rows[offset : offset + limit]
