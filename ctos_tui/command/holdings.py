"""Which positions a close means."""

from __future__ import annotations

from ctos_tui.command.desk import Desk, Market, ResolveError
from ctos_tui.command.intents import HUNDRED, Flatten, Holding
from ctos_tui.command.pricing import share_of_position


def named_position(symbol: str | None, desk: Desk) -> Market:
    """Return the position that a name means; None means the focused market.

    Raises:
        ResolveError: There is no position.
        UnknownSymbol: No market has the name.
    """
    market = desk.market(symbol)
    if not market.position:
        raise ResolveError(f"no position in {desk.short_name(market.instrument)}")
    return market


def open_positions(desk: Desk) -> list[Market]:
    """Return everything that is held and could be closed, coins that the account's trades have brought included.

    Raises:
        ResolveError: Nothing is.
    """
    held = [market for market in desk.markets.values() if share_of_position(market, HUNDRED)]
    if not held:
        raise ResolveError("no position is open")
    return held


def chosen_positions(intent: Flatten, desk: Desk) -> list[Market]:
    """Return the positions that a close of several means: those named, or the perpetuals that can be traded.

    Raises:
        ResolveError: There are none, one that is named or left out is not held, or its profit is asked for and unknown.
        UnknownSymbol: No market has a name.
    """
    if intent.symbol is not None:
        named = (named_position(name, desk) for name in intent.symbol.split("+"))
        return list({market.instrument.symbol: market for market in named}.values())
    held = [market for market in open_positions(desk) if market.instrument.is_perp and market.listed]
    ignored = {symbol for name in intent.ignored for symbol in _left_alone(name, held, desk)}
    chosen = [
        market
        for market in held
        if market.instrument.symbol not in ignored and all(_is(holding, market, desk) for holding in intent.holdings)
    ]
    if not chosen:
        raise ResolveError(f"none of {len(held)} position{'s' if len(held) != 1 else ''} is meant by this")
    return chosen


def _left_alone(name: str, held: list[Market], desk: Desk) -> list[str]:
    """Return the positions that an `except` names; a bare coin means those in every quote currency."""
    found = [market.instrument.symbol for market in held if market.instrument.base.lower() == name]
    return found or [named_position(name, desk).instrument.symbol]


def _is(holding: Holding, market: Market, desk: Desk) -> bool:
    match holding:
        case Holding.LONGS:
            return market.position > 0
        case Holding.SHORTS:
            return market.position < 0
    if market.unrealised is None:
        name = desk.short_name(market.instrument)
        raise ResolveError(f"the profit of {name} is not known: leave it out with except {name.lower()}")
    return market.unrealised > 0 if holding is Holding.WINNERS else market.unrealised <= 0
