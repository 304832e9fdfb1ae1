"""Anomalies as records: what is wrong, what an evaluation found, what subscribers are told."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

from engine.kernel.anomaly import Severity

Key = tuple[str, str, str]
"""Kind, symbol and instance: what an anomaly is about."""


class AnomalyState(StrEnum):
    """Whether it holds now."""

    ACTIVE = "ACTIVE"
    CLEARED = "CLEARED"


class Effect(msgspec.Struct):
    """What an anomaly caused and was therefore not raised by itself."""

    kind: str
    symbol: str
    instance: str
    severity: Severity
    value: str


class Anomaly(msgspec.Struct):
    """One thing that is wrong. Times are engine time in ms; values are text, decimals exact.

    Attributes:
        id: Unique within the account.
        symbol: Instrument that it is about, if any.
        instance: Strategy instance that it is about, if any.
        text: One sentence for a person.
        count: How often it was found.
        peak: Worst value so far.
        data: More facts.
        cause_id: The anomaly that it turned out to be an effect of.
        effects: What it caused.
        action: What was done about it.
        acked_by: Who has seen it.
        is_condition: Whether it is evaluated again and again; otherwise it was reported once.
    """

    id: str
    kind: str
    title: str
    severity: Severity
    state: AnomalyState
    symbol: str
    instance: str
    text: str
    raised_ms: int
    updated_ms: int
    value: str
    threshold: str
    clear_threshold: str
    peak: str
    cleared_ms: int | None = None
    count: int = 1
    data: dict[str, str] = msgspec.field(default_factory=dict)
    cause_id: str = ""
    effects: list[Effect] = msgspec.field(default_factory=list)
    action: str = ""
    acked_by: str = ""
    acked_ms: int | None = None
    muted_until_ms: int = 0
    is_condition: bool = True

    @property
    def key(self) -> Key:
        """Return what it is about."""
        return (self.kind, self.symbol, self.instance)

    @property
    def is_active(self) -> bool:
        """Return whether it holds now."""
        return self.state is AnomalyState.ACTIVE


class AnomalyChanged(msgspec.Struct, frozen=True):
    """An anomaly was raised, became worse, cleared, or was seen by a person; `notify` when a person should look."""

    anomaly: Anomaly
    notify: bool


class Reading(msgspec.Struct, frozen=True):
    """The outcome of evaluating one key.

    Attributes:
        severity: How bad it is; None raises nothing.
        is_clear: Whether it is beyond the clear level.
        hold_s: Seconds for which it must stay clear.
        is_falling: Whether low values are the bad ones.
        is_eased: Whether a worse severity of before is over: what made it so grave has gone, or is known now.
    """

    kind: str
    value: Decimal
    severity: Severity | None
    is_clear: bool
    threshold: Decimal
    clear_threshold: Decimal
    text: str
    symbol: str = ""
    instance: str = ""
    hold_s: float = 0
    is_falling: bool = False
    is_eased: bool = False
    data: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def key(self) -> Key:
        """Return what it is about."""
        return (self.kind, self.symbol, self.instance)
