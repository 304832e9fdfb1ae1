"""What the Binance emulator lists: native names, units and filters over the paper venue's canonical instruments.

Perpetuals settle in a wallet of their own inside the paper venue (`USDT.F`), as futures and spot wallets are apart at
Binance. Prices and sizes cross this border: a 1000-coin symbol's price is 1000 times the coin's, its size 1/1000.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from engine.kernel.instruments import Instrument, InstrumentKind, canonical_symbol, decimal_places
from tests.venues.emulators.binance_wire import BinanceError, Product, fixed

FUTURES_WALLET = ".F"
MARGIN_ASSETS = ("USDT", "USDC")
SPOT_PLACES = 8
_THOUSANDS = ("PEPE", "SHIB", "BONK", "FLOKI", "XEC", "LUNC")
_LARGEST_PRICE = Decimal(4_529_764)


@dataclass(frozen=True, slots=True)
class Listing:
    """One symbol in Binance's units.

    Attributes:
        instrument: The paper venue's instrument, canonical name and coins.
        multiplier: Coins in one unit of the native size.
        price_precision: Decimals of prices on the wire; may be more than the tick's.
        market_max_qty: Largest market order.
    """

    instrument: Instrument
    native: str
    product: Product
    multiplier: Decimal
    tick: Decimal
    step: Decimal
    min_qty: Decimal
    max_qty: Decimal
    market_max_qty: Decimal
    min_notional: Decimal
    price_precision: int
    qty_precision: int

    @property
    def symbol(self) -> str:
        return self.instrument.symbol

    @property
    def is_futures(self) -> bool:
        return self.product is Product.FUTURES

    @property
    def base_asset(self) -> str:
        return f"1000{self.instrument.base}" if self.multiplier > 1 else self.instrument.base

    @property
    def quote_asset(self) -> str:
        return self.instrument.quote

    def to_price(self, native: Decimal) -> Decimal:
        return native / self.multiplier

    def to_qty(self, native: Decimal) -> Decimal:
        return native * self.multiplier

    def price_text(self, price: Decimal | float | None) -> str:
        """Return a canonical price as it stands on the wire; market data (float) is put on the tick."""
        if price is None:
            price = Decimal(0)
        if isinstance(price, float):
            price = self.instrument.price_from_float(price)
        return fixed(price * self.multiplier, self.price_precision)

    def mark_text(self, price: Decimal | float | None) -> str:
        """Return a mark, index or average price, with 8 decimals."""
        exact = Decimal(0) if price is None else Decimal(str(price))
        return fixed(exact * self.multiplier, 8)

    def qty_text(self, quantity: Decimal | float) -> str:
        """Return a canonical quantity as it stands on the wire."""
        exact = quantity if isinstance(quantity, Decimal) else Decimal(repr(quantity))
        return fixed(exact / self.multiplier, self.qty_precision)


_PERPS = (
    # base, tick, step, max, market max, minimum notional, price precision, quantity precision, leverage
    ("BTC", "0.10", "0.001", "1000", "120", "100", 2, 3, 125),
    ("ETH", "0.01", "0.001", "10000", "2000", "20", 2, 3, 100),
    ("SOL", "0.0100", "0.01", "1000000", "80000", "5", 4, 2, 75),
    ("PEPE", "0.0000001", "1", "200000000", "40000000", "5", 7, 0, 50),
)
_SPOTS = (
    ("BTC", "0.01", "0.00001", "9000", "100", "5"),
    ("ETH", "0.01", "0.0001", "9000", "2000", "5"),
    ("PEPE", "0.00000001", "1", "92141578", "50000000", "1"),
)


def default_listings() -> list[Listing]:
    """Return BTCUSDT, ETHUSDT, SOLUSDT, 1000PEPEUSDT perpetuals and BTCUSDT, ETHUSDT, PEPEUSDT spot."""
    found = []
    for base, tick, step, most, market_most, notional, price_places, qty_places, leverage in _PERPS:
        multiplier = _multiplier(base, InstrumentKind.PERP)
        native = f"{'1000' if multiplier > 1 else ''}{base}USDT"
        instrument = Instrument(
            symbol=canonical_symbol(base, "USDT", InstrumentKind.PERP),
            venue="paper",
            base=base,
            quote="USDT",
            settle="USDT" + FUTURES_WALLET,
            kind=InstrumentKind.PERP,
            tick_size=(Decimal(tick) / multiplier).normalize(),
            lot_size=Decimal(step) * multiplier,
            min_quantity=Decimal(step) * multiplier,
            min_notional=Decimal(notional),
            max_leverage=Decimal(leverage),
            maintenance_margin_rate=Decimal("0.004"),
            funding_period_h=4 if multiplier > 1 else 8,
            native=native,
        )
        found.append(
            Listing(
                instrument, native, Product.FUTURES, multiplier,
                Decimal(tick), Decimal(step), Decimal(step), Decimal(most), Decimal(market_most), Decimal(notional),
                price_places, qty_places,
            )
        )  # fmt: skip
    for base, tick, step, most, market_most, notional in _SPOTS:
        instrument = Instrument(
            symbol=canonical_symbol(base, "USDT", InstrumentKind.SPOT),
            venue="paper",
            base=base,
            quote="USDT",
            settle="USDT",
            kind=InstrumentKind.SPOT,
            tick_size=Decimal(tick),
            lot_size=Decimal(step),
            min_quantity=Decimal(step),
            min_notional=Decimal(notional),
            funding_period_h=0,
            native=f"{base}USDT",
        )
        found.append(
            Listing(
                instrument, f"{base}USDT", Product.SPOT, Decimal(1), Decimal(tick), Decimal(step), Decimal(step),
                Decimal(most), Decimal(market_most), Decimal(notional), SPOT_PLACES, SPOT_PLACES,
            )
        )  # fmt: skip
    return found


def listing_of(instrument: Instrument) -> Listing:
    """Return how a market model's own instrument is listed."""
    spot = instrument.kind is InstrumentKind.SPOT
    multiplier = _multiplier(instrument.base, instrument.kind)
    tick, step = instrument.tick_size * multiplier, instrument.lot_size / multiplier
    native = f"{'1000' if multiplier > 1 else ''}{instrument.base}{instrument.quote}"
    inner = replace(
        instrument,
        native=native,
        settle=instrument.settle if spot else instrument.settle.removesuffix(FUTURES_WALLET) + FUTURES_WALLET,
    )
    return Listing(
        instrument=inner,
        native=native,
        product=Product.SPOT if spot else Product.FUTURES,
        multiplier=multiplier,
        tick=tick,
        step=step,
        min_qty=instrument.min_quantity / multiplier,
        max_qty=step * 10_000_000,
        market_max_qty=step * 1_000_000,
        min_notional=instrument.min_notional,
        price_precision=SPOT_PLACES if spot else decimal_places(tick),
        qty_precision=SPOT_PLACES if spot else decimal_places(step),
    )


