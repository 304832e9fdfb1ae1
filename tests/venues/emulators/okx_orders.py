"""OKX's order entry: what it asks of a request, and what it makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any

from engine.kernel.clock import TimerHandle
from engine.kernel.errors import (
    InsufficientFunds,
    InvalidOrder,
    OrderNotFound,
    PostOnlyWouldTake,
    ReduceOnlyRejected,
    VenueUnavailable,
)
from engine.kernel.instruments import floor_step
from engine.kernel.orders import Fill, OrderRequest, OrderType, OrderUpdate, Side
from tests.venues.emulators.core import number_of
from tests.venues.emulators.okx_checks import Checks
from tests.venues.emulators.okx_listing import MAX_SPOT_MARKET_USD, Units
from tests.venues.emulators.okx_order import CLOSED, DEAD_MAN, ORDER_TYPES, POST_ONLY, USER, OkxOrder
from tests.venues.emulators.okx_wire import OkxError, Row, fmt, number, required

if TYPE_CHECKING:
    from tests.venues.emulators.okx import OkxEmulator

_FIRST_ORDER = 2_510_789_768_709_120_000
_FIRST_TRADE = 242_720_000
_OPEN_LIMIT = 500
_DEAD_MAN_RANGE = range(10, 121)

Push = Callable[[OkxOrder, Row], None]


class OrderDesk:
    """Orders of one account.

    Args:
        emulator: Whose.
        push: Takes (order, row) of every event of the orders channel.

    Attributes:
        orders: Every order, by the venue's id.
        fills: (order, execution, trade number, bill id), oldest first.
    """

    def __init__(self, emulator: OkxEmulator, push: Push) -> None:
        self._emulator = emulator
        self._push = push
        self._checks = Checks(emulator)
        self._ids = count(_FIRST_ORDER, 4096)
        self._bills = count(_FIRST_ORDER + 77, 4096)
        self._by_client: dict[str, OkxOrder] = {}
        self._by_paper: dict[str, OkxOrder] = {}
        self._dead_man: TimerHandle | None = None
        self.orders: dict[int, OkxOrder] = {}
        self.fills: list[tuple[OkxOrder, Fill, int, int]] = []

    # Requests.

    def attempt(self, action: Callable[[Mapping[str, Any]], Row], request: Mapping[str, Any], singly: bool) -> Row:
        """Return the item that `place`, `cancel` or `amend` answers with, refusals included.

        Raises:
            OkxError: The request as a whole is refused, which happens to single requests only.
        """
        try:
            return action(request)
        except OkxError as error:
            if singly and error.status != 200:
                raise
            extra = {"reqId": request.get("reqId") or ""} if action == self.amend else {}
            return {**_refused(error, request, self._now_ms()), **extra}

    def place(self, request: Mapping[str, Any]) -> Row:
        """Place one order and return its item."""
        order = self._checked(request)
        self._enter(order)
        return self._item(order)

    def cancel(self, request: Mapping[str, Any]) -> Row:
        """Cancel one order and return its item."""
        order = self._named(request, "51400")
        if not order.is_open or not self.end(order, USER):
            raise OkxError("51402" if order.state == "filled" else "51401")
        return self._item(order)

    def amend(self, request: Mapping[str, Any]) -> Row:
        """Accept an amendment; whether it was carried out is said on the orders channel."""
        order = self._named(request, "51503")
        if not order.is_open:
            raise OkxError("51510" if order.state == "filled" else "51509")
        price, size = number(request, "newPx"), number(request, "newSz")
        if price is None and size is None:
            raise OkxError("50015", "newSz", "newPx")
        self._checks.size(order.units, size, limit=True)
        self._checks.price(order.units, order.side, price)
        self._count_against_limit()
        order.request_id = request.get("reqId") or ""
        self._amend(order, price, size, cancel_on_failure=request.get("cxlOnFail") in (True, "true"))
        return {**self._item(order), "reqId": order.request_id}

    def cancel_all_after(self, request: Mapping[str, Any]) -> Row:
        """Set or stop the timer that cancels every order."""
        required(request, "timeOut")
        seconds = str(request["timeOut"])
        if not seconds.isdecimal() or (int(seconds) not in _DEAD_MAN_RANGE and seconds != "0"):
            raise OkxError("51000", "timeOut")
        if self._dead_man is not None:
            self._dead_man.cancel()
            self._dead_man = None
        trigger_ms = 0
        if int(seconds):
            trigger_ms = self._now_ms() + int(seconds) * 1000
            self._dead_man = self._emulator.clock.call_later(float(seconds), self._dead_man_strikes)
        return {"triggerTime": str(trigger_ms), "tag": request.get("tag", ""), "ts": str(self._now_ms())}

    def close_position(self, request: Mapping[str, Any]) -> Row:
        """Close a position at market."""
        required(request, "instId", "mgnMode")
        units = self._emulator.units_of(request)
        position = self._emulator.exchange.account.position(units.instrument)
        if not units.instrument.is_perp or not position:
            raise OkxError("51023")
        side = "sell" if position > 0 else "buy"
        closing = [o for o in self.open_orders() if o.units is units and o.side == side]
        if closing and request.get("autoCxl") not in (True, "true"):
            raise OkxError("51115")
        for order in closing:
            self.end(order, CLOSED)
        size = abs(position) / units.contract
        order = self._new(units, side, "market", size, None, "cross", True, request.get("clOrdId") or "")
        self._enter(order)
        return {"instId": units.native, "posSide": "net", "clOrdId": order.cl_ord_id, "tag": request.get("tag", "")}

    def next_bill(self) -> int:
        """Return a bill id above all before it."""
        return next(self._bills)

    def open_orders(self) -> list[OkxOrder]:
        """Return working orders, oldest first."""
        return [order for order in self.orders.values() if order.is_open]

    def find(self, request: Mapping[str, Any]) -> OkxOrder | None:
        """Return the order that a request names by ordId, else by clOrdId; None when there is none."""
        units = self._emulator.units_of(request)
        order_id, client_id = str(request.get("ordId") or ""), request.get("clOrdId") or ""
        if not order_id and not client_id:
            raise OkxError("50015", "ordId", "clOrdId")
        if order_id:
            order = self.orders.get(int(order_id)) if order_id.isdecimal() else None
        else:
            order = self._by_client.get(client_id)
        return order if order is not None and order.units is units else None

    def end(self, order: OkxOrder, source: str) -> bool:
        """Cancel a working order; returns whether it had not ended by the time at which the venue comes to that."""
        exchange = self._emulator.exchange

        def cancel() -> bool:
            if order.paper_id not in exchange.registry.open:
                return False
            order.cancel_source = source
            exchange.cancel(order.paper_id, order.units.instrument.symbol)
            return True

        return self._emulator.carry_out(cancel)

    # Events of the inner venue.

    def take_update(self, update: OrderUpdate) -> None:
        """Take an order event over and push it."""
        order = self._by_paper.get(update.venue_order_id) or self._foreign(update)
        order.take_update(update)
        with_fill, order.fill_is_news = order.fill_is_news, False
        result, order.amend_result = order.amend_result, ""
        self._push(order, order.push(with_fill, result))

    def take_fill(self, fill: Fill) -> None:
        """Take an execution over; the order event that follows it is pushed with it."""
        order = self._by_paper[fill.venue_order_id]
        trade_number = _FIRST_TRADE + number_of(fill.trade_id)
        order.take_fill(fill, trade_number)
        self.fills.append((order, fill, trade_number, self.next_bill()))

    # Checks.

    def _checked(self, request: Mapping[str, Any]) -> OkxOrder:
        required(request, "instId", "tdMode", "side", "ordType", "sz")
        units = self._emulator.units_of(request)
        state = self._emulator.public.states.get(units.native, "live")
        if state != "live":
            raise OkxError("51022")
        self._checks.words(request)
        side, ord_type = request["side"], request["ordType"]
        client_id = request.get("clOrdId") or ""
        known = self._by_client.get(client_id)
        if known is not None and known.is_open:
            raise OkxError("51016")
        reduce_only, pos_side = self._checks.modes(units, request)
        size, price = number(request, "sz"), number(request, "px")
        assert size is not None
        is_market = ORDER_TYPES[ord_type] is OrderType.MARKET
        if price is None and not is_market:
            raise OkxError("50014", "px")
        price = None if is_market else price
        target = self._checks.target(request, side) if is_market and not units.instrument.is_perp else ""
        if target == "quote_ccy":
            if size > MAX_SPOT_MARKET_USD:
                raise OkxError("51202")
        else:
            self._checks.size(units, size, limit=not is_market)
        self._checks.price(units, side, price)
        if sum(order.units is units for order in self.open_orders()) >= _OPEN_LIMIT:
            raise OkxError("51103", _OPEN_LIMIT)
        self._count_against_limit()
        order = self._new(units, side, ord_type, size, price, request["tdMode"], reduce_only, client_id)
        order.tag, order.pos_side, order.tgt_ccy = request.get("tag") or "", pos_side, target
        return order

    def _count_against_limit(self) -> None:
        emulator = self._emulator
        if emulator.limits.add("new and amend", 2.0) > 1_000 and emulator.limits_on:
            raise OkxError("50061")

    # Carrying out.

    def _new(
        self,
        units: Units,
        side: str,
        ord_type: str,
        size: Decimal,
        price: Decimal | None,
        td_mode: str,
        reduce_only: bool,
        client_id: str,
    ) -> OkxOrder:
        instrument = units.instrument
        lever = fmt(self._emulator.exchange.margin.leverage(instrument)) if instrument.is_perp else ""
        return OkxOrder(
            0, client_id, units, side, ord_type, size, price, td_mode, reduce_only, self._now_ms(), lever=lever
        )

    def _enter(self, order: OkxOrder) -> None:
        """Give an order to the inner venue; a post-only order that would take is accepted and cancelled."""
        units, exchange = order.units, self._emulator.exchange
        quantity = self._bought_for(units, order.asked) if order.in_quote else units.coins(order.asked)
        request = OrderRequest(
            "", "", units.instrument.symbol, Side(order.side), ORDER_TYPES[order.ord_type], quantity, order.price,
            reduce_only=order.reduce_only,
        )  # fmt: skip

        def enter() -> None:
            placed = exchange.place(request)
            order.paper_id = placed.venue_order_id
            self._by_paper[order.paper_id] = order
            self._register(order)

        try:
            self._emulator.carry_out(enter)
        except PostOnlyWouldTake:
            self._register(order)
            order.state, order.cancel_source, order.u_time = "canceled", POST_ONLY, self._now_ms()
            self._push(order, order.push(with_fill=False))
        except InsufficientFunds as error:
            raise self._unfunded(order) from error
        except ReduceOnlyRejected as error:
            raise OkxError("51169") from error
        except InvalidOrder as error:
            raise OkxError("51020") from error
        except VenueUnavailable as error:
            raise OkxError("50026") from error

    def _register(self, order: OkxOrder) -> None:
        order.ord_id = next(self._ids)
        self.orders[order.ord_id] = order
        if order.cl_ord_id:
            self._by_client[order.cl_ord_id] = order

    def _bought_for(self, units: Units, money: Decimal) -> Decimal:
        """Return how many coins an amount buys at the best offer."""
        touch, instrument = self._emulator.exchange.market(units.instrument.symbol).touch, units.instrument
        if touch is None or not touch.ask_size:
            raise OkxError("50026")
        return floor_step(money / instrument.price_from_float(touch.ask), instrument.lot_size)

    def _unfunded(self, order: OkxOrder) -> OkxError:
        instrument = order.units.instrument
        if instrument.is_perp:
            return OkxError("51008", instrument.settle, "margin")
        return OkxError("51008", instrument.quote if order.side == "buy" else instrument.base, "balance")

    def _amend(self, order: OkxOrder, price: Decimal | None, size: Decimal | None, cancel_on_failure: bool) -> None:
        units, exchange = order.units, self._emulator.exchange
        total = None if size is None else units.coins(size)
        order.amend_result = "0"
        order.ends_filled = total is not None and total <= order.filled
        try:
            self._emulator.carry_out(lambda: exchange.amend(order.paper_id, units.instrument.symbol, price, total))
            return
        except OrderNotFound:
            failure = OkxError("51510" if order.state == "filled" else "51509")
        except PostOnlyWouldTake:
            failure = OkxError("51511")
        except InsufficientFunds:
            failure = self._unfunded(order)
        except ReduceOnlyRejected:
            failure = OkxError("51169")
        order.amend_result = ""
        order.ends_filled = False
        self._push(order, order.push(False, "-1", failure.code, failure.text))
        if cancel_on_failure:
            self.end(order, USER)

    def _dead_man_strikes(self) -> None:
        self._dead_man = None
        for order in self.open_orders():
            self.end(order, DEAD_MAN)

    def _foreign(self, update: OrderUpdate) -> OkxOrder:
        """Take over an order that did not come through this desk: by hand, or a liquidation."""
        units = self._emulator.units_of_symbol(update.symbol)
        registry = self._emulator.exchange.registry
        own_id = "" if update.client_id.startswith(f"{registry.epoch}c") else update.client_id
        size = update.quantity / units.contract
        mode = "cross" if units.instrument.is_perp else "cash"
        kind = update.type.value if update.type.value in ORDER_TYPES else "market"
        order = self._new(units, update.side.value, kind, size, update.price, mode, update.reduce_only, own_id)
        order.paper_id = update.venue_order_id
        self._by_paper[order.paper_id] = order
        self._register(order)
        return order

    def _named(self, request: Mapping[str, Any], missing: str) -> OkxOrder:
        required(request, "instId")
        order = self.find(request)
        if order is None:
            raise OkxError(missing)
        return order

    def _item(self, order: OkxOrder) -> Row:
        return {
            "clOrdId": order.cl_ord_id,
            "ordId": str(order.ord_id),
            "tag": order.tag,
            "ts": str(self._now_ms()),
            "sCode": "0",
            "sMsg": "",
            "subCode": "",
        }

    def _now_ms(self) -> int:
        return self._emulator.clock.now_ms()


def _refused(error: OkxError, request: Mapping[str, Any], now_ms: int) -> Row:
    return {
        "clOrdId": request.get("clOrdId") or "",
        "ordId": str(request.get("ordId") or ""),
        "tag": request.get("tag") or "",
        "ts": str(now_ms),
        "sCode": error.code,
        "sMsg": error.text,
        "subCode": "",
    }
