"""Ledgers by (instance, symbol) and of the account, rebuilt from the journal.

They change only through `apply`. Amounts are in the quote currency of the symbol.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_EVEN, Decimal

from engine.kernel.account import CashTransfer, FundingPayment, Ledger
from engine.kernel.orders import Fill, Side
from engine.runtime.accounts import MANUAL
from engine.runtime.fills import BookedFill, FillBook
from engine.runtime.records import Adjustment, Cash, DayAnchor, Execution, Funding, Record, Transfer

ZERO = Decimal(0)
_SHARE_STEP = Decimal("1e-12")
_KEPT_FUNDING_IDS = 1000
_KEPT_CASH = 1000


@dataclass(slots=True)
class SavedLedgers:
    """The state as it is kept in a checkpoint."""

    ledgers: dict[str, dict[str, Ledger]] = field(default_factory=dict)
    totals: dict[str, Ledger] = field(default_factory=dict)
    fees: dict[str, Decimal] = field(default_factory=dict)
    adjusted: dict[str, Decimal] = field(default_factory=dict)
    funding_ids: list[str] = field(default_factory=list)
    cash: dict[str, tuple[int, Decimal]] = field(default_factory=dict)
    anchor: DayAnchor | None = None
    fills: list[BookedFill] = field(default_factory=list)
    fills_horizon_ts: int = -1


class LedgerBook:
    """Every ledger of one account.

    Attributes:
        by_instance: Instance -> symbol -> ledger.
        totals: Symbol -> all ledgers together, as one position.
        fees: Fees paid, by the currency in which they were charged.
        adjusted: Symbol -> sum of explicit adjustments, signed base coins.
        anchor: Profit and equity at the start of this UTC day.
        fills: Booked executions.
    """

    def __init__(self) -> None:
        self.by_instance: dict[str, dict[str, Ledger]] = {}
        self.totals: dict[str, Ledger] = {}
        self.fees: dict[str, Decimal] = {}
        self.adjusted: dict[str, Decimal] = {}
        self.anchor: DayAnchor | None = None
        self.fills = FillBook()
        self._funding_ids: dict[str, None] = {}
        self._cash: dict[str, tuple[int, Decimal]] = {}

    def open(self) -> list[tuple[str, str, Decimal]]:
        """Return (instance, symbol, signed base coins) of every ledger that is not flat."""
        return [
            (instance, symbol, ledger.quantity)
            for instance, books in self.by_instance.items()
            for symbol, ledger in books.items()
            if ledger.quantity
        ]

    def funding_known(self, payment: FundingPayment) -> bool:
        """Return whether a funding payment is booked."""
        return _funding_key(payment) in self._funding_ids

    def cash_known(self, transfer: CashTransfer) -> bool:
        """Return whether a deposit, withdrawal or transfer is booked."""
        return transfer.id in self._cash

    def cash_since(self, ms: int) -> Decimal:
        """Return the USD that came in less those that left by no trade, since a time."""
        return sum((value for ts, value in self._cash.values() if ts >= ms), ZERO)

    def funding_shares(self, payment: FundingPayment) -> list[tuple[str, Decimal]]:
        """Return a payment split by signed ledger quantity; the parts add up to the payment exactly."""
        held = [(instance, quantity) for instance, symbol, quantity in self.open() if symbol == payment.symbol]
        net = sum((quantity for _, quantity in held), ZERO)
        if not net:
            return [(MANUAL, payment.amount)]
        shares = []
        left = payment.amount
        for instance, quantity in held[:-1]:
            share = (payment.amount * quantity / net).quantize(_SHARE_STEP, ROUND_HALF_EVEN)
            shares.append((instance, share))
            left -= share
        return [*shares, (held[-1][0], left)]

    def apply(self, record: Record) -> BookedFill | None:
        """Change the ledgers by a journalled record; return the booked fill when it is one."""
        if isinstance(record, Execution):
            return self._book(record)
        if isinstance(record, Funding):
            self._pay(record.payment)
        elif isinstance(record, Cash):
            self._cash[record.transfer.id] = (record.transfer.ts, record.value)
            if len(self._cash) > _KEPT_CASH:
                self._cash.pop(next(iter(self._cash)))
        elif isinstance(record, Adjustment):
            self._adjust(record)
        elif isinstance(record, Transfer):
            self._move(self._own(record.source, record.symbol), record.symbol, -record.quantity, record.price)
            self._move(self._own(record.target, record.symbol), record.symbol, record.quantity, record.price)
        elif isinstance(record, DayAnchor):
            self.anchor = record
        return None

    def snapshot(self) -> SavedLedgers:
        """Return the state for a checkpoint."""
        fills, horizon_ts = self.fills.snapshot()
        return SavedLedgers(
            ledgers={
                instance: {symbol: replace(ledger) for symbol, ledger in books.items()}
                for instance, books in self.by_instance.items()
            },
            totals={symbol: replace(ledger) for symbol, ledger in self.totals.items()},
            fees=dict(self.fees),
            adjusted=dict(self.adjusted),
            funding_ids=list(self._funding_ids),
            cash=dict(self._cash),
            anchor=self.anchor,
            fills=fills,
            fills_horizon_ts=horizon_ts,
        )

    def restore(self, saved: SavedLedgers) -> None:
        """Take over the state of a checkpoint."""
        self.by_instance = saved.ledgers
        self.totals = saved.totals
        self.fees = saved.fees
        self.adjusted = saved.adjusted
        self.anchor = saved.anchor
        self.fills.restore(saved.fills, saved.fills_horizon_ts)
        self._funding_ids = dict.fromkeys(saved.funding_ids)
        self._cash = saved.cash

    def _book(self, record: Execution) -> BookedFill:
        fill = record.fill
        in_quote = fill if fill.fee == record.fee_quote else replace(fill, fee=record.fee_quote)
        own = self._own(record.instance, fill.symbol)
        fee_coins = _fee_coins(record, own.quantity)
        realised = own.apply_fill(in_quote, fee_coins)
        self._total(fill.symbol).apply_fill(in_quote, fee_coins)
        self.fees[fill.fee_currency] = self.fees.get(fill.fee_currency, ZERO) + fill.fee
        booked = BookedFill(fill, record.instance, realised, record.fee_quote)
        self.fills.add(booked)
        return booked

    def _pay(self, payment: FundingPayment) -> None:
        for instance, share in self.funding_shares(payment):
            self._own(instance, payment.symbol).funding += share
        self._total(payment.symbol).funding += payment.amount
        self._funding_ids[_funding_key(payment)] = None
        if len(self._funding_ids) > _KEPT_FUNDING_IDS:
            self._funding_ids.pop(next(iter(self._funding_ids)))

    def _adjust(self, record: Adjustment) -> None:
        for ledger in (self._own(record.instance, record.symbol), self._total(record.symbol)):
            self._move(ledger, record.symbol, record.quantity, record.price)
        self.adjusted[record.symbol] = self.adjusted.get(record.symbol, ZERO) + record.quantity

    @staticmethod
    def _move(ledger: Ledger, symbol: str, quantity: Decimal, price: Decimal) -> None:
        """Change a ledger by a quantity at a price without a trade."""
        side = Side.BUY if quantity > 0 else Side.SELL
        change = Fill("", symbol, "", "", side, price, abs(quantity), ZERO, "", False, 0)
        ledger.apply_fill(change)
        ledger.traded -= change.notional

    def _own(self, instance: str, symbol: str) -> Ledger:
        books = self.by_instance.setdefault(instance, {})
        ledger = books.get(symbol)
        if ledger is None:
            ledger = books[symbol] = Ledger()
        return ledger

    def _total(self, symbol: str) -> Ledger:
        total = self.totals.get(symbol)
        if total is None:
            total = self.totals[symbol] = Ledger()
        return total


def _fee_coins(record: Execution, held: Decimal) -> Decimal:
    """Return the coins by which a fee makes a ledger smaller; what a sale leaves it without, other coins have paid."""
    if record.fill.side is Side.BUY:
        return record.fee_coins
    return min(record.fee_coins, max(ZERO, held - record.fill.quantity))


def _funding_key(payment: FundingPayment) -> str:
    return f"{payment.symbol} {payment.id}"
