"""OKX's names for instruments, contract sizes, and what `arch.yaml` says about the venue.

A swap is traded in contracts: coins = contracts x ctVal x ctMult. Spot is traded in coins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from drivers.okx.wire import InstrumentRow
from drivers.transport.arch import Arch, load_arch
from engine.kernel.errors import UnknownSymbol
from engine.kernel.instruments import (
    Instrument,
    InstrumentKind,
    InstrumentStatus,
    canonical_symbol,
    is_canonical,
)

ONE = Decimal(1)
_STATUS = {"live": InstrumentStatus.TRADING, "expired": InstrumentStatus.DELISTED}
"""Other states (preopen, suspend, rebase, post_only, test) take no ordinary orders."""


def arch() -> Arch:
    """Return the venue's description."""
    return load_arch("drivers.okx")


@dataclass(slots=True, frozen=True)
class Listing:
    """A native symbol taken apart: `BTC-USDT-SWAP` is `BTC-USDT-PERP`."""

    native: str
    symbol: str
    base: str
    quote: str
    kind: InstrumentKind

    @property
    def inst_type(self) -> str:
        """Return the venue's word for the kind."""
        return "SWAP" if self.kind is InstrumentKind.PERP else "SPOT"


def parse_native(native: str) -> Listing:
    """Take a native symbol apart.

    Raises:
        UnknownSymbol: It is a dated future, an option, an inverse swap, or not in the venue's form.
    """
    base, _, rest = native.partition("-")
    quote, _, suffix = rest.partition("-")
    if suffix not in ("", "SWAP"):
        raise UnknownSymbol(f"symbol {native[:40]!r} is a dated future or an option, not a swap or spot pair")
    kind = InstrumentKind.PERP if suffix else InstrumentKind.SPOT
    symbol = canonical_symbol(base, quote, kind)
    if base != base.upper() or quote != quote.upper() or not is_canonical(symbol):
        raise UnknownSymbol(f"symbol {native[:40]!r} is not in the form of BTC-USDT or BTC-USDT-SWAP")
    if suffix and quote not in arch().symbols["swap_quotes"]:
        raise UnknownSymbol(f"symbol {native[:40]!r} is settled in coins, which is not supported")
    return Listing(native, symbol, base, quote, kind)


def native_symbol(symbol: str) -> str:
    """Return OKX's name for a canonical symbol.

    Raises:
        UnknownSymbol: The text is not a canonical symbol.
    """
    if not is_canonical(symbol):
        raise UnknownSymbol(f"symbol {symbol!r} is not in the form BTC-USDT or BTC-USDT-PERP")
    return symbol.removesuffix("-PERP") + "-SWAP" if symbol.endswith("-PERP") else symbol


@dataclass(slots=True, frozen=True)
class Contract:
    """What is needed to read sizes of one instrument.

    Attributes:
        symbol: Canonical name.
        kind: Spot or perpetual.
        coins: Base coins in one unit of the venue's size; 1 for spot.
        code: The integer that names the instrument in WebSocket orders, None where the venue gives none.
        settle: Currency of profit and fees of a swap.
    """

    native: str
    symbol: str
    kind: InstrumentKind
    coins: Decimal
    code: int | None = None
    settle: str = ""

    @property
    def inst_type(self) -> str:
        """Return the venue's word for the kind."""
        return "SWAP" if self.kind is InstrumentKind.PERP else "SPOT"


class Contracts:
    """Contract sizes by native symbol; spot pairs need none and are known by their form."""

    def __init__(self, contracts: Iterable[Contract] = ()) -> None:
        self._known = {contract.native: contract for contract in contracts}

    def add(self, contract: Contract) -> None:
        """Take in a contract, in place of what was known of it."""
        self._known[contract.native] = contract

    def get(self, native: str) -> Contract:
        """Return the contract of a native symbol.

        Raises:
            UnknownSymbol: It is not a swap or spot pair, or nobody told the contract size.
        """
        contract = self._known.get(native)
        if contract is not None:
            return contract
        listing = parse_native(native)
        if listing.kind is InstrumentKind.PERP:
            raise UnknownSymbol(f"contract size of {native} is not known: put its instruments reply before it")
        contract = self._known[native] = Contract(native, listing.symbol, listing.kind, ONE)
        return contract


def default_contracts() -> Contracts:
    """Return the contract sizes of `arch.yaml`."""
    return Contracts(
        Contract(listing.native, listing.symbol, listing.kind, Decimal(entry.get("ct_val", "1")))
        for entry in arch().instruments
        for listing in [parse_native(entry["native"])]
    )


def default_instruments() -> list[Instrument]:
    """Return the instruments whose steps `arch.yaml` holds, for recordings without an instruments file."""
    return [
        _instrument(
            parse_native(entry["native"]),
            coins=Decimal(entry.get("ct_val", "1")),
            tick=Decimal(entry["tick"]),
            lot=Decimal(entry["lot"]),
            minimum=Decimal(entry["min"]),
            leverage=Decimal(entry.get("max_leverage", "1")),
        )
        for entry in arch().instruments
    ]


def read_instrument(row: InstrumentRow) -> tuple[Instrument, Contract]:
    """Turn a row of the instruments reply into the instrument and its contract.

    Raises:
        UnknownSymbol: It is nothing that this driver trades: inverse, dated, or counted in another coin.
    """
    listing = parse_native(row.instId)
    coins = ONE
    if listing.kind is InstrumentKind.PERP:
        if row.ctType != "linear" or row.ctValCcy not in ("", listing.base):
            raise UnknownSymbol(f"{row.instId} is {row.ctType or 'no'} contract of {row.ctValCcy}: only linear ones")
        coins = Decimal(row.ctVal) * Decimal(row.ctMult or "1")
    instrument = _instrument(
        listing,
        coins=coins,
        tick=Decimal(row.tickSz),
        lot=Decimal(row.lotSz),
        minimum=Decimal(row.minSz),
        largest=Decimal(row.maxLmtSz) if row.maxLmtSz else None,
        leverage=Decimal(row.lever or "1"),
        settle=row.settleCcy,
        status=_STATUS.get(row.state, InstrumentStatus.SUSPENDED),
    )
    return instrument, Contract(row.instId, listing.symbol, listing.kind, coins, row.instIdCode, instrument.settle)


def _instrument(
    listing: Listing,
    coins: Decimal,
    tick: Decimal,
    lot: Decimal,
    minimum: Decimal,
    leverage: Decimal,
    settle: str = "",
    status: InstrumentStatus = InstrumentStatus.TRADING,
    largest: Decimal | None = None,
) -> Instrument:
    perp = listing.kind is InstrumentKind.PERP
    fees = arch().fees[listing.kind.value]
    return Instrument(
        symbol=listing.symbol,
        venue=arch().venue,
        base=listing.base,
        quote=listing.quote,
        settle=settle or listing.quote,
        kind=listing.kind,
        tick_size=tick,
        lot_size=lot * coins,
        min_quantity=minimum * coins,
        contract_size=coins,
        max_leverage=leverage if perp else ONE,
        maker_fee=Decimal(fees["maker"]),
        taker_fee=Decimal(fees["taker"]),
        funding_period_h=arch().extra["funding_period_h"] if perp else 0,
        native=listing.native,
        status=status,
        max_quantity=largest * coins if largest else None,
    )
