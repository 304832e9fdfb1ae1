"""Completion of the prompt: at most eight words that could stand at the cursor, the most likely first.

A pure function of the line, the desk and the vocabulary; nothing it offers is ever put in without the operator.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec

from ctos_tui.command import candidates as find
from ctos_tui.command.candidates import Candidate, Vocabulary
from ctos_tui.command.cursor import FLAG_WORDS, REF_WORDS
from ctos_tui.command.desk import Desk, Market, ResolveError
from ctos_tui.command.terms import Ref
from ctos_tui.command.verbs import BY_NAME, VERBS
from ctos_tui.command.words import looks_like_number
from engine.kernel.errors import UnknownSymbol
from engine.kernel.market import TIMEFRAME_MS
from engine.kernel.orders import Order, Side

MAX_CANDIDATES: Final = 8
FLAGS: Final = {
    "post": "never takes",
    "reduce": "only makes the position smaller",
    "ioc": "what does not trade at once is cancelled",
    "fok": "all at once or nothing",
    "soft": "post-only, follows its side of the touch",
}
_HOLDINGS: Final = {
    "all": "every position",
    "longs": "every long position",
    "shorts": "every short position",
    "winners": "every position in profit",
    "losers": "every position that is not in profit",
}
SPANS: Final = ("10m", "30m", "1h", "4h")
_WORDS: Final = re.compile(r"@|[^ @]+")


class Completion(msgspec.Struct, frozen=True):
    """What could stand at the cursor.

    Attributes:
        start: Column of the word that a candidate replaces.
        end: Column after it.
        candidates: At most eight, best first.
        ghost: What the first candidate adds to the typed word; empty when it does not begin with it.
    """

    start: int
    end: int
    candidates: tuple[Candidate, ...]
    ghost: str

    def accept(self, line: str, index: int = 0) -> str:
        """Return the line with a candidate in place of the word at the cursor."""
        text, rest = self.candidates[index].text, line[self.end :].lstrip()
        gap = "" if text.endswith("=") and not rest else " "
        return f"{line[: self.start]}{text}{gap}{rest}"


class _Place(msgspec.Struct, frozen=True):
    """The words before the cursor, the word at it, and what is known."""

    verb: str
    words: tuple[str, ...]
    prefix: str
    desk: Desk
    vocabulary: Vocabulary

    @property
    def before_price(self) -> tuple[str, ...]:
        """Return the words between verb and price mark."""
        at = self.price_mark
        return self.words if at is None else self.words[:at]

    @property
    def price_mark(self) -> int | None:
        """Return the index of `@` or `at`."""
        return next((index for index, word in enumerate(self.words) if word in ("@", "at")), None)


def complete(line: str, column: int, desk: Desk, vocabulary: Vocabulary) -> Completion:
    """Return what could stand at a column of a line."""
    typed = line[:column]
    spans = [(match.group(), match.start()) for match in _WORDS.finditer(typed)]
    inside = bool(spans) and not typed.endswith((" ", "@"))
    prefix, start = spans.pop() if inside else ("", column)
    words = tuple(word.lower() for word, _ in spans)
    found = _at(words, prefix, desk, vocabulary)
    unique = {candidate.text: candidate for candidate in reversed(list(islice(found, 2 * MAX_CANDIDATES)))}
    shown = tuple(reversed(unique.values()))[:MAX_CANDIDATES]
    first = shown[0].text if shown else ""
    ghost = first[len(prefix) :] if prefix and first.lower().startswith(prefix.lower()) else ""
    rest = _WORDS.match(line, column) if inside else None
    return Completion(start, rest.end() if rest is not None else column, shown, ghost if rest is None else "")


def _at(words: tuple[str, ...], prefix: str, desk: Desk, vocabulary: Vocabulary) -> Iterator[Candidate]:
    if not words:
        return _verbs(prefix)
    verb = BY_NAME.get(words[0])
    reader = _READERS.get(verb.name) if verb is not None else None
    if verb is None or reader is None:
        return iter(())
    return reader(_Place(verb.name, words[1:], prefix, desk, vocabulary))


def _verbs(prefix: str) -> Iterator[Candidate]:
    low = prefix.lower()
    named = [verb for verb in VERBS if verb.name.startswith(low)]
    named.sort(key=lambda verb: verb.name != low)
    for verb in named:
        yield Candidate(verb.name, f"{verb.help} · {verb.usage}")
    for verb in VERBS:
        if low and verb not in named and any(alias.startswith(low) for alias in verb.aliases):
            yield Candidate(verb.name, f"{verb.help} · {verb.usage}")


def _starting(texts: Iterable[tuple[str, str]], prefix: str) -> Iterator[Candidate]:
    low = prefix.lower()
    return (Candidate(text, note) for text, note in texts if text.lower().startswith(low))


def _market_of(place: _Place) -> Market | None:
    """Return the market that the line names so far, or the focused one."""
    named = [word for word in place.before_price if _is_name(word)]
    try:
        return place.desk.market(named[0] if named else None)
    except (UnknownSymbol, ResolveError):
        return None


def _is_name(word: str) -> bool:
    return not looks_like_number(word) and not word.startswith(("$", "#")) and word not in FLAG_WORDS


def _side_of(place: _Place, market: Market) -> Side:
    """Return the side that the line means; closing verbs go against the position."""
    if place.verb in ("buy", "sell"):
        return Side(place.verb)
    return Side.SELL if market.position > 0 else Side.BUY


def _order(place: _Place) -> Iterator[Candidate]:
    if place.price_mark is not None:
        yield from _after_price_mark(place)
        return
    sized = any(looks_like_number(word) or word.startswith("$") for word in place.words)
    named = any(_is_name(word) for word in place.words)
    market = _market_of(place)
    starts_number = looks_like_number(place.prefix) or place.prefix.startswith("$")
    if not sized and market is not None and (not place.prefix or starts_number):
        side = _side_of(place, market)
        offered = find.sizes(place.prefix, market, side, place.desk, place.vocabulary.sizes)
        typed = looks_like_number(place.prefix)
        yield from (size for size in offered if typed or size.text.startswith(place.prefix))
    if sized and not place.prefix:
        yield Candidate("@", "then a price: best, mid, a number, mkt")
    if not named and not starts_number:
        yield from find.symbols(place.prefix, place.desk)


def _after_price_mark(place: _Place) -> Iterator[Candidate]:
    market = _market_of(place)
    mark = place.price_mark
    if market is None or mark is None:
        return
    side = _side_of(place, market)
    after = place.words[mark + 1 :]
    if not after:
        found = find.prices(place.prefix, market, side, place.desk)
        typed = looks_like_number(place.prefix)
        yield from (price for price in found if typed or price.text.startswith(place.prefix.lower()))
        return
    ref = Ref(after[0]) if after[0] in REF_WORDS else None
    if len(after) == 1 and ref is not None and place.prefix[:1] in ("+", "-"):
        yield from find.offsets(place.prefix, ref, market, side, place.desk)
        return
    yield from _starting(_flags(after), place.prefix)


def _flags(after: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the flags that do not contradict the price or each other."""
    given = {FLAG_WORDS[word] for word in after if word in FLAG_WORDS}
    behaviours = {"post", "ioc", "fok", "soft"}
    for name, note in FLAGS.items():
        if name in given or (name in behaviours and (given & behaviours or after[0] == "mkt")):
            continue
        if name == "soft" and (after[0] != "best" or any(word[0] in "+-" for word in after[1:])):
            continue
        yield name, note


