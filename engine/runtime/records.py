"""What the engine journals: everything from which its orders, ledgers and trading state are rebuilt.

Each record is a plain value with a `kind`; the journal keeps it as JSON, and `decode` makes it again.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

import msgspec

from engine.io.database import JournalDamaged
from engine.kernel.account import CashTransfer, FundingPayment
from engine.kernel.errors import JournalError
from engine.kernel.orders import Fill, OrderState, OrderType, OrderUpdate, Pending, Side
from engine.kernel.strategy import Done


class Intent(msgspec.Struct, frozen=True):
    """An order was decided; it is sent when this record is durable. `held`: the engine waits for its trigger."""

    kind: ClassVar[str] = "INTENT"
    client_id: str
    label: int
    instance: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    reduce_only: bool = False
    parent: str = ""
    held: bool = False
    reference_price: Decimal | None = None
    replaces: str = ""


class Sent(msgspec.Struct, frozen=True):
    """An order was handed to the driver."""

    kind: ClassVar[str] = "SENT"
    client_id: str


class Outcome(msgspec.Struct, frozen=True):
    """The engine knows what became of an order without a status from the venue: refused, dropped, unknown."""

    kind: ClassVar[str] = "OUTCOME"
    client_id: str
    state: OrderState
    reason: str
    error: str = ""


class Status(msgspec.Struct, frozen=True):
    """The venue said something about an order; `answers` names the request that it answers."""

    kind: ClassVar[str] = "STATUS"
    update: OrderUpdate
    answers: Pending = Pending.NONE


class Asked(msgspec.Struct, frozen=True):
    """A cancellation or an amendment of a working order was decided; `by` is who or what asked for it."""

    kind: ClassVar[str] = "ASKED"
    client_id: str
    request: Pending
    price: Decimal | None = None
    quantity: Decimal | None = None
    by: str = ""


class Declined(msgspec.Struct, frozen=True):
    """A cancellation or an amendment came to nothing; the order is as it was."""

    kind: ClassVar[str] = "DECLINED"
    client_id: str
    reason: str
    error: str = ""


class Released(msgspec.Struct, frozen=True):
    """A piece of work has let go of an order that works on: its instance minds it from now on."""

    kind: ClassVar[str] = "RELEASED"
    client_id: str


class Execution(msgspec.Struct, frozen=True):
    """A fill of one instance; `fee_quote` is the fee in quote currency.

    `fee_coins`: base coins of the ledger that the venue took as the fee of a spot trade: it is smaller by so much.
    """

    kind: ClassVar[str] = "FILL"
    fill: Fill
    instance: str
    fee_quote: Decimal
    fee_coins: Decimal = Decimal(0)


class Funding(msgspec.Struct, frozen=True):
    """A funding payment."""

    kind: ClassVar[str] = "FUNDING"
    payment: FundingPayment


class Cash(msgspec.Struct, frozen=True):
    """Money came in or left by no trade; `value` is in USD at the prices of then."""

    kind: ClassVar[str] = "CASH"
    transfer: CashTransfer
    value: Decimal


class Adjustment(msgspec.Struct, frozen=True):
    """A change of a ledger without a fill: signed base coins at a price, with the reason."""

    kind: ClassVar[str] = "ADJUST"
    instance: str
    symbol: str
    quantity: Decimal
    price: Decimal
    reason: str


class Transfer(msgspec.Struct, frozen=True):
    """A quantity (signed base coins) moved from one instance's ledger to another's at a price; nothing was traded."""

    kind: ClassVar[str] = "TRANSFER"
    source: str
    target: str
    symbol: str
    quantity: Decimal
    price: Decimal
    reason: str


class Trading(msgspec.Struct, frozen=True):
    """The trading state changed; `body` is what the gate restores itself from."""

    kind: ClassVar[str] = "TRADING"
    body: dict[str, Any]


class Work(msgspec.Struct, frozen=True):
    """The newest state of a piece of work; None when it was taken back before anything was sent."""

    kind: ClassVar[str] = "WORK"
    handle: str
    body: dict[str, Any] | None


class Finished(msgspec.Struct, frozen=True):
    """A piece of work has ended with this report."""

    kind: ClassVar[str] = "FINISHED"
    instance: str
    done: Done


class DayAnchor(msgspec.Struct, frozen=True):
    """Profit and equity, in USD, at a moment (ms) of a UTC day (number of days since the epoch): usually its begin."""

    kind: ClassVar[str] = "DAY"
    day: int
    equity: Decimal
    profit: Decimal
    ts: int = 0


class Reconciled(msgspec.Struct, frozen=True):
    """Orders and fills agreed with the venue; fills up to `fills_until` (venue ms) are booked.

    `adopted_until`: what the account held was taken over as a whole; fills of others up to then are part of it.
    """

    kind: ClassVar[str] = "RECONCILED"
    fills_until: int
    adopted_until: int | None = None


Record = (
    Intent
    | Sent
    | Outcome
    | Status
    | Asked
    | Declined
    | Released
    | Execution
    | Funding
    | Cash
    | Adjustment
    | Transfer
    | Trading
    | Work
    | Finished
    | DayAnchor
    | Reconciled
)

_KINDS: dict[str, type[Any]] = {
    record.kind: record
    for record in (
        Intent,
        Sent,
        Outcome,
        Status,
        Asked,
        Declined,
        Released,
        Execution,
        Funding,
        Cash,
        Adjustment,
        Transfer,
        Trading,
        Work,
        Finished,
        DayAnchor,
        Reconciled,
    )
}


ORDER_RECORDS = frozenset({Intent, Sent, Outcome, Status, Asked, Declined, Released})
"""Records that change nothing but one order."""


def journalled(record: Record) -> object:
    """Return what the journal writes as a record's body: the record itself, or an execution with its key added."""
    if type(record) is not Execution:
        return record
    body: dict[str, Any] = msgspec.to_builtins(record)
    body["symbol"] = record.fill.symbol
    body["trade_id"] = record.fill.trade_id
    return body


def decode(kind: str, body: dict[str, Any]) -> Record:
    """Return the record whose body the journal kept.

    Raises:
        JournalError: The kind is unknown or the body does not fit it.
    """
    record = _KINDS.get(kind)
    if record is None:
        raise JournalError(
            f"the journal holds a record of the unknown kind {kind!r}; start the version of the program that wrote it"
        )
    try:
        decoded: Record = msgspec.convert(body, record)
    except msgspec.ValidationError as error:
        raise JournalDamaged(
            f"a {kind} record of the journal is damaged: {error}; keep the file, and begin a new one with: ctos-tui "
            "recover"
        ) from error
    return decoded
