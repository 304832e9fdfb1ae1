"""How much care an order needs before it is sent: levels L0 to L3, with the reasons.

The rules here are a courtesy to the operator; the engine repeats every check and is the authority.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from typing import Final

from engine.kernel.orders import Side

ZERO: Final = Decimal(0)
HUNDRED_PERCENT_BP: Final = Decimal(10_000)


class Level(IntEnum):
    """What must happen before a command is sent."""

    L0 = 0
    """Sent at once: cancels, amends to smaller or farther, pause."""
    L1 = 1
    """Staged; Enter sends."""
    L2 = 2
    """Staged; the size must be typed again."""
    L3 = 3
    """Refused."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One rule that raised the level.

    Attributes:
        rule: Name of the rule.
        limit: The limit with its unit, as text.
        value: What the command would have led to, with its unit.
        level: The level that this rule asks for.
        largest: The largest quantity (base coins) that would pass a hard rule, if one can be computed.
    """

    rule: str
    limit: str
    value: str
    level: Level
    largest: Decimal | None = None

    def text(self) -> str:
        """Return the reason as the preview shows it."""
        words = " ".join(part for part in (self.rule, self.value) if part)
        if self.limit:
            words += f" > {self.limit}" if self.value else f" {self.limit}"
        if self.largest is not None:
            words += (
                f", largest that passes {self.largest.normalize():f}"
                if self.largest > 0
                else ", nothing passes"
            )
        return words


@dataclass(frozen=True, slots=True)
class Decision:
    """The level of a command and every rule behind it, gravest first."""

    level: Level
    reasons: tuple[Reason, ...] = ()

    @property
    def refused(self) -> bool:
        """Return whether the command may not be sent at all."""
        return self.level is Level.L3


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """Where a command starts to need confirmation, and where it is refused. Money in the quote currency.

    Attributes:
        soft_order: Notional of one order above which it must be confirmed.
        hard_order: Notional of one order above which it is refused.
        soft_position: Notional of the position after the order above which an increase must be confirmed.
        hard_position: The same, refused.
        max_leverage: Gross exposure over equity that an increase may not pass.
        usual_multiple: Confirm an order this many times the usual size.
        confirm_bp: Confirm a limit price farther than this from mid, basis points.
        collar_bp: Refuse a price that takes farther than this through the touch, basis points.
        depth_share: Confirm an order larger than this share of the displayed depth of the far side.
        confirm_age_ms: Confirm when the book is older.
        refuse_age_ms: Refuse when the book is older.
        repeat_ms: Confirm the same order within this time.
    """

    soft_order: Decimal | None = None
    hard_order: Decimal | None = None
    soft_position: Decimal | None = None
    hard_position: Decimal | None = None
    max_leverage: Decimal | None = None
    usual_multiple: Decimal = Decimal(3)
    confirm_bp: Decimal = Decimal(50)
    collar_bp: Decimal = Decimal(200)
    depth_share: Decimal = Decimal("0.2")
    confirm_age_ms: int = 1_000
    refuse_age_ms: int = 3_000
    repeat_ms: int = 2_000


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """What is known about one order when it is judged. Quantities in base coins, money in quote.

    Attributes:
        price: Limit price; for a market order the far touch.
        position: Signed quantity held before the order.
        reducing: The order can only make the position smaller.
        market: It is a market order.
        takes: The price is at or through the far side and the order is not post-only.
        best: Price of the far side (what the order would take); None when there is none.
        mid: Middle of the touch; None when the book has only one side.
        crossed: The book's bid is not below its ask.
        far_depth: Displayed quantity on the far side; None when unknown.
        book_age_ms: Age of the book; None when there is no book.
        usual_quantity: Median of recent order quantities; None while too few are known.
        gross_exposure: Notional of all positions and working increases of the account, without this order.
        equity: Account equity; None when unknown.
        focused: The market is the one in focus.
        same_age_ms: How long ago the same order was sent; None when it was not.
        unknown_order: An order of the market has no known outcome.
        halted: Why trading is halted; empty when it is not.
        armed: Whether order entry is armed for this market.
        rate_full: The order rate of the account is used up.
    """

    side: Side
    quantity: Decimal
    price: Decimal
    position: Decimal = ZERO
    reducing: bool = False
    market: bool = False
    takes: bool = False
    best: Decimal | None = None
    mid: Decimal | None = None
    crossed: bool = False
    far_depth: Decimal | None = None
    book_age_ms: int | None = None
    usual_quantity: Decimal | None = None
    gross_exposure: Decimal = ZERO
    equity: Decimal | None = None
    focused: bool = True
    same_age_ms: int | None = None
    unknown_order: bool = False
    halted: str = ""
    armed: bool = True
    rate_full: bool = False


def _figure(value: Decimal, places: int = 0) -> str:
    return f"{value:,.{places}f}"


def _base(facts: OrderFacts) -> Decimal:
    """Return the base quantity held in the order's own direction (negative when the order reduces)."""
    return facts.position * facts.side.sign


