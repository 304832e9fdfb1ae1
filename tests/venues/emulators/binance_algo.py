"""Conditional futures orders on their own endpoints: held until triggered, then sent on as plain orders.

No margin is asked for before the trigger. Events are ALGO_UPDATE: NEW, TRIGGERING, TRIGGERED, FINISHED, CANCELED,
EXPIRED, REJECTED (official change log of 2025-11-06).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING

from engine.kernel.market import MarkPrice, Trade
from engine.kernel.orders import Side
from tests.venues.emulators.binance_filters import (
    Wanted,
    check_client_id,
    check_futures_numbers,
    check_futures_price,
    check_position_side,
)
from tests.venues.emulators.binance_listing import Listing
from tests.venues.emulators.binance_trading import carry
from tests.venues.emulators.binance_wire import BinanceError, Params

if TYPE_CHECKING:
    from tests.venues.emulators.binance import BinanceEmulator

_STOPS = ("STOP", "STOP_MARKET")
_TYPES = (*_STOPS, "TAKE_PROFIT", "TAKE_PROFIT_MARKET")
_MOST = 200


@dataclass(slots=True)
class Algo:
    """One conditional order, in native units."""

    number: int
    client_id: str
    listing: Listing
    side: Side
    type: str
    force: str
    quantity: Decimal
    price: Decimal | None
    trigger: Decimal
    working: str
    reduce_only: bool
    close_position: bool
    created_ms: int
    updated_ms: int
    status: str = "NEW"
    order_number: int = 0
    triggered_ms: int = 0
    reason: str = ""

    @property
    def is_open(self) -> bool:
        return self.status == "NEW"

    def fires(self, price: Decimal) -> bool:
        """Return whether a price triggers it: a stop moves with the price, a take-profit against it."""
        rising = (self.side is Side.BUY) is (self.type in _STOPS)
        return price >= self.trigger if rising else price <= self.trigger


class Algos:
    """The conditional orders of the account.

    Args:
        venue: The emulator.
    """

    def __init__(self, venue: BinanceEmulator) -> None:
        self._venue = venue
        self._numbers = count(2_146_760)
        self.all: list[Algo] = []

    def place(self, listing: Listing, params: Params) -> Algo:
        """Take a conditional order.

        Raises:
            BinanceError: Why it was refused.
        """
        if params.need("algoType") != "CONDITIONAL":
            raise BinanceError(-1102, "Mandatory parameter 'algoType' was not sent, was empty/null, or malformed.")
        side_text, kind = params.need("side"), params.need("type")
        if side_text not in ("BUY", "SELL"):
            raise BinanceError(-1117, "Invalid side.")
        if kind not in _TYPES:
            raise BinanceError(-1116, "Invalid orderType.")
        reduce_only = check_position_side(params, self._venue.account.dual_side)
        closing = bool(params.flag("closePosition"))
        quantity = Decimal(0) if closing else params.need_decimal("quantity")
        price = params.need_decimal("price") if kind in ("STOP", "TAKE_PROFIT") else None
        trigger = params.need_decimal("triggerPrice")
        check_futures_price(listing, trigger)
        if not closing:
            check_futures_numbers(listing, "MARKET" if price is None else "LIMIT", quantity, price)
        client_id = params.text("clientAlgoId")
        if client_id:
            check_client_id(listing, client_id)
        if any(algo.client_id == client_id for algo in self.open()):
            raise BinanceError(-4116, "ClientOrderId is duplicated.")
        if len(self.open(listing)) >= _MOST:
            raise BinanceError(-4045, "Reach max stop order limit.")
        now, number = self._venue.clock.now_ms(), next(self._numbers)
        algo = Algo(
            number, client_id or f"x-algo{number}", listing, Side(side_text.lower()), kind,
            params.text("timeInForce", "GTC"), quantity, price, trigger, params.text("workingType", "CONTRACT_PRICE"),
            reduce_only or closing, closing, now, now,
        )  # fmt: skip
        price_now = self._price(algo)
        if price_now is not None and algo.fires(price_now):
            raise BinanceError(-2021, "Order would immediately trigger.")
        self.all.append(algo)
        self._tell(algo)
        return algo

    def open(self, listing: Listing | None = None) -> list[Algo]:
        """Return what waits, oldest first."""
        return [a for a in self.all if a.is_open and (listing is None or a.listing is listing)]

    def find(self, params: Params) -> Algo | None:
        """Return the order that algoId or clientAlgoId names."""
        number, client_id = params.integer("algoId"), params.text("clientAlgoId")
        if number is None and not client_id:
            raise BinanceError(-1102, "Param 'algoid' or 'clientalgoid' must be sent, but both were empty/null!")
        named = [a for a in self.all if (a.number == number if number is not None else a.client_id == client_id)]
        return named[-1] if named else None

    def cancel(self, params: Params) -> Algo:
        """Cancel a waiting order."""
        algo = self.find(params)
        if algo is None or not algo.is_open:
            raise BinanceError(-2011, "Unknown order sent.")
        self.end(algo, "CANCELED")
        return algo

    def end(self, algo: Algo, status: str, reason: str = "") -> None:
        """Move an order to another status and tell of it."""
        algo.status, algo.reason, algo.updated_ms = status, reason, self._venue.clock.now_ms()
        self._tell(algo)

    def on_price(self, event: Trade | MarkPrice) -> None:
        """Trigger what a price triggers."""
        for algo in self.open():
            if algo.listing.symbol == event.symbol and (isinstance(event, MarkPrice)) is (algo.working == "MARK_PRICE"):
                price = self._price(algo)
                if price is not None and algo.fires(price):
                    algo.triggered_ms = self._venue.clock.now_ms()
                    self.end(algo, "TRIGGERING")
                    # The paper venue is still busy with the event that brought the price.
                    asyncio.get_running_loop().call_soon(self._fire, algo)

    def _price(self, algo: Algo) -> Decimal | None:
        market = self._venue.exchange.market(algo.listing.symbol)
        if algo.working == "MARK_PRICE":
            mark = market.mark_price()
            return None if mark is None else mark * algo.listing.multiplier
        return None if market.last is None else Decimal(repr(market.last)) * algo.listing.multiplier

    def _fire(self, algo: Algo) -> None:
        listing, quantity = algo.listing, algo.quantity
        if algo.close_position:
            held = self._venue.exchange.account.position(listing.instrument)
            quantity = abs(held) / listing.multiplier
            if not quantity:
                self.end(algo, "EXPIRED", "no position to close")
                return
        kind = "MARKET" if algo.price is None else "LIMIT"
        wanted = Wanted(listing, algo.side, kind, algo.force, quantity, algo.price, algo.reduce_only, algo.client_id)
        try:
            ticket = carry(self._venue, wanted)
        except BinanceError as error:
            self.end(algo, "REJECTED", error.msg)
            return
        algo.order_number = ticket.number
        self.end(algo, "TRIGGERED")
        if not ticket.is_open:
            self.end(algo, "FINISHED")

    def _tell(self, algo: Algo) -> None:
        listing, now_ms = algo.listing, self._venue.clock.now_ms()
        order = {
            "caid": algo.client_id,
            "aid": algo.number,
            "at": "CONDITIONAL",
            "o": algo.type,
            "s": listing.native,
            "S": algo.side.value.upper(),
            "ps": "BOTH",
            "f": algo.force,
            "q": f"{algo.quantity:f}",
            "X": algo.status,
            "ai": str(algo.order_number) if algo.order_number else "",
            "tp": f"{algo.trigger:f}",
            "p": f"{algo.price or 0:f}",
            "V": "EXPIRE_MAKER",
            "wt": algo.working,
            "pm": "NONE",
            "cp": algo.close_position,
            "pP": False,
            "R": algo.reduce_only,
            "tt": algo.triggered_ms,
            "gtd": 0,
            "rm": algo.reason,
        }
        self._venue.user.to_futures({"e": "ALGO_UPDATE", "E": now_ms, "T": algo.updated_ms, "o": order})


def algo_answer(algo: Algo) -> dict[str, object]:
    """Return a conditional order as REST answers it."""
    listing = algo.listing
    return {
        "algoId": algo.number,
        "clientAlgoId": algo.client_id,
        "algoType": "CONDITIONAL",
        "orderType": algo.type,
        "symbol": listing.native,
        "side": algo.side.value.upper(),
        "positionSide": "BOTH",
        "timeInForce": algo.force,
        "quantity": f"{algo.quantity:f}",
        "algoStatus": algo.status,
        "actualOrderId": str(algo.order_number) if algo.order_number else "",
        "actualPrice": listing.price_text(None),
        "triggerPrice": f"{algo.trigger:f}",
        "price": f"{algo.price or 0:f}",
        "icebergQuantity": None,
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "workingType": algo.working,
        "priceMatch": "NONE",
        "closePosition": algo.close_position,
        "priceProtect": False,
        "reduceOnly": algo.reduce_only,
        "createTime": algo.created_ms,
        "updateTime": algo.updated_ms,
        "triggerTime": algo.triggered_ms,
        "goodTillDate": 0,
    }
