"""Reads the words of a line one by one: symbols, sizes, prices, flags, spans of time."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final, NoReturn

from ctos_tui.command.terms import (
    AbsolutePrice,
    Flags,
    MarketPrice,
    Offset,
    OffsetUnit,
    Price,
    Ref,
    ReferencePrice,
    Size,
    SizeUnit,
)
from ctos_tui.command.verbs import BY_NAME, LATER
from ctos_tui.command.words import (
    GrammarError,
    Number,
    Word,
    looks_like_number,
    number_fault,
    read_number,
    split,
)

FLAG_WORDS: Final = {
    "post": "post",
    "po": "post",
    "reduce": "reduce",
    "ro": "reduce",
    "ioc": "ioc",
    "fok": "fok",
    "soft": "soft",
}
REF_WORDS: Final = frozenset(ref.value for ref in Ref)
RESERVED: Final = frozenset(
    {
        *BY_NAME,
        *LATER,
        *FLAG_WORDS,
        *REF_WORDS,
        "mkt",
        "at",
        "all",
        "buys",
        "sells",
        "longs",
        "shorts",
        "winners",
        "losers",
        "except",
        "for",
        "as",
        "if",
        "in",
        "into",
        "over",
    }
)
LATER_FLAGS: Final = ("tp:", "sl:", "tag:", "gtd:")
MAX_SPAN_S: Final = 24 * 3600

_SYMBOL: Final = re.compile(
    r"^(?:[A-Za-z][A-Za-z0-9]{0,19}|[0-9]+[A-Za-z][A-Za-z0-9]{2,19}|[0-9]+[A-Za-z][A-Za-z0-9]*(?=[-/_]))"
    r"(?:[-/_][A-Za-z0-9]{1,10}){0,2}$"
)
_REF_OFFSET: Final = re.compile(rf"^({'|'.join(sorted(REF_WORDS))})([+-].*)$")
_SPAN: Final = re.compile(r"^([1-9][0-9]{0,5})(s|m|h)$")
_GLUED: Final = re.compile(r"^([0-9][0-9.,]*)([A-Za-z]{2,}[A-Za-z0-9-]*)$")
_MULTIPLIER: Final = {"k$": Decimal(1_000), "m$": Decimal(1_000_000)}
_HUNDRED: Final = Decimal(100)


class Cursor:
    """The words of a line and how far they are read."""

    def __init__(self, line: str) -> None:
        self.line = line
        self.words = split(line)
        self.at = 0

    def peek(self) -> Word | None:
        """Return the next word without taking it."""
        return self.words[self.at] if self.at < len(self.words) else None

    def next(self, wanted: str, suggestion: str = "") -> Word:
        """Take the next word; at the end of the line say what was wanted."""
        word = self.peek()
        if word is None:
            self.fail(f"{wanted} is missing", None, suggestion)
        self.at += 1
        return word

    def take(self, *texts: str) -> Word | None:
        """Take the next word if it is one of these (lower case)."""
        word = self.peek()
        if word is None or word.low not in texts:
            return None
        self.at += 1
        return word

    def fail(self, message: str, word: Word | None = None, suggestion: str = "") -> NoReturn:
        """Refuse the line, pointing at a word, or behind the end when there is none."""
        end = len(self.line.rstrip())
        start, stop = (word.start, word.end) if word is not None else (end, end + 1)
        raise GrammarError(message, self.line, start, stop, suggestion)

    def with_word(self, word: Word, text: str) -> str:
        """Return the line with one word replaced."""
        return f"{self.line[: word.start]}{text}{self.line[word.end :]}".strip()

    def with_end(self, text: str) -> str:
        """Return the line with words added at its end."""
        return f"{self.line.strip()} {text}"

    def finish(self) -> None:
        """Refuse words that are left over."""
        word = self.peek()
        if word is not None:
            left = " ".join(rest.text for rest in self.words[self.at :])
            self.fail(f"did not understand {left!r}", word, self.line[: word.start].strip())

    def is_symbol(self, word: Word | None) -> bool:
        """Return whether a word can only be a symbol."""
        return (
            word is not None
            and word.low not in RESERVED
            and read_number(word.text) is None
            and _SYMBOL.match(word.text) is not None
        )

    def symbol(self) -> str | None:
        """Take a symbol if the next word is one; lower case, as typed otherwise."""
        word = self.peek()
        if word is None or not self.is_symbol(word):
            return None
        self.at += 1
        return word.low

    def is_symbols(self, word: Word | None) -> bool:
        """Return whether a word can only be a symbol, or several joined by `+`."""
        return word is not None and all(
            self.is_symbol(Word(part, word.start, word.end)) for part in word.text.split("+")
        )

    def need_symbol(self, example: str) -> str:
        """Take a symbol."""
        word = self.next("a symbol", example)
        if not self.is_symbol(word):
            if word.low in RESERVED and word.text.isalpha():
                self.fail(f"{word.text!r} is a word of the prompt", word, self.with_word(word, f"{word.low}-usdt"))
            self.fail(f"{word.text!r} is not a symbol", word, example)
        return word.low

    def number(self, word: Word) -> Number:
        """Read a word as a number, or say what is wrong with it."""
        number = read_number(word.text)
        if number is not None:
            return number
        message, better = number_fault(word.text)
        glued = _GLUED.match(word.text)
        if glued is not None and read_number(glued[1]) is not None:
            unit = glued[2].lower()
            better = f"{glued[1]}$" if unit in ("usd", "usdt", "usdc") else f"{glued[1]} {glued[2]}"
            message = f"{word.text!r}: write the number and the name apart, or $ for an amount of quote"
        self.fail(message, word, self.with_word(word, better) if better else "")

    def is_size(self, word: Word | None) -> bool:
        """Return whether a word was meant as a size."""
        return (
            word is not None
            and (word.text.startswith("$") or looks_like_number(word.text))
            and not self.is_symbol(word)
        )

    def size(self) -> Size:
        """Take a size."""
        word = self.next("a size")
        named = {
            "$pos": Size(_HUNDRED, SizeUnit.POSITION),
            "$half": Size(Decimal(50), SizeUnit.POSITION),
        }.get(word.low)
        if named is not None:
            return named
        if word.low == "$max":
            return Size(Decimal(1), SizeUnit.LARGEST)
        number = self.number(word)
        bare = word.text.lower().removesuffix(number.unit) if number.unit else word.text
        if number.sign:
            self.fail(
                "a size has no sign: the verb says the side",
                word,
                self.with_word(word, word.text.lstrip("+-")),
            )
        if number.magnitude == 0:
            self.fail("the size must be more than 0", word)
        if number.unit == "%":
            self.fail(
                "'%' alone is ambiguous: of the free balance, or of the position?",
                word,
                self.with_word(word, f"{bare}%bal"),
            )
        if number.unit in ("k", "m"):
            self.fail(f"{number.unit!r} needs a $: it counts quote", word, self.with_word(word, f"{word.text}$"))
        if number.unit in ("t", "s", "h"):
            self.fail(f"{number.unit!r} is not a unit of size", word, self.with_word(word, bare))
        if number.unit in ("%pos", "%bal") and number.magnitude > _HUNDRED:
            self.fail("more than 100 %", word, self.with_word(word, f"100{number.unit}"))
        if number.unit in _MULTIPLIER:
            return Size(number.magnitude * _MULTIPLIER[number.unit], SizeUnit.QUOTE)
        return Size(number.magnitude, SizeUnit(number.unit))

    def offset_of(self, word: Word, text: str) -> Offset:
        """Read a signed distance from (a part of) a word."""
        number = read_number(text)
        if number is None or not number.sign:
            message, _ = number_fault(text)
            self.fail(f"{message}; an offset is like -10, +0.05% or -3t", word)
        if number.unit not in ("", "%", "t"):
            self.fail(f"an offset counts price, % or ticks (t), not {number.unit!r}", word)
        unit = OffsetUnit(number.unit)
        if unit is OffsetUnit.TICKS and number.magnitude != number.magnitude.to_integral_value():
            self.fail("ticks are whole", word)
        if unit is OffsetUnit.PERCENT and number.magnitude >= _HUNDRED:
            self.fail("an offset of 100 % or more leaves no price", word)
        return Offset(number.value, unit)

    def price(self) -> Price:
        """Take a price: a number, a price of now with an offset or without, an offset from best, or `mkt`."""
        word = self.next("a price", self.with_end("best"))
        if word.low == "mkt":
            return MarketPrice()
        joined = _REF_OFFSET.match(word.low)
        if joined is not None:
            return ReferencePrice(Ref(joined[1]), self.offset_of(word, joined[2]))
        if word.low in REF_WORDS:
            following = self.peek()
            if following is not None and following.text[0] in "+-−":
                self.at += 1
                return ReferencePrice(Ref(word.low), self.offset_of(following, following.text))
            if following is not None and looks_like_number(following.text):
                self.fail(
                    "an offset needs its sign",
                    following,
                    self.with_word(following, f"-{following.text.lstrip('+-')}"),
                )
            return ReferencePrice(Ref(word.low))
        if not looks_like_number(word.text):
            self.fail(f"{word.text!r} is not a price", word, self.with_word(word, "best"))
        number = self.number(word)
        if number.sign:
            return ReferencePrice(Ref.BEST, self.offset_of(word, word.text))
        if number.unit:
            self.fail("a price has no unit", word, self.with_word(word, word.text.lower().removesuffix(number.unit)))
        if number.magnitude == 0:
            self.fail("the price must be more than 0", word)
        return AbsolutePrice(number.magnitude)

    def flags(self, price: Price) -> Flags:
        """Take the flags at the end of an order and refuse those that contradict each other or the price."""
        seen: dict[str, Word] = {}
        while (word := self.peek()) is not None:
            name = FLAG_WORDS.get(word.low)
            if name is None:
                self._not_a_flag(word)
            if name in seen:
                self.fail(f"{word.text!r} is written twice", word)
            seen[name] = word
            self.at += 1
        for one, other in (
            ("post", "ioc"),
            ("post", "fok"),
            ("ioc", "fok"),
            ("soft", "ioc"),
            ("soft", "fok"),
        ):
            if one in seen and other in seen:
                self.fail(
                    f"{one} and {other} contradict each other",
                    max(seen[one], seen[other], key=lambda w: w.start),
                )
        if isinstance(price, MarketPrice):
            for name in ("post", "ioc", "fok", "soft"):
                if name in seen:
                    self.fail(f"mkt and {name} contradict each other", seen[name], self._cut(seen[name]))
        if "soft" in seen and price != ReferencePrice(Ref.BEST):
            self.fail("a soft order follows the touch: its price is best", seen["soft"], "... @ best soft")
        return Flags(
            post="post" in seen and "soft" not in seen,
            reduce="reduce" in seen,
            ioc="ioc" in seen,
            fok="fok" in seen,
            soft="soft" in seen,
        )

    def _cut(self, word: Word) -> str:
        return f"{self.line[: word.start].rstrip()}{self.line[word.end :]}".rstrip()

    def _not_a_flag(self, word: Word) -> NoReturn:
        if word.low.startswith(LATER_FLAGS):
            self.fail(f"{word.low.split(':')[0]}: is not available yet", word, self._cut(word))
        if word.text == "@":
            self.fail("there is already a price", word)
        if self.is_symbol(word):
            price = next(other for other in self.words if other.low in ("@", "at"))
            moved = f"{self.line[: price.start].rstrip()} {word.low} {self._cut(word)[price.start :]}"
            self.fail(f"did not understand {word.text!r}; a symbol stands before the @", word, moved)
        self.fail(f"did not understand {word.text!r}; flags are post, reduce, ioc, fok, soft", word, self._cut(word))

    def span(self) -> int:
        """Take a span of time and return its seconds."""
        word = self.next("a time like 30m", self.with_end("30m"))
        match = _SPAN.match(word.low)
        if match is None:
            better = f"{word.text}m" if word.text.isascii() and word.text.isdigit() else "30m"
            self.fail(f"{word.text!r} is not a time: write 90s, 30m or 2h", word, self.with_word(word, better))
        seconds = int(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]
        if seconds > MAX_SPAN_S:
            self.fail("longer than a day", word, self.with_word(word, "24h"))
        return seconds
