"""Binance's rules for a new order: types, forces, precision, filters, with each product's own codes and words.

Futures answer a code for each rule (-4014, -1111, -4164 ...), spot answers -1013 "Filter failure: NAME".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from engine.kernel.instruments import decimal_places
from engine.kernel.orders import OrderType, Side
from tests.venues.emulators.binance_listing import Listing
from tests.venues.emulators.binance_wire import BinanceError, Params, missing, plain, unneeded

_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
_SPOT_CLIENT_ID = re.compile(r"[a-zA-Z0-9-_.:/]{1,36}")
_CONDITIONAL = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
_SPOT_TYPES = ("LIMIT", "MARKET", "LIMIT_MAKER")
_FORCES = ("GTC", "IOC", "FOK")
_LARGEST_PRICE = Decimal(4_529_764)
GTD_LEAST_MS = 600_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """A new order as it was asked for, in native units, with everything checked that needs no market."""

    listing: Listing
    side: Side
    type: str
    force: str
    quantity: Decimal
    price: Decimal | None
    reduce_only: bool
    client_id: str
    good_till: int = 0
    quote_quantity: Decimal | None = None

    @property
    def kind(self) -> OrderType:
        """Return the paper venue's order type."""
        if self.type == "MARKET":
            return OrderType.MARKET
        if self.type == "LIMIT_MAKER" or self.force == "GTX":
            return OrderType.POST_ONLY
        return {"IOC": OrderType.IOC, "FOK": OrderType.FOK}.get(self.force, OrderType.LIMIT)


def check_client_id(listing: Listing, text: str) -> None:
    """Check a client id's letters and length."""
    if listing.is_futures:
        if not _CLIENT_ID.fullmatch(text):
            raise BinanceError(-4015, "Client order id is not valid.")
    elif not _SPOT_CLIENT_ID.fullmatch(text):
        raise BinanceError(
            -1100,
            "Illegal characters found in parameter 'newClientOrderId'; legal range is '^[a-zA-Z0-9-_]{1,36}$'.",
        )


def read_order(listing: Listing, params: Params, now_ms: int, dual_side: bool) -> Wanted:
    """Return a new order from its parameters.

    Raises:
        BinanceError: A parameter is missing, not wanted, or breaks a rule that needs no market.
    """
    side_text, kind = params.need("side"), params.need("type")
    if side_text not in ("BUY", "SELL"):
        raise BinanceError(-1117, "Invalid side.")
    side = Side.BUY if side_text == "BUY" else Side.SELL
    client_id = params.text("newClientOrderId")
    if "newClientOrderId" in params.values:
        check_client_id(listing, client_id)
    return (_read_futures if listing.is_futures else _read_spot)(
        listing, params, side, kind, client_id, now_ms, dual_side
    )


def _read_futures(
    listing: Listing, params: Params, side: Side, kind: str, client_id: str, now_ms: int, dual_side: bool
) -> Wanted:
    if kind in _CONDITIONAL:
        raise BinanceError(
            -4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."
        )
    if kind not in ("LIMIT", "MARKET"):
        raise BinanceError(-1116, "Invalid orderType.")
    reduce_only = check_position_side(params, dual_side)
    force, good_till = params.text("timeInForce"), 0
    if kind == "LIMIT":
        if "priceMatch" in params and "price" in params:
            raise unneeded("price")
        for name in ("timeInForce", "quantity", "price"):
            params.need(name)
        if force not in (*_FORCES, "GTX", "GTD"):
            raise BinanceError(-1115, "Invalid timeInForce.")
        if force == "GTD":
            good_till = params.integer("goodTillDate") or 0
            if not good_till:
                raise missing("goodTillDate")
            if good_till < now_ms + GTD_LEAST_MS:
                raise BinanceError(-4188, "Timestamp for this request is outside of the ME recvWindow")
            good_till -= good_till % 1000
    else:
        params.need("quantity")
        for name in ("timeInForce", "price"):
            if name in params:
                raise unneeded(name)
    quantity = params.need_decimal("quantity")
    price = params.decimal("price")
    check_futures_numbers(listing, kind, quantity, price)
    return Wanted(listing, side, kind, force or "GTC", quantity, price, reduce_only, client_id, good_till)


def check_position_side(params: Params, dual_side: bool) -> bool:
    """Check positionSide against the account's mode; returns reduceOnly."""
    position_side = params.text("positionSide", "BOTH")
    if position_side not in ("BOTH", "LONG", "SHORT"):
        raise BinanceError(-4060, "Invalid position side.")
    if (position_side == "BOTH") is dual_side:
        raise BinanceError(-4061, "Order's position side does not match user's setting.")
    reduce_only = params.flag("reduceOnly")
    if dual_side and reduce_only is not None:
        raise unneeded("reduceonly")
    return bool(reduce_only)


