"""The account at OKX: settings, key rights, balances, positions, leverage, fee rates."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from drivers.okx import codec
from drivers.okx.rest import OkxRest
from drivers.okx.symbols import Contract, arch
from drivers.okx.wire import AccountRow, ConfigRow, FeeRow, LeverageRow, PositionRow
from drivers.transport.line_decoder import understanding
from drivers.transport.rate_limits import Urgency
from engine.kernel.account import Balance, KeyRights, Position
from engine.kernel.errors import InvalidOrder, Unsupported, VenueUnavailable
from engine.kernel.instruments import Instrument, InstrumentKind

Rates = tuple[Decimal, Decimal]
"""Maker and taker fee, as shares of notional, positive when charged."""

_SPOT_MODE = "1"
_MARGIN_MODES = ("3", "4")
_LEVERAGE_PAGE = 20


class Account:
    """One account.

    Args:
        rest: The REST interface.
        known: Returns the contract of a native symbol, None when it is none that this driver trades.

    Attributes:
        config: The settings as last heard of.
        leverages: Leverage by canonical symbol, as last heard of.
    """

    def __init__(self, rest: OkxRest, known: Callable[[str], Contract | None]) -> None:
        self._rest = rest
        self._known = known
        self._rates: dict[tuple[InstrumentKind, str], Rates] = {}
        self.config = ConfigRow()
        self.leverages: dict[str, Decimal] = {}

    @property
    def is_margin_mode(self) -> bool:
        """Return whether spot and margin are one in this account: multi-currency or portfolio margin."""
        return self.config.acctLv in _MARGIN_MODES

    @property
    def trades_swaps(self) -> bool:
        """Return whether the account's mode allows swaps."""
        return self.config.acctLv != _SPOT_MODE

    @property
    def inst_types(self) -> tuple[str, ...]:
        """Return the venue's kinds of instruments whose orders can be ours."""
        return ("SPOT", "SWAP", "MARGIN") if self.is_margin_mode else ("SPOT", "SWAP")

    @property
    def spot_trade_mode(self) -> str:
        """Return the trade mode of spot orders."""
        return "cross" if self.is_margin_mode else "cash"

    async def load_config(self) -> ConfigRow:
        """Ask for the settings."""
        rows = await self._rest.get("/account/config", ConfigRow, "config", private=True, urgency=Urgency.RECONCILE)
        if not rows:
            raise VenueUnavailable("okx: the account's settings: an answer without any")
        self.config = rows[0]
        return self.config

    async def obstacles(self) -> list[str]:
        """Return what forbids trading, with remedies."""
        config = await self.load_config()
        found = []
        rows = await self._position_rows(None)
        with understanding("okx: positions"):
            isolated = [r.instId for r in rows if r.mgnMode == "isolated" and codec.optional(r.pos, "pos")]
        if isolated:
            found.append(
                f"okx: {', '.join(isolated)}: held in isolated margin, which orders in cross margin cannot reduce: "
                "close it on the venue's own page"
            )
        if config.posMode == "long_short_mode":
            found.append(
                "okx: the account is in hedge mode (long/short positions): close positions and orders, then choose "
                "one-way (net) mode in the trading settings"
            )
        if not self.trades_swaps:
            found.append(
                "okx: the account is in spot mode, which cannot trade swaps: choose futures mode or higher in the "
                "account's settings"
            )
        if config.perm and "trade" not in config.perm.split(","):
            found.append(
                "okx: the key may only read: make a key with the right to trade, without the right to withdraw"
            )
        return found

    async def key_rights(self) -> KeyRights:
        """Return what the key may do."""
        config = await self.load_config()
        if not config.perm:
            return KeyRights(None, None, "the venue does not say what the key may do")
        rights = config.perm.split(",")
        note = f"bound to {config.ip}" if config.ip else "not bound to an IP address; the venue advises to bind it"
        return KeyRights("trade" in rights, "withdraw" in rights, note)

    async def balances(self, currency: str | None) -> list[Balance]:
        """Return the currencies of the trading account."""
        rows = await self._rest.get(
            "/account/balance", AccountRow, "balance", private=True, urgency=Urgency.RECONCILE, ccy=currency
        )
        with understanding("okx: balances"):
            found = [balance for row in rows for balance in codec.balances(row)]
        return sorted((b for b in found if currency in (None, b.currency)), key=lambda balance: balance.currency)

    async def positions(self, contract: Contract | None) -> list[Position]:
        """Return open positions in swaps, in order of name."""
        rows = await self._position_rows(contract)
        with understanding("okx: positions"):
            found = [codec.position(row, known) for row in rows if (known := self._known(row.instId)) is not None]
        for position in found:
            self.note(position)
        return sorted((p for p in found if p.quantity), key=lambda position: position.symbol)

    async def _position_rows(self, contract: Contract | None) -> list[PositionRow]:
        return await self._rest.get(
            "/account/positions", PositionRow, "positions", private=True, urgency=Urgency.RECONCILE,
            instType="SWAP", instId=contract.native if contract else None,
        )  # fmt: skip

    def note(self, position: Position) -> None:
        """Take in the leverage that a position tells."""
        if position.leverage:
            self.leverages[position.symbol] = position.leverage

    async def load_leverage(self, contracts: list[Contract]) -> None:
        """Ask for the leverage of swaps."""
        for begin in range(0, len(contracts), _LEVERAGE_PAGE):
            names = ",".join(contract.native for contract in contracts[begin : begin + _LEVERAGE_PAGE])
            rows = await self._rest.get(
                "/account/leverage-info", LeverageRow, "leverage_info", private=True, instId=names, mgnMode="cross"
            )
            with understanding("okx: leverage"):
                for row in rows:
                    known = self._known(row.instId)
                    if known is not None and row.posSide in ("", "net") and row.lever:
                        self.leverages[known.symbol] = codec.decimal(row.lever, "lever")

    async def set_leverage(self, contract: Contract, leverage: Decimal, instrument: Instrument) -> Decimal:
        """Set the leverage of a swap in cross margin."""
        if contract.kind is not InstrumentKind.PERP:
            raise Unsupported(f"{contract.symbol} is spot: it has no leverage")
        if not 1 <= leverage <= instrument.max_leverage:
            raise InvalidOrder(
                f"{contract.symbol}: leverage {leverage} must be between 1 and {instrument.max_leverage}"
            )
        body = {"instId": contract.native, "lever": codec.plain(leverage), "mgnMode": "cross"}
        rows = await self._rest.post("/account/set-leverage", body, LeverageRow, "set_leverage", Urgency.QUERY)
        if not rows:
            raise VenueUnavailable(f"okx: leverage of {contract.symbol}: an answer without a result; ask for it")
        with understanding("okx: leverage"):
            self.leverages[contract.symbol] = codec.decimal(rows[0].lever, "lever")
        return self.leverages[contract.symbol]

    async def load_rates(self) -> None:
        """Ask for the account's fee rates."""
        for kind, inst_type in ((InstrumentKind.SPOT, "SPOT"), (InstrumentKind.PERP, "SWAP")):
            rows = await self._rest.get("/account/trade-fee", FeeRow, "trade_fee", private=True, instType=inst_type)
            with understanding("okx: fee rates"):
                for row in rows:
                    self._take_rates(kind, row)

    def rates(self, kind: InstrumentKind, group: str, settle: str) -> Rates:
        """Return the fees of an instrument: of its group, else of its settlement currency, else the public ones."""
        known = self._rates.get((kind, f"group {group}")) or self._rates.get((kind, settle))
        if known is not None:
            return known
        public = arch().fees[kind.value]
        return Decimal(public["maker"]), Decimal(public["taker"])

    def _take_rates(self, kind: InstrumentKind, row: FeeRow) -> None:
        for group in row.feeGroup:
            self._take(kind, f"group {group.groupId}", group.maker, group.taker)
        if kind is InstrumentKind.SPOT:
            self._take(kind, "USDT", row.maker, row.taker)
        else:
            self._take(kind, "USDT", row.makerU, row.takerU)
        self._take(kind, "USDC", row.makerUSDC, row.takerUSDC)

    def _take(self, kind: InstrumentKind, name: str, maker: str, taker: str) -> None:
        """Keep a pair of rates; the venue's are negative when charged, and empty where they do not apply."""
        if maker and taker:
            self._rates[kind, name] = -codec.decimal(maker, "maker"), -codec.decimal(taker, "taker")
