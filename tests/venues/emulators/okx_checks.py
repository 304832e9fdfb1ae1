"""What OKX asks of an order request before the order meets the market."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tests.venues.emulators.okx_listing import MAX_LIMIT_CONTRACTS, MAX_MARKET_CONTRACTS, MAX_SPOT_COINS, Units
from tests.venues.emulators.okx_order import ORDER_TYPES
from tests.venues.emulators.okx_wire import OkxError, fmt

if TYPE_CHECKING:
    from tests.venues.emulators.okx import OkxEmulator

_CLIENT_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_TAG = re.compile(r"[A-Za-z0-9]{1,16}")


class Checks:
    """The rules; each raises `OkxError` when it is broken.

    Args:
        emulator: Whose account modes and prices count.
    """

    def __init__(self, emulator: OkxEmulator) -> None:
        self._emulator = emulator

    def words(self, request: Mapping[str, Any]) -> None:
        """Refuse sides, order types, client ids and tags that the venue does not know."""
        if request["side"] not in ("buy", "sell"):
            raise OkxError("51000", "side")
        if request["ordType"] not in ORDER_TYPES:
            raise OkxError("51000", "ordType")
        for name, pattern in (("clOrdId", _CLIENT_ID), ("tag", _TAG)):
            if request.get(name) and not pattern.fullmatch(str(request[name])):
                raise OkxError("51000", name)

    def modes(self, units: Units, request: Mapping[str, Any]) -> tuple[bool, str]:
        """Return reduce-only and position side; refuse what the account's modes do not allow."""
        emulator, mode = self._emulator, request["tdMode"]
        if mode not in ("cash", "cross", "isolated"):
            raise OkxError("51000", "tdMode")
        if not units.instrument.is_perp:
            if mode != "cash":
                raise OkxError("51000", "tdMode")
            return False, "net"
        if mode == "cash":
            raise OkxError("51000", "tdMode")
        if emulator.acct_lv == "1" or mode == "isolated":
            raise OkxError("51010")
        reduce_only, pos_side = request.get("reduceOnly") in (True, "true"), request.get("posSide") or "net"
        if emulator.pos_mode == "net_mode":
            if pos_side != "net":
                raise OkxError("51000", "posSide")
            return reduce_only, pos_side
        if pos_side not in ("long", "short"):
            raise OkxError("51000", "posSide")
        closes = (pos_side == "long") is (request["side"] == "sell")
        held = emulator.exchange.account.position(units.instrument)
        if not closes and held and (held > 0) is not (pos_side == "long"):
            raise OkxError("51010")
        return closes, pos_side

    def target(self, request: Mapping[str, Any], side: str) -> str:
        """Return in which currency the size of a spot market order is; a buy means quote money unless it says so."""
        target = request.get("tgtCcy") or ("quote_ccy" if side == "buy" else "base_ccy")
        if target not in ("quote_ccy", "base_ccy"):
            raise OkxError("51000", "tgtCcy")
        return str(target)

    def size(self, units: Units, size: Decimal | None, limit: bool) -> None:
        """Refuse a size off the lot, below the minimum or above the maximum."""
        if size is None:
            return
        if size % units.lot:
            raise OkxError("51121")
        if size < units.minimum:
            raise OkxError("51020")
        if not units.instrument.is_perp:
            if size > MAX_SPOT_COINS:
                raise OkxError("51005")
        elif size > (MAX_LIMIT_CONTRACTS if limit else MAX_MARKET_CONTRACTS):
            raise OkxError("51101" if limit else "51202")

    def price(self, units: Units, side: str, price: Decimal | None) -> None:
        """Refuse a price off the tick or outside the band."""
        if price is None:
            return
        if price % units.instrument.tick_size:
            raise OkxError("51000", "px")
        limits = self._emulator.public.limits(units)
        if limits is not None and (price > limits[0] if side == "buy" else price < limits[1]):
            raise OkxError("51006", fmt(limits[0]), fmt(limits[1]))
