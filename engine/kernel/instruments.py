"""Instruments, canonical symbols and exact rounding.

A canonical symbol is `BASE-QUOTE` for spot and `BASE-QUOTE-PERP` for a perpetual. Quantities are base coins.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from enum import StrEnum

from engine.kernel.errors import UnknownSymbol
from engine.kernel.orders import Side

ZERO = Decimal(0)
ONE = Decimal(1)


class InstrumentKind(StrEnum):
    """What is traded."""

    SPOT = "spot"
    PERP = "perp"


class InstrumentStatus(StrEnum):
    """Whether the venue accepts orders."""

    TRADING = "trading"
    SUSPENDED = "suspended"
    DELISTED = "delisted"


def floor_step(value: Decimal, step: Decimal) -> Decimal:
    """Return the largest multiple of `step` that is not above `value`."""
    return (value / step).to_integral_value(ROUND_FLOOR) * step


def ceil_step(value: Decimal, step: Decimal) -> Decimal:
    """Return the smallest multiple of `step` that is not below `value`."""
    return (value / step).to_integral_value(ROUND_CEILING) * step


def decimal_places(step: Decimal) -> int:
    """Return how many digits after the point a multiple of `step` needs."""
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


@dataclass(slots=True, frozen=True)
class Instrument:
    """What can be traded on one venue, with its exact steps and limits.

    Attributes:
        symbol: Canonical name.
        venue: Driver that trades it.
        base: Coin that is bought and sold.
        quote: Currency of the price.
        settle: Currency in which profit is paid.
        kind: Spot or perpetual.
        tick_size: Price step, in quote.
        lot_size: Quantity step, in base coins.
        min_quantity: Smallest order, in base coins.
        min_notional: Smallest order, in quote.
        contract_size: Base coins per venue contract.
        multiplier: Base coins per venue coin (1000 where the venue lists thousands).
        max_leverage: Highest leverage the venue allows (1 for spot).
        maintenance_margin_rate: Share of notional that must stay covered, perpetuals.
        maker_fee: Share of notional charged to a resting order.
        taker_fee: Share of notional charged to an order that takes.
        funding_period_h: Hours between funding payments (0 for spot).
        native: The venue's own name.
        status: Whether orders are accepted.
        max_quantity: Largest order, in base coins; None where the venue names none.
    """

    symbol: str
    venue: str
    base: str
    quote: str
    settle: str
    kind: InstrumentKind
    tick_size: Decimal
    lot_size: Decimal
    min_quantity: Decimal = ZERO
    min_notional: Decimal = ZERO
    contract_size: Decimal = ONE
    multiplier: Decimal = ONE
    max_leverage: Decimal = ONE
    maintenance_margin_rate: Decimal = Decimal("0.005")
    maker_fee: Decimal = ZERO
    taker_fee: Decimal = ZERO
    funding_period_h: int = 8
    native: str = ""
    status: InstrumentStatus = InstrumentStatus.TRADING
    max_quantity: Decimal | None = None
    price_places: int = field(init=False)
    quantity_places: int = field(init=False)

    def __post_init__(self) -> None:
        """Derive the number of decimals from tick and lot."""
        object.__setattr__(self, "price_places", decimal_places(self.tick_size))
        object.__setattr__(self, "quantity_places", decimal_places(self.lot_size))

    @property
    def is_perp(self) -> bool:
        """Return whether this is a perpetual."""
        return self.kind is InstrumentKind.PERP

    def floor_quantity(self, quantity: Decimal) -> Decimal:
        """Round a quantity down to the lot."""
        return floor_step(quantity, self.lot_size)

    def round_price(self, side: Side, price: Decimal) -> Decimal:
        """Round a limit price to the tick, never more aggressive than asked: a buy floors, a sell ceils."""
        return floor_step(price, self.tick_size) if side is Side.BUY else ceil_step(price, self.tick_size)

    def round_trigger(self, side: Side, price: Decimal) -> Decimal:
        """Round a stop trigger so that it fires earlier: a sell stop ceils, a buy stop floors."""
        return ceil_step(price, self.tick_size) if side is Side.SELL else floor_step(price, self.tick_size)

    def price_from_float(self, price: float) -> Decimal:
        """Return a market price (float) as the nearest exact multiple of the tick."""
        return (Decimal(repr(price)) / self.tick_size).to_integral_value(ROUND_HALF_EVEN) * self.tick_size

    def quantity_from_float(self, quantity: float) -> Decimal:
        """Return a market size (float) as a multiple of the lot, rounded down."""
        return floor_step(Decimal(repr(quantity)), self.lot_size)

    def quantity_for(self, amount: Decimal, price: Decimal) -> Decimal:
        """Return the largest quantity whose notional at `price` does not exceed `amount` of quote."""
        return self.floor_quantity(amount / price)

    def minimum_order_quantity(self, price: Decimal) -> Decimal:
        """Return the smallest quantity that meets both the minimum quantity and the minimum notional."""
        return ceil_step(max(self.min_quantity, self.min_notional / price, self.lot_size), self.lot_size)


_SYMBOL = re.compile(r"^[A-Z0-9]{1,20}-[A-Z0-9]{2,10}(-PERP)?$")


def canonical_symbol(base: str, quote: str, kind: InstrumentKind) -> str:
    """Return the canonical name of an instrument."""
    suffix = "-PERP" if kind is InstrumentKind.PERP else ""
    return f"{base.upper()}-{quote.upper()}{suffix}"


def is_canonical(symbol: str) -> bool:
    """Return whether a text has the form of a canonical symbol."""
    return _SYMBOL.fullmatch(symbol) is not None


def unlisted_instrument(symbol: str, venue: str) -> Instrument:
    """Return what the name of an instrument tells of it, for one that the venue does not list and nobody remembers.

    Its steps are finer than any venue's, so that what is held of it is not rounded away.
    """
    base, _, rest = symbol.partition("-")
    quote, _, perpetual = rest.partition("-")
    kind, step = InstrumentKind.PERP if perpetual else InstrumentKind.SPOT, Decimal("1e-12")
    return Instrument(symbol, venue, base, quote, quote, kind, step, step, status=InstrumentStatus.DELISTED)


def resolve_symbol(
    typed: str,
    instruments: dict[str, Instrument],
    default_quote: str = "USDT",
    default_kind: InstrumentKind = InstrumentKind.PERP,
) -> Instrument:
    """Return the instrument that a person means.

    `btc` means the default quote and kind; `btc-usdc`, `btc-perp`, `btc-spot`, `btcusdt` and canonical names
    are exact. When the default kind is not listed, the other kind of the same pair is taken.

    Raises:
        UnknownSymbol: Nothing matches; the message names the nearest symbols.
    """
    text = typed.strip().upper().replace("/", "-").replace("_", "-")
    if text in instruments:
        return instruments[text]
    other = InstrumentKind.SPOT if default_kind is InstrumentKind.PERP else InstrumentKind.PERP
    head, _, tail = text.rpartition("-")
    if tail == "PERP" and head:
        candidates = [canonical_symbol(head, default_quote, InstrumentKind.PERP)]
    elif tail == "SPOT" and head:
        pair = head if "-" in head else f"{head}-{default_quote}"
        candidates = [pair]
    elif "-" in text:
        candidates = [text, f"{text}-PERP"] if default_kind is InstrumentKind.SPOT else [f"{text}-PERP", text]
    else:
        candidates = [canonical_symbol(text, default_quote, kind) for kind in (default_kind, other)]
        for quote in ("USDT", "USDC", "USD"):
            base = text.removesuffix(quote)
            if base and base != text:
                candidates += [canonical_symbol(base, quote, kind) for kind in (default_kind, other)]
            candidates += [canonical_symbol(text, quote, default_kind), canonical_symbol(text, quote, other)]
    for candidate in candidates:
        if candidate in instruments:
            return instruments[candidate]
    near = sorted(name for name in instruments if text and (name.startswith(text[:2]) or text in name))[:4]
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    raise UnknownSymbol(f"unknown symbol {typed!r}{hint}")
