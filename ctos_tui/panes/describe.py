"""Small pieces of text that several panes share."""

from __future__ import annotations

from decimal import Decimal

from ctos_tui.numbers import UNKNOWN, Number
from ctos_tui.panes.cells import Span
from engine.kernel.instruments import Instrument
from engine.kernel.orders import OrderType, Side

_TYPES = {
    OrderType.MARKET: "mkt",
    OrderType.LIMIT: "lim",
    OrderType.POST_ONLY: "post",
    OrderType.IOC: "ioc",
    OrderType.FOK: "fok",
    OrderType.STOP: "stop",
}


def side_letter(side: Side) -> Span:
    """Return `B` or `S` in the side's colour."""
    return ("B", "bid") if side is Side.BUY else ("S", "ask")


def side_word(side: Side) -> Span:
    """Return `BUY` or `SELL` in the side's colour."""
    return ("BUY", "bid") if side is Side.BUY else ("SELL", "ask")


def position_letter(quantity: Decimal) -> Span:
    """Return `L` or `S` for a long or short position."""
    return ("L", "bid") if quantity > 0 else ("S", "ask") if quantity < 0 else ("·", "dim")


def order_type(kind: OrderType) -> str:
    """Return an order type in at most four letters."""
    return _TYPES[kind]


def signed_role(value: Number | None) -> str:
    """Return the role of a profit or change."""
    if value is None or value == 0:
        return "flat"
    return "pnl_pos" if value > 0 else "pnl_neg"


def move_role(value: Number | None) -> str:
    """Return the role of a price change."""
    if value is None or value == 0:
        return "flat"
    return "up" if value > 0 else "down"


def signed(text: str, value: Number | None) -> Span:
    """Return a figure with the role of its sign."""
    return (text, signed_role(value)) if text != UNKNOWN else (UNKNOWN, "dim")


def short_symbol(symbol: str, default_quote: str = "USDT") -> str:
    """Return a market's name as lists show it: `BTC-PERP`, `BTC` for spot, the whole name for other quotes."""
    if symbol.endswith(f"-{default_quote}-PERP"):
        return f"{symbol.removesuffix(f'-{default_quote}-PERP')}-PERP"
    if symbol.endswith(f"-{default_quote}"):
        return symbol.removesuffix(f"-{default_quote}") + " spot"
    return symbol


def price_places(instrument: Instrument | None) -> int:
    """Return the digits of a market's prices; 2 when it is not known."""
    return 2 if instrument is None else instrument.price_places
