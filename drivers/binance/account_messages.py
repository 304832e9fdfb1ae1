"""The account's messages, from the futures stream and from spot's request socket, live and from recordings."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from drivers.binance.convert import Named, changed_position, futures_news, spot_news
from drivers.binance.events import (
    AccountConfigUpdate,
    AccountMessage,
    AccountUpdate,
    Envelope,
    ExecutionReport,
    ListenKeyExpired,
    OrderTradeUpdate,
    OutboundAccountPosition,
    ServerShutdown,
    StreamTerminated,
)
from drivers.binance.symbols import parse_native
from drivers.binance.wire import ZERO
from drivers.transport.line_decoder import Undecodable
from engine.kernel.account import Balance, Position
from engine.kernel.instruments import InstrumentKind
from engine.kernel.orders import Fill, OrderUpdate

AccountNews = OrderUpdate | Fill | Position | Balance

_KINDS: dict[str, type[AccountMessage]] = {
    "ORDER_TRADE_UPDATE": OrderTradeUpdate,
    "ACCOUNT_UPDATE": AccountUpdate,
    "ACCOUNT_CONFIG_UPDATE": AccountConfigUpdate,
    "listenKeyExpired": ListenKeyExpired,
    "executionReport": ExecutionReport,
    "outboundAccountPosition": OutboundAccountPosition,
    "eventStreamTerminated": StreamTerminated,
    "serverShutdown": ServerShutdown,
}
_NOT_NEEDED = frozenset(
    {"TRADE_LITE", "MARGIN_CALL", "ALGO_UPDATE", "CONDITIONAL_ORDER_TRIGGER_REJECT", "STRATEGY_UPDATE", "GRID_UPDATE"}
    | {"balanceUpdate", "listStatus", "externalLockUpdate"}
)
"""Events that tell nothing that another one does not tell as well."""
_COIN_M = 2
"""`st` of an event of COIN-M futures, which share the account's stream since 2026-06-30."""

_envelope = msgspec.json.Decoder(Envelope).decode


def read(payload: bytes) -> tuple[str, AccountMessage | None]:
    """Return an event's name and the event; None for one that is not needed and for what is no event.

    Raises:
        Undecodable: It is not JSON, or an event that is not as it should be.
    """
    try:
        outer = _envelope(payload)
        inner: Any = payload
        if not outer.e and outer.event:
            inner = outer.event
        elif not outer.e and outer.data and outer.stream is not None:
            inner = outer.data
        name = outer.e if inner is payload else _envelope(inner).e
        kind = _KINDS.get(name)
        return name, None if kind is None else msgspec.json.decode(inner, type=kind, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(f"account message: {error}") from error


_NAMED = re.compile(rf'"e"\s*:\s*"({"|".join(sorted({*_KINDS, *_NOT_NEEDED}))})"'.encode())


def is_account_message(payload: bytes) -> bool:
    """Return whether a message names an event of an account."""
    return _NAMED.search(payload) is not None


def parsed(native: str, kind: InstrumentKind) -> Named:
    """Return what a native name says by itself, for recordings."""
    return parse_native(native, kind)


def news(
    message: AccountMessage,
    named: Callable[[str, InstrumentKind], Named] = parsed,
    leverage: Callable[[str], Decimal | None] = lambda symbol: None,
) -> list[AccountNews]:
    """Return what an event tells; nothing for those about the stream itself.

    A futures wallet's change names its total only, which then stands for free as well.

    Args:
        message: The event.
        named: Returns the instrument of a native name.
        leverage: Returns the leverage of a canonical symbol, None while it is not known.

    Raises:
        UnknownSymbol: It is about a symbol that cannot be named.
    """
    if isinstance(message, OrderTradeUpdate):
        if message.st == _COIN_M:
            return []
        return [*futures_news(named(message.o.s, InstrumentKind.PERP), message)]
    if isinstance(message, ExecutionReport):
        return [*spot_news(named(message.s, InstrumentKind.SPOT), message)]
    if isinstance(message, OutboundAccountPosition):
        return [Balance(change.a, change.f + change.l, change.f, change.l) for change in message.B]
    if isinstance(message, AccountUpdate) and message.st != _COIN_M:
        found: list[AccountNews] = [Balance(change.a, change.wb, change.wb) for change in message.a.B]
        for moved in message.a.P:
            instrument = named(moved.s, InstrumentKind.PERP)
            found.append(changed_position(instrument, moved, leverage(instrument.symbol) or ZERO))
        return found
    return []
