"""Settings of the paper venue and the place where its state is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from engine.kernel.errors import ConfigError
from engine.kernel.instruments import Instrument


class QueueModel(StrEnum):
    """When a resting order fills: behind the size that stood before it, or as soon as a print touches it."""

    FIFO = "fifo"
    TOUCH = "touch"


class StopTrigger(StrEnum):
    """Which price fires a stop."""

    LAST = "last"
    MARK = "mark"


def _default_balances() -> dict[str, Decimal]:
    return {"USDT": Decimal(10_000), "USDC": Decimal(10_000)}


@dataclass(slots=True, frozen=True)
class PaperConfig:
    """Settings of the paper venue.

    Attributes:
        balances: First deposits, by currency.
        perp_maker: Fee of a resting order on perpetuals, share of notional.
        perp_taker: Fee of a taking order on perpetuals, share of notional.
        spot_maker: Fee of a resting order on spot, share of notional.
        spot_taker: Fee of a taking order on spot, share of notional.
        coin_fees: Whether a spot buy pays its fee in the coins that it buys, not in quote.
        latency_ms: Time from a request to its being carried out and answered.
        jitter_ms: Largest random addition to the latency.
        queue: Fill model of resting orders.
        leverage: Leverage of every perpetual until it is set.
        stop_trigger: Price that fires stops.
        speed: Seconds of market time in a real second, for pacing the delivery of events.
    """

    balances: Mapping[str, Decimal] = field(default_factory=_default_balances)
    perp_maker: Decimal = Decimal("0.0002")
    perp_taker: Decimal = Decimal("0.0005")
    spot_maker: Decimal = Decimal("0.001")
    spot_taker: Decimal = Decimal("0.001")
    coin_fees: bool = False
    latency_ms: float = 5.0
    jitter_ms: float = 0.0
    queue: QueueModel = QueueModel.FIFO
    leverage: Decimal = Decimal(20)
    stop_trigger: StopTrigger = StopTrigger.LAST
    speed: float = 1.0

    def __post_init__(self) -> None:
        """Refuse settings that make no sense; names of models may be given as text."""
        for name, kind in (("queue", QueueModel), ("stop_trigger", StopTrigger)):
            value = getattr(self, name)
            if value not in tuple(kind):
                raise ConfigError(f"paper {name} is {value!r}; it must be one of {', '.join(kind)}")
            object.__setattr__(self, name, kind(value))
        for currency, amount in self.balances.items():
            if amount < 0:
                raise ConfigError(f"paper balance {currency} is {amount}; it must not be negative")
        for name in ("perp_maker", "perp_taker", "spot_maker", "spot_taker"):
            rate: Decimal = getattr(self, name)
            if not Decimal("-0.01") <= rate <= Decimal("0.1"):
                raise ConfigError(f"paper fee {name} is {rate}; it must be a fraction between -0.01 and 0.1")
        if self.leverage < 1:
            raise ConfigError(f"paper leverage is {self.leverage}; it must be at least 1")
        if self.latency_ms < 0 or self.jitter_ms < 0:
            raise ConfigError(f"paper latency is {self.latency_ms} ms + {self.jitter_ms} ms; it must not be negative")

    def with_fees(self, instrument: Instrument) -> Instrument:
        """Return the instrument with this venue's fees."""
        maker, taker = (self.perp_maker, self.perp_taker) if instrument.is_perp else (self.spot_maker, self.spot_taker)
        return replace(instrument, venue="paper", maker_fee=maker, taker_fee=taker)


class PaperStore(Protocol):
    """Keeps the venue's state between runs."""

    def load(self) -> bytes | None:
        """Return what was saved last, None when nothing was."""

    def save(self, state: bytes) -> None:
        """Keep the state; called after every change, so it returns quickly and may write only the newest."""


class MemoryStore:
    """A store that forgets at the end of the process: for tests and single runs."""

    def __init__(self, state: bytes | None = None) -> None:
        self.state = state

    def load(self) -> bytes | None:
        """Return what was saved last."""
        return self.state

    def save(self, state: bytes) -> None:
        """Keep the state."""
        self.state = state
