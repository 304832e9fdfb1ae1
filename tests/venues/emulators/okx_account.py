"""OKX's account: balances, positions, leverage, modes, fees, and queries of orders and executions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from engine.kernel.account import Balance, Position
from engine.kernel.errors import InvalidOrder
from engine.kernel.orders import Fill
from tests.venues.emulators.faults import Answer
from tests.venues.emulators.okx_listing import Units
from tests.venues.emulators.okx_market import page
from tests.venues.emulators.okx_order import OkxOrder
from tests.venues.emulators.okx_wire import OkxError, Row, data, fmt, number, required

if TYPE_CHECKING:
    from tests.venues.emulators.okx import OkxEmulator

ZERO = Decimal(0)
UID = "446556182351495168"
_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_FIRST_POSITION = 1_718_236_000
_ORDERS_DAYS = {"orders-history": 7, "orders-history-archive": 90}
_FILLS_DAYS = {"fills": 3, "fills-history": 90}
_PAGE = 100
_MAX_LEVERAGE_QUERY = 20


class AccountDesk:
    """What queries and streams tell of the account.

    Args:
        emulator: Whose.
    """

    def __init__(self, emulator: OkxEmulator) -> None:
        self._emulator = emulator
        self._opened: dict[str, int] = {}
        self._last_trade: dict[str, int] = {}

    def take_fill(self, fill: Fill, trade_number: int) -> None:
        """Remember the last trade of a position and when it began."""
        self._last_trade[fill.symbol] = trade_number
        self._opened.setdefault(fill.symbol, fill.ts)

    # Money.

    def balance(self, parameters: Mapping[str, str]) -> Answer:
        """GET /account/balance."""
        wanted = parameters["ccy"].split(",") if parameters.get("ccy") else None
        balances = [each for each in self._emulator.exchange.balances() if wanted is None or each.currency in wanted]
        return data([self.account_row(balances)])

    def account_row(self, balances: list[Balance]) -> Row:
        """Return the account with details of these currencies."""
        exchange = self._emulator.exchange
        dollars = [balance for balance in exchange.balances() if balance.currency in ("USDT", "USDC")]
        equity = sum((b.total + exchange.margin.unrealised(b.currency) for b in dollars), ZERO)
        margin = sum((exchange.margin.used(b.currency) for b in dollars), ZERO)
        return {
            "adjEq": "",
            "availEq": "",
            "borrowFroz": "",
            "details": [self._detail(balance) for balance in balances],
            "imr": fmt(margin),
            "isoEq": "0",
            "mgnRatio": "",
            "mmr": fmt(sum((exchange.margin.maintenance(b.currency) for b in dollars), ZERO)),
            "notionalUsd": "",
            "ordFroz": "",
            "totalEq": fmt(equity),
            "uTime": str(self._emulator.clock.now_ms()),
            "upl": "",
        }

    def _detail(self, balance: Balance) -> Row:
        margin = self._emulator.exchange.margin
        upl, locked = margin.unrealised(balance.currency), margin.locked(balance.currency)
        return {
            "ccy": balance.currency,
            "eq": fmt(balance.total + upl),
            "cashBal": fmt(balance.total),
            "uTime": str(self._emulator.clock.now_ms()),
            "isoEq": "0",
            "availEq": fmt(max(ZERO, margin.available(balance.currency))),
            "disEq": fmt(balance.total + upl),
            "availBal": fmt(balance.free),
            "frozenBal": fmt(balance.locked),
            "ordFrozen": fmt(locked),
            "liab": "",
            "upl": fmt(upl),
            "uplLiab": "",
            "crossLiab": "",
            "isoLiab": "",
            "mgnRatio": "",
            "imr": fmt(margin.used(balance.currency)),
            "mmr": fmt(margin.maintenance(balance.currency)),
            "interest": "",
            "twap": "0",
            "maxLoan": "",
            "eqUsd": fmt(balance.total + upl),
            "notionalLever": "",
            "stgyEq": "0",
            "isoUpl": "0",
            "spotInUseAmt": "",
        }

    def positions(self, parameters: Mapping[str, str]) -> Answer:
        """GET /account/positions; an instrument that is asked for by name is shown flat when it was held once."""
        wanted = parameters["instId"].split(",") if parameters.get("instId") else None
        if parameters.get("instType") == "SPOT":
            raise OkxError("51000", "instType")
        exchange = self._emulator.exchange
        held = exchange.account.ledgers if wanted is not None else exchange.account.held()
        rows = [self.position_row(exchange.margin.position(exchange.markets[symbol])) for symbol in sorted(held)]
        return data([row for row in rows if wanted is None or row["instId"] in wanted])

    def position_row(self, position: Position) -> Row:
        """Return a position as queries and the stream show it."""
        units = self._emulator.units_of_symbol(position.symbol)
        notional = abs(position.quantity) * position.mark_price
        hedged = self._emulator.pos_mode != "net_mode"
        side = "net" if not hedged else "long" if position.quantity > 0 else "short"
        held = position.quantity != 0
        opened = self._opened.get(position.symbol, 0)
        if not held:
            self._opened.pop(position.symbol, None)
        return {
            "adl": "1",
            "availPos": "",
            "avgPx": fmt(position.entry_price) if held else "",
            "bePx": "",
            "cTime": str(opened),
            "ccy": units.instrument.settle,
            "fee": fmt(-position.fees),
            "fundingFee": fmt(position.funding),
            "idxPx": fmt(position.mark_price),
            "imr": fmt(notional / position.leverage) if held else "",
            "instId": units.native,
            "instType": "SWAP",
            "last": fmt(position.mark_price),
            "lever": fmt(position.leverage),
            "liqPx": fmt(position.liquidation_price) if position.liquidation_price is not None else "",
            "liab": "",
            "margin": "",
            "markPx": fmt(position.mark_price),
            "mgnMode": "cross",
            "mgnRatio": "",
            "mmr": fmt(self._emulator.exchange.margin.maintenance_of(position.symbol)) if held else "",
            "notionalUsd": fmt(notional) if held else "",
            "pnl": fmt(position.realised),
            "pos": units.size(abs(position.quantity) if hedged else position.quantity),
            "posCcy": "",
            "posId": str(_FIRST_POSITION + units.code),
            "posSide": side,
            "realizedPnl": fmt(position.realised - position.fees + position.funding),
            "tradeId": str(self._last_trade.get(position.symbol, "")),
            "uTime": str(self._emulator.clock.now_ms()),
            "upl": fmt(position.unrealised) if held else "",
            "uplRatio": fmt(position.unrealised * position.leverage / notional) if held else "",
        }

    # Settings.

    def config(self, parameters: Mapping[str, str]) -> Answer:
        """GET /account/config."""
        emulator = self._emulator
        return data(
            [
                {
                    "acctLv": emulator.acct_lv,
                    "acctStpMode": "cancel_maker",
                    "autoLoan": False,
                    "ctIsoMode": "automatic",
                    "enableSpotBorrow": False,
                    "greeksType": "PA",
                    "ip": "",
                    "kycLv": "2",
                    "label": "emulated",
                    "level": "Lv1",
                    "levelTmp": "",
                    "liquidationGear": "-1",
                    "mainUid": UID,
                    "mgnIsoMode": "automatic",
                    "opAuth": "0",
                    "perm": emulator.perm,
                    "posMode": emulator.pos_mode,
                    "roleType": "0",
                    "spotBorrowAutoRepay": False,
                    "spotOffsetType": "",
                    "spotRoleType": "0",
                    "type": "0",
                    "uid": UID,
                }
            ]
        )

    def set_position_mode(self, request: Mapping[str, Any]) -> Row:
        """POST /account/set-position-mode; not while there are positions or orders of swaps."""
        required(request, "posMode")
        if request["posMode"] not in ("net_mode", "long_short_mode"):
            raise OkxError("51000", "posMode")
        busy = any(order.units.instrument.is_perp for order in self._emulator.desk.open_orders())
        if request["posMode"] != self._emulator.pos_mode and (busy or self._emulator.exchange.account.held()):
            raise OkxError("59000")
        self._emulator.pos_mode = request["posMode"]
        return {"posMode": request["posMode"]}

    def set_leverage(self, request: Mapping[str, Any]) -> Row:
        """POST /account/set-leverage."""
        required(request, "lever", "mgnMode")
        if not request.get("instId"):
            raise OkxError("50015", "instId", "ccy")
        units, leverage = self._emulator.units_of(request), number(request, "lever")
        if request["mgnMode"] != "cross" or not units.instrument.is_perp:
            raise OkxError("51000", "mgnMode")
        assert leverage is not None
        if leverage > units.instrument.max_leverage:
            raise OkxError("59102")
        exchange = self._emulator.exchange
        try:
            self._emulator.carry_out(lambda: exchange.set_leverage(units.instrument.symbol, leverage))
        except InvalidOrder as error:
            raise OkxError("59108") from error
        return {"instId": units.native, "lever": fmt(leverage), "mgnMode": "cross", "posSide": ""}

    def leverage_info(self, parameters: Mapping[str, str]) -> Answer:
        """GET /account/leverage-info; several instruments may be named, separated by commas."""
        required(parameters, "instId", "mgnMode")
        names = parameters["instId"].split(",")
        if len(names) > _MAX_LEVERAGE_QUERY:
            raise OkxError("51000", "instId")
        rows = []
        for name in names:
            units = self._emulator.units_of({"instId": name})
            leverage = self._emulator.exchange.margin.leverage(units.instrument)
            mode = parameters["mgnMode"]
            rows.append({"ccy": "", "instId": name, "mgnMode": mode, "posSide": "net", "lever": fmt(leverage)})
        return data(rows)

    def trade_fee(self, parameters: Mapping[str, str]) -> Answer:
        """GET /account/trade-fee; negative is charged, and USDT swaps have fields of their own."""
        required(parameters, "instType")
        kind = parameters["instType"]
        name = parameters.get("instId")
        found = [u for u in self._emulator.units.values() if u.inst_type == kind and name in (None, u.native)]
        if not found:
            raise OkxError("51001" if name else "51000", "instType")
        maker, taker = fmt(-found[0].instrument.maker_fee), fmt(-found[0].instrument.taker_fee)
        perp = found[0].instrument.is_perp
        return data(
            [
                {
                    "category": "1",
                    "delivery": "",
                    "exercise": "",
                    "instType": kind,
                    "level": "Lv1",
                    "maker": "-0.0003" if perp else maker,
                    "taker": "-0.0006" if perp else taker,
                    "makerU": maker if perp else "",
                    "takerU": taker if perp else "",
                    "makerUSDC": maker if perp else "",
                    "takerUSDC": taker if perp else "",
                    "ruleType": "normal",
                    "ts": str(self._emulator.clock.now_ms()),
                }
            ]
        )

    # Orders and executions.

    def order(self, parameters: Mapping[str, str]) -> Answer:
        """GET /trade/order; an order cancelled without executions is forgotten after two hours."""
        required(parameters, "instId")
        order = self._emulator.desk.find(parameters)
        if order is None or self._emulator.faults.hides(order.c_time) or self._forgotten(order):
            raise OkxError("51603")
        return data([order.row()])

    def pending(self, parameters: Mapping[str, str]) -> Answer:
        """GET /trade/orders-pending."""
        return self._order_page(reversed(self._emulator.desk.open_orders()), parameters)

    def history(self, parameters: Mapping[str, str], kind: str) -> Answer:
        """GET /trade/orders-history and -archive: final orders only."""
        required(parameters, "instType")
        oldest = self._emulator.clock.now_ms() - _ORDERS_DAYS[kind] * _DAY_MS
        closed = (
            order
            for order in reversed(self._emulator.desk.orders.values())
            if not order.is_open and order.u_time >= oldest and not self._forgotten(order)
        )
        return self._order_page(closed, parameters)

    def _order_page(self, newest_first: Iterable[OkxOrder], parameters: Mapping[str, str]) -> Answer:
        begin, end = number(parameters, "begin", zero=True), number(parameters, "end", zero=True)
        types, states = parameters.get("ordType"), parameters.get("state")
        chosen = (
            order
            for order in newest_first
            if (begin is None or order.c_time >= begin)
            and (end is None or order.c_time <= end)
            and types in (None, "", order.ord_type)
            and states in (None, "", order.state)
            and _is_of(order.units, parameters)
            and not self._emulator.faults.hides(order.c_time)
        )
        return data([order.encoded() for order in page(chosen, parameters, lambda order: order.ord_id, _PAGE)])

    def fills(self, parameters: Mapping[str, str], kind: str) -> Answer:
        """GET /trade/fills and /trade/fills-history, newest first, paged by billId."""
        if kind == "fills-history":
            required(parameters, "instType")
        oldest = Decimal(self._emulator.clock.now_ms() - _FILLS_DAYS[kind] * _DAY_MS)
        begin, end = number(parameters, "begin", zero=True), number(parameters, "end", zero=True)
        since = max(oldest, begin or ZERO)
        chosen = (
            executed
            for executed in takewhile(lambda each: each[1].ts >= since, reversed(self._emulator.desk.fills))
            if (end is None or executed[1].ts <= end)
            and parameters.get("ordId") in (None, "", str(executed[0].ord_id))
            and _is_of(executed[0].units, parameters)
            and not self._emulator.faults.hides(executed[1].ts)
        )
        rows = [
            order.encoded_fill(fill, trade_number, bill_id)
            for order, fill, trade_number, bill_id in page(chosen, parameters, lambda executed: executed[3], _PAGE)
        ]
        return data(rows)

    def _forgotten(self, order: OkxOrder) -> bool:
        return (
            order.state == "canceled"
            and not order.filled
            and self._emulator.clock.now_ms() - order.u_time > 2 * _HOUR_MS
        )


def _is_of(units: Units, parameters: Mapping[str, str]) -> bool:
    """Return whether an instrument is meant by the parameters instType, instId and instFamily."""
    return (
        parameters.get("instType") in (None, "", units.inst_type)
        and parameters.get("instId") in (None, "", units.native)
        and ("instFamily" not in parameters or units.native.startswith(f"{parameters['instFamily']}-"))
    )
