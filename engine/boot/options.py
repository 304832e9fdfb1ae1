"""What the command line says about the system to build."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.kernel.errors import ConfigError

FULL_SPEED = "max"


@dataclass(slots=True, frozen=True)
class SystemOptions:
    """Choices of the command line; None means: as configured.

    Attributes:
        account: Position or name in the accounts file.
        exchange: Venue of the account.
        mode: `paper` lowers a live account to paper.
        config: Folder of the configuration files.
        market: `synthetic:SEED`, `replay:FILE`, `live` or `live:VENUE`; of accounts on paper.
        speed: `1`, a number, or `max`.
        seed: Seed of all randomness.
        tells_life: Whether start and end of the engine are news for the targets of notifications.
        guards: Whether this program has the account in care: its strategies go on, and resting orders are its to cancel
            when it crashes or ends. A short command leaves both as they are, and the watchdog of an engine that has
            crashed to its work.
    """

    account: str = "0"
    exchange: str | None = None
    mode: str | None = None
    config: str | None = None
    market: str | None = None
    speed: str | None = None
    seed: int | None = None
    tells_life: bool = True
    guards: bool = True

    def __post_init__(self) -> None:
        """Refuse a speed that means nothing.

        Raises:
            ConfigError: The speed is neither `max` nor a positive number.
        """
        if self.speed is not None and self.speed != FULL_SPEED:
            self._factor()

    @property
    def is_full_speed(self) -> bool:
        """Return whether the market runs as fast as the machine can."""
        return self.speed == FULL_SPEED

    @property
    def speed_factor(self) -> float:
        """Return market seconds per real second, 1 unless set."""
        return 1.0 if self.speed in (None, FULL_SPEED) else self._factor()

    def _factor(self) -> float:
        try:
            factor = float(str(self.speed))
        except ValueError:
            factor = math.nan
        if not (0 < factor <= 10_000):
            raise ConfigError(f"--speed {self.speed!r}: must be max, or a number above 0 and up to 10000")
        return factor
