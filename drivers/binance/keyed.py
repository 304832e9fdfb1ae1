"""What one key may use of the two interfaces, and what is known of the account behind it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from drivers.binance import account
from drivers.binance.rest import Rest
from drivers.binance.wire import CommissionRate
from drivers.transport.rate_limits import Urgency
from drivers.transport.setup import VenueSetup
from engine.kernel.account import Balance, KeyRights, Position
from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import AuthError, PermissionDenied, VenueError
from engine.kernel.instruments import Instrument, InstrumentKind

PERP, SPOT = InstrumentKind.PERP, InstrumentKind.SPOT
_KEPT_NS = 600 * NS_PER_S
"""How long the answers about fees and the key's rights are good for."""


class KeyedAccount:
    """One account, asked over the interfaces that its key may use.

    Args:
        rests: The two interfaces.
        setup: The driver's setup.
        require_keys: Raises `AuthError` when there are no keys.
        find: Returns the instrument of a native symbol, None for one that is not listed.
        say_once: Takes a warning; each text is told once.

    Attributes:
        wallets: The balances as last heard of.
        leverages: The leverages of perpetuals as last heard of, by canonical symbol.
    """

    def __init__(
        self,
        rests: dict[InstrumentKind, Rest],
        setup: VenueSetup,
        require_keys: Callable[[], None],
        find: Callable[[InstrumentKind, str], Instrument | None],
        say_once: Callable[[str], None],
    ) -> None:
        self._rests = rests
        self._setup = setup
        self._require_keys = require_keys
        self._find = find
        self._say_once = say_once
        self._refused: dict[InstrumentKind, VenueError] = {}
        self._isolated: set[str] = set()
        self._can_trade_spot = True
        self._fees: dict[str, tuple[int, Decimal, Decimal]] = {}
        self._rights: tuple[int, KeyRights] | None = None
        self.wallets = account.Wallets()
        self.leverages: dict[str, Decimal] = {}

    async def try_key(self) -> None:
        """Find out which interfaces accept the key, and learn leverages and wallets on the way.

        Raises:
            VenueError: None does, or one could not be asked.
        """
        self._refused.clear()
        for kind, ask in ((PERP, self._ask_futures), (SPOT, self._ask_spot)):
            try:
                await ask()
            except (AuthError, PermissionDenied) as error:
                self._refused[kind] = error
        if len(self._refused) == len(self._rests):
            raise self._refused[PERP]
        for kind, refusal in self._refused.items():
            self._setup.log("warning", f"binance: the key cannot be used for {kind.value}: {refusal}")

    def usable(self) -> list[InstrumentKind]:
        """Return the interfaces that the key may use; raises `AuthError` without keys."""
        self._require_keys()
        return [kind for kind in self._rests if kind not in self._refused]

    def rest(self, kind: InstrumentKind) -> Rest:
        """Return an interface for signed requests; raises the venue's refusal when the key may not use it."""
        self._require_keys()
        if kind in self._refused:
            raise self._refused[kind]
        return self._rests[kind]

    async def commission(self, instrument: Instrument) -> tuple[Decimal, Decimal]:
        """Return the account's maker and taker fee, good for some minutes; the usual ones without keys."""
        if self._setup.credentials is None or instrument.kind in self._refused:
            return instrument.maker_fee, instrument.taker_fee
        known, now_ns = self._fees.get(instrument.symbol), self._setup.clock.now_ns()
        if known is None or now_ns - known[0] > _KEPT_NS:
            rest = self._rests[instrument.kind]
            if instrument.is_perp:
                params = {"symbol": instrument.native}
                told = await rest.signed(
                    "GET", "commissionRate", params, CommissionRate, weight=20, urgency=Urgency.QUERY
                )
                known = now_ns, told.makerCommissionRate, told.takerCommissionRate
            else:
                rates = (await account.spot_account(rest))[0].commissionRates
                maker, taker = instrument.maker_fee, instrument.taker_fee
                known = (now_ns, maker, taker) if rates is None else (now_ns, rates.maker, rates.taker)
            self._fees[instrument.symbol] = known
        return known[1], known[2]

    async def balances(self) -> list[Balance]:
        """Return every currency's balance over both wallets, in order of name."""
        kinds = self.usable()
        if PERP in kinds:
            self.wallets.replace(PERP, await account.futures_wallet(self._rests[PERP]))
        if SPOT in kinds:
            await self._ask_spot()
        return self.wallets.all()

    async def positions(self, native: str | None, listed: Callable[[str], Instrument | None]) -> list[Position]:
        """Return the open positions of one perpetual or all, in order of name; those not listed are left out."""
        if PERP not in self.usable():
            return []
        found = await account.positions(self._rests[PERP], native, listed, self.leverages.get)
        for position in found:
            if position.symbol in self._isolated:
                self._say_once(f"binance: {position.symbol} is on isolated margin: only its own margin covers it")
        return found

    async def set_leverage(self, instrument: Instrument, leverage: Decimal) -> Decimal:
        """Set and return the leverage of a perpetual."""
        told = await account.set_leverage(self.rest(PERP), instrument, leverage)
        self.leverages[instrument.symbol] = told
        return told

    async def obstacles(self) -> list[str]:
        """Return what forbids trading on this account, with remedies."""
        found = []
        kinds = self.usable()
        if PERP in kinds and await account.is_hedged(self._rests[PERP]):
            found.append(account.HEDGE_MODE)
        if SPOT in kinds and not self._can_trade_spot and PERP not in kinds:
            found.append("the spot account may not trade: see its state at the venue")
        rights = await self.rights()
        if rights.trade is False:
            found.append(f"the key may not trade ({rights.note}): enable it in API Management")
        return found

    async def rights(self) -> KeyRights:
        """Return what the venue says the key may do; the answer is good for some minutes."""
        self._require_keys()
        now_ns = self._setup.clock.now_ns()
        if self._rights is None or now_ns - self._rights[0] > _KEPT_NS:
            if SPOT in self._refused:
                rights = KeyRights(None, None, "the spot interface, which tells a key's rights, refuses this key")
            else:
                rights = await account.key_rights(self._rests[SPOT])
            self._rights = now_ns, rights
        return self._rights[1]

    async def _ask_futures(self) -> None:
        rest = self._rests[PERP]
        for row in await account.symbol_configs(rest):
            instrument = self._find(PERP, row.symbol)
            if instrument is not None:
                self.leverages[instrument.symbol] = row.leverage
                if row.marginType.upper() == "ISOLATED":
                    self._isolated.add(instrument.symbol)
        self.wallets.replace(PERP, await account.futures_wallet(rest))

    async def _ask_spot(self) -> None:
        told, balances = await account.spot_account(self._rests[SPOT])
        self._can_trade_spot = told.canTrade
        self.wallets.replace(SPOT, balances)