def _target(place: _Place) -> Iterator[Candidate]:
    market = _market_of(place)
    sized = any(looks_like_number(word) for word in place.words)
    if not sized and not place.prefix:
        yield from (Candidate(text, "amount of quote, negative for short") for text in ("100$", "1000$", "-1000$", "0"))
    if sized and market is not None and "soft" not in place.words:
        yield from _starting([("soft", FLAGS["soft"])], place.prefix)
    if not any(_is_name(word) for word in place.words) and not looks_like_number(place.prefix):
        yield from find.symbols(place.prefix, place.desk)


def _flat(place: _Place) -> Iterator[Candidate]:
    if place.price_mark is not None:
        yield from _after_price_mark(place)
        return
    if not place.words:
        yield from _held(place)
        yield from _starting(_HOLDINGS.items(), place.prefix)
    if place.words and place.words[-1] in _HOLDINGS:
        yield from _starting([("except", "then a market to leave alone")], place.prefix)
    if place.words and place.words[-1] == "except":
        yield from _held(place)
    elif not looks_like_number(place.prefix):
        yield from _starting(
            [("50%pos", "half of the position"), ("@", "then a price; without one at the market")], place.prefix
        )


def _held(place: _Place) -> Iterator[Candidate]:
    held = {symbol for symbol, market in place.desk.markets.items() if market.position}
    return find.symbols(place.prefix, place.desk, held)


def _reverse(place: _Place) -> Iterator[Candidate]:
    if place.price_mark is not None:
        yield from (found for found in _after_price_mark(place) if found.text != "reduce")
        return
    if not place.words:
        yield from _held(place)
    yield from _starting([("@", "then a price")], place.prefix)


def _cancel(place: _Place) -> Iterator[Candidate]:
    if not place.words or place.words[-1].startswith("#"):
        taken = set(place.words)
        yield from (found for found in find.orders(place.prefix, place.desk) if found.text not in taken)
    if not place.words:
        scopes = {"all": "every order", "buys": "buys of the focused market", "sells": "sells of the focused market"}
        yield from _starting([*scopes.items(), ("last", "the youngest order")], place.prefix)
        working = {order.symbol for order in place.desk.orders}
        yield from find.symbols(place.prefix, place.desk, working)


def _named_order(place: _Place) -> Order | None:
    try:
        return place.desk.order(place.words[0].removeprefix("#"))
    except ResolveError:
        return None


