"""How much care an order needs before it is sent: levels L0 to L3, with the reasons.

The rules here are a courtesy to the operator; the engine repeats every check and is the authority.
"""

from __future__ import annotations

from decimal import Decimal
from enum import IntEnum
from typing import Final

import msgspec

from engine.kernel.orders import Side
from engine.runtime.accounts import AccountLimits

ZERO: Final = Decimal(0)
WHOLE_BP: Final = Decimal(10_000)


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


class Reason(msgspec.Struct, frozen=True):
    """One rule that raised the level.

    Attributes:
        rule: Name of the rule, or what is wrong in words.
        limit: The limit with its unit, as text; empty for a rule that is not a number.
        value: What the command would have led to, with its unit.
        level: The level that this rule asks for.
        largest: The largest quantity (base coins) that would pass a hard rule, if one can be computed.
    """

    rule: str
    limit: str = ""
    value: str = ""
    level: Level = Level.L3
    largest: Decimal | None = None

    def text(self) -> str:
        """Return the reason in words, without the largest quantity that would pass."""
        if self.limit and self.value:
            return f"{self.rule} {self.value} > {self.limit}"
        return " ".join(part for part in (self.rule, self.value or self.limit) if part)


class Decision(msgspec.Struct, frozen=True):
    """The level of a command and every rule behind it, gravest first."""

    level: Level
    reasons: tuple[Reason, ...] = ()

    @property
    def refused(self) -> bool:
        """Return whether the command may not be sent at all."""
        return self.level is Level.L3

    @property
    def largest(self) -> Decimal | None:
        """Return the largest quantity that passes every hard rule; None when size alone does not help."""
        hard = [reason.largest for reason in self.reasons if reason.level is Level.L3]
        sizes = [size for size in hard if size is not None]
        return min(sizes) if sizes and len(sizes) == len(hard) else None


class GuardLimits(msgspec.Struct, frozen=True):
    """Where a command starts to need confirmation, and where it is refused. Money in the quote currency.

    Attributes:
        soft_order: Notional of one order above which it must be confirmed.
        hard_order: Notional of one order above which it is refused.
        soft_exposure: Notional of all positions after the order above which an increase must be confirmed.
        hard_exposure: The same, refused.
        max_leverage: Notional of all positions over equity that an increase may not pass.
        usual_multiple: Confirm an order this many times the usual size.
        confirm_bp: Confirm a limit price farther than this from mid, basis points.
        band_bp: Refuse a price farther than this through the touch, basis points.
        depth_share: Confirm an order larger than this share of the displayed depth of the far side.
        confirm_age_ms: Confirm when the book is older.
        refuse_age_ms: Refuse when the book is older.
        repeat_ms: Confirm the same order within this time.
    """

    soft_order: Decimal | None = None
    hard_order: Decimal | None = None
    soft_exposure: Decimal | None = None
    hard_exposure: Decimal | None = None
    max_leverage: Decimal | None = None
    usual_multiple: Decimal = Decimal(3)
    confirm_bp: Decimal = Decimal(50)
    band_bp: Decimal = Decimal(200)
    depth_share: Decimal = Decimal("0.2")
    confirm_age_ms: int = 1_000
    refuse_age_ms: int = 3_000
    repeat_ms: int = 2_000


def guard_limits(account: AccountLimits) -> GuardLimits:
    """Return the guard's limits for an account: refused where the engine refuses, confirmed well before."""
    return GuardLimits(
        soft_order=account.max_order_usd / 2,
        hard_order=account.max_order_usd,
        soft_exposure=account.max_notional_usd * Decimal("0.8"),
        hard_exposure=account.max_notional_usd,
        max_leverage=account.max_leverage,
        band_bp=account.price_band_bp,
    )


