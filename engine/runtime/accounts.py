"""Accounts: who trades where, with which limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from engine.io.config import AccountEntry
from engine.kernel.instruments import InstrumentKind

MANUAL = "manual"
"""The instance under which the operator's orders and unexplained fills are kept."""


class Mode(StrEnum):
    """Whether orders reach a real venue with real money."""

    PAPER = "paper"
    LIVE = "live"


@dataclass(slots=True, frozen=True)
class AccountLimits:
    """Risk limits of one account; amounts in USD, shares as fractions, bands in basis points."""

    max_notional_usd: Decimal = Decimal(10_000)
    max_order_usd: Decimal = Decimal(5_000)
    max_leverage: Decimal = Decimal(3)
    daily_loss_pct: Decimal = Decimal("0.03")
    max_drawdown_pct: Decimal = Decimal("0.25")
    price_band_bp: Decimal = Decimal(200)
    max_open_orders: int = 200
    max_orders_per_min: int = 600


@dataclass(slots=True, frozen=True)
class Account:
    """One trading account.

    Attributes:
        index: Position within its venue in the accounts file.
        name: Name in the accounts file.
        venue: Driver that serves it.
        mode: Paper or live.
        default_quote: Quote currency meant when a person types only a coin.
        default_kind: Spot or perpetual, likewise.
        limits: Risk limits, manual orders included.
        market: Source of a paper account's market, or a real venue's environment for trial; the account is kept per
            source.
        environment: `live` (`live_eea` ... where the venue has regions), or a venue's `demo` or `testnet`.
    """

    index: int
    name: str
    venue: str
    mode: Mode = Mode.PAPER
    default_quote: str = "USDT"
    default_kind: InstrumentKind = InstrumentKind.PERP
    limits: AccountLimits = field(default_factory=AccountLimits)
    market: str = ""
    environment: str = "live"

    @property
    def is_trial(self) -> bool:
        """Return whether the venue's environment is one without real money."""
        return not self.environment.startswith("live")

    @property
    def key(self) -> str:
        """Return the name under which files and records of this account are kept."""
        return f"{self.venue}:{self.name}@{self.market}" if self.market else f"{self.venue}:{self.name}"


def account_of(entry: AccountEntry) -> Account:
    """Return the account that an entry of the accounts file describes."""
    limits = entry.limits
    return Account(
        index=entry.index,
        name=entry.name,
        venue=entry.venue,
        mode=Mode(entry.mode),
        default_quote=entry.default_quote,
        default_kind=InstrumentKind(entry.default_kind),
        limits=AccountLimits(
            max_notional_usd=limits.max_notional_usd,
            max_order_usd=limits.max_order_usd,
            max_leverage=limits.max_leverage,
            daily_loss_pct=limits.daily_loss_pct,
            max_drawdown_pct=limits.max_drawdown_pct,
            price_band_bp=limits.price_band_bp,
            max_open_orders=limits.max_open_orders,
            max_orders_per_min=limits.max_orders_per_min,
        ),
    )
