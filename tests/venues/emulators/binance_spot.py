"""Private REST of spot, and the key's rights (EXCHANGES §3.4, §3.5)."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from engine.kernel.orders import Fill
from tests.venues.emulators.binance_endpoint import Endpoint, Security, in_window, one_or_all, row_limit
from tests.venues.emulators.binance_listing import FUTURES_WALLET, Listing
from tests.venues.emulators.binance_orders import Ticket, spot_cancelled, spot_order, spot_trade, trade_number
from tests.venues.emulators.binance_trading import (
    cancel,
    cancel_all,
    cancel_replace,
    find_open,
    keep_priority,
    new_spot_reply,
    place,
)
from tests.venues.emulators.binance_wire import BinanceError, Params, Product, fixed

if TYPE_CHECKING:
    from tests.venues.emulators.binance import BinanceEmulator

_SPOT = Product.SPOT
_DAY_MS = 86_400_000
_ZEROS = ("BNB", "DOGE")
"""Currencies that the account holds nothing of; the real list has hundreds."""


def _asked(venue: BinanceEmulator, params: Params) -> Listing:
    return venue.catalogue.find(_SPOT, params.need("symbol"))


def new_order(venue: BinanceEmulator, params: Params) -> object:
    return new_spot_reply(place(venue, _asked(venue, params), params), params)


def cancel_order(venue: BinanceEmulator, params: Params) -> object:
    ticket = find_open(venue, _asked(venue, params), params)
    return spot_cancelled(cancel(venue, ticket, params.text("newClientOrderId")))


def cancel_orders(venue: BinanceEmulator, params: Params) -> object:
    cancelled = cancel_all(venue, _asked(venue, params))
    if not cancelled:
        raise BinanceError(-2011, "Unknown order sent.")
    return [spot_cancelled(ticket) for ticket in cancelled]


def replace_order(venue: BinanceEmulator, params: Params) -> object:
    return cancel_replace(venue, _asked(venue, params), params)


def amend_order(venue: BinanceEmulator, params: Params) -> object:
    return keep_priority(venue, _asked(venue, params), params)


def _visible(venue: BinanceEmulator, ticket: Ticket) -> bool:
    return not venue.faults.hides(ticket.placed_ms)


def query_order(venue: BinanceEmulator, params: Params) -> object:
    ticket = venue.orders.find(_asked(venue, params), params)
    if ticket is None or not _visible(venue, ticket):
        raise BinanceError(-2013, "Order does not exist.")
    if not ticket.is_open and not ticket.order.filled and venue.clock.now_ms() - ticket.placed_ms > 90 * _DAY_MS:
        raise BinanceError(
            -2026, "Order was canceled or expired with no executed qty over 90 days ago and has been archived."
        )
    return spot_order(ticket)


def open_orders(venue: BinanceEmulator, params: Params) -> object:
    listing = _asked(venue, params) if "symbol" in params else None
    return [spot_order(ticket) for ticket in venue.orders.open(_SPOT, listing) if _visible(venue, ticket)]


def all_orders(venue: BinanceEmulator, params: Params) -> object:
    tickets = [t for t in venue.orders.all(_SPOT, _asked(venue, params)) if _visible(venue, t)]
    first = params.integer("orderId")
    if first is not None:
        found = [t for t in tickets if t.number >= first][: row_limit(params)]
    else:
        found = in_window(tickets, lambda t: t.placed_ms, params, _DAY_MS, venue.clock.now_ms(), False)
    return [spot_order(ticket) for ticket in found]


def account(venue: BinanceEmulator, params: Params) -> object:
    rows = [
        {"asset": balance.currency, "free": fixed(balance.free, 8), "locked": fixed(balance.locked, 8)}
        for balance in venue.exchange.balances()
        if not balance.currency.endswith(FUTURES_WALLET)
    ]
    held = {row["asset"] for row in rows}
    rows += [
        {"asset": name, "free": fixed(Decimal(0), 8), "locked": fixed(Decimal(0), 8)}
        for name in _ZEROS
        if name not in held
    ]
    if params.flag("omitZeroBalances"):
        rows = [row for row in rows if Decimal(row["free"]) or Decimal(row["locked"])]
    fees = {"maker": fixed(venue.account.spot_fees[0], 8), "taker": fixed(venue.account.spot_fees[1], 8)}
    return {
        "makerCommission": int(venue.account.spot_fees[0] * 10_000),
        "takerCommission": int(venue.account.spot_fees[1] * 10_000),
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": fees | {"buyer": "0.00000000", "seller": "0.00000000"},
        "canTrade": venue.account.can_trade,
        "canWithdraw": True,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": venue.clock.now_ms(),
        "accountType": "SPOT",
        "balances": rows,
        "permissions": ["SPOT"],
        "uid": 354937868,
    }


def my_trades(venue: BinanceEmulator, params: Params) -> object:
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
        found = in_window(fills, lambda f: f.ts, params, _DAY_MS, venue.clock.now_ms(), False)
    return [spot_trade(_ticket(venue, f), f) for f in found]


def _ticket(venue: BinanceEmulator, fill: Fill) -> Ticket:
    return venue.orders.of(fill.venue_order_id, lambda: venue.exchange.registry.find(fill.venue_order_id, fill.symbol))


def trades_weight(params: Params) -> int:
    return 5 if "orderId" in params else 20


def commission(venue: BinanceEmulator, params: Params) -> object:
    listing = _asked(venue, params)
    rates = {"maker": fixed(venue.account.spot_fees[0], 8), "taker": fixed(venue.account.spot_fees[1], 8)}
    nothing = {"maker": "0.00000000", "taker": "0.00000000", "buyer": "0.00000000", "seller": "0.00000000"}
    return {
        "symbol": listing.native,
        "standardCommission": rates | {"buyer": "0.00000000", "seller": "0.00000000"},
        "specialCommission": nothing,
        "taxCommission": nothing,
        "discount": {
            "enabledForAccount": False,
            "enabledForSymbol": False,
            "discountAsset": "BNB",
            "discount": "0.75000000",
        },
    }


def order_usage(venue: BinanceEmulator, params: Params) -> object:
    return venue.limits_of[_SPOT].usage(("ORDERS",))


def key_rights(venue: BinanceEmulator, params: Params) -> object:
    return {
        "ipRestrict": venue.account.ip_restrict,
        "createTime": 1698645219000,
        "enableReading": True,
        "enableSpotAndMarginTrading": venue.account.can_trade,
        "enableFutures": venue.account.can_trade,
        "enableMargin": False,
        "enableWithdrawals": venue.account.can_withdraw,
        "enableInternalTransfer": False,
        "permitsUniversalTransfer": False,
        "enableVanillaOptions": False,
        "enableFixApiTrade": False,
        "enableFixReadOnly": False,
        "enablePortfolioMarginTrading": False,
    }


_READ, _TRADE = Security.READ, Security.TRADE

SPOT = {
    ("POST", "/api/v3/order"): Endpoint(new_order, 1, _TRADE, 1),
    ("DELETE", "/api/v3/order"): Endpoint(cancel_order, 1, _TRADE),
    ("GET", "/api/v3/order"): Endpoint(query_order, 4, _READ),
    ("POST", "/api/v3/order/cancelReplace"): Endpoint(replace_order, 1, _TRADE),
    ("PUT", "/api/v3/order/amend/keepPriority"): Endpoint(amend_order, 4, _TRADE),
    ("GET", "/api/v3/openOrders"): Endpoint(open_orders, one_or_all(6, 80), _READ),
    ("DELETE", "/api/v3/openOrders"): Endpoint(cancel_orders, 1, _TRADE),
    ("GET", "/api/v3/allOrders"): Endpoint(all_orders, 20, _READ),
    ("GET", "/api/v3/account"): Endpoint(account, 20, _READ),
    ("GET", "/api/v3/account/commission"): Endpoint(commission, 20, _READ),
    ("GET", "/api/v3/myTrades"): Endpoint(my_trades, trades_weight, _READ),
    ("GET", "/api/v3/rateLimit/order"): Endpoint(order_usage, 40, _READ),
    ("GET", "/sapi/v1/account/apiRestrictions"): Endpoint(key_rights, 1, _READ),
}
