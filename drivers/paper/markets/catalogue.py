"""The coins and instruments of the synthetic market, at price levels and steps of mid 2024."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from engine.kernel.instruments import Instrument, InstrumentKind, canonical_symbol


@dataclass(slots=True, frozen=True)
class Coin:
    """One coin's price behaviour and trading rules.

    Attributes:
        name: Base currency.
        price: Central price in USD.
        beta: How much it follows the market.
        own_vol: Its own daily volatility (fraction), beside the market's.
        tick: Price step of its perpetual.
        lot: Quantity step of its perpetual.
        min_notional: Smallest perpetual order, quote.
        weight: Share of market activity.
        spread_bp: Usual distance of the best quotes from the fair price, bp.
        trade_usd: Usual size of a trade, USD.
        max_leverage: Highest leverage.
        spot_tick: Price step of its spot market, empty without one.
        spot_lot: Quantity step of its spot market.
        usdc_perp: Whether there is a perpetual against USDC too.
    """

    name: str
    price: float
    beta: float
    own_vol: float
    tick: str
    lot: str
    min_notional: int
    weight: float
    spread_bp: float
    trade_usd: float
    max_leverage: int
    spot_tick: str = ""
    spot_lot: str = ""
    usdc_perp: bool = False


COINS: tuple[Coin, ...] = (
    Coin("BTC", 64_000, 1.00, 0.006, "0.1", "0.0001", 5, 20, 0.05, 4_000, 125, "0.01", "0.00001", True),
    Coin("ETH", 3_150, 1.15, 0.011, "0.01", "0.001", 5, 13, 0.08, 3_000, 100, "0.01", "0.0001", True),
    Coin("SOL", 148, 1.45, 0.020, "0.01", "0.01", 5, 8, 0.4, 1_600, 75, "0.01", "0.001", True),
    Coin("BNB", 580, 0.90, 0.012, "0.01", "0.01", 5, 4, 0.3, 1_200, 75, "0.1", "0.001"),
    Coin("XRP", 0.58, 1.05, 0.019, "0.0001", "0.1", 5, 4, 0.6, 1_000, 75, "0.0001", "1", True),
    Coin("DOGE", 0.124, 1.40, 0.022, "0.00001", "1", 5, 4, 0.6, 900, 75, "0.00001", "1"),
    Coin("ADA", 0.385, 1.20, 0.018, "0.0001", "1", 5, 2, 1.0, 700, 75, "0.0001", "0.1"),
    Coin("AVAX", 27.5, 1.40, 0.021, "0.001", "1", 5, 2, 1.0, 700, 75),
    Coin("LINK", 12.6, 1.25, 0.020, "0.001", "0.01", 5, 2, 1.0, 700, 75, "0.01", "0.01"),
    Coin("SUI", 1.02, 1.50, 0.028, "0.0001", "0.1", 5, 2.5, 1.2, 700, 50),
    Coin("LTC", 68.4, 0.95, 0.015, "0.01", "0.001", 20, 1.5, 1.0, 600, 75),
    Coin("BCH", 345, 1.15, 0.019, "0.01", "0.001", 20, 1.5, 1.0, 600, 75),
    Coin("DOT", 5.2, 1.25, 0.018, "0.001", "0.1", 5, 1.5, 1.5, 500, 75),
    Coin("NEAR", 4.6, 1.45, 0.023, "0.001", "1", 5, 1.5, 1.5, 500, 50),
    Coin("APT", 6.4, 1.40, 0.024, "0.001", "0.1", 5, 1.2, 1.5, 500, 50),
    Coin("ARB", 0.62, 1.40, 0.023, "0.0001", "0.1", 5, 1.2, 1.5, 500, 50),
    Coin("OP", 1.55, 1.40, 0.024, "0.0001", "0.1", 5, 1.2, 1.5, 500, 50),
    Coin("TRX", 0.132, 0.50, 0.010, "0.00001", "1", 5, 1, 0.8, 400, 75),
    Coin("TON", 6.1, 0.95, 0.021, "0.0001", "0.1", 5, 1, 1.5, 400, 50),
    Coin("UNI", 6.9, 1.25, 0.026, "0.001", "1", 5, 1, 1.5, 400, 50),
    Coin("AAVE", 118, 1.20, 0.025, "0.01", "0.1", 5, 1, 1.5, 400, 50),
    Coin("ATOM", 5.3, 1.15, 0.018, "0.001", "0.01", 5, 1, 1.5, 400, 50),
    Coin("PEPE", 0.0000091, 1.60, 0.036, "0.000000001", "100", 5, 2.5, 2.0, 600, 50),
    Coin("WIF", 1.75, 1.70, 0.040, "0.0001", "0.1", 5, 1.5, 2.0, 500, 50),
)


@dataclass(slots=True, frozen=True)
class Listing:
    """An instrument and the coin behind it; `activity` is its share of all events."""

    instrument: Instrument
    coin: Coin
    activity: float


def listings() -> list[Listing]:
    """Return every instrument of the synthetic market: USDT perpetuals, USDC perpetuals, then spot."""
    perps = [_perp(coin, "USDT", coin.weight) for coin in COINS]
    usdc = [_perp(coin, "USDC", coin.weight * 0.1) for coin in COINS if coin.usdc_perp]
    spots = [_spot(coin, coin.weight * 0.3) for coin in COINS if coin.spot_tick]
    return perps + usdc + spots


def _perp(coin: Coin, quote: str, activity: float) -> Listing:
    lot = Decimal(coin.lot)
    instrument = Instrument(
        symbol=canonical_symbol(coin.name, quote, InstrumentKind.PERP),
        venue="paper",
        base=coin.name,
        quote=quote,
        settle=quote,
        kind=InstrumentKind.PERP,
        tick_size=Decimal(coin.tick),
        lot_size=lot,
        min_quantity=lot,
        min_notional=Decimal(coin.min_notional),
        max_leverage=Decimal(coin.max_leverage),
        maintenance_margin_rate=Decimal("0.004") if coin.max_leverage >= 100 else Decimal("0.01"),
    )
    return Listing(instrument, coin, activity)


def _spot(coin: Coin, activity: float) -> Listing:
    lot = Decimal(coin.spot_lot)
    instrument = Instrument(
        symbol=canonical_symbol(coin.name, "USDT", InstrumentKind.SPOT),
        venue="paper",
        base=coin.name,
        quote="USDT",
        settle="USDT",
        kind=InstrumentKind.SPOT,
        tick_size=Decimal(coin.spot_tick),
        lot_size=lot,
        min_quantity=lot,
        min_notional=Decimal(5),
        funding_period_h=0,
    )
    return Listing(instrument, coin, activity)
