"""Limits in force for one instance, and their figures in words."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.kernel.errors import RiskConfigConflict
from engine.kernel.strategy import RiskParams
from engine.runtime.accounts import AccountLimits

DEFAULT_NOTIONAL_USD = Decimal(1000)
BP = Decimal(10_000)


class InstanceLimits(msgspec.Struct, frozen=True):
    """Limits of one instance with nothing left open; loss limits are None for the operator's own orders.

    Amounts in USD, shares as fractions, the band in basis points.
    """

    max_notional_usd: Decimal
    max_order_usd: Decimal
    max_open_orders: int
    max_cmds_per_min: int
    price_band_bp: Decimal
    stop_loss_pct: Decimal | None = None
    daily_loss_pct: Decimal | None = None
    max_drawdown_pct: Decimal | None = None


def operator_limits(account: AccountLimits) -> InstanceLimits:
    """Return the limits of orders by hand: those of the account."""
    return InstanceLimits(
        max_notional_usd=account.max_notional_usd,
        max_order_usd=account.max_order_usd,
        max_open_orders=account.max_open_orders,
        max_cmds_per_min=account.max_orders_per_min,
        price_band_bp=account.price_band_bp,
    )


def instance_limits(instance: str, params: RiskParams, account: AccountLimits) -> InstanceLimits:
    """Return the limits of a strategy instance: what it asks for, within what its account allows.

    A limit that was left to its default is lowered to the account's; one that was asked for is not.

    Raises:
        RiskConfigConflict: A limit that was asked for is above the account's.
    """
    if params.max_notional_usd is not None and params.max_notional_usd > account.max_notional_usd:
        raise RiskConfigConflict(
            f"{instance} max_notional_usd", usd(params.max_notional_usd), usd(account.max_notional_usd)
        )
    if params.max_order_usd is not None and params.max_order_usd > account.max_order_usd:
        raise RiskConfigConflict(f"{instance} max_order_usd", usd(params.max_order_usd), usd(account.max_order_usd))
    largest, whole = params.max_order_usd, params.max_notional_usd
    if largest is not None and whole is not None and largest > whole:
        raise RiskConfigConflict(f"{instance} max_order_usd, at most its max_notional_usd", usd(largest), usd(whole))
    asked = params.model_fields_set
    if "max_open_orders" in asked and params.max_open_orders > account.max_open_orders:
        raise RiskConfigConflict(f"{instance} max_open_orders", params.max_open_orders, account.max_open_orders)
    if "max_cmds_per_min" in asked and params.max_cmds_per_min > account.max_orders_per_min:
        raise RiskConfigConflict(f"{instance} max_cmds_per_min", params.max_cmds_per_min, account.max_orders_per_min)
    if "price_band_bp" in asked and params.price_band_bp > account.price_band_bp:
        raise RiskConfigConflict(
            f"{instance} price_band_bp", f"{number(params.price_band_bp)} bp", f"{number(account.price_band_bp)} bp"
        )
    notional = params.max_notional_usd or min(DEFAULT_NOTIONAL_USD, account.max_notional_usd)
    return InstanceLimits(
        max_notional_usd=notional,
        max_order_usd=params.max_order_usd or min(notional, account.max_order_usd),
        max_open_orders=min(params.max_open_orders, account.max_open_orders),
        max_cmds_per_min=min(params.max_cmds_per_min, account.max_orders_per_min),
        price_band_bp=min(params.price_band_bp, account.price_band_bp),
        stop_loss_pct=params.stop_loss_pct,
        daily_loss_pct=params.daily_loss_pct,
        max_drawdown_pct=params.max_drawdown_pct,
    )


def number(value: Decimal, places: int | None = None) -> str:
    """Return a figure with thousands separators and no useless zeros, rounded to `places` if given."""
    text = f"{value:,f}" if places is None else f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def usd(value: Decimal) -> str:
    """Return an amount rounded to cents, such as `5,000 USD`."""
    return f"{number(value, 2)} USD"


def percent(fraction: Decimal) -> str:
    """Return a fraction in per cent, such as `3 %`."""
    return f"{number(fraction * 100, 2)} %"
