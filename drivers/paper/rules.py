"""What the venue asks of an order before it looks at the market."""

from __future__ import annotations

from decimal import Decimal

from drivers.paper.symbol_market import SymbolMarket
from engine.kernel.errors import BelowMinimum, InvalidOrder, VenueUnavailable
from engine.kernel.instruments import Instrument, InstrumentStatus
from engine.kernel.orders import OrderRequest, OrderType

_CLIENT_ID_LENGTH = 36
_LARGEST = Decimal(10) ** 12
"""No price or quantity is this large; beyond it sums of money would no longer be exact."""


def check_request(request: OrderRequest, market: SymbolMarket) -> None:
    """Raise the typed error of the first rule that an order breaks.

    Raises:
        VenueUnavailable: The instrument has no price yet, or is not traded now.
        InvalidOrder: Price, trigger, quantity or client id break a rule.
        BelowMinimum: The order is smaller than the instrument allows.
    """
    instrument = market.instrument
    check_trading(market)
    if len(request.client_id) > _CLIENT_ID_LENGTH or not request.client_id.isascii():
        raise InvalidOrder(f"client id {request.client_id!r} must be at most {_CLIENT_ID_LENGTH} ASCII characters")
    _check_prices(request, instrument)
    price = request.price or request.trigger_price or market.mark_price()
    check_quantity(instrument, request.quantity, price, request.reduce_only or request.type is OrderType.STOP)


def check_trading(market: SymbolMarket) -> None:
    """Raise `VenueUnavailable` while an instrument has no price yet or is not traded."""
    if market.instrument.status is not InstrumentStatus.TRADING:
        raise VenueUnavailable(f"{market.symbol} is {market.instrument.status}; no orders are accepted")
    if market.touch is None:
        raise VenueUnavailable(f"{market.symbol}: no market yet; try again when its first price has come")


def _check_prices(request: OrderRequest, instrument: Instrument) -> None:
    if request.type.has_price:
        if request.price is None:
            raise InvalidOrder(f"{request.symbol}: a {request.type} order needs a price")
        check_price(instrument, request.price, "price")
    elif request.price is not None:
        raise InvalidOrder(f"{request.symbol}: a {request.type} order takes no price, got {request.price}")
    if request.type is OrderType.STOP:
        if request.trigger_price is None:
            raise InvalidOrder(f"{request.symbol}: a stop order needs a trigger price")
        check_price(instrument, request.trigger_price, "trigger price")
    elif request.trigger_price is not None:
        raise InvalidOrder(f"{request.symbol}: a {request.type} order takes no trigger price")


def check_price(instrument: Instrument, price: Decimal, what: str) -> None:
    """Raise `InvalidOrder` unless a price is a positive multiple of the tick."""
    if not price.is_finite() or not 0 < price < _LARGEST:
        raise InvalidOrder(f"{instrument.symbol}: {what} {price} must be above 0 and below {_LARGEST:.0e}")
    if price % instrument.tick_size:
        raise InvalidOrder(f"{instrument.symbol}: {what} {price} is not a multiple of the tick {instrument.tick_size}")


def check_quantity(instrument: Instrument, quantity: Decimal, price: Decimal | None, reduce_only: bool) -> None:
    """Raise `InvalidOrder` or `BelowMinimum` unless a quantity fits lot and minimums.

    A reducing order may be below the minimum notional.
    """
    if not quantity.is_finite() or not 0 < quantity < _LARGEST:
        raise InvalidOrder(f"{instrument.symbol}: quantity {quantity} must be above 0 and below {_LARGEST:.0e}")
    if quantity % instrument.lot_size:
        raise InvalidOrder(
            f"{instrument.symbol}: quantity {quantity} is not a multiple of the lot {instrument.lot_size}"
        )
    if quantity < instrument.min_quantity:
        raise BelowMinimum(quantity, instrument.min_quantity, instrument.base)
    if price is not None and not reduce_only and quantity * price < instrument.min_notional:
        raise BelowMinimum(quantity * price, instrument.min_notional, instrument.quote)
