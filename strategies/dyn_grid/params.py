"""Parameters of the dynamic grid."""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field, model_validator

from engine.kernel.strategy import Params

PRESETS: dict[str, tuple[Decimal, Decimal]] = {
    "388_long": (Decimal("0.9612"), Decimal("1.0188")),
    "388_short": (Decimal("0.9812"), Decimal("1.0388")),
    "wide": (Decimal("0.988"), Decimal("1.038")),
}
"""Preset name -> (buy_grid_step, sell_grid_step)."""


class DynGridParams(Params):
    """Parameters of the dynamic grid; steps are ratios to the baseline."""

    base_amount: Decimal = Field(Decimal("8.88"), ge=1, le=10000, description="size of each order, USD, 1 to 10000")
    base_qty: Decimal = Field(Decimal(0), ge=0, description="size in coins; above 0 it replaces base_amount")
    buy_grid_step: Decimal = Field(
        Decimal("0.966"), ge=Decimal("0.5"), le=Decimal("0.9999"), description="buy price, x baseline, 0.5 to 0.9999"
    )
    sell_grid_step: Decimal = Field(
        Decimal("1.018"), ge=Decimal("1.0001"), le=2, description="sell price, x baseline, 1.0001 to 2"
    )
    buy_move_step: Decimal = Field(
        Decimal("0.99"), gt=0, le=1, description="baseline after a buy, x baseline, buy_grid_step to 1"
    )
    sell_move_step: Decimal = Field(
        Decimal("1.01"), ge=1, le=2, description="baseline after a sell, x baseline, 1 to sell_grid_step"
    )
    preset: str = Field(
        "none",
        pattern=f"^(none|{'|'.join(PRESETS)})$",
        description="none, 388_long (0.9612 / 1.0188), 388_short (0.9812 / 1.0388) or wide (0.988 / 1.038): "
        "sets the two grid steps",
    )
    guard_low: Decimal = Field(Decimal("0.8"), ge=0, le=1, description="freeze below this ratio to the start, 0 to 1")
    guard_high: Decimal = Field(Decimal(2), gt=1, description="freeze above this ratio to the start, more than 1")
    guard_action: str = Field(
        "freeze", pattern="^(freeze|flatten)$", description="at the guard: freeze, or flatten the position too"
    )
    max_inventory: Decimal = Field(
        Decimal("88.8"), gt=0, description="largest position per symbol and direction, USD, at least base_amount"
    )
    allow_short: bool | None = Field(None, description="sell below zero; when not given: yes on perpetuals")
    catch_up: str = Field(
        "skip", pattern="^(skip|chase)$", description="steps the price jumped over: skip, or chase at the touch"
    )
    funding_guard: bool = Field(
        False, description="no order that would pay more than 0.05 % funding in the minute before it is due"
    )

    @model_validator(mode="after")
    def _apply_preset(self) -> DynGridParams:
        if self.preset in PRESETS:
            for name, step in zip(("buy_grid_step", "sell_grid_step"), PRESETS[self.preset], strict=True):
                if name in self.model_fields_set and getattr(self, name) != step:
                    raise ValueError(f"preset {self.preset} sets {name} to {step}; give preset=none to choose your own")
                object.__setattr__(self, name, step)
        return self

    @model_validator(mode="after")
    def _check_steps(self) -> DynGridParams:
        if self.buy_move_step < self.buy_grid_step:
            raise ValueError(
                f"buy_move_step {self.buy_move_step} must lie between buy_grid_step {self.buy_grid_step} and 1"
            )
        if self.sell_move_step > self.sell_grid_step:
            raise ValueError(
                f"sell_move_step {self.sell_move_step} must lie between 1 and sell_grid_step {self.sell_grid_step}"
            )
        if self.max_inventory < self.base_amount and not self.base_qty:
            raise ValueError(f"max_inventory {self.max_inventory} must be at least base_amount {self.base_amount}")
        return self

    @property
    def round_trip(self) -> Decimal:
        """Return the smaller of the two price ratios that a full cycle earns."""
        after_buy = self.buy_move_step * self.sell_grid_step / self.buy_grid_step
        after_sell = self.sell_grid_step / (self.sell_move_step * self.buy_grid_step)
        return min(after_buy, after_sell)
