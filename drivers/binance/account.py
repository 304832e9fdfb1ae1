"""The account's wallets, positions, leverage and rights (EXCHANGES 2.4, 3.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from drivers.binance.convert import position
from drivers.binance.errors import NotOffered
from drivers.binance.rest import Rest
from drivers.binance.signer import Params
from drivers.binance.wire import (
    ZERO,
    FuturesBalanceRow,
    KeyRestrictions,
    LeverageReply,
    PositionMode,
    PositionRow,
    SpotAccount,
    SymbolConfigRow,
)
from engine.kernel.account import Balance, KeyRights, Position
from engine.kernel.errors import InvalidOrder
from engine.kernel.instruments import Instrument, InstrumentKind

HEDGE_MODE = (
    "the futures account is in hedge mode: close positions and orders, then switch it to one-way mode "
    "(Futures, Preferences, Position Mode)"
)


class Wallets:
    """The futures and the spot wallet as one balance a currency: the account's money counts where it is."""

    def __init__(self) -> None:
        self._parts: dict[str, dict[InstrumentKind, Balance]] = {}

    def replace(self, kind: InstrumentKind, balances: Iterable[Balance]) -> None:
        """Take a wallet's complete list; what it does not name any more is empty."""
        for parts in self._parts.values():
            if kind in parts:
                parts[kind] = Balance(parts[kind].currency, ZERO, ZERO)
        for balance in balances:
            if balance.total or balance.currency in self._parts:
                self._parts.setdefault(balance.currency, {})[kind] = balance

    def change(self, kind: InstrumentKind, balance: Balance) -> Balance:
        """Take a change from a stream and return the currency's balance over both wallets.

        The futures stream names the total only: what was locked counts as locked still.
        """
        parts = self._parts.setdefault(balance.currency, {})
        if kind is InstrumentKind.PERP:
            locked = min(parts[kind].locked, max(ZERO, balance.total)) if kind in parts else ZERO
            balance = Balance(balance.currency, balance.total, balance.total - locked, locked)
        parts[kind] = balance
        return self._sum(balance.currency)

    def all(self) -> list[Balance]:
        """Return every currency's balance over both wallets, in order of name."""
        return [self._sum(currency) for currency in sorted(self._parts)]

    def coins(self, kind: InstrumentKind) -> set[str]:
        """Return the currencies that a wallet holds."""
        return {name for name, parts in self._parts.items() if kind in parts and parts[kind].total}

    def _sum(self, currency: str) -> Balance:
        parts = self._parts[currency].values()
        total, free, locked = (
            sum((getattr(part, name) for part in parts), ZERO) for name in ("total", "free", "locked")
        )
        return Balance(currency, total, free, locked)


async def futures_wallet(rest: Rest) -> list[Balance]:
    """Return the futures wallet; locked is what margin and losses take of it."""
    rows = await rest.signed("GET", "/fapi/v3/balance", {}, list[FuturesBalanceRow], weight=5)
    found = []
    for row in rows:
        free = max(ZERO, min(row.balance, row.availableBalance))
        found.append(Balance(row.asset, row.balance, free, max(ZERO, row.balance - free)))
    return found


async def spot_account(rest: Rest) -> tuple[SpotAccount, list[Balance]]:
    """Return the spot account and its wallet."""
    account = await rest.signed("GET", "account", {"omitZeroBalances": "true"}, SpotAccount, weight=20)
    return account, [Balance(row.asset, row.free + row.locked, row.free, row.locked) for row in account.balances]


async def positions(
    rest: Rest,
    native: str | None,
    listed: Callable[[str], Instrument | None],
    leverage: Callable[[str], Decimal | None],
) -> list[Position]:
    """Return the open futures positions in order of name; both sides of hedge mode as their difference."""
    params = {} if native is None else {"symbol": native}
    rows = await rest.signed("GET", "/fapi/v3/positionRisk", params, list[PositionRow], weight=5)
    by_symbol: dict[str, PositionRow] = {}
    for row in rows:
        other = by_symbol.get(row.symbol)
        if other is not None:
            row.positionAmt += other.positionAmt
            row.unRealizedProfit += other.unRealizedProfit
        by_symbol[row.symbol] = row
    found = []
    for row in by_symbol.values():
        instrument = listed(row.symbol)
        if instrument is not None and row.positionAmt:
            found.append(position(instrument, row, leverage(instrument.symbol) or ZERO))
    return sorted(found, key=lambda each: each.symbol)


async def symbol_configs(rest: Rest) -> list[SymbolConfigRow]:
    """Return leverage and margin type of every futures symbol."""
    return await rest.signed("GET", "symbolConfig", {}, list[SymbolConfigRow], weight=5)


async def set_leverage(rest: Rest, instrument: Instrument, leverage: Decimal) -> Decimal:
    """Set and return the leverage of a futures instrument.

    Raises:
        InvalidOrder: It is no whole number, or the instrument does not allow it.
    """
    if leverage != leverage.to_integral_value() or leverage < 1:
        raise InvalidOrder(f"{instrument.symbol}: leverage {leverage} must be a whole number from 1")
    params: Params = {"symbol": instrument.native, "leverage": int(leverage)}
    return (await rest.signed("POST", "leverage", params, LeverageReply, weight=1)).leverage


async def is_hedged(rest: Rest) -> bool:
    """Return whether the futures account is in hedge mode."""
    return (await rest.signed("GET", "positionSide/dual", {}, PositionMode, weight=30)).dualSidePosition


async def key_rights(spot: Rest) -> KeyRights:
    """Return what the key may do, as far as this environment tells: only the live one has such a question.

    Raises:
        VenueError: The venue could not be asked.
    """
    try:
        told = await spot.signed("GET", "/sapi/v1/account/apiRestrictions", {}, KeyRestrictions, weight=1)
    except NotOffered:
        return KeyRights(None, None, "this environment does not tell what a key may do")
    futures, coins = told.enableFutures, told.enableSpotAndMarginTrading
    missing = [name for name, has in (("futures", futures), ("spot", coins)) if has is False]
    note = f"no right to trade {' and '.join(missing)}" if missing else ""
    withdraw = told.enableWithdrawals
    if told.enableInternalTransfer:
        note = f"{note}; may transfer to other accounts of the owner".removeprefix("; ")
    trade = None if futures is None and coins is None else bool(futures or coins)
    return KeyRights(trade, withdraw, note)
