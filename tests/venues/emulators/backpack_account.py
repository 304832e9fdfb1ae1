"""Backpack's calls about the account: money, positions, settings (EXCHANGES.md §5.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from engine.kernel.errors import InvalidOrder
from engine.kernel.orders import OrderType, Side
from tests.venues.emulators.backpack_auth import exact_json
from tests.venues.emulators.backpack_errors import Refusal, bad_request
from tests.venues.emulators.backpack_events import position_id
from tests.venues.emulators.backpack_listings import Listing, plain
from tests.venues.emulators.backpack_orders import SIDES, Ticket
from tests.venues.emulators.backpack_public import Call
from tests.venues.emulators.faults import Answer
from tests.venues.emulators.wire import Seen, json_answer

if TYPE_CHECKING:
    from tests.venues.emulators.backpack import BackpackEmulator

ZERO = Decimal(0)
_SETTINGS = ("autoBorrowSettlements", "autoLend", "autoRepayBorrows", "autoRealizePnl")


def json_object(body: object) -> Mapping[str, Any]:
    """Return a body that is a JSON object; raises `Refusal` when it is none."""
    if not isinstance(body, dict):
        raise bad_request("Expected a JSON object")
    return body


def is_asked_for(emulator: BackpackEmulator, listing: Listing, seen: Seen) -> bool:
    """Return whether a market is among those that `symbol` and `marketType` of a query name."""
    asked = seen.params.get("symbol")
    if asked is not None and emulator.listings.find(asked) is not listing:
        return False
    kind = "PERP" if listing.instrument.is_perp else "SPOT"
    return kind in seen.params.get("marketType", kind).split(",")


class AccountCalls:
    """Answers about the account.

    Args:
        emulator: The venue.
        working: Returns the working orders.

    Attributes:
        routes: (method, path) -> call.
    """

    def __init__(self, emulator: BackpackEmulator, working: Callable[[], list[Ticket]]) -> None:
        self._emulator = emulator
        self._working = working
        self._settings = dict.fromkeys(_SETTINGS, False)
        self.routes: dict[tuple[str, str], Call] = {
            ("GET", "/api/v1/capital"): self._capital,
            ("GET", "/api/v1/capital/collateral"): self._collateral,
            ("GET", "/api/v1/borrowLend/positions"): self._lent,
            ("GET", "/api/v1/position"): self._positions,
            ("GET", "/api/v1/account"): self._account,
            ("PATCH", "/api/v1/account"): self._change_account,
            ("GET", "/api/v1/account/limits/order"): self._largest_order,
        }

    async def _capital(self, seen: Seen) -> Answer:
        emulator = self._emulator
        rows = {}
        for currency in emulator.exchange.account.currencies():
            total = emulator.exchange.account.cash(currency)
            locked = min(total, emulator.exchange.margin.locked(currency))
            free = max(ZERO, total - locked - emulator.lent.get(currency, ZERO))
            rows[currency] = {"available": plain(free), "locked": plain(locked), "staked": "0"}
        return json_answer(rows)

    async def _lent(self, seen: Seen) -> Answer:
        rows = [
            {
                "cumulativeInterest": "0",
                "id": str(70_000 + number),
                "imf": "0",
                "mmf": "0",
                "imfFunction": {"type": "sqrt", "base": "0.02", "factor": "0"},
                "mmfFunction": {"type": "sqrt", "base": "0.01", "factor": "0"},
                "markPrice": "1",
                "netExposureNotional": plain(amount),
                "netExposureQuantity": plain(amount),
                "netQuantity": plain(amount),
                "symbol": currency,
            }
            for number, (currency, amount) in enumerate(self._emulator.lent.items())
        ]
        return json_answer(rows)

    async def _collateral(self, seen: Seen) -> Answer:
        exchange, lent = self._emulator.exchange, self._emulator.lent
        margin = exchange.margin
        cash, unrealised = exchange.account.cash("USDC"), margin.unrealised("USDC")
        used, locked = margin.used("USDC"), margin.locked("USDC")
        equity = cash + unrealised
        exposure = sum((abs(p.quantity) * p.mark_price for p in exchange.positions()), ZERO)
        return json_answer(
            {
                "assetsValue": plain(cash),
                "borrowLiability": "0",
                "collateral": [
                    {
                        "symbol": "USDC",
                        "assetMarkPrice": "1",
                        "totalQuantity": plain(cash),
                        "balanceNotional": plain(cash),
                        "collateralWeight": "1",
                        "collateralValue": plain(cash),
                        "openOrderQuantity": plain(locked),
                        "lendQuantity": plain(lent.get("USDC", ZERO)),
                        "availableQuantity": plain(max(ZERO, cash - locked - lent.get("USDC", ZERO))),
                    }
                ],
                "imf": "0.02",
                "mmf": "0.0125",
                "marginFraction": plain(equity / exposure) if exposure else None,
                "netEquity": plain(equity),
                "netEquityAvailable": plain(max(ZERO, equity - used - locked)),
                "netEquityLocked": plain(used + locked),
                "netExposureFutures": plain(exposure),
                "pnlUnrealized": plain(unrealised),
                "unsettledEquity": "0",
                "liabilitiesValue": "0",
            }
        )

    async def _positions(self, seen: Seen) -> Answer:
        rows = []
        for held in self._emulator.exchange.positions():
            listing = self._emulator.listings.of(held.symbol)
            if not is_asked_for(self._emulator, listing, seen):
                continue
            notional = held.quantity * held.mark_price
            margin = {"type": "sqrt", "base": plain(1 / held.leverage), "factor": "0.0001"}
            rows.append(
                {
                    "symbol": listing.native,
                    "positionId": str(position_id(listing)),
                    "subaccountId": None,
                    "userId": 1,
                    "netQuantity": listing.size(held.quantity),
                    "netExposureQuantity": listing.size(abs(held.quantity)),
                    "netExposureNotional": plain(abs(notional)),
                    "netCost": plain(held.quantity * held.entry_price),
                    "entryPrice": listing.price(held.entry_price),
                    "breakEvenPrice": listing.price(held.entry_price),
                    "markPrice": listing.price(held.mark_price),
                    "estLiquidationPrice": listing.price(held.liquidation_price or ZERO),
                    "imf": plain(1 / held.leverage),
                    "imfFunction": margin,
                    "mmf": plain(listing.instrument.maintenance_margin_rate),
                    "mmfFunction": margin,
                    "pnlRealized": plain(held.realised),
                    "pnlUnrealized": plain(held.unrealised),
                    "cumulativeFundingPayment": plain(held.funding),
                    "cumulativeInterest": "0",
                }
            )
        return json_answer(rows)

    async def _account(self, seen: Seen) -> Answer:
        config = self._emulator.exchange.config
        working = self._working()
        return json_answer(
            {
                **self._settings,
                "borrowLimit": "0",
                "futuresMakerFee": plain(config.perp_maker * 10_000),
                "futuresTakerFee": plain(config.perp_taker * 10_000),
                "leverageLimit": plain(self._emulator.leverage),
                "limitOrders": sum(ticket.kind is not OrderType.STOP for ticket in working),
                "liquidating": self._emulator.liquidating,
                "positionLimit": "0",
                "spotMakerFee": plain(config.spot_maker * 10_000),
                "spotTakerFee": plain(config.spot_taker * 10_000),
                "triggerOrders": sum(ticket.kind is OrderType.STOP for ticket in working),
            }
        )

    async def _change_account(self, seen: Seen) -> Answer:
        body = json_object(exact_json(seen.body))
        unknown = sorted(body.keys() - {*_SETTINGS, "leverageLimit"})
        if unknown:
            raise bad_request(f"unknown field `{unknown[0]}`")
        if "leverageLimit" in body:
            self._set_leverage(body["leverageLimit"])
        self._settings |= {name: bool(body[name]) for name in _SETTINGS if name in body}
        return Answer(200)

    def _set_leverage(self, text: object) -> None:
        if type(text) is not str or not text.replace(".", "", 1).isdigit():
            raise bad_request("Failed to parse leverageLimit: expected a decimal string")
        wanted, emulator = Decimal(text), self._emulator
        if not 1 <= wanted <= 50:
            raise Refusal(400, "INVALID_CLIENT_REQUEST", "leverageLimit must be between 1 and 50")
        for listing in emulator.listings.all:
            instrument = listing.instrument
            if instrument.is_perp:
                leverage = min(wanted, instrument.max_leverage)
                try:
                    emulator.carry_out(lambda s=instrument.symbol, x=leverage: emulator.exchange.set_leverage(s, x))  # type: ignore[misc]
                except InvalidOrder as error:
                    raise Refusal(400, "INSUFFICIENT_MARGIN", "Insufficient margin") from error
        emulator.leverage = wanted

    async def _largest_order(self, seen: Seen) -> Answer:
        params, emulator = seen.params, self._emulator
        listing = emulator.listings.find(params.get("symbol"))
        if params.get("side") not in SIDES:
            raise bad_request("Failed to parse side: expected Bid or Ask")
        side = SIDES[params["side"]]
        mark = emulator.exchange.market(listing.symbol).mark_price()
        price = listing.price_in(params["price"]) if "price" in params else mark
        instrument, margin = listing.instrument, emulator.exchange.margin
        if price is None:
            raise Refusal(400, "INVALID_ORDER", "No price")
        if instrument.is_perp:
            quantity = instrument.quantity_for(max(ZERO, margin.available("USDC")) * margin.leverage(instrument), price)
        elif side is Side.BUY:
            quantity = instrument.quantity_for(margin.spendable(instrument.quote), price)
        else:
            quantity = instrument.floor_quantity(margin.spendable(instrument.base))
        row = {"symbol": listing.native, "side": params["side"], "maxOrderQuantity": listing.size(quantity)}
        return json_answer({**row, **{k: params[k] for k in ("price", "reduceOnly") if k in params}})
