"""Binance's names for instruments, and what `arch.yaml` says about the venue."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from drivers.transport.arch import Arch, load_arch
from engine.kernel.errors import UnknownSymbol
from engine.kernel.instruments import Instrument, InstrumentKind, canonical_symbol


def arch() -> Arch:
    """Return the venue's description."""
    return load_arch("drivers.binance")


@dataclass(slots=True, frozen=True)
class Listing:
    """A native symbol taken apart.

    Attributes:
        native: The venue's name.
        symbol: Canonical name.
        base: Coin, without the venue's multiplier.
        quote: Currency of the price.
        kind: Spot or perpetual.
        multiplier: Coins per venue coin; a venue price is divided by it, a venue size multiplied.
    """

    native: str
    symbol: str
    base: str
    quote: str
    kind: InstrumentKind
    multiplier: int = 1

    @property
    def settle(self) -> str:
        """Return the currency in which profit is paid: the quote, on USD-M futures as on spot."""
        return self.quote


@cache
def _quotes() -> tuple[str, ...]:
    return tuple(sorted(arch().symbols["quotes"], key=len, reverse=True))


def parse_native(native: str, kind: InstrumentKind) -> Listing:
    """Take a native symbol such as `BTCUSDT` or `1000PEPEUSDT` apart.

    Raises:
        UnknownSymbol: It is a dated future or ends in no known quote currency.
    """
    if "_" in native:
        raise UnknownSymbol(f"symbol {native!r} is a dated future or an index, not a perpetual or spot pair")
    if not (native.isascii() and native.isalnum() and len(native) <= 30):
        raise UnknownSymbol(f"symbol {native[:40]!r} is not in the form of BTCUSDT")
    quote = next((q for q in _quotes() if native.endswith(q) and len(native) > len(q)), None)
    if quote is None:
        raise UnknownSymbol(f"symbol {native!r} ends in no known quote currency")
    base, multiplier = native.removesuffix(quote), 1
    for prefix, factor in arch().symbols["multipliers"].items():
        coin = base.removeprefix(prefix)
        if coin != base and coin[:1].isalpha():
            base, multiplier = coin, int(factor)
            break
    return Listing(native, canonical_symbol(base, quote, kind), base, quote, kind, multiplier)


def native_symbol(symbol: str) -> str:
    """Return Binance's name for a canonical symbol.

    Raises:
        UnknownSymbol: The text is not a canonical symbol.
    """
    base, _, rest = symbol.partition("-")
    quote, _, suffix = rest.partition("-")
    if not base or not quote or suffix not in ("", "PERP"):
        raise UnknownSymbol(f"symbol {symbol!r} is not in the form BTC-USDT or BTC-USDT-PERP")
    kind = InstrumentKind.PERP if suffix else InstrumentKind.SPOT
    names = arch().symbols
    native: str = names["shape"].format(base=names["listed_multiplied"][kind.value].get(base, "") + base, quote=quote)
    return native


def default_instruments() -> list[Instrument]:
    """Return the instruments whose filters `arch.yaml` holds, for recordings without an instruments file."""
    return [_default_instrument(entry) for entry in arch().instruments]


def _default_instrument(entry: dict[str, str]) -> Instrument:
    kind = InstrumentKind.PERP if entry["symbol"].endswith("-PERP") else InstrumentKind.SPOT
    listing = parse_native(entry["native"], kind)
    fees = arch().fees[kind.value]
    return Instrument(
        symbol=listing.symbol,
        venue=arch().venue,
        base=listing.base,
        quote=listing.quote,
        settle=listing.quote,
        kind=kind,
        tick_size=Decimal(entry["tick"]),
        lot_size=Decimal(entry["lot"]),
        min_quantity=Decimal(entry["min_qty"]),
        min_notional=Decimal(entry["min_notional"]),
        multiplier=Decimal(listing.multiplier),
        max_leverage=Decimal(entry["max_leverage"]),
        maker_fee=Decimal(fees["maker"]),
        taker_fee=Decimal(fees["taker"]),
        funding_period_h=arch().extra["funding_period_h"] if kind is InstrumentKind.PERP else 0,
        native=listing.native,
    )
