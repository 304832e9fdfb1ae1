"""What the grid remembers of each symbol over a restart."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from engine.kernel.orders import Side

ZERO = Decimal(0)
_MONEY = ("init", "baseline", "last_increase_price")


class Phase(StrEnum):
    """Whether a symbol is quoted.

    BACKOFF waits after a refusal, FROZEN for the action `rebase`, PAUSED for a person who cancels its orders, DROPPED
    for a larger order size.
    """

    ACTIVE = "ACTIVE"
    BACKOFF = "BACKOFF"
    FROZEN = "FROZEN"
    PAUSED = "PAUSED"
    DROPPED = "DROPPED"


@dataclass(slots=True)
class Slot:
    """One side of a symbol's grid: its order, or why there is none.

    Attributes:
        client_id: The order, empty when there is none.
        closing: Whether the strategy has asked for its cancellation.
        wait_until_ms: No order before this time.
        check_ms: When to look whether the order is as it should be; 0 when it is.
        blocked: Whether it waits for trading to be allowed.
        rejects: Refusals in a row.
        replaced_ms: When cancellations from outside were answered.
        post_only_ms: When post-only refusals were answered.
        amended: The price and total that the order was last asked to have.
        amended_ms: When.
        note: Why there is no order.
    """

    client_id: str = ""
    closing: bool = False
    wait_until_ms: int = 0
    check_ms: int = 0
    blocked: bool = False
    rejects: int = 0
    replaced_ms: list[int] = field(default_factory=list)
    post_only_ms: list[int] = field(default_factory=list)
    amended: str = ""
    amended_ms: int = 0
    note: str = ""

    def free(self) -> None:
        """Forget the order."""
        self.client_id = self.amended = ""
        self.closing = False
        self.check_ms = 0

    def reset(self) -> None:
        """Forget everything but the order."""
        self.wait_until_ms = self.rejects = 0
        self.blocked = False
        self.replaced_ms, self.post_only_ms, self.note = [], [], ""


@dataclass(slots=True)
class Grid:
    """The grid of one symbol.

    Attributes:
        init: Price at the start or at the last `rebase`; the guard is measured from it.
        baseline: What both orders are placed around.
        last_increase_price: Price at which the position last grew.
        note: Why the symbol is not quoted.
        chasing: Client ids of orders for steps that the price jumped over.
        chase: (side, price) of skipped steps that still get an order at the touch.
        chase_at_ms: When the next of them may be sent: equal orders within a second are refused as a mistake.
        flattening: Handle of the close at the guard.
    """

    init: Decimal
    baseline: Decimal
    phase: Phase = Phase.ACTIVE
    last_increase_price: Decimal = ZERO
    note: str = ""
    buy: Slot = field(default_factory=Slot)
    sell: Slot = field(default_factory=Slot)
    chasing: list[str] = field(default_factory=list)
    chase: list[tuple[Side, Decimal]] = field(default_factory=list)
    chase_at_ms: int = 0
    flattening: str = ""

    @property
    def is_quoted(self) -> bool:
        """Return whether orders are placed now."""
        return self.phase in (Phase.ACTIVE, Phase.BACKOFF)

    def slot(self, side: Side) -> Slot:
        """Return the slot of a side."""
        return self.buy if side is Side.BUY else self.sell

    def follow_rejects(self) -> None:
        """Step between ACTIVE and BACKOFF as the slots are."""
        if self.is_quoted:
            self.phase = Phase.BACKOFF if self.buy.rejects or self.sell.rejects else Phase.ACTIVE

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        data = asdict(self)
        for name in _MONEY:
            data[name] = str(data[name])
        data["chase"] = [(side.value, str(price)) for side, price in self.chase]
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Grid:
        """Return the grid that `to_dict` described."""
        values = dict(data)
        for name in _MONEY:
            values[name] = Decimal(values[name])
        values["phase"] = Phase(values["phase"])
        values["buy"], values["sell"] = Slot(**values["buy"]), Slot(**values["sell"])
        values["chase"] = [(Side(side), Decimal(price)) for side, price in values["chase"]]
        return cls(**values)
