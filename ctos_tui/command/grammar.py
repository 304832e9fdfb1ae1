"""The grammar of the prompt: a line becomes one typed intent, or is refused at a column with a reason.

Verb first; the symbol anywhere before `@`; without one the focused market is meant. A price is never implied.
"""

from __future__ import annotations

import difflib
import re
from typing import Final, NoReturn

from ctos_tui.command.cursor import Cursor
from ctos_tui.command.intents import (
    Arm,
    Detach,
    Disarm,
    GoTo,
    HaltPolicy,
    HaltStrategy,
    Help,
    Intent,
    Panic,
    PauseStrategy,
    Quit,
    Rearm,
    RebaseStrategy,
    ResumeStrategy,
    RunStrategy,
    SetParams,
    SetTheme,
    ShowChart,
    SwitchAccount,
    Watch,
)
from ctos_tui.command.order_grammar import ORDER_READERS, Reader
from ctos_tui.command.verbs import BY_NAME, LATER
from ctos_tui.command.words import GrammarError, Word
from engine.kernel.market import TIMEFRAME_MS

__all__ = ["GrammarError", "clean_paste", "parse"]

_PARAM: Final = re.compile(r"^([A-Za-z_][A-Za-z0-9_]{0,39}(?:\.[A-Za-z_][A-Za-z0-9_]{0,39})?)=(.+)$")
_NAME: Final = re.compile(r"^[A-Za-z][A-Za-z0-9_.-]{0,39}$")


def parse(line: str) -> Intent:
    """Return the intent of one line.

    Raises:
        GrammarError: The line is empty, not understood, or refused as written; it names the column and, where
            possible, a line that would do.
    """
    cursor = Cursor(line)
    first = cursor.next("a command", "help")
    verb = BY_NAME.get(first.low)
    if verb is None:
        _refuse_verb(cursor, first)
    if verb.name != "rearm":
        _refuse_chain(cursor)
    intent = _READERS[verb.name](cursor)
    cursor.finish()
    return intent


