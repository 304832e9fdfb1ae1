"""Tells the operator what a start found at the venue: fills that came while nothing ran, orders that nobody knew."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from decimal import Decimal

from engine.kernel.orders import Fill, Order
from engine.runtime.booking import about
from engine.runtime.core import EngineCore

LINES = 10
"""So many are told one by one; of more, a summary of each instrument."""


def tell_fills(core: EngineCore, fills: Sequence[Fill]) -> None:
    """Say which fills were booked that the last run did not hear of; each is in the operation log already."""
    _tell(core, [(fill.symbol, fill.signed_quantity, _fill_line(core, fill)) for fill in fills], "fills", "info")


def tell_orders(core: EngineCore, orders: Sequence[Order]) -> None:
    """Say which working orders were adopted: placed by others, or by a run of which the journal knows nothing."""
    for order in orders:
        core.oplog("OrderAdopted", **about(order), det="rests at the venue, placed by others")
    rows = [(order.symbol, order.remaining * order.side.sign, _order_line(order)) for order in orders]
    _tell(core, rows, "orders of others", "warn")


def tell_positions(core: EngineCore, held: Sequence[tuple[str, Decimal, Decimal]], reason: str, ledger: str) -> None:
    """Say which positions, as (symbol, signed base coins, price), were taken over into a ledger."""
    rows = [
        (symbol, quantity, f"{symbol}: {_plain(quantity)} {reason}; it is in the ledger '{ledger}'")
        for symbol, quantity, _ in held
    ]
    _tell(core, rows, "positions taken over", "warn")


def _tell(core: EngineCore, rows: Sequence[tuple[str, Decimal, str]], what: str, level: str) -> None:
    if len(rows) <= LINES:
        for _, _, line in rows:
            core.say(line, level)
        return
    counts = Counter(symbol for symbol, _, _ in rows)
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for symbol, quantity, _ in rows:
        sums[symbol] += quantity
    parts = [f"{symbol} {_plain(sums[symbol], '+')} in {count}" for symbol, count in counts.most_common(LINES)]
    more = "" if len(counts) <= LINES else f", and {len(counts) - LINES} more instruments"
    core.say(f"found at the start: {len(rows)} {what}: {', '.join(parts)}{more}; see the operation log", level)


def _fill_line(core: EngineCore, fill: Fill) -> str:
    order = core.tracker.find(fill.client_id, fill.symbol, fill.venue_order_id)
    whose = f"#{order.label} {order.instance}" if order is not None else "not ours"
    terms = f"{fill.side.value} {_plain(fill.quantity)} {fill.symbol} at {_plain(fill.price)}"
    return f"filled while nothing ran: {whose} {terms}"


def _order_line(order: Order) -> str:
    at = order.price if order.price is not None else order.trigger_price
    price = "" if at is None else f" at {_plain(at)}"
    terms = f"{order.side.value} {_plain(order.remaining)} {order.symbol}{price}"
    return f"found at the start: #{order.label} {terms}, placed by others; it counts as exposure and is left alone"


def _plain(number: Decimal, sign: str = "") -> str:
    return f"{number.normalize():{sign}f}"
