"""Orders and executions of USD-M futures over REST (EXCHANGES §2.4, §2.5)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from engine.kernel.orders import Fill
from tests.venues.emulators.binance_algo import algo_answer
from tests.venues.emulators.binance_endpoint import Endpoint, Security, in_window, one_or_all, row_limit
from tests.venues.emulators.binance_listing import Listing
from tests.venues.emulators.binance_orders import Ticket, futures_order, futures_trade, trade_number
from tests.venues.emulators.binance_trading import (
    cancel,
    cancel_all,
    find_open,
    modify,
    new_futures_reply,
    place,
)
from tests.venues.emulators.binance_wire import BinanceError, Params, Product, missing

if TYPE_CHECKING:
    from tests.venues.emulators.binance import BinanceEmulator

ZERO = Decimal(0)
_FUTURES = Product.FUTURES
_DAY_MS = 86_400_000
_WEEK_MS = 7 * _DAY_MS


def _asked(venue: BinanceEmulator, params: Params) -> Listing:
    return venue.catalogue.find(_FUTURES, params.need("symbol"))


def _maybe(venue: BinanceEmulator, params: Params) -> Listing | None:
    return _asked(venue, params) if "symbol" in params else None


def new_order(venue: BinanceEmulator, params: Params) -> object:
    return new_futures_reply(place(venue, _asked(venue, params), params), params)


def new_orders(venue: BinanceEmulator, params: Params) -> object:
    return _batch(params, 5, lambda one: new_order(venue, one))


def modify_order(venue: BinanceEmulator, params: Params) -> object:
    return futures_order(modify(venue, _asked(venue, params), params), query=False)


def modify_orders(venue: BinanceEmulator, params: Params) -> object:
    return _batch(params, 5, lambda one: modify_order(venue, one))


def _batch(params: Params, most: int, run: Callable[[Params], object]) -> list[object]:
    try:
        orders = msgspec.json.decode(params.need("batchOrders"), type=list[dict[str, object]])
    except msgspec.DecodeError:
        raise missing("batchOrders") from None
    if not 0 < len(orders) <= most:
        raise BinanceError(-4082, "Invalid number of batch place orders.")
    answers: list[object] = []
    for order in orders:
        try:
            answers.append(run(Params({name: _text(value) for name, value in order.items()})))
        except BinanceError as error:
            answers.append(error.body)
    return answers


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def batch_size(params: Params) -> int:
    """Return how many orders a batch counts as."""
    return max(1, params.text("batchOrders").count("{"))


def cancel_order(venue: BinanceEmulator, params: Params) -> object:
    return futures_order(cancel(venue, find_open(venue, _asked(venue, params), params)), query=False)


def cancel_orders(venue: BinanceEmulator, params: Params) -> object:
    listing, answers = _asked(venue, params), []
    for source, name in (("orderIdList", "orderId"), ("origClientOrderIdList", "origClientOrderId")):
        for value in msgspec.json.decode(params.text(source, "[]"), type=list[int | str])[:10]:
            one = Params({"symbol": listing.native, name: str(value)})
            try:
                answers.append(cancel_order(venue, one))
            except BinanceError as error:
                answers.append(error.body)
    if not answers:
        raise missing("orderIdList")
    return answers


def cancel_everything(venue: BinanceEmulator, params: Params) -> object:
    cancel_all(venue, _asked(venue, params))
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def countdown(venue: BinanceEmulator, params: Params) -> object:
    listing, wait_ms = _asked(venue, params), params.integer("countdownTime")
    if wait_ms is None or wait_ms < 0:
        raise missing("countdownTime")
    venue.account.countdowns.pop(listing.symbol, None)
    if wait_ms:
        venue.account.countdowns[listing.symbol] = venue.clock.now_ms() + wait_ms
    return {"symbol": listing.native, "countdownTime": str(wait_ms)}


def _visible(venue: BinanceEmulator, ticket: Ticket) -> bool:
    """Return whether queries find an order: after a lag; unfilled closed ones for 3 days, others for 90."""
    age_ms = venue.clock.now_ms() - ticket.placed_ms
    forgotten = not ticket.is_open and age_ms > (90 if ticket.order.filled else 3) * _DAY_MS
    return not forgotten and not venue.faults.hides(ticket.placed_ms)


def query_order(venue: BinanceEmulator, params: Params) -> object:
    ticket = venue.orders.find(_asked(venue, params), params)
    if ticket is None or not _visible(venue, ticket):
        raise BinanceError(-2013, "Order does not exist.")
    return futures_order(ticket, query=True)


def query_open_order(venue: BinanceEmulator, params: Params) -> object:
    ticket = venue.orders.find(_asked(venue, params), params)
    if ticket is None or not ticket.is_open or not _visible(venue, ticket):
        raise BinanceError(-2013, "Order does not exist.")
    return futures_order(ticket, query=True)


def open_orders(venue: BinanceEmulator, params: Params) -> object:
    tickets = venue.orders.open(_FUTURES, _maybe(venue, params))
    return [futures_order(ticket, query=True) for ticket in tickets if _visible(venue, ticket)]


def all_orders(venue: BinanceEmulator, params: Params) -> object:
    tickets = [t for t in venue.orders.all(_FUTURES, _asked(venue, params)) if _visible(venue, t)]
    first = params.integer("orderId")
    if first is not None:
        found = [t for t in tickets if t.number >= first][: row_limit(params)]
    else:
        found = in_window(tickets, lambda t: t.placed_ms, params, _WEEK_MS, venue.clock.now_ms(), True)
    return [futures_order(ticket, query=True) for ticket in found]


def user_trades(venue: BinanceEmulator, params: Params) -> object:
    listing = _asked(venue, params)
    fills = [f for f in venue.exchange.registry.fills if f.symbol == listing.symbol]
    if "orderId" in params:
        wanted = params.integer("orderId")
        fills = [f for f in fills if _ticket(venue, f).number == wanted]
    first = params.integer("fromId")
    if first is not None:
        if "startTime" in params or "endTime" in params:
            raise BinanceError(-1128, "Combination of optional parameters invalid.")
        found = [f for f in fills if trade_number(listing, f.trade_id) >= first][: row_limit(params)]
    else:
        found = in_window(fills, lambda f: f.ts, params, _WEEK_MS, venue.clock.now_ms(), True)
    return [futures_trade(_ticket(venue, f), f, venue.orders.realised.get(f.trade_id, ZERO)) for f in found]


def _ticket(venue: BinanceEmulator, fill: Fill) -> Ticket:
    return venue.orders.of(fill.venue_order_id, lambda: venue.exchange.registry.find(fill.venue_order_id, fill.symbol))


def new_algo(venue: BinanceEmulator, params: Params) -> object:
    return algo_answer(venue.algos.place(_asked(venue, params), params))


def cancel_algo(venue: BinanceEmulator, params: Params) -> object:
    algo = venue.algos.cancel(params)
    return {"algoId": algo.number, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}


def query_algo(venue: BinanceEmulator, params: Params) -> object:
    algo = venue.algos.find(params)
    if algo is None:
        raise BinanceError(-2013, "Order does not exist.")
    return algo_answer(algo)


def open_algos(venue: BinanceEmulator, params: Params) -> object:
    return [algo_answer(algo) for algo in venue.algos.open(_maybe(venue, params))]


def all_algos(venue: BinanceEmulator, params: Params) -> object:
    listing = _asked(venue, params)
    algos = [algo for algo in venue.algos.all if algo.listing is listing]
    found = in_window(algos, lambda a: a.created_ms, params, _WEEK_MS, venue.clock.now_ms(), True)
    return [algo_answer(algo) for algo in found]


def cancel_algos(venue: BinanceEmulator, params: Params) -> object:
    for algo in venue.algos.open(_asked(venue, params)):
        venue.algos.end(algo, "CANCELED")
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


_READ, _TRADE = Security.READ, Security.TRADE

FUTURES = {
    ("POST", "/fapi/v1/order"): Endpoint(new_order, 0, _TRADE, 1),
    ("PUT", "/fapi/v1/order"): Endpoint(modify_order, 1, _TRADE, 1),
    ("DELETE", "/fapi/v1/order"): Endpoint(cancel_order, 1, _TRADE),
    ("GET", "/fapi/v1/order"): Endpoint(query_order, 1, _READ),
    ("POST", "/fapi/v1/batchOrders"): Endpoint(new_orders, 5, _TRADE, batch_size),
    ("PUT", "/fapi/v1/batchOrders"): Endpoint(modify_orders, 5, _TRADE, batch_size),
    ("DELETE", "/fapi/v1/batchOrders"): Endpoint(cancel_orders, 1, _TRADE),
    ("DELETE", "/fapi/v1/allOpenOrders"): Endpoint(cancel_everything, 1, _TRADE),
    ("POST", "/fapi/v1/countdownCancelAll"): Endpoint(countdown, 10, _TRADE),
    ("GET", "/fapi/v1/openOrder"): Endpoint(query_open_order, 1, _READ),
    ("GET", "/fapi/v1/openOrders"): Endpoint(open_orders, one_or_all(1, 40), _READ),
    ("GET", "/fapi/v1/allOrders"): Endpoint(all_orders, 5, _READ),
    ("GET", "/fapi/v1/userTrades"): Endpoint(user_trades, 5, _READ),
    ("POST", "/fapi/v1/algoOrder"): Endpoint(new_algo, 0, _TRADE, 1),
    ("DELETE", "/fapi/v1/algoOrder"): Endpoint(cancel_algo, 1, _TRADE),
    ("GET", "/fapi/v1/algoOrder"): Endpoint(query_algo, 1, _READ),
    ("GET", "/fapi/v1/openAlgoOrders"): Endpoint(open_algos, one_or_all(1, 40), _READ),
    ("GET", "/fapi/v1/allAlgoOrders"): Endpoint(all_algos, 5, _READ),
    ("DELETE", "/fapi/v1/algoOpenOrders"): Endpoint(cancel_algos, 1, _TRADE),
}