def clean_paste(text: str) -> str:
    """Return pasted text as one line that is safe to put into the prompt: a line break never sends."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _refuse_verb(cursor: Cursor, first: Word) -> NoReturn:
    if first.low in LATER:
        cursor.fail(f"{first.low!r} is not available yet: {LATER[first.low]}", first)
    second = cursor.words[1] if len(cursor.words) > 1 else None
    if second is not None and second.low in BY_NAME and cursor.is_symbol(first):
        rest = cursor.line[second.end :].strip()
        cursor.fail("the verb stands first", first, " ".join(part for part in (second.low, first.low, rest) if part))
    near = difflib.get_close_matches(first.low, list(BY_NAME), 1, 0.6)
    better = cursor.with_word(first, near[0]) if near else ""
    if not near and cursor.is_symbol(first) and second is None:
        better = f"go {first.low}"
    cursor.fail(f"unknown command {first.text!r}", first, better)


def _refuse_chain(cursor: Cursor) -> None:
    for word in cursor.words:
        at = re.search(r"[;&|]", word.text)
        if at is not None:
            start = word.start + at.start()
            raise GrammarError(
                "several commands in one line are not available yet",
                cursor.line,
                start,
                start + 1,
                cursor.line[:start].strip(),
            )


def _name(cursor: Cursor, what: str) -> str:
    word = cursor.next(what)
    if _NAME.match(word.text) is None:
        cursor.fail(f"{word.text!r} is not {what}", word)
    return word.text


def _param(cursor: Cursor, params: dict[str, str]) -> None:
    word = cursor.next("a parameter")
    match = _PARAM.match(word.text)
    if match is None:
        hint = (
            "write name=value without blanks" if "=" in word.text or cursor.peek() is not None else "write name=value"
        )
        cursor.fail(f"did not understand {word.text!r}: {hint}", word)
    if match[1] in params:
        cursor.fail(f"{match[1]!r} is set twice", word)
    params[match[1]] = match[2]


def _names_markets(cursor: Cursor, word: Word) -> bool:
    """Return whether a word is a symbol, several joined by `+`, or every symbol."""
    return word.low == "all" or cursor.is_symbols(word)


def _run(cursor: Cursor) -> Intent:
    strategy = _name(cursor, "a strategy's name")
    symbol: str | None = None
    instance: str | None = None
    params: dict[str, str] = {}
    while (word := cursor.peek()) is not None:
        if cursor.take("as") is not None:
            if instance is not None:
                cursor.fail("a second name", word)
            instance = _name(cursor, "a name for the instance")
        elif symbol is None and not params and instance is None and _names_markets(cursor, word):
            symbol = word.low
            cursor.at += 1
        else:
            _param(cursor, params)
    return RunStrategy(strategy, symbol, tuple(params.items()), instance)


def _set(cursor: Cursor) -> Intent:
    instance = _name(cursor, "a strategy's id")
    params: dict[str, str] = {}
    while cursor.peek() is not None:
        _param(cursor, params)
    if not params:
        cursor.fail("what changes? write name=value", None)
    return SetParams(instance, tuple(params.items()))


def _halt(cursor: Cursor) -> Intent:
    instance = _name(cursor, "a strategy's id")
    word = cursor.take(*(policy.value for policy in HaltPolicy))
    if word is None and (other := cursor.peek()) is not None:
        cursor.fail(
            f"{other.text!r} is not what can happen: cancel, keep or flat",
            other,
            cursor.with_word(other, "cancel"),
        )
    return HaltStrategy(instance, HaltPolicy(word.low) if word is not None else None)


def _arm(cursor: Cursor) -> Intent:
    everything = cursor.take("all") is not None
    symbol = None if everything else cursor.symbol()
    seconds = cursor.span() if cursor.take("for") is not None else None
    return Arm(symbol, everything, seconds)


def _rearm(cursor: Cursor) -> Intent:
    account = cursor.next("the account's name", "rearm paper checked the positions")
    reason = cursor.peek()
    if reason is None:
        cursor.fail("a reason is missing: it goes into the journal", None, cursor.with_end("checked the positions"))
    cursor.at = len(cursor.words)
    return Rearm(account.text, " ".join(cursor.line[reason.start :].split()))


def _go(cursor: Cursor) -> Intent:
    return GoTo(cursor.need_symbol("go btc"))


def _chart(cursor: Cursor) -> Intent:
    symbol = cursor.symbol()
    word = cursor.next("a timeframe", cursor.with_end("5m"))
    if word.low not in TIMEFRAME_MS:
        near = difflib.get_close_matches(word.low, list(TIMEFRAME_MS), 1, 0.5)
        known = ", ".join(TIMEFRAME_MS)
        cursor.fail(
            f"{word.text!r} is not a timeframe ({known})",
            word,
            cursor.with_word(word, near[0] if near else "5m"),
        )
    return ShowChart(word.low, symbol or cursor.symbol())


def _watch(cursor: Cursor) -> Intent:
    return Watch(cursor.need_symbol("watch sol"))


def _unwatch(cursor: Cursor) -> Intent:
    return Watch(cursor.need_symbol("unwatch sol"), on=False)


def _account(cursor: Cursor) -> Intent:
    return SwitchAccount(cursor.next("an account's number or name", "account 0").text)


def _theme(cursor: Cursor) -> Intent:
    return SetTheme(_name(cursor, "a theme's name").lower())


def _help(cursor: Cursor) -> Intent:
    word = cursor.peek()
    if word is not None:
        cursor.at += 1
    return Help(word.text if word is not None else "")


_READERS: Final[dict[str, Reader]] = {
    **ORDER_READERS,
    "run": _run,
    "pause": lambda cursor: PauseStrategy(_name(cursor, "a strategy's id")),
    "resume": lambda cursor: ResumeStrategy(_name(cursor, "a strategy's id")),
    "set": _set,
    "rebase": lambda cursor: RebaseStrategy(_name(cursor, "a strategy's id")),
    "halt": _halt,
    "arm": _arm,
    "disarm": lambda _: Disarm(),
    "panic": lambda _: Panic(),
    "rearm": _rearm,
    "go": _go,
    "chart": _chart,
    "watch": _watch,
    "unwatch": _unwatch,
    "account": _account,
    "theme": _theme,
    "help": _help,
    "detach": lambda _: Detach(),
    "quit": lambda _: Quit(),
}
