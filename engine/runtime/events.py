"""What the engine publishes on its bus, besides the market events of the kernel."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.kernel.account import FundingPayment
from engine.kernel.orders import Fill, Order
from engine.kernel.scheduler import InstanceState
from engine.kernel.strategy import Done


class OrderChanged(msgspec.Struct, frozen=True):
    """An order changed state, price, quantity or filled amount; `order` is the live record."""

    order: Order


class FillBooked(msgspec.Struct, frozen=True):
    """A fill was booked to an instance's ledger.

    Attributes:
        realised: Its profit before the fee, in quote.
        outside: Whether nobody here ordered it: somebody else traded on this account.
    """

    fill: Fill
    instance: str
    realised: Decimal
    outside: bool = False


class PositionChanged(msgspec.Struct, frozen=True):
    """The quantity of an account position changed."""

    symbol: str


class BalanceChanged(msgspec.Struct, frozen=True):
    """Balances or equity changed by something else than prices."""

    currency: str


class CommandRefused(msgspec.Struct, frozen=True):
    """The engine refused a command; `error` is the typed error's class name, `text` its message."""

    instance: str
    symbol: str
    error: str
    text: str


class WorkDone(msgspec.Struct, frozen=True):
    """A soft order, incremental order, target or replacement ended."""

    instance: str
    done: Done


class InstanceChanged(msgspec.Struct, frozen=True):
    """A strategy instance changed state or its reason for not trading."""

    instance: str
    state: InstanceState
    reason: str


class TradingStateChanged(msgspec.Struct, frozen=True):
    """The account was armed, disarmed, restricted or halted."""

    state: str
    reason: str


class LogLine(msgspec.Struct, frozen=True):
    """A line for the operator: `level` is debug, info, warn or error; `source` an instance or engine part."""

    ts_ns: int
    level: str
    source: str
    text: str


class FundingShared(msgspec.Struct, frozen=True):
    """A funding payment was split; `payment` is the share of one instance's ledger."""

    instance: str
    payment: FundingPayment


class EngineAlarm(msgspec.Struct, frozen=True):
    """Something that a person should know of: `kind` names it, `severity` is INFO, WARN or CRIT."""

    kind: str
    symbol: str
    instance: str
    text: str
    severity: str = "WARN"


class HandActed(msgspec.Struct, frozen=True):
    """A person acted on an instrument or a strategy: a cancel, an amendment, a changed parameter, a pause."""

    symbol: str
    instance: str


class EndedOutside(msgspec.Struct, frozen=True):
    """Orders by hand ended and nobody here asked for it; `text` says which, in one line."""

    text: str


class PanicProgress(msgspec.Struct, frozen=True):
    """How far a halt has come.

    Attributes:
        text: In one line.
        confirmed: Whether the venue says that none of our orders rests.
        trouble: Whether some may rest although there was time enough, or the venue could not be asked.
    """

    text: str
    confirmed: bool
    trouble: bool = False
