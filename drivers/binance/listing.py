"""Binance's lists of symbols as instruments: filters, status, funding period (EXCHANGES 0.1, 2.4, 3.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from drivers.binance.symbols import arch, parse_native
from drivers.binance.wire import ZERO, FilterRow, FundingInfoRow, SymbolRow
from engine.kernel.errors import UnknownSymbol
from engine.kernel.instruments import Instrument, InstrumentKind, InstrumentStatus, is_canonical

_DELISTED = frozenset({"CLOSE", "DELIVERED", "SETTLING", "PRE_SETTLE", "DELIVERING", "PRE_DELIVERING", "END_OF_DAY"})
_PERPETUAL = "PERPETUAL"


def funding_periods(rows: Iterable[FundingInfoRow]) -> dict[str, int]:
    """Return the hours between funding payments by native symbol, where they are not the usual ones."""
    return {row.symbol: row.fundingIntervalHours for row in rows}


def instruments(rows: Iterable[SymbolRow], kind: InstrumentKind, periods: Mapping[str, int]) -> list[Instrument]:
    """Return the instruments of a list of symbols: of futures the perpetual ones.

    A symbol whose name cannot be taken apart is left out. Where a coin is listed both singly and by the thousand, the
    one that trades is taken, and of two such the single one.
    """
    found: dict[str, Instrument] = {}
    for row in rows:
        if kind is InstrumentKind.PERP and row.contractType != _PERPETUAL:
            continue
        instrument = _instrument(row, kind, periods)
        if instrument is None:
            continue
        other = found.get(instrument.symbol)
        if other is None or _rank(instrument) > _rank(other):
            found[instrument.symbol] = instrument
    return list(found.values())


def _rank(instrument: Instrument) -> tuple[bool, Decimal]:
    return instrument.status is InstrumentStatus.TRADING, -instrument.multiplier


def _instrument(row: SymbolRow, kind: InstrumentKind, periods: Mapping[str, int]) -> Instrument | None:
    try:
        listing = parse_native(row.symbol, kind)
    except UnknownSymbol:
        return None
    filters = {each.filterType: each for each in row.filters}
    price, lot = filters.get("PRICE_FILTER"), filters.get("LOT_SIZE")
    if price is None or lot is None or not price.tickSize or not lot.stepSize or not is_canonical(listing.symbol):
        return None
    described = arch()
    fees, many = described.fees[kind.value], Decimal(listing.multiplier)
    is_perp = kind is InstrumentKind.PERP
    usual_h: int = described.extra["funding_period_h"]
    return Instrument(
        symbol=listing.symbol,
        venue=described.venue,
        base=listing.base,
        quote=listing.quote,
        settle=(row.marginAsset or row.quoteAsset) if is_perp else row.quoteAsset,
        kind=kind,
        tick_size=price.tickSize.normalize() / many,
        lot_size=lot.stepSize.normalize() * many,
        min_quantity=lot.minQty.normalize() * many,
        min_notional=_min_notional(filters),
        multiplier=many,
        max_leverage=Decimal(described.limits["perp"]["max_leverage"]) if is_perp else Decimal(1),
        maker_fee=Decimal(fees["maker"]),
        taker_fee=Decimal(fees["taker"]),
        funding_period_h=periods.get(row.symbol, usual_h) if is_perp else 0,
        native=row.symbol,
        status=_status(row.status),
        max_quantity=lot.maxQty.normalize() * many or None,
    )


def _status(text: str) -> InstrumentStatus:
    if text == "TRADING":
        return InstrumentStatus.TRADING
    return InstrumentStatus.DELISTED if text in _DELISTED else InstrumentStatus.SUSPENDED


def _min_notional(filters: Mapping[str, FilterRow]) -> Decimal:
    """Futures name it MIN_NOTIONAL.notional, spot NOTIONAL.minNotional or, formerly, MIN_NOTIONAL.minNotional."""
    found = (filters.get("NOTIONAL"), filters.get("MIN_NOTIONAL"))
    return max(((each.notional or each.minNotional).normalize() for each in found if each is not None), default=ZERO)