def _refusals(facts: OrderFacts, limits: GuardLimits) -> list[Reason]:
    reasons: list[Reason] = []
    if facts.halted and not facts.reducing:
        reasons.append(Reason(f"halted: {facts.halted}", "only cancels and reduce-only pass", "", Level.L3))
    if not facts.armed and not facts.reducing:
        reasons.append(Reason("disarmed", "press A or type arm", "", Level.L3))
    if facts.book_age_ms is None:
        reasons.append(Reason("no book", "wait for market data", "", Level.L3))
    elif facts.book_age_ms > limits.refuse_age_ms:
        reasons.append(_age(facts.book_age_ms, limits.refuse_age_ms, Level.L3))
    if facts.crossed:
        reasons.append(Reason("book crossed", "wait until it is whole", "", Level.L3))
    if facts.unknown_order and not facts.reducing:
        reasons.append(Reason("an order here has no known outcome", "wait until it is settled", "", Level.L3))
    if facts.rate_full and not facts.reducing:
        reasons.append(Reason("order rate", "wait a moment", "", Level.L3))
    if not facts.reducing:
        reasons += _size_refusals(facts, limits)
        reasons += _collar(facts, limits)
    return reasons


def _age(age_ms: int, limit_ms: int, level: Level) -> Reason:
    return Reason("book age", f"{limit_ms / 1000:g} s", f"{age_ms / 1000:.1f} s", level)


def _size_refusals(facts: OrderFacts, limits: GuardLimits) -> list[Reason]:
    reasons: list[Reason] = []
    notional = facts.quantity * facts.price
    if limits.hard_order is not None and notional > limits.hard_order:
        largest = limits.hard_order / facts.price
        reasons.append(
            Reason(
                "max order", f"{_figure(limits.hard_order)} $", f"{_figure(notional)} $", Level.L3, largest
            )
        )
    after = abs(_base(facts) + facts.quantity) * facts.price
    if limits.hard_position is not None and after > limits.hard_position:
        largest = max(ZERO, limits.hard_position / facts.price - _base(facts))
        reasons.append(
            Reason(
                "max position", f"{_figure(limits.hard_position)} $", f"{_figure(after)} $", Level.L3, largest
            )
        )
    if limits.max_leverage is not None and facts.equity is not None:
        reasons += _leverage(facts, limits.max_leverage, facts.equity)
    return reasons


def _leverage(facts: OrderFacts, limit: Decimal, equity: Decimal) -> list[Reason]:
    held = max(ZERO, -_base(facts))
    growth = facts.quantity - 2 * min(held, facts.quantity)
    if growth <= 0:
        return []
    if equity <= 0:
        return [Reason("equity", "0 $", f"{_figure(equity, 2)} $", Level.L3, ZERO)]
    exposure = facts.gross_exposure + growth * facts.price
    if exposure <= limit * equity:
        return []
    largest = max(ZERO, (limit * equity - facts.gross_exposure) / facts.price + 2 * held)
    return [
        Reason("leverage", f"{limit.normalize():f}×", f"{_figure(exposure / equity, 2)}×", Level.L3, largest)
    ]


