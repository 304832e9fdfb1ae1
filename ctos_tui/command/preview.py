"""The preview line: what would be sent, what it costs, what it leads to, and whether it may pass.

A line is a list of spans, each a text and the theme role it is shown in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from ctos_tui.command.desk import Desk, Market
from ctos_tui.command.words import plain
from ctos_tui.guard.levels import Decision, Level
from ctos_tui.numbers import MINUS, basis_points, by_step, fixed
from engine.kernel.instruments import Instrument
from engine.kernel.orders import Order, Side

Span = tuple[str, str]
Spans = tuple[Span, ...]

SEPARATOR: Final[Span] = (" · ", "dim")
MANY: Final = 3
"""How many legs a preview names before it only counts the rest."""


class Leg(msgspec.Struct, frozen=True):
    """One order as the preview shows it.

    Attributes:
        worst: The worst price at which it may trade; what notional and fees are counted with.
        limit: Limit price; None for a market order.
        words: How the price was asked for.
        flags: How it behaves, in words.
        notes: What rounding or capping changed.
        resting: It can only rest, so the maker fee is charged.
        margin: Share of the equity that the increase ties up; None when nothing, or when it is unknown.
    """

    market: Market
    side: Side
    quantity: Decimal
    worst: Decimal
    limit: Decimal | None
    words: str = ""
    flags: str = ""
    notes: tuple[str, ...] = ()
    resting: bool = False
    margin: Decimal | None = None

    @property
    def notional(self) -> Decimal:
        """Return quantity x worst price."""
        return self.quantity * self.worst

    @property
    def fees(self) -> Decimal:
        """Return the most that fees can be."""
        instrument = self.market.instrument
        return self.notional * (instrument.maker_fee if self.resting else instrument.taker_fee)


def amount(value: Decimal) -> str:
    """Return an amount of quote with as many digits as matter: `32,120 $`, `6.4 $`, `0.02 $`."""
    size = abs(value)
    digits = 0 if size >= 1000 or not size else 1 if size >= 1 else 2 if size >= Decimal("0.01") else 4
    return f"{fixed(value, digits)} $"


def quantity_text(value: Decimal) -> str:
    """Return a quantity without trailing zeros, its minus typographic."""
    return plain(value).replace("-", MINUS)


def _side(side: Side) -> Span:
    return (side.value.upper(), "bid" if side is Side.BUY else "ask")


def verdict(decision: Decision, instrument: Instrument | None = None, confirm: str = "") -> list[Span]:
    """Return how the line ends: `OK`, `CONFIRM: reasons` with what to type, or `REFUSED: rule`."""
    if decision.level <= Level.L1:
        return [("OK", "good")]
    graver = [reason.text() for reason in decision.reasons if reason.level is decision.level]
    if decision.level is Level.L2:
        typed = f" — type {confirm} to send" if confirm else ""
        return [("CONFIRM: ", "warn"), (", ".join(graver) + typed, "warn")]
    spans: list[Span] = [("REFUSED: ", "danger"), ("; ".join(graver), "danger")]
    if decision.largest is not None and instrument is not None:
        largest = instrument.floor_quantity(decision.largest)
        fits = largest > 0 and largest >= instrument.min_quantity
        spans.append((f", largest that passes {quantity_text(largest)}" if fits else ", no size passes", "bright"))
    return spans


def joined(parts: Iterable[Sequence[Span]]) -> Spans:
    """Join the parts of a line with dim dots."""
    spans: list[Span] = []
    for part in parts:
        if part:
            spans += [SEPARATOR, *part] if spans else part
    return tuple(spans)


def order_line(leg: Leg, decision: Decision, desk: Desk, confirm: str = "") -> Spans:
    """Return the preview of one order."""
    market = leg.market
    after = market.position + leg.quantity * leg.side.sign
    before_text, after_text = quantity_text(market.position), quantity_text(after)
    parts: list[Sequence[Span]] = [
        _what(leg, desk),
        *([(note, "warn")] for note in leg.notes),
        [(amount(leg.notional), "bright")],
        [("pos ", "dim"), (f"{before_text}→{after_text}", "bright")],
    ]
    if leg.margin is not None:
        share = leg.margin * 100
        kind = " margin" if market.instrument.is_perp else " of equity"
        parts.append([(f"{fixed(share, 1 if share >= 1 else 2)}%", "bright"), (kind, "dim")])
    parts.append([("fees ≤ ", "dim"), (amount(leg.fees), "bright")])
    parts.append(verdict(decision, market.instrument, confirm))
    return joined(parts)


def _what(leg: Leg, desk: Desk) -> list[Span]:
    instrument = leg.market.instrument
    spans: list[Span] = [
        _side(leg.side),
        (f" {quantity_text(leg.quantity)} ", "bright"),
        (desk.short_name(instrument), "bright"),
    ]
    if leg.limit is None:
        spans += [
            (" market", "warn"),
            (
                f" ≤ {by_step(leg.worst, instrument.tick_size)}"
                if leg.side is Side.BUY
                else f" ≥ {by_step(leg.worst, instrument.tick_size)}",
                "dim",
            ),
        ]
    else:
        spans += [(" limit ", "dim"), (by_step(leg.limit, instrument.tick_size), "bright")]
        where = ", ".join(part for part in (leg.words, _from_mid(leg)) if part)
        if where:
            spans.append((f" ({where})", "dim"))
    if leg.flags:
        spans.append((f" {leg.flags}", "accent"))
    return spans


def _from_mid(leg: Leg) -> str:
    mid = leg.market.mid
    if mid is None or leg.limit is None or not mid:
        return ""
    return f"{basis_points((leg.limit - mid) / mid)} mid"


def many_line(
    title: str, legs: Sequence[Leg], decision: Decision, desk: Desk, confirm: str, left: Sequence[str] = ()
) -> Spans:
    """Return the preview of several orders that are sent together; `left` says what they leave, and why."""
    named = [_briefly(leg, desk) for leg in legs[:MANY]]
    if len(legs) > MANY:
        named.append(f"{len(legs) - MANY} more")
    total = sum((leg.notional for leg in legs), Decimal(0))
    fees = sum((leg.fees for leg in legs), Decimal(0))
    return joined(
        [
            [(title, "warn")],
            [(", ".join(named), "bright")],
            [(", ".join(left), "warn")] if left else [],
            [(amount(total), "bright")],
            [("fees ≤ ", "dim"), (amount(fees), "bright")],
            verdict(decision, None, confirm),
        ]
    )


def _briefly(leg: Leg, desk: Desk) -> str:
    text = f"{leg.side} {quantity_text(leg.quantity)} {desk.short_name(leg.market.instrument)}"
    return text if leg.limit is None else f"{text} @ {by_step(leg.limit, leg.market.instrument.tick_size)}"


def target_line(leg: Leg, target: Decimal, decision: Decision, desk: Desk, confirm: str) -> Spans:
    """Return the preview of a position target."""
    head: list[Span] = [
        ("TARGET ", "accent"),
        (amount(target), "bright"),
        (f" {desk.short_name(leg.market.instrument)}", "bright"),
    ]
    return (*head, SEPARATOR, *order_line(leg, decision, desk, confirm))


def amend_line(order: Order, leg: Leg, decision: Decision, desk: Desk, confirm: str) -> Spans:
    """Return the preview of an amendment: old and new, what differs first."""
    instrument = leg.market.instrument
    changes: list[Sequence[Span]] = []
    if leg.limit is not None and order.price is not None and leg.limit != order.price:
        old, new = by_step(order.price, instrument.tick_size), by_step(leg.limit, instrument.tick_size)
        where = ", ".join(part for part in (leg.words, _from_mid(leg)) if part)
        changes.append([("price ", "dim"), (f"{old}→{new}", "bright"), (f" ({where})" if where else "", "dim")])
    if leg.quantity != order.quantity:
        changes.append([("size ", "dim"), (f"{quantity_text(order.quantity)}→{quantity_text(leg.quantity)}", "bright")])
    head: list[Span] = [
        ("MOVE ", "accent"),
        (f"#{order.label} ", "own_order"),
        _side(order.side),
        (f" {desk.short_name(instrument)}", "bright"),
    ]
    notes = [[(note, "warn")] for note in leg.notes]
    ending = [("OK, sent at once", "good")] if decision.level is Level.L0 else verdict(decision, instrument, confirm)
    return joined([head, *changes, *notes, [(amount(leg.notional), "bright")], ending])


def cancel_line(orders: Sequence[Order], desk: Desk) -> Spans:
    """Return the preview of a cancel."""
    named: list[str] = []
    for order in orders[:MANY]:
        instrument = desk.markets[order.symbol].instrument
        price = f" @ {by_step(order.price, instrument.tick_size)}" if order.price is not None else ""
        named.append(
            f"#{order.label} {order.side} {quantity_text(order.remaining)} {desk.short_name(instrument)}{price}"
        )
    if len(orders) > MANY:
        named.append(f"{len(orders) - MANY} more")
    count = f"{len(orders)} order{'s' if len(orders) != 1 else ''}"
    return joined(
        [
            [("CANCEL ", "accent"), (count, "bright")],
            [(", ".join(named), "dim")],
            [("OK, sent at once", "good")],
        ]
    )


def plain_text(spans: Iterable[Span]) -> str:
    """Return a line without its roles."""
    return "".join(text for text, _ in spans)
