"""What the engine publishes on its bus, besides the market events of the kernel."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from engine.kernel.account import FundingPayment
from engine.kernel.orders import Fill, Order
from engine.kernel.scheduler import InstanceState
from engine.kernel.strategy import Done


@dataclass(slots=True, frozen=True)
class OrderChanged:
    """An order changed state, price, quantity or filled amount; `order` is the live record."""

    order: Order


@dataclass(slots=True, frozen=True)
class FillBooked:
    """A fill was booked to an instance's ledger; `realised` is its profit before the fee, in quote."""

    fill: Fill
    instance: str
    realised: Decimal


@dataclass(slots=True, frozen=True)
class PositionChanged:
    """The quantity of an account position changed."""

    symbol: str


@dataclass(slots=True, frozen=True)
class BalanceChanged:
    """Balances or equity changed by something else than prices."""

    currency: str


@dataclass(slots=True, frozen=True)
class CommandRefused:
    """The engine refused a command; `error` is the typed error's class name, `text` its message."""

    instance: str
    symbol: str
    error: str
    text: str


@dataclass(slots=True, frozen=True)
class WorkDone:
    """A soft order, incremental order, target or replacement ended."""

    instance: str
    done: Done


@dataclass(slots=True, frozen=True)
class InstanceChanged:
    """A strategy instance changed state or its reason for not trading."""

    instance: str
    state: InstanceState
    reason: str


@dataclass(slots=True, frozen=True)
class TradingStateChanged:
    """The account was armed, disarmed, restricted or halted."""

    state: str
    reason: str


@dataclass(slots=True, frozen=True)
class LogLine:
    """A line for the operator: `level` is debug, info, warn or error; `source` an instance or engine part."""

    ts_ns: int
    level: str
    source: str
    text: str


@dataclass(slots=True, frozen=True)
class FundingShared:
    """A funding payment was split; `payment` is the share of one instance's ledger."""

    instance: str
    payment: FundingPayment


@dataclass(slots=True, frozen=True)
class EngineAlarm:
    """Something that a person should know of: `kind` names it, `severity` is INFO, WARN or CRIT."""

    kind: str
    symbol: str
    instance: str
    text: str
    severity: str = "WARN"


@dataclass(slots=True, frozen=True)
class PanicProgress:
    """How far a halt has come; `confirmed` when the venue says that none of our orders rests."""

    text: str
    confirmed: bool
