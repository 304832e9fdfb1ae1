"""Typed intents: what a line of the prompt, or a key of the desk, asks for; no price of now is known here.

Every intent gives back the line that means it (`str(intent)`); parsing that line yields the same intent.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

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


def _line(*parts: object) -> str:
    return " ".join(text for text in (str(part) for part in parts if part is not None) if text)


def _pairs(params: tuple[tuple[str, str], ...]) -> str:
    return " ".join(f"{name}={value}" for name, value in params)


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    """Buy or sell; `symbol` None means the focused market."""

    side: Side
    size: Size
    price: Price
    symbol: str | None = None
    flags: Flags = NO_FLAGS

    def __str__(self) -> str:
        return _line(self.side, self.size, self.symbol, "@", self.price, self.flags)


@dataclass(frozen=True, slots=True)
class Target:
    """Bring the position of a market to a signed amount of quote."""

    amount: Decimal
    symbol: str | None = None
    soft: bool = False

    def __str__(self) -> str:
        return _line("target", f"{plain(self.amount)}$", self.symbol, "soft" if self.soft else None)


@dataclass(frozen=True, slots=True)
class Flatten:
    """Close a position, or all; without a price at the market, reduce-only.

    Attributes:
        percent: Share of the position that is closed.
    """

    symbol: str | None = None
    everything: bool = False
    percent: Decimal = HUNDRED
    price: Price | None = None
    flags: Flags = NO_FLAGS

    def __str__(self) -> str:
        share = None if self.percent == HUNDRED else f"{plain(self.percent)}%pos"
        where = "all" if self.everything else self.symbol
        price = None if self.price is None else f"@ {self.price}"
        return _line("flat", where, share, price, self.flags)


@dataclass(frozen=True, slots=True)
class Reverse:
    """Turn a position round: close it and open the same on the other side."""

    price: Price
    symbol: str | None = None
    flags: Flags = NO_FLAGS

    def __str__(self) -> str:
        return _line("rev", self.symbol, "@", self.price, self.flags)


@dataclass(frozen=True, slots=True)
class CancelOrders:
    """Cancel by number, or by scope (`MARKET`, `BUYS` and `SELLS` of one market)."""

    orders: tuple[str, ...] = ()
    scope: CancelScope = CancelScope.MARKET
    symbol: str | None = None

    def __str__(self) -> str:
        if self.orders:
            return _line("x", *(f"#{number}" for number in self.orders))
        return _line("x", None if self.scope is CancelScope.MARKET else self.scope, self.symbol)


@dataclass(frozen=True, slots=True)
class MoveOrder:
    """Give an order a new size (its new total), a new price, or both."""

    order: str
    size: Size | None = None
    price: Price | None = None

    def __str__(self) -> str:
        return _line("mv", f"#{self.order}", self.size, None if self.price is None else f"@ {self.price}")


@dataclass(frozen=True, slots=True)
class BumpOrder:
    """Shift the price of an order."""

    order: str
    by: Offset

    def __str__(self) -> str:
        return _line("bump", f"#{self.order}", self.by)


@dataclass(frozen=True, slots=True)
class RunStrategy:
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


@dataclass(frozen=True, slots=True)
class PauseStrategy:
    """Let a running strategy make no new exposure."""

    instance: str

    def __str__(self) -> str:
        return f"pause {self.instance}"


@dataclass(frozen=True, slots=True)
class ResumeStrategy:
    """Let a paused strategy go on."""

    instance: str

    def __str__(self) -> str:
        return f"resume {self.instance}"


@dataclass(frozen=True, slots=True)
class SetParams:
    """Amend the parameters of a running strategy."""

    instance: str
    params: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return _line("set", self.instance, _pairs(self.params))


@dataclass(frozen=True, slots=True)
class RebaseStrategy:
    """Let a frozen grid start again from the price of now."""

    instance: str

    def __str__(self) -> str:
        return f"rebase {self.instance}"


@dataclass(frozen=True, slots=True)
class HaltStrategy:
    """Stop a strategy; without a policy its own decides."""

    instance: str
    policy: HaltPolicy | None = None

    def __str__(self) -> str:
        return _line("halt", self.instance, self.policy)


@dataclass(frozen=True, slots=True)
class Arm:
    """Let orders pass, for one market or all, for a time or as long as the default says."""

    symbol: str | None = None
    everything: bool = False
    seconds: int | None = None

    def __str__(self) -> str:
        where = "all" if self.everything else self.symbol
        return _line("arm", where, f"for {duration(self.seconds)}" if self.seconds is not None else None)


@dataclass(frozen=True, slots=True)
class Disarm:
    """Let no new order pass."""

    def __str__(self) -> str:
        return "disarm"


@dataclass(frozen=True, slots=True)
class Panic:
    """Halt everything at once."""

    def __str__(self) -> str:
        return "panic"


@dataclass(frozen=True, slots=True)
class Rearm:
    """Release the halt of an account, with the reason that goes into the journal."""

    account: str
    reason: str

    def __str__(self) -> str:
        return f"rearm {self.account} {self.reason}"


@dataclass(frozen=True, slots=True)
class GoTo:
    """Focus a market in every pane."""

    symbol: str

    def __str__(self) -> str:
        return f"go {self.symbol}"


@dataclass(frozen=True, slots=True)
class ShowChart:
    """Change the chart's timeframe, and its market when one is named."""

    timeframe: str
    symbol: str | None = None

    def __str__(self) -> str:
        return _line("chart", self.symbol, self.timeframe)


@dataclass(frozen=True, slots=True)
class Watch:
    """Put a market on the watch list, or take it off."""

    symbol: str
    on: bool = True

    def __str__(self) -> str:
        return f"{'watch' if self.on else 'unwatch'} {self.symbol}"


@dataclass(frozen=True, slots=True)
class SwitchAccount:
    """Show and trade another account, by position or name."""

    account: str

    def __str__(self) -> str:
        return f"account {self.account}"


@dataclass(frozen=True, slots=True)
class SetTheme:
    """Change the colours."""

    theme: str

    def __str__(self) -> str:
        return f"theme {self.theme}"


@dataclass(frozen=True, slots=True)
class Help:
    """Show help, about one word or all."""

    topic: str = ""

    def __str__(self) -> str:
        return _line("help", self.topic)


@dataclass(frozen=True, slots=True)
class Quit:
    """Leave the console."""

    def __str__(self) -> str:
        return "quit"


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
