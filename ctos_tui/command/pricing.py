"""Prices and sizes as written become exact prices and quantities of now, rounded towards less risk."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from ctos_tui.command.desk import Desk, Market, ResolveError
from ctos_tui.command.terms import (
    AbsolutePrice,
    MarketPrice,
    Offset,
    OffsetUnit,
    Price,
    Ref,
    ReferencePrice,
    Size,
    SizeUnit,
)
from ctos_tui.command.words import plain
from ctos_tui.guard.levels import WHOLE_BP, OrderFacts, size_refusals
from ctos_tui.numbers import MINUS
from engine.kernel.instruments import ceil_step
from engine.kernel.orders import Side

ZERO: Final = Decimal(0)
ONE: Final = Decimal(1)
HUNDRED: Final = Decimal(100)
_BOUNDLESS: Final = Decimal(10) ** 15


class Priced(msgspec.Struct, frozen=True):
    """A price of now.

    Attributes:
        limit: Limit price on the tick; None for a market order.
        worst: The worst price at which the order may trade.
        words: How it was asked for (`best −10`); empty for a plain number.
        note: What rounding changed; empty when nothing.
    """

    limit: Decimal | None
    worst: Decimal
    words: str = ""
    note: str = ""


class Sized(msgspec.Struct, frozen=True):
    """A quantity on the lot, in base coins, and what rounding or capping changed."""

    quantity: Decimal
    note: str = ""


def shifted(base: Decimal, offset: Offset, tick: Decimal) -> Decimal:
    """Return a price moved by an offset; its sign is arithmetic, whatever the side."""
    if offset.unit is OffsetUnit.PERCENT:
        return base * (ONE + offset.value / HUNDRED)
    return base + (offset.value * tick if offset.unit is OffsetUnit.TICKS else offset.value)


def price_of(price: Price, market: Market, side: Side, desk: Desk) -> Priced:
    """Return the price of now that was asked for: a buy floors, a sell ceils to the tick.

    Raises:
        ResolveError: The price that it refers to is not known, or nothing above 0 is left.
    """
    instrument = market.instrument
    if isinstance(price, MarketPrice):
        touch = market.far(side)
        if touch is None:
            raise ResolveError(
                f"{desk.short_name(instrument)} has no {'ask' if side is Side.BUY else 'bid'} to trade with"
            )
        worst = touch * (ONE + side.sign * desk.slippage_bp / WHOLE_BP)
        return Priced(None, instrument.round_price(side, worst))
    if isinstance(price, AbsolutePrice):
        limit = instrument.round_price(side, price.value)
        note = "" if limit == price.value else f"price {price.value:,f}→{limit:,f}"
        return _positive(Priced(limit, limit, "", note), price, instrument.tick_size)
    base = market.reference(price.ref, side)
    if base is None:
        name = desk.short_name(instrument)
        if price.ref is Ref.ENTRY:
            raise ResolveError(f"no position in {name}: there is no entry price")
        raise ResolveError(f"{name} has no {price.ref} price yet: go {instrument.symbol.lower()} streams it")
    raw = base if price.offset is None else shifted(base, price.offset, instrument.tick_size)
    limit = instrument.round_price(side, raw)
    return _positive(Priced(limit, limit, _words(price)), price, instrument.tick_size)


def _words(price: ReferencePrice) -> str:
    return str(price).replace("-", MINUS)


def _positive(priced: Priced, price: Price, tick: Decimal) -> Priced:
    if priced.worst <= 0:
        raise ResolveError(f"{price} leaves no price above 0 (the tick is {plain(tick)})")
    return priced


def quantity_of(size: Size, market: Market, side: Side, price: Decimal, desk: Desk) -> Sized:
    """Return the quantity of now that was asked for, floored to the lot.

    Args:
        size: As written.
        market: The market.
        side: Side of the order.
        price: The price at which amounts of quote are turned into coins.
        desk: Balances and limits.

    Raises:
        ResolveError: What the size refers to is not known or is nothing.
    """
    instrument = market.instrument
    if size.unit in (SizeUnit.BASE, SizeUnit.CONTRACTS):
        asked = size.value * (instrument.contract_size if size.unit is SizeUnit.CONTRACTS else ONE)
        floored = instrument.floor_quantity(asked)
        note = "" if floored == asked else f"size {plain(asked)}→{plain(floored)}"
        return Sized(floored, note)
    if size.unit is SizeUnit.QUOTE:
        return Sized(instrument.quantity_for(size.value, price))
    if size.unit is SizeUnit.POSITION:
        if not market.position:
            raise ResolveError(f"no position in {desk.short_name(instrument)}: %pos of nothing")
        return Sized(share_of_position(market, size.value))
    if size.unit is SizeUnit.BALANCE:
        return Sized(_share_of_balance(size.value, market, side, price, desk))
    return Sized(instrument.floor_quantity(largest(market, side, price, desk)))


def share_of_position(market: Market, percent: Decimal) -> Decimal:
    """Return a share of what is held, floored to the lot: on spot a fee in coins may leave less than a lot over."""
    return market.instrument.floor_quantity(abs(market.position) * percent / HUNDRED)


def _share_of_balance(percent: Decimal, market: Market, side: Side, price: Decimal, desk: Desk) -> Decimal:
    instrument = market.instrument
    if not instrument.is_perp and side is Side.SELL:
        if market.position <= 0:
            raise ResolveError(f"no {instrument.base} to sell")
        return share_of_position(market, percent)
    if desk.free is None:
        raise ResolveError("the free balance is not known yet")
    if desk.free <= 0:
        raise ResolveError("no free balance")
    amount = desk.free * percent / HUNDRED
    if not instrument.is_perp:
        amount /= ONE + instrument.taker_fee
    return instrument.quantity_for(amount, price)


def margin_rate(market: Market) -> Decimal:
    """Return the share of the notional that an increase ties up."""
    return ONE / market.leverage if market.instrument.is_perp and market.leverage > 0 else ONE


def largest(market: Market, side: Side, price: Decimal, desk: Desk) -> Decimal:
    """Return the largest quantity that every hard size limit lets pass (not yet floored to the lot).

    Raises:
        ResolveError: No limit is set, so that there is no largest.
    """
    facts = OrderFacts(
        side=side,
        quantity=_BOUNDLESS,
        price=price,
        position=market.position,
        exposure=desk.exposure,
        equity=desk.equity,
        free=desk.free,
        margin_rate=margin_rate(market),
        can_short=market.instrument.is_perp,
    )
    sizes = [reason.largest for reason in size_refusals(facts, desk.limits) if reason.largest is not None]
    if not sizes:
        raise ResolveError("no limit is set, so there is no largest size: write one")
    return min(sizes)


def check_minimum(quantity: Decimal, asked: str, market: Market, price: Decimal, desk: Desk) -> None:
    """Refuse a quantity that no venue order can have.

    Args:
        quantity: On the lot, in base coins.
        asked: The size in the operator's words.
        market: The market.
        price: The price at which the minimum amount of quote is turned into coins.
        desk: For the market's short name.

    Raises:
        ResolveError: It is below the minimum; the message names the smallest that would do.
    """
    instrument = market.instrument
    minimum = instrument.minimum_order_quantity(price)
    if quantity < minimum:
        cost = ceil_step(minimum * price, Decimal("0.01"))
        raise ResolveError(
            f"{asked} is below the minimum of {desk.short_name(instrument)}: "
            f"{plain(minimum)} {instrument.base} ({cost:,f} {instrument.quote})"
        )
