"""Private REST of the USD-M futures account: wallets, positions, settings, income, listen key (EXCHANGES §2.4)."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from engine.kernel.account import Position
from engine.kernel.errors import InvalidOrder
from tests.venues.emulators.binance_endpoint import Endpoint, Security, in_window
from tests.venues.emulators.binance_listing import FUTURES_WALLET, Listing, asset_of
from tests.venues.emulators.binance_wire import BinanceError, Params, Product, fixed, missing

if TYPE_CHECKING:
    from tests.venues.emulators.binance import BinanceEmulator

ZERO = Decimal(0)
_FUTURES = Product.FUTURES
_WEEK_MS = 7 * 86_400_000
_SUCCESS = {"code": 200, "msg": "success"}


def _asked(venue: BinanceEmulator, params: Params) -> Listing:
    return venue.catalogue.find(_FUTURES, params.need("symbol"))


def _maybe(venue: BinanceEmulator, params: Params) -> Listing | None:
    return _asked(venue, params) if "symbol" in params else None


def _wallets(venue: BinanceEmulator) -> list[str]:
    return [currency for currency in venue.exchange.account.currencies() if currency.endswith(FUTURES_WALLET)]


def balances(venue: BinanceEmulator, params: Params) -> object:
    rows = []
    for currency in [*_wallets(venue), "BNB" + FUTURES_WALLET]:
        cash, open_profit = venue.exchange.account.cash(currency), venue.exchange.margin.unrealised(currency)
        free = fixed(max(ZERO, venue.exchange.margin.available(currency)), 8)
        rows.append(
            {
                "accountAlias": "SgsR",
                "asset": asset_of(currency),
                "balance": fixed(cash, 8),
                "crossWalletBalance": fixed(cash, 8),
                "crossUnPnl": fixed(open_profit, 8),
                "availableBalance": free,
                "maxWithdrawAmount": free,
                "marginAvailable": True,
                "updateTime": venue.clock.now_ms(),
            }
        )
    return rows


def account(venue: BinanceEmulator, params: Params) -> object:
    margin, assets = venue.exchange.margin, []
    sums = {"wallet": ZERO, "profit": ZERO, "initial": ZERO, "maintenance": ZERO, "free": ZERO}
    for currency in _wallets(venue):
        cash, profit = venue.exchange.account.cash(currency), margin.unrealised(currency)
        used, maintenance = margin.used(currency), margin.maintenance(currency)
        free = max(ZERO, margin.available(currency))
        for name, amount in zip(sums, (cash, profit, used, maintenance, free), strict=True):
            sums[name] += amount
        assets.append(
            {
                "asset": asset_of(currency),
                "walletBalance": fixed(cash, 8),
                "unrealizedProfit": fixed(profit, 8),
                "marginBalance": fixed(cash + profit, 8),
                "maintMargin": fixed(maintenance, 8),
                "initialMargin": fixed(used, 8),
                "positionInitialMargin": fixed(used, 8),
                "openOrderInitialMargin": fixed(ZERO, 8),
                "crossWalletBalance": fixed(cash, 8),
                "crossUnPnl": fixed(profit, 8),
                "availableBalance": fixed(free, 8),
                "maxWithdrawAmount": fixed(free, 8),
                "updateTime": venue.clock.now_ms(),
            }
        )
    positions = [
        {key: row[key] for key in ("symbol", "positionSide", "positionAmt", "isolatedMargin", "notional")}
        | {
            "unrealizedProfit": row["unRealizedProfit"],
            "isolatedWallet": "0",
            "initialMargin": row["initialMargin"],
            "maintMargin": row["maintMargin"],
            "updateTime": row["updateTime"],
        }
        for row in _position_rows(venue, None)
    ]
    return {
        "totalInitialMargin": fixed(sums["initial"], 8),
        "totalMaintMargin": fixed(sums["maintenance"], 8),
        "totalWalletBalance": fixed(sums["wallet"], 8),
        "totalUnrealizedProfit": fixed(sums["profit"], 8),
        "totalMarginBalance": fixed(sums["wallet"] + sums["profit"], 8),
        "totalPositionInitialMargin": fixed(sums["initial"], 8),
        "totalOpenOrderInitialMargin": fixed(ZERO, 8),
        "totalCrossWalletBalance": fixed(sums["wallet"], 8),
        "totalCrossUnPnl": fixed(sums["profit"], 8),
        "availableBalance": fixed(sums["free"], 8),
        "maxWithdrawAmount": fixed(sums["free"], 8),
        "assets": assets,
        "positions": positions,
    }


def positions(venue: BinanceEmulator, params: Params) -> object:
    return _position_rows(venue, _maybe(venue, params))


def _position_rows(venue: BinanceEmulator, wanted: Listing | None) -> list[dict[str, object]]:
    """Return symbols with a position or an open order, as v3 does."""
    held = {position.symbol: position for position in venue.exchange.positions()}
    ordered = {ticket.listing.symbol for ticket in venue.orders.open(_FUTURES)}
    return [
        _position_row(venue, listing, held.get(listing.symbol))
        for listing in venue.catalogue.of(_FUTURES)
        if (wanted is None or listing is wanted) and (listing.symbol in held or listing.symbol in ordered)
    ]


def _position_row(venue: BinanceEmulator, listing: Listing, position: Position | None) -> dict[str, object]:
    market = venue.exchange.market(listing.symbol)
    mark = market.mark_price() or ZERO
    quantity = position.quantity if position is not None else ZERO
    entry = listing.mark_text(position.entry_price if position is not None else None)
    liquidation = position.liquidation_price if position is not None else None
    return {
        "symbol": listing.native,
        "positionSide": "BOTH",
        "positionAmt": listing.qty_text(quantity),
        "entryPrice": entry,
        "breakEvenPrice": entry,
        "markPrice": listing.mark_text(mark),
        "unRealizedProfit": fixed(position.unrealised if position is not None else ZERO, 8),
        "liquidationPrice": listing.mark_text(liquidation) if liquidation is not None else "0",
        "isolatedMargin": "0",
        "notional": fixed(quantity * mark, 8),
        "marginAsset": listing.quote_asset,
        "isolatedWallet": "0",
        "initialMargin": fixed(venue.exchange.margin.initial(market), 8),
        "maintMargin": fixed(venue.exchange.margin.maintenance_of(listing.symbol), 8),
        "positionInitialMargin": fixed(abs(quantity) * mark / venue.exchange.margin.leverage(listing.instrument), 8),
        "openOrderInitialMargin": fixed(ZERO, 8),
        "adl": 2,
        "bidNotional": "0",
        "askNotional": "0",
        "updateTime": venue.clock.now_ms(),
    }


def symbol_config(venue: BinanceEmulator, params: Params) -> object:
    wanted = _maybe(venue, params)
    return [
        {
            "symbol": listing.native,
            "marginType": venue.account.margin_types.get(listing.symbol, "CROSSED"),
            "isAutoAddMargin": False,
            "leverage": int(venue.exchange.margin.leverage(listing.instrument)),
            "maxNotionalValue": "1000000",
        }
        for listing in venue.catalogue.of(_FUTURES)
        if wanted is None or listing is wanted
    ]


def account_config(venue: BinanceEmulator, params: Params) -> object:
    return {
        "feeTier": 0,
        "canTrade": venue.account.can_trade,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": venue.account.dual_side,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }


def set_leverage(venue: BinanceEmulator, params: Params) -> object:
    listing, leverage = _asked(venue, params), params.integer("leverage")
    if leverage is None:
        raise missing("leverage")
    if not 1 <= leverage <= listing.instrument.max_leverage:
        raise BinanceError(-4028, f"Leverage {leverage} is not valid")
    try:
        venue.carry_out(lambda: venue.exchange.set_leverage(listing.symbol, Decimal(leverage)))
    except InvalidOrder as error:
        raise BinanceError(-2028, "Leverage is smaller than permitted: insufficient margin balance.") from error
    venue.user.leverage_changed(listing.native, leverage)
    return {"leverage": leverage, "maxNotionalValue": "1000000", "symbol": listing.native}


def set_margin_type(venue: BinanceEmulator, params: Params) -> object:
    listing, kind = _asked(venue, params), params.need("marginType")
    if kind not in ("ISOLATED", "CROSSED"):
        raise BinanceError(-4125, "Invalid margin type.")
    if kind == venue.account.margin_types.get(listing.symbol, "CROSSED"):
        raise BinanceError(-4046, "No need to change margin type.")
    if venue.orders.open(_FUTURES, listing):
        raise BinanceError(-4047, "Margin type cannot be changed if there exists open orders.")
    if venue.exchange.account.position(listing.instrument):
        raise BinanceError(-4048, "Margin type cannot be changed if there exists position.")
    venue.account.margin_types[listing.symbol] = kind
    return _SUCCESS


def set_position_mode(venue: BinanceEmulator, params: Params) -> object:
    dual = params.flag("dualSidePosition")
    if dual is None:
        raise missing("dualSidePosition")
    if dual is venue.account.dual_side:
        raise BinanceError(-4059, "No need to change position side.")
    if venue.orders.open(_FUTURES):
        raise BinanceError(-4067, "Position side cannot be changed if there exists open orders.")
    if venue.exchange.positions():
        raise BinanceError(-4068, "Position side cannot be changed if there exists position.")
    venue.account.dual_side = dual
    return _SUCCESS


def position_mode(venue: BinanceEmulator, params: Params) -> object:
    return {"dualSidePosition": venue.account.dual_side}


def multi_assets(venue: BinanceEmulator, params: Params) -> object:
    return {"multiAssetsMargin": False}


def commission_rate(venue: BinanceEmulator, params: Params) -> object:
    listing = _asked(venue, params)
    instrument = venue.exchange.instruments[listing.symbol]
    maker, taker = fixed(instrument.maker_fee, 6), fixed(instrument.taker_fee, 6)
    return {"symbol": listing.native, "makerCommissionRate": maker, "takerCommissionRate": taker}


def leverage_bracket(venue: BinanceEmulator, params: Params) -> object:
    wanted = _maybe(venue, params)
    rows = [
        {
            "symbol": listing.native,
            "brackets": [
                {
                    "bracket": 1,
                    "initialLeverage": int(listing.instrument.max_leverage),
                    "notionalCap": 1_000_000,
                    "notionalFloor": 0,
                    "maintMarginRatio": float(listing.instrument.maintenance_margin_rate),
                    "cum": 0.0,
                }
            ],
        }
        for listing in venue.catalogue.of(_FUTURES)
        if wanted is None or listing is wanted
    ]
    return rows[0] if wanted is not None else rows


def income(venue: BinanceEmulator, params: Params) -> object:
    """Answer funding payments; the stream's FUNDING_FEE names no symbol in cross margin."""
    wanted, kind = _maybe(venue, params), params.text("incomeType", "FUNDING_FEE")
    payments = [
        p for p in venue.user.payments if kind == "FUNDING_FEE" and (wanted is None or p.symbol == wanted.symbol)
    ]
    return [
        {
            "symbol": venue.catalogue.by_symbol[p.symbol].native,
            "incomeType": "FUNDING_FEE",
            "income": fixed(p.amount, 8),
            "asset": asset_of(p.currency),
            "info": "FUNDING_FEE",
            "time": p.ts,
            "tranId": p.ts // 1000,
            "tradeId": "",
        }
        for p in in_window(payments, lambda p: p.ts, params, _WEEK_MS, venue.clock.now_ms(), True)
    ]


