"""The part of the grammar that places, changes and cancels orders."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NoReturn

from ctos_tui.command.cursor import FLAG_WORDS, Cursor
from ctos_tui.command.intents import (
    BumpOrder,
    CancelOrders,
    CancelScope,
    Flatten,
    Intent,
    MoveOrder,
    PlaceOrder,
    Reverse,
    Target,
)
from ctos_tui.command.terms import Flags, Price, Size, SizeUnit
from ctos_tui.command.words import Word, looks_like_number
from engine.kernel.orders import Side

Reader = Callable[[Cursor], Intent]

_AT: Final = ("@", "at")
_ORDER_ID: Final = re.compile(r"^#[A-Za-z0-9]{1,20}$")
_PLAIN_UNITS: Final = (SizeUnit.BASE, SizeUnit.QUOTE, SizeUnit.CONTRACTS)
_TARGET_UNITS: Final = {"$": Decimal(1), "k$": Decimal(1_000), "m$": Decimal(1_000_000)}


@dataclass(slots=True)
class _Head:
    """What stands before the `@` of an order."""

    size: Size | None = None
    symbol: str | None = None
    everything: bool = False
    symbol_word: Word | None = None


def _head(cursor: Cursor, *, size: bool, everything: bool = False) -> _Head:
    """Read size and symbol, in any order, up to the `@` or the end of the line."""
    head = _Head()
    while (word := cursor.peek()) is not None and word.low not in _AT:
        if cursor.is_size(word):
            if not size or head.size is not None:
                _second_number(cursor, word, head)
            head.size = cursor.size()
        elif everything and word.low == "all" and head.symbol is None:
            head.everything = True
            cursor.at += 1
        elif cursor.is_symbol(word):
            if head.symbol is not None or head.everything:
                cursor.fail(f"a second market, {word.text!r}", word)
            head.symbol = cursor.symbol()
            head.symbol_word = word
        elif word.low in FLAG_WORDS:
            cursor.fail(f"{word.text!r} stands after the price", word, _price_before(cursor, word))
        else:
            cursor.fail(f"did not understand {word.text!r}", word)
    return head


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
    head = _head(cursor, size=True, everything=True)
    percent = Decimal(100)
    if head.size is not None:
        if head.size.unit is not SizeUnit.POSITION:
            number = next(word for word in cursor.words if cursor.is_size(word))
            cursor.fail("flat takes a share of the position", number, cursor.with_word(number, "50%pos"))
        percent = head.size.value
    if cursor.peek() is None:
        return Flatten(head.symbol, head.everything, percent)
    price, flags = _price_and_flags(cursor)
    flags = Flags(flags.post, False, flags.ioc, flags.fok, flags.soft)
    return Flatten(head.symbol, head.everything, percent, price, flags)


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