def _multiplier(base: str, kind: InstrumentKind) -> Decimal:
    return Decimal(1000) if kind is InstrumentKind.PERP and base in _THOUSANDS else Decimal(1)


class Catalogue:
    """Listings by canonical and by native name."""

    def __init__(self, listings: Iterable[Listing]) -> None:
        self.by_symbol = {listing.symbol: listing for listing in listings}
        self._native = {(listing.product, listing.native): listing for listing in self.by_symbol.values()}

    def of(self, product: Product) -> list[Listing]:
        return [listing for listing in self.by_symbol.values() if listing.product is product]

    def find(self, product: Product, native: str) -> Listing:
        """Return the listing of a native name.

        Raises:
            BinanceError: -1121 when there is none.
        """
        listing = self._native.get((product, native))
        if listing is None:
            raise BinanceError(-1121, "Invalid symbol.")
        return listing

    def known(self, product: Product, native: str) -> Listing | None:
        return self._native.get((product, native))


def asset_of(currency: str) -> str:
    """Return Binance's name of a paper currency, whichever wallet it lies in."""
    return currency.removesuffix(FUTURES_WALLET)


FUTURES_LIMITS = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400},
    {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
]
SPOT_LIMITS = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
    {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200_000},
    {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300_000},
]
MAX_ORDERS = 200


def futures_symbol(listing: Listing, status: str) -> dict[str, object]:
    """Return a symbol's entry in /fapi/v1/exchangeInfo."""
    top = fixed(_LARGEST_PRICE, listing.price_precision) if listing.tick >= Decimal("0.001") else "200"
    return {
        "symbol": listing.native,
        "pair": listing.native,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": listing.base_asset,
        "quoteAsset": listing.quote_asset,
        "marginAsset": listing.quote_asset,
        "pricePrecision": listing.price_precision,
        "quantityPrecision": listing.qty_precision,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": fixed(listing.tick, listing.price_precision),
                "maxPrice": top,
                "tickSize": fixed(listing.tick, listing.price_precision),
            },
            _size_filter("LOT_SIZE", listing, listing.max_qty),
            _size_filter("MARKET_LOT_SIZE", listing, listing.market_max_qty),
            {"filterType": "MAX_NUM_ORDERS", "limit": MAX_ORDERS},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
            {"filterType": "MIN_NOTIONAL", "notional": f"{listing.min_notional:f}"},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": "1.0500",
                "multiplierDown": "0.9500",
                "multiplierDecimal": "4",
            },
            {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
        ],
        "orderTypes": [
            "LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET",
        ],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "permissionSets": ["GRID", "COPY"],
    }  # fmt: skip


def spot_symbol(listing: Listing, status: str) -> dict[str, object]:
    """Return a symbol's entry in /api/v3/exchangeInfo."""
    return {
        "symbol": listing.native,
        "status": status,
        "baseAsset": listing.base_asset,
        "baseAssetPrecision": SPOT_PLACES,
        "quoteAsset": listing.quote_asset,
        "quotePrecision": SPOT_PLACES,
        "quoteAssetPrecision": SPOT_PLACES,
        "baseCommissionPrecision": SPOT_PLACES,
        "quoteCommissionPrecision": SPOT_PLACES,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": fixed(listing.tick, SPOT_PLACES),
                "maxPrice": "1000000.00000000",
                "tickSize": fixed(listing.tick, SPOT_PLACES),
            },
            _size_filter("LOT_SIZE", listing, listing.max_qty),
            {"filterType": "ICEBERG_PARTS", "limit": 100},
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": fixed(Decimal(0), SPOT_PLACES),
                "maxQty": fixed(listing.market_max_qty, SPOT_PLACES),
                "stepSize": fixed(Decimal(0), SPOT_PLACES),
            },
            {
                "filterType": "PERCENT_PRICE_BY_SIDE",
                "bidMultiplierUp": "5",
                "bidMultiplierDown": "0.2",
                "askMultiplierUp": "5",
                "askMultiplierDown": "0.2",
                "avgPriceMins": 5,
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": fixed(listing.min_notional, SPOT_PLACES),
                "applyMinToMarket": True,
                "maxNotional": "9000000.00000000",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": MAX_ORDERS},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }


def _size_filter(name: str, listing: Listing, most: Decimal) -> dict[str, str]:
    places = listing.qty_precision
    return {
        "filterType": name,
        "minQty": fixed(listing.min_qty, places),
        "maxQty": fixed(most, places),
        "stepSize": fixed(listing.step, places),
    }
