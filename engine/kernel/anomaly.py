"""Vocabulary of the system monitor: what can be wrong, how badly, and from which value on."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class Severity(StrEnum):
    """How much an anomaly matters: shown, notified, or also blocking new entries in its scope."""

    INFO = "INFO"
    WARN = "WARN"
    CRIT = "CRIT"

    @property
    def rank(self) -> int:
        """Return 0 for INFO, 1 for WARN, 2 for CRIT."""
        return _RANKS[self]


_RANKS = {Severity.INFO: 0, Severity.WARN: 1, Severity.CRIT: 2}


class AnomalyKind(StrEnum):
    """Kinds that the monitor itself raises; strategies may raise others under names of their own."""

    PRICE_JUMP = "price_jump"
    POSITION_DRIFT = "position_drift"
    EXTERNAL_TRADE = "external_trade"
    PNL_SWING = "pnl_swing"
    RISK_RATIO = "risk_ratio"
    LARGE_POSITION = "large_position"
    LIQ_DISTANCE = "liq_distance"
    LEVERAGE = "leverage"
    MARGIN = "margin"
    EQUITY_GAP = "equity_gap"
    STALE_DATA = "stale_data"
    UNPRICED = "unpriced"
    ORDER_STUCK = "order_stuck"
    FEE_SURPRISE = "fee_surprise"
    FUNDING_SURPRISE = "funding_surprise"
    FUNDING_RATE = "funding_rate"
    REJECT_RATE = "reject_rate"
    CLOCK_SKEW = "clock_skew"
    STRATEGY_FAULT = "strategy_fault"


TITLES: dict[str, str] = {
    AnomalyKind.PRICE_JUMP: "Price Anomaly",
    AnomalyKind.POSITION_DRIFT: "Position Value Anomaly",
    AnomalyKind.EXTERNAL_TRADE: "External Trade",
    AnomalyKind.PNL_SWING: "PnL Anomaly",
    AnomalyKind.RISK_RATIO: "Risk Threshold Exceeded",
    AnomalyKind.LARGE_POSITION: "Large Position Warning",
    AnomalyKind.LIQ_DISTANCE: "Liquidation Near",
    AnomalyKind.LEVERAGE: "Leverage Exceeded",
    AnomalyKind.MARGIN: "Margin Used",
    AnomalyKind.EQUITY_GAP: "Equity Gap",
    AnomalyKind.STALE_DATA: "Stale Data",
    AnomalyKind.UNPRICED: "Worth Not Known",
    AnomalyKind.ORDER_STUCK: "Order Stuck",
    AnomalyKind.FEE_SURPRISE: "Fee Surprise",
    AnomalyKind.FUNDING_SURPRISE: "Funding Surprise",
    AnomalyKind.FUNDING_RATE: "Funding Against Position",
    AnomalyKind.REJECT_RATE: "Orders Rejected",
    AnomalyKind.CLOCK_SKEW: "Clock Skew",
    AnomalyKind.STRATEGY_FAULT: "Position Processing Error",
}
"""Report titles by kind."""


@dataclass(slots=True, frozen=True)
class Levels:
    """From which value on a kind is raised, and beyond which it clears.

    Attributes:
        warn: Value of a warning.
        crit: Value of a critical anomaly, None when there is none.
        clear: Value beyond which it clears.
        falling: Whether low values are the bad ones.
    """

    warn: Decimal
    crit: Decimal | None
    clear: Decimal
    falling: bool = False

    def severity(self, value: Decimal) -> Severity | None:
        """Return how bad a value is, None when it raises nothing."""
        if self.crit is not None and self._reaches(value, self.crit):
            return Severity.CRIT
        return Severity.WARN if self._reaches(value, self.warn) else None

    def is_clear(self, value: Decimal) -> bool:
        """Return whether a value is beyond the clear level."""
        return value > self.clear if self.falling else value < self.clear

    def is_consistent(self) -> bool:
        """Return whether clear, warn and crit stand in order."""
        sign = -1 if self.falling else 1
        order = [self.clear * sign, self.warn * sign] + ([] if self.crit is None else [self.crit * sign])
        return order == sorted(order)

    def _reaches(self, value: Decimal, level: Decimal) -> bool:
        return value <= level if self.falling else value >= level


UNITS: dict[str, str] = {
    AnomalyKind.PRICE_JUMP: "%",
    AnomalyKind.POSITION_DRIFT: "USD",
    AnomalyKind.PNL_SWING: "USD",
    AnomalyKind.RISK_RATIO: "%",
    AnomalyKind.LARGE_POSITION: "%",
    AnomalyKind.LIQ_DISTANCE: "%",
    AnomalyKind.LEVERAGE: "x",
    AnomalyKind.MARGIN: "%",
    AnomalyKind.EQUITY_GAP: "%",
    AnomalyKind.STALE_DATA: "s",
    AnomalyKind.UNPRICED: "s",
    AnomalyKind.ORDER_STUCK: "s",
    AnomalyKind.FEE_SURPRISE: "bp",
    AnomalyKind.FUNDING_SURPRISE: "%",
    AnomalyKind.FUNDING_RATE: "%",
    AnomalyKind.REJECT_RATE: "%",
    AnomalyKind.CLOCK_SKEW: "s",
}
"""How values are shown to people: shares as percent or basis points, amounts in USD, times in seconds."""


DEFAULT_LEVELS: dict[str, Levels] = {
    AnomalyKind.PRICE_JUMP: Levels(Decimal("0.05"), Decimal("0.10"), Decimal("0.025")),
    AnomalyKind.POSITION_DRIFT: Levels(Decimal(20), Decimal(200), Decimal(0)),
    AnomalyKind.PNL_SWING: Levels(Decimal(100), Decimal(300), Decimal(50)),
    AnomalyKind.RISK_RATIO: Levels(Decimal("0.20"), Decimal("0.40"), Decimal("0.15")),
    AnomalyKind.LARGE_POSITION: Levels(Decimal("0.50"), Decimal("1.00"), Decimal("0.45")),
    AnomalyKind.LIQ_DISTANCE: Levels(Decimal("0.15"), Decimal("0.07"), Decimal("0.18"), falling=True),
    AnomalyKind.LEVERAGE: Levels(Decimal(3), None, Decimal("2.7")),
    AnomalyKind.MARGIN: Levels(Decimal("0.70"), Decimal("0.85"), Decimal("0.63")),
    AnomalyKind.EQUITY_GAP: Levels(Decimal("0.01"), Decimal("0.01"), Decimal("0.002")),
    AnomalyKind.STALE_DATA: Levels(Decimal(10), Decimal(60), Decimal(10)),
    AnomalyKind.ORDER_STUCK: Levels(Decimal(10), Decimal(30), Decimal(10)),
    AnomalyKind.FEE_SURPRISE: Levels(Decimal("0.0001"), None, Decimal("0.00005")),
    AnomalyKind.FUNDING_SURPRISE: Levels(Decimal("0.20"), None, Decimal("0.20")),
    AnomalyKind.FUNDING_RATE: Levels(Decimal("0.001"), None, Decimal("0.001")),
    AnomalyKind.REJECT_RATE: Levels(Decimal("0.20"), Decimal("0.50"), Decimal("0.10")),
    AnomalyKind.CLOCK_SKEW: Levels(Decimal(1), Decimal(5), Decimal("0.5")),
}
"""Levels unless configured: shares of the price, position, equity, notional, payment or orders; USD for position_drift
and pnl_swing; seconds for stale_data, order_stuck and clock_skew. The engine widens position_drift to one lot and
pnl_swing to 1 % of equity."""
