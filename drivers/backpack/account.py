"""The account's queries: balances, positions, fills, open orders, leverage, and whether it may trade."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TypeVar

from drivers.backpack.aliases import Aliases
from drivers.backpack.codec import ZERO, balance_of, fill_of, lent_by_currency, order_update, position_of
from drivers.backpack.rest import Rest
from drivers.backpack.rest_wire import RestAccount, RestBalance
from drivers.backpack.values import plain
from drivers.backpack.wire import BalanceEvent
from drivers.transport.line_decoder import Undecodable
from drivers.transport.setup import Log
from engine.kernel.account import Balance, Position
from engine.kernel.errors import AuthError, PermissionDenied, UnknownSymbol, VenueUnavailable
from engine.kernel.orders import Fill, OrderUpdate

PAGE = 1000

RowT = TypeVar("RowT")
RecordT = TypeVar("RecordT")


class Account:
    """What the venue knows of one account.

    Args:
        rest: The venue's calls.
        aliases: The numbers that stand for our client ids.
        log: Takes lines for the operator.

    Attributes:
        settings: Leverage limit, fees and switches as last heard of; None before the first answer.
        lent: What is lent (positive) or borrowed (negative) by currency, as last heard of.
    """

    def __init__(self, rest: Rest, aliases: Aliases, log: Log) -> None:
        self._rest = rest
        self._aliases = aliases
        self._log = log
        self._unnamed: set[str] = set()
        self.settings: RestAccount | None = None
        self.lent: dict[str, Decimal] = {}

    async def refresh(self) -> RestAccount:
        """Return the settings as they are now."""
        self.settings = await self._rest.account()
        return self.settings

    @property
    def leverage(self) -> Decimal | None:
        """Return the leverage limit of the whole account, None while it is not known."""
        return self.settings.leverageLimit if self.settings is not None else None

    async def limit_leverage(self, limit: Decimal) -> Decimal:
        """Set the leverage limit of the whole account and return it as the venue now has it."""
        await self._rest.limit_leverage(plain(limit))
        return (await self.refresh()).leverageLimit

    async def balances(self) -> list[Balance]:
        """Return the balances, in order of currency, what is lent included."""
        held = await self._rest.balances()
        self.lent = lent_by_currency(await self._rest.lend_positions())
        empty = RestBalance(ZERO)
        names = sorted(held.keys() | self.lent.keys())
        return [balance_of(name, held.get(name, empty), self.lent.get(name, ZERO)) for name in names]

    def balance_from(self, event: BalanceEvent) -> Balance:
        """Return the balance that the stream tells, with what is lent as last heard of."""
        return balance_of(event.a, RestBalance(event.A, event.L, event.S), self.lent.get(event.a, ZERO))

    @property
    def lends(self) -> bool:
        """Return whether money moves between the balance and lending, which the balance stream does not tell."""
        return bool(self.lent) or (self.settings is not None and self.settings.autoLend)

    async def positions(self, symbol: str | None) -> list[Position]:
        """Return the open positions, in order of name."""
        leverage = self.leverage or (await self.refresh()).leverageLimit
        rows = await self._rest.positions()
        records = self._named(rows, lambda row: row.symbol, lambda row: position_of(row, leverage), "position")
        wanted = [record for record in records if record.quantity and symbol in (None, record.symbol)]
        return sorted(wanted, key=lambda record: record.symbol)

    async def open_orders(self, native: str | None) -> list[OrderUpdate]:
        """Return the resting orders, oldest first."""
        rows = await self._rest.open_orders(native)
        if native is None:
            self._aliases.heard_resting(row.clientId for row in rows)
        read = self._aliases.client_id
        records = self._named(rows, lambda row: row.symbol, lambda row: order_update(row, read), "order")
        return sorted(records, key=lambda record: record.ts)

    async def fills(self, native: str | None, since: int | None) -> list[Fill]:
        """Return the executions, oldest first; those by which the venue closed positions among them."""
        filters: dict[str, str | int] = {}
        if native is not None:
            filters["symbol"] = native
        if since is not None:
            filters["from"] = since
        read = self._aliases.client_id
        found: dict[tuple[str, str], Fill] = {}
        offset = 0
        while True:
            page = await self._rest.fills(filters, PAGE, offset)
            records = self._named(page, lambda row: row.symbol, lambda row: fill_of(row, read), "execution")
            for record in records:
                if since is None or record.ts >= since:
                    found[record.symbol, record.trade_id] = record
            if len(page) < PAGE:
                return sorted(found.values(), key=lambda record: record.ts)
            offset += len(page)

    async def obstacles(self) -> list[str]:
        """Return what forbids to trade, with remedies.

        Raises:
            CtosError: The venue could not be asked.
        """
        try:
            settings = await self.refresh()
        except (AuthError, PermissionDenied) as error:
            return [str(error)]
        if settings.liquidating:
            return ["backpack: the account is being liquidated; add collateral or close positions on the venue's site"]
        if settings.leverageLimit < 1:
            limit = plain(settings.leverageLimit)
            return [f"backpack: the account's leverage limit is {limit}; set it to 1 or more in the venue's settings"]
        return []

    def _named(
        self,
        rows: Iterable[RowT],
        native_of: Callable[[RowT], str],
        read: Callable[[RowT], RecordT],
        what: str,
    ) -> list[RecordT]:
        """Return the records of all rows; those of markets that cannot be named here are left out and told once.

        Raises:
            VenueUnavailable: A row cannot be understood.
        """
        records = []
        for row in rows:
            try:
                records.append(read(row))
            except UnknownSymbol as error:
                native = native_of(row)
                if native not in self._unnamed:
                    self._unnamed.add(native)
                    self._log("warning", f"backpack: {what} in a market that is not followed here: {error.message}")
            except Undecodable as error:
                raise VenueUnavailable(f"backpack: {what}: {error.reason}") from error
        return records
