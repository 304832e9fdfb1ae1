"""What is held of each coin over instruments, accounts and venues: long against short, gross and net, in USD."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from engine.runtime.portfolio import Portfolio

ZERO = Decimal(0)


class CoinExposure(msgspec.Struct, frozen=True):
    """One coin. Amounts in USD.

    Attributes:
        coin: Base currency.
        long: What is held of it, wherever.
        short: What is owed of it, unsigned.
        venues: (venue, long less short) of each venue that holds some, largest first.
    """

    coin: str
    long: Decimal
    short: Decimal
    venues: tuple[tuple[str, Decimal], ...]

    @property
    def net(self) -> Decimal:
        """Return long less short: what a move of the coin is felt on."""
        return self.long - self.short

    @property
    def gross(self) -> Decimal:
        """Return long and short together."""
        return self.long + self.short

    @property
    def is_hedged(self) -> bool:
        """Return whether something of it is long and something short."""
        return self.long > 0 and self.short > 0


def net_exposure(books: Iterable[tuple[str, Portfolio]]) -> list[CoinExposure]:
    """Return every coin that is held, largest net first.

    Args:
        books: (venue, portfolio) of each account. What has no price counts at its entry price.
    """
    longs: dict[str, Decimal] = {}
    shorts: dict[str, Decimal] = {}
    venues: dict[str, dict[str, Decimal]] = {}
    for venue, book in books:
        for coin, value in book.coin_values():
            side = longs if value > 0 else shorts
            side[coin] = side.get(coin, ZERO) + abs(value)
            at = venues.setdefault(coin, {})
            at[venue] = at.get(venue, ZERO) + value
    found = [
        CoinExposure(
            coin,
            longs.get(coin, ZERO),
            shorts.get(coin, ZERO),
            tuple(sorted(venues[coin].items(), key=lambda pair: (-abs(pair[1]), pair[0]))),
        )
        for coin in venues
    ]
    return sorted(found, key=lambda each: (-abs(each.net), each.coin))
