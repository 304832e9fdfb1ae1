"""The syscalls that can be called from outside, and their arguments as they are typed: `size=0.1 side=buy`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from engine.kernel.errors import ConfigError
from engine.kernel.instruments import Instrument, InstrumentKind, resolve_symbol
from engine.kernel.orders import OrderType, Side
from engine.kernel.syscalls import Driver
from engine.runtime.accounts import Account
from engine.runtime.reports import AnomalySummary, PositionSummary

SYSCALLS = [
    "symbols",
    "exchange_limits",
    "get_price_now",
    "get_orderbook",
    "get_klines",
    "fees",
    "server_time",
    "place_order",
    "amend_order",
    "revoke_order",
    "cancel_all",
    "get_open_orders",
    "get_order_status",
    "get_fills",
    "fetch_balance",
    "get_position",
    "close_all_positions",
    "set_leverage",
    "check_account",
    "key_rights",
    "cancel_all_after",
    "get_transfers",
    "get_position_summary",
    "get_anomaly_summary",
    "start_position_monitoring",
    "stop_position_monitoring",
]


class MonitorCalls(Protocol):
    """What the system monitor answers from outside."""

    async def get_position_summary(self) -> PositionSummary:
        """Return the account's positions in numbers."""

    async def get_anomaly_summary(self, hours: float = 24) -> AnomalySummary:
        """Return what was wrong in the last hours."""

    async def start_position_monitoring(self) -> bool:
        """Begin to watch; return whether it watches."""

    async def stop_position_monitoring(self) -> bool:
        """Stop watching; return whether it watches."""


def usage(syscall: str) -> list[str]:
    """Return the arguments of a syscall as they are typed."""
    parameters = list(_signature(syscall).parameters.values())[1:]
    return [f"{p.name}=" if p.default is p.empty else f"[{p.name}={p.default or ''}]" for p in parameters]


def convert(
    syscall: str, given: Mapping[str, str], instruments: dict[str, Instrument], account: Account
) -> dict[str, Any]:
    """Return typed arguments, by the annotations of the syscall.

    Raises:
        ConfigError: An argument is unknown, missing or of the wrong form.
    """
    if syscall not in SYSCALLS:
        raise ConfigError(f"no syscall {syscall!r}; there are: {', '.join(SYSCALLS)}")
    signature = _signature(syscall)
    parameters = {name: p for name, p in signature.parameters.items() if name != "self"}
    for name in given:
        if name not in parameters:
            raise ConfigError(f"{syscall} has no argument {name!r}; it takes: {' '.join(usage(syscall)) or 'none'}")
    missing = [name for name, p in parameters.items() if p.default is p.empty and name not in given]
    if missing:
        raise ConfigError(f"{syscall} needs {', '.join(f'{name}=' for name in missing)}")
    values: dict[str, Any] = {}
    for name, text in given.items():
        if name == "symbol":
            values[name] = resolve_symbol(text, instruments, account.default_quote, account.default_kind).symbol
        else:
            values[name] = _value(name, text, str(parameters[name].annotation))
    return values


def _signature(syscall: str) -> inspect.Signature:
    return inspect.signature(getattr(Driver, syscall, None) or getattr(MonitorCalls, syscall))


def _value(name: str, text: str, annotation: str) -> Any:
    try:
        if "Decimal" in annotation:
            number = Decimal(text)
            if not number.is_finite():
                raise ValueError(text)
            return number
        if "bool" in annotation:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        if "float" in annotation:
            length = float(text)
            if not (math.isfinite(length) and length >= 0):
                raise ValueError(text)
            return length
        if "int" in annotation:
            return int(text)
        for kind in (Side, OrderType, InstrumentKind):
            if kind.__name__ in annotation:
                return kind(text.lower())
    except (InvalidOperation, ValueError, KeyError):
        allowed = {
            "Decimal": "a number",
            "bool": "true or false",
            "float": "a number from 0 up",
            "int": "a whole number",
            "Side": "buy or sell",
            "InstrumentKind": "spot or perp",
            "OrderType": ", ".join(OrderType),
        }
        meant = next(words for kind, words in allowed.items() if kind in annotation)
        raise ConfigError(f"{name}={text!r}: must be {meant}") from None
    return text.upper() if name == "currency" else text