def _collar(facts: OrderFacts, limits: GuardLimits) -> list[Reason]:
    if facts.best is None or facts.best <= 0 or facts.market:
        return []
    through_bp = (facts.price - facts.best) * facts.side.sign / facts.best * HUNDRED_PERCENT_BP
    if through_bp <= limits.collar_bp:
        return []
    return [
        Reason(
            "price band",
            f"{_figure(limits.collar_bp)} bp",
            f"{_figure(through_bp)} bp through the touch",
            Level.L3,
        )
    ]


def _confirmations(facts: OrderFacts, limits: GuardLimits) -> list[Reason]:
    reasons: list[Reason] = []
    if facts.market:
        reasons.append(Reason("market order", "", "", Level.L2))
    elif facts.takes:
        reasons.append(Reason("takes: through the far side", "", "", Level.L2))
    if not facts.focused:
        reasons.append(Reason("another market than the focused one", "", "", Level.L2))
    if facts.book_age_ms is not None and facts.book_age_ms > limits.confirm_age_ms:
        reasons.append(_age(facts.book_age_ms, limits.confirm_age_ms, Level.L2))
    if facts.same_age_ms is not None and facts.same_age_ms <= limits.repeat_ms:
        reasons.append(Reason(f"the same order {facts.same_age_ms / 1000:.1f} s ago", "", "", Level.L2))
    reasons += _size_confirmations(facts, limits)
    if facts.mid is not None and facts.mid > 0 and not facts.market:
        away_bp = abs(facts.price - facts.mid) / facts.mid * HUNDRED_PERCENT_BP
        if away_bp > limits.confirm_bp:
            reasons.append(
                Reason("from mid", f"{_figure(limits.confirm_bp)} bp", f"{_figure(away_bp)} bp", Level.L2)
            )
    return reasons


def _size_confirmations(facts: OrderFacts, limits: GuardLimits) -> list[Reason]:
    reasons: list[Reason] = []
    notional = facts.quantity * facts.price
    if facts.usual_quantity and facts.quantity > limits.usual_multiple * facts.usual_quantity:
        multiple = facts.quantity / facts.usual_quantity
        reasons.append(Reason(f"{_figure(multiple, 1)}× usual size", "", "", Level.L2))
    if limits.soft_order is not None and notional > limits.soft_order:
        reasons.append(
            Reason("large order", f"{_figure(limits.soft_order)} $", f"{_figure(notional)} $", Level.L2)
        )
    if (
        facts.far_depth is not None
        and facts.quantity > limits.depth_share * facts.far_depth
        and facts.far_depth > 0
    ):
        share = facts.quantity / facts.far_depth * 100
        reasons.append(
            Reason(
                "of displayed depth",
                f"{_figure(limits.depth_share * 100)} %",
                f"{_figure(share)} %",
                Level.L2,
            )
        )
    after = abs(_base(facts) + facts.quantity) * facts.price
    grows = not facts.reducing and _base(facts) + facts.quantity > 0
    if limits.soft_position is not None and grows and after > limits.soft_position:
        reasons.append(
            Reason("large position", f"{_figure(limits.soft_position)} $", f"{_figure(after)} $", Level.L2)
        )
    return reasons


def decide(facts: OrderFacts, limits: GuardLimits) -> Decision:
    """Return how much care an order needs.

    Reduce-only orders pass a halt, a disarmed desk and every size limit, but never a book that cannot be
    trusted.
    """
    refusals = _refusals(facts, limits)
    confirmations = _confirmations(facts, limits)
    if refusals:
        return Decision(Level.L3, (*refusals, *confirmations))
    if confirmations:
        return Decision(Level.L2, tuple(confirmations))
    return Decision(Level.L1)


def decide_amend(
    side: Side,
    old_price: Decimal,
    new_price: Decimal,
    old_quantity: Decimal,
    new_quantity: Decimal,
    as_new: Decision,
) -> Decision:
    """Return how much care an amendment needs.

    Smaller or farther from the market (and never larger or nearer) is sent at once, whatever the state of the
    desk; anything else is judged like a new order.
    """
    farther = (old_price - new_price) * side.sign >= 0
    if farther and new_quantity <= old_quantity:
        return Decision(Level.L0)
    return as_new
