"""Typed intents: what a line of the prompt, or a key of the desk, asks for; no price of now is known here.

Every intent gives back the line that means it (`str(intent)`); parsing that line yields the same intent.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

from ctos_tui.command.terms import NO_FLAGS, Flags, Offset, Price, Size
from ctos_tui.command.words import plain
from engine.kernel.orders import Side

HUNDRED = Decimal(100)


class HaltPolicy(StrEnum):
    """What happens to orders and position when a strategy is stopped."""

    CANCEL = "cancel"
    KEEP = "keep"
    FLAT = "flat"


class CancelScope(StrEnum):
    """Which orders a cancel means when it names none by number."""

    MARKET = "market"
    ALL = "all"
    BUYS = "buys"
    SELLS = "sells"
    LAST = "last"


class Holding(StrEnum):
    """Which positions a close means."""

    LONGS = "longs"
    SHORTS = "shorts"
    WINNERS = "winners"
    LOSERS = "losers"


def _line(*parts: object) -> str:
    return " ".join(text for text in (str(part) for part in parts if part is not None) if text)


def _pairs(params: tuple[tuple[str, str], ...]) -> str:
    return " ".join(f"{name}={value}" for name, value in params)


class PlaceOrder(msgspec.Struct, frozen=True):
    """Buy or sell; `symbol` None means the focused market."""

    side: Side
    size: Size
    price: Price
    symbol: str | None = None
    flags: Flags = NO_FLAGS

    def __str__(self) -> str:
        return _line(self.side, self.size, self.symbol, "@", self.price, self.flags)


class Target(msgspec.Struct, frozen=True):
    """Bring the position of a market to a signed amount of quote."""

    amount: Decimal
    symbol: str | None = None
    soft: bool = False

    def __str__(self) -> str:
        return _line("target", f"{plain(self.amount)}$", self.symbol, "soft" if self.soft else None)


class Flatten(msgspec.Struct, frozen=True):
    """Close a position, or all; without a price at the market, reduce-only.

    Attributes:
        symbol: A market, or several joined by `+`; None means the focused one.
        everything: All positions, but for what `holdings` and `ignored` leave out.
        percent: Share of each position that is closed.
        holdings: What each of them must be; empty for anything.
        ignored: Markets that are left alone.
    """

    symbol: str | None = None
    everything: bool = False
    percent: Decimal = HUNDRED
    price: Price | None = None
    flags: Flags = NO_FLAGS
    holdings: tuple[Holding, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def is_of_many(self) -> bool:
        """Return whether it may close more than one position."""
        return self.everything or "+" in (self.symbol or "")

    @property
    def is_unconditional(self) -> bool:
        """Return whether all of everything is to be closed at the market."""
        return (
            self.everything
            and self.price is None
            and self.percent == HUNDRED
            and not self.holdings
            and not self.ignored
        )

    def __str__(self) -> str:
        share = None if self.percent == HUNDRED else f"{plain(self.percent)}%pos"
        where = (" ".join(self.holdings) or "all") if self.everything else self.symbol
        ignored = f"except {'+'.join(self.ignored)}" if self.ignored else None
        price = None if self.price is None else f"@ {self.price}"
        return _line("flat", where, ignored, share, price, self.flags)


class Reverse(msgspec.Struct, frozen=True):
    """Turn a position round: close it and open the same on the other side."""

    price: Price
    symbol: str | None = None
    flags: Flags = NO_FLAGS

    def __str__(self) -> str:
        return _line("rev", self.symbol, "@", self.price, self.flags)


class CancelOrders(msgspec.Struct, frozen=True):
    """Cancel by number, or by scope (`MARKET`, `BUYS` and `SELLS` of one market)."""

    orders: tuple[str, ...] = ()
    scope: CancelScope = CancelScope.MARKET
    symbol: str | None = None

    def __str__(self) -> str:
        if self.orders:
            return _line("x", *(f"#{number}" for number in self.orders))
        return _line("x", None if self.scope is CancelScope.MARKET else self.scope, self.symbol)


class MoveOrder(msgspec.Struct, frozen=True):
    """Give an order a new size (its new total), a new price, or both."""

    order: str
    size: Size | None = None
    price: Price | None = None

    def __str__(self) -> str:
        return _line("mv", f"#{self.order}", self.size, None if self.price is None else f"@ {self.price}")


class BumpOrder(msgspec.Struct, frozen=True):
    """Shift the price of an order."""

    order: str
    by: Offset

    def __str__(self) -> str:
        return _line("bump", f"#{self.order}", self.by)


class RunStrategy(msgspec.Struct, frozen=True):
    """Launch a strategy; parameters are text until its schema reads them.

    `symbol` may be several joined by `+`, or `focus`, `positions`, `all`; None means the focused market.
    """

    strategy: str
    symbol: str | None = None
    params: tuple[tuple[str, str], ...] = ()
    instance: str | None = None

    def __str__(self) -> str:
        return _line(
            "run",
            self.strategy,
            self.symbol,
            _pairs(self.params),
            f"as {self.instance}" if self.instance else None,
        )


class PauseStrategy(msgspec.Struct, frozen=True):
    """Let a running strategy make no new exposure."""

    instance: str

    def __str__(self) -> str:
        return f"pause {self.instance}"


class ResumeStrategy(msgspec.Struct, frozen=True):
    """Let a paused strategy go on."""

    instance: str

    def __str__(self) -> str:
        return f"resume {self.instance}"


class SetParams(msgspec.Struct, frozen=True):
    """Amend the parameters of a running strategy."""

    instance: str
    params: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return _line("set", self.instance, _pairs(self.params))


class RebaseStrategy(msgspec.Struct, frozen=True):
    """Let a frozen grid start again from the price of now."""

    instance: str

    def __str__(self) -> str:
        return f"rebase {self.instance}"


class HaltStrategy(msgspec.Struct, frozen=True):
    """Stop a strategy; without a policy its own decides."""

    instance: str
    policy: HaltPolicy | None = None

    def __str__(self) -> str:
        return _line("halt", self.instance, self.policy)


class Arm(msgspec.Struct, frozen=True):
    """Let orders pass, for one market or all, for a time or as long as the default says."""

    symbol: str | None = None
    everything: bool = False
    seconds: int | None = None

    def __str__(self) -> str:
        where = "all" if self.everything else self.symbol
        return _line("arm", where, f"for {duration(self.seconds)}" if self.seconds is not None else None)


class Disarm(msgspec.Struct, frozen=True):
    """Let no new order pass."""

    def __str__(self) -> str:
        return "disarm"


class Panic(msgspec.Struct, frozen=True):
    """Halt everything at once."""

    def __str__(self) -> str:
        return "panic"


class Rearm(msgspec.Struct, frozen=True):
    """Release the halt of an account, with the reason that goes into the journal."""

    account: str
    reason: str

    def __str__(self) -> str:
        return f"rearm {self.account} {self.reason}"


class GoTo(msgspec.Struct, frozen=True):
    """Focus a market in every pane."""

    symbol: str

    def __str__(self) -> str:
        return f"go {self.symbol}"


class ShowChart(msgspec.Struct, frozen=True):
    """Change the chart's timeframe, and its market when one is named."""

    timeframe: str
    symbol: str | None = None

    def __str__(self) -> str:
        return _line("chart", self.symbol, self.timeframe)


