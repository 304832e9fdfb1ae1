"""The parts of an order as they are written: size, price, offset, flags.

Each gives back the words that mean it (`str(part)`).
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

from ctos_tui.command.words import plain


class SizeUnit(StrEnum):
    """What the number of a size counts; the value is how it is written."""

    BASE = ""
    QUOTE = "$"
    CONTRACTS = "c"
    POSITION = "%pos"
    BALANCE = "%bal"
    LARGEST = "$max"


class Ref(StrEnum):
    """A price of now that a line may name."""

    BEST = "best"
    OPP = "opp"
    BID = "bid"
    ASK = "ask"
    MID = "mid"
    LAST = "last"
    MARK = "mark"
    ENTRY = "entry"
    PASSIVE = "passive"


class OffsetUnit(StrEnum):
    """What an offset counts; the value is how it is written."""

    PRICE = ""
    PERCENT = "%"
    TICKS = "t"


class Size(msgspec.Struct, frozen=True):
    """How much: a positive number and what it counts. `LARGEST` is the most that the limits let pass."""

    value: Decimal
    unit: SizeUnit = SizeUnit.BASE

    def __str__(self) -> str:
        return "$max" if self.unit is SizeUnit.LARGEST else f"{plain(self.value)}{self.unit}"


class Offset(msgspec.Struct, frozen=True):
    """A signed distance; the sign is arithmetic, the same for both sides."""

    value: Decimal
    unit: OffsetUnit = OffsetUnit.PRICE

    def __str__(self) -> str:
        return f"{'-' if self.value < 0 else '+'}{plain(abs(self.value))}{self.unit}"


class AbsolutePrice(msgspec.Struct, frozen=True):
    """A price as a number."""

    value: Decimal

    def __str__(self) -> str:
        return plain(self.value)


class ReferencePrice(msgspec.Struct, frozen=True):
    """A price of now, with an offset or without."""

    ref: Ref
    offset: Offset | None = None

    def __str__(self) -> str:
        return f"{self.ref} {self.offset}" if self.offset is not None else str(self.ref)


class MarketPrice(msgspec.Struct, frozen=True):
    """Whatever the market asks; always written as `mkt`, always confirmed."""

    def __str__(self) -> str:
        return "mkt"


Price = AbsolutePrice | ReferencePrice | MarketPrice


class Flags(msgspec.Struct, frozen=True):
    """How an order behaves.

    Attributes:
        post: It never takes.
        reduce: It only makes the position smaller.
        ioc: What does not trade at once is cancelled.
        fok: It trades whole at once, or not at all.
        soft: A post-only order that follows its own side of the touch.
    """

    post: bool = False
    reduce: bool = False
    ioc: bool = False
    fok: bool = False
    soft: bool = False

    def __str__(self) -> str:
        return " ".join(name for name in ("post", "reduce", "ioc", "fok", "soft") if getattr(self, name))


NO_FLAGS = Flags()
