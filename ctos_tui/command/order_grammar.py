"""The part of the grammar that places, changes and cancels orders."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NoReturn

from ctos_tui.command.cursor import FLAG_WORDS, Cursor
from ctos_tui.command.intents import (
    BumpOrder,
    CancelOrders,
    CancelScope,
    Flatten,
    Holding,
    Intent,
    MoveOrder,
    PlaceOrder,
    Reverse,
    Target,
)
from ctos_tui.command.terms import NO_FLAGS, AbsolutePrice, Flags, Price, Size, SizeUnit
from ctos_tui.command.words import Word, looks_like_number
from engine.kernel.orders import Side

Reader = Callable[[Cursor], Intent]

_AT: Final = ("@", "at")
_ORDER_ID: Final = re.compile(r"^#[A-Za-z0-9]{1,20}$")
_PLAIN_UNITS: Final = (SizeUnit.BASE, SizeUnit.QUOTE, SizeUnit.CONTRACTS)
_HOLDINGS: Final = frozenset(holding.value for holding in Holding)
_OPPOSITES: Final = {
    Holding.LONGS: Holding.SHORTS,
    Holding.SHORTS: Holding.LONGS,
    Holding.WINNERS: Holding.LOSERS,
    Holding.LOSERS: Holding.WINNERS,
}
_TARGET_UNITS: Final = {"$": Decimal(1), "k$": Decimal(1_000), "m$": Decimal(1_000_000)}


@dataclass(slots=True)
class _Head:
    """What stands before the `@` of an order."""

    size: Size | None = None
    symbol: str | None = None
    symbol_word: Word | None = None


@dataclass(slots=True)
class _Which:
    """Which positions a close means, and how much of them."""

    symbol: str | None = None
    everything: bool = False
    percent: Decimal | None = None
    holdings: list[Holding] = field(default_factory=list)
    ignored: tuple[str, ...] = ()
    except_word: Word | None = None


def _head(cursor: Cursor, *, size: bool) -> _Head:
    """Read size and symbol, in any order, up to the `@` or the end of the line."""
    head = _Head()
    while (word := cursor.peek()) is not None and word.low not in _AT:
        if cursor.is_size(word):
            if not size or head.size is not None:
                _second_number(cursor, word, head)
            head.size = cursor.size()
        elif cursor.is_symbol(word):
            if head.symbol is not None:
                cursor.fail(f"a second market, {word.text!r}", word)
            head.symbol = cursor.symbol()
            head.symbol_word = word
        else:
            _stray(cursor, word)
    return head


def _stray(cursor: Cursor, word: Word) -> NoReturn:
    """Refuse a word that does not belong before the price."""
    if word.low in FLAG_WORDS:
        cursor.fail(f"{word.text!r} stands after the price", word, _price_before(cursor, word))
    cursor.fail(f"did not understand {word.text!r}", word)


def _second_number(cursor: Cursor, word: Word, head: _Head) -> NoReturn:
    if head.size is None:
        cursor.fail(f"did not understand {word.text!r}: no size is needed here", word)
    if looks_like_number(word.text):
        cursor.fail("no price: a second number needs an @ before it", word, cursor.with_word(word, f"@ {word.text}"))
    cursor.fail("a second size", word)


def _price_before(cursor: Cursor, word: Word) -> str:
    return f"{cursor.line[: word.start].strip()} @ best {word.low}"


def _price_and_flags(cursor: Cursor) -> tuple[Price, Flags]:
    if cursor.take(*_AT) is None:
        cursor.fail(
            "no price: add @ 64200, @ best, @ -10 or @ mkt (a market order is never implied)",
            None,
            cursor.with_end("@ best"),
        )
    price = cursor.price()
    return price, cursor.flags(price)


def _place(side: Side) -> Callable[[Cursor], Intent]:
    def read(cursor: Cursor) -> Intent:
        head = _head(cursor, size=True)
        if head.size is None:
            _no_size(cursor, head)
        price, flags = _price_and_flags(cursor)
        return PlaceOrder(side, head.size, price, head.symbol, flags)

    return read


def _no_size(cursor: Cursor, head: _Head) -> NoReturn:
    word = head.symbol_word
    if word is not None and word.text[0].isdigit():
        cursor.number(word)
    following = cursor.peek()
    verb = cursor.words[0].low
    cursor.fail("how much? a size is missing", following, f"{verb} 100$ {head.symbol or ''}".strip() + " @ best")


def _target(cursor: Cursor) -> Intent:
    amount: Decimal | None = None
    symbol: str | None = None
    soft = False
    while (word := cursor.peek()) is not None:
        if cursor.is_size(word) and amount is None:
            cursor.at += 1
            number = cursor.number(word)
            if number.unit not in _TARGET_UNITS and not (number.magnitude == 0 and not number.unit):
                bare = word.text.lower().removesuffix(number.unit)
                cursor.fail("a target is an amount of quote", word, cursor.with_word(word, f"{bare}$"))
            amount = number.value * _TARGET_UNITS.get(number.unit, Decimal(1))
        elif cursor.is_symbol(word) and symbol is None:
            symbol = cursor.symbol()
        elif word.low == "soft" and not soft:
            soft = True
            cursor.at += 1
        elif word.low in _AT:
            cursor.fail(
                "a target takes no price: it goes at the market, or soft",
                word,
                f"{cursor.line[: word.start].strip()} soft",
            )
        else:
            cursor.fail(f"did not understand {word.text!r}", word)
    if amount is None:
        cursor.fail("how much? an amount is missing", None, cursor.with_end("1000$"))
    return Target(amount if amount else Decimal(0), symbol, soft)


def _flat(cursor: Cursor) -> Intent:
    which = _Which()
    while (word := cursor.peek()) is not None and word.low not in _AT:
        _read_which(cursor, word, which)
    if which.ignored and which.symbol is not None:
        cursor.fail("a named market needs no except", which.except_word)
    everything = which.everything or bool(which.holdings or which.ignored)
    percent = Decimal(100) if which.percent is None else which.percent
    chosen = (tuple(which.holdings), which.ignored)
    if cursor.peek() is None:
        return Flatten(which.symbol, everything, percent, None, NO_FLAGS, *chosen)
    at = cursor.words[cursor.at + 1] if cursor.at + 1 < len(cursor.words) else None
    price, flags = _price_and_flags(cursor)
    if isinstance(price, AbsolutePrice) and at is not None and (everything or "+" in (which.symbol or "")):
        cursor.fail("several markets have no price in common", at, cursor.with_word(at, "passive"))
    flags = Flags(flags.post, False, flags.ioc, flags.fok, flags.soft)
    return Flatten(which.symbol, everything, percent, price, flags, *chosen)


def _read_which(cursor: Cursor, word: Word, which: _Which) -> None:
    """Read one word that says which positions are closed, or how much of them."""
    if cursor.is_symbols(word):
        if which.symbol is not None or which.everything or which.holdings:
            better = f"flat {which.symbol}+{word.low}" if which.symbol is not None else ""
            cursor.fail(f"a second market, {word.text!r}", word, better)
        which.symbol = word.low
        cursor.at += 1
    elif cursor.is_size(word) and which.percent is None:
        size = cursor.size()
        if size.unit is not SizeUnit.POSITION:
            cursor.fail("flat takes a share of the position", word, cursor.with_word(word, "50%pos"))
        which.percent = size.value
    elif word.low == "all" and which.symbol is None and not which.everything:
        which.everything = True
        cursor.at += 1
    elif word.low in _HOLDINGS and which.symbol is None:
        holding = Holding(word.low)
        if holding in which.holdings or _OPPOSITES[holding] in which.holdings:
            cursor.fail(f"{which.holdings[-1]} and {holding} together close nothing, or all", word, "flat all")
        which.holdings.append(holding)
        cursor.at += 1
    elif word.low == "except" and not which.ignored:
        cursor.at += 1
        named = cursor.next("a market to leave alone", "flat all except btc")
        if not cursor.is_symbols(named):
            cursor.fail(f"{named.text!r} is not a market", named, "flat all except btc+eth")
        which.ignored, which.except_word = tuple(named.low.split("+")), word
    else:
        _stray(cursor, word)


def _reverse(cursor: Cursor) -> Intent:
    head = _head(cursor, size=False)
    price, flags = _price_and_flags(cursor)
    if flags.reduce:
        word = next(word for word in cursor.words if FLAG_WORDS.get(word.low) == "reduce")
        cursor.fail("a reversal cannot be reduce-only; flat closes", word, f"flat {head.symbol or ''}".strip())
    return Reverse(price, head.symbol, flags)


def _order_id(cursor: Cursor) -> str:
    word = cursor.next("an order number like #12", cursor.with_end("#12"))
    if _ORDER_ID.match(word.text) is None:
        better = cursor.with_word(word, f"#{word.text}") if word.text.isascii() and word.text.isdigit() else ""
        cursor.fail(f"{word.text!r} is not an order number like #12", word, better)
    return word.low.removeprefix("#")


def _cancel(cursor: Cursor) -> Intent:
    orders: list[str] = []
    while (word := cursor.peek()) is not None and (
        word.text.startswith("#") or (word.text.isascii() and word.text.isdigit())
    ):
        number = _order_id(cursor)
        if number in orders:
            cursor.fail(f"{word.text} is written twice", word)
        orders.append(number)
    if orders:
        return CancelOrders(tuple(orders))
    symbol = cursor.symbol()
    scope = CancelScope.MARKET
    word = cursor.take("all", "buys", "sells", "last")
    if word is not None:
        scope = CancelScope(word.low)
        if symbol is None:
            symbol = cursor.symbol()
        if symbol is not None and scope in (CancelScope.ALL, CancelScope.LAST):
            cursor.fail(f"{scope} and a market contradict each other", word, f"x {symbol}")
    return CancelOrders((), scope, symbol)


def _move(cursor: Cursor) -> Intent:
    order = _order_id(cursor)
    size: Size | None = None
    price: Price | None = None
    word = cursor.peek()
    if word is not None and word.low not in _AT:
        size = cursor.size()
        if size.unit not in _PLAIN_UNITS:
            cursor.fail("the new size of an order is a number", word)
    if cursor.take(*_AT) is not None:
        at = cursor.peek()
        price = cursor.price()
        if at is not None and at.low == "mkt":
            cursor.fail("an order cannot be moved to the market", at, f"x #{order}")
    if size is None and price is None:
        cursor.fail("what changes? a size or a price", None, cursor.with_end("@ best"))
    return MoveOrder(order, size, price)


def _bump(cursor: Cursor) -> Intent:
    order = _order_id(cursor)
    word = cursor.next("an offset like -3t", cursor.with_end("-3t"))
    if word.text[0] not in "+-−" and looks_like_number(word.text):
        cursor.fail("an offset needs its sign", word, cursor.with_word(word, f"-{word.text}"))
    return BumpOrder(order, cursor.offset_of(word, word.text))


ORDER_READERS: Final[dict[str, Reader]] = {
    "buy": _place(Side.BUY),
    "sell": _place(Side.SELL),
    "target": _target,
    "flat": _flat,
    "rev": _reverse,
    "x": _cancel,
    "mv": _move,
    "bump": _bump,
}
"""What reads the rest of the line after each verb of order entry."""
