"""What could stand at one place of a line: markets, sizes, prices, orders, parameters, each with what it means now."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from ctos_tui.command.desk import Desk, Market
from ctos_tui.command.preview import amount, quantity_text
from ctos_tui.command.pricing import price_of, quantity_of
from ctos_tui.command.schema import ParamInfo
from ctos_tui.command.terms import (
    AbsolutePrice,
    MarketPrice,
    Offset,
    OffsetUnit,
    Price,
    Ref,
    ReferencePrice,
    Size,
    SizeUnit,
)
from ctos_tui.command.words import read_number
from ctos_tui.numbers import UNKNOWN, age, basis_points, by_step, fixed
from engine.kernel.errors import CtosError
from engine.kernel.instruments import Instrument
from engine.kernel.orders import Order, Side

NS_PER_S: Final = 1_000_000_000
PRICE_ORDER: Final[tuple[ReferencePrice | MarketPrice, ...]] = (
    *(ReferencePrice(ref) for ref in (Ref.BEST, Ref.MID, Ref.OPP, Ref.LAST, Ref.MARK, Ref.ENTRY)),
    MarketPrice(),
    *(ReferencePrice(ref) for ref in (Ref.BID, Ref.ASK, Ref.PASSIVE)),
)


class Candidate(msgspec.Struct, frozen=True):
    """A word that could stand here and what it means now."""

    text: str
    note: str = ""


class StrategyInfo(msgspec.Struct, frozen=True):
    """A strategy that can be launched."""

    name: str
    help: str
    params: tuple[ParamInfo, ...] = ()


class InstanceInfo(msgspec.Struct, frozen=True):
    """A strategy instance: its strategy, its state in words, and its current values as text."""

    id: str
    strategy: str
    state: str = ""
    values: Mapping[str, str] = msgspec.field(default_factory=dict)


class Vocabulary(msgspec.Struct, frozen=True):
    """What completion knows beside the desk.

    Attributes:
        strategies: Strategies by name.
        instances: Instances by id.
        themes: Names of the themes.
        accounts: Names of the accounts, in their order.
        sizes: Size presets and sizes used lately, most useful first.
    """

    strategies: Mapping[str, StrategyInfo] = msgspec.field(default_factory=dict)
    instances: Mapping[str, InstanceInfo] = msgspec.field(default_factory=dict)
    themes: Sequence[str] = ()
    accounts: Sequence[str] = ()
    sizes: Sequence[Size] = (
        Size(Decimal(100), SizeUnit.QUOTE),
        Size(Decimal(500), SizeUnit.QUOTE),
        Size(Decimal(25), SizeUnit.BALANCE),
    )


def typed_name(instrument: Instrument, desk: Desk) -> str:
    """Return the shortest word that means an instrument."""
    if instrument.quote == desk.default_quote and instrument.kind is desk.default_kind:
        return instrument.base.lower()
    return instrument.symbol.lower()


def symbols(prefix: str, desk: Desk, only: Container[str] | None = None) -> Iterator[Candidate]:
    """Yield markets: the focus, what is held, what has orders, the watch list, then by turnover.

    Args:
        prefix: What was typed.
        desk: The desk.
        only: Canonical names to choose from; None for every market.
    """
    working = {order.symbol for order in desk.orders}
    watched = set(desk.watch)
    wanted = prefix.upper().replace("/", "-").replace("_", "-")

    def rank(item: tuple[str, Market]) -> tuple[bool, bool, bool, bool, bool, float, str]:
        symbol, market = item
        return (
            not symbol.startswith(wanted),
            symbol != desk.focus,
            not market.position,
            symbol not in working,
            symbol not in watched,
            -market.turnover,
            symbol,
        )

    matching = (
        (symbol, market)
        for symbol, market in desk.markets.items()
        if (only is None or symbol in only) and (symbol.startswith(wanted) or wanted in market.instrument.base)
    )
    for symbol, market in sorted(matching, key=rank):
        notes = [by_step(market.last, market.instrument.tick_size), symbol]
        if market.position:
            notes.append(f"pos {quantity_text(market.position)}")
        yield Candidate(_typed(prefix, market.instrument, desk), " · ".join(notes))


def _typed(prefix: str, instrument: Instrument, desk: Desk) -> str:
    """Return the short word unless the operator has already typed past it."""
    short = typed_name(instrument, desk)
    return short if short.startswith(prefix.lower()) or "-" not in prefix else instrument.symbol.lower()


def sizes(prefix: str, market: Market, side: Side, desk: Desk, presets: Iterable[Size]) -> Iterator[Candidate]:
    """Yield sizes with their value now; a bare number is offered in each unit that makes sense."""
    number = read_number(prefix) if prefix else None
    if number is not None and not number.unit and number.magnitude > 0 and not number.sign:
        offered = [Size(number.magnitude), Size(number.magnitude, SizeUnit.QUOTE)]
        if number.magnitude <= 100:
            offered.append(Size(number.magnitude, SizeUnit.BALANCE))
            if market.position:
                offered.append(Size(number.magnitude, SizeUnit.POSITION))
    else:
        offered = list(presets)
        closes = market.position * side.sign < 0
        position = Size(Decimal(100), SizeUnit.POSITION)
        if market.position:
            offered.insert(0 if closes else len(offered), position)
        offered.append(Size(Decimal(1), SizeUnit.LARGEST))
    for size in dict.fromkeys(offered):
        yield Candidate(_keeping(prefix, str(size)), size_note(size, market, side, desk))


def _keeping(prefix: str, text: str) -> str:
    """Return the text so that it goes on from what was typed (`0.50` stays `0.50`, not `0.5`)."""
    number = read_number(prefix) if prefix else None
    if number is None or number.unit or text.startswith(prefix):
        return text
    return prefix + text.lstrip("0123456789.,")


def size_note(size: Size, market: Market, side: Side, desk: Desk) -> str:
    """Return what a size is in coins and quote, and its share of the largest order."""
    price = market.far(side) or market.last
    if price is None:
        return UNKNOWN
    try:
        quantity = quantity_of(size, market, side, price, desk).quantity
    except CtosError as error:
        return error.message
    notional = quantity * price
    note = f"{quantity_text(quantity)} {market.instrument.base} · {amount(notional)}"
    if desk.limits.hard_order:
        share = notional / desk.limits.hard_order * 100
        note += f" · {fixed(share, 0 if share >= 1 else 1)}% of max order"
    return note


def prices(prefix: str, market: Market, side: Side, desk: Desk) -> Iterator[Candidate]:
    """Yield prices with what they mean now."""
    number = read_number(prefix) if prefix else None
    if number is not None and number.sign and number.unit in ("", "%", "t"):
        offset = Offset(number.value, OffsetUnit(number.unit))
        yield Candidate(prefix, price_note(ReferencePrice(Ref.BEST, offset), market, side, desk))
        return
    if number is not None and not number.unit and number.magnitude > 0:
        yield Candidate(prefix, price_note(AbsolutePrice(number.magnitude), market, side, desk))
        return
    for price in PRICE_ORDER:
        if isinstance(price, MarketPrice):
            yield Candidate("mkt", f"market order, must be confirmed · {price_note(price, market, side, desk)}")
        elif market.reference(price.ref, side) is not None:
            yield Candidate(price.ref.value, price_note(price, market, side, desk))


def offsets(prefix: str, ref: Ref, market: Market, side: Side, desk: Desk) -> Iterator[Candidate]:
    """Yield what an offset after a price makes of it."""
    number = read_number(prefix)
    if number is None or not number.sign or number.unit not in ("", "%", "t"):
        return
    offset = Offset(number.value, OffsetUnit(number.unit))
    yield Candidate(prefix, price_note(ReferencePrice(ref, offset), market, side, desk))


def price_note(price: Price, market: Market, side: Side, desk: Desk) -> str:
    """Return the price that a word means now and its distance from mid."""
    try:
        priced = price_of(price, market, side, desk)
    except CtosError as error:
        return error.message
    text = by_step(priced.worst, market.instrument.tick_size)
    if priced.limit is None:
        return f"{'≤' if side is Side.BUY else '≥'} {text}"
    mid = market.mid
    return f"{text} · {basis_points((priced.worst - mid) / mid)} from mid" if mid else text


def orders(prefix: str, desk: Desk) -> Iterator[Candidate]:
    """Yield working orders, those of the focused market and the youngest first."""
    ranked = sorted(reversed(desk.orders), key=lambda order: order.symbol != desk.focus)
    for order in ranked:
        if f"#{order.label}".startswith(prefix) or str(order.label).startswith(prefix):
            yield Candidate(f"#{order.label}", order_note(order, desk))


def order_note(order: Order, desk: Desk) -> str:
    """Return an order in words: `sell 0.002 BTC-PERP @ 64,512.4 · 2628t away · 12s old`."""
    market = desk.markets.get(order.symbol)
    if market is None or order.price is None:
        return f"{order.side} {quantity_text(order.remaining)} {order.symbol}"
    instrument = market.instrument
    parts = [
        f"{order.side} {quantity_text(order.remaining)} {desk.short_name(instrument)}"
        f" @ {by_step(order.price, instrument.tick_size)}"
    ]
    near = market.near(order.side)
    if near is not None:
        ticks = (near - order.price) * order.side.sign / instrument.tick_size
        parts.append(f"{fixed(ticks, 0)}t away" if ticks > 0 else "at the touch")
    parts.append(f"{age((desk.now_ns - order.created_ns) / NS_PER_S)} old")
    return " · ".join(parts)


def parameters(prefix: str, infos: Sequence[ParamInfo], values: Mapping[str, str]) -> Iterator[Candidate]:
    """Yield `name=` with the current or default value, the meaning and the bounds; after `=` yield values."""
    name, sign, typed = prefix.partition("=")
    if not sign:
        for info in infos:
            if info.name.startswith(prefix):
                yield Candidate(f"{info.name}=", _param_note(info, values))
        return
    for info in infos:
        if info.name == name:
            current = values.get(name, info.default)
            offered = (current, *info.choices) if info.choices else (typed, current)
            for value in dict.fromkeys(offered):
                if value and value.startswith(typed):
                    yield Candidate(f"{name}={value}", _param_note(info, values))


def _param_note(info: ParamInfo, values: Mapping[str, str]) -> str:
    now = ("now", values[info.name]) if info.name in values else ("default", info.default)
    parts = [f"{now[0]} {now[1] or UNKNOWN}", info.help, info.bounds if info.bounds not in info.help else ""]
    if info.restart:
        parts.append("needs a restart")
    return " · ".join(part for part in parts if part)
