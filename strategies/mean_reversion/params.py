"""Parameters of mean reversion, and what it remembers."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from pydantic import Field, model_validator

from engine.kernel.market import TIMEFRAME_MS
from engine.kernel.strategy import Params


class MeanReversionParams(Params):
    """Parameters of mean reversion; z-scores are in population standard deviations."""

    period: int = Field(20, ge=5, le=500, description="bars in the window, 5 to 500")
    entry_z: float = Field(
        2.0, gt=0, le=10, description="enter beyond this z-score; exit_z < entry_z < stop_z, up to 10"
    )
    exit_z: float = Field(0.5, ge=0, le=10, description="leave inside this z-score, 0 to entry_z")
    stop_z: float = Field(3.5, gt=0, le=20, description="give up beyond this z-score, entry_z to 20")
    trigger: str = Field(
        "close",
        pattern="^(close|reenter)$",
        description="close: enter when a close is beyond the band; reenter: when one comes back inside",
    )
    max_slope_z: float = Field(
        1.5, ge=0, le=20, description="no entry while the mean moved more in one window, standard deviations (0 = off)"
    )
    max_hold: int = Field(40, ge=0, le=10000, description="longest time in a position, bars (0 = off)")
    cooldown: int = Field(5, ge=0, le=1000, description="idle after a stop, bars (0 = off)")
    stop_pct: Decimal = Field(Decimal("0.03"), gt=0, lt=1, description="stop distance from entry, fraction below 1")
    amount: Decimal = Field(Decimal(100), gt=0, description="size of the position, USD")
    timeframe: str = Field(
        "15m", description=f"candle length: {', '.join(TIMEFRAME_MS)}", json_schema_extra={"restart": True}
    )
    direction: str = Field(
        "both", pattern="^(both|long_only|short_only)$", description="both, long_only or short_only; spot is long_only"
    )

    @model_validator(mode="after")
    def _check(self) -> MeanReversionParams:
        if not self.exit_z < self.entry_z < self.stop_z:
            raise ValueError(f"exit_z {self.exit_z} < entry_z {self.entry_z} < stop_z {self.stop_z} must hold")
        if self.timeframe not in TIMEFRAME_MS:
            raise ValueError(f"timeframe {self.timeframe!r} must be one of {', '.join(TIMEFRAME_MS)}")
        return self


@dataclass(slots=True)
class Trade:
    """What is remembered of one symbol over a restart. Times are ms, those of bars their opening times.

    Attributes:
        entry_bar: Bar that gave the entry, 0 when flat.
        last_bar: Bar that was handled last.
        entering: Handle of the entry at work.
        leaving: Handle of the exit at work.
        stop_id: Client id of the resting stop.
        stop_replaced: When cancellations of the stop from outside were answered.
        stop_wait_until: No new stop before this time.
        cooldown_until: First bar after a stop that may give an entry.
        waits_inside: Whether a close inside the band is needed first.
        beyond: Side of the band (-1, +1) that a `reenter` waits to come back from.
        note: Why there is no position.
    """

    entry_bar: int = 0
    last_bar: int = 0
    entering: str = ""
    leaving: str = ""
    stop_id: str = ""
    stop_replaced: list[int] = field(default_factory=list)
    stop_wait_until: int = 0
    cooldown_until: int = 0
    waits_inside: bool = False
    beyond: int = 0
    note: str = "waits for the next close"
