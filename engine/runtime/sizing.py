"""What an order must look like for its instrument, and how many coins an amount buys. Pure functions."""

from __future__ import annotations

from decimal import Decimal

from engine.kernel.errors import BelowMinimum, InvalidOrder
from engine.kernel.instruments import Instrument, InstrumentStatus, ceil_step, floor_step
from engine.kernel.market import Quote
from engine.kernel.orders import OrderType, Side
from engine.runtime.given import given_number

ZERO = Decimal(0)
BP = Decimal("0.0001")
SLIPPAGE_BP = Decimal(30)
"""How far beyond the touch a market order may trade."""
MAX_STEP_DIGITS = 20
"""Digits of a price or quantity counted in steps; far more than any order has, within what decimals hold exactly."""


def market_cap(instrument: Instrument, side: Side, quote: Quote, slippage_bp: Decimal = SLIPPAGE_BP) -> Decimal:
    """Return the limit of a market order: the touch moved by the slippage, rounded to the tick within it."""
    if side is Side.BUY:
        return floor_step(Decimal(repr(quote.ask)) * (1 + slippage_bp * BP), instrument.tick_size)
    return ceil_step(Decimal(repr(quote.bid)) * (1 - slippage_bp * BP), instrument.tick_size)


def size_for_amount(instrument: Instrument, amount: Decimal, reference: Decimal) -> tuple[Decimal, Decimal]:
    """Return (base coins, unspent quote) for an amount of quote at a reference price; never more than asked.

    Raises:
        BelowMinimum: The amount is smaller than the smallest possible order.
    """
    minimum = instrument.minimum_order_quantity(reference) * reference
    if amount < minimum:
        raise BelowMinimum(amount, minimum, instrument.quote)
    quantity = instrument.quantity_for(amount, reference)
    return quantity, amount - quantity * reference


def check_terms(
    instrument: Instrument,
    side: Side,
    type: OrderType,
    quantity: Decimal,
    price: Decimal | None,
    trigger_price: Decimal | None,
) -> None:
    """Refuse what the instrument's rules do not allow, except minimum sizes.

    Raises:
        InvalidOrder: Names the value, the rule and the nearest value that would do.
    """
    symbol = instrument.symbol
    if instrument.status is not InstrumentStatus.TRADING:
        raise InvalidOrder(f"{symbol} is {instrument.status.value}: it takes no orders now")
    check_quantity_step(instrument, quantity)
    largest = instrument.max_quantity
    if largest is not None and quantity > largest:
        most = f"{largest:f} {instrument.base}"
        raise InvalidOrder(f"{symbol}: quantity {quantity} is more than one order may have; {most} would do")
    if type.has_price and price is None:
        raise InvalidOrder(f"a {type.value} order of {symbol} needs a price")
    if not type.has_price and type is not OrderType.MARKET and price is not None:
        raise InvalidOrder(f"a {type.value} order of {symbol} takes no limit price; give only its trigger price")
    if price is not None:
        check_price_step(instrument, side, price, "price")
    if (type is OrderType.STOP) is not (trigger_price is not None):
        which = "needs a" if type is OrderType.STOP else "takes no"
        raise InvalidOrder(f"a {type.value} order of {symbol} {which} trigger price")
    if trigger_price is not None:
        check_price_step(instrument, side, trigger_price, "trigger price")


def check_price_step(instrument: Instrument, side: Side, price: Decimal, what: str) -> None:
    """Refuse a price that is not a positive multiple of the tick.

    Raises:
        InvalidOrder: Names the price, the tick and the nearest price that would do.
    """
    given_number(instrument.symbol, what, price)
    _check_steps(instrument, what, price, instrument.tick_size)
    if price % instrument.tick_size:
        near = instrument.round_price(side, price)
        raise InvalidOrder(
            f"{instrument.symbol}: {what} {price} is no multiple of the tick {instrument.tick_size}; {near} would do"
        )


def check_quantity_step(instrument: Instrument, quantity: Decimal) -> None:
    """Refuse a quantity that is not a positive multiple of the lot.

    Raises:
        InvalidOrder: Names the quantity, the lot and the nearest quantity that would do.
    """
    given_number(instrument.symbol, "quantity", quantity)
    _check_steps(instrument, "quantity", quantity, instrument.lot_size)
    if quantity % instrument.lot_size:
        near = instrument.floor_quantity(quantity)
        raise InvalidOrder(
            f"{instrument.symbol}: quantity {quantity} is no multiple of the lot {instrument.lot_size}; {near} would do"
        )


def _check_steps(instrument: Instrument, what: str, value: Decimal, step: Decimal) -> None:
    """Refuse a number of so many digits that it cannot be counted in steps exactly."""
    if value.adjusted() - step.adjusted() > MAX_STEP_DIGITS:
        raise InvalidOrder(f"{instrument.symbol}: {what} {value:.3e} is larger than any order")


def check_minimum(instrument: Instrument, quantity: Decimal, price: Decimal) -> None:
    """Refuse an order, of whole lots, smaller than the instrument allows at a price.

    Raises:
        BelowMinimum: Names what was asked and the minimum, in quote.
    """
    if quantity >= instrument.min_quantity and quantity * price >= instrument.min_notional:
        return
    minimum = instrument.minimum_order_quantity(price)
    if quantity < minimum:
        raise BelowMinimum(quantity * price, minimum * price, instrument.quote)
