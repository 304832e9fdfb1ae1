"""Backpack's names for instruments, and what `arch.yaml` says about the venue."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from drivers.transport.arch import Arch, load_arch
from engine.kernel.errors import UnknownSymbol
from engine.kernel.instruments import Instrument, InstrumentKind, canonical_symbol, is_canonical

THOUSAND = Decimal(1000)


def arch() -> Arch:
    """Return the venue's description."""
    return load_arch(__package__)


@dataclass(slots=True, frozen=True)
class Listing:
    """A native symbol taken apart.

    Attributes:
        native: The venue's name.
        symbol: Canonical name.
        base: Coin, without the venue's mark for thousands.
        quote: Currency of the price.
        kind: Spot or perpetual.
        multiplier: Coins per venue coin; a venue price is divided by it, a venue size multiplied.
    """

    native: str
    symbol: str
    base: str
    quote: str
    kind: InstrumentKind
    multiplier: Decimal


@lru_cache(maxsize=4096)
def parse_native(native: str) -> Listing:
    """Take a native symbol such as `SOL_USDC`, `SOL_USDC_PERP` or `kPEPE_USDC_PERP` apart.

    Raises:
        UnknownSymbol: It is neither a spot pair nor a perpetual of a coin (dated, prediction, RFQ and stock markets).
    """
    parts = native.split("_")
    if len(parts) not in (2, 3) or (len(parts) == 3 and parts[2] != "PERP"):
        raise UnknownSymbol(f"symbol {native[:40]!r} is neither in the form of SOL_USDC nor of SOL_USDC_PERP")
    kind = InstrumentKind.PERP if len(parts) == 3 else InstrumentKind.SPOT
    base, multiplier = parts[0], Decimal(1)
    coin = base.removeprefix(arch().symbols["thousands"])
    if coin != base and coin[:1].isalpha() and coin == coin.upper():
        base, multiplier = coin, THOUSAND
    symbol = canonical_symbol(base, parts[1], kind)
    if not is_canonical(symbol):
        raise UnknownSymbol(f"symbol {native[:40]!r} is not that of a coin that can be named here")
    return Listing(native, symbol, base.upper(), parts[1].upper(), kind, multiplier)


def default_instruments() -> list[Instrument]:
    """Return the instruments whose steps `arch.yaml` holds, for decoding without a connection."""
    return [_default_instrument(entry) for entry in arch().instruments]


def _default_instrument(entry: dict[str, str]) -> Instrument:
    listing = parse_native(entry["native"])
    is_perp = listing.kind is InstrumentKind.PERP
    fees = arch().fees[listing.kind.value]
    return Instrument(
        symbol=listing.symbol,
        venue=arch().venue,
        base=listing.base,
        quote=listing.quote,
        settle=listing.quote,
        kind=listing.kind,
        tick_size=Decimal(entry["tick"]) / listing.multiplier,
        lot_size=Decimal(entry["lot"]) * listing.multiplier,
        min_quantity=Decimal(entry["min_qty"]) * listing.multiplier,
        multiplier=listing.multiplier,
        max_leverage=Decimal(arch().extra["max_leverage"]) if is_perp else Decimal(1),
        maintenance_margin_rate=Decimal(arch().extra["maintenance_margin_rate"]),
        maker_fee=Decimal(fees["maker"]),
        taker_fee=Decimal(fees["taker"]),
        funding_period_h=arch().extra["funding_period_h"] if is_perp else 0,
        native=listing.native,
    )
