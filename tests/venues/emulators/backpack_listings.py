"""Backpack's markets: names, steps, and the units in which prices and sizes go over the wire.

The matching engine knows coins; a market that lists thousands (`kPEPE_USDC_PERP`) shows prices 1000 times as high and
sizes 1000 times as small.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from engine.kernel.instruments import Instrument, InstrumentKind, InstrumentStatus, canonical_symbol
from tests.venues.emulators.backpack_errors import Refusal, bad_request

ZERO = Decimal(0)
_SIZE_STEP = Decimal("1e-9")


@lru_cache(maxsize=16_384)
def plain(value: Decimal | float) -> str:
    """Return a number as the venue writes it: no exponent, no trailing zeros."""
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    return f"{exact.normalize() if exact else ZERO:f}"


def naive_utc(ms: int, separator: str = "T") -> str:
    """Return a time as the venue's text without zone; milliseconds only where there are any."""
    at = datetime.fromtimestamp(ms / 1000, UTC).replace(tzinfo=None)
    return at.isoformat(separator, "milliseconds" if ms % 1000 else "seconds")


@dataclass(frozen=True)
class Listing:
    """One market as the venue lists it.

    Attributes:
        instrument: What is traded, in coins.
        visible: Whether the venue shows it.
        book_state: Open, Closed, CancelOnly, LimitOnly or PostOnly.
    """

    instrument: Instrument
    visible: bool = True
    book_state: str = "Open"

    @property
    def symbol(self) -> str:
        """Return the canonical symbol."""
        return self.instrument.symbol

    @property
    def native(self) -> str:
        """Return the venue's symbol."""
        return self.instrument.native

    @property
    def base(self) -> str:
        """Return the venue's name of the base: with `k` before it where thousands are listed."""
        return self.native.partition("_")[0]

    def price(self, price: Decimal | float) -> str:
        """Return a price of one coin as the venue shows it."""
        exact = price if isinstance(price, Decimal) else Decimal(repr(price))
        return plain(exact * self.instrument.multiplier)

    def size(self, size: Decimal | float) -> str:
        """Return a number of coins as the venue shows it."""
        exact = size if isinstance(size, Decimal) else Decimal(repr(size))
        return plain((exact / self.instrument.multiplier).quantize(_SIZE_STEP))

    def price_in(self, text: object) -> Decimal:
        """Return the price of one coin that a request names.

        Raises:
            Refusal: It is no price of this market.
        """
        price = number_of(text, "price")
        tick = self.instrument.tick_size * self.instrument.multiplier
        if price <= 0:
            raise Refusal(400, "INVALID_PRICE", "Price must be positive")
        if price % tick:
            raise Refusal(400, "INVALID_PRICE", "Price decimal too long")
        return price / self.instrument.multiplier

    def size_in(self, text: object) -> Decimal:
        """Return the number of coins that a request names.

        Raises:
            Refusal: It is no quantity of this market.
        """
        size = number_of(text, "quantity")
        multiplier = self.instrument.multiplier
        if size <= 0:
            raise Refusal(400, "INVALID_QUANTITY", "Quantity must be positive")
        if size % (self.instrument.lot_size / multiplier):
            raise Refusal(400, "INVALID_QUANTITY", "Quantity decimal too long")
        if size * multiplier < self.instrument.min_quantity:
            raise Refusal(400, "INVALID_QUANTITY", "Quantity is below the minimum quantity")
        return size * multiplier

    def market(self) -> dict[str, Any]:
        """Return the row of GET /markets."""
        i = self.instrument
        margin = {"type": "sqrt", "base": plain(1 / i.max_leverage), "factor": "0.0001"}
        return {
            "symbol": self.native,
            "baseSymbol": self.base,
            "quoteSymbol": i.quote,
            "marketType": "PERP" if i.is_perp else "SPOT",
            "filters": {
                "price": {
                    "minPrice": self.price(i.tick_size),
                    "maxPrice": None,
                    "tickSize": self.price(i.tick_size),
                    "maxMultiplier": "1.25",
                    "minMultiplier": "0.75",
                    "maxImpactMultiplier": "1.05",
                    "minImpactMultiplier": "0.95",
                    "meanMarkPriceBand": {"maxMultiplier": "1.15", "minMultiplier": "0.9"} if i.is_perp else None,
                    "borrowEntryFeeMaxMultiplier": None,
                    "borrowEntryFeeMinMultiplier": None,
                },
                "quantity": {
                    "minQuantity": self.size(i.min_quantity),
                    "maxQuantity": None,
                    "stepSize": self.size(i.lot_size),
                },
            },
            "imfFunction": margin if i.is_perp else None,
            "mmfFunction": {**margin, "base": plain(i.maintenance_margin_rate)} if i.is_perp else None,
            "fundingInterval": i.funding_period_h * 3_600_000 if i.is_perp else None,
            "fundingRateUpperBound": "100" if i.is_perp else None,
            "fundingRateLowerBound": "-100" if i.is_perp else None,
            "openInterestLimit": "0",
            "orderBookState": self.book_state if i.status is InstrumentStatus.TRADING else "Closed",
            "createdAt": "2025-01-21T06:34:54.691858",
            "visible": self.visible,
        }