def _move(place: _Place) -> Iterator[Candidate]:
    if not place.words:
        yield from find.orders(place.prefix, place.desk)
        return
    order = _named_order(place)
    if order is None or order.symbol not in place.desk.markets:
        return
    market = place.desk.markets[order.symbol]
    if place.verb == "bump":
        offered = [place.prefix] if place.prefix[:1] in ("+", "-") else ["-1t", "+1t", "-5t", "+5t"]
        yield from (Candidate(text, "shift the price") for text in offered if len(place.words) == 1)
        return
    mark = place.price_mark
    if mark is None:
        yield from _starting([("@", f"now {find.order_note(order, place.desk)}")], place.prefix)
    elif mark == len(place.words) - 1:
        found = find.prices(place.prefix, market, order.side, place.desk)
        yield from (price for price in found if price.text != "mkt" and price.text.startswith(place.prefix.lower()))


def _run(place: _Place) -> Iterator[Candidate]:
    vocabulary = place.vocabulary
    if not place.words:
        yield from _starting(((item.name, item.help) for item in vocabulary.strategies.values()), place.prefix)
        return
    if place.words[-1] == "as":
        return
    strategy = vocabulary.strategies.get(place.words[0])
    if len(place.words) == 1 and "=" not in place.prefix:
        yield from islice(find.symbols(place.prefix, place.desk), MAX_CANDIDATES if place.prefix else 3)
    if strategy is not None:
        yield from _unset(place, find.parameters(place.prefix, strategy.params, {}))
    yield from _starting([("as", "then a name for the instance")], place.prefix)


def _unset(place: _Place, found: Iterable[Candidate]) -> Iterator[Candidate]:
    given = {word.partition("=")[0] for word in place.words if "=" in word}
    return (item for item in found if item.text.partition("=")[0] not in given)


def _instances(place: _Place) -> Iterator[Candidate]:
    rows = place.vocabulary.instances.values()
    return _starting(((row.id, f"{row.strategy} · {row.state}") for row in rows), place.prefix)


def _one_instance(place: _Place) -> Iterator[Candidate]:
    return _instances(place) if not place.words else iter(())


def _set(place: _Place) -> Iterator[Candidate]:
    if not place.words:
        yield from _instances(place)
        return
    named = {row.id.lower(): row for row in place.vocabulary.instances.values()}
    instance = named.get(place.words[0])
    strategy = place.vocabulary.strategies.get(instance.strategy) if instance is not None else None
    if instance is not None and strategy is not None:
        yield from _unset(place, find.parameters(place.prefix, strategy.params, instance.values))


def _halt(place: _Place) -> Iterator[Candidate]:
    if not place.words:
        yield from _instances(place)
    elif len(place.words) == 1:
        policies = [
            ("cancel", "cancel its orders, keep the position"),
            ("keep", "keep orders and position"),
            ("flat", "cancel its orders and close its position"),
        ]
        yield from _starting(policies, place.prefix)


def _arm(place: _Place) -> Iterator[Candidate]:
    if place.words and place.words[-1] == "for":
        yield from _starting(((span, "") for span in SPANS), place.prefix)
        return
    if "for" in place.words:
        return
    if not place.words:
        yield from _starting([("all", "every market")], place.prefix)
    yield from _starting([("for", "then a time like 30m")], place.prefix)
    if not place.words:
        yield from find.symbols(place.prefix, place.desk)


def _one_symbol(place: _Place) -> Iterator[Candidate]:
    return find.symbols(place.prefix, place.desk) if not place.words else iter(())


def _unwatch(place: _Place) -> Iterator[Candidate]:
    return find.symbols(place.prefix, place.desk, place.desk.watch) if not place.words else iter(())


def _chart(place: _Place) -> Iterator[Candidate]:
    if any(word in TIMEFRAME_MS for word in place.words):
        return
    yield from _starting(((timeframe, "") for timeframe in TIMEFRAME_MS), place.prefix)
    yield from _one_symbol(place)


def _account(place: _Place) -> Iterator[Candidate]:
    names = [(name, f"account {index}") for index, name in enumerate(place.vocabulary.accounts)]
    return _starting(names, place.prefix) if not place.words else iter(())


def _theme(place: _Place) -> Iterator[Candidate]:
    return _starting(((name, "") for name in place.vocabulary.themes), place.prefix) if not place.words else iter(())


def _help(place: _Place) -> Iterator[Candidate]:
    return _verbs(place.prefix) if not place.words else iter(())


_READERS: Final[dict[str, Callable[[_Place], Iterator[Candidate]]]] = {
    "buy": _order,
    "sell": _order,
    "target": _target,
    "flat": _flat,
    "rev": _reverse,
    "x": _cancel,
    "mv": _move,
    "bump": _move,
    "run": _run,
    "pause": _one_instance,
    "resume": _one_instance,
    "rebase": _one_instance,
    "set": _set,
    "halt": _halt,
    "arm": _arm,
    "rearm": _account,
    "go": _one_symbol,
    "watch": _one_symbol,
    "unwatch": _unwatch,
    "chart": _chart,
    "account": _account,
    "theme": _theme,
    "help": _help,
}
