"""A desk with known figures for the tests of the prompt."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from msgspec import structs

from ctos_tui.command.desk import Desk, Market
from ctos_tui.guard.levels import GuardLimits
from engine.kernel.instruments import Instrument, InstrumentKind, canonical_symbol
from engine.kernel.orders import Order, OrderState, OrderType, Side

D = Decimal
NOW_NS = 1_767_323_045 * 10**9


def instrument(base: str, kind: InstrumentKind, tick: str, lot: str, quote: str = "USDT") -> Instrument:
    return Instrument(
        symbol=canonical_symbol(base, quote, kind),
        venue="paper",
        base=base,
        quote=quote,
        settle=quote,
        kind=kind,
        tick_size=D(tick),
        lot_size=D(lot),
        min_quantity=D(lot),
        min_notional=D(5),
        contract_size=D("0.01"),
        max_leverage=D(100),
        maker_fee=D("0.0002") if kind is InstrumentKind.PERP else D("0.001"),
        taker_fee=D("0.0005") if kind is InstrumentKind.PERP else D("0.001"),
    )


BTC = Market(
    instrument("BTC", InstrumentKind.PERP, "0.1", "0.0001"),
    bid=D("64249.5"),
    ask=D("64249.6"),
    last=D("64249.6"),
    mark=D("64250"),
    bid_depth=D(20),
    ask_depth=D(30),
    age_ms=20,
    position=D("0.12"),
    entry=D(64120),
    leverage=D(100),
    turnover=9e9,
)
ETH = Market(
    instrument("ETH", InstrumentKind.PERP, "0.01", "0.001"),
    bid=D("3412.10"),
    ask=D("3412.20"),
    last=D("3412.10"),
    mark=D("3412.15"),
    bid_depth=D(500),
    ask_depth=D(500),
    age_ms=20,
    position=D("-0.4"),
    entry=D("3420.5"),
    leverage=D(10),
    turnover=5e9,
)
SOL = Market(
    instrument("SOL", InstrumentKind.PERP, "0.01", "0.1"),
    bid=D("182.40"),
    ask=D("182.41"),
    last=D("182.40"),
    mark=D("182.40"),
    bid_depth=D(5000),
    ask_depth=D(5000),
    age_ms=20,
    leverage=D(10),
    turnover=2e9,
)
BTC_SPOT = Market(
    instrument("BTC", InstrumentKind.SPOT, "0.01", "0.00001"),
    bid=D("64240.00"),
    ask=D("64240.50"),
    last=D("64240.00"),
    age_ms=20,
    position=D("0.25"),
    turnover=3e9,
)


def order(label: int, symbol: str, side: Side, quantity: str, price: str, **fields: object) -> Order:
    made = Order(
        client_id=f"AB01manuae{label:08d}",
        instance="manual",
        symbol=symbol,
        side=side,
        type=OrderType.POST_ONLY,
        quantity=D(quantity),
        price=D(price),
        state=OrderState.OPEN,
        created_ns=NOW_NS - 12 * 10**9,
        label=label,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


ORDERS = (
    order(12, "BTC-USDT-PERP", Side.SELL, "0.0020", "64512.4"),
    order(13, "BTC-USDT-PERP", Side.BUY, "0.0020", "64010.0"),
    order(14, "ETH-USDT-PERP", Side.BUY, "0.500", "3400.00"),
)


def desk(**fields: object) -> Desk:
    """An armed desk on BTC with 10,234.55 of equity and wide limits."""
    made = Desk(
        now_ns=NOW_NS,
        focus="BTC-USDT-PERP",
        markets={market.instrument.symbol: market for market in (BTC, ETH, SOL, BTC_SPOT)},
        orders=ORDERS,
        watch=("SOL-USDT-PERP",),
        equity=D("10234.55"),
        free=D("9000"),
        exposure=D("9075"),
        limits=GuardLimits(soft_order=D(50_000), hard_order=D(100_000), hard_exposure=D(200_000)),
        armed_all=True,
    )
    return structs.replace(made, **fields)  # type: ignore[arg-type]
