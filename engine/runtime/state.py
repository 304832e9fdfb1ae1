"""The one writer of everything that must survive: each change is a record, journalled first and then applied.

A restart applies the same records again, from the newest checkpoint on, and arrives at the same state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec

from engine.io.database import JournalDamaged
from engine.io.journal import JournalRecord
from engine.kernel.clock import Clock
from engine.kernel.errors import JournalError
from engine.kernel.orders import Fill, Order
from engine.runtime.fills import BookedFill
from engine.runtime.ledgers import LedgerBook, SavedLedgers
from engine.runtime.records import ORDER_RECORDS, Finished, Reconciled, Record, Trading, Work, decode, journalled
from engine.runtime.tracker import OrderTracker, TrackedOrders

CHECKPOINT_EVERY = 20_000
"""Records between two checkpoints."""

BASE_EVERY = 500_000
"""Numbers between two bases; the records of orders are dropped when they are older than the base by as much."""


class JournalLog(Protocol):
    """The part of the journal that keeps records of accounts."""

    @property
    def last_seq(self) -> int:
        """Return the number of the newest record."""

    def append(
        self,
        kind: str,
        account: str,
        ts_ns: int,
        body: object,
        on_durable: Callable[[], object] | None = None,
    ) -> int:
        """Add a record and return its number."""

    def records(self, account: str, after_seq: int = 0) -> Iterator[JournalRecord]:
        """Yield an account's records after a number, oldest first."""

    def has_fill(self, account: str, symbol: str, trade_id: str) -> bool:
        """Return whether an execution is in the journal."""

    def save_checkpoint(self, account: str, seq: int, body: dict[str, Any]) -> None:
        """Store the state after a record."""

    def load_checkpoint(self, account: str) -> tuple[int, dict[str, Any]] | None:
        """Return the newest checkpoint."""

    def save_base(self, account: str, seq: int, body: dict[str, Any]) -> None:
        """Store the state from which a replay begins."""

    def load_base(self, account: str) -> tuple[int, dict[str, Any]] | None:
        """Return the state from which a replay begins; None when the records are complete."""

    def drop_orders(self, account: str, until_seq: int) -> None:
        """Remove old records of orders and work."""


class Checkpoint(msgspec.Struct):
    """The whole state after one record."""

    orders: TrackedOrders = msgspec.field(default_factory=TrackedOrders)
    ledgers: SavedLedgers = msgspec.field(default_factory=SavedLedgers)
    trading: dict[str, Any] | None = None
    works: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    fills_until: int | None = None
    adopted_until: int = -1
    event_seq: dict[str, int] = msgspec.field(default_factory=dict)


class Effect(msgspec.Struct, frozen=True):
    """What a record changed: the order, if it changed, and the fill that was booked."""

    order: Order | None
    booked: BookedFill | None


