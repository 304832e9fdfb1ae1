"""From the venue's list of markets to instruments with exact steps and fees."""

from __future__ import annotations

from decimal import Decimal

from drivers.backpack.rest_wire import Market, RestAccount
from drivers.backpack.symbols import arch, parse_native
from drivers.backpack.values import plain
from engine.kernel.instruments import Instrument, InstrumentKind, InstrumentStatus

ONE = Decimal(1)
MS_PER_HOUR = 3_600_000
_BPS = Decimal(10_000)
_STATUS_OF = {
    "Open": InstrumentStatus.TRADING,
    "LimitOnly": InstrumentStatus.TRADING,
    "PostOnly": InstrumentStatus.TRADING,
    "Closed": InstrumentStatus.SUSPENDED,
    "CancelOnly": InstrumentStatus.SUSPENDED,
}


def instrument_of(market: Market, account: RestAccount | None) -> Instrument:
    """Return the instrument of a market; fees are the account's own when they are known.

    Raises:
        UnknownSymbol: It is neither a spot pair nor a perpetual of a coin.
    """
    listing, extra = parse_native(market.symbol), arch().extra
    is_perp, by = listing.kind is InstrumentKind.PERP, listing.multiplier
    price, quantity = market.filters.price, market.filters.quantity
    maker, taker = fees_of(listing.kind, account)
    initial = market.imfFunction.base if market.imfFunction is not None else None
    maintenance = market.mmfFunction.base if market.mmfFunction is not None else None
    return Instrument(
        symbol=listing.symbol,
        venue=arch().venue,
        base=listing.base,
        quote=listing.quote,
        settle=listing.quote,
        kind=listing.kind,
        tick_size=price.tickSize / by,
        lot_size=quantity.stepSize * by,
        min_quantity=quantity.minQuantity * by,
        multiplier=by,
        max_leverage=(_largest(initial) if initial else Decimal(extra["max_leverage"])) if is_perp else ONE,
        maintenance_margin_rate=maintenance or Decimal(extra["maintenance_margin_rate"]),
        maker_fee=maker,
        taker_fee=taker,
        funding_period_h=_period_h(market) if is_perp else 0,
        native=listing.native,
        status=_STATUS_OF.get(market.orderBookState, InstrumentStatus.SUSPENDED),
        max_quantity=quantity.maxQuantity * by if quantity.maxQuantity else None,
    )


def _largest(initial_margin: Decimal) -> Decimal:
    """Return the leverage at which an initial margin fraction is used up, to two digits."""
    return Decimal(plain(round(ONE / initial_margin, 2)))


def _period_h(market: Market) -> int:
    if not market.fundingInterval:
        hours: int = arch().extra["funding_period_h"]
        return hours
    return max(1, round(market.fundingInterval / MS_PER_HOUR))


def fees_of(kind: InstrumentKind, account: RestAccount | None) -> tuple[Decimal, Decimal]:
    """Return maker and taker fee as fractions: the account's own, else the venue's usual ones."""
    usual = arch().fees[kind.value]
    maker, taker = Decimal(usual["maker"]), Decimal(usual["taker"])
    if account is None:
        return maker, taker
    is_perp = kind is InstrumentKind.PERP
    own_maker = account.futuresMakerFee if is_perp else account.spotMakerFee
    own_taker = account.futuresTakerFee if is_perp else account.spotTakerFee
    return (
        maker if own_maker is None else own_maker / _BPS,
        taker if own_taker is None else own_taker / _BPS,
    )