def new_listen_key(venue: BinanceEmulator, params: Params) -> object:
    return {"listenKey": venue.listen_keys.create()}


def keep_listen_key(venue: BinanceEmulator, params: Params) -> object:
    return {"listenKey": venue.listen_keys.keep_alive()}


def close_listen_key(venue: BinanceEmulator, params: Params) -> object:
    venue.listen_keys.close()
    return {}


_READ, _TRADE, _KEY = Security.READ, Security.TRADE, Security.KEY

FUTURES_ACCOUNT = {
    ("GET", "/fapi/v3/balance"): Endpoint(balances, 5, _READ),
    ("GET", "/fapi/v3/account"): Endpoint(account, 5, _READ),
    ("GET", "/fapi/v3/positionRisk"): Endpoint(positions, 5, _READ),
    ("GET", "/fapi/v1/symbolConfig"): Endpoint(symbol_config, 5, _READ),
    ("GET", "/fapi/v1/accountConfig"): Endpoint(account_config, 5, _READ),
    ("POST", "/fapi/v1/leverage"): Endpoint(set_leverage, 1, _TRADE),
    ("POST", "/fapi/v1/marginType"): Endpoint(set_margin_type, 1, _TRADE),
    ("POST", "/fapi/v1/positionSide/dual"): Endpoint(set_position_mode, 1, _TRADE),
    ("GET", "/fapi/v1/positionSide/dual"): Endpoint(position_mode, 30, _READ),
    ("GET", "/fapi/v1/multiAssetsMargin"): Endpoint(multi_assets, 30, _READ),
    ("GET", "/fapi/v1/commissionRate"): Endpoint(commission_rate, 20, _READ),
    ("GET", "/fapi/v1/leverageBracket"): Endpoint(leverage_bracket, 1, _READ),
    ("GET", "/fapi/v1/income"): Endpoint(income, 30, _READ),
    ("POST", "/fapi/v1/listenKey"): Endpoint(new_listen_key, 1, _KEY),
    ("PUT", "/fapi/v1/listenKey"): Endpoint(keep_listen_key, 1, _KEY),
    ("DELETE", "/fapi/v1/listenKey"): Endpoint(close_listen_key, 1, _KEY),
}
