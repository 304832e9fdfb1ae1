"""Funding payments: the stream names no symbol in cross margin, so the futures account's income is asked for."""

from __future__ import annotations

from collections.abc import Callable

from drivers.binance.rest import Rest
from drivers.binance.wire import ZERO, IncomeRow
from engine.kernel.account import FundingPayment
from engine.kernel.instruments import Instrument

PAGE = 1000
INCOME_WEIGHT = 30
FUNDING_FEE = "FUNDING_FEE"
REACH_DAYS = 80
"""The venue keeps three months."""


async def payments(rest: Rest, listed: Callable[[str], Instrument | None], since: int) -> list[FundingPayment]:
    """Return the account's payments since a time (ms), oldest first; those of what is not listed are left out.

    The venue does not say at which rate: it is 0.
    """
    found: dict[str, FundingPayment] = {}
    start = since
    while True:
        asked: dict[str, str | int] = {"incomeType": FUNDING_FEE, "startTime": start, "limit": PAGE}
        page = await rest.signed("GET", "income", asked, list[IncomeRow], weight=INCOME_WEIGHT)
        for row in page:
            instrument = listed(row.symbol)
            if instrument is not None and row.time >= since:
                key = f"{row.symbol}/{row.tranId}"
                found[key] = FundingPayment(instrument.symbol, row.time, row.income, row.asset, ZERO, key)
        if len(page) < PAGE or page[-1].time <= start:
            break
        start = page[-1].time
    return sorted(found.values(), key=lambda payment: (payment.ts, payment.id))