class OrderFacts(msgspec.Struct, frozen=True):
    """What is known about one order when it is judged. Quantities in base coins, money in quote.

    Attributes:
        price: Limit price; for a market order the worst price it may trade at.
        position: Signed quantity held before the order.
        reduces: The order can only make the position smaller, by its flag or by its size.
        market: It is a market order.
        post: It never takes.
        best: Price of the far side (what the order would take); None when there is none.
        mid: Middle of the touch; None when the book has only one side.
        crossed: The book's bid is not below its ask.
        far_depth: Displayed quantity on the far side; None when unknown.
        book_age_ms: Age of the book; None when there is no book.
        usual_quantity: Median of recent order quantities; None while too few are known.
        exposure: Notional of all positions and working increases of the account before the order.
        equity: Account equity; None when unknown.
        free: Money that is free as margin, or to pay with; None when unknown.
        margin_rate: Share of the notional that an increase ties up (1 on spot).
        can_short: Whether the position may become negative.
        focused: The market is the one in focus.
        same_age_ms: How long ago the same order was sent; None when it was not.
        unknown_order: An order of the market has no known outcome.
        halted: Why trading is halted; empty when it is not.
        armed: Whether order entry is armed for this market.
        closed: What stands against it when it is not, and what would do.
        rate_full: The order rate of the account is used up.
    """

    side: Side
    quantity: Decimal
    price: Decimal
    position: Decimal = ZERO
    reduces: bool = False
    market: bool = False
    post: bool = False
    best: Decimal | None = None
    mid: Decimal | None = None
    crossed: bool = False
    far_depth: Decimal | None = None
    book_age_ms: int | None = None
    usual_quantity: Decimal | None = None
    exposure: Decimal = ZERO
    equity: Decimal | None = None
    free: Decimal | None = None
    margin_rate: Decimal = ZERO
    can_short: bool = True
    focused: bool = True
    same_age_ms: int | None = None
    unknown_order: bool = False
    halted: str = ""
    armed: bool = True
    closed: str = "DISARMED: press A or type arm"
    rate_full: bool = False

    @property
    def notional(self) -> Decimal:
        """Return quantity x price."""
        return self.quantity * self.price

    @property
    def closing(self) -> Decimal:
        """Return the quantity held against the order's direction: what it may close."""
        return max(ZERO, -self.position * self.side.sign)

    @property
    def growth(self) -> Decimal:
        """Return by how much the order makes |position| larger (negative: smaller)."""
        return abs(self.position + self.quantity * self.side.sign) - abs(self.position)

    @property
    def through_bp(self) -> Decimal | None:
        """Return how far the price goes beyond the far side, basis points; None when there is no far side."""
        if not self.best:
            return None
        return (self.price - self.best) * self.side.sign / self.best * WHOLE_BP


def figure(value: Decimal, places: int = 0) -> str:
    """Return a number with thousands separators."""
    return f"{value:,.{places}f}"


def _age(age_ms: int, limit_ms: int, level: Level) -> Reason:
    return Reason("book age", f"{limit_ms / 1000:g} s", f"{age_ms / 1000:.1f} s", level)


def _state_refusals(facts: OrderFacts, limits: GuardLimits) -> list[Reason]:
    """Return what forbids the order whatever its size."""
    reasons: list[Reason] = []
    if not facts.reduces:
        if facts.halted:
            reasons.append(Reason(f"HALTED ({facts.halted}): only cancels and reduce-only orders pass"))
        elif not facts.armed:
            reasons.append(Reason(facts.closed))
        if facts.unknown_order:
            reasons.append(Reason("an order here has no known outcome yet"))
        if facts.rate_full:
            reasons.append(Reason("order rate used up: wait a moment"))
    if facts.book_age_ms is None:
        reasons.append(Reason("no book: wait for market data"))
    elif facts.book_age_ms > limits.refuse_age_ms:
        reasons.append(_age(facts.book_age_ms, limits.refuse_age_ms, Level.L3))
    if facts.crossed:
        reasons.append(Reason("book crossed: wait until it is whole"))
    through = facts.through_bp
    if facts.post and through is not None and through >= 0:
        reasons.append(
            Reason("post-only would take: the far side is at", "", figure(facts.best or ZERO, 8).rstrip("0"))
        )
    elif not facts.reduces and not facts.market and through is not None and through > limits.band_bp:
        reasons.append(
            Reason("price_band_bp", f"{figure(limits.band_bp)} bp", f"{figure(through)} bp through the touch")
        )
    return reasons