def check_futures_numbers(listing: Listing, kind: str, quantity: Decimal, price: Decimal | None) -> None:
    """Check precision, LOT_SIZE or MARKET_LOT_SIZE, and PRICE_FILTER of futures."""
    if quantity <= 0:
        raise BinanceError(-4003, "Quantity less than or equal to zero.")
    if decimal_places(quantity) > listing.qty_precision:
        raise too_precise()
    if quantity < listing.min_qty:
        raise BinanceError(-4004, "Quantity less than min quantity.")
    if quantity > (listing.market_max_qty if kind == "MARKET" else listing.max_qty):
        raise BinanceError(-4005, "Quantity greater than max quantity.")
    if quantity % listing.step:
        raise BinanceError(-4023, "Qty not increased by step size.")
    if price is not None:
        check_futures_price(listing, price)


def check_futures_price(listing: Listing, price: Decimal) -> None:
    """Check PRICE_FILTER of futures."""
    if price <= 0:
        raise BinanceError(-4001, "Price less than 0.")
    if decimal_places(price) > listing.price_precision:
        raise too_precise()
    if price > _LARGEST_PRICE:
        raise BinanceError(-4002, "Price greater than max price.")
    if price < listing.tick:
        raise BinanceError(-4013, "Price less than min price.")
    if price % listing.tick:
        raise BinanceError(-4014, "Price not increased by tick size.")


def too_precise() -> BinanceError:
    return BinanceError(-1111, "Precision is over the maximum defined for this asset.")


def _read_spot(
    listing: Listing, params: Params, side: Side, kind: str, client_id: str, now_ms: int, dual_side: bool
) -> Wanted:
    if kind not in _SPOT_TYPES:
        raise BinanceError(-1116, "Invalid orderType.")
    for name in ("reduceOnly", "positionSide"):
        if name in params:
            raise BinanceError(
                -1104, f"Not all sent parameters were read; read '6' parameter(s) but was sent '7' ({name})."
            )
    force = params.text("timeInForce")
    if kind == "LIMIT":
        for name in ("timeInForce", "quantity", "price"):
            params.need(name)
        if force not in _FORCES:
            raise BinanceError(-1115, "Invalid timeInForce.")
    elif kind == "LIMIT_MAKER":
        params.need("quantity")
        params.need("price")
        if force:
            raise unneeded("timeInForce")
    else:
        if force:
            raise unneeded("timeInForce")
        if "price" in params:
            raise unneeded("price")
        if ("quantity" in params) is ("quoteOrderQty" in params):
            raise missing("quantity") if "quantity" not in params else unneeded("quoteOrderQty")
    quantity, price = params.decimal("quantity"), params.decimal("price")
    quote_quantity = params.decimal("quoteOrderQty")
    if quantity is not None:
        check_spot_size(listing, kind, quantity)
    if price is not None:
        check_spot_price(listing, price)
    return Wanted(
        listing, side, kind, force or "GTC", quantity or Decimal(0), price, False, client_id, 0, quote_quantity
    )


def check_spot_size(listing: Listing, kind: str, quantity: Decimal) -> None:
    """Check LOT_SIZE and MARKET_LOT_SIZE of spot."""
    if decimal_places(quantity) > 8:
        raise BinanceError(-1111, "Parameter 'quantity' has too much precision.")
    if not listing.min_qty <= quantity <= listing.max_qty or quantity % listing.step:
        raise failure("LOT_SIZE")
    if kind == "MARKET" and quantity > listing.market_max_qty:
        raise failure("MARKET_LOT_SIZE")


def check_spot_price(listing: Listing, price: Decimal) -> None:
    """Check PRICE_FILTER of spot."""
    if decimal_places(price) > 8:
        raise BinanceError(-1111, "Parameter 'price' has too much precision.")
    if price < listing.tick or price > 1_000_000 or price % listing.tick:
        raise failure("PRICE_FILTER")


def failure(name: str) -> BinanceError:
    return BinanceError(-1013, f"Filter failure: {name}")


def check_band(wanted: Wanted, mark: Decimal) -> None:
    """Check PERCENT_PRICE against the mark (futures) or the average price (spot), native prices."""
    if wanted.price is None:
        return
    if wanted.listing.is_futures:
        if wanted.side is Side.BUY and wanted.price > mark * Decimal("1.05"):
            top = mark * Decimal("1.05")
            raise BinanceError(-4016, f"Limit price can't be higher than {plain(top.quantize(wanted.listing.tick))}.")
        if wanted.side is Side.SELL and wanted.price < mark * Decimal("0.95"):
            low = mark * Decimal("0.95")
            raise BinanceError(-4024, f"Limit price can't be lower than {plain(low.quantize(wanted.listing.tick))}.")
    elif not mark * Decimal("0.2") <= wanted.price <= mark * 5:
        raise failure("PERCENT_PRICE_BY_SIDE")


def check_notional(listing: Listing, quantity: Decimal, price: Decimal, reduce_only: bool) -> None:
    """Check MIN_NOTIONAL (futures; reduce-only is exempt) or NOTIONAL (spot), native units."""
    if quantity * price >= listing.min_notional:
        return
    if not listing.is_futures:
        raise failure("NOTIONAL")
    if not reduce_only:
        raise BinanceError(
            -4164,
            f"Order's notional must be no smaller than {plain(listing.min_notional)} (unless you choose reduce only).",
        )
