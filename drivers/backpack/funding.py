"""Funding payments: the venue streams none, so its history is asked a little after each time of payment."""

from __future__ import annotations

from drivers.backpack.codec import funding_payment
from drivers.backpack.rest import Rest
from drivers.transport.line_decoder import Undecodable
from drivers.transport.setup import Log
from engine.kernel.account import FundingPayment
from engine.kernel.errors import UnknownSymbol, VenueUnavailable

PAGE = 1000


async def payments(rest: Rest, log: Log, since: int) -> list[FundingPayment]:
    """Return the account's payments since a time (ms), oldest first."""
    found: list[FundingPayment] = []
    offset = 0
    while True:
        page = await rest.funding(PAGE, offset)
        for row in page:
            try:
                found.append(funding_payment(row))
            except UnknownSymbol as error:
                log("debug", f"backpack: a funding payment is left out: {error.message}")
            except Undecodable as error:
                raise VenueUnavailable(f"backpack: funding payment: {error.reason}") from error
        if len(page) < PAGE or (found and found[-1].ts < since):
            break
        offset += len(page)
    return sorted((payment for payment in found if payment.ts >= since), key=lambda payment: payment.ts)