def number_of(text: object, what: str) -> Decimal:
    """Return a decimal of a request, which the venue takes as a string only.

    Raises:
        Refusal: It is none.
    """
    if type(text) is not str:
        raise bad_request(f"Failed to parse {what}: expected a decimal string")
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise bad_request(f"Failed to parse {what}: {text!r}") from error
    if not value.is_finite():
        raise bad_request(f"Failed to parse {what}: {text!r}")
    return value


def native_name(base: str, quote: str, kind: InstrumentKind, multiplier: int) -> str:
    """Return the venue's name of a market."""
    prefix = "k" if multiplier == 1000 else ""
    suffix = "_PERP" if kind is InstrumentKind.PERP else ""
    return f"{prefix}{base}_{quote}{suffix}"


def _listed(base: str, tick: str, lot: str, kind: InstrumentKind, leverage: int = 1, multiplier: int = 1) -> Instrument:
    perp = kind is InstrumentKind.PERP
    many = Decimal(multiplier)
    return Instrument(
        symbol=canonical_symbol(base, "USDC", kind),
        venue="backpack",
        base=base,
        quote="USDC",
        settle="USDC",
        kind=kind,
        tick_size=Decimal(tick) / many,
        lot_size=Decimal(lot) * many,
        min_quantity=Decimal(lot) * many,
        native=native_name(base, "USDC", kind, multiplier),
        multiplier=many,
        max_leverage=Decimal(leverage),
        maintenance_margin_rate=Decimal("0.0125"),
        funding_period_h=1 if perp else 0,
    )


INSTRUMENTS: tuple[Instrument, ...] = (
    _listed("BTC", "0.1", "0.00001", InstrumentKind.PERP, 50),
    _listed("ETH", "0.01", "0.0001", InstrumentKind.PERP, 50),
    _listed("SOL", "0.01", "0.01", InstrumentKind.PERP, 50),
    _listed("PEPE", "0.000001", "100", InstrumentKind.PERP, 10, multiplier=1000),
    _listed("BTC", "0.1", "0.00001", InstrumentKind.SPOT),
    _listed("SOL", "0.01", "0.01", InstrumentKind.SPOT),
)
"""What the emulator lists: steps are the venue's own, of thousands for `kPEPE_USDC_PERP`."""


class Listings:
    """The markets of one emulator, by the venue's name and by ours."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self.all = [Listing(instrument) for instrument in instruments]
        self._native = {listing.native: listing for listing in self.all}
        self._canonical = {listing.symbol: listing for listing in self.all}

    def of(self, symbol: str) -> Listing:
        """Return the listing of a canonical symbol."""
        return self._canonical[symbol]

    def find(self, native: object) -> Listing:
        """Return the listing that a request names.

        Raises:
            Refusal: There is none.
        """
        if not isinstance(native, str):
            raise bad_request("Missing symbol")
        if native not in self._native:
            raise Refusal(400, "INVALID_SYMBOL", "Invalid symbol")
        return self._native[native]

    def change(self, native: str, **fields: Any) -> None:
        """Change what the venue says of a market: `visible`, `book_state`."""
        old = self._native[native]
        new = replace(old, **fields)
        self.all[self.all.index(old)] = new
        self._native[native] = self._canonical[new.symbol] = new