def size_refusals(facts: OrderFacts, limits: GuardLimits) -> list[Reason]:
    """Return the hard size rules that the order breaks, each with the largest quantity that it lets pass."""
    if facts.reduces:
        return []
    reasons: list[Reason] = []
    if not facts.can_short and facts.side is Side.SELL and facts.quantity > facts.position:
        held = max(ZERO, facts.position)
        reasons.append(Reason("holding", f"{held.normalize():f}", f"{facts.quantity.normalize():f}", largest=held))
    if limits.hard_order is not None and facts.notional > limits.hard_order:
        largest = limits.hard_order / facts.price
        reasons.append(
            Reason("max_order_usd", f"{figure(limits.hard_order)} $", f"{figure(facts.notional)} $", largest=largest)
        )
    if facts.growth > 0:
        reasons += _growth_refusals(facts, limits)
    return reasons


def _growth_refusals(facts: OrderFacts, limits: GuardLimits) -> list[Reason]:
    """Return the rules that only an increase of exposure can break."""
    reasons: list[Reason] = []
    grown = facts.growth * facts.price
    after = facts.exposure + grown

    def passes(room: Decimal) -> Decimal:
        return max(ZERO, room / facts.price) + 2 * facts.closing

    if limits.hard_exposure is not None and after > limits.hard_exposure:
        room = passes(limits.hard_exposure - facts.exposure)
        reasons.append(
            Reason("max_notional_usd", f"{figure(limits.hard_exposure)} $", f"{figure(after)} $", largest=room)
        )
    if limits.max_leverage is not None and facts.equity is not None:
        allowed = limits.max_leverage * max(ZERO, facts.equity)
        if after > allowed:
            value = f"{figure(after / facts.equity, 2)}×" if facts.equity > 0 else "no equity"
            room = passes(allowed - facts.exposure)
            reasons.append(Reason("max_leverage", f"{limits.max_leverage.normalize():f}×", value, largest=room))
    needed = grown * facts.margin_rate
    if facts.free is not None and facts.margin_rate > 0 and needed > facts.free:
        room = passes(max(ZERO, facts.free) / facts.margin_rate)
        reasons.append(Reason("free balance", f"{figure(facts.free, 2)} $", f"{figure(needed, 2)} $", largest=room))
    return reasons


def _confirmations(facts: OrderFacts, limits: GuardLimits) -> list[Reason]:
    reasons: list[Reason] = []

    def confirm(rule: str, limit: str = "", value: str = "") -> None:
        reasons.append(Reason(rule, limit, value, Level.L2))

    if facts.market:
        confirm("market order")
    elif facts.through_bp is not None and facts.through_bp > 0:
        confirm("goes through the far side")
    if not facts.focused:
        confirm("not the focused market")
    if facts.book_age_ms is not None and limits.confirm_age_ms < facts.book_age_ms <= limits.refuse_age_ms:
        reasons.append(_age(facts.book_age_ms, limits.confirm_age_ms, Level.L2))
    if facts.same_age_ms is not None and facts.same_age_ms <= limits.repeat_ms:
        confirm(f"same order {facts.same_age_ms / 1000:.1f} s ago")
    if facts.usual_quantity and facts.quantity > limits.usual_multiple * facts.usual_quantity:
        confirm(f"{figure(facts.quantity / facts.usual_quantity, 1)}× usual size")
    if limits.soft_order is not None and facts.notional > limits.soft_order:
        confirm("large order", f"{figure(limits.soft_order)} $", f"{figure(facts.notional)} $")
    if facts.far_depth and not facts.post and facts.quantity > limits.depth_share * facts.far_depth:
        share = facts.quantity / facts.far_depth * 100
        confirm("share of the shown depth", f"{figure(limits.depth_share * 100)} %", f"{figure(share)} %")
    after = facts.exposure + facts.growth * facts.price
    if limits.soft_exposure is not None and facts.growth > 0 and after > limits.soft_exposure:
        confirm("large exposure", f"{figure(limits.soft_exposure)} $", f"{figure(after)} $")
    if facts.mid and not facts.market:
        away = abs(facts.price - facts.mid) / facts.mid * WHOLE_BP
        if away > limits.confirm_bp:
            confirm("away from mid", f"{figure(limits.confirm_bp)} bp", f"{figure(away)} bp")
    return reasons


def decide(facts: OrderFacts, limits: GuardLimits) -> Decision:
    """Return how much care an order needs.

    Orders that only reduce pass a halt, a disarmed desk and every size limit, but never a book that cannot be
    trusted.
    """
    refusals = _state_refusals(facts, limits) + size_refusals(facts, limits)
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