class Watch(msgspec.Struct, frozen=True):
    """Put a market on the watch list, or take it off."""

    symbol: str
    on: bool = True

    def __str__(self) -> str:
        return f"{'watch' if self.on else 'unwatch'} {self.symbol}"


class SwitchAccount(msgspec.Struct, frozen=True):
    """Show and trade another account, by position or name."""

    account: str

    def __str__(self) -> str:
        return f"account {self.account}"


class SetTheme(msgspec.Struct, frozen=True):
    """Change the colours."""

    theme: str

    def __str__(self) -> str:
        return f"theme {self.theme}"


class Help(msgspec.Struct, frozen=True):
    """Show help, about one word or all."""

    topic: str = ""

    def __str__(self) -> str:
        return _line("help", self.topic)


class Quit(msgspec.Struct, frozen=True):
    """Leave the console."""

    def __str__(self) -> str:
        return "quit"


class Detach(msgspec.Struct, frozen=True):
    """Leave the screen; the engine goes on."""

    def __str__(self) -> str:
        return "detach"


OrderIntent = PlaceOrder | Target | Flatten | Reverse | MoveOrder | BumpOrder
"""Intents that are staged with a preview before they are sent."""
Intent = (
    OrderIntent
    | CancelOrders
    | RunStrategy
    | PauseStrategy
    | ResumeStrategy
    | SetParams
    | RebaseStrategy
    | HaltStrategy
    | Arm
    | Disarm
    | Panic
    | Rearm
    | GoTo
    | ShowChart
    | Watch
    | SwitchAccount
    | SetTheme
    | Help
    | Quit
    | Detach
)


def needs_guard(intent: Intent) -> bool:
    """Return whether Enter on its line must be a fresh key press: it may add exposure, or let orders pass."""
    return isinstance(intent, OrderIntent | RunStrategy | ResumeStrategy | SetParams | RebaseStrategy | Arm | Rearm)


def duration(seconds: int) -> str:
    """Return a time span as the grammar reads it: `90s`, `30m`, `2h`."""
    for size, unit in ((3600, "h"), (60, "m")):
        if seconds % size == 0 and seconds:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
