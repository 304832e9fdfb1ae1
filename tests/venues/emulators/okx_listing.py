"""What OKX lists: instruments with contracts, and the units of sizes."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal

from engine.kernel.instruments import Instrument, InstrumentKind
from tests.venues.emulators.okx_wire import Row, fmt

_LISTED_MS = "1597026383085"
_FIRST_CODE = 10458
_CONTRACTS = {"BTC": "0.01", "ETH": "0.1", "SOL": "1", "PEPE": "10000000"}
MAX_LIMIT_CONTRACTS = Decimal(100_000_000)
MAX_MARKET_CONTRACTS = Decimal(100_000)
MAX_SPOT_COINS = Decimal(9_999_999_999)
MAX_SPOT_MARKET_USD = Decimal(1_000_000)

INVERSE = {
    "instType": "SWAP", "instId": "BTC-USD-SWAP", "instIdCode": 9999, "uly": "BTC-USD", "instFamily": "BTC-USD",
    "baseCcy": "", "quoteCcy": "", "settleCcy": "BTC", "ctVal": "100", "ctMult": "1", "ctValCcy": "USD",
    "ctType": "inverse", "tickSz": "0.1", "lotSz": "1", "minSz": "1", "maxLmtSz": "1000000", "maxMktSz": "15000",
    "maxLmtAmt": "20000000", "maxMktAmt": "", "lever": "100", "state": "live", "listTime": _LISTED_MS, "expTime": "",
    "ruleType": "normal", "category": "1", "alias": "", "optType": "", "stk": "", "tradeQuoteCcyList": [],
}  # fmt: skip
"""A coin-margined swap, listed beside the others as on the real venue; it cannot be traded here."""


def default_instruments() -> list[Instrument]:
    """Return a small listing with the venue's steps of 2026."""
    return [
        swap("BTC", "0.1", "0.01", "0.01", 100),
        swap("ETH", "0.01", "0.01", "0.01", 100),
        swap("SOL", "0.01", "0.01", "0.01", 50),
        swap("PEPE", "0.000000001", "0.1", "0.1", 50),
        spot("BTC", "0.1", "0.00000001", "0.00001"),
        spot("ETH", "0.01", "0.000001", "0.0001"),
    ]


def swap(base: str, tick: str, lot_contracts: str, min_contracts: str, leverage: int) -> Instrument:
    """Return a USDT swap from its steps in contracts."""
    contract = Decimal(_CONTRACTS[base])
    return Instrument(
        f"{base}-USDT-PERP", "okx", base, "USDT", "USDT", InstrumentKind.PERP, Decimal(tick),
        Decimal(lot_contracts) * contract, Decimal(min_contracts) * contract, contract_size=contract,
        max_leverage=Decimal(leverage), native=f"{base}-USDT-SWAP",
    )  # fmt: skip


def spot(base: str, tick: str, lot: str, minimum: str) -> Instrument:
    """Return a spot pair."""
    return Instrument(
        f"{base}-USDT", "okx", base, "USDT", "USDT", InstrumentKind.SPOT, Decimal(tick), Decimal(lot),
        Decimal(minimum), funding_period_h=0, native=f"{base}-USDT",
    )  # fmt: skip


def adapt(instrument: Instrument) -> Instrument | None:
    """Return an instrument of another market under OKX's name, in contracts where it is a perpetual."""
    if instrument.quote not in ("USDT", "USDC"):
        return None
    pair = f"{instrument.base}-{instrument.quote}"
    if not instrument.is_perp:
        return replace(instrument, native=pair, min_notional=Decimal(0))
    known = _CONTRACTS.get(instrument.base)
    contract = instrument.lot_size * 100 if known is None else Decimal(known)
    return replace(instrument, native=f"{pair}-SWAP", contract_size=contract, min_notional=Decimal(0))


class Units:
    """Sizes and prices of one instrument on the wire: contracts for a swap, coins for spot."""

    def __init__(self, instrument: Instrument, position: int) -> None:
        self.instrument = instrument
        self.native = instrument.native
        self.inst_type = "SWAP" if instrument.is_perp else "SPOT"
        self.code = _FIRST_CODE + position
        self.contract = instrument.contract_size
        self.family = f"{instrument.base}-{instrument.quote}"
        self.lot = instrument.lot_size / self.contract
        self.minimum = instrument.min_quantity / self.contract

    def coins(self, size: Decimal) -> Decimal:
        """Return a size of the wire in coins."""
        return size * self.contract

    def size(self, coins: Decimal) -> str:
        """Return coins as a size of the wire."""
        return fmt(coins / self.contract)

    def market_size(self, coins: float) -> str:
        """Return a public size, which is a float, on the lot."""
        lots = (Decimal(repr(coins)) / self.instrument.lot_size).to_integral_value(ROUND_HALF_EVEN)
        return fmt(lots * self.lot)

    def market_price(self, price: float) -> str:
        """Return a public price, which is a float, on the tick."""
        return fmt(self.instrument.price_from_float(price))

    def row(self, state: str) -> Row:
        """Return the instrument as `instruments` lists it."""
        instrument, perp = self.instrument, self.instrument.is_perp
        return {
            "instType": self.inst_type,
            "instId": self.native,
            "instIdCode": self.code,
            "uly": self.family if perp else "",
            "instFamily": self.family if perp else "",
            "baseCcy": "" if perp else instrument.base,
            "quoteCcy": "" if perp else instrument.quote,
            "settleCcy": instrument.settle if perp else "",
            "ctVal": fmt(self.contract) if perp else "",
            "ctMult": "1" if perp else "",
            "ctValCcy": instrument.base if perp else "",
            "ctType": "linear" if perp else "",
            "tickSz": fmt(instrument.tick_size),
            "lotSz": fmt(self.lot),
            "minSz": fmt(self.minimum),
            "maxLmtSz": fmt(MAX_LIMIT_CONTRACTS if perp else MAX_SPOT_COINS),
            "maxMktSz": fmt(MAX_MARKET_CONTRACTS if perp else MAX_SPOT_MARKET_USD),
            "maxLmtAmt": "20000000",
            "maxMktAmt": "" if perp else fmt(MAX_SPOT_MARKET_USD),
            "lever": fmt(instrument.max_leverage) if perp else "10",
            "state": state,
            "listTime": _LISTED_MS,
            "expTime": "",
            "ruleType": "normal",
            "category": "1",
            "alias": "",
            "optType": "",
            "stk": "",
            "tradeQuoteCcyList": [] if perp else [instrument.quote],
        }
