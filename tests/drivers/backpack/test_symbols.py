"""Names of markets, thousands among them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from drivers.backpack import arch, default_instruments
from drivers.backpack.symbols import parse_native
from drivers.transport.arch import venue_features
from engine.kernel.errors import UnknownSymbol
from engine.kernel.instruments import InstrumentKind


@pytest.mark.parametrize(
    ("native", "symbol", "multiplier"),
    [
        ("SOL_USDC", "SOL-USDC", 1),
        ("SOL_USDC_PERP", "SOL-USDC-PERP", 1),
        ("kPEPE_USDC_PERP", "PEPE-USDC-PERP", 1000),
        ("kBONK_USDC_PERP", "BONK-USDC-PERP", 1000),
        ("KMNO_USDC", "KMNO-USDC", 1),
        ("JitoSOL_SOL", "JITOSOL-SOL", 1),
        ("2Z_USDC_PERP", "2Z-USDC-PERP", 1),
    ],
)
def test_a_market_has_a_canonical_name(native, symbol, multiplier):
    listing = parse_native(native)
    assert (listing.symbol, listing.multiplier, listing.native) == (symbol, multiplier, native)
    assert listing.kind is (InstrumentKind.PERP if native.endswith("PERP") else InstrumentKind.SPOT)


@pytest.mark.parametrize(
    "native", ["", "SOLUSDC", "SOL_USDC_RFQ", "BTC_USDC_27MAR26", "QQQ.US_USDC_PERP", "_USDC", "A_B_C_PERP", "x" * 99]
)
def test_what_is_no_pair_or_perpetual_of_a_coin_is_refused(native):
    with pytest.raises(UnknownSymbol):
        parse_native(native)


def test_the_description_fits_and_its_instruments_are_exact():
    features = venue_features(arch())
    assert (features.stops, features.amends, features.dead_man, features.leverage) == (False, False, False, False)
    listed = {instrument.symbol: instrument for instrument in default_instruments()}
    pepe = listed["PEPE-USDC-PERP"]
    assert (pepe.tick_size, pepe.lot_size, pepe.native) == (Decimal("1e-9"), Decimal(1000), "kPEPE_USDC_PERP")
    assert listed["SOL-USDC"].max_leverage == 1
    assert listed["SOL-USDC-PERP"].funding_period_h == 1