class EngineState:
    """Orders, ledgers, work and trading state of one account.

    Args:
        journal: Where records are kept.
        account: Name of the account in the journal.
        clock: Time of the records.

    Attributes:
        tracker: Orders.
        books: Ledgers.
        trading: What the trading gate saved last.
        works: Handle -> saved state of every piece of work that has not ended.
        fills_until: Venue time (ms) up to which all fills are known to be booked; None before the first look.
        adopted_until: Fills of others up to then (venue ms) are part of what was taken over at the first start.
        event_seq: Instance -> number of the newest record about one of its orders or fills.
    """

    def __init__(self, journal: JournalLog, account: str, clock: Clock) -> None:
        self.tracker = OrderTracker()
        self.books = LedgerBook()
        self.trading: dict[str, Any] | None = None
        self.works: dict[str, dict[str, Any]] = {}
        self.fills_until: int | None = None
        self.adopted_until = -1
        self.event_seq: dict[str, int] = {}
        self._journal = journal
        self._account = account
        self._clock = clock
        self._since_checkpoint = 0
        self._base_seq = 0
        self._loaded = False

    @property
    def is_loaded(self) -> bool:
        """Return whether the state was rebuilt from the journal: nothing can be written before."""
        return self._loaded

    def write(self, record: Record, on_durable: Callable[[], object] | None = None) -> Effect:
        """Journal a record, then apply it.

        Args:
            record: What happened or was decided.
            on_durable: Called when the record is on the disk, never before this call has applied it.

        Raises:
            JournalError: The journal does not take it; nothing has changed.
        """
        if not self._loaded:
            raise JournalError("nothing can be recorded before the engine has started and read its journal")
        ts_ns = self._clock.now_ns()
        barrier = _Barrier(on_durable) if on_durable is not None else None
        durable = barrier.meet if barrier is not None else None
        seq = self._journal.append(record.kind, self._account, ts_ns, journalled(record), durable)
        effect = self._apply(record, ts_ns, seq)
        self._since_checkpoint += 1
        if self._since_checkpoint >= CHECKPOINT_EVERY:
            self.checkpoint()
        if barrier is not None:
            barrier.meet()
        return effect

    def load(self) -> int:
        """Rebuild the state from the journal; return how many records were applied.

        Raises:
            JournalError: The journal cannot be read or holds what this version does not know.
        """
        after_seq = 0
        saved = self._journal.load_checkpoint(self._account)
        if saved is not None:
            after_seq, body = saved
            self.restore(body)
        base = self._journal.load_base(self._account)
        self._base_seq = 0 if base is None else base[0]
        count = 0
        for entry in self._journal.records(self._account, after_seq):
            self.take(entry)
            count += 1
        self._since_checkpoint = count
        self._loaded = True
        return count

    def take(self, entry: JournalRecord) -> None:
        """Apply a record of the journal again.

        Raises:
            JournalError: It is damaged, or of a kind that this version does not know.
        """
        record = decode(entry.kind, entry.body)
        try:
            self._apply(record, entry.ts_ns, entry.seq)
        except (KeyError, ArithmeticError) as error:
            raise JournalDamaged(
                f"record {entry.seq} of {self._account} does not fit what came before it ({type(error).__name__}: "
                f"{error}); the journal is damaged: keep it, and begin a new one with: ctos-tui recover"
            ) from error

    def snapshot(self) -> Checkpoint:
        """Return the whole state."""
        return Checkpoint(
            orders=self.tracker.snapshot(),
            ledgers=self.books.snapshot(),
            trading=self.trading,
            works=dict(self.works),
            fills_until=self.fills_until,
            adopted_until=self.adopted_until,
            event_seq=dict(self.event_seq),
        )

    def checkpoint(self) -> None:
        """Store the whole state, so that a restart need not replay what came before; drop what is too old."""
        self._since_checkpoint = 0
        journal, account, seq = self._journal, self._account, self._journal.last_seq
        body = msgspec.to_builtins(self.snapshot())
        journal.save_checkpoint(account, seq, body)
        if seq - self._base_seq >= 2 * BASE_EVERY:
            self._base_seq = seq
            journal.save_base(account, seq, body)
        if self._base_seq > BASE_EVERY:
            journal.drop_orders(account, self._base_seq - BASE_EVERY)

    def restore(self, body: dict[str, Any]) -> None:
        """Take over a stored state.

        Raises:
            JournalError: It is damaged.
        """
        saved = checkpoint_of(self._account, body)
        self.tracker.restore(saved.orders)
        self.books.restore(saved.ledgers)
        self.trading = saved.trading
        self.works = saved.works
        self.fills_until = saved.fills_until
        self.adopted_until = saved.adopted_until
        self.event_seq = saved.event_seq

    def has_fill(self, fill: Fill) -> bool:
        """Return whether a fill was booked at any time. Waits for the disk: for fills that memory has forgotten."""
        return self._journal.has_fill(self._account, fill.symbol, fill.trade_id)

    def since(self, after_seq: int) -> Iterator[tuple[int, Record]]:
        """Yield the account's records after a number, oldest first. Waits for the disk."""
        for entry in self._journal.records(self._account, after_seq):
            yield entry.seq, decode(entry.kind, entry.body)

    def _apply(self, record: Record, ts_ns: int, seq: int) -> Effect:
        if type(record) in ORDER_RECORDS:
            order = self.tracker.apply(record, ts_ns)
            if order is not None:
                self.event_seq[order.instance] = seq
                if order.external and order.reported_filled > order.filled:
                    self._take_unbooked(order, ts_ns)
            return Effect(order, None)
        if isinstance(record, Trading):
            self.trading = record.body
        elif isinstance(record, Work):
            if record.body is None:
                self.works.pop(record.handle, None)
            else:
                self.works[record.handle] = record.body
        elif isinstance(record, Finished):
            self.works.pop(record.done.handle, None)
            self.event_seq[record.instance] = seq
        elif isinstance(record, Reconciled):
            self.fills_until = record.fills_until
            if record.adopted_until is not None:
                self.adopted_until = record.adopted_until
        order = self.tracker.apply(record, ts_ns)
        booked = self.books.apply(record)
        if booked is not None:
            self.event_seq[booked.instance] = seq
        elif order is not None:
            self.event_seq[order.instance] = seq
        return Effect(order, booked)

    def _take_unbooked(self, order: Order, ts_ns: int) -> None:
        """Count what somebody else's order filled before the venue told of it, or before the first start."""
        if order.venue_ts <= self.adopted_until:
            order.filled = order.reported_filled  # part of what was taken over: no execution follows
        else:
            early = self.books.fills.of_venue_order(order.symbol, order.venue_order_id)
            self.tracker.take_early(order, early, ts_ns)


def checkpoint_of(account: str, body: dict[str, Any]) -> Checkpoint:
    """Return a stored state.

    Raises:
        JournalError: It is damaged.
    """
    try:
        return msgspec.convert(body, Checkpoint)
    except msgspec.ValidationError as error:
        raise JournalDamaged(
            f"the stored state of {account} is damaged: {error}; keep the file, and begin a new one with: "
            "ctos-tui recover"
        ) from error


class _Barrier:
    """Calls a function once, when both the disk and the engine have a record."""

    __slots__ = ("_function", "_half")

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._half = False

    def meet(self) -> None:
        """The record is on the disk, or it is applied: the second call is the one that counts."""
        if self._half:
            self._function()
        self._half = True
