"""OKX's bills: every change of the account's money by funding and by trades, newest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from engine.kernel.account import FundingPayment
from tests.venues.emulators.faults import Answer
from tests.venues.emulators.okx_market import page
from tests.venues.emulators.okx_wire import Row, data, fmt, number

if TYPE_CHECKING:
    from tests.venues.emulators.okx import OkxEmulator

TRANSFER, TRADE, FUNDING = "1", "2", "8"
_EXPENSE, _INCOME = "173", "174"
_DAYS = {"bills": 7, "bills-archive": 90}
_DAY_MS = 86_400_000
_PAGE = 100


@dataclass(frozen=True, slots=True)
class _Paid:
    """A funding payment with the position and the mark for which it was paid."""

    bill_id: int
    payment: FundingPayment
    position: Decimal
    mark: Decimal
    balance: Decimal


class Bills:
    """Bills of one account.

    Args:
        emulator: Whose.
    """

    def __init__(self, emulator: OkxEmulator) -> None:
        self._emulator = emulator
        self._funding: list[_Paid] = []
        self._transfers: list[Row] = []

    def transfer(self, currency: str, amount: Decimal) -> None:
        """Move money into the account (negative: out of it) and write its bill."""
        account = self._emulator.exchange.account
        account.deposit(currency, amount)
        bill = _bill(str(self._emulator.desk.next_bill()), str(self._emulator.clock.now_ms()), TRANSFER)
        sub_type = "11" if amount >= 0 else "12"
        balance = fmt(account.cash(currency))
        self._transfers.append({**bill, "subType": sub_type, "ccy": currency, "bal": balance, "balChg": fmt(amount)})

    def take_payment(self, payment: FundingPayment) -> None:
        """Write a bill for a funding payment."""
        exchange = self._emulator.exchange
        market = exchange.market(payment.symbol)
        position = exchange.account.position(market.instrument)
        balance = exchange.account.cash(payment.currency)
        mark = market.mark_price() or Decimal(0)
        self._funding.append(_Paid(self._emulator.desk.next_bill(), payment, position, mark, balance))

    def bills(self, parameters: Mapping[str, str], kind: str) -> Answer:
        """GET /account/bills (7 days) and /account/bills-archive (3 months)."""
        oldest = self._emulator.clock.now_ms() - _DAYS[kind] * _DAY_MS
        begin, end = number(parameters, "begin", zero=True), number(parameters, "end", zero=True)
        rows = [*self._transfers, *(self._funding_row(paid) for paid in self._funding)]
        rows += [
            self._trade_row(order.fill_row(fill, trade, bill))
            for order, fill, trade, bill in self._emulator.desk.fills
            if fill.ts >= max(oldest, begin or 0) and (end is None or fill.ts <= end)
        ]
        rows = [
            row
            for row in sorted(rows, key=lambda row: -int(row["billId"]))
            if all(parameters.get(name) in (None, "", row[name]) for name in ("instType", "instId", "ccy", "type"))
            and parameters.get("subType") in (None, "", row["subType"])
            and int(row["ts"]) >= max(oldest, begin or 0)
            and (end is None or int(row["ts"]) <= end)
        ]
        return data(page(rows, parameters, lambda row: int(row["billId"]), _PAGE))

    def _funding_row(self, paid: _Paid) -> Row:
        payment = paid.payment
        units = self._emulator.units_of_symbol(payment.symbol)
        return {
            **_bill(str(paid.bill_id), str(payment.ts), FUNDING),
            "subType": _INCOME if payment.amount >= 0 else _EXPENSE,
            "instType": units.inst_type,
            "instId": units.native,
            "ccy": payment.currency,
            "bal": fmt(paid.balance),
            "balChg": fmt(payment.amount),
            "pnl": fmt(payment.amount),
            "px": fmt(paid.mark),
            "sz": units.size(abs(paid.position)),
            "mgnMode": "cross",
        }

    def _trade_row(self, fill: Row) -> Row:
        same = ("instType", "instId", "ordId", "clOrdId", "tradeId", "fillTime", "execType", "fee", "tag", "subType")
        return {
            **_bill(fill["billId"], fill["ts"], TRADE),
            **{name: fill[name] for name in same},
            "ccy": fill["feeCcy"],
            "px": fill["fillPx"],
            "sz": fill["fillSz"],
            "balChg": fill["fee"],
        }


def _bill(bill_id: str, ts: str, kind: str) -> Row:
    blank = (
        "instType",
        "instId",
        "bal",
        "clOrdId",
        "execType",
        "fillTime",
        "from",
        "mgnMode",
        "notes",
        "ordId",
        "tag",
        "to",
        "tradeId",
    )
    zero = ("balChg", "fee", "interest", "pnl", "posBal", "posBalChg")
    return {**dict.fromkeys(blank, ""), **dict.fromkeys(zero, "0"), "billId": bill_id, "ts": ts, "type": kind}
